"""A tiny learner with the laboratory's interface, and experiments that use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.task import TeachingTask
from tutor_sim.learners import LEARNERS, LearnerKind


class TallyConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    algorithm: str = "tally"
    total_steps: int = 1000
    n_trials: int = 10
    learning_rate: float = 0.1


class TallyTutor:
    """Always the action with the highest value."""

    name = "tally"

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def begin_trial(self, trial: Trial) -> None:
        pass

    def act(self, observation: Observation) -> Tensor:
        return self.value.argmax().expand(len(observation.action)).clone()

    def observe(self, action: Tensor, observation: Observation) -> None:
        pass

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"value": self.value}, {"kind": self.name}


class TallyLearner:
    """Keeps a running mean of the return of each action, each trial being one action repeated."""

    def __init__(
        self,
        config: TallyConfig,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.config, self.seed = config, seed
        self.steps_per_update = config.n_trials * task.n_trial_steps
        self.n_updates = -(-config.total_steps // self.steps_per_update)
        self.updates_done = 0
        self.classroom = Classroom(population, task, seed=seed, device=device)
        self.value = torch.zeros(population.student_model.n_actions)
        self.momentum = torch.zeros_like(self.value)

    def update(self) -> dict[str, float]:
        students = student_indices(
            Split.TRAIN, self.config.n_trials, self.updates_done * self.config.n_trials
        )
        u = uniforms(self.seed, students, purpose=Purpose.TUTOR, n_lanes=1).squeeze(-1)
        action = (u * len(self.value)).long()
        self.classroom.begin_trial(students)
        total = torch.zeros(len(students))
        for _ in range(self.classroom.task.n_trial_steps):
            total += self.classroom.step(action).reward
        error = torch.zeros_like(self.value).index_add_(0, action, total - self.value[action])
        self.momentum = 0.9 * self.momentum + error / self.config.n_trials
        self.value = self.value + self.config.learning_rate * self.momentum
        self.updates_done += 1
        return {"train/return": total.mean().item(), "perf/steps_per_s": 1.0}

    def tutor(self) -> TallyTutor:
        return TallyTutor(self.value)

    def tensors(self) -> dict[str, Tensor]:
        return {"value": self.value, "momentum": self.momentum}

    def counters(self) -> dict[str, int]:
        return {"updates_done": self.updates_done}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        self.value, self.momentum = tensors["value"], tensors["momentum"]
        self.updates_done = counters["updates_done"]


@pytest.fixture(autouse=True)
def tally(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tiny learner known as ``algorithm: tally``."""
    kind = LearnerKind("a tiny learner", lambda: (TallyConfig, TallyLearner))  # type: ignore[arg-type,return-value]
    monkeypatch.setitem(LEARNERS, "tally", kind)


EXPERIMENT = """\
name: tiny
seed: 3
population:
  name: two skills
  student: bkt
  model: {n_skills: 2}
  latents:
    ability: {normal: {sd: 1}}
    p_slip: 0.1
task: {n_steps: 5}
learner: {algorithm: tally, total_steps: 1_000, learning_rate: 1e-1}
tutors: [random, tally]
evaluation: {n_students: 20, validation_students: 10, every_updates: 4}
checkpoint: {every_updates: 5, keep: 2}
short: {learner.total_steps: 200, evaluation.n_students: 8}
"""


@pytest.fixture
def experiment_file(tmp_path: Path) -> Path:
    """A small valid experiment: 20 updates of 10 trials of 5 actions."""
    path = tmp_path / "tiny.yaml"
    path.write_text(EXPERIMENT)
    return path
