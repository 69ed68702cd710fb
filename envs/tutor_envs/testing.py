"""For authors of student models: one call that says what is wrong, and what to change.

>>> from tutor_envs.testing import check_student
>>> report = check_student("bkt")
>>> report.ok
True
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tutor_envs.checks import belief, simulation, speed
from tutor_envs.checks.case import Case, Check, Complaint, Finding, Level, spread_latents
from tutor_envs.doors.hosted import HostedStudent
from tutor_envs.doors.loading import describe, resolve_reference
from tutor_envs.errors import StudentError
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS, load_population
from tutor_envs.student import StudentModel
from tutor_envs.student_registry import adapt, configured, student_class
from tutor_envs.students import STUDENT_MODELS

CHECKS: dict[str, Check] = {
    "declarations": simulation.declarations,
    "types and shapes": simulation.shapes,
    "ranges": simulation.ranges,
    "determinism": simulation.determinism,
    "batch size": simulation.batch_size,
    "device and dtype": simulation.device_and_dtype,
    "nothing hidden is shown": simulation.observation,
    "signals": simulation.signals_tell,
    "no global generator": simulation.global_rng,
    "inputs unchanged": simulation.inputs,
    "waiting": simulation.waiting,
    "belief": belief.belief,
}
"""Name of a rule -> its check, in the order in which they run; speed and time come last."""
_FIRST = 2
"""Checks without which the others mean nothing."""
_SPEED = "speed"
_TIME = "time"


@dataclasses.dataclass(frozen=True)
class Report:
    """What :func:`check_student` found.

    Attributes:
        student: reference of the student model.
        checks: the rules that were checked.
        findings: what to change, the first one first.
        steps_per_s: student-steps simulated per second; None: not measured.
        relative_speed: as a share of the built-in models'; None: not measured.
    """

    student: str
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    steps_per_s: float | None = None
    relative_speed: float | None = None

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that keep the student from being used."""
        return tuple(found for found in self.findings if found.level is Level.PROBLEM)

    @property
    def ok(self) -> bool:
        """There are no problems; there may be warnings."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"{f.level}: {f.check}: {f.message}" for f in self.findings]
        n = len(self.problems)
        result = "no problems" if n == 0 else f"{n} problem{'s' * (n > 1)}"
        return "\n".join([*lines, f"{self.student}: {len(self.checks)} checks, {result}"])

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """What ``to_json`` wrote."""
        data = json.loads(text)
        findings = tuple(Finding(c, Level(level), m) for c, level, m in data.pop("findings"))
        return cls(**(data | {"checks": tuple(data["checks"]), "findings": findings}))


def check_student(
    student: str | type | Population,
    *,
    model: Mapping[str, Any] | None = None,
    n_students: int = 64,
    n_steps: int = 8,
    seed: int = 0,
    with_speed: bool = True,
    time_limit_s: float | None = None,
) -> Report:
    """Check a student model of any door against all rules.

    Args:
        student: a reference as in a population file (``module:Class``, ``file.py:Class``, ...), a
            population file (``file.yaml``) or the name of a population, a class, or a population.
            Without a population, students differ in all latents, around the defaults.
        model: configuration of the student model, where no population says it.
        n_students: in the batches of most checks.
        n_steps: of their lessons.
        seed: of students and luck.
        with_speed: measure the speed, too.
        time_limit_s: check in another process that is stopped then; for a student that hangs.
            Needs a reference, not a class or population.

    Raises:
        ValueError: the student cannot be loaded; the text says why.
        OSError: a population file cannot be read.
    """
    if time_limit_s is not None:
        if not isinstance(student, str):
            raise ValueError("`time_limit_s` needs `student` to be a reference, got an object")
        settings: dict[str, Any] = {"n_students": n_students, "n_steps": n_steps, "seed": seed}
        settings |= {"with_speed": with_speed, "model": dict(model or {})}
        return _check_elsewhere(student, settings, time_limit_s)
    reference, population = _population(student, dict(model or {}))
    case = Case(_in_this_process(population), n_students, n_steps, seed)
    findings: list[Finding] = []
    done: list[str] = []
    for index, (name, check) in enumerate(CHECKS.items()):
        if findings and index == _FIRST and any(f.level is Level.PROBLEM for f in findings):
            break
        done.append(name)
        _progress(name)
        findings += [Finding(name, c.level, c.message) for c in _all_complaints(check, case)]
    if not with_speed or any(f.level is Level.PROBLEM for f in findings):
        return Report(reference, tuple(done), tuple(findings))
    _progress(_SPEED)
    own, share = speed.relative_speed(case)
    findings += [Finding(_SPEED, c.level, c.message) for c in speed.too_slow(own, share)]
    return Report(reference, (*done, _SPEED), tuple(findings), own, share)


def _all_complaints(check: Check, case: Case) -> Iterator[Complaint]:
    try:
        yield from check(case)
    except StudentError as error:
        yield Complaint(f"{error.what} [row {error.row} of the batch]")
    except Exception as error:
        yield Complaint(f"raised {describe(error)}")


# -- what is checked -------------------------------------------------------------------------------
def _population(student: str | type | Population, model: dict[str, Any]) -> tuple[str, Population]:
    if isinstance(student, Population):
        return student.student, student
    if isinstance(student, str) and student.endswith((".yaml", ".yml")):
        population = load_population(student)
        return population.student, population
    if isinstance(student, str) and student in POPULATIONS and not model:
        population = load_population(POPULATIONS[student])
        return population.student, population
    if isinstance(student, str):
        reference = resolve_reference(student)
        kind = student_class(reference)
    else:
        reference = _reference_of(student)
        kind = adapt(student, reference)
    try:
        own = configured(kind, model)
        fields = {"name": reference, "student": reference, "model": own}
        fields["latents"] = spread_latents(kind, own)
        return reference, Population.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(
            f"`{'.'.join(map(str, ('model', *e['loc'])))}`: {e['msg']}" for e in error.errors()
        )
        raise ValueError(f"{reference}: {faults}") from error


def _reference_of(kind: type) -> str:
    """Of a class that is at hand; a class of the main script is found by its file."""
    known = [name for name, built_in in STUDENT_MODELS.items() if built_in is kind]
    if known:
        return known[0]
    main = getattr(sys.modules["__main__"], "__file__", None)
    if kind.__module__ == "__main__" and main:
        return f"{Path(main).resolve()}:{kind.__qualname__}"
    return f"{kind.__module__}:{kind.__qualname__}"


def _in_this_process(population: Population) -> Population:
    """Workers would only make it slower; a class need not be found by others then."""
    own = population.student_model
    if not isinstance(own, HostedStudent):
        return population
    here: StudentModel = type(own).model_validate(own.model_dump() | {"workers": 0})
    return population.model_copy(update={"model": here})


# -- in another process ----------------------------------------------------------------------------
_MARK = "check: "


def _progress(check: str) -> None:
    """In the process that is watched: which check runs."""
    if __name__ == "__main__":
        sys.stderr.write(f"{_MARK}{check}\n")
        sys.stderr.flush()


def _check_elsewhere(student: str, settings: dict[str, Any], time_limit_s: float) -> Report:
    command = [sys.executable, "-m", "tutor_envs.testing", student, json.dumps(settings)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=time_limit_s, check=False
        )
    except subprocess.TimeoutExpired as stopped:
        text = (stopped.stderr or b"").decode()  # bytes, even where text was asked for
        return _unfinished(
            student,
            text,
            f"no result after {time_limit_s:g} s: it hangs, or is very slow; look for loops that "
            "do not end",
        )
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return Report.from_json(lines[-1])
    if done.returncode == 2 and lines:
        raise ValueError(json.loads(lines[-1]))
    return _unfinished(student, done.stderr, f"the process ended (exit code {done.returncode})")


def _unfinished(student: str, text: str, what: str) -> Report:
    begun = [line.removeprefix(_MARK) for line in text.splitlines() if line.startswith(_MARK)]
    during = f" (during `{begun[-1]}`)" if begun else " (while it was loaded)"
    finding = Finding(_TIME, Level.PROBLEM, what + during)
    return Report(student, (*begun, _TIME), (finding,))


def _main() -> None:
    """Check ``argv[1]`` with the settings in ``argv[2]``; the report is the last line."""
    import torch

    torch.set_num_threads(1)
    try:
        report = check_student(sys.argv[1], **json.loads(sys.argv[2]))
    except (ValueError, OSError) as error:
        sys.stdout.write("\n" + json.dumps(str(error)) + "\n")
        raise SystemExit(2) from None
    sys.stdout.write("\n" + report.to_json() + "\n")


if __name__ == "__main__":
    _main()
