"""The mathematics of PPO as pure functions of time-major ``(T, N)`` tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.engine import parallel


def generalised_advantages(
    r_t: Tensor, discount_t: Tensor, v_tm1: Tensor, v_t: Tensor, gae_lambda: float | Tensor
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438).

    ``delta_t = r_t + discount_t v_t - v_tm1`` and ``A_t = delta_t + discount_t lambda A_{t+1}``.
    A per-step discount makes termination (0), truncation (gamma, with ``v_t`` the value of the
    final observation) and lesson boundaries (gamma: nothing happens) plain values. Differentiable
    in all its arguments.

    Args:
        r_t: ``(T, N)`` reward after action t.
        discount_t: ``(T, N)`` or ``(T, 1)`` discount of what follows action t.
        v_tm1: ``(T, N)`` value of the situation in which action t was chosen.
        v_t: ``(T, N)`` value of the situation after action t.
        gae_lambda: in [0, 1].

    Returns:
        ``(T, N)``.
    """
    delta_t = r_t + discount_t * v_t - v_tm1
    following, advantages = torch.zeros_like(delta_t[0]), []
    for t in range(len(delta_t) - 1, -1, -1):
        following = delta_t[t] + discount_t[t] * gae_lambda * following
        advantages.append(following)
    return torch.stack(advantages[::-1])


def mean_where(values: Tensor, there: Tensor | None) -> Tensor:
    """Mean of the values at which ``there`` is true; None: of all.

    Of a share of a minibatch: what, averaged over the processes, is that mean.
    """
    if there is None:
        return values.mean()
    return (values * there).sum() / parallel.mean_count(there.sum())


def clipped_surrogate_loss(
    logp: Tensor,
    logp_behaviour: Tensor,
    advantages: Tensor,
    clip: float,
    there: Tensor | None = None,
) -> Tensor:
    """PPO's loss ``-E[min(rho A, clip(rho, 1 - c, 1 + c) A)]`` (Schulman et al. 2017, 1707.06347).

    Args:
        logp: log-probability of the taken actions under the current policy.
        logp_behaviour: the same under the policy that took them; no gradient.
        advantages: of the taken actions; no gradient.
        clip: c.
        there: bool, steps that count; None: all.
    """
    ratio = torch.exp(logp - logp_behaviour)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -mean_where(torch.minimum(ratio * advantages, clipped * advantages), there)


def masked_logits(logits: Tensor, legal: Tensor | None) -> Tensor:
    """Logits with illegal actions pushed to -1e9, so that they get probability zero."""
    return logits if legal is None else logits.masked_fill(~legal, -1e9)


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy over the last axis; masked actions contribute nothing."""
    return -(log_probabilities.exp() * log_probabilities).sum(-1)
