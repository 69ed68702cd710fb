"""The learning algorithms that a run can train, by name, and what they have in common."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
from pydantic import BaseModel
from torch import Tensor

from tutor_agents.exported import POLICY_FILE, WEIGHTS_FILE
from tutor_agents.tutor import Tutor
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.files import atomic_write, saving


class LearnedTutor(Tutor, Protocol):
    """A tutor that can be taken away."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, and a JSON object with what a program needs to use them."""
        ...


class Learner(Protocol):
    """Something that is trained in updates and can be stopped and continued between any two.

    Everything random in a learner is addressed by seed and counters (see :mod:`tutor_envs.rng`),
    so its tensors and counters are all there is to save.

    Attributes:
        n_updates: updates planned in all.
        updates_done: updates done so far.
        steps_per_update: teaching actions in one update.
    """

    n_updates: int
    updates_done: int
    steps_per_update: int

    def update(self) -> dict[str, float]:
        """Teach one batch of students and learn from it; TensorBoard tag -> number."""
        ...

    def tutor(self) -> LearnedTutor:
        """The greedy tutor with the current weights."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Weights and optimiser state."""
        ...

    def counters(self) -> Mapping[str, int]:
        """Progress; the unit of each counter is its name."""
        ...

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken."""
        ...


class MakeLearner(Protocol):
    """Builds a learner from its configuration and what it shall teach."""

    def __call__(
        self,
        config: BaseModel,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        device: str,
    ) -> Learner:
        """A learner before its first update."""
        ...


@dataclasses.dataclass(frozen=True)
class LearnerKind:
    """One learning algorithm; nothing of it is imported before it is used.

    Attributes:
        description: one line for lists.
        load: imports the model of its settings (``learner:`` in an experiment) and its learner.
    """

    description: str
    load: Callable[[], tuple[type[BaseModel], MakeLearner]]

    @property
    def config(self) -> type[BaseModel]:
        """The model of its settings."""
        return self.load()[0]

    @property
    def make(self) -> MakeLearner:
        """Builds a learner."""
        return self.load()[1]


def _of(
    module: str, config: str, learner: str
) -> Callable[[], tuple[type[BaseModel], MakeLearner]]:
    def load() -> tuple[type[BaseModel], MakeLearner]:
        found = importlib.import_module(module)
        return getattr(found, config), getattr(found, learner)

    return load


LEARNERS: dict[str, LearnerKind] = {
    "rl2": LearnerKind(
        "learned: a memory that adapts to each student, trained by PPO (RL²)",
        _of("tutor_agents.rl2", "RL2Config", "RL2Learner"),
    )
}
"""Name of an algorithm (and of the tutor that it trains) -> what it is."""


def learner_kind(name: str) -> LearnerKind:
    """The learning algorithm with this name.

    Raises:
        ValueError: there is none.
    """
    if name not in LEARNERS:
        raise ValueError(unknown_name("learner.algorithm", name, LEARNERS))
    return LEARNERS[name]


def export_tutor(tutor: LearnedTutor, folder: Path) -> None:
    """Write a trained tutor as ``policy.safetensors`` and ``policy.json``.

    Raises:
        SaveError: it could not be written.
    """
    weights, description = tutor.export()
    with saving(folder):
        folder.mkdir(exist_ok=True)
    atomic_write(folder / WEIGHTS_FILE, safetensors.torch.save(weights))
    atomic_write(folder / POLICY_FILE, (json.dumps(description, indent=1) + "\n").encode())
