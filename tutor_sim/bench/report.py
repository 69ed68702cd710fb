"""What a benchmark prints: ratios first, then each subject's figures, then what limits them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tutor_sim.bench.rounds import Measured, Spread, ratio
from tutor_sim.files import atomic_write, saving

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
GATE_SE = 4.0
"""Scores under random actions may differ by this many standard errors."""


def check_gate(measured: Sequence[Measured]) -> None:
    """See that all simulate the same: mean scores under random actions agree.

    Raises:
        ValueError: they do not; a comparison would mean nothing.
    """
    first, *others = [m for m in measured if _score(m) is not None]
    mean, se = _score(first) or (0.0, 0.0)
    for other in others:
        its_mean, its_se = _score(other) or (0.0, 0.0)
        if abs(its_mean - mean) > GATE_SE * math.hypot(se, its_se):
            raise ValueError(
                f"`{other.subject.name}` does not simulate what `{first.subject.name}` does: "
                f"a lesson of random actions scores {its_mean:.4f} (standard error {its_se:.4f}) "
                f"there and {mean:.4f} ({se:.4f}) here"
            )


def ratio_table(ours: Sequence[Measured], others: Sequence[Measured]) -> Table:
    """How many times theirs our steps per CPU-second are; a row for each other."""
    table = plain_table("Steps per CPU-second, ours by theirs: median (range) of the rounds")
    table.add_column("", no_wrap=True)
    for mine in ours:
        table.add_column(mine.subject.name.replace(", ", "\n"), justify="right", no_wrap=True)
    for other in others:
        table.add_row(other.subject.name, *(_times(ratio(mine, other)) for mine in ours))
    return table


def figures_table(title: str, measured: Sequence[Measured]) -> Table:
    """One row a subject; wall-clock times are in the JSON."""
    table = plain_table(title)
    table.add_column("", no_wrap=True)
    for heading in ("steps/CPU-s", "range", "GiB", "set-up", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in measured:
        rate = line.rate
        table.add_row(
            line.subject.name,
            number_text(rate.median),
            f"{number_text(rate.low)} – {number_text(rate.high)}",
            f"{line.samples[-1].peak_gib:.2f}",
            f"{line.setup_cpu_s:.1f}",
            _score_text(line),
        )
    return table


def shares_table(limits: Mapping[str, tuple[float, float]]) -> Table:
    """Limits of the machine: name -> (steps per CPU-second at most, share of it reached)."""
    table = plain_table("What the machine allows")
    table.add_column("if nothing took time but")
    table.add_column("steps per CPU-s", justify="right")
    table.add_column("share reached", justify="right")
    for name, (most, share) in limits.items():
        table.add_row(name, number_text(most), f"{share:.1%}")
    return table


def print_json(measured: Sequence[Measured], console: Console) -> None:
    """Everything."""
    figures = {"rounds": len(measured[0].samples), "subjects": to_json(measured)}
    console.print_json(json.dumps(figures, allow_nan=False))


def to_json(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Every sample of every subject."""
    return [
        {
            "name": line.subject.name,
            "settings": line.subject.settings,
            "is_peer": line.subject.is_peer,
            "setup_cpu_s": line.setup_cpu_s,
            "rounds": [sample._asdict() for sample in line.samples],
        }
        for line in measured
    ]


def make_folder(folder: Path) -> None:
    """For results, before the long work begins.

    Raises:
        SaveError: it cannot be made.
    """
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_results(
    folder: Path, name: str, picture: Figure, figures: Mapping[str, Any], log: Console
) -> None:
    """``name.png`` and ``name.json``, each whole or not at all.

    Raises:
        SaveError: something could not be written.
    """
    pixels = io.BytesIO()
    picture.savefig(pixels, format="png", dpi=_DPI)
    atomic_write(folder / f"{name}.png", pixels.getvalue())
    atomic_write(folder / f"{name}.json", (json.dumps(figures, indent=1) + "\n").encode())
    log.print(f"written: {folder / name}.png, {name}.json", soft_wrap=True, markup=False)


def plain_table(title: str) -> Table:
    """Without lines, below an empty one."""
    return Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)


def _score(line: Measured) -> tuple[float, float] | None:
    """Mean over the rounds, and its standard error."""
    scores = [s.score for s in line.samples if s.score is not None]
    errors = [s.score_se for s in line.samples if s.score_se is not None]
    if not scores or len(errors) < len(scores):
        return None
    return math.fsum(scores) / len(scores), math.hypot(*errors) / len(errors)


def _score_text(line: Measured) -> str:
    """With its standard error; of training, from the first round to the last."""
    score = _score(line)
    if score is not None:
        return f"{score[0]:.3f} ± {score[1]:.3f}"
    first, last = line.samples[0].score, line.samples[-1].score
    return "–" if first is None or last is None else f"{first:.3f} – {last:.3f}"


def _times(times: Spread) -> str:
    digits = 0 if times.median >= 10 else 2
    low, median, high = (f"{t:.{digits}f}" for t in (times.low, times.median, times.high))
    return f"{median} ({low}–{high})"


def number_text(value: float) -> str:
    """Three digits, and thousands by their signs."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"
