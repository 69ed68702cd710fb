"""One update of PPO on a batch of whole trials, in pieces that a learner composes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from tutor_agents.engine import parallel
from tutor_agents.engine.config import PPOConfig
from tutor_agents.engine.ppo import (
    clipped_surrogate_loss,
    entropy,
    generalised_advantages,
    masked_logits,
    mean_where,
)
from tutor_agents.engine.rollout import Rollout
from tutor_envs.population import Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask


def training_task(task: TeachingTask, config: PPOConfig, model: StudentModel) -> TeachingTask:
    """The same score, paid in the way that is easiest to learn from."""
    when = "step" if config.step_rewards else task.reward.when
    expected = (
        config.expected_rewards
        and model.has_expected_gain
        and when == "step"
        and task.reward.score == "post_test"
    )
    reward = task.reward.model_copy(update={"when": when, "expected": expected})
    return task.model_copy(update={"reward": reward})


def advantages_and_targets(
    rollout: Rollout, v_tm1: Tensor, discount: float | Tensor, gae_lambda: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Advantages, and value targets, which are raw advantages plus values.

    A trial ends because its budget is spent: nothing is bootstrapped. Who leaves has reached the
    end. Lesson boundaries do not cut the return. Differentiable in discount and lambda.

    Args:
        rollout: a batch of trials.
        v_tm1: ``(T, N)`` value of the situation before each action.
        discount: per teaching action.
        gae_lambda: see :func:`tutor_agents.engine.ppo.generalised_advantages`.

    Returns:
        ``(T, N)`` each; the advantages not yet normalised.
    """
    v_t = torch.cat([v_tm1[1:], torch.zeros_like(v_tm1[:1])])
    goes_on = torch.ones_like(v_tm1[:, :1])
    goes_on[-1] = 0.0
    there = rollout.present
    if there is not None:
        goes_on = goes_on * torch.cat([there[1:], there[:1]])
    discount_t = goes_on * discount
    advantages = generalised_advantages(rollout.reward, discount_t, v_tm1, v_t, gae_lambda)
    return advantages, advantages + v_tm1


def normalised(advantages: Tensor, there: Tensor | None) -> Tensor:
    """A copy with mean 0 and SD 1 over the steps that count."""
    counted = advantages if there is None else advantages[there]
    return (advantages - counted.mean()) / (counted.std() + 1e-8)


def explained_variance(targets: Tensor, values: Tensor, there: Tensor | None) -> Tensor:
    """1 - Var(targets - values) / Var(targets) over the steps that count."""
    if there is not None:
        targets, values = targets[there], values[there]
    return 1 - (targets - values).var() / targets.var().clamp(min=1e-12)


class Passes(Protocol):
    """Settings of the passes over a batch."""

    @property
    def epochs(self) -> int:
        """Passes over each batch of trials."""

    @property
    def minibatches(self) -> int:
        """Minibatches per pass."""


def minibatches(seed: int, students: Tensor, config: Passes) -> Iterator[Tensor]:
    """Indices of whole trials: every trial once in each epoch, in an order drawn by the seed.

    Where several processes train together, of this one's share of each minibatch.
    """
    for epoch in range(config.epochs):
        u = uniforms(seed, students, purpose=Purpose.TRAINING, n_lanes=1, lesson=1, step=epoch)
        yield from map(parallel.share, u.squeeze(-1).argsort().chunk(config.minibatches))


def policy_loss(
    rollout: Rollout,
    logits: Tensor,
    advantages: Tensor,
    *,
    clip: float,
    entropy_weight: float | Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """PPO's clipped loss less the entropy bonus, and what to log.

    ``train/first_ratio_error`` is the largest distance of an importance ratio from 1: zero up to
    rounding for the first minibatch after a rollout.
    """
    log_probabilities = torch.log_softmax(masked_logits(logits, rollout.legal), dim=-1)
    logp = log_probabilities.gather(-1, rollout.action.unsqueeze(-1)).squeeze(-1)
    there = rollout.present
    surrogate = clipped_surrogate_loss(logp, rollout.logp, advantages, clip, there)
    exploration = mean_where(entropy(log_probabilities), there)
    logs = {
        "loss/policy": surrogate.detach(),
        "train/entropy": exploration.detach(),
        "train/kl": mean_where(rollout.logp - logp.detach(), there),
        "train/first_ratio_error": (torch.exp(logp.detach() - rollout.logp) - 1).abs().max(),
    }
    return surrogate - entropy_weight * exploration, logs


def updates_for(total_steps: int, steps_per_update: int) -> int:
    """Updates that teach ``total_steps`` actions, at least one."""
    return max(1, -(-total_steps // steps_per_update))


def new_students(update: int, n_trials: int, device: torch.device) -> Tensor:
    """The training students of an update, int64 ``(N,)``: none of them was taught before."""
    return student_indices(Split.TRAIN, n_trials, update * n_trials).to(device)


def make_adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980) as PPO likes it; one call a step ("fused").

    An epsilon of 1e-5: Huang et al. 2022, "The 37 implementation details of proximal
    policy optimization" (ICLR blog track), number 3.
    """
    return torch.optim.Adam(parameters, lr=learning_rate, eps=1e-5, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """For all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def take_step(
    loss: Tensor, networks: nn.Module, optimizer: torch.optim.Optimizer, max_grad_norm: float
) -> Tensor:
    """One step down the gradient, clipped; returns the norm before clipping."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parallel.average_gradients(networks)
    norm = nn.utils.clip_grad_norm_(networks.parameters(), max_grad_norm)
    optimizer.step()
    return norm


LossOf = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
"""Indices of the trials of a minibatch -> its loss, and what to log."""


def pass_over(
    students: Tensor,
    loss_of: LossOf,
    networks: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: PPOConfig,
    *,
    seed: int,
) -> dict[str, Tensor]:
    """One step of the optimiser for each minibatch of each epoch.

    Returns:
        What the last minibatch logged, but the first one's ``train/first_ratio_error``, which says
        whether the update began with the policy that taught.
    """
    logs: dict[str, Tensor] = {}
    first: dict[str, Tensor] = {}
    for index in minibatches(seed, students, config):
        loss, logs = loss_of(index)
        logs["train/grad_norm"] = take_step(loss, networks, optimizer, config.max_grad_norm)
        if not first and "train/first_ratio_error" in logs:
            first = {"train/first_ratio_error": parallel.largest(logs["train/first_ratio_error"])}
    return logs | first
