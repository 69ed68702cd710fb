"""Exact values of a family with known parameters, beside those that a cases file states.

An exact value agrees within ``EXACT_TOLERANCE``, an estimate within ``N_STANDARD_ERRORS`` of its
own standard error. A greedy tutor (myopic, lookahead, posterior sampling) whose best actions *tie*
has no single value: how a tie is broken changes what is learned of the student. A program that
takes the largest of rounded numbers breaks ties by rounding errors; its value is some number
between that with every tie decided for the worst and that with every tie decided for the best.
Where there are ties, a file's value agrees if it lies in this range; the value stated here breaks
ties by the lowest action index.
"""

from __future__ import annotations

import enum
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch

from tutor_agents.planner import BayesTutor, ExactPlanner, SearchSize, TiedValue
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Tutor
from tutor_envs.cases import Case
from tutor_envs.population import FiniteTypes
from tutor_sim.evaluation import evaluate

EXACT_TOLERANCE = 1e-6
N_STANDARD_ERRORS = 4.0
N_SIMULATED_STUDENTS = 20_000
SIMULATION_LEVEL = 0.9999
"""Confidence level of a simulation's interval: so high that a right value hardly ever falls out."""
DEFAULT_MAX_BYTES = 4 * 2**30
_AVERAGED_PARAMETERS = {
    "style_bandit": ("p",),
    "style_bandit_with_questionnaire": ("p",),
    "bkt_types": ("learn", "slip", "guess", "init", "init_closed"),
}
"""Family -> parameters whose mean over types makes its average student."""
_LOOKAHEAD = re.compile(r"lookahead([1-9]\d*)")
_STATES = ("openloop_seq", "best_single_action", "oracle_per_type", "thompson_se")
"""What a file says beside the values of tutors."""

Progress = Callable[[str], None]


class Verdict(enum.StrEnum):
    """How a value compares with the file's."""

    AGREES = "agrees"
    AGREES_TIED = "agrees (ties)"
    DIFFERS = "differs"
    NOT_COMPUTED = "not computed"
    NOT_IN_FILE = "not in the file"
    UNKNOWN = "unknown value"

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self not in (Verdict.DIFFERS, Verdict.NOT_COMPUTED)


class LimitRow(NamedTuple):
    """One value, computed and as the file states it.

    Attributes:
        name: as in the file.
        ours: what was computed; None if it was not.
        low: the value with every tie decided for the worst; ``ours`` without ties.
        high: the value with every tie decided for the best; ``ours`` without ties.
        file: what the file states; None if nothing.
        tolerance: how far apart they may be.
        verdict: how they compare.
        note: more about it; may be empty.
    """

    name: str
    ours: float | None
    low: float | None
    high: float | None
    file: float | None
    tolerance: float
    verdict: Verdict
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the file's."""
        return None if self.ours is None or self.file is None else self.ours - self.file


class SimulatedRow(NamedTuple):
    """A tutor's value by simulation in the ordinary classroom.

    Attributes:
        tutor: its name.
        exact: its exact value.
        mean: over test students.
        low: lower end of the mean's interval (level ``SIMULATION_LEVEL``).
        high: upper end.
        n_students: how many.
        agrees: the exact value lies in the interval.
    """

    tutor: str
    exact: float
    mean: float
    low: float
    high: float
    n_students: int
    agrees: bool


class CaseLimit(NamedTuple):
    """All about one case.

    Attributes:
        case: the case.
        rows: the values.
        simulated: simulations.
        openloop_sequence: the best fixed sequence of actions found.
        best_single_action: the best action to repeat.
        size: of the search; None if the family was too big.
        seconds_s: wall-clock time.
        error: why there is nothing more; empty if all went well.
    """

    case: Case
    rows: tuple[LimitRow, ...]
    simulated: tuple[SimulatedRow, ...]
    openloop_sequence: tuple[int, ...]
    best_single_action: int
    size: SearchSize | None
    seconds_s: float
    error: str = ""

    @property
    def ok(self) -> bool:
        """Nothing disagrees, and nothing could not be computed."""
        values = all(row.verdict.ok for row in self.rows)
        return values and all(row.agrees for row in self.simulated) and not self.error

    def value(self, name: str) -> float:
        """A computed value.

        Raises:
            ValueError: it was not computed.
        """
        for row in self.rows:
            if row.name == name and row.ours is not None:
                return row.ours
        raise ValueError(f"case `{self.case.name}`: `{name}` was not computed. {self.error}")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and texts."""
        return {
            "case": self.case.name,
            "family": self.case.family,
            "ok": self.ok,
            "error": self.error,
            "values": [{**row._asdict(), "difference": row.difference} for row in self.rows],
            "simulated": [row._asdict() for row in self.simulated],
            "openloop_sequence": list(self.openloop_sequence),
            "best_single_action": self.best_single_action,
            "search_size": None if self.size is None else self.size._asdict(),
            "seconds_s": self.seconds_s,
        }


# -- comparing ------------------------------------------------------------------------------------
class _File:
    """The numbers that a case's file states."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def number(self, name: str) -> float | None:
        """One number, if it is there.

        Raises:
            ValueError: it is not a number.
        """
        value = self._case.values.get(name)
        if value is None:
            return None
        return self._checked(name, value)

    def numbers(self, name: str) -> list[float] | None:
        """A list of numbers, if it is there.

        Raises:
            ValueError: it is not a list of numbers.
        """
        values = self._case.values.get(name)
        if values is None:
            return None
        if not isinstance(values, list):
            raise self._error(name, "a list of numbers", values)
        return [self._checked(name, value) for value in values]

    def _checked(self, name: str, value: object) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self._error(name, "a number", value)
        return float(value)

    def _error(self, name: str, wanted: str, found: object) -> ValueError:
        place = f"case `{self._case.name}`: `values.{name}`"
        return ValueError(f"{place} must be {wanted}, got {found!r}")


def compared(
    name: str,
    ours: float | TiedValue,
    file: float | None,
    tolerance: float = EXACT_TOLERANCE,
    note: str = "",
) -> LimitRow:
    """A row with its verdict."""
    value, low, high = ours if isinstance(ours, TiedValue) else (ours, ours, ours)
    if file is None:
        verdict = Verdict.NOT_IN_FILE
    elif abs(value - file) <= tolerance:
        verdict = Verdict.AGREES
    elif low - tolerance <= file <= high + tolerance:
        verdict = Verdict.AGREES_TIED
    else:
        verdict = Verdict.DIFFERS
    return LimitRow(name, value, low, high, file, tolerance, verdict, note)


# -- computing ------------------------------------------------------------------------------------
def _mean(values: Sequence[Any], prior: Sequence[float]) -> Any:
    """Mean over types of numbers, nested lists or tables of numbers."""
    if isinstance(values[0], Mapping):
        keys = sorted({key for table in values for key in table})
        return {
            key: sum(p * table.get(key, 0.0) for p, table in zip(prior, values, strict=True))
            for key in keys
        }
    return np.tensordot(np.asarray(prior), np.asarray(values, dtype=np.float64), 1).tolist()


def average_student(case: Case) -> FiniteTypes:
    """The one student whose parameters are the means over the case's types."""
    parameters = dict(case.parameters)
    prior = parameters["prior"]
    for name in _AVERAGED_PARAMETERS[case.family]:
        values = parameters.get(name)
        if isinstance(values, list):
            parameters[name] = [_mean(values, prior)] * len(values)
    types = case.model_copy(update={"parameters": parameters}).population().types_exact()
    latents = {name: value[:1] for name, value in types.latents.items()}
    return FiniteTypes(torch.ones(1, dtype=torch.float64), latents, exact=False)


def _average_planner_value(case: Case, planner: ExactPlanner, max_bytes: float) -> float:
    """The optimal tutor of the average student, teaching the family."""
    if case.family in _AVERAGED_PARAMETERS:
        average = average_student(case)
        task = planner.task
        plan = ExactPlanner(planner.model, average, task, max_bytes=max_bytes).plan()
    else:
        plan = planner.plan_for_average_responses()
    return planner.taught_by(plan)


def _round_robin(planner: ExactPlanner) -> float:
    """Every practice in turn, by action index."""
    actions = [i for i, action in enumerate(planner.model.actions) if action.skill]
    return planner.sequence([actions[t % len(actions)] for t in range(planner.task.n_steps)])


def _fixed_rows(planner: ExactPlanner, file: _File) -> tuple[list[LimitRow], tuple[int, ...], int]:
    """Tutors that do not look; the best sequence and the best action to repeat."""
    rows: list[LimitRow] = []
    sequence: tuple[int, ...] = ()
    try:
        value, found = planner.best_sequence()
    except ValueError as error:
        stated = file.number("openloop")
        rows.append(_not_computed("openloop", stated, str(error)))
    else:
        sequence = tuple(found)
        rows.append(compared("openloop", value, file.number("openloop")))
    stated_sequence = file.numbers("openloop_seq")
    if stated_sequence is not None:
        worth = planner.sequence([int(action) for action in stated_sequence])
        note = "the file's sequence"
        rows.append(compared("openloop_seq", worth, file.number("openloop"), note=note))
    rows.append(compared("round_robin", _round_robin(planner), file.number("round_robin")))
    n_steps = planner.task.n_steps
    singles = [planner.sequence([action] * n_steps) for action in range(planner.model.n_actions)]
    best = max(singles)
    rows.append(compared("best_single", best, file.number("best_single")))
    stated_action = file.number("best_single_action")
    if stated_action is not None:
        worth = planner.sequence([int(stated_action)] * n_steps)
        note = "the file's action"
        rows.append(compared("best_single_action", worth, file.number("best_single"), note=note))
    single = next(a for a, value in enumerate(singles) if value >= best - 1e-9)
    return rows, sequence, single


def _not_computed(name: str, file: float | None, note: str) -> LimitRow:
    return LimitRow(name, None, None, None, file, EXACT_TOLERANCE, Verdict.NOT_COMPUTED, note)


def _informed_rows(planner: ExactPlanner, case: Case, file: _File) -> list[LimitRow]:
    """Tutors that know more than a tutor can."""
    per_type = planner.oracle_per_type()
    rows = [compared("oracle_type", planner.oracle(), file.number("oracle_type"))]
    stated = file.numbers("oracle_per_type")
    if stated is not None:
        # The population leaves out types that never come.
        possible = [p > 0 for p in case.parameters["prior"]]
        if len(stated) == len(possible):
            stated = [value for value, comes in zip(stated, possible, strict=True) if comes]
        if len(stated) != len(per_type):
            raise ValueError(
                f"case `{case.name}`: `values.oracle_per_type` must have {len(per_type)} numbers, "
                f"got {len(stated)}"
            )
        for z, (ours, theirs) in enumerate(zip(per_type, stated, strict=True)):
            rows.append(compared(f"oracle_per_type[{z}]", ours, theirs))
    rows.append(compared("full_info", planner.full_information(), file.number("full_info")))
    return rows


def _greedy_rows(planner: ExactPlanner, case: Case, file: _File) -> list[LimitRow]:
    """Myopic, lookahead, posterior sampling: their values depend on how ties are broken."""
    rows = [compared("myopic", planner.lookahead(1), file.number("myopic"))]
    stated = (match[1] for match in map(_LOOKAHEAD.fullmatch, case.values) if match)
    for depth in sorted({2, 3, *map(int, stated)}):
        name = f"lookahead{depth}"
        rows.append(compared(name, planner.lookahead(depth), file.number(name)))
    value = planner.thompson()
    theirs, se = file.number("thompson"), file.number("thompson_se")
    tolerance = EXACT_TOLERANCE if se is None else N_STANDARD_ERRORS * se + 1e-9
    tied = TiedValue(value, value, value)
    if theirs is not None and abs(value - theirs) > tolerance:
        tied = TiedValue(value, *planner.thompson_range())
    note = "" if se is None else f"the file's is an estimate, standard error {se:.2g}"
    return [*rows, compared("thompson", tied, theirs, tolerance, note)]


def simulated(
    tutor: Tutor, exact: float, case: Case, *, n_students: int, seed: int
) -> SimulatedRow:
    """A tutor's mean return over test students in the ordinary classroom."""
    outcome = evaluate(tutor, case.population(), case.task(), n_students=n_students, seed=seed)
    scores = outcome.scores.sum(axis=1)
    mean = float(scores.mean())
    z = NormalDist().inv_cdf(0.5 + SIMULATION_LEVEL / 2)
    # The classroom computes in float32; without luck its scores do not spread at all.
    margin = z * float(scores.std(ddof=1)) / math.sqrt(n_students) + 1e-5 * max(1.0, abs(exact))
    low, high = mean - margin, mean + margin
    return SimulatedRow(tutor.name, exact, mean, low, high, n_students, low <= exact <= high)


def limit_case(
    case: Case,
    *,
    n_students: int = N_SIMULATED_STUDENTS,
    seed: int = 0,
    max_bytes: float = DEFAULT_MAX_BYTES,
    progress: Progress | None = None,
) -> CaseLimit:
    """Compute everything about a case and compare it with what its file states.

    Args:
        case: the family, and the file's values if there are any.
        n_students: test students that the Bayes and the random tutor teach in simulation.
        seed: of the simulation.
        max_bytes: refuse a family whose search would hold more.
        progress: told a line about each step.

    Raises:
        ValueError: the case's parameters or values are not what they must be. A family that is too
            big is no error: the result says so.
    """
    started_s = time.perf_counter()
    file = _File(case)
    planner = ExactPlanner.of(
        case.population(), case.task(), max_bytes=max_bytes, progress=progress
    )
    try:
        bayes = planner.bayes()
        size = planner.size()
    except ValueError as error:
        seconds_s = time.perf_counter() - started_s
        return CaseLimit(case, (), (), (), -1, None, seconds_s, f"{error}")
    tell = progress or (lambda _: None)
    random = planner.random()
    rows = [compared("bayes", bayes, file.number("bayes"))]
    rows.append(compared("random", random, file.number("random")))
    tell("tutors that do not look")
    fixed, sequence, single = _fixed_rows(planner, file)
    tell("tutors that know more")
    rows += fixed + _informed_rows(planner, case, file)
    tell("greedy tutors")
    rows += _greedy_rows(planner, case, file)
    average = _average_planner_value(case, planner, max_bytes)
    rows.append(compared("avg_student_planner", average, file.number("avg_student_planner")))
    known = {row.name for row in rows} | set(_STATES)
    for name in case.values:
        if name not in known:
            note = "the file states it; nothing here computes it"
            rows.append(LimitRow(name, None, None, None, None, 0.0, Verdict.UNKNOWN, note))
    tell("simulation")
    tutors: list[tuple[Tutor, float]] = [
        (BayesTutor.following(planner), bayes),
        (RandomTutor(planner.model), random),
    ]
    checks = tuple(
        simulated(tutor, exact, case, n_students=n_students, seed=seed) for tutor, exact in tutors
    )
    seconds_s = time.perf_counter() - started_s
    return CaseLimit(case, tuple(rows), checks, sequence, single, size, seconds_s)
