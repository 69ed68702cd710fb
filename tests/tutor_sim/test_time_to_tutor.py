"""``tutor-sim bench time-to-tutor``: stretches of training, and when a tutor was good."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tutor_agents.distill import teacher
from tutor_agents.planner import ExactPlanner
from tutor_sim.bench import learn
from tutor_sim.bench.learn import Learn
from tutor_sim.bench.time_to_tutor import CASES, Curve, table
from tutor_sim.cli import app

DISTILL = {"algorithm": "distill", "total_steps": 40_000, "n_trials": 64, "hidden_size": 16}


def test_each_round_tells_how_good_the_tutor_was_before_it(monkeypatch):
    monkeypatch.setattr(learn, "N_STUDENTS", 500)
    job = Learn(str(CASES), "style-bandit-a", DISTILL, seed=0)
    job.prepare(0)
    job.work()  # another learner's, not counted
    scores, steps = [], []
    for round_ in range(1, 200):
        job.prepare(round_)
        work = job.work()
        scores.append(work.score)
        steps.append(work.steps)
        if work.steps == 0:
            break
    assert steps[-1] == 0
    assert 40_000 <= sum(steps) < 42_000
    assert scores[0] < 0.2
    assert max(scores) > 0.8


def test_the_plan_of_the_optimum_is_part_of_the_work(monkeypatch):
    plans: list[ExactPlanner] = []

    class Planned(teacher.ActionValues):
        def __init__(self, planner: ExactPlanner) -> None:
            plans.append(planner)
            super().__init__(planner)

    monkeypatch.setattr(teacher, "ActionValues", Planned)
    job = Learn(str(CASES), "style-bandit-a", DISTILL, seed=0)
    job.prepare(0)
    job.work()
    job.prepare(1)
    assert len(plans) == 1
    job.work()
    assert len(plans) == 2


def curve(*shares: float, name: str = "ours", seconds: float = 1.0) -> Curve:
    return Curve("case", name, 0, [(seconds * i, share) for i, share in enumerate(shares)])


def test_a_level_is_reached_when_it_holds_twice():
    assert curve(0.1, 0.96, 0.5, 0.95, 0.97, 0.2).reached(0.95) == 3.0
    assert curve(0.1, 0.96).reached(0.95) is None
    assert curve().reached(0.95) is None


def test_who_never_gets_there_has_spent_the_budget_at_least():
    ours = curve(0.0, 0.96, 0.96, 1.0, 1.0)
    theirs = curve(0.0, 0.5, 0.96, 0.97, name="theirs", seconds=10)
    console = Console(width=100, record=True, file=None)
    with console.capture() as said:
        console.print(table([ours, theirs], budget_s=60))
    mine, other = (line.split() for line in said.get().splitlines()[-2:])
    assert mine == ["ours", "1.0", "1.0", "3.0", "1.0", "1.000"]
    assert other == ["theirs", "20.0", "20.0", "never", ">", "20.0", "0.970"]


def test_a_case_that_does_not_exist_is_named():
    result = CliRunner().invoke(app, ["bench", "time-to-tutor", "--case", "bkt"])
    assert result.exit_code == 2
    assert "bkt-types-a" in result.output


@pytest.mark.slow
def test_curves_are_measured_from_the_command_line():
    limits = ["--case", "style-bandit-a", "--seeds", "1", "--budget", "20"]
    arguments = ["bench", "time-to-tutor", *limits, "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    curves = json.loads(result.stdout)["curves"]
    assert [c["name"] for c in curves] == ["distill", "rl2"]
    distilled = Curve(**curves[0])
    assert distilled.reached(0.95) is not None
