"""How robustness is shown: a table on the terminal, and one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tutor_sim.drawing import BLACK, GREY, ORANGE, STYLE, line_styles, row_axes
from tutor_sim.evaluation import Role
from tutor_sim.files import atomic_write
from tutor_sim.pictures import Picture
from tutor_sim.report import figure, page
from tutor_sim.robustness.teaching import Line, Robustness
from tutor_sim.statistics import Estimate
from tutor_sim.tables import decimals, interval_text

PAGE_FILE = "robustness.html"
_FRACTION_DECIMALS = 2
_PADDING = 2


class _Column(NamedTuple):
    title: str
    meaning: str
    cell: Callable[[Line], str]
    priority: int
    """Columns with larger numbers give way first where space is short."""


def _columns(found: Robustness) -> list[_Column]:
    lines = found.lines
    n = decimals([line.score for line in lines])
    columns = [
        _Column("students", "Who was taught; see below.", lambda line: line.place.name, 0),
        _Column("tutor", "The learned tutor.", lambda line: line.tutor, 0),
        _Column(
            "score [95 %]",
            "Mean score of a lesson over students and lessons.",
            lambda line: interval_text(line.score, n),
            0,
        ),
        _Column(
            "drop",
            "Its score at home less its score there, student by student.",
            lambda line: "home" if line.place.kind == "home" else interval_text(line.drop, n, "+"),
            0,
        ),
        _Column(
            "lead",
            "Its score less that of the best tutor there without training, student by student. "
            "Those tutors, too, were prepared for the students at home.",
            lambda line: interval_text(line.lead, n, "+"),
            2,
        ),
        _Column(
            "best baseline",
            "That tutor and its score.",
            lambda line: f"{line.baseline} {line.baseline_score.value:.{n}f}",
            4,
        ),
        _Column(
            "random", "Score of the random tutor there.", lambda line: _value(line.random, n), 3
        ),
        _Column(
            "oracle †",
            "Score of a tutor there that is told everything about every student.",
            lambda line: _value(line.oracle, n),
            3,
        ),
        _Column(
            "of oracle",
            "Where the tutor stands there between random (0) and oracle (1).",
            lambda line: _value(line.fraction_of_oracle, _FRACTION_DECIMALS),
            1,
        ),
    ]
    if any(line.bayes.known for line in lines):
        columns += [
            _Column(
                "bayes",
                "Score of the tutor that was told how the students there are made up, and plans "
                "exactly.",
                lambda line: _value(line.bayes, n),
                3,
            ),
            _Column(
                "of optimal",
                "Where the tutor stands there between random (0) and bayes (1).",
                lambda line: _value(line.fraction_of_optimal, _FRACTION_DECIMALS),
                1,
            ),
        ]
    if len({line.tutor for line in lines}) == 1:
        columns = [column for column in columns if column.title != "tutor"]
    return columns


def _value(estimate: Estimate, n_decimals: int) -> str:
    return f"{estimate.value:.{n_decimals}f}" if estimate.known else "–"


# -- the terminal ----------------------------------------------------------------------------------
def robustness_table(found: Robustness, *, title: str, width: int) -> Table:
    """A row for each population and learned tutor; columns that do not fit are named."""
    everything = _columns(found)
    sizes = {
        column.title: _PADDING
        + max(cell_len(text) for text in [column.title, *map(column.cell, found.lines)])
        for column in everything
    }
    shown = list(everything)
    while sum(sizes[column.title] for column in shown) > width + _PADDING and len(shown) > 3:
        shown.remove(max(shown, key=lambda column: column.priority))
    left_out = [column.title for column in everything if column not in shown]
    no_room = f" No room for: {', '.join(left_out)}." if left_out else ""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=f"{found.n_students:,} unseen students of each kind; [95 % interval].{no_room}",
        caption_justify="left",
        box=None,
        padding=(0, _PADDING, 0, 0),
        pad_edge=False,
    )
    for column in shown:
        table.add_column(Text(column.title), no_wrap=True)
    for line in found.lines:
        style = "bold" if line.place.kind == "home" else ""
        table.add_row(*(Text(column.cell(line)) for column in shown), style=style)
    return table


def all_notes(found: Robustness) -> list[str]:
    """What was left out and why, a sentence each."""
    return [f"Left out: {one.name}: {one.reason}." for one in found.left_out] + list(found.notes)


# -- the page --------------------------------------------------------------------------------------
def write_page(path: Path, found: Robustness, *, title: str) -> None:
    """Write the page, whole or not at all.

    Args:
        path: where to.
        found: what to show.
        title: its heading.

    Raises:
        SaveError: it cannot be written.
    """
    columns = _columns(found)
    meanings = "".join(
        f"<dt>{escape(column.title)}</dt><dd>{escape(column.meaning)}</dd>" for column in columns
    )
    places = "".join(
        f'<tr><th scope="row">{escape(place.name)}</th><td>{escape(place.meaning)}</td></tr>'
        for place in found.places
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in all_notes(found))
    head = escape(title)
    about = (
        f"The tutor was trained once, with the students at home, and teaches others as it is: "
        f"{found.scored}; {found.n_students:,} unseen students of each kind."
    )
    body = f"""
<header><h1>{head}</h1><p class="soft">{escape(about)}</p></header>
<main>
<section aria-label="Findings" class="finding">{_findings(found)}</section>
<h2>Results</h2>
{_table(columns, found.lines)}
{figure(_picture(found))}
<h2>The students</h2>
<table class="facts"><tbody>{places}</tbody></table>
{notes}
<h2>What the numbers mean</h2>
<dl>{meanings}</dl>
</main>"""
    atomic_write(path, page(head, body).encode())


def findings(found: Robustness) -> list[str]:
    """What the table says, a sentence for each learned tutor and question."""
    sentences = []
    for tutor in dict.fromkeys(line.tutor for line in found.lines):
        away = [line for line in found.lines if line.tutor == tutor and line.place.kind != "home"]
        if not away:
            continue
        worst = max(away, key=lambda line: line.drop.value)
        sentences.append(
            f"{tutor} loses most with the students {worst.place.name}: {worst.drop} of its score."
        )
        ahead = [line for line in away if line.lead.low > 0]
        behind = [line.place.name for line in away if line.lead.high < 0]
        sentences.append(
            f"It is better than every tutor without training in {len(ahead)} of {len(away)} other "
            f"populations"
            + (f", and worse than one of them with {', '.join(behind)}." if behind else ".")
        )
    return sentences


def _findings(found: Robustness) -> str:
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in findings(found))


def _table(columns: Sequence[_Column], lines: Sequence[Line]) -> str:
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in columns)
    rows = ""
    for line in lines:
        first, *others = (escape(column.cell(line)) for column in columns)
        style = ' class="learned"' if line.place.kind == "home" else ""
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        rows += f'<tr{style}><th scope="row">{first}</th>{cells}</tr>'
    return (
        '<div class="scroll" role="region" aria-label="Robustness" tabindex="0"><table>'
        '<caption class="caption" style="text-align:left">Brackets are 95 % intervals.</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _picture(found: Robustness) -> Picture:
    numbers = "; ".join(
        f"{line.place.name}: {line.tutor} {_value(line.score, 3)}, {line.baseline} "
        f"{_value(line.baseline_score, 3)}, random {_value(line.random, 3)}, oracle "
        f"{_value(line.oracle, 3)}"
        for line in found.lines
    )
    return Picture(
        "robustness/scores",
        "Scores with other students",
        "Mean score of a lesson in each population. Dots with bars: the learned tutor with its "
        "95 % interval; diamonds: the best tutor there without training; grey ticks: random; black "
        "ticks: the oracle there. Populations differ in how much there is to gain: a tutor keeps "
        "its worth where it stays in the same place between grey and black.",
        f"Dot plot of scores. {numbers}.",
        lambda: _draw(found),
    )


def _draw(found: Robustness) -> Figure:
    tutors = list(dict.fromkeys(line.tutor for line in found.lines))
    styles = line_styles(dict.fromkeys(tutors, Role.LEARNED))
    offsets = dict(zip(tutors, np.linspace(-0.2, 0.2, len(tutors) + 2)[1:-1], strict=True))
    with mpl.rc_context(STYLE):
        drawn, axes = row_axes([place.name for place in found.places])
        for row, place in enumerate(found.places):
            lines = [line for line in found.lines if line.place == place]
            first = lines[0]
            axes.plot(first.baseline_score.value, row, "D", color=ORANGE, markersize=5, zorder=3)
            for reference, colour in ((first.random, GREY), (first.oracle, BLACK)):
                if reference.known:
                    axes.plot(reference.value, row, "|", color=colour, markersize=13, mew=2)
            for line in lines:
                y, colour = row + offsets[line.tutor], styles[line.tutor].color
                axes.plot(
                    [line.score.low, line.score.high], [y, y], color=colour, linewidth=3, alpha=0.45
                )
                axes.plot(
                    line.score.value, y, "o", color=colour, markersize=6, zorder=4,
                    label=line.tutor if row == 0 else None,
                )  # fmt: skip
        if len(tutors) > 1:
            axes.legend(frameon=False, loc="lower right")
        axes.set_xlabel(found.scored)
        return drawn
