"""What adapting is worth: paired with the same tutor without it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from pyarrow import parquet
from torch import Tensor

from tutor_agents.maml import ProMPConfig
from tutor_agents.maml.learner import MAMLLearner
from tutor_agents.random_tutor import RandomTutor
from tutor_envs.classroom import Observation
from tutor_envs.population_files import default_population
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask
from tutor_sim.adapting import SUFFIX, Adapting, adaptation_notes
from tutor_sim.compare import Learned, compare
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Role, evaluate

POPULATION, TASK = default_population("style_bandit"), TeachingTask(n_lessons=2, n_steps=3)


def test_the_gain_is_the_mean_paired_difference_over_seeds() -> None:
    model = POPULATION.student_model
    whole = evaluate(RandomTutor(model), POPULATION, TASK, n_students=50, seed=0, role=Role.LEARNED)
    adapted, frozen = [], []
    for seed, gain in ((0, 0.1), (1, 0.3)):
        one = dataclasses.replace(whole, tutor="it", training_seed=seed)
        adapted.append(one)
        less = one.scores - gain
        frozen.append(dataclasses.replace(one, tutor="it" + SUFFIX, scores=less))
    (note,) = adaptation_notes(adapted, frozen)
    assert note.startswith("it: adapting gains 0.200 [")  # (0.1 + 0.3) / 2
    assert adaptation_notes(adapted, []) == []


class Sticky(RandomTutor):
    """Random, or without adaptation always the first action."""

    def __init__(self, model: StudentModel, *, sticks: bool = False) -> None:
        super().__init__(model)
        self.model, self.sticks = model, sticks

    def unadapted(self) -> Sticky:
        return Sticky(self.model, sticks=True)

    def act(self, observation: Observation) -> Tensor:
        action = super().act(observation)
        return 0 * action if self.sticks else action


def test_a_comparison_teaches_the_same_students_without_adaptation(tmp_path: Path) -> None:
    experiment = Experiment.model_validate(
        {
            "name": "x",
            "population": POPULATION.model_dump(mode="json"),
            "task": TASK.model_dump(),
            "tutors": ["random"],
            "evaluation": {"n_students": 40},
        }
    )
    tutor = Sticky(POPULATION.student_model)
    result = compare(experiment, folder=tmp_path, learned=[Learned("sticky", lambda: tutor)])
    assert any(note.startswith("sticky: adapting gains") for note in result.notes)
    table = parquet.read_table(tmp_path / "results.parquet").to_pydict()
    rows = {name: [] for name in ("sticky", "sticky" + SUFFIX)}
    for name, student, score in zip(table["tutor"], table["student"], table["score"], strict=True):
        if name in rows:
            rows[name].append((student, score))
    assert [s for s, _ in rows["sticky"]] == [s for s, _ in rows["sticky" + SUFFIX]]
    gain = np.mean([a - b for (_, a), (_, b) in zip(*rows.values(), strict=True)])
    assert f"{gain:.3f}" in next(n for n in result.notes if n.startswith("sticky"))
    assert [line.tutor for line in result.summary.tutors if "sticky" in line.tutor] == ["sticky"]


def test_gradient_tutors_can_be_switched_off() -> None:
    learner = MAMLLearner(ProMPConfig(n_trials=8, minibatches=1), POPULATION, TASK)
    tutor = learner.tutor()
    assert isinstance(tutor, Adapting)
    frozen = evaluate(tutor.unadapted(), POPULATION, TASK, n_students=20, seed=0)
    # without adaptation each lesson begins alike: the same first action for all, every time
    assert len(np.unique(frozen.actions[:, 0])) == 1


def test_other_tutors_cannot() -> None:
    assert not isinstance(RandomTutor(POPULATION.student_model), Adapting)
