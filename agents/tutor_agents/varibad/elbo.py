"""The evidence lower bound of VariBAD as pure functions (Zintgraf et al. 2020, arXiv 1910.08348).

For a trial tau of T teaching actions, with the belief ``q_t(m) = N(mean_t, exp(logvar_t))`` after
t of them, equation 8 of the paper reads, for every t = 0, ..., T::

    ELBO_t = E_{m ~ q_t}[ sum_{k=0}^{T-1} log p(y_k, r_k | x_k, m) ] - KL(q_t || q_{t-1})

with ``q_{-1} = N(0, I)``, the answer y_k to action k, its reward r_k, and what is known when the
action is taken, x_k. From every belief the *whole* trial is decoded: the past makes the belief
remember, the future makes it predict. Shapes: T steps, N trials, S <= T + 1 beliefs, L dimensions
of m, R responses.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def kl_diagonal(mean_q: Tensor, logvar_q: Tensor, mean_p: Tensor, logvar_p: Tensor) -> Tensor:
    """KL(q || p) of normal distributions with diagonal covariance, in nats.

    ``1/2 sum_l [logvar_p - logvar_q - 1 + (exp(logvar_q) + (mean_p - mean_q)^2) / exp(logvar_p)]``

    Args:
        mean_q: ``(..., L)``; the others broadcast against it.
        logvar_q: logarithm of the variances of q.
        mean_p: of p.
        logvar_p: logarithm of the variances of p.

    Returns:
        ``(...)``, >= 0.
    """
    ratio = (logvar_q - logvar_p).exp()
    distance = (mean_p - mean_q).square() * (-logvar_p).exp()
    return 0.5 * (logvar_p - logvar_q - 1 + ratio + distance).sum(-1)


def kl_of_steps(mean: Tensor, logvar: Tensor) -> Tensor:
    """``KL(q_t || q_{t-1})`` for t = 0, ..., T, with the standard normal before the first belief.

    Args:
        mean: ``(T + 1, N, L)``.
        logvar: ``(T + 1, N, L)``.

    Returns:
        ``(T + 1, N)``.
    """
    zero = torch.zeros_like(mean[:1])
    before_mean, before_logvar = torch.cat([zero, mean[:-1]]), torch.cat([zero, logvar[:-1]])
    return kl_diagonal(mean, logvar, before_mean, before_logvar)


def standard_normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniforms in [0, 1) that are multiples of 2**-24."""
    centred = uniform.double() + 2.0**-25  # never 0 or 1
    normal: Tensor = torch.special.ndtri(centred)
    return normal.to(uniform.dtype)


def answer_log_likelihood(logits: Tensor, response: Tensor) -> Tensor:
    """Log-probability of every answer of the trial under every belief.

    Args:
        logits: ``(S, T, N, R)``.
        response: int64 ``(T, N)``; R where there was none, which counts 0.

    Returns:
        ``(S, T, N)``.
    """
    n_responses = logits.shape[-1]
    answered = response < n_responses
    index = torch.where(answered, response, 0).expand(logits.shape[:-1]).unsqueeze(-1)
    logp = torch.log_softmax(logits, dim=-1).gather(-1, index).squeeze(-1)
    return logp * answered


def reward_log_likelihood(decoded: Tensor, reward: Tensor) -> Tensor:
    """Log-density of every reward under every belief, less its constant: ``-(r - decoded)^2 / 2``.

    Args:
        decoded: ``(S, T, N)`` means of normal distributions of variance 1.
        reward: ``(T, N)``, scaled to unit variance.

    Returns:
        ``(S, T, N)``.
    """
    return -0.5 * functional.mse_loss(decoded, reward.expand(decoded.shape), reduction="none")


def elbo(log_likelihood: Tensor, kl: Tensor, kl_weight: float) -> Tensor:
    """The mean over t and trials of ``ELBO_t``, with the divergence weighted.

    Args:
        log_likelihood: ``(S, T, N)`` of every step under a sample of every belief decoded from; S
            of the T + 1 beliefs, drawn at random, give an unbiased estimate.
        kl: ``(T + 1, N)``, see :func:`kl_of_steps`.
        kl_weight: 1 for the bound.

    Returns:
        A number.
    """
    return log_likelihood.sum(1).mean() - kl_weight * kl.mean()
