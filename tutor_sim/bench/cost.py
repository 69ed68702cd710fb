"""``tutor-sim bench cost``: CPU time and memory as the work grows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from tutor_sim.bench.job import Subject
from tutor_sim.bench.peers import FAMILY, check_repository
from tutor_sim.bench.report import make_folder, number_text, plain_table, write_results
from tutor_sim.bench.rounds import Measured, Spread, measure
from tutor_sim.bench.train import our_training

STUDENTS = (1, 16, 256, 4_096, 65_536, 1_000_000)
LENGTHS = (64, 128, 256, 512, 1_024)
WIDTHS = (64, 128, 256, 512)
_SHORT_STEPS = 16
"""Of the one lesson of a million students."""
_LESSON_STEPS = 64
"""Of the lessons that training strings together."""
_N_TRIALS = 64
"""Of a batch of training."""

Say = Callable[[str], None]


class Point(NamedTuple):
    """What one size costs.

    Attributes:
        size: how much work.
        cost: in the unit of the series, over the rounds.
        peak_gib: memory of the process, libraries included.
    """

    size: int
    cost: Spread
    peak_gib: float


class Series(NamedTuple):
    """Cost as one thing grows.

    Attributes:
        title: what is done.
        grows: what does.
        unit: of the cost.
        points: by size.
    """

    title: str
    grows: str
    unit: str
    points: list[Point]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and texts."""
        points = [point._asdict() | {"cost": point.cost._asdict()} for point in self.points]
        return self._asdict() | {"points": points}


def bench_cost(
    *, n_rounds: int, as_json: bool, output: Path | None, console: Console, log: Console
) -> None:
    """Measure simulation by students, and RL²'s updates by trial length and by memory width.

    Args:
        n_rounds: how often each size is measured.
        as_json: print JSON instead of tables.
        output: folder for a picture and the JSON; None: nothing is written.
        console: for results.
        log: for progress.

    Raises:
        ValueError: a subject failed, or this is no clone of the repository.
        SaveError: something could not be written.
    """
    check_repository()
    if output is not None:
        make_folder(output)
    series = []
    for find in (simulation, training_by_length, training_by_width):
        series.append(find(n_rounds, log.print))
        if not as_json:
            console.print(table(series[-1]))
    figures = {"rounds": n_rounds, "series": [one.to_json() for one in series]}
    if as_json:
        console.print_json(json.dumps(figures, allow_nan=False))
    if output is not None:
        from tutor_sim.bench.figures import cost_figure

        write_results(output, "cost", cost_figure(series), figures, log)


def simulation(n_rounds: int, say: Say, sizes: Sequence[int] = STUDENTS) -> Series:
    """Short lessons of the benchmarks' family under random actions."""
    lesson = {"population": str(FAMILY), "n_lessons": 1, "n_steps": _SHORT_STEPS}
    subjects = [
        Subject(f"{n:,} students", "tutor_sim.bench.ours:Simulate", lesson | {"n_students": n})
        for n in sizes
    ]
    measured = measure(subjects, n_rounds, say)
    costs = [line.rate for line in measured]
    unit = "student-steps per CPU-s"
    return Series("Simulation", "students", unit, _points(sizes, costs, measured))


def training_by_length(n_rounds: int, say: Say, sizes: Sequence[int] = LENGTHS) -> Series:
    """Longer trials, of more lessons."""
    subjects = [
        our_training(_N_TRIALS, n_lessons=n // _LESSON_STEPS)._replace(name=f"trials of {n:,}")
        for n in sizes
    ]
    return _training("actions in a trial", sizes, measure(subjects, n_rounds, say))


def training_by_width(n_rounds: int, say: Say, sizes: Sequence[int] = WIDTHS) -> Series:
    """Wider memories, policies and values."""
    subjects = [our_training(_N_TRIALS, width=n)._replace(name=f"width {n}") for n in sizes]
    return _training("width of memory and heads", sizes, measure(subjects, n_rounds, say))


def _training(grows: str, sizes: Sequence[int], measured: Sequence[Measured]) -> Series:
    costs = [Spread.of([1e6 / sample.rate for sample in line.samples]) for line in measured]
    points = _points(sizes, costs, measured)
    return Series(f"RL² updates, {_N_TRIALS} trials", grows, "CPU-µs a step", points)


def _points(
    sizes: Sequence[int], costs: Sequence[Spread], measured: Sequence[Measured]
) -> list[Point]:
    peaks = [line.samples[-1].peak_gib for line in measured]
    return [Point(*point) for point in zip(sizes, costs, peaks, strict=True)]


def table(series: Series) -> Table:
    """One line a size."""
    table = plain_table(series.title)
    for heading in (series.grows, series.unit, "range", "GiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for size, cost, peak_gib in series.points:
        middle, low, high = map(number_text, cost)
        table.add_row(f"{size:,}", middle, f"{low} – {high}", f"{peak_gib:.2f}")
    return table
