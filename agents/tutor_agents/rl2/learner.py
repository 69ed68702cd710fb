"""The training of RL²: roll out whole trials with new students, update by PPO, repeat.

With a warm start the first updates distil a teacher instead, and train the critic on the returns of
the policy that arises, so that PPO begins with a policy that teaches and a critic that knows it.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from tutor_agents.distill.distiller import Distiller
from tutor_agents.engine.belief import belief_loss
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.engine.networks import ActorShape, BeliefHead, Critic
from tutor_agents.engine.ppo import mean_where
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout, roll_out
from tutor_agents.engine.saved_state import restore_state, state_tensors
from tutor_agents.engine.skill_actor import make_actor
from tutor_agents.engine.update import (
    advantages_and_targets,
    explained_variance,
    minibatches,
    normalised,
    policy_loss,
    take_step,
    training_task,
)
from tutor_agents.rl2.config import RL2Config
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask


class RL2Learner:
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
        self.config = config
        self.population = population
        self.task = task
        self.seed = seed
        self.device = torch.device(device)
        self.steps_per_update = config.n_trials * task.n_trial_steps
        self._n_warm = self._updates_for(config.warm_start.total_steps) if config.warm_start else 0
        self.n_updates = self._n_warm + self._updates_for(config.total_steps)
        self.updates_done = 0
        model, width = population.student_model, config.hidden_size
        self._classroom = Classroom(
            population, training_task(task, config, model), seed=seed, device=device
        )
        self._privileged = Privileged(self._classroom)
        n_features = self._privileged.n_features if config.critic == "privileged" else 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            shape = ActorShape.of(model, task, width, config.memory, config.network)
            self.actor = make_actor(shape)
            critic = Critic(n_features, task.n_trial_steps, width)
            belief = BeliefHead(width, self._privileged.n_types, self._privileged.n_latents, model)
            self.actor.initialise()
            critic.initialise()
        self._networks = nn.ModuleDict({"actor": self.actor, "critic": critic, "belief": belief})
        self._networks.to(self.device)
        self._critic, self._belief = critic, belief
        self._adam = torch.optim.Adam(
            self._networks.parameters(), lr=config.learning_rate, eps=1e-5
        )
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
                with_features=config.critic == "privileged",
            )

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> MemoryTutor:
        """The greedy tutor with the current weights (a live view)."""
        return MemoryTutor(self.actor, "rl2", self.population.student_model)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser state, by name."""
        return state_tensors(self._networks, self._optimizers(self.updates_done))

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        warm = min(self.updates_done, self._n_warm)
        steps = (self.updates_done - warm) * self.config.epochs * self.config.minibatches
        if self._distiller is not None:
            steps += warm * self._distiller.optimizer_steps_per_update
        return {"updates_done": self.updates_done, "optimizer_steps": steps}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken.

        Raises:
            ValueError: they belong to another network.
        """
        restore_state(self._networks, self._optimizers(counters["updates_done"]), tensors)
        self.updates_done = counters["updates_done"]

    def update(self) -> dict[str, float]:
        """Teach one batch of new students and learn from it; returns what to log."""
        started_s = time.perf_counter()
        start = self.updates_done * self.config.n_trials
        students = student_indices(Split.TRAIN, self.config.n_trials, start).to(self.device)
        is_ppo = self.updates_done >= self._n_warm
        logs = self._ppo(students) if is_ppo else self._distil(students)
        self.updates_done += 1
        duration_s = time.perf_counter() - started_s
        return {**logs, "perf/steps_per_s": self.steps_per_update / duration_s}

    # -- the two phases -----------------------------------------------------------------------
    def _updates_for(self, total_steps: int) -> int:
        return max(1, -(-total_steps // self.steps_per_update))

    def _optimizers(self, updates_done: int) -> dict[str, torch.optim.Optimizer]:
        """Each phase has its own: PPO does not inherit the moments of another loss."""
        if self._distiller is not None and updates_done < self._n_warm:
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
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        rollout = self._roll_out(students)
        logs = self._learn(rollout, students, entropy_weight)
        return {
            "train/return": rollout.reward.sum(0).mean().item(),
            "train/learning_rate": learning_rate,
            "train/entropy_weight": entropy_weight,
            **{name: value.item() for name, value in logs.items()},
            **({} if config.warm_start is None else {"train/is_ppo": 1.0}),
        }

    # -- inside -------------------------------------------------------------------------------
    def _roll_out(self, students: Tensor) -> Rollout:
        return roll_out(
            self._classroom,
            self.actor,
            students,
            self._privileged,
            with_features=self.config.critic == "privileged",
        )

    def _values(self, rollout: Rollout, hidden: Tensor) -> Tensor:
        """A privileged critic does not shape the memory; a shared one does."""
        seen = hidden.detach() if self.config.critic == "privileged" else hidden
        values: Tensor = self._critic(seen, rollout.features)
        return values

    def _learn(
        self, rollout: Rollout, students: Tensor, entropy_weight: float
    ) -> dict[str, Tensor]:
        config, there = self.config, rollout.present
        with torch.no_grad():
            values = self._values(rollout, self.actor.sequence(rollout.inputs)[0])
            advantages, targets = advantages_and_targets(
                rollout, values, config.discount, config.gae_lambda
            )
            advantages = normalised(advantages, there)
        logs: dict[str, Tensor] = {}
        for index in minibatches(self.seed, students, config):
            loss, logs_here = self._loss(
                rollout.trials(index), advantages[:, index], targets[:, index], entropy_weight
            )
            norm = take_step(loss, self._networks, self._adam, config.max_grad_norm)
            first = logs.get("train/first_ratio_error", logs_here["train/first_ratio_error"])
            logs = logs_here | {"train/grad_norm": norm, "train/first_ratio_error": first}
        return logs | {"train/explained_variance": explained_variance(targets, values, there)}

    def _loss(
        self, rollout: Rollout, advantages: Tensor, targets: Tensor, entropy_weight: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        hidden, logits = self.actor.sequence(rollout.inputs)
        loss, logs = policy_loss(
            rollout, logits, advantages, clip=config.clip, entropy_weight=entropy_weight
        )
        loss, more = self._with_side_losses(loss, rollout, hidden, targets)
        return loss, logs | more

    def _with_side_losses(
        self, loss: Tensor, rollout: Rollout, hidden: Tensor, targets: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the critic's and the belief head's; returns them to log, too."""
        config = self.config
        error = (self._values(rollout, hidden) - targets).square()
        value = 0.5 * mean_where(error, rollout.present)
        loss = loss + config.value_weight * value
        logs = {"loss/value": value.detach()}
        if config.belief_weight > 0:
            belief, belief_logs = belief_loss(self._belief, rollout, hidden)
            loss = loss + config.belief_weight * belief
            logs |= belief_logs
        return loss, logs

    def _warm_critic(
        self, loss: Tensor, rollout: Rollout, hidden: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """While a teacher is distilled the critic learns whole returns, nothing bootstrapped."""
        zero = torch.zeros_like(rollout.reward)
        _, returns = advantages_and_targets(rollout, zero, self.config.discount, 1.0)
        return self._with_side_losses(loss, rollout, hidden, returns)
