"""The outer objective: what recorded trials were worth, and what new weights would make of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.engine.ppo import generalised_advantages, masked_logits, mean_where
from tutor_agents.engine.rollout import Rollout
from tutor_agents.maml.lesson import lessons_of, seen_before
from tutor_agents.maml.networks import AdaptiveNetworks, Weights


class Replay(NamedTuple):
    """Recorded trials, gone through again with weights that need not be those that taught them.

    Attributes:
        logits: ``(K T, N, A)``, not masked: of every lesson under the weights adapted so far.
        weights: of each student at the end of the trial.
    """

    logits: Tensor
    weights: Weights


def replay(
    networks: AdaptiveNetworks, rollout: Rollout, *, first_order: bool, adapts: bool = True
) -> Replay:
    """Adapt to the recorded lessons as a session would; differentiable.

    The lesson after the k-th step is judged under weights that the steps before have made: the
    outer objective uses post-adaptation data only with the adapted weights.
    """
    shape = networks.shape
    weights, logits = networks.begin(rollout.action.shape[1]), []
    for k, lesson in enumerate(lessons_of(rollout, shape.n_steps, shape.n_actions)):
        logits.append(networks.logits(weights, seen_before(lesson, shape.n_responses)))
        if adapts and k < shape.n_adapting:
            weights = networks.adapt(weights, lesson, first_order=first_order)
    return Replay(torch.cat(logits), weights)


def lesson_weights(n_lessons: int, beta: float) -> Tensor:
    """The weight of each lesson in ``L(first) + beta L(later)``, mean 1, ``(K,)``.

    Args:
        n_lessons: K >= 2.
        beta: > 0; infinity leaves the first lesson out, which is plain MAML.
    """
    weights = torch.full((n_lessons,), 1.0 if math.isinf(beta) else beta)
    weights[0] = 0.0 if math.isinf(beta) else 1.0
    return weights / weights.mean()


def outer_advantages(
    reward: Tensor,
    values: Tensor,
    present: Tensor | None,
    *,
    n_steps: int,
    discount: float,
    gae_lambda: float,
    through: bool,
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets, ``(K T, N)`` each; nothing is bootstrapped at the end.

    Args:
        reward: ``(K T, N)``, each lesson's already weighted.
        values: ``(K T, N)`` before each action.
        present: bool ``(K T, N)``, who has not left; None: nobody leaves.
        n_steps: T; a lesson's length.
        discount: per teaching action.
        gae_lambda: see :func:`tutor_agents.engine.ppo.generalised_advantages`.
        through: returns run on through the ends of lessons, which credits the actions of a lesson
            with the lessons after it: the sampling term of E-MAML (Stadie et al. 2018, arXiv
            1803.01118, eq. 5). Else a lesson's end cuts them.
    """
    discount_t = torch.full((len(reward), 1), discount, device=reward.device)
    discount_t[-1] = 0.0
    if not through:
        discount_t[n_steps - 1 :: n_steps] = 0.0
    if present is not None:
        discount_t = discount_t * torch.cat([present[1:], present[:1]])
    after = torch.cat([values[1:], torch.zeros_like(values[:1])])
    advantages = generalised_advantages(reward, discount_t, values, after, gae_lambda)
    return advantages, advantages + values


def log_probabilities(logits: Tensor, rollout: Rollout) -> Tensor:
    """``(K T, N, A)`` under these logits, illegal actions at about -1e9."""
    return torch.log_softmax(masked_logits(logits, rollout.legal), dim=-1)


def divergence(before: Tensor, now: Tensor, present: Tensor | None) -> Tensor:
    """Mean ``KL(before || now)`` over steps and students, adapted policies included.

    Args:
        before: ``(K T, N, A)`` log-probabilities of the policies that taught; no gradient.
        now: the same under new weights.
        present: bool ``(K T, N)``, steps that count; None: all.
    """
    return mean_where((before.exp() * (before - now)).sum(-1), present)
