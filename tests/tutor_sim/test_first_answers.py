"""What first answers are worth: known values, and that forgetting is beginning anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from small_students import EVERYTHING
from tutor_agents.registry import make_tutor
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.cli import app
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Evaluation, evaluate
from tutor_sim.first_answers import FirstAnswers, Forgetful, forgetting_points
from tutor_sim.training import make_learner

TASK = TeachingTask(n_lessons=2, n_steps=4, reward=Reward(scale=4))
RICH = Population.model_validate(
    {
        "name": "rich",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["text", "video"]},
        "latents": {"ability": {"normal": {"sd": 1}}},
        "components": {
            name: EVERYTHING[name] for name in ("response_time", "dropout", "prerequisites")
        },
    }
)
"""With signals, illegal actions and students who leave."""
RICH_TASK = TeachingTask(n_lessons=2, n_steps=4, show_score=True)


def certain() -> Population:
    """Readers learn one of four units with every text, viewers with every video; no luck."""
    return Population.model_validate(
        {
            "name": "certain",
            "student": "style_bandit",
            "model": {"modalities": ["text", "video"], "n_units": 4},
            "latents": {"p_event": 0.5, "style_strength": 1, "p_slip": 0, "p_guess": 0},
            "types": {
                "reader": {"weight": 1, "latents": {"responsiveness": [1, 0]}},
                "viewer": {"weight": 1, "latents": {"responsiveness": [0, 1]}},
            },
        }
    )


class TextFirst:
    """Text, until an answer is wrong: then video for ever. It has found out after one answer."""

    name = "text_first"

    def __init__(self) -> None:
        self.begun = 0
        self.opened: list[Observation] = []

    def begin_trial(self, trial: Trial) -> None:
        self.begun += 1
        self.video = torch.zeros_like(trial.students)
        self.is_new = True

    def act(self, observation: Observation) -> Tensor:
        if self.is_new:
            self.opened.append(observation)
            self.is_new = False
        return self.video.clone()

    def observe(self, action: Tensor, observation: Observation) -> None:
        self.video = torch.where(observation.response == 0, 1, self.video)


def lessons(tutor: Tutor, population: Population | None = None, **options: Any) -> Evaluation:
    task = options.pop("task", TASK)
    defaults = {"n_students": 40, "seed": 1}
    return evaluate(tutor, population or certain(), task, **defaults | options)


class TestKnownWorth:
    @pytest.mark.parametrize("k", range(1, 8))
    def test_forgetting_a_viewer_costs_one_unit(self, k: int) -> None:
        ordinary = lessons(TextFirst())
        reader = ordinary.types == 0
        assert 0 < reader.sum() < 40
        # a viewer is found out by one wasted action: 3 and then 4 units
        np.testing.assert_allclose(ordinary.student_scores, np.where(reader, 4, 3.5), atol=1e-6)
        forgetful = lessons(Forgetful(TextFirst(), k))
        # found out twice: one more unit in one of the two lessons
        lost = ordinary.student_scores - forgetful.student_scores
        np.testing.assert_allclose(lost, np.where(reader, 0, 0.5), atol=1e-6)

    def test_means_and_intervals(self) -> None:
        scores = np.array([[4.0, 3.5, 3.5]])
        found = FirstAnswers.of(
            "t", lessons(TextFirst()).role, scores, {4: scores - [[0, 0.5, 0.5]]}
        )
        assert found.score.value == pytest.approx(11 / 3)
        assert found.worth[4].value == pytest.approx(1 / 3)
        assert found.forgetful[4].value == pytest.approx(11 / 3 - 1 / 3)
        assert found.worth[4].low < 1 / 3 < found.worth[4].high

    @pytest.mark.parametrize("k", [1, 3, 4, 6])
    def test_a_tutor_that_remembers_nothing_loses_nothing(self, k: int) -> None:
        tutor = make_tutor("random", certain(), TASK)
        np.testing.assert_array_equal(lessons(tutor).actions, lessons(Forgetful(tutor, k)).actions)


class TestForgetting:
    def test_it_begins_with_nothing_but_the_present(self) -> None:
        inner = TextFirst()
        lessons(Forgetful(inner, 6), RICH, task=RICH_TASK, n_students=30)
        assert inner.begun == 2
        first, again = inner.opened
        model = RICH.student_model
        assert (again.lesson, again.step) == (1, 2)
        assert (again.action == model.n_actions).all()
        assert (again.response == model.n_responses).all()
        for now, start in ((again.score, first.score), (again.signals, first.signals)):
            assert now is not None
            assert start is not None
            assert torch.equal(now, start)
        assert again.legal is not None
        assert first.legal is not None
        assert not torch.equal(again.legal, first.legal)  # of the present
        assert again.present is not None
        assert not again.present.all()

    @pytest.mark.parametrize("name", ["thompson", "round_robin", "mastery_threshold"])
    @pytest.mark.parametrize("k", [0, 8, 100])
    def test_nothing_or_everything_is_the_ordinary_tutor(self, name: str, k: int) -> None:
        tutor = make_tutor(name, RICH, RICH_TASK)
        same(
            lessons(tutor, RICH, task=RICH_TASK), lessons(Forgetful(tutor, k), RICH, task=RICH_TASK)
        )


def same(one: Evaluation, other: Evaluation) -> None:
    for field in ("actions", "responses", "scores", "post_test"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)


LEARNERS = {
    "rl2": {},
    "transformer": {"algorithm": "rl2", "memory": "transformer"},
    "snail": {"algorithm": "rl2", "memory": "snail"},
    "varibad": {},
    "exact posterior": {"algorithm": "varibad", "belief": "posterior"},
    "maml": {},
    "promp": {},
    "distill": {"teacher": "myopic"},
}


def untrained(name: str) -> Tutor:
    settings = {"algorithm": name, "total_steps": 64} | LEARNERS[name]
    experiment = Experiment.model_validate(
        {
            "name": "x",
            "population": RICH.model_dump(mode="json"),
            "task": RICH_TASK.model_dump(mode="json"),
            "learner": settings,
        }
    )
    return make_learner(experiment, "cpu").tutor()


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learned_tutor_can_forget(name: str) -> None:
    tutor = untrained(name)

    def run(one: Tutor) -> Evaluation:
        return lessons(one, RICH, task=RICH_TASK, n_students=12)

    ordinary = run(tutor)
    same(ordinary, run(Forgetful(tutor, 0)))
    same(ordinary, run(Forgetful(tutor, 8)))
    for k in (3, 4, 6):  # within a lesson, between two
        forgot = run(Forgetful(tutor, k))
        before = ordinary.actions.reshape(8, -1)[:k]
        np.testing.assert_array_equal(forgot.actions.reshape(8, -1)[:k], before)


def test_which_k_are_tried() -> None:
    assert forgetting_points(TeachingTask(n_lessons=3, n_steps=6)) == [1, 2, 4, 6, 8, 12, 16]
    assert forgetting_points(TeachingTask(n_steps=5)) == [1, 2, 4]
    assert forgetting_points(TeachingTask(n_steps=1)) == []
    long = forgetting_points(TeachingTask(n_lessons=20, n_steps=5))
    assert long == [1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 64, 80]


EXPERIMENT = """\
name: listed
population: style_bandit
task: {n_lessons: 2, n_steps: 3}
tutors: [random, thompson, oracle]
evaluation: {n_students: 30}
"""


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("tutor_sim.compare.pictures", lambda *what: [])
        Path("listed.yaml").write_text(EXPERIMENT)
        self.call("compare", "listed.yaml", "--device", "cpu")
        return Path("runs/listed-0-001")

    def call(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    def test_it_prints_and_leaves_a_picture(self, run: Path) -> None:
        text = self.call("adapt", str(run), "--device", "cpu")
        assert "listed: post-test score, 2 lessons of 3 teaching actions" in text
        assert "thompson, which scores" in text
        assert "oracle" not in text
        assert "3 (1 lesson)" in text
        assert "<svg" in (run / "first_answers.svg").read_text()
        found = json.loads((run / "first_answers.json").read_text())
        assert [line["tutor"] for line in found["tutors"]] == ["random", "thompson"]
        random, thompson = found["tutors"]
        assert list(thompson["worth"]) == ["1", "2", "3", "4"]
        assert all(worth["value"] == 0 for worth in random["worth"].values())
        for k, worth in thompson["worth"].items():
            lost = thompson["score"]["value"] - thompson["forgetful"][k]["value"]
            assert worth["value"] == pytest.approx(lost)

    def test_one_tutor_with_other_students(self, run: Path) -> None:
        text = self.call("adapt", str(run), "--tutor", "thompson", "--students", "8")
        assert "random" not in text
        assert "8 unseen students" in text

    def test_what_it_cannot_do(self, run: Path) -> None:
        text = self.call("adapt", str(run), "--tutor", "thomson", code=2)
        assert "unknown `--tutor` 'thomson'; allowed: oracle, random, thompson" in text
        text = self.call("adapt", str(run), "--tutor", "oracle", code=2)
        assert "`--tutor oracle` reads what is hidden: it has no memory" in text

    def test_further_tables_are_shown_on_request(self, run: Path) -> None:
        plain = self.call("evaluate", str(run))
        titles = ["What students learned", "Mastery", "Regret to oracle", "Who benefits, by style"]
        assert not any(title in plain for title in titles)
        shown = [f"--show={table}" for table in ("learning", "regret", "equity")]
        text = self.call("evaluate", str(run), *shown)
        for title in titles:
            assert title in text
