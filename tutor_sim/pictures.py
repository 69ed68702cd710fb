"""The pictures of a comparison, chosen for what was compared, each with the words to read it by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tutor_sim import figures
from tutor_sim.adaptation import cumulative_regret
from tutor_sim.evaluation import Evaluation, Role, by_tutor, pooled
from tutor_sim.figures import LearningPoint
from tutor_sim.summary import BAYES, ORACLE, Summary

LearningCurves = Mapping[str, Sequence[Sequence[LearningPoint]]]
"""Learner -> for each of its seeds the validations in order."""
MAX_ACTION_PICTURES = 4
"""Learned tutors whose actions are shown, the best ones."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure and its words.

    Attributes:
        tag: its name in TensorBoard, such as ``adaptation/curve``.
        title: a heading.
        caption: how to read it.
        alt: what it shows, for those who do not see it.
        draw: makes the figure.
    """

    tag: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure]


def pictures(
    evaluations: Sequence[Evaluation],
    summary: Summary,
    learning_curves: LearningCurves | None = None,
) -> list[Picture]:
    """Everything worth seeing of a comparison, in the order of a report.

    Args:
        evaluations: of the tutors, on the same students.
        summary: of these evaluations.
        learning_curves: learner -> for each seed its validation scores while training.
    """
    ordered = [e for line in summary.tutors for e in evaluations if e.tutor == line.tutor]
    found = [_overview(ordered, summary)]
    if learning_curves:
        found.append(_learning(summary, learning_curves))
    return [
        *found,
        *_over_time(ordered),
        *_adaptive(ordered),
        *_outcomes(ordered),
        *_who_benefits(summary),
    ]


def reference_evaluation(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The best reference: the Bayes-optimal tutor, else an oracle."""
    for role in (Role.OPTIMUM, Role.ORACLE):
        for evaluation in evaluations:
            if evaluation.role is role:
                return evaluation
    return None


def has_preferences(evaluations: Sequence[Evaluation]) -> bool:
    """Some student responds to one modality better than to another."""
    return any(bool(np.ptp(e.fit) > 1e-6) for e in evaluations)


def _overview(evaluations: Sequence[Evaluation], summary: Summary) -> Picture:
    label = figures.score_label(evaluations[0])
    exact = " Dashed lines are exactly known values." if summary.exact else ""
    return Picture(
        "eval/scores",
        "Scores",
        f"Mean score of a lesson ({label}) with its 95 % interval.{exact} " + _dagger(evaluations),
        "Dot plot of mean scores: " + _numbers(_means(evaluations, lambda e: e.score)),
        lambda: figures.score_overview(summary, label),
    )


def _learning(summary: Summary, curves: LearningCurves) -> Picture:
    references = reference_scores(summary)
    several = sum(map(len, curves.values())) > 1
    whose = "of each learner and seed" if several else "of the greedy tutor"
    over = ", over its teaching actions and its CPU-seconds" if several else ""
    at_end = {
        name: (
            float(np.mean([seed[0].score for seed in seeds])),
            float(np.mean([seed[-1].score for seed in seeds])),
        )
        for name, seeds in curves.items()
    }
    from_to = "; ".join(
        f"{name if several else ''} from {first:.3g} to {last:.3g}".strip()
        for name, (first, last) in at_end.items()
    )
    return Picture(
        "eval/learning_curve",
        "Learning",
        f"Score {whose} with the validation students while it was trained{over}; dashed lines "
        "are references. The tutor in this report is the one with the best validation score; its "
        "score above is with other students, whom it never met.",
        f"Learning curve {from_to}. References: " + _numbers(references),
        lambda: figures.learning_curve(curves, references),
    )


def reference_scores(summary: Summary) -> dict[str, float]:
    """Scores that a learning curve is measured against: exact where known, else as evaluated."""
    names = ["random", "best_fixed", BAYES]
    names += [line.tutor for line in summary.tutors if line.role is Role.OPTIMUM]
    scores = {line.tutor: line.score.value for line in summary.tutors if line.tutor in names}
    if not summary.shows("fraction_of_optimal"):
        scores |= {line.tutor: line.score.value for line in summary.tutors if line.tutor == ORACLE}
    return scores | dict(summary.exact)


def _over_time(evaluations: Sequence[Evaluation]) -> Iterator[Picture]:
    unit = figures.progress_label(evaluations[0])
    n_lessons = evaluations[0].task.n_lessons
    at_end = _means(evaluations, lambda e: float(e.progress[-1, -1].mean()))
    yield Picture(
        "adaptation/curve",
        "Adaptation, action by action",
        f"Mean progress ({unit}) after every teaching action"
        + (
            "; each lesson is on a new topic with the same student. A tutor that knows its student "
            "better climbs faster in later lessons."
            if n_lessons > 1
            else "."
        )
        + " Bands are 95 % intervals.",
        "Line chart of progress over teaching actions. At the end: " + _numbers(at_end),
        lambda: figures.adaptation_curve(evaluations),
    )
    if n_lessons > 1:
        last = _means(evaluations, lambda e: e.scores[:, -1].mean())
        yield Picture(
            "adaptation/lessons",
            "Adaptation, lesson by lesson",
            "Mean score of the next lesson after so many lessons with the same student, with 95 % "
            "intervals: bars at the dots of learned tutors (which stand side by side), bands of "
            "the others. A tutor that does not adapt stays level.",
            "Line chart of scores from the first to the last lesson: "
            + "; ".join(
                f"{tutor} {first:.3g} to {last[tutor]:.3g}"
                for tutor, first in _means(evaluations, lambda e: e.scores[:, 0].mean()).items()
            ),
            lambda: figures.lesson_scores(evaluations),
        )
    else:
        yield Picture(
            "adaptation/gain",
            "Gain of each action",
            "What one teaching action adds on average. Where gains do not run out, a tutor that "
            "gets to know the student makes each action count for more than the one before.",
            "Line chart of the mean gain of each teaching action.",
            lambda: figures.gain_curve(evaluations),
        )
    reference = reference_evaluation(evaluations)
    if reference is not None and any(
        e.tutor != reference.tutor and not e.privileged for e in evaluations
    ):
        others = [e for e in evaluations if e.tutor != reference.tutor and not e.privileged]
        behind = _means(others, lambda e: (reference.progress[-1, -1] - e.progress[-1, -1]).mean())
        yield Picture(
            "adaptation/regret",
            "Regret",
            f"How far each tutor is behind {reference.tutor} after every action, with the same "
            "students and the same luck: flat is as good as the reference from there on.",
            f"Line chart of the difference to {reference.tutor}. At the end: " + _numbers(behind),
            lambda: figures.regret_curve(evaluations, reference),
        )
        if n_lessons > 1:
            lost = _means(
                others, lambda e: cumulative_regret(e.progress, reference.progress)[-1, -1].mean()
            )
            yield Picture(
                "adaptation/cumulative_regret",
                "Regret since the trial began",
                f"What the students of {reference.tutor} gained more since the trial began, summed "
                "over lessons. A tutor that has found out what to do with a student loses no more: "
                "its line is level.",
                f"Line chart of what was lost to {reference.tutor}. At the end: " + _numbers(lost),
                lambda: figures.cumulative_regret_curve(evaluations, reference),
            )


def _adaptive(evaluations: Sequence[Evaluation]) -> Iterator[Picture]:
    if has_preferences(evaluations):
        yield Picture(
            "adaptation/modality_fit",
            "Choice of modality",
            "How responsive students are to the modality that the tutor uses with them, on "
            "average; "
            "dotted: a modality chosen blindly. Rising lines are tutors that find out what suits "
            "whom.",
            "Line chart of the fit between student and modality. At the end: "
            + _numbers(_means(evaluations, lambda e: e.fit[-1, -1].mean())),
            lambda: figures.modality_fit(evaluations),
        )
    learned = by_tutor([e for e in evaluations if e.role is Role.LEARNED])
    shown = [pooled(group) for group in learned.values()][:MAX_ACTION_PICTURES] or [
        e for e in evaluations if not e.privileged
    ][:1]
    for evaluation in shown:
        yield Picture(
            f"adaptation/actions_{evaluation.tutor}",
            f"Actions of {evaluation.tutor}",
            "Share of the students who get each teaching action at each step. Spread out columns "
            "late "
            "in the trial are students who are treated differently."
            + (" One panel for each type of student." if _has_panels(evaluation) else ""),
            "Heat map of actions by step. Most frequent first action: "
            + figures.action_labels(evaluation)[int(evaluation.action_counts[0, 0].argmax())],
            lambda evaluation=evaluation: figures.action_heatmap(evaluation),  # type: ignore[misc]
        )


def _has_panels(evaluation: Evaluation) -> bool:
    return 1 < len(evaluation.population.type_names) <= figures.MAX_TYPE_PANELS


def _outcomes(evaluations: Sequence[Evaluation]) -> Iterator[Picture]:
    yield Picture(
        "eval/students",
        "Who gains, who is left behind",
        "Spread of the students' scores (mean over lessons). The left end of a line is the tenth "
        "of "
        "the students below which the worst decile lies.",
        "Range plot of student scores. Medians: "
        + _numbers(_means(evaluations, lambda e: float(np.median(e.student_scores)))),
        lambda: figures.score_distribution(evaluations),
    )


def _who_benefits(summary: Summary) -> Iterator[Picture]:
    for division in summary.equity:
        gaps = {line.tutor: line.gap.value for line in division.tutors}
        yield Picture(
            f"equity/{division.kind}",
            f"Who benefits, by {division.kind}",
            "Expected post-test of each group of students at the end of a lesson, with 95 % "
            "intervals; dotted or hollow: before teaching. "
            + (
                "From the decile of the students with the lowest ability to the highest; a line "
                "that is steeper than the random tutor's widens the gap."
                if division.kind == "ability"
                else "Groups that come out alike are treated alike well."
            ),
            f"Chart of post-tests by {division.kind}. Gap ({division.what}): " + _numbers(gaps),
            lambda division=division: figures.outcomes_by_group(division),  # type: ignore[misc]
        )


def _means(
    evaluations: Sequence[Evaluation], read: Callable[[Evaluation], float]
) -> dict[str, float]:
    """Tutor -> mean over its seeds."""
    groups = by_tutor(evaluations)
    return {tutor: float(np.mean([read(e) for e in group])) for tutor, group in groups.items()}


def _numbers(values: dict[str, float]) -> str:
    return "; ".join(f"{name} {value:.3g}" for name, value in values.items()) + "."


def _dagger(evaluations: Sequence[Evaluation]) -> str:
    return "† reads what is hidden from tutors." if any(e.privileged for e in evaluations) else ""
