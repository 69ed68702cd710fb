"""The training of a distilled tutor: teach by mixed behaviour, learn the labels, repeat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutor_agents.distill.config import DistillConfig
from tutor_agents.distill.distiller import Distiller
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.engine.networks import ActorShape
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.saved_state import Optimizers
from tutor_agents.engine.skill_actor import make_actor
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


class DistillLearner(TrialLearner):
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
        super().__init__(config, population, task, seed=seed, device=device)
        self.config = config
        self.minibatch_sizes = (config.n_trials // config.minibatches,)
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

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        per_update = self._distiller.optimizer_steps_per_update
        return {
            "updates_done": self.updates_done,
            "optimizer_steps": self.updates_done * per_update,
        }

    def _saved(self) -> tuple[nn.Module, Optimizers]:
        return self._networks, {"adam": self._distiller.adam}

    # -- one update ---------------------------------------------------------------------------
    def _learn_from(self, students: Tensor) -> dict[str, float]:
        return self._distiller.update(students, self._remaining)
