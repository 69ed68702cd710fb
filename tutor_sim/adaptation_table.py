"""The tables of adaptation: what each tutor achieves after so many lessons with a student."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from tutor_sim.statistics import Estimate
from tutor_sim.summary import Summary, TutorSummary
from tutor_sim.tables import Column, decimals, fitting, interval_text, make_table, tutor_name

_NOTHING = "–"
_ALL_SHOWN = 6
"""Lessons up to which each has a column."""
_FRACTION_DECIMALS = 2


def lessons_shown(n_lessons: int) -> list[int]:
    """Lessons of adaptation that have a column: all, or 0, 1, 2, 3, 5 and the last."""
    if n_lessons <= _ALL_SHOWN:
        return list(range(n_lessons))
    return [0, 1, 2, 3, 5, n_lessons - 1]


def return_columns(summary: Summary, *, intervals: bool = True) -> list[Column]:
    """Score of the lesson after so many lessons of adaptation.

    Args:
        summary: of a comparison with more than one lesson.
        intervals: with 95 % intervals.
    """
    n = decimals([estimate for line in summary.tutors for estimate in line.lessons])
    found = [Column("tutor", "", tutor_name, 0)]
    for k in lessons_shown(summary.n_lessons):
        meaning = (
            "Mean score of the next lesson, on a new topic, after so many lessons with the same "
            "student."
            if k == 0
            else ""
        )
        found.append(Column(_after(k), meaning, _lesson_cell(k, n, intervals), 1 + k))
    found.append(
        Column(
            "worst decile",
            "Mean score over all lessons of the tenth of the students with the lowest scores.",
            lambda line: _text(line.worst_decile, n, intervals),
            1,
        )
    )
    return found


def speed_columns(summary: Summary, *, intervals: bool = True) -> list[Column]:
    """Fraction of the optimum by lesson, the price of getting there, and of the training.

    Args:
        summary: of a comparison with more than one lesson.
        intervals: with 95 % intervals of the fractions.
    """
    reference = summary.lesson_reference
    found = [Column("tutor", "", tutor_name, 0)]
    if reference is not None:
        for k in lessons_shown(summary.n_lessons):
            meaning = (
                f"Fraction of {reference} in that very lesson: 0 is the random tutor there, 1 is "
                f"{reference}."
                if k == 0
                else ""
            )
            found.append(Column(_after(k), meaning, _fraction_cell(k, intervals), 4 + k))
        found += _price_columns(summary)
    if any(line.cost for line in summary.tutors):
        found += _cost_columns()
    return found


def regret_columns(summary: Summary) -> list[Column]:
    """What was lost to the optimum after so many teaching actions; empty without an optimum."""
    points = list(summary.tutors[0].cumulative_regret)
    if not points:
        return []
    n = decimals([line.cumulative_regret[points[-1]] for line in summary.tutors])
    meaning = (
        f"Regret: what the students of {summary.lesson_reference} gained more in the trial's first "
        "so many teaching actions, summed over lessons; with the same students and the same luck."
    )
    return [
        Column("tutor", "", tutor_name, 0),
        *(
            Column(
                f"after {point}",
                "" if i else meaning,
                _regret_cell(point, n, summary.lesson_reference),
                len(points) - i,
            )
            for i, point in enumerate(points)
        ),
    ]


def regret_table(summary: Summary, *, width: int) -> Table:
    """For a terminal: regret after so many actions; where it is narrow, early ones are left out."""
    shown, left_out = fitting(regret_columns(summary), summary, width)
    caption = "summed over lessons; [95 % interval]"
    if left_out:
        caption += f"; no room for: {', '.join(column.title for column in left_out)}"
    title = f"Regret to {summary.lesson_reference} after so many teaching actions"
    return make_table(shown, summary, title, Text(f"{caption}."))


def _regret_cell(
    point: str, n_decimals: int, reference: str | None
) -> Callable[[TutorSummary], str]:
    return lambda line: (
        "0 (reference)"
        if line.tutor == reference
        else interval_text(line.cumulative_regret[point], n_decimals)
    )


def _price_columns(summary: Summary) -> list[Column]:
    levels = list(summary.tutors[0].actions_to_reach)
    meaning = (
        f"Teaching actions with a student (lessons of {summary.n_steps}) until the first lesson "
        "whose mean score comes so far on the way from the random tutor to "
        f"{summary.lesson_reference} in the last lesson. 0: the first lesson does. The interval is "
        f"where the 95 % interval of the curve passes; ∞: not in {summary.n_lessons} lessons."
    )
    return [
        Column(f"to {level}", "" if i else meaning, _price_cell(level), 2 if i == 1 else 3)
        for i, level in enumerate(levels)
    ]


def _cost_columns() -> list[Column]:
    def cost(read: Callable[[TutorSummary], str]) -> Callable[[TutorSummary], str]:
        return lambda line: read(line) if line.cost else _NOTHING

    return [
        Column(
            "trained on",
            "Teaching actions of one training.",
            cost(lambda line: f"{line.cost.teaching_steps:,.0f}" if line.cost else ""),
            1,
        ),
        Column(
            "CPU s",
            "CPU-seconds of one training, its validations included; mean over seeds.",
            cost(lambda line: f"{line.cost.cpu_s:,.0f}" if line.cost else ""),
            1,
        ),
        Column("seeds", "Trainings, each with another seed.", lambda line: _seeds(line), 2),
    ]


def _seeds(line: TutorSummary) -> str:
    return str(line.n_seeds) if line.cost or line.n_seeds > 1 else _NOTHING


def _after(k: int) -> str:
    return f"after {k}"


def _text(estimate: Estimate, n_decimals: int, interval: bool) -> str:
    if interval or not estimate.known:
        return interval_text(estimate, n_decimals)
    return f"{estimate.value:z.{n_decimals}f}"


def _lesson_cell(k: int, n_decimals: int, interval: bool) -> Callable[[TutorSummary], str]:
    return lambda line: _text(line.lessons[k], n_decimals, interval)


def _fraction_cell(k: int, interval: bool) -> Callable[[TutorSummary], str]:
    def cell(line: TutorSummary) -> str:
        estimate = line.lesson_fractions[k]
        fixed = estimate.high - estimate.low < 1e-9
        above_1 = round(estimate.value, _FRACTION_DECIMALS) > 1  # never without its interval
        return _text(estimate, _FRACTION_DECIMALS, (interval or above_1) and not fixed)

    return cell


def _price_cell(level: str) -> Callable[[TutorSummary], str]:
    def cell(line: TutorSummary) -> str:
        estimate = line.actions_to_reach[level]
        if not estimate.known:
            return _NOTHING
        value = "not reached" if math.isinf(estimate.value) else f"{estimate.value:.0f}"
        if math.isnan(estimate.low) or estimate.low == estimate.high:
            return value
        low, high = (
            "∞" if math.isinf(bound) else f"{bound:.0f}" for bound in (estimate.low, estimate.high)
        )
        return f"{value} [{low}, {high}]"

    return cell


def adaptation_tables(summary: Summary, *, width: int) -> list[Table]:
    """For a terminal: scores by lesson, and how fast tutors adapt.

    Args:
        summary: of a comparison with more than one lesson.
        width: columns of the terminal; where it is narrow, columns are left out and named.
    """
    reference = summary.lesson_reference
    scale = (
        f"0 random, 1 {reference}; to 80 %: of the way to its last lesson; [95 % interval]"
        if reference
        else "CPU-seconds of one training, validations included"
    )
    found = []
    speed = (
        f"Fraction of {reference} after so many lessons, and teaching actions to get there"
        if reference
        else "Training"
    )
    for title, everything, caption in (
        (
            "Score after so many lessons with a student",
            return_columns(summary, intervals=width >= _WIDE),
            "worst decile: over all lessons",
        ),
        (speed, speed_columns(summary, intervals=False), scale),
    ):
        if len(everything) == 1:  # the names alone
            continue
        shown, left_out = fitting(everything, summary, width)
        if left_out:
            caption += f"; no room for: {', '.join(column.title for column in left_out)}"
        found.append(make_table(shown, summary, title, Text(f"{caption}.")))
    return found


_WIDE = 140
"""Terminal columns from which on scores by lesson have their intervals."""
