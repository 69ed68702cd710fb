"""The check in words: a table for a terminal, a sentence, and a CSV file."""

from __future__ import annotations

import csv
import io
import math

from rich.table import Table
from rich.text import Text

from tutor_sim.realism.check import Line, Realism
from tutor_sim.realism.statistics import Group

_NOTHING = "–"


def realism_table(found: Realism) -> Table:
    """Every statistic: real, simulated, verdict."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("statistic")
    table.add_column("real", justify="right")
    table.add_column("simulated [range]", justify="right")
    table.add_column("n", justify="right")
    table.add_column("verdict")
    group: Group | None = None
    for line in found.lines:
        if line.key.group != group:
            group = line.key.group
            table.add_row(Text(_title(found, group), style="bold"))
        table.add_row(
            f"  {line.key.name}",
            number(line.real),
            _simulated(line),
            f"{line.n:,}" if line.n else _NOTHING,
            Text(verdict(line), style="" if line.inside is not False else "bold red"),
        )
    return table


def _title(found: Realism, group: Group) -> str:
    more: dict[Group, str] = {
        "learning curve": f", by {found.kc}",
        "forgetting": f", by {found.kc}",
        "predictors": ", AUC",
        "sessions": ", of the log",
    }
    return group + more.get(group, "")


def number(value: float) -> str:
    """Three decimals, or whole; a dash for none."""
    if math.isnan(value):
        return _NOTHING
    return f"{value:.0f}" if value > 1 else f"{value:.3f}"


def _simulated(line: Line) -> str:
    if not line.simulated:
        return _NOTHING
    low, high = min(line.simulated), max(line.simulated)
    return f"{number(line.mean)} [{number(low)}, {number(high)}]"


def verdict(line: Line) -> str:
    """``inside``, ``outside``, or a dash where there is nothing to compare."""
    return {None: _NOTHING, True: "inside", False: "outside"}[line.inside]


def finding(found: Realism) -> str:
    """What the check comes to, a sentence or two."""
    judged = [line for line in found.lines if line.inside is not None]
    outside = [line for line in judged if not line.inside]
    text = f"{len(judged) - len(outside)} of {len(judged)} statistics are inside."
    if outside:
        worst = max(outside, key=lambda line: abs(line.real - line.mean))
        text += (
            f" Farthest off: {worst.key.group}, {worst.key.name}: real {number(worst.real)}, "
            f"simulated {number(worst.mean)}."
        )
    ranking = {True: " The predictors rank alike.", False: " The predictors rank differently."}
    return text + (ranking[found.same_ranking] if found.same_ranking is not None else "")


def to_csv(found: Realism) -> str:
    """One line for each statistic, with every replicate."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    replicates = [f"simulated_{i + 1}" for i in range(found.n_replicates)]
    writer.writerow(["group", "statistic", "n", "real", "simulated_mean", "verdict", *replicates])
    for line in found.lines:
        values = [line.real, line.mean]
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
        each = [f"{value:.6g}" for value in line.simulated]
        writer.writerow([*line.key, line.n, *cells, verdict(line).replace(_NOTHING, ""), *each])
    return buffer.getvalue()
