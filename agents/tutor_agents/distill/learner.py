"""The training of a distilled tutor: teach by mixed behaviour, learn the labels, repeat."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from tutor_agents.distill.config import DistillConfig
from tutor_agents.distill.distiller import Distiller
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.engine.networks import ActorShape
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.saved_state import restore_state, state_tensors
from tutor_agents.engine.skill_actor import make_actor
from tutor_agents.engine.update import new_students, updates_for
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


class DistillLearner:
    """Trains a tutor to act as its teacher would; see the package's text for the algorithm."""

    def __init__(
        self,
        config: DistillConfig,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build network and optimiser; everything random follows from ``seed``.

        Raises:
            ValueError: the teacher cannot teach these students.
        """
        self.config = config
        self.population = population
        self.task = task
        self.seed = seed
        self.device = torch.device(device)
        self.steps_per_update = config.n_trials * task.n_trial_steps
        self.n_updates = updates_for(config.total_steps, self.steps_per_update)
        self.updates_done = 0
        classroom = Classroom(population, task, seed=seed, device=device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, width = population.student_model, config.hidden_size
            shape = ActorShape.of(model, task, width, config.memory, config.network)
            self.actor = make_actor(shape)
            self.actor.initialise()
        self._networks = nn.ModuleDict({"actor": self.actor}).to(self.device)
        self._distiller = Distiller(
            config, self.actor, self._networks, classroom, task, Privileged(classroom)
        )

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> MemoryTutor:
        """The greedy tutor with the current weights (a live view)."""
        return MemoryTutor(self.actor, "distill", self.population.student_model)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser state, by name."""
        return state_tensors(self._networks, {"adam": self._distiller.adam})

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        per_update = self._distiller.optimizer_steps_per_update
        return {
            "updates_done": self.updates_done,
            "optimizer_steps": self.updates_done * per_update,
        }

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken.

        Raises:
            ValueError: they belong to another network.
        """
        restore_state(self._networks, {"adam": self._distiller.adam}, tensors)
        self.updates_done = counters["updates_done"]

    def update(self) -> dict[str, float]:
        """Teach one batch of new students and learn from it; returns what to log."""
        started_s = time.perf_counter()
        students = new_students(self.updates_done, self.config.n_trials, self.device)
        logs = self._distiller.update(students, 1 - self.updates_done / self.n_updates)
        self.updates_done += 1
        duration_s = time.perf_counter() - started_s
        return {**logs, "perf/steps_per_s": self.steps_per_update / duration_s}
