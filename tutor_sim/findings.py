"""What was found, in plain sentences that claim no more than the intervals allow."""

from __future__ import annotations

import math

from tutor_sim.evaluation import Role
from tutor_sim.statistics import Estimate
from tutor_sim.summary import Summary, TutorSummary


def findings(summary: Summary) -> list[str]:
    """One sentence for each finding, the most important first.

    The subject is the best learned tutor; where nothing was learned, the best fair one.
    """
    subject = _subject(summary)
    if subject is None:
        return ["Only oracles were evaluated, so there is nothing to compare them with."]
    sentences = [_score_sentence(subject), _baseline_sentence(subject, summary)]
    if summary.n_lessons > 1:
        sentences.append(_adaptation_sentence(subject, summary.n_lessons))
    return [sentence for sentence in sentences if sentence]


def _subject(summary: Summary) -> TutorSummary | None:
    for roles in ((Role.LEARNED,), (Role.BASELINE,), (Role.OPTIMUM,)):
        for line in summary.tutors:
            if line.role in roles:
                return line
    return None


def _score_sentence(line: TutorSummary) -> str:
    text = (
        f"{line.tutor} scores {_range(line.score)} with {line.n_students:,} students it never met"
    )
    if line.fraction_of_optimal.known and line.role is not Role.OPTIMUM:
        return (
            f"{text}: {_range(line.fraction_of_optimal)} of the way from the random tutor to the "
            "Bayes-optimal one."
        )
    if line.fraction_of_oracle.known:
        return (
            f"{text}: {_range(line.fraction_of_oracle)} of the way from the random tutor to an "
            "oracle that reads what is hidden."
        )
    return f"{text}."


def _baseline_sentence(line: TutorSummary, summary: Summary) -> str:
    if summary.baseline is None or summary.baseline == line.tutor:
        others = [other for other in summary.tutors if other.role is Role.BASELINE]
        return "No tutor was trained." if line.role is Role.BASELINE and len(others) > 1 else ""
    difference = line.versus_baseline
    by = f"the difference with the same students is {_range(difference, sign='+')}"
    if difference.low > 0:
        return f"It is better than the best baseline, {summary.baseline}: {by}."
    if difference.high < 0:
        return f"It is worse than the best baseline, {summary.baseline}: {by}."
    return f"It cannot be told apart from the best baseline, {summary.baseline}: {by}."


def _adaptation_sentence(line: TutorSummary, n_lessons: int) -> str:
    change = _range(line.adaptation, sign="+")
    where = (
        f"from lesson 1 to lesson {n_lessons} with the same student its score changes by {change}"
    )
    if line.adaptation.low > 0:
        return f"It gets better as it gets to know the student: {where}."
    if line.adaptation.high < 0:
        return f"It gets worse: {where}."
    return f"It does not measurably get better from lesson to lesson: {where}."


def _range(estimate: Estimate, sign: str = "") -> str:
    """``0.812 (0.801 to 0.823)``, with digits that suit the interval."""
    if math.isnan(estimate.low):
        return f"{estimate.value:{sign}.3g}"
    width = estimate.high - estimate.low
    decimals = 3 if not width > 0 or width < 0.1 else 2
    value, low, high = (f"{part:{sign}z.{decimals}f}" for part in estimate[:3])
    return f"{value} ({low} to {high})"
