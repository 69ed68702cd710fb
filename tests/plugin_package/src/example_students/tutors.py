"""A tutor that follows a rule, and a learner: neither imports anything of tutor-sim."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel
from torch import Tensor


class WinStayLoseShift:
    """Repeats a teaching action that was answered correctly, else takes the next one."""

    name = "win_stay"

    def __init__(
        self, population: Any, task: Any, *, seed: int, device: Any, first: int = 0
    ) -> None:
        self.model, self.first, self.device = population.student_model, first, device
        self.win = self.model.responses.index("correct")

    def begin_trial(self, trial: Any) -> None:
        self.action = torch.full_like(trial.students, self.first)

    def act(self, observation: Any) -> Tensor:
        return self.action

    def observe(self, action: Tensor, observation: Any) -> None:
        shifted = (action + 1) % self.model.n_actions
        self.action = torch.where(observation.response == self.win, action, shifted)


class FixedTutor:
    """Always the same action."""

    name = "bandit"

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def begin_trial(self, trial: Any) -> None:
        self.n_students = len(trial.students)

    def act(self, observation: Any) -> Tensor:
        return self.value.argmax().repeat(self.n_students)

    def observe(self, action: Tensor, observation: Any) -> None:
        pass

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"value": self.value}, {"kind": "example_bandit"}


class BanditSettings(BaseModel):
    """What a user can choose."""

    algorithm: Literal["example_bandit"] | str = "example_bandit"
    total_steps: int = 200


class BanditLearner:
    """Counts which teaching action is answered correctly most often, by asking everyone."""

    Config = BanditSettings

    def __init__(
        self, config: BanditSettings, population: Any, task: Any, *, seed: int, device: str
    ) -> None:
        self.value = torch.zeros(population.student_model.n_actions)
        self.steps_per_update = 10
        self.n_updates = config.total_steps // self.steps_per_update
        self.updates_done = 0
        self.seed = seed

    def update(self) -> dict[str, float]:
        draw = torch.Generator().manual_seed(1000 * self.seed + self.updates_done)
        self.value = self.value + torch.rand(self.value.shape, generator=draw)
        self.updates_done += 1
        return {"train/return": self.value.max().item()}

    def tutor(self) -> FixedTutor:
        return FixedTutor(self.value)

    def tensors(self) -> dict[str, Tensor]:
        return {"value": self.value}

    def counters(self) -> dict[str, int]:
        return {"updates_done": self.updates_done}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        self.value, self.updates_done = tensors["value"], counters["updates_done"]
