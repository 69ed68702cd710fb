"""``tutor-sim bench time-to-tutor``: stretches of training, and when a tutor was good."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tutor_agents.distill import teacher
from tutor_agents.planner import ExactPlanner
from tutor_agents.rl2 import RL2Config
from tutor_agents.sb3 import SB3RecurrentPPOConfig
from tutor_sim.bench import learn
from tutor_sim.bench.figures import curves_figure
from tutor_sim.bench.job import load
from tutor_sim.bench.learn import Learn
from tutor_sim.bench.peers import FOLDER
from tutor_sim.bench.time_to_tutor import CASES, Curve, check_students, table
from tutor_sim.cli import app
from tutor_sim.limit import selected_cases

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


PLAY = """
from tutor_sim.bench.job import Work

class Play:
    def __init__(self, cases, case, n_students):
        self.scores = [None, 5.8, {round_robin}]
    def prepare(self, round_):
        self.round = round_
    def work(self):
        return Work(1, self.scores[self.round], 0.01)
"""


@pytest.mark.parametrize("round_robin", [5.84, 5.86])
def test_a_peer_with_other_students_is_refused(tmp_path, round_robin):
    file = tmp_path / "play.py"
    file.write_text(PLAY.format(round_robin=round_robin))
    (case,) = selected_cases(CASES, "style-bandit-a")  # random and round_robin score 5.8125
    if round_robin < 5.85:
        check_students(case, f"{file}:Play")
    else:
        with pytest.raises(ValueError, match="students of `style-bandit-a`: `round_robin` scores"):
            check_students(case, f"{file}:Play")


def curve(*shares: float, name: str = "ours", seconds: float = 1.0) -> Curve:
    return Curve("case", name, 0, [(seconds * i, share) for i, share in enumerate(shares)])


def test_a_level_is_reached_when_it_holds_twice():
    assert curve(0.1, 0.96, 0.5, 0.95, 0.97, 0.2).reached(0.95) == 3.0
    assert curve(0.1, 0.96).reached(0.95) is None
    assert curve().reached(0.95) is None


def test_who_never_gets_there_needs_more_than_it_had():
    ours = curve(0.0, 0.96, 0.96, 1.0, 1.0)
    theirs = curve(0.0, 0.5, 0.96, 0.97, name="theirs", seconds=10)
    console = Console(width=100, record=True, file=None)
    with console.capture() as said:
        console.print(table([ours, theirs]))
    mine, other = (line.split() for line in said.get().splitlines()[-2:])
    assert mine == ["ours", "1.0", "1.0", "3.0", "1.0", "1.000"]
    assert other == ["theirs", "20.0", "20.0", "never", ">", "10.0", "0.970"]


TUNE = str(FOLDER / "tune.py")


def test_everybody_is_tuned_among_the_same_settings():
    drawn: Any = load(f"{TUNE}:drawn_settings")()
    assert drawn == load(f"{TUNE}:drawn_settings")()
    assert len({str(settings) for settings in drawn}) == 7
    for settings in drawn:
        RL2Config(**settings)
        SB3RecurrentPPOConfig(**settings)


def test_the_best_setting_is_the_soonest_and_else_the_nearest():
    candidate: Any = load(f"{TUNE}:Candidate")
    soon, late = curve(0.5, 0.96, 0.96, seconds=2), curve(0.5, 0.5, 0.96, 0.96, seconds=5)
    near, far = curve(0.5, 0.9), curve(0.5, 0.6)
    curves = [[soon, soon], [soon, late], [soon, near], [soon, far], [near, far]]
    assert [candidate({}, both).rank() for both in curves] == sorted(
        candidate({}, both).rank() for both in reversed(curves)
    )
    # Twice as far from the optimum as it may be after 25 CPU-seconds: as if it took 50.
    assert candidate({}, [near]).rank() == pytest.approx(math.log(50))


def test_the_picture_has_a_panel_a_case_and_a_line_a_seed():
    curves = [
        Curve(case, name, seed, [(0.0, 0.1), (1.0, 0.5 + 0.1 * seed), (2.0, 0.9)])
        for case in ("a", "b")
        for name in ("ours", "theirs")
        for seed in range(2)
    ]
    figure = curves_figure(curves, levels=(0.95,))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in panels] == ["a", "b"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "theirs"]
    drawn = [line for line in panels[0].lines if not line.get_label().startswith("_")]
    assert [list(line.get_ydata()) for line in drawn[:2]] == [[0.5, 0.9], [0.6, 0.9]]
    assert panels[0].get_xscale() == "log"


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    arguments = ["bench", "time-to-tutor", "--output", str(tmp_path / "file" / "folder")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert "cannot write" in result.output


def test_a_case_that_does_not_exist_is_named():
    result = CliRunner().invoke(app, ["bench", "time-to-tutor", "--case", "bkt"])
    assert result.exit_code == 2
    assert "bkt-types-a" in result.output


@pytest.mark.slow
def test_curves_are_measured_from_the_command_line(tmp_path):
    limits = ["--case", "style-bandit-a", "--seeds", "1", "--budget", "20"]
    arguments = ["bench", "time-to-tutor", *limits, "--json", "--output", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    curves = json.loads(result.stdout)["curves"]
    assert [c["name"] for c in curves] == ["distill", "rl2"]
    distilled = Curve(**curves[0])
    assert distilled.reached(0.95) is not None
    assert json.loads((tmp_path / "time_to_tutor.json").read_text())["curves"] == curves
    assert (tmp_path / "time_to_tutor.png").stat().st_size > 10_000
