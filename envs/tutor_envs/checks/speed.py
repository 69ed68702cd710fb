"""How fast a student model is, beside built-in ones."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tutor_envs.checks.case import Case, Complaint, Level
from tutor_envs.population import Split, student_indices
from tutor_envs.population_files import default_population

_N_STUDENTS = 1024
_N_HOSTED = 128
_N_STEPS = 4
_BUILT_IN = ("bkt", "irt")
_SLOW = 0.01


def steps_per_s(case: Case, n_students: int) -> float:
    """Student-steps per second of the second of two lessons (the first fills caches)."""
    students = student_indices(Split.TRAIN, n_students)
    duration_s = 0.0
    for _ in range(2):
        started_s = time.perf_counter()
        case.simulate(students, n_steps=_N_STEPS)
        duration_s = time.perf_counter() - started_s
    return n_students * _N_STEPS / duration_s


def relative_speed(case: Case) -> tuple[float, float]:
    """Student-steps per second, and as a share of the built-in models'."""
    built_in = [
        steps_per_s(Case(default_population(name), _N_STUDENTS, _N_STEPS, 0), _N_STUDENTS)
        for name in _BUILT_IN
    ]
    own = steps_per_s(case, _N_HOSTED if case.hosted else _N_STUDENTS)
    return own, own / (sum(built_in) / len(built_in))


def too_slow(own: float, share: float) -> Iterator[Complaint]:
    """A warning below 1 % of the built-in models."""
    if share < _SLOW:
        yield Complaint(
            f"{own:,.0f} student-steps a second, {share:.2%} of the built-in models: training "
            "takes that much longer; write it as a batched model (door 1), or use more workers",
            Level.WARNING,
        )
