"""All numbers of a report."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tutor_sim.aggregates import Aggregate, Rank, aggregate, normalised, ranks
from tutor_sim.comparisons import (
    Difference,
    difference,
    holm,
    probability_of_improvement,
    profile,
)
from tutor_sim.evaluation import Role
from tutor_sim.reporting.material import Group, Material, Taught
from tutor_sim.statistics import (
    LEVEL,
    Estimate,
    mean_interval,
    seed_band,
    undefined,
)
from tutor_sim.summary import RANDOM
from tutor_sim.tables import decimals

Array = NDArray[np.float64]
Curve = tuple[Array, Array, Array]
"""Values with the ends of their intervals."""

N_TAUS = 61
"""Points of a performance profile."""
_TAU_RANGE = (0.02, 0.98)
"""Quantiles of all students' normalised scores between which profiles are drawn."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One tutor with one population.

    Attributes:
        taught: what it did.
        score: mean over students and lessons.
        position: 0 the random tutor, 1 the reference.
        lessons: mean score of each lesson, ``(K,)``.
        change: score of the last lesson less that of the first; nan for one lesson.
    """

    taught: Taught
    score: Estimate
    position: Estimate
    lessons: Curve
    change: Estimate


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two tutors with the same students; ``x`` has the higher mean.

    Attributes:
        x: one tutor.
        y: the other.
        difference: mean score of x less that of y.
        simultaneous: interval that holds for all pairs of the family at once (Bonferroni).
        p: of the test, alone.
        p_holm: corrected for all pairs of the family.
        improvement: probability that a student scores more with x.
    """

    x: str
    y: str
    difference: Estimate
    simultaneous: Estimate
    p: float
    p_holm: float
    improvement: Estimate

    @property
    def is_significant(self) -> bool:
        """The two are told apart, after correction."""
        return self.p_holm < 1 - LEVEL


@dataclasses.dataclass(frozen=True)
class Family:
    """All pairs of tutors that were tested together.

    Attributes:
        population: of whose students; empty: the mean over all populations.
        tutors: who was compared, the highest mean first.
        pairs: each two of them.
    """

    population: str
    tutors: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def beaten_by(self, tutor: str) -> list[str]:
        """Who has a significantly lower mean than this tutor."""
        return [pair.y for pair in self.pairs if pair.x == tutor and pair.is_significant]

    def as_good_as_best(self) -> list[str]:
        """Who cannot be told apart from the first."""
        return [p.y for p in self.pairs if p.x == self.tutors[0] and not p.is_significant]

    def pair(self, x: str, y: str) -> Pair:
        """The two, in whichever order they were compared.

        Raises:
            KeyError: they were not.
        """
        for pair in self.pairs:
            if {pair.x, pair.y} == {x, y}:
                return pair
        raise KeyError((x, y))

    def improvement(self, x: str, y: str) -> Estimate:
        """Probability that a student scores more with x than with y."""
        pair = self.pair(x, y)
        if pair.x == x:
            return pair.improvement
        value, low, high, reason = pair.improvement
        return Estimate(1 - value, 1 - high, 1 - low, reason)


@dataclasses.dataclass(frozen=True)
class Analysis:
    """All numbers of a report.

    Attributes:
        material: what they are of.
        tutors: who taught, the best first, with roles.
        lines: population -> tutor -> numbers.
        reference: role of the tutor that is 1 on the normalised scale; None: there is none.
        references: population -> that tutor: of several oracles the best.
        scaled: populations that have a normalised scale.
        families: of each population; with several populations, first that of their mean.
        aggregates: tutor -> over all populations of ``scaled``.
        ranks: tutor -> rank over all populations, of those that are no oracle.
        taus: normalised scores at which profiles are read, ``(G,)``.
        profiles: tutor -> share of the students at each.
        notes: what could not be done, and why.
    """

    material: Material
    tutors: Mapping[str, Role]
    lines: Mapping[str, Mapping[str, Line]]
    reference: Role | None
    references: Mapping[str, str]
    scaled: tuple[str, ...]
    families: tuple[Family, ...]
    aggregates: Mapping[str, Aggregate]
    ranks: Mapping[str, Rank]
    taus: Array
    profiles: Mapping[str, Curve]
    notes: tuple[str, ...]

    @property
    def overall(self) -> Family | None:
        """The comparison over all populations, or in the only one."""
        return self.families[0] if self.families else None

    @property
    def aggregate_decimals(self) -> int:
        """Decimals that suit the intervals of the aggregates."""
        return decimals([part for found in self.aggregates.values() for part in found])

    def family(self, population: str) -> Family | None:
        """The comparison in one population."""
        return next((f for f in self.families if f.population == population), None)


def analyse(material: Material) -> Analysis:
    """Work out every number of a report."""
    groups = material.groups
    notes = list(material.notes)
    reference = _reference_role(groups)
    ends = {g.population: _ends(g, reference) for g in groups}
    scaled = [g for g in groups if ends[g.population] is not None]
    notes += _scale_notes(groups, reference, scaled)
    common = [t for t in groups[0].tutors if all(t in g.tutors for g in groups)]
    notes += _absence_notes(groups, common)
    lines = {g.population: _lines(g, ends[g.population]) for g in groups}
    of_common = {t: [g.tutors[t].scores for g in scaled] for t in common} if scaled else {}
    low_high = [ends[g.population] for g in scaled]
    low, high = [e[0] for e in low_high if e], [e[1] for e in low_high if e]
    aggregates = aggregate(of_common, low, high) if scaled else {}
    competitors = [t for t in common if groups[0].tutors[t].role is not Role.ORACLE]
    ranked = ranks({t: [g.tutors[t].scores for g in groups] for t in competitors})
    z = {
        t: [normalised(*one) for one in zip(parts, low, high, strict=True)]
        for t, parts in of_common.items()
    }
    taus = _taus(z)
    return Analysis(
        material,
        _ordered(groups, lines, aggregates, ranked),
        lines,
        reference,
        {g.population: _best_of(g, reference) for g in scaled if reference},
        tuple(g.population for g in scaled),
        _families(groups, z, competitors),
        aggregates,
        ranked,
        taus,
        {t: profile(parts, taus) for t, parts in z.items()},
        tuple(notes),
    )


# -- scale -----------------------------------------------------------------------------------------
def _reference_role(groups: Sequence[Group]) -> Role | None:
    """Whoever is there in every population: the Bayes-optimal tutor, else an oracle."""
    for role in (Role.OPTIMUM, Role.ORACLE):
        if all(any(t.role is role for t in g.tutors.values()) for g in groups):
            return role
    return None


def _ends(group: Group, role: Role | None) -> tuple[Array, Array] | None:
    """Scores of the random tutor and of the reference; None where they span no scale."""
    if role is None or RANDOM not in group.tutors:
        return None
    low = group.tutors[RANDOM].scores
    high = group.tutors[_best_of(group, role)].scores
    spans = difference([high], [low]).estimate.low > 0
    return (low, high) if spans else None


def _best_of(group: Group, role: Role) -> str:
    """Of the tutors of a role the one with the highest mean; of equals the first."""
    means = {name: float(t.scores.mean()) for name, t in group.tutors.items() if t.role is role}
    return max(means, key=lambda name: round(means[name], 9))


def _scale_notes(groups: Sequence[Group], role: Role | None, scaled: Sequence[Group]) -> list[str]:
    if role is None:
        return [
            "There is no common scale: it needs `random` and either `bayes` or `oracle` in every "
            "population. Scores are left as they are, and nothing is averaged over populations but "
            "ranks and probabilities."
        ]
    left_out = [f"`{g.population}`" for g in groups if g not in scaled]
    if not left_out:
        return []
    return [
        f"Left out of the normalised scores: {', '.join(left_out)}, where the random tutor is "
        "missing or cannot be told apart from the reference."
    ]


def _absence_notes(groups: Sequence[Group], common: Sequence[str]) -> list[str]:
    everybody = dict.fromkeys(t for g in groups for t in g.tutors)
    return [
        f"`{tutor}` taught {', '.join(f'`{g.population}`' for g in groups if tutor in g.tutors)} "
        "only, and is left out of what is said over all populations."
        for tutor in everybody
        if tutor not in common
    ]


# -- each population -------------------------------------------------------------------------------
def _lines(group: Group, ends: tuple[Array, Array] | None) -> dict[str, Line]:
    if ends is None:
        positions = dict.fromkeys(group.tutors, undefined("no scale"))
    else:
        scores = {tutor: [taught.scores] for tutor, taught in group.tutors.items()}
        found = aggregate(scores, [ends[0]], [ends[1]])
        positions = {tutor: one.mean for tutor, one in found.items()}
    return {tutor: _line(taught, positions[tutor]) for tutor, taught in group.tutors.items()}


def _line(taught: Taught, position: Estimate) -> Line:
    lessons = taught.lessons
    change = undefined("one lesson")
    if lessons.shape[-1] > 1:
        value, low, high = map(float, seed_band(lessons[..., -1] - lessons[..., 0]))
        change = Estimate(value, low, high)
    curve = seed_band(np.moveaxis(lessons, -1, 1))
    return Line(taught, mean_interval(taught.scores), position, curve, change)


# -- pairs -----------------------------------------------------------------------------------------
def _families(
    groups: Sequence[Group], z: Mapping[str, Sequence[Array]], competitors: Sequence[str]
) -> tuple[Family, ...]:
    found = []
    if len(groups) > 1 and z and len(competitors) > 1:
        everywhere = {t: [g.tutors[t].scores for g in groups] for t in competitors}
        found.append(_family("", {t: z[t] for t in competitors}, everywhere))
    for group in groups:
        scores = {name: [t.scores] for name, t in group.tutors.items() if t.role is not Role.ORACLE}
        if len(scores) > 1:
            found.append(_family(group.population, scores, scores))
    return tuple(found)


def _family(
    population: str,
    scores: Mapping[str, Sequence[Array]],
    of_all: Mapping[str, Sequence[Array]],
) -> Family:
    """Every two tutors.

    Args:
        population: whose students.
        scores: tutor -> what is averaged and tested.
        of_all: tutor -> what the probability of improvement is of.
    """
    tutors = sorted(scores, key=lambda t: -float(np.mean([s.mean() for s in scores[t]])))
    names = list(itertools.combinations(tutors, 2))
    tested = [difference(scores[x], scores[y]) for x, y in names]
    corrected = holm([one.p for one in tested])
    pairs = [
        Pair(
            x,
            y,
            one.estimate,
            _simultaneous(one, len(names)),
            one.p,
            float(p_holm),
            probability_of_improvement(of_all[x], of_all[y]),
        )
        for (x, y), one, p_holm in zip(names, tested, corrected, strict=True)
    ]
    return Family(population, tuple(tutors), tuple(pairs))


def _simultaneous(one: Difference, n_pairs: int) -> Estimate:
    value = one.estimate.value
    half = float(one.spread.half_width(1 - (1 - LEVEL) / n_pairs))
    return Estimate(value, value - half, value + half)


# -- over all --------------------------------------------------------------------------------------
def _taus(z: Mapping[str, Sequence[Array]]) -> Array:
    """Evenly spaced between the outer quantiles of everybody's scores, 0 and 1 among them."""
    if not z:
        return np.empty(0)
    everything = np.concatenate([part.ravel() for parts in z.values() for part in parts])
    low, high = np.quantile(everything, _TAU_RANGE)
    grid = np.linspace(min(low, 0.0), max(high, 1.0), N_TAUS)
    return np.unique(np.concatenate([grid, [0.0, 1.0]]))


def _ordered(
    groups: Sequence[Group],
    lines: Mapping[str, Mapping[str, Line]],
    aggregates: Mapping[str, Aggregate],
    ranked: Mapping[str, Rank],
) -> dict[str, Role]:
    """Everybody with their roles, the best first; who was not everywhere comes last."""
    roles = {name: taught.role for g in groups for name, taught in g.tutors.items()}

    def place(tutor: str) -> tuple[int, float]:
        if tutor in aggregates:
            return 0, -aggregates[tutor].mean.value
        if tutor in ranked:
            return 1, ranked[tutor].expected.value
        means = [of[tutor].score.value for of in lines.values() if tutor in of]
        return 2, -float(np.mean(means))

    return {tutor: roles[tutor] for tutor in sorted(roles, key=place)}
