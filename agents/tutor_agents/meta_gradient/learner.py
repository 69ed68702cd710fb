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
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from tutor_agents.engine import parallel
from tutor_agents.engine.actor_critic import ActorCritic
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.engine.networks import Actor, Inputs
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout
from tutor_agents.engine.saved_state import Optimizers
from tutor_agents.engine.skill_actor import SkillActor
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_agents.engine.update import (
    make_adam,
    set_learning_rate,
    training_task,
)
from tutor_agents.meta_gradient.config import MetaGradientConfig
from tutor_agents.meta_gradient.maths import Settings, inner_loss, outer_loss, stepped
from tutor_agents.meta_gradient.parameters import MetaParameters
from tutor_agents.plain import plain_operations
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


@contextlib.contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Neither fused recurrent networks nor fused attention have second derivatives."""
    with (
        torch.backends.cudnn.flags(enabled=False),
        sdpa_kernel(SDPBackend.MATH),
        plain_operations(),
    ):
        yield


class _WholeTrials(nn.Module):
    """An actor whose forward pass is a whole trial, as ``functional_call`` wants it."""

    def __init__(self, actor: Actor | SkillActor) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """What the memory holds, and logits."""
        return self.actor.sequence(inputs)


class MetaGradientLearner(TrialLearner):
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
        super().__init__(config, population, task, seed=seed, device=device)
        self.config = config
        self.minibatch_sizes = (config.n_trials // config.minibatches,)
        paid = training_task(task, config, population.student_model)
        self._classroom = Classroom(population, paid, seed=seed, device=device)
        self._networks = ActorCritic(config, self._classroom, Privileged(self._classroom), task)
        self.actor = self._networks.actor
        self._trials = _WholeTrials(self.actor)
        start = {name: float(getattr(config, name)) for name in config.tuned}
        self.meta_parameters = MetaParameters(start).to(self.device)
        self._adam = make_adam(self._networks.parameters(), config.learning_rate)
        # Gradients of a logit far out are tiny: eps must not hold them back.
        self._meta_adam = torch.optim.Adam(
            self.meta_parameters.parameters(), lr=config.meta_learning_rate, eps=1e-12
        )

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> MemoryTutor:
        """The greedy tutor with the current weights (a live view)."""
        return MemoryTutor(self.actor, "meta_gradient", self.population.student_model)

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        per_update = self.config.epochs * self.config.minibatches
        return {
            "updates_done": self.updates_done,
            "optimizer_steps": self.updates_done * per_update,
        }

    # -- one update ---------------------------------------------------------------------------
    def _learn_from(self, students: Tensor) -> dict[str, float]:
        remaining = self._remaining
        set_learning_rate(self._adam, self.config.learning_rate * remaining)
        rollout = self._networks.roll_out(students)
        with torch.no_grad():
            settings = Settings(*map(float, self._settings(remaining)))
        meta_logs = self._set_meta_gradient(rollout, remaining)  # at theta, before PPO moves it
        logs = self._networks.learn(
            rollout,
            students,
            self._adam,
            discount=float(settings.discount),
            gae_lambda=float(settings.gae_lambda),
            entropy_weight=float(settings.entropy_weight),
        )
        parallel.average_gradients(self.meta_parameters)  # all have the same, up to rounding
        self._meta_adam.step()
        return {
            "train/return": rollout.reward.sum(0).mean().item(),
            "train/learning_rate": self.config.learning_rate * remaining,
            "meta/discount": float(settings.discount),
            "meta/gae_lambda": float(settings.gae_lambda),
            "meta/entropy_weight": float(settings.entropy_weight),
            **{name: value.item() for name, value in (logs | meta_logs).items()},
        }

    # -- the settings -------------------------------------------------------------------------
    def _saved(self) -> tuple[nn.Module, Optimizers]:
        everything = nn.ModuleDict(
            {**dict(self._networks.named_children()), "meta": self.meta_parameters}
        )
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
                self._networks.critic(hidden, learned.features),
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
                values = self._networks.critic(hidden, held_out.features)
        return outer_loss(
            held_out,
            logits,
            values,
            discount=config.outer_discount,
            gae_lambda=config.outer_gae_lambda,
            clip=config.clip,
        )
