"""The training of RL²: roll out whole trials with new students, update by PPO, repeat.

With a warm start the first updates distil a teacher instead, and train the critic on the returns of
the policy that arises, so that PPO begins with a policy that teaches and a critic that knows it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutor_agents.distill.distiller import Distiller
from tutor_agents.engine.actor_critic import ActorCritic
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout
from tutor_agents.engine.saved_state import Optimizers
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_agents.engine.update import (
    advantages_and_targets,
    make_adam,
    set_learning_rate,
    training_task,
    updates_for,
)
from tutor_agents.rl2.config import RL2Config
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


class RL2Learner(TrialLearner):
    """Trains an RL² tutor; see the package's text for the algorithm."""

    def __init__(
        self,
        config: RL2Config,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build networks and optimiser; everything random follows from ``seed``.

        Raises:
            ValueError: the teacher of the warm start cannot teach these students, or the network
                does not fit their actions.
        """
        super().__init__(config, population, task, seed=seed, device=device)
        self.config = config
        warm = config.warm_start
        passes = (config,) if warm is None else (config, warm)
        self.minibatch_sizes = tuple(config.n_trials // each.minibatches for each in passes)
        self._n_warm = updates_for(warm.total_steps, self.steps_per_update) if warm else 0
        self.n_updates += self._n_warm
        paid = training_task(task, config, population.student_model)
        self._classroom = Classroom(population, paid, seed=seed, device=device)
        self._privileged = Privileged(self._classroom)
        self._networks = ActorCritic(
            config, self._classroom, self._privileged, task, config.network
        )
        self.actor = self._networks.actor
        self._adam = make_adam(self._networks.parameters(), config.learning_rate)
        self._distiller = None
        if config.warm_start is not None:
            self._distiller = Distiller(
                config.warm_start,
                self.actor,
                self._networks,
                self._classroom,
                task,
                self._privileged,
                more_loss=self._warm_critic,
                with_features=self._networks.with_features,
            )

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> MemoryTutor:
        """The greedy tutor with the current weights (a live view)."""
        model, belief = self.population.student_model, self._networks.trained_belief
        return MemoryTutor(self.actor, "rl2", model, belief=belief)

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        warm = min(self.updates_done, self._n_warm)
        steps = (self.updates_done - warm) * self.config.epochs * self.config.minibatches
        if self._distiller is not None:
            steps += warm * self._distiller.optimizer_steps_per_update
        return {"updates_done": self.updates_done, "optimizer_steps": steps}

    def _saved(self) -> tuple[nn.Module, Optimizers]:
        return self._networks, self._optimizers()

    # -- one update ---------------------------------------------------------------------------
    def _learn_from(self, students: Tensor) -> dict[str, float]:
        is_ppo = self.updates_done >= self._n_warm
        return self._ppo(students) if is_ppo else self._distil(students)

    # -- the two phases -----------------------------------------------------------------------
    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Each phase has its own: PPO does not inherit the moments of another loss."""
        if self._distiller is not None and self.updates_done < self._n_warm:
            return {"distill": self._distiller.adam}
        return {"adam": self._adam}

    def _distil(self, students: Tensor) -> dict[str, float]:
        assert self._distiller is not None
        logs = self._distiller.update(students, 1 - self.updates_done / self._n_warm)
        return {**logs, "train/is_ppo": 0.0}

    def _ppo(self, students: Tensor) -> dict[str, float]:
        config = self.config
        done, total = self.updates_done - self._n_warm, self.n_updates - self._n_warm
        remaining = 1 - done / total
        scale = 1.0 if config.warm_start is None else config.warm_start.ppo_scale
        learning_rate = config.learning_rate * scale * remaining
        entropy_weight = config.entropy_weight * scale * remaining
        set_learning_rate(self._adam, learning_rate)
        rollout = self._networks.roll_out(students)
        logs = self._networks.learn(
            rollout,
            students,
            self._adam,
            discount=config.discount,
            gae_lambda=config.gae_lambda,
            entropy_weight=entropy_weight,
        )
        return {
            "train/return": rollout.reward.sum(0).mean().item(),
            "train/learning_rate": learning_rate,
            "train/entropy_weight": entropy_weight,
            **{name: value.item() for name, value in logs.items()},
            **({} if config.warm_start is None else {"train/is_ppo": 1.0}),
        }

    def _warm_critic(
        self, loss: Tensor, rollout: Rollout, hidden: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """While a teacher is distilled the critic learns whole returns, nothing bootstrapped."""
        zero = torch.zeros_like(rollout.reward)
        _, returns = advantages_and_targets(rollout, zero, self.config.discount, 1.0)
        return self._networks.with_side_losses(loss, rollout, hidden, returns)
