"""The table of a comparison: its columns, and how they look on a terminal.

The same columns make the table of the report, and their meanings its list of definitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tutor_sim.evaluation import Role
from tutor_sim.statistics import Estimate
from tutor_sim.summary import BEST_FIXED, RANDOM, Summary, TutorSummary

_NOTHING = "–"
_PADDING = 2
_ROW_STYLES = {Role.LEARNED: "bold", Role.OPTIMUM: "italic", Role.ORACLE: "dim"}
_FRACTION_DECIMALS = 3
_MAX_DECIMALS = 4
_BY_DEFINITION = 1e-9
"""An interval this narrow is no estimate."""


METRICS = (
    "score",
    "fraction_of_optimal",
    "fraction_of_oracle",
    "fraction_of_adaptivity",
    "lessons",
    "versus_baseline",
    "worst_decile",
    "iqm",
    "us_per_action",
)
"""Metrics that have a column; the names are those of :class:`TutorSummary`."""


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        title: its head.
        meaning: its definition, a sentence.
        cell: text for a tutor.
        priority: columns with larger numbers give way first where space is short.
    """

    title: str
    meaning: str
    cell: Callable[[TutorSummary], str]
    priority: int


def tutor_name(line: TutorSummary) -> str:
    """The tutor's name; an oracle carries a dagger."""
    return f"{line.tutor} †" if line.role is Role.ORACLE else line.tutor


_TUTOR = Column(
    "tutor",
    "† An oracle reads what is hidden from a tutor: an upper reference, not a competitor.",
    tutor_name,
    0,
)


def columns(summary: Summary) -> list[Column]:
    """The columns that this comparison can fill, in order; the first names the tutor."""
    found = metric_columns(summary)
    if "fraction_of_optimal" in found:  # the better scale, and not to be confused with the other
        found.pop("fraction_of_oracle", None)
    return [_TUTOR, *found.values()]


def metric_columns(summary: Summary) -> dict[str, Column]:
    """Metric -> its column, of those of ``METRICS`` that this comparison can fill, in order."""
    n = decimals([line.score for line in summary.tutors])
    found = {
        "score": Column(
            "score [95 %]",
            "Mean score of a lesson over students and lessons, with its 95 % bootstrap interval "
            + _what_intervals_cover(summary),
            lambda line: interval_text(line.score, n),
            0,
        ),
    }
    if summary.shows("fraction_of_optimal"):
        found["fraction_of_optimal"] = Column(
            "of optimal",
            "Fraction of optimal, (V − V_random) / (V_Bayes − V_random): 0 is the random tutor, 1 "
            "the Bayes-optimal one, which no tutor without hidden knowledge can beat. A number "
            "above 1 is luck of the draw, as its interval shows; an oracle's is not luck.",
            _reference_cell("fraction_of_optimal"),
            1,
        )
    if summary.shows("fraction_of_oracle"):
        found["fraction_of_oracle"] = Column(
            "of oracle",
            "Fraction of the (best) oracle, (V − V_random) / (V_oracle − V_random). "
            "The oracle knows what no tutor can, so 1 is usually out of reach, and the number is "
            "not comparable with a fraction of optimal.",
            _reference_cell("fraction_of_oracle"),
            1,
        )
    if summary.shows("fraction_of_adaptivity"):
        found["fraction_of_adaptivity"] = Column(
            "adaptivity",
            "Fraction of adaptivity, (V − V_fixed) / (V_Bayes − V_fixed): 0 is the best fixed "
            "sequence, which ignores the student, 1 the Bayes-optimal tutor. Where the best "
            "sequence is not known exactly, the one that a search found stands for it.",
            _reference_cell("fraction_of_adaptivity"),
            2,
        )
    if summary.n_lessons > 1:
        found["lessons"] = Column(
            f"lesson 1 → {summary.n_lessons}",
            "Mean score of the first and of the last lesson with the same student (each lesson is "
            "on a new topic): a tutor that gets to know the student gets better.",
            lambda line: f"{line.lessons[0].value:.{n}f} → {line.lessons[-1].value:.{n}f}",
            4,
        )
    if summary.baseline is not None:
        found["versus_baseline"] = Column(
            "vs baseline",
            f"Score less that of the best baseline (here {summary.baseline}, chosen by its score "
            "on these very students) with the same students and the same luck.",
            lambda line: (
                "best baseline"
                if line.tutor == summary.baseline
                else interval_text(line.versus_baseline, n, sign="+")
            ),
            3,
        )
    return found | _plain_columns(n)


def _what_intervals_cover(summary: Summary) -> str:
    if max(line.n_seeds for line in summary.tutors) > 1:
        return (
            "over students and, for learned tutors, training seeds (both resampled; Student's t "
            "for the few seeds): how far the mean may move with other students and if the tutor "
            "were trained again."
        )
    return (
        "over students. The interval says how far the mean may move with other students; it does "
        "not cover how a tutor might come out if it were trained again."
    )


def _plain_columns(n_decimals: int) -> dict[str, Column]:
    return {
        "worst_decile": Column(
            "worst decile",
            "Mean score of the tenth of the students with the lowest scores (their ill luck "
            "included).",
            lambda line: f"{line.worst_decile.value:.{n_decimals}f}",
            5,
        ),
        "iqm": Column(
            "IQM",
            "Interquartile mean: the mean without the lowest and the highest quarter of the "
            "students.",
            lambda line: f"{line.iqm.value:.{n_decimals}f}",
            7,
        ),
        "us_per_action": Column(
            "µs/action",
            "Median time that the tutor takes for one action of one student, in microseconds, when "
            "it teaches all of them in batches.",
            lambda line: f"{line.us_per_action:.3g}",
            6,
        ),
    }


def results_table(
    summary: Summary, *, title: str, width: int, metrics: Sequence[str] | None = None
) -> Table:
    """The comparison for a terminal, the best score first.

    Args:
        summary: of the comparison.
        title: above the table.
        width: columns of the terminal; where it is narrow, columns are left out and named.
        metrics: only these of ``METRICS``, in this order.
    """
    wanted = columns(summary)
    if metrics is not None:
        found = metric_columns(summary)
        # In their order: where there is no room, the last ones go first.
        named = [found[name] for name in metrics if name in found]
        wanted = [_TUTOR, *(column._replace(priority=k) for k, column in enumerate(named))]
    shown, left_out = fitting(wanted, summary, width)
    return make_table(shown, summary, title, _caption(summary, shown, left_out))


def make_table(shown: Sequence[Column], summary: Summary, title: str, caption: Text) -> Table:
    """A line for each tutor, the best first."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=None,
        padding=(0, _PADDING, 0, 0),
        pad_edge=False,
    )
    for column in shown:
        table.add_column(Text(column.title), no_wrap=True, justify="left")
    for line in summary.tutors:
        style = _ROW_STYLES.get(line.role, "")
        table.add_row(*(Text(column.cell(line)) for column in shown), style=style)
    return table


def fitting(
    everything: Sequence[Column], summary: Summary, width: int
) -> tuple[list[Column], list[Column]]:
    """The columns that fit into the width, and those that do not."""
    sizes = {
        column.title: _PADDING
        + max(cell_len(text) for text in [column.title, *map(column.cell, summary.tutors)])
        for column in everything
    }
    shown = list(everything)
    while sum(sizes[column.title] for column in shown) > width + _PADDING and len(shown) > 2:
        shown.remove(max(shown, key=lambda column: column.priority))
    return shown, [column for column in everything if column not in shown]


def _caption(summary: Summary, shown: Sequence[Column], left_out: Sequence[Column]) -> Text:
    titles = {column.title for column in shown}
    parts = [
        f"{summary.tutors[0].n_students:,} unseen students, the same for every tutor; [95 % "
        "interval]"
    ]
    if "of optimal" in titles:
        parts.append("of optimal: 0 random, 1 Bayes-optimal")
    if "of oracle" in titles:
        parts.append("of oracle: 0 random, 1 oracle")
    if "adaptivity" in titles:
        parts.append("adaptivity: 0 best fixed sequence, 1 Bayes-optimal")
    if any(line.role is Role.ORACLE for line in summary.tutors):
        parts.append("† reads what is hidden")
    if left_out:
        parts.append(f"no room for: {', '.join(column.title for column in left_out)}")
    return Text("; ".join(parts) + ".")


def interval_text(estimate: Estimate, n_decimals: int, sign: str = "") -> str:
    """``0.812 [0.801, 0.823]``; a dash where there is no number."""
    if not estimate.known:
        return _NOTHING
    value, low, high = (f"{part:{sign}z.{n_decimals}f}" for part in estimate[:3])
    if math.isnan(estimate.low):
        return value
    return f"{value} [{low}, {high}]"


def _reference_cell(field: str) -> Callable[[TutorSummary], str]:
    """Text of a fraction; what defines its ends says so instead of a number without spread."""
    low = BEST_FIXED if field == "fraction_of_adaptivity" else RANDOM
    high = Role.ORACLE if field == "fraction_of_oracle" else Role.OPTIMUM

    def cell(line: TutorSummary) -> str:
        estimate: Estimate = getattr(line, field)
        # Of several oracles the best is the reference.
        is_reference = high is Role.OPTIMUM or abs(estimate.value - 1) < _BY_DEFINITION
        if estimate.known and line.role is high and is_reference:
            return "1 (reference)"
        if line.tutor == low and abs(estimate.high - estimate.low) < _BY_DEFINITION:
            return "0 (reference)"
        if math.isnan(estimate.low):  # one student: a fraction without interval could be above 1
            return _NOTHING
        return interval_text(estimate, _FRACTION_DECIMALS)

    return cell


def decimals(estimates: Sequence[Estimate]) -> int:
    """Decimals that show the first two digits or so of the widest interval's half."""
    halves = [(e.high - e.low) / 2 for e in estimates if e.high > e.low]
    if not halves:
        return 3
    return max(0, min(_MAX_DECIMALS, round(1.3 - math.log10(max(halves)))))
