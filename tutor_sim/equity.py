"""Equity: who benefits from a tutor, and does it widen the gaps that were there before?

The outcome is the expected post-test at the end of a lesson, in [0, 1], mean over the lessons.
Students are put into groups by what they are (their latents, drawn again from the population):

=========  =========================================================================================
grouping   groups
=========  =========================================================================================
ability    deciles among the test students; where ability has up to ten values, a group for each
style      the modality to which the student responds best; without preference a group of its own
type       the population's types, where these are other groups than the ones above
=========  =========================================================================================

The **gap** of ability is the mean outcome of the highest group less that of the lowest. The other
groupings have no order, so their gap is that of the best group less the worst one. Looking for the
best and the worst in the same numbers that are then compared would find a gap between groups that
are alike, so students are halved: the pair is chosen in one half and compared in the other, and
the other way round (cross-fitting; Chernozhukov et al. 2018, Econometrics Journal 21, C1-C68).
Alike groups have a gap of 0 on average; where groups are hard to tell apart, the gap comes out too
small rather than too large. The two halves are not independent of each other, so the interval is
that of one half, which is never too narrow (the mean of two numbers varies no more than they do).

A tutor **widens** the gap by its gap less that of a reference: the random tutor with the same
students, or the pre-test. Intervals are of each student's influence on the difference of two means
(Hampel et al. 1986, "Robust statistics", ch. 2), so that differences of gaps are paired.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tutor_sim.evaluation import Evaluation, Role, by_tutor
from tutor_sim.measures import mean_estimate
from tutor_sim.statistics import Array, Estimate, undefined

Kind = Literal["ability", "style", "type"]

N_DECILES = 10
MIN_STUDENTS = 4
"""In a group; smaller groups are left out."""
_SAME = 1e-6
"""Latents this close are equal."""


class Groups(NamedTuple):
    """A division of the students.

    Attributes:
        kind: by what.
        names: of the G groups; of ability, from the lowest to the highest.
        member: int64 ``(n,)``, each student's group; -1 for none.
    """

    kind: Kind
    names: tuple[str, ...]
    member: NDArray[np.int64]

    @property
    def ordered(self) -> bool:
        """There is a lowest and a highest group."""
        return self.kind == "ability"


@dataclasses.dataclass(frozen=True)
class TutorEquity:
    """Who benefits from one tutor.

    Attributes:
        tutor: its name.
        role: what it is in the comparison.
        outcomes: expected post-test of each group.
        best: the group that ends highest.
        worst: the group that ends lowest.
        gap: between groups at the end.
        versus_pre_test: the gap less that before teaching.
        versus_random: the gap less that of the random tutor: above 0 it widens the gap.
    """

    tutor: str
    role: Role
    outcomes: tuple[Estimate, ...]
    best: str
    worst: str
    gap: Estimate
    versus_pre_test: Estimate
    versus_random: Estimate


@dataclasses.dataclass(frozen=True)
class Equity:
    """All tutors by one division of the students.

    Attributes:
        kind: by what the students are grouped.
        groups: names of the groups.
        n_students: in each group.
        pre_test: expected post-test of each group before teaching, mean over lessons.
        pre_test_gap: the gap before teaching.
        tutors: in the order in which they were given.
    """

    kind: Kind
    groups: tuple[str, ...]
    n_students: tuple[int, ...]
    pre_test: tuple[Estimate, ...]
    pre_test_gap: Estimate
    tutors: tuple[TutorEquity, ...]

    @property
    def what(self) -> str:
        """The gap in words."""
        if self.kind == "ability":
            return f"{self.groups[-1]} less {self.groups[0]}"
        return "best group less worst"


def equity(evaluations: Sequence[Evaluation], random: str) -> tuple[Equity, ...]:
    """By every division that these students allow.

    Args:
        evaluations: of all tutors, one for each training seed, with the same students.
        random: name of the random tutor, which may be missing.
    """
    return tuple(_by_groups(evaluations, groups, random) for groups in groups_of(evaluations[0]))


# -- who is who -----------------------------------------------------------------------------------
def groups_of(evaluation: Evaluation) -> list[Groups]:
    """The divisions in which there are at least two groups.

    Args:
        evaluation: its population, seed and students say who they are.
    """
    latents = evaluation.population.sample(evaluation.seed, torch.from_numpy(evaluation.students))
    model = evaluation.population.student_model
    found: list[Groups] = []
    for groups in (
        ability_groups(latents["ability"].numpy()),
        style_groups(latents["responsiveness"].numpy(), model.modalities),
        _without_small("type", evaluation.population.type_names, evaluation.types),
    ):
        if len(groups.names) > 1 and not any(_same_division(groups, other) for other in found):
            found.append(groups)
    return found


def ability_groups(ability: ArrayLike) -> Groups:
    """Deciles, or up to ten values of ability ``(n,)``, from the lowest to the highest."""
    ability = np.asarray(ability, np.float64)
    values = np.unique(np.round(ability / _SAME) * _SAME)
    if len(values) <= N_DECILES:
        member = np.abs(ability[:, None] - values).argmin(axis=1)
        return _without_small("ability", [f"ability {value:.3g}" for value in values], member)
    edges = np.quantile(ability, np.arange(1, N_DECILES) / N_DECILES)
    member = np.searchsorted(edges, ability, side="right")
    names = [f"decile {i}" for i in range(1, N_DECILES + 1)]
    return _without_small("ability", names, member)


def style_groups(responsiveness: ArrayLike, modalities: Sequence[str]) -> Groups:
    """By the modality of the largest ``responsiveness`` ``(n, M)``."""
    responsiveness = np.asarray(responsiveness, np.float64)
    has_preference = np.ptp(responsiveness, axis=1) > _SAME
    member = np.where(has_preference, responsiveness.argmax(axis=1), len(modalities))
    return _without_small("style", [*modalities, "no preference"], member)


def _without_small(kind: Kind, names: Sequence[str], member: NDArray[np.int64]) -> Groups:
    sizes = np.bincount(member, minlength=len(names))
    kept = [g for g, size in enumerate(sizes) if size >= MIN_STUDENTS]
    place = np.full(len(names), -1)
    place[kept] = np.arange(len(kept))
    return Groups(kind, tuple(names[i] for i in kept), place[member])


def _same_division(one: Groups, other: Groups) -> bool:
    pairs = set(zip(one.member.tolist(), other.member.tolist(), strict=True))
    return len(pairs) == len(set(one.member.tolist())) == len(set(other.member.tolist()))


# -- gaps -----------------------------------------------------------------------------------------
def gap_contributions(outcome: ArrayLike, groups: Groups) -> Array:
    """Each student's part in the gap: the mean over students is the gap, their spread its error.

    Args:
        outcome: ``(n,)`` or ``(S, n)``.
        groups: at least two, each with ``MIN_STUDENTS`` students or more.

    Returns:
        The shape of ``outcome``.
    """
    outcome = np.asarray(outcome, np.float64)
    if groups.ordered:
        return _contrast(outcome, groups.member == len(groups.names) - 1, groups.member == 0)
    half = _halves(groups)
    parts = np.empty_like(outcome)
    for this, other in ((half == 0, half == 1), (half == 1, half == 0)):
        means = [
            outcome[..., other & (groups.member == g)].mean() for g in range(len(groups.names))
        ]
        best, worst = (groups.member == choose(means) for choose in (np.argmax, np.argmin))
        parts[..., this] = _contrast(outcome[..., this], best[this], worst[this])
    gap = parts.mean(axis=-1, keepdims=True)
    result: Array = gap + math.sqrt(2) * (parts - gap)
    return result


def _contrast(outcome: Array, high: NDArray[np.bool_], low: NDArray[np.bool_]) -> Array:
    """Difference of two groups' means plus each student's influence on it.

    A group's mean m of n_g among n students moves by (n / n_g) (x - m) / n with a student x of the
    group. The factor n_g / (n_g - 1) makes the variance of a small group unbiased.
    """
    parts = np.zeros_like(outcome)
    n = outcome.shape[-1]
    for group, sign in ((high, 1), (low, -1)):
        n_group = int(group.sum())
        mean = outcome[..., group].mean(axis=-1, keepdims=True)
        scale = n / n_group * np.sqrt(n_group / (n_group - 1))
        parts[..., group] += sign * scale * (outcome[..., group] - mean)
        parts += sign * mean
    return parts


def _halves(groups: Groups) -> NDArray[np.int64]:
    """0 or 1 for each student, in turns within each group; students come in no order."""
    half = np.arange(len(groups.member)) % 2
    for g in range(len(groups.names)):
        mine = groups.member == g
        half[mine] = np.arange(mine.sum()) % 2
    return half


# -- tutors ---------------------------------------------------------------------------------------
def _by_groups(evaluations: Sequence[Evaluation], groups: Groups, random: str) -> Equity:
    tutors = by_tutor(evaluations)
    pre = _outcome(next(iter(tutors.values())), 0).mean(axis=0)
    reference = _outcome(tutors[random], -1).mean(axis=0) if random in tutors else None
    return Equity(
        kind=groups.kind,
        groups=groups.names,
        n_students=tuple(int((groups.member == g).sum()) for g in range(len(groups.names))),
        pre_test=_of_groups(pre, groups),
        pre_test_gap=mean_estimate(gap_contributions(pre, groups)),
        tutors=tuple(_of_tutor(group, groups, reference) for group in tutors.values()),
    )


def _outcome(group: Sequence[Evaluation], point: int) -> Array:
    """Expected post-test at a point of the lesson, mean over lessons, ``(S, n)``."""
    found: Array = np.stack([e.post_test[:, point].astype(np.float64).mean(axis=0) for e in group])
    return found


def _of_groups(outcome: Array, groups: Groups) -> tuple[Estimate, ...]:
    return tuple(
        mean_estimate(outcome[..., groups.member == g], most=1) for g in range(len(groups.names))
    )


def _of_tutor(group: Sequence[Evaluation], groups: Groups, reference: Array | None) -> TutorEquity:
    outcome, pre = _outcome(group, -1), _outcome(group, 0)
    outcomes = _of_groups(outcome, groups)
    means = [estimate.value for estimate in outcomes]
    gap = gap_contributions(outcome, groups)
    return TutorEquity(
        tutor=group[0].tutor,
        role=group[0].role,
        outcomes=outcomes,
        best=groups.names[int(np.argmax(means))],
        worst=groups.names[int(np.argmin(means))],
        gap=mean_estimate(gap),
        versus_pre_test=mean_estimate(gap - gap_contributions(pre, groups)),
        versus_random=(
            undefined("needs the tutor `random`")
            if reference is None
            else mean_estimate(gap - gap_contributions(reference, groups))
        ),
    )
