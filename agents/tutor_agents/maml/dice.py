"""The two surrogates whose gradient is a policy gradient and whose Hessian is chosen.

Meta-learning through a gradient step needs the derivative of that gradient, so the Hessian of what
is differentiated matters as much as its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def loaded_dice(
    logp_t: Tensor,
    advantages_t: Tensor,
    discount: float,
    dice_lambda: float,
    there_t: Tensor | None = None,
) -> Tensor:
    """Loaded DiCE (Farquhar, Whiteson & Foerster 2019, arXiv 1909.10549, eq. 12).

    ``sum_t discount^t (box(w_t) - box(w_t - logp_t)) A_t`` with
    ``w_t = sum_{s <= t} lambda^(t - s) logp_s`` and ``box(w) = exp(w - stop_gradient(w))``.
    Its value is 0. Its derivatives estimate those of the expected return, for the policy that drew
    the actions:

    * gradient: unbiased for every lambda, ``sum_t discount^t A_t grad logp_t``;
    * Hessian: unbiased at lambda 1 (DiCE). At lambda 0 the terms that couple different steps are
      left out (ProMP's low-variance curvature, Rothfuss et al. 2019, arXiv 1810.06784). Between
      the two lies a choice of bias against variance.

    Args:
        logp_t: ``(T, ...)`` log-probabilities of the taken actions.
        advantages_t: ``(T, ...)`` of the taken actions.
        discount: per step, in [0, 1].
        dice_lambda: in [0, 1].
        there_t: bool ``(T, ...)``, steps that count; None: all.

    Returns:
        ``(...)``: to be increased.
    """
    step = torch.arange(len(logp_t), device=logp_t.device)
    ago = step.unsqueeze(-1) - step
    weights = torch.where(ago >= 0, dice_lambda ** ago.clamp(min=0).to(logp_t.dtype), 0.0)
    if there_t is not None:
        logp_t, advantages_t = logp_t * there_t, advantages_t * there_t
    inclusive = torch.tensordot(weights.to(logp_t.dtype), logp_t, dims=1)
    exclusive = inclusive - logp_t
    worth = _powers(discount, logp_t) * advantages_t
    return ((_box(inclusive) - _box(exclusive)) * worth).sum(0)


def score_surrogate(
    logp_t: Tensor, advantages_t: Tensor, discount: float, there_t: Tensor | None = None
) -> Tensor:
    """``sum_t discount^t logp_t A_t``: the surrogate of REINFORCE (Williams 1992).

    Its gradient is that of :func:`loaded_dice`. Its Hessian is that of the estimate with the
    actions held fixed: right where the actions' own dependence on the parameters is accounted for
    elsewhere (E-MAML's sampling credit), biased where it is not (MAML-PG).

    Args and returns: as :func:`loaded_dice`.
    """
    worth = _powers(discount, logp_t) * advantages_t
    if there_t is not None:
        worth = worth * there_t
    return (logp_t * worth).sum(0)


def _box(w: Tensor) -> Tensor:
    return torch.exp(w - w.detach())


def _powers(discount: float, like: Tensor) -> Tensor:
    """``discount^t`` in the shape ``(T, 1, ...)``."""
    powers = discount ** torch.arange(len(like), device=like.device, dtype=like.dtype)
    return powers.reshape(-1, *[1] * (like.dim() - 1))
