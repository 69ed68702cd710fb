"""Rooms for the students of a batch: in this process, or spread over worker processes.

Workers are started with the first large batch, not before, and end with this process. One that
does not get on with a student for ``timeout_s`` seconds is killed, and the student named.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tutor_envs.doors.room import Door, Looks, Room, RowError, Rows, Start
from tutor_envs.doors.worker import DoorPlan, work
from tutor_envs.errors import StudentError

_KEPT_STUDENTS = 2**13
"""Students in memory, beside the newest cohort's; the cohorts unused for longest leave first."""
_SMALL_BATCH = 256
"""A batch below this size is held in this process, unless workers are asked for."""
_MOST_WORKERS = 16
_START_S = 60.0
_POLL_S = 0.05
_STOP_S = 1.0


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection
    at_row: Any


class Pool:
    """Students in cohorts; see the module's text.

    Attributes:
        lesson: which lesson of the trial the next cohort begins.
    """

    def __init__(
        self,
        reference: str,
        plan: DoorPlan,
        door: Door,
        *,
        workers: int | None,
        timeout_s: float,
    ) -> None:
        """Nothing is started yet.

        Args:
            reference: the student model's, for messages.
            plan: how a worker makes its room's door.
            door: for students in this process.
            workers: processes; 0: none, None: one for each CPU where the batch is large.
            timeout_s: seconds that a worker may spend on one student in one call.
        """
        self.lesson = 0
        self._reference = reference
        self._plan = plan
        self._workers_wanted = workers
        self._timeout_s = timeout_s
        self._room = Room(door)
        self._workers: list[_Worker] = []
        self._stop: Callable[[], None] = lambda: None
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self._remote: set[int] = set()

    # -- cohorts ------------------------------------------------------------------------------
    def begin(self, starts: Sequence[Start]) -> tuple[int, Looks]:
        """Seat students for a lesson; the number of their cohort, and how they are.

        Raises:
            StudentError: one of them failed.
        """
        self._make_space()
        cohort = next(i for i in range(len(self._sizes) + 1) if i not in self._sizes)
        self._sizes[cohort] = len(starts)
        if self._n_workers(len(starts)):
            self._remote.add(cohort)
            shards = np.array_split(np.arange(len(starts)), self._n_workers(len(starts)))
            calls = [("begin", (cohort, [starts[i] for i in shard])) for shard in shards]
            return cohort, self._ask_workers(calls, shards)
        return cohort, self._guarded(lambda room: room.begin(cohort, starts))

    def live(self, cohort: int, rows: Rows, clocks: Rows, events: Sequence[int | float]) -> Looks:
        """Teach (int) or let wait (float) these rows of a cohort.

        Raises:
            StudentError: one of them failed, or the cohort has left.
        """
        if cohort not in self._sizes:
            raise StudentError(
                self._reference,
                "this lesson was begun too long ago and has been forgotten: at most "
                f"{_KEPT_STUDENTS} students who are Python objects are kept at a time",
            )
        self._sizes.move_to_end(cohort)
        if cohort not in self._remote:
            return self._guarded(lambda room: room.live(cohort, rows, clocks, events))
        size = self._sizes[cohort]
        all_rows = np.array_split(np.arange(size), self._n_workers(size))
        shards, calls = [], []
        for part in all_rows:
            mine = np.flatnonzero((rows >= part[0]) & (rows <= part[-1]))
            shards.append(mine)
            its_events = [events[i] for i in mine.tolist()]
            calls.append(("live", (cohort, rows[mine] - part[0], clocks[mine], its_events)))
        return self._ask_workers(calls, shards, [int(part[0]) for part in all_rows])

    def _make_space(self) -> None:
        left = []
        while sum(self._sizes.values()) > _KEPT_STUDENTS:
            left.append(self._sizes.popitem(last=False)[0])
        self._room.drop([cohort for cohort in left if cohort not in self._remote])
        remote = [cohort for cohort in left if cohort in self._remote]
        if remote and self._workers:
            for worker in self._workers:
                worker.connection.send(("drop", (remote,)))
            for index in range(len(self._workers)):
                self._answer(index, None)
        self._remote -= set(left)

    def _guarded(self, call: Callable[[Room], Looks]) -> Looks:
        try:
            return call(self._room)
        except RowError as error:
            raise StudentError(self._reference, error.what, row=error.row) from error.__cause__

    # -- workers ------------------------------------------------------------------------------
    def _n_workers(self, size: int) -> int:
        if self._workers_wanted is None:
            return min(_n_cpus(), _MOST_WORKERS) if size >= _SMALL_BATCH else 0
        return min(self._workers_wanted, size)

    def _ask_workers(
        self,
        calls: Sequence[tuple[str, tuple[Any, ...]]],
        shards: Sequence[Rows],
        first_rows: Sequence[int] | None = None,
    ) -> Looks:
        """Every worker its call; their looks, in the order of the rows."""
        self._start_workers(len(calls))
        for worker, call in zip(self._workers, calls, strict=False):
            worker.connection.send(call)
        firsts = first_rows or [int(shard[0]) for shard in shards]
        answers = [self._answer(index, first) for index, first in enumerate(firsts)]
        columns = max(answer.shape[-1] for answer in answers)
        looks = np.empty((sum(len(shard) for shard in shards), columns))
        for shard, answer in zip(shards, answers, strict=True):
            if len(shard):
                looks[shard] = answer
        return looks

    def _start_workers(self, n_workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        first_new = len(self._workers)
        for _ in range(first_new, n_workers):
            ours, theirs = context.Pipe()
            at_row = context.RawValue("q", -1)
            process = context.Process(target=work, args=(theirs, at_row, self._plan), daemon=True)
            with _no_main_module():
                process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours, at_row))
        if n_workers > first_new:
            self._stop = weakref.finalize(self, _stop_workers, list(self._workers))
        for index in range(first_new, n_workers):
            self._answer(index, None)

    def _answer(self, index: int, first_row: int | None) -> Looks:
        """The looks that a worker sends, or the error that it tells of, or is.

        Args:
            index: of the worker.
            first_row: the row of the batch that is its row 0; None: it is not teaching.
        """
        worker = self._workers[index]
        kind, *content = self._receive(worker, first_row)
        if kind == "row":
            row, what = content
            self._forget_workers()  # the others' answers would be taken for the next ones
            raise StudentError(self._reference, what, row=row + (first_row or 0))
        if kind == "broken":
            self._forget_workers()
            raise StudentError(self._reference, f"a worker process cannot load it: {content[0]}")
        looks: Looks = content[0] if content else np.empty((0, 0))
        return looks

    def _receive(self, worker: _Worker, first_row: int | None) -> tuple[Any, ...]:
        limit_s = _START_S if first_row is None else self._timeout_s
        seen, since_s = worker.at_row.value, time.monotonic()
        while not worker.connection.poll(_POLL_S):
            if worker.at_row.value != seen:
                seen, since_s = worker.at_row.value, time.monotonic()
            elif time.monotonic() - since_s > limit_s:
                self._forget_workers()
                raise StudentError(
                    self._reference,
                    f"no answer for {limit_s:g} s (it hangs, or is slow; `model.timeout_s` is the "
                    "limit)",
                    row=None if first_row is None or seen < 0 else first_row + seen,
                )
        try:
            message: tuple[Any, ...] = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(_STOP_S)
            code = worker.process.exitcode
            self._forget_workers()
            when = "while it taught" if first_row is not None else "at its start"
            raise StudentError(
                self._reference,
                f"its worker process ended {when} (exit code {code})",
                row=None if first_row is None or seen < 0 else first_row + seen,
            ) from None
        return message

    def _forget_workers(self) -> None:
        """Stop them all; the next cohort gets new ones."""
        self._stop()
        self._workers = []
        for cohort in self._remote:
            del self._sizes[cohort]
        self._remote = set()


def _n_cpus() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """A new process would run the user's script again (under another name); there is no need to."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _stop_workers(workers: Sequence[_Worker]) -> None:
    """Close the pipes, and kill those who do not go."""
    for worker in workers:
        worker.connection.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_STOP_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(_STOP_S)
        worker.process.close()
