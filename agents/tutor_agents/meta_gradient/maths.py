"""Meta-gradients (Xu, van Hasselt & Silver 2018, arXiv 1805.09801) as pure functions.

::

    theta'   = theta - alpha d f(tau, theta, eta) / d theta          one step of learning
    eta     <- eta - beta dJ(tau', theta') / d theta' d theta' / d eta

f is the loss of an actor-critic whose advantages and value targets are made with eta = (discount,
lambda, entropy weight). J is the policy's loss on other trials tau', with a fixed discount and
lambda. Eta acts through targets and advantages only: values are constants in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.engine.ppo import mean_where
from tutor_agents.engine.rollout import Rollout
from tutor_agents.engine.update import advantages_and_targets, normalised, policy_loss


class Settings(NamedTuple):
    """What a loss is made with; each a number or a differentiable scalar.

    Attributes:
        discount: per teaching action, in (0, 1].
        gae_lambda: in [0, 1].
        entropy_weight: >= 0.
    """

    discount: float | Tensor
    gae_lambda: float | Tensor
    entropy_weight: float | Tensor


def inner_loss(
    rollout: Rollout,
    logits: Tensor,
    values: Tensor,
    settings: Settings,
    *,
    clip: float,
    value_weight: float,
) -> Tensor:
    """f: PPO's policy loss less the entropy bonus, plus the value loss, differentiable in eta.

    Advantages are normalised as PPO normalises them, and eta acts through that too. So a setting
    that adds noise to the advantages shrinks the part of the step that points the right way, and a
    setting gains nothing by making all advantages larger.

    Args:
        rollout: trials tau, taught by the policy that ``logits`` come from.
        logits: ``(T, N, A)`` of the policy, differentiable in theta.
        values: ``(T, N)``, differentiable in theta where the critic shares the memory.
        settings: eta.
        clip: of PPO; without effect at importance ratio 1.
        value_weight: of the value loss.
    """
    there, v_tm1 = rollout.present, values.detach()
    advantages, targets = advantages_and_targets(
        rollout, v_tm1, settings.discount, settings.gae_lambda
    )
    policy, _ = policy_loss(
        rollout,
        logits,
        normalised(advantages, there),
        clip=clip,
        entropy_weight=settings.entropy_weight,
    )
    error = (values - targets).square()
    return policy + value_weight * 0.5 * mean_where(error, there)


def outer_loss(
    rollout: Rollout,
    logits: Tensor,
    values: Tensor,
    *,
    discount: float,
    gae_lambda: float,
    clip: float,
) -> Tensor:
    """J: PPO's policy loss with a fixed discount and lambda, and no entropy bonus.

    The trials were taught by theta, not theta': the importance ratio corrects for that.

    Args:
        rollout: trials tau'.
        logits: ``(T, N, A)`` of theta'.
        values: ``(T, N)``, a baseline; no gradient. With lambda 1 it may be any.
        discount: per teaching action.
        gae_lambda: in [0, 1].
        clip: of PPO.
    """
    there, v_tm1 = rollout.present, values.detach()
    advantages, _ = advantages_and_targets(rollout, v_tm1, discount, gae_lambda)
    loss, _ = policy_loss(
        rollout, logits, normalised(advantages, there), clip=clip, entropy_weight=0.0
    )
    return loss


def stepped(
    loss: Tensor, parameters: Mapping[str, Tensor], learning_rate: float
) -> dict[str, Tensor]:
    """theta': one plain gradient step that can itself be differentiated."""
    gradients = torch.autograd.grad(
        loss, tuple(parameters.values()), create_graph=True, materialize_grads=True
    )
    return {
        name: parameter - learning_rate * gradient
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
    }
