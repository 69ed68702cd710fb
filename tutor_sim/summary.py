"""What a comparison says: scores with intervals, and where tutors stand between references."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutor_sim.adaptation import (
    LEVELS,
    actions_to_reach,
    cumulative_regret,
    lesson_fractions,
    regret_points,
    way_to_last_lesson,
)
from tutor_sim.equity import Equity, equity
from tutor_sim.evaluation import DISCOUNT, Evaluation, Role, by_tutor
from tutor_sim.measures import LearningMeasures, learning_measures, mean_estimate
from tutor_sim.statistics import (
    Array,
    Estimate,
    Reference,
    fraction,
    iqm_interval,
    mean_interval,
    paired_difference,
    undefined,
    worst_decile_interval,
)

RANDOM = "random"
BEST_FIXED = "best_fixed"
BAYES = "bayes"
ORACLE = "oracle"
"""Names of the references; the same as the tutors' in the registry."""

_CASE_VALUES = {RANDOM: "random", BEST_FIXED: "openloop", BAYES: "bayes"}
"""Reference -> its name among the values of a cases file."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What training a tutor took; means over its seeds.

    Attributes:
        teaching_steps: teaching actions.
        elapsed_s: seconds.
        cpu_s: CPU-seconds, all threads together, validations included.
    """

    teaching_steps: float
    elapsed_s: float
    cpu_s: float


@dataclasses.dataclass(frozen=True)
class TutorSummary:
    """One tutor's line of a comparison.

    Attributes:
        tutor: its name.
        role: learned, baseline, optimum or oracle.
        n_students: students it was evaluated with.
        score: mean score over students and lessons.
        iqm: interquartile mean over students.
        worst_decile: mean of the tenth of the students with the lowest scores.
        lessons: mean score of each lesson.
        adaptation: score of the last lesson less that of the first, with the same students; nan for
            one lesson.
        fraction_of_optimal: 0 for the random tutor, 1 for the Bayes-optimal one.
        fraction_of_adaptivity: 0 for the best fixed sequence, 1 for the Bayes-optimal tutor.
        fraction_of_oracle: 0 for the random tutor, 1 for the oracle, who knows what no tutor can;
            not comparable with the fraction of optimal.
        versus_baseline: score less that of the best baseline, with the same students.
        regret: score of the best reference (Bayes-optimal, else oracle) less the tutor's.
        us_per_action: median microseconds for one action of one student, in batches.
        n_seeds: trainings that the numbers are the mean of; intervals cover their draw, too.
        seed_scores: training seed -> mean score, where there are several trainings.
        lesson_fractions: of each lesson: 0 for the random tutor, 1 for the optimum there
            (``Summary.lesson_reference``).
        actions_to_reach: level, such as ``80 %`` -> teaching actions with a student until a lesson
            comes that far on the way from the random tutor to the optimum's last lesson.
        cumulative_regret: teaching actions with a student -> what was lost by then to the optimum
            (``Summary.lesson_reference``), in the unit of ``Evaluation.progress``.
        measures: what the students learned.
        cost: of training; None: not trained, or not known.
    """

    tutor: str
    role: Role
    n_students: int
    score: Estimate
    iqm: Estimate
    worst_decile: Estimate
    lessons: tuple[Estimate, ...]
    adaptation: Estimate
    fraction_of_optimal: Estimate
    fraction_of_adaptivity: Estimate
    fraction_of_oracle: Estimate
    versus_baseline: Estimate
    regret: Estimate
    us_per_action: float
    n_seeds: int = 1
    seed_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    lesson_fractions: tuple[Estimate, ...] = ()
    actions_to_reach: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    cumulative_regret: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    measures: LearningMeasures | None = None
    cost: Cost | None = None

    def metrics(self) -> dict[str, float]:
        """The known numbers by TensorBoard tag, such as ``eval/score``."""
        estimates = {
            "score": self.score,
            "iqm": self.iqm,
            "worst_decile": self.worst_decile,
            "fraction_of_optimal": self.fraction_of_optimal,
            "fraction_of_adaptivity": self.fraction_of_adaptivity,
            "fraction_of_oracle": self.fraction_of_oracle,
            "versus_baseline": self.versus_baseline,
            "regret": self.regret,
        }
        tags = {f"eval/{name}": e.value for name, e in estimates.items() if e.known}
        for name in (name for name in estimates if name.startswith("fraction")):
            low, high = estimates[name][1:3]
            if not math.isnan(low):
                tags |= {f"eval/{name}_low": low, f"eval/{name}_high": high}
        tags |= {f"eval/score_lesson_{k}": e.value for k, e in enumerate(self.lessons, start=1)}
        return tags | {"perf/us_per_action": self.us_per_action}


@dataclasses.dataclass(frozen=True)
class Summary:
    """A whole comparison.

    Attributes:
        tutors: best mean score first.
        baseline: name of the baseline with the highest mean score; None without baselines.
        best_reference: what ``regret`` is measured from; None without optimum and oracle.
        exact: exactly known expected scores: reference -> value.
        n_steps: teaching actions of a lesson.
        lesson_reference: the optimum of ``lesson_fractions`` and ``actions_to_reach``: the
            Bayes-optimal tutor if it was evaluated, else an oracle; None without either.
        equity: who benefits, by each division of the students that there is; tutors in the order of
            ``tutors``.
    """

    tutors: tuple[TutorSummary, ...]
    baseline: str | None
    best_reference: str | None
    exact: Mapping[str, float]
    n_steps: int = 0
    lesson_reference: str | None = None
    equity: tuple[Equity, ...] = ()

    def __getitem__(self, tutor: str) -> TutorSummary:
        """The line of a tutor.

        Raises:
            KeyError: no tutor of this name was compared.
        """
        for line in self.tutors:
            if line.tutor == tutor:
                return line
        raise KeyError(tutor)

    @property
    def n_lessons(self) -> int:
        """Lessons in a trial."""
        return len(self.tutors[0].lessons)

    def shows(self, field: str) -> bool:
        """Some tutor has a number in this field of :class:`TutorSummary`."""
        return any(getattr(line, field).known for line in self.tutors)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file; what is undefined is null."""
        return {
            "format": 1,
            "baseline": self.baseline,
            "best_reference": self.best_reference,
            "exact": dict(self.exact),
            "lesson_reference": self.lesson_reference,
            "tutors": [plain(dataclasses.asdict(line)) for line in self.tutors],
            "equity": [plain(dataclasses.asdict(division)) for division in self.equity],
        }


def plain(value: Any) -> Any:
    """Estimates and numbers as plain data for a JSON file; what is undefined is null."""
    if isinstance(value, Estimate):
        return {name: plain(part) for name, part in value._asdict().items() if part != ""}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def case_references(values: Mapping[str, Any]) -> dict[str, float]:
    """The references among the exact values of a case (see :class:`tutor_envs.cases.Case`)."""
    return {name: float(values[key]) for name, key in _CASE_VALUES.items() if key in values}


def summarise(
    evaluations: Sequence[Evaluation],
    *,
    exact: Mapping[str, float] | None = None,
    costs: Mapping[str, Cost] | None = None,
    discount: float = DISCOUNT,
) -> Summary:
    """Compare tutors that taught the same students.

    Args:
        evaluations: one for each tutor, or for each of its training seeds; the references are found
            among them by role (optimum, oracle) and by name (``random``, ``best_fixed``).
        exact: exactly known expected scores of references, by name: see :func:`case_references`.
        costs: tutor -> what its training took.
        discount: for each teaching action, of the discounted reward.

    Raises:
        ValueError: no evaluation, two of one name and training seed, or not the same students with
            the same luck.
    """
    _check_paired(evaluations)
    exact, costs = dict(exact or {}), costs or {}
    groups = by_tutor(evaluations)
    baselines = [group for group in groups.values() if group[0].role is Role.BASELINE]
    baseline = max(baselines, key=lambda group: _seed_scores(group).mean(), default=None)
    references = _references(list(groups.values()), exact)
    yardstick = _Yardstick(
        references,
        _known_luck(evaluations, exact),
        baseline,
        next((e for e in evaluations if e.tutor == RANDOM), None),
        _lesson_reference(evaluations),
    )
    lines = sorted(
        (
            _summarise_one(group, yardstick, costs.get(name), discount)
            for name, group in groups.items()
        ),
        key=lambda line: -line.score.value,
    )
    ordered = [e for line in lines for e in groups[line.tutor]]
    best = next((name for name in (BAYES, ORACLE) if name in references), None)
    return Summary(
        tutors=tuple(lines),
        baseline=baseline[0].tutor if baseline else None,
        best_reference=best,
        exact=exact,
        n_steps=evaluations[0].task.n_steps,
        lesson_reference=yardstick.optimum.tutor if yardstick.optimum else None,
        equity=equity(ordered, RANDOM),
    )


@dataclasses.dataclass(frozen=True)
class _Yardstick:
    """What every tutor is measured against."""

    references: Mapping[str, Reference]
    luck: Sequence[Array]
    baseline: Sequence[Evaluation] | None
    random: Evaluation | None
    optimum: Evaluation | None


def _lesson_reference(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The optimum lesson by lesson: the Bayes-optimal tutor, else the best oracle."""
    for role in (Role.OPTIMUM, Role.ORACLE):
        found = [e for e in evaluations if e.role is role]
        if found:
            return max(found, key=lambda e: e.score)
    return None


def _check_paired(evaluations: Sequence[Evaluation]) -> None:
    if not evaluations:
        raise ValueError("`evaluations` must hold at least one evaluation, got none.")
    names = [(e.tutor, e.training_seed) for e in evaluations]
    repeated = sorted({name for name, seed in names if names.count((name, seed)) > 1})
    if repeated:
        raise ValueError(f"tutors must have different names, got several called {repeated}.")
    first = evaluations[0]
    for other in evaluations[1:]:
        same = other.seed == first.seed and np.array_equal(other.students, first.students)
        if not (same and other.task == first.task and other.population == first.population):
            raise ValueError(
                f"tutors `{first.tutor}` and `{other.tutor}` must be evaluated on the same "
                "students: "
                "same population, task, seed and number."
            )


def _seed_scores(group: Sequence[Evaluation]) -> Array:
    """Score of each student with each of one tutor's seeds, ``(S, n)``."""
    return np.stack([e.student_scores for e in group])


def _references(
    groups: Sequence[Sequence[Evaluation]], exact: Mapping[str, float]
) -> dict[str, Reference]:
    """By role and name; of a tutor with several seeds, its mean over them."""
    found = {name: Reference(value) for name, value in exact.items()}
    for group in groups:
        name = group[0].tutor
        if group[0].role is Role.OPTIMUM:
            name = BAYES
        elif group[0].role is Role.ORACLE:
            name = ORACLE
        elif name not in (RANDOM, BEST_FIXED):
            continue
        before = found.get(name, Reference())
        scores = _seed_scores(group).mean(axis=0)
        if before.scores is None or scores.mean() > before.scores.mean():
            found[name] = Reference(before.value, scores)
    return found


def _known_luck(evaluations: Sequence[Evaluation], exact: Mapping[str, float]) -> list[Array]:
    """Luck of the tutors whose expected score is known whatever happens: random and optimum.

    (A best fixed sequence that a search found need not be the one whose value is known.)
    """
    named = {RANDOM: [e for e in evaluations if e.tutor == RANDOM]}
    named[BAYES] = [e for e in evaluations if e.role is Role.OPTIMUM]
    return [
        found[0].student_scores - exact[name]
        for name, found in named.items()
        if found and name in exact
    ]


def _summarise_one(
    group: Sequence[Evaluation], yardstick: _Yardstick, cost: Cost | None, discount: float
) -> TutorSummary:
    """Of one tutor's evaluations, one for each training seed."""
    first, baseline = group[0], yardstick.baseline
    scores = _seed_scores(group)
    by_lesson = np.stack([e.scores for e in group])  # (S, n, K)
    one_lesson = by_lesson.shape[-1] == 1

    def between(low: str, high: str) -> Estimate:
        references = yardstick.references
        missing = [name for name in (low, high) if name not in references]
        if missing:
            return undefined(f"needs the tutor `{'` and `'.join(missing)}`")
        return fraction(scores, references[low], references[high], luck=yardstick.luck)

    fractions, to_reach = _adaptation(by_lesson, first.task.n_steps, yardstick)
    return TutorSummary(
        tutor=first.tutor,
        role=first.role,
        n_students=scores.shape[-1],
        score=mean_interval(scores),
        iqm=iqm_interval(scores),
        worst_decile=worst_decile_interval(scores),
        lessons=tuple(mean_interval(by_lesson[..., k]) for k in range(by_lesson.shape[-1])),
        adaptation=(
            undefined("one lesson")
            if one_lesson
            else mean_interval(by_lesson[..., -1] - by_lesson[..., 0])
        ),
        fraction_of_optimal=between(RANDOM, BAYES),
        fraction_of_adaptivity=between(BEST_FIXED, BAYES),
        fraction_of_oracle=between(RANDOM, ORACLE),
        versus_baseline=(
            undefined("no baseline")
            if baseline is None
            else paired_difference(scores, _seed_scores(baseline))
        ),
        regret=_regret(scores, yardstick.references),
        us_per_action=float(np.median([e.us_per_action for e in group])),
        n_seeds=len(group),
        seed_scores={str(e.training_seed): e.score for e in group if e.training_seed is not None},
        lesson_fractions=fractions,
        actions_to_reach=to_reach,
        cumulative_regret=_cumulative_regret(group, yardstick.optimum),
        measures=learning_measures(group, discount=discount),
        cost=cost,
    )


def _adaptation(
    by_lesson: Array, n_steps: int, yardstick: _Yardstick
) -> tuple[tuple[Estimate, ...], dict[str, Estimate]]:
    """Fraction of the optimum in each lesson, and the teaching actions to reach each level."""
    levels = {f"{level:.0%}".replace("%", " %"): level for level in LEVELS}
    n_lessons = by_lesson.shape[-1]
    if yardstick.random is None or yardstick.optimum is None:
        missing = undefined("needs the tutor `random` and `bayes` or an oracle")
        return (missing,) * n_lessons, dict.fromkeys(levels, missing)
    ends = yardstick.random.scores, yardstick.optimum.scores
    way = way_to_last_lesson(by_lesson, *ends)
    return lesson_fractions(by_lesson, *ends), {
        name: actions_to_reach(way, level, n_steps) for name, level in levels.items()
    }


def _cumulative_regret(
    group: Sequence[Evaluation], optimum: Evaluation | None
) -> dict[str, Estimate]:
    """At a few numbers of actions; nothing without an optimum."""
    if optimum is None:
        return {}
    task = optimum.task
    points = regret_points(task.n_trial_steps)
    at = np.array([point - 1 for point in points])
    lost = np.stack(
        [
            cumulative_regret(e.progress, optimum.progress)[:, 1:].reshape(task.n_trial_steps, -1)[
                at
            ]
            for e in group
        ]
    )
    return {str(point): mean_estimate(lost[:, i]) for i, point in enumerate(points)}


def _regret(scores: Array, references: Mapping[str, Reference]) -> Estimate:
    """Mean of the best reference's score less the tutor's."""
    for name in (BAYES, ORACLE):
        reference = references.get(name)
        if reference is not None and reference.scores is not None:
            return mean_interval(reference.scores - scores)
        if reference is not None and reference.value is not None:
            return mean_interval(reference.value - scores)
    return undefined("no optimum and no oracle")
