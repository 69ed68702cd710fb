"""The training: roll out, judge the settings by a held-out half, update by PPO, move them.

One update::

    tau, tau'   two halves of one batch of new students, taught by theta
    theta'    = theta - alpha d f(tau, theta, eta) / d theta
    g         = d J(tau', theta') / d eta, averaged over both ways to assign the halves
    theta    <- PPO on the whole batch with eta
    eta      <- Adam along g
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from tutor_agents.engine.belief import belief_loss
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.engine.networks import Actor, ActorShape, BeliefHead, Critic, Inputs
from tutor_agents.engine.ppo import mean_where
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout, roll_out
from tutor_agents.engine.saved_state import Optimizers, restore_state, state_tensors
from tutor_agents.engine.update import (
    advantages_and_targets,
    explained_variance,
    minibatches,
    normalised,
    policy_loss,
    take_step,
    training_task,
)
from tutor_agents.meta_gradient.config import MetaGradientConfig
from tutor_agents.meta_gradient.maths import Settings, inner_loss, outer_loss, stepped
from tutor_agents.meta_gradient.parameters import MetaParameters
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask


@contextlib.contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Neither cuDNN's recurrent networks nor fused attention have second derivatives."""
    with torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield


class _WholeTrials(nn.Module):
    """An actor whose forward pass is a whole trial, as ``functional_call`` wants it."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """What the memory holds, and logits."""
        return self.actor.sequence(inputs)


class MetaGradientLearner:
    """Trains an RL² tutor and tunes how it learns; see the module's text."""

    def __init__(
        self,
        config: MetaGradientConfig,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build networks and optimisers; everything random follows from ``seed``."""
        self.config = config
        self.population = population
        self.task = task
        self.seed = seed
        self.device = torch.device(device)
        self.steps_per_update = config.n_trials * task.n_trial_steps
        self.n_updates = max(1, -(-config.total_steps // self.steps_per_update))
        self.updates_done = 0
        model, width = population.student_model, config.hidden_size
        self._classroom = Classroom(
            population, training_task(task, config, model), seed=seed, device=device
        )
        self._privileged = Privileged(self._classroom)
        n_features = self._privileged.n_features if config.critic == "privileged" else 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = Actor(ActorShape.of(model, task, width, config.memory))
            critic = Critic(n_features, task.n_trial_steps, width)
            belief = BeliefHead(width, self._privileged.n_types, self._privileged.n_latents, model)
            self.actor.initialise()
            critic.initialise()
        self._critic, self._belief = critic, belief
        self._networks = nn.ModuleDict({"actor": self.actor, "critic": critic, "belief": belief})
        self._networks.to(self.device)
        self._trials = _WholeTrials(self.actor)
        start = {name: float(getattr(config, name)) for name in config.tuned}
        self.meta_parameters = MetaParameters(start).to(self.device)
        self._adam = torch.optim.Adam(
            self._networks.parameters(), lr=config.learning_rate, eps=1e-5
        )
        # Gradients of a logit far out are tiny: eps must not hold them back.
        self._meta_adam = torch.optim.Adam(
            self.meta_parameters.parameters(), lr=config.meta_learning_rate, eps=1e-12
        )

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> MemoryTutor:
        """The greedy tutor with the current weights (a live view)."""
        return MemoryTutor(self.actor, "meta_gradient", self.population.student_model)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, meta-parameters and the state of both optimisers, by name."""
        return state_tensors(*self._saved())

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        per_update = self.config.epochs * self.config.minibatches
        return {
            "updates_done": self.updates_done,
            "optimizer_steps": self.updates_done * per_update,
        }

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken.

        Raises:
            ValueError: they belong to another network, or to other tuned settings.
        """
        restore_state(*self._saved(), tensors)
        self.updates_done = counters["updates_done"]

    def update(self) -> dict[str, float]:
        """Teach one batch of new students and learn from it; returns what to log."""
        started_s = time.perf_counter()
        remaining = 1 - self.updates_done / self.n_updates
        for group in self._adam.param_groups:
            group["lr"] = self.config.learning_rate * remaining
        start = self.updates_done * self.config.n_trials
        students = student_indices(Split.TRAIN, self.config.n_trials, start).to(self.device)
        rollout = self._roll_out(students)
        with torch.no_grad():
            settings = Settings(*map(float, self._settings(remaining)))
        meta_logs = self._set_meta_gradient(rollout, remaining)  # at theta, before PPO moves it
        logs = self._learn(rollout, students, settings) | meta_logs
        self._meta_adam.step()
        self.updates_done += 1
        duration_s = time.perf_counter() - started_s
        return {
            "train/return": rollout.reward.sum(0).mean().item(),
            "train/learning_rate": self.config.learning_rate * remaining,
            "meta/discount": float(settings.discount),
            "meta/gae_lambda": float(settings.gae_lambda),
            "meta/entropy_weight": float(settings.entropy_weight),
            **{name: value.item() for name, value in logs.items()},
            "perf/steps_per_s": self.steps_per_update / duration_s,
        }

    # -- the settings -------------------------------------------------------------------------
    def _saved(self) -> tuple[nn.Module, Optimizers]:
        everything = nn.ModuleDict({**self._networks, "meta": self.meta_parameters})
        return everything, {"adam": self._adam, "meta_adam": self._meta_adam}

    def _settings(self, remaining: float) -> Settings:
        """The settings of this update, differentiable in eta; an untuned bonus is annealed."""
        fixed = Settings(
            self.config.discount, self.config.gae_lambda, self.config.entropy_weight * remaining
        )
        return fixed._replace(**self.meta_parameters())

    def _set_meta_gradient(self, rollout: Rollout, remaining: float) -> dict[str, Tensor]:
        """Put the gradient of the outer loss into eta; returns what to log."""
        n_trials = rollout.action.shape[1]
        halves = torch.arange(n_trials, device=self.device).chunk(2)
        one, other = (rollout.trials(index) for index in halves)
        settings = self._settings(remaining)
        loss = 0.5 * (self._judged(one, other, settings) + self._judged(other, one, settings))
        raw = self.meta_parameters.raw
        gradients = torch.autograd.grad(loss, list(raw.values()))
        logs = {"meta/outer_loss": loss.detach()}
        for name, gradient in zip(raw, gradients, strict=True):
            raw[name].grad = gradient
            logs[f"meta/gradient_{name}"] = gradient
        return logs

    def _judged(self, learned: Rollout, held_out: Rollout, settings: Settings) -> Tensor:
        """The outer loss on some trials after one step of learning from others."""
        config = self.config
        with _twice_differentiable():
            hidden, logits = self.actor.sequence(learned.inputs)
            loss = inner_loss(
                learned,
                logits,
                self._values(learned, hidden),
                settings,
                clip=config.clip,
                value_weight=config.value_weight,
            )
            stepped_actor = stepped(
                loss, dict(self._trials.named_parameters()), config.inner_learning_rate
            )
            forward: Callable[..., tuple[Tensor, Tensor]] = functional_call
            _, logits = forward(self._trials, stepped_actor, (held_out.inputs,))
            with torch.no_grad():
                hidden, _ = self.actor.sequence(held_out.inputs)
                values = self._values(held_out, hidden)
        return outer_loss(
            held_out,
            logits,
            values,
            discount=config.outer_discount,
            gae_lambda=config.outer_gae_lambda,
            clip=config.clip,
        )

    # -- PPO ----------------------------------------------------------------------------------
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

    def _learn(self, rollout: Rollout, students: Tensor, settings: Settings) -> dict[str, Tensor]:
        config, there = self.config, rollout.present
        with torch.no_grad():
            values = self._values(rollout, self.actor.sequence(rollout.inputs)[0])
            advantages, targets = advantages_and_targets(
                rollout, values, float(settings.discount), float(settings.gae_lambda)
            )
            advantages = normalised(advantages, there)
        logs: dict[str, Tensor] = {}
        for index in minibatches(self.seed, students, config):
            loss, logs_here = self._loss(
                rollout.trials(index),
                advantages[:, index],
                targets[:, index],
                float(settings.entropy_weight),
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
        error = (self._values(rollout, hidden) - targets).square()
        value = 0.5 * mean_where(error, rollout.present)
        loss = loss + config.value_weight * value
        logs["loss/value"] = value.detach()
        if config.belief_weight > 0:
            belief, belief_logs = belief_loss(self._belief, rollout, hidden)
            loss = loss + config.belief_weight * belief
            logs |= belief_logs
        return loss, logs
