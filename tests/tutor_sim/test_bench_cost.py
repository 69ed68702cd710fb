"""``tutor-sim bench cost``: sizes in order, their table, their picture."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tutor_sim.bench.cost import Point, Series, simulation, table, training_by_length
from tutor_sim.bench.figures import cost_figure
from tutor_sim.bench.rounds import Spread
from tutor_sim.cli import app

SERIES = Series(
    "Simulation",
    "students",
    "student-steps per CPU-s",
    [Point(1, Spread(5e3, 4e3, 6e3), 0.3), Point(1_000_000, Spread(8e6, 7e6, 9e6), 2.5)],
)


def test_the_table_has_a_line_a_size():
    console = Console(width=100, file=None)
    with console.capture() as said:
        console.print(table(SERIES))
    lines = [line.split() for line in said.get().splitlines()[-2:]]
    assert lines[0] == ["1", "5", "k", "4", "k", "–", "6", "k", "0.30"]
    assert lines[1] == ["1,000,000", "8", "M", "7", "M", "–", "9", "M", "2.50"]


def test_everything_is_in_the_json():
    figures = json.loads(json.dumps(SERIES.to_json()))
    assert figures["points"][1] == {
        "size": 1_000_000,
        "cost": {"median": 8e6, "low": 7e6, "high": 9e6},
        "peak_gib": 2.5,
    }


def test_the_picture_has_time_above_and_memory_below():
    figure = cost_figure([SERIES, SERIES._replace(grows="actions in a trial")])
    above, below = figure.axes[:2], figure.axes[2:]
    assert [axes.get_xlabel() for axes in below] == ["students", "actions in a trial"]
    assert list(above[0].lines[0].get_ydata()) == [5e3, 8e6]
    assert list(below[0].lines[0].get_ydata()) == [0.3, 2.5]
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes)


def test_bad_numbers_are_refused():
    assert CliRunner().invoke(app, ["bench", "cost", "--rounds", "0"]).exit_code == 2


@pytest.mark.slow
def test_cost_is_measured():
    few, many = simulation(1, lambda _: None, sizes=(1, 4_096)).points
    assert many.cost.median > 10 * few.cost.median
    short, long = training_by_length(1, lambda _: None, sizes=(64, 256)).points
    assert short.size == 64
    assert long.peak_gib > short.peak_gib
    assert 1 < long.cost.median < 10_000
