"""The check: a real log's statistics beside those of replays, and the verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tutor_envs.population import Population
from tutor_sim.logs.log import Floats, InteractionLog
from tutor_sim.logs.replay import replay_log
from tutor_sim.realism.statistics import (
    Group,
    Key,
    Statistics,
    Value,
    natural_kc,
    statistics,
    student_shares,
)
from tutor_sim.tracing import auc, cross_validate
from tutor_sim.tracing.histories import Kc

PREDICTORS = ("item_mean", "rasch", "elo", "pfa", "bkt", "best_lr")
"""Whose accuracy is compared, from the simplest on."""
ORACLE = "oracle"
"""Who knows the simulated mind: P(correct) given its true latents and state."""
TOLERANCE: dict[Group, float] = {
    "learning curve": 0.05,
    "forgetting": 0.05,
    "learners": 0.03,
    "predictors": 0.03,
}
"""How far from the simulated mean a real value may lie."""
_CLEARLY = 0.01
"""Predictors whose AUC is nearer than this have no order."""
_MIN_STUDENTS = 10
"""With fewer students there is nobody to predict from."""

OnProgress = Callable[[str, int, int], None]


class Line(NamedTuple):
    """One statistic, real and simulated.

    Attributes:
        key: which one.
        real: NaN where only simulated students have it.
        simulated: one value for each replicate that has it; empty: not simulated.
        n: rows, students or sessions behind the real value.
    """

    key: Key
    real: float
    simulated: tuple[float, ...]
    n: int

    @property
    def mean(self) -> float:
        """Of the replicates; NaN without any."""
        return float(np.mean(self.simulated)) if self.simulated else float("nan")

    @property
    def inside(self) -> bool | None:
        """Within the tolerance of the mean, or between replicates; None: nothing to compare."""
        if not self.simulated or np.isnan(self.real):
            return None
        low, high = min(self.simulated), max(self.simulated)
        near = abs(self.real - self.mean) <= TOLERANCE[self.key.group]
        return near or low <= self.real <= high


@dataclasses.dataclass(frozen=True)
class Realism:
    """What the check found.

    Attributes:
        log_name: of the real log.
        population: name.
        kc: whether meetings with items or with skills were counted.
        n_students: real ones, and as many simulated in each replicate.
        n_rows: of the real log.
        n_replicates: replays.
        lines: every statistic.
        real_shares: share correct of each real student with enough rows.
        simulated_shares: the same for each replicate.
    """

    log_name: str
    population: str
    kc: Kc
    n_students: int
    n_rows: int
    n_replicates: int
    lines: tuple[Line, ...]
    real_shares: Floats
    simulated_shares: tuple[Floats, ...]

    def group(self, group: Group) -> list[Line]:
        """The lines of a group, in order."""
        return [line for line in self.lines if line.key.group == group]

    @property
    def same_ranking(self) -> bool | None:
        """No two predictors clearly change places on simulated answers; None: not measured."""
        lines = [line for line in self.group("predictors") if line.inside is not None]
        if not lines:
            return None
        real = np.array([line.real for line in lines])
        simulated = np.array([line.mean for line in lines])
        apart_real = np.subtract.outer(real, real)
        apart = np.subtract.outer(simulated, simulated)
        clear = np.minimum(abs(apart_real), abs(apart)) > _CLEARLY
        return not bool((clear & (apart_real * apart < 0)).any())


def check_realism(
    log: InteractionLog,
    population: Population,
    *,
    log_name: str = "log",
    seed: int = 0,
    n_replicates: int = 5,
    predictors: tuple[str, ...] = PREDICTORS,
    on_progress: OnProgress | None = None,
) -> Realism:
    """Replay a real log with a population's students several times, and compare.

    Args:
        log: of real students.
        population: whose students are in question.
        log_name: for people.
        seed: of the first replay; the next ones take the next seeds.
        n_replicates: replays, each with other students and other luck.
        predictors: names in :data:`tutor_sim.tracing.PREDICTORS`.
        on_progress: called with what is being done, the parts done, and all parts.

    Raises:
        ValueError: log and population do not fit, or a number that is not allowed.
    """
    if n_replicates < 1:
        raise ValueError(f"`n_replicates` must be >= 1, got {n_replicates}")
    kc = natural_kc(log)
    names = predictors if log.n_students >= _MIN_STUDENTS else ()
    bench = _Bench(names, kc, (len(names) + 1) * (n_replicates + 1), on_progress)
    replays, simulated_shares = [], []
    # The replays come first: a log that does not fit is found at once.
    for replicate in range(n_replicates):
        bench.tell(f"replay {replicate + 1}")
        replay = replay_log(log, population, seed=seed + replicate)
        found = bench.measure(replay.log, f"replay {replicate + 1}")
        graded = replay.log.graded
        oracle = auc(replay.p_correct[graded], replay.log.correct[graded])
        found[Key("predictors", ORACLE)] = Value(oracle, int(graded.sum()))
        replays.append(found)
        simulated_shares.append(student_shares(replay.log))
    real = bench.measure(log, "real log")
    return Realism(
        log_name=log_name,
        population=population.name,
        kc=kc,
        n_students=log.n_students,
        n_rows=len(log),
        n_replicates=n_replicates,
        lines=_lines(real, replays),
        real_shares=student_shares(log),
        simulated_shares=tuple(simulated_shares),
    )


class _Bench:
    """Measures logs and says how far it is."""

    def __init__(
        self, predictors: tuple[str, ...], kc: Kc, n_parts: int, on_progress: OnProgress | None
    ) -> None:
        self.predictors, self.kc = predictors, kc
        self.n_parts, self.n_done = n_parts, 0
        self._on_progress = on_progress

    def tell(self, doing: str) -> None:
        if self._on_progress:
            self._on_progress(doing, self.n_done, self.n_parts)

    def measure(self, log: InteractionLog, name: str) -> dict[Key, Value]:
        self.tell(name)
        found = statistics(log, self.kc)
        self.n_done += 1
        n = int(log.graded.sum())
        for predictor in self.predictors:
            self.tell(f"{name}: {predictor}")
            scores = cross_validate(log, predictor, kc=self.kc)
            found[Key("predictors", predictor)] = Value(scores.auc, n)
            self.n_done += 1
        self.tell(name)
        return found


def _lines(real: Statistics, replays: list[dict[Key, Value]]) -> tuple[Line, ...]:
    keys = dict.fromkeys([*real, *replays[0]])
    lines = []
    for key in keys:
        # The schedule, sessions included, is the real one: a replay says nothing about it.
        given = key.group == "sessions"
        simulated = [found[key].value for found in replays if key in found and not given]
        value = real.get(key, Value(float("nan"), 0))
        if key in real or key.name == ORACLE:
            lines.append(Line(key, value.value, tuple(simulated), value.n))
    return tuple(lines)
