"""Subjects take turns, round by round, each in a process and on a core of its own."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple

from tutor_sim.bench.job import Subject

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
_LINES_OF_ERROR = 3


class Sample(NamedTuple):
    """One round of one subject; see :class:`tutor_sim.bench.job.Work`."""

    cpu_s: float
    wall_s: float
    peak_gib: float
    steps: int
    score: float | None
    score_se: float | None

    @property
    def rate(self) -> float:
        """Steps per CPU-second."""
        return self.steps / self.cpu_s


class Measured(NamedTuple):
    """All rounds of one subject."""

    subject: Subject
    setup_cpu_s: float
    samples: list[Sample]

    @property
    def rate(self) -> Spread:
        """Steps per CPU-second."""
        return Spread.of([sample.rate for sample in self.samples])


class Spread(NamedTuple):
    """The median and the extremes of some rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def ratio(ours: Measured, other: Measured) -> Spread:
    """How many times the steps per CPU-second of another, round by round."""
    rounds = zip(ours.samples, other.samples, strict=True)
    return Spread.of([a.rate / b.rate for a, b in rounds])


def measure(
    subjects: Sequence[Subject], n_rounds: int, say: Callable[[str], None]
) -> list[Measured]:
    """Run all subjects, one at a time, in turns; the order is turned round every other round.

    Raises:
        ValueError: a subject failed; the text has the end of what it said.
    """
    with contextlib.ExitStack() as stack:
        workers = []
        for subject in subjects:
            say(f"setting up {subject.name}")
            workers.append(stack.enter_context(Worker(subject)))
        samples: list[list[Sample]] = [[] for _ in workers]
        for round_ in range(n_rounds):
            turn = list(zip(workers, samples, strict=True))
            for worker, mine in turn if round_ % 2 == 0 else reversed(turn):
                say(f"round {round_ + 1}/{n_rounds}: {worker.subject.name}")
                mine.append(Sample(**worker.round()))
    return [
        Measured(worker.subject, worker.setup_cpu_s, mine)
        for worker, mine in zip(workers, samples, strict=True)
    ]


class Worker:
    """The process of one subject; it is entered to be set up, and left to end it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.setup_cpu_s = 0.0
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed on exit)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tutor_sim.bench.worker",
                subject.make,
                json.dumps(subject.settings),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | _ONE_THREAD,
        )

    def __enter__(self) -> Worker:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._process.pid, {max(os.sched_getaffinity(0))})
        try:
            self.setup_cpu_s = self._answer()["setup_cpu_s"]
        except ValueError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def round(self) -> dict[str, Any]:
        """One round's figures."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it has an error to show
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            end = "\n".join(said[-_LINES_OF_ERROR:])
            hint = "\nInstall the extra tutor-sim[peers]." if "ModuleNotFoundError" in end else ""
            raise ValueError(f"benchmark `{self.subject.name}` failed:\n{end}{hint}")
        answer: dict[str, Any] = json.loads(line)
        return answer
