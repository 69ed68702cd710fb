"""The report on a terminal: tutors by populations, and who beats whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tutor_sim.evaluation import Role
from tutor_sim.reporting.analysis import Analysis, Family
from tutor_sim.reporting.words import reference_name, some
from tutor_sim.tables import decimals, interval_text

_NOTHING = "–"
_PADDING = 2
_STYLES = {Role.LEARNED: "bold", Role.OPTIMUM: "italic", Role.ORACLE: "dim"}


def overview_table(analysis: Analysis, width: int) -> Group:
    """Mean scores, tutors by populations, with what is said over all of them.

    Args:
        analysis: all numbers.
        width: columns of the terminal; where it is narrow, columns are left out and named.
    """
    columns = {name: _score_cells(analysis, name) for name in analysis.lines}
    over_all = _over_all_columns(analysis) if len(columns) > 1 else {}
    names = [f"{t} †" if r is Role.ORACLE else t for t, r in analysis.tutors.items()]
    left_out: list[str] = []
    shown = {"tutor": names} | columns | over_all
    for name in _giving_way(columns, over_all):
        if _width(shown) > width + _PADDING and len(shown) > 2:
            del shown[name]
            left_out.insert(0, name)
    caption = "Mean score of a lesson; * significantly better than every other tutor but oracles"
    if "mean [95 %]" in shown and analysis.reference is not None:
        caption += (
            "; mean and IQM: normalised over populations, 0 random, 1 "
            f"{reference_name(analysis)}, [95 % interval]"
        )
    if Role.ORACLE in analysis.tutors.values():
        caption += "; † reads what is hidden"
    if left_out:
        caption += f"; no room for: {', '.join(left_out)}"
    table = _table(list(shown))
    for role, *cells in zip(analysis.tutors.values(), *shown.values(), strict=True):
        table.add_row(*map(Text, cells), style=_STYLES.get(role, ""))
    return Group(table, Text(f"{caption}.", style="dim"))


def _giving_way(columns: Iterable[str], over_all: Iterable[str]) -> list[str]:
    """Heads in the order in which they are left out: the mean over populations stays longest."""
    first, *others = [*reversed(list(over_all))] or [""]
    return [head for head in (first, *reversed(list(columns)), *others) if head]


def _score_cells(analysis: Analysis, population: str) -> list[str]:
    lines, family = analysis.lines[population], analysis.family(population)
    places = decimals([line.score for line in lines.values()])
    return [
        f"{lines[tutor].score.value:.{places}f}{_star(family, tutor)}"
        if tutor in lines
        else _NOTHING
        for tutor in analysis.tutors
    ]


def _over_all_columns(analysis: Analysis) -> dict[str, list[str]]:
    """Head -> cells; the first are the last to give way."""
    means, middles, ranks, places = [], [], [], analysis.aggregate_decimals
    for tutor in analysis.tutors:
        found, rank = analysis.aggregates.get(tutor), analysis.ranks.get(tutor)
        star = _star(analysis.family(""), tutor)
        means.append(interval_text(found.mean, places) + star if found else _NOTHING)
        middles.append(interval_text(found.iqm, places) if found else _NOTHING)
        ranks.append(f"{rank.expected.value:.1f}" if rank else _NOTHING)
    scaled = {"mean [95 %]": means} if analysis.aggregates else {}
    return scaled | {"rank": ranks} | ({"IQM [95 %]": middles} if scaled else {})


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(_PADDING + max(map(cell_len, [head, *cells])) for head, cells in columns.items())


def wins_table(analysis: Analysis) -> Group:
    """Who is significantly better than whom, in each population and over all."""
    table = _table(["students of", "highest mean", "better than", "not told apart from"])
    for family in analysis.families:
        best = family.tutors[0]
        table.add_row(
            Text(family.population or "all populations"),
            Text(best),
            Text(some(family.beaten_by(best)) or _NOTHING),
            Text(", ".join(family.as_good_as_best()) or _NOTHING),
        )
    caption = "Paired t-tests, Holm's correction over all pairs of a line's tutors; no oracles."
    return Group(table, Text(caption, style="dim"))


def _star(family: Family | None, tutor: str) -> str:
    if family is None or family.tutors[0] != tutor or family.as_good_as_best():
        return ""
    return " *"


def _table(heads: list[str]) -> Table:
    table = Table(box=None, padding=(0, _PADDING, 0, 0), pad_edge=False)
    for head in heads:
        table.add_column(Text(head), justify="left", overflow="fold")
    return table
