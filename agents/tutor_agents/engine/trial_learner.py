"""What learners have in common that teach a batch of whole trials in every update."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from tutor_agents.engine import parallel
from tutor_agents.engine.saved_state import Optimizers, restore_state, state_tensors
from tutor_agents.engine.update import new_students, updates_for
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


class Budget(Protocol):
    """How much is taught."""

    @property
    def total_steps(self) -> int:
        """Teaching actions in all."""

    @property
    def n_trials(self) -> int:
        """Students of an update, one trial each."""


class TrialLearner(ABC):
    """Trained in updates; can be stopped and continued between any two, to the bit.

    Attributes:
        population: whom it learns to teach.
        task: what the tutor will be scored by.
        seed: everything random follows from it.
        device: of the networks.
        steps_per_update: teaching actions in one update.
        n_updates: updates planned in all.
        updates_done: updates done so far.
        minibatch_sizes: students of the minibatches that its update shares out over processes (see
            :mod:`tutor_agents.engine.parallel`); empty: it trains in one process.
    """

    minibatch_sizes: tuple[int, ...] = ()

    def __init__(
        self,
        budget: Budget,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        device: torch.device | str,
    ) -> None:
        self.population = population
        self.task = task
        self.seed = seed
        self.device = torch.device(device)
        self.steps_per_update = budget.n_trials * task.n_trial_steps
        self.n_updates = updates_for(budget.total_steps, self.steps_per_update)
        self.updates_done = 0
        self._n_trials = budget.n_trials

    def update(self) -> dict[str, float]:
        """Teach one batch of new students and learn from it; returns what to log."""
        started_s = time.perf_counter()
        students = new_students(self.updates_done, self._n_trials, self.device)
        logs = parallel.averaged(self._learn_from(students))
        self.updates_done += 1
        duration_s = time.perf_counter() - started_s
        return {**logs, "perf/steps_per_s": self.steps_per_update / duration_s}

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the state of the optimisers, by name."""
        return state_tensors(*self._saved())

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken.

        Raises:
            ValueError: they belong to another network.
        """
        self.updates_done = counters["updates_done"]
        restore_state(*self._saved(), tensors)

    @property
    def _remaining(self) -> float:
        """Share of the training that is still to come: 1 in the first update."""
        return 1 - self.updates_done / self.n_updates

    @abstractmethod
    def _learn_from(self, students: Tensor) -> dict[str, float]:
        """One update with these students, int64 ``(N,)``; returns what to log."""

    @abstractmethod
    def _saved(self) -> tuple[nn.Module, Optimizers]:
        """The networks that are saved, and the optimisers that are in use."""
