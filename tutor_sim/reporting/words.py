"""What a report finds, in plain sentences that claim no more than the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tutor_sim.evaluation import Role
from tutor_sim.reporting.analysis import Analysis, Family
from tutor_sim.statistics import Estimate

_NAMED = 6
"""Tutors that a sentence names at most of those that are better or worse."""


def reference_name(analysis: Analysis) -> str:
    """Who is 1 on the normalised scale, in words."""
    if analysis.reference is None:
        return "the best tutor"
    if analysis.reference is Role.OPTIMUM:
        return "the Bayes-optimal tutor"
    several = len(set(analysis.references.values())) > 1
    return "the best oracle of each population" if several else "the oracle"


def findings(analysis: Analysis) -> list[str]:
    """One paragraph for each finding, the most important first."""
    found = []
    if analysis.overall is None:
        return ["Fewer than two tutors can be compared."]
    if analysis.overall.population == "":
        found.append(_over_populations(analysis, analysis.overall))
    found += _best_learned(analysis, analysis.overall)
    found += [_in_population(analysis, family) for family in analysis.families if family.population]
    found += _adaptation(analysis)
    return found


def caveats(analysis: Analysis) -> list[str]:
    """What the numbers do not say."""
    found = []
    learned = [
        line
        for lines in analysis.lines.values()
        for line in lines.values()
        if line.taught.role is Role.LEARNED
    ]
    n_seeds = [len(line.taught.seeds) for line in learned]
    if n_seeds and min(n_seeds) == 1:
        found.append(
            "Some learned tutors were trained once. Their intervals and tests are about other "
            "students, not about another training: a difference may be one of seeds."
        )
    elif n_seeds and min(n_seeds) < 5:
        found.append(
            f"Learned tutors were trained {min(n_seeds)} times. Intervals allow for that, which "
            "makes them wide where trainings differ; more seeds would narrow them."
        )
    of_oracle = _by_value(analysis.references)
    if analysis.reference is Role.ORACLE and len(of_oracle) > 1:
        who = "; ".join(f"{oracle} with {listed(where)}" for oracle, where in of_oracle.items())
        found.append(
            f"The best oracle is not the same one everywhere ({who}), and oracles know more or "
            "less: half the way to one is not half the way to another."
        )
    if any(len(family.tutors) > 2 for family in analysis.families):
        found.append(
            "The best tutor is chosen by the very scores it is shown with, which flatters it a "
            "little. The tests allow for the choice, since they are corrected for all pairs."
        )
    return found


def _over_populations(analysis: Analysis, family: Family) -> str:
    best = family.tutors[0]
    mean = analysis.aggregates[best].mean
    return (
        f"Over {_populations(analysis)}, {best} has the highest normalised score of the tutors "
        f"that read nothing hidden: {interval(mean)}, where 0 is the random tutor and 1 "
        f"{reference_name(analysis)}. {_beats(family)}"
    )


def _best_learned(analysis: Analysis, family: Family) -> list[str]:
    """Where the best learned tutor stands, if another one is first."""
    learned = [t for t in family.tutors if analysis.tutors[t] is Role.LEARNED]
    if not learned or learned[0] == family.tutors[0]:
        return []
    subject = learned[0]
    apart: dict[str, list[str]] = {"better than": [], "worse than": [], "not told apart from": []}
    for other in family.tutors:
        if other != subject:
            pair = family.pair(subject, other)
            what = "better than" if pair.x == subject else "worse than"
            apart[what if pair.is_significant else "not told apart from"].append(other)
    said = "; ".join(f"{what} {some(whom)}" for what, whom in apart.items() if whom)
    aggregate = analysis.aggregates.get(subject) if not family.population else None
    at = f", at {interval(aggregate.mean)}," if aggregate else ""
    return [f"The best learned tutor, {subject}{at} is {said}."]


def _in_population(analysis: Analysis, family: Family) -> str:
    best = family.tutors[0]
    line = analysis.lines[family.population][best]
    return (
        f"With {family.population}, {best} has the highest mean score, {interval(line.score)}. "
        + _beats(family)
    )


def _populations(analysis: Analysis) -> str:
    n, n_scaled = len(analysis.lines), len(analysis.scaled)
    return f"{n} populations" if n == n_scaled else f"{n_scaled} of the {n} populations"


def _beats(family: Family) -> str:
    best, *others = family.tutors
    beaten, level = family.beaten_by(best), family.as_good_as_best()
    if not level:
        whom = "the other one" if len(others) == 1 else f"each of the other {len(others)}"
        return f"It is better than {whom}, {_after(family)}."
    apart = f"It cannot be told apart from {listed(level)}"
    if not beaten:
        return f"{apart}, {_after(family)}."
    return f"{apart}; it is better than {some(beaten)} ({_after(family)})."


def _after(family: Family) -> str:
    n = len(family.pairs)
    return "in a paired t-test" if n == 1 else f"in paired t-tests corrected for all {n} pairs"


def _adaptation(analysis: Analysis) -> list[str]:
    """Whether the best learned tutor, else the best fair one, gets better with its students."""
    fair = [t for t, role in analysis.tutors.items() if role is not Role.ORACLE]
    learned = [t for t in fair if analysis.tutors[t] is Role.LEARNED]
    subject = next(iter(learned or fair))
    changes = {
        name: lines[subject]
        for name, lines in analysis.lines.items()
        if subject in lines and lines[subject].change.known
    }
    if not changes:
        return []
    words = []
    for name, line in changes.items():
        n_lessons, change = line.taught.lessons.shape[-1], line.change
        what = "does not measurably change"
        if change.low > 0 or change.high < 0:
            what = "rises" if change.low > 0 else "falls"
        words.append(
            f"{what} with {name} (lesson {n_lessons} less lesson 1: {interval(change, '+')})"
        )
    which = "the best learned tutor" if learned else "the best tutor that reads nothing hidden"
    return [
        f"From the first to the last lesson with the same student, the score of {subject}, "
        f"{which}, {'; '.join(words)}. These intervals are not corrected for their number."
    ]


def _by_value(names: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in names.items():
        found.setdefault(value, []).append(key)
    return found


def some(names: Sequence[str]) -> str:
    """All of them, or how many."""
    if not names:
        return ""
    return listed(names) if len(names) <= _NAMED else f"{len(names)} of the others"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def interval(estimate: Estimate, sign: str = "", places: int | None = None) -> str:
    """``0.812 (0.801 to 0.823)``, with digits that suit the interval."""
    if not estimate.known:
        return "–"
    width = estimate.high - estimate.low
    if places is None:
        places = 2 if width >= 0.1 else 3
    value, low, high = (f"{part:{sign}z.{places}f}" for part in estimate[:3])
    return value if math.isnan(estimate.low) else f"{value} ({low} to {high})"
