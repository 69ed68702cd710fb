"""Choosing among legal teaching actions, batched: luck and ties are decided alike everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.tutor import Trial
from tutor_envs.rng import Purpose, uniforms

_TIE_DOUBLE = 1e-9
_TIE_SINGLE = 1e-6


def best_scores(score: Tensor, legal: Tensor | None) -> Tensor:
    """Which scores are the largest among the legal actions.

    Scores that differ by less than rounding can explain (1e-9 in float64, 1e-6 in float32) are
    ties: so the choice does not depend on the batch size or the device.

    Args:
        score: ``(n, A)``.
        legal: bool ``(n, A)``, at least one true in each row; None: all are.

    Returns:
        bool ``(n, A)``.
    """
    if legal is not None:
        score = score.masked_fill(~legal, -torch.inf)
    tie = _TIE_DOUBLE if score.dtype == torch.float64 else _TIE_SINGLE
    return score >= score.amax(-1, keepdim=True) - tie


def best_legal(score: Tensor, legal: Tensor | None) -> Tensor:
    """The legal action with the largest score; of ties the one with the lowest index.

    Args:
        score: ``(n, A)``, finite.
        legal: bool ``(n, A)``, at least one true in each row; None: all are.

    Returns:
        int64 ``(n,)``.
    """
    index = torch.arange(score.shape[-1], device=score.device)
    return torch.where(best_scores(score, legal), index, score.shape[-1]).amin(-1)


def first_legal(rank: Tensor, legal: Tensor | None) -> Tensor:
    """The legal action that comes first.

    Args:
        rank: int64 ``(n, A)`` or ``(1, A)``, distinct within a row; small comes first.
        legal: bool ``(n, A)``, at least one true in each row; None: all are.

    Returns:
        int64 ``(n,)`` (or ``(1,)`` where both arguments have one row).
    """
    if legal is not None:
        rank = torch.where(legal, rank, torch.iinfo(torch.int64).max)
    return rank.argmin(-1)


def planned_or_next(planned: Tensor, legal: Tensor | None) -> Tensor:
    """The planned action; where it is not legal, the next legal index after it, cyclically.

    Args:
        planned: int64 ``(n,)``.
        legal: bool ``(n, A)``; None: all are legal.

    Returns:
        int64 ``(n,)``.
    """
    if legal is None:
        return planned
    n_actions = legal.shape[-1]
    index = torch.arange(n_actions, device=planned.device)
    return first_legal((index - planned.unsqueeze(-1)).remainder(n_actions), legal)


def uniform_legal(uniform: Tensor, legal: Tensor | None, n_actions: int) -> Tensor:
    """One of the legal actions, all equally likely.

    Args:
        uniform: ``(n,)`` in [0, 1).
        legal: bool ``(n, A)``, at least one true in each row; None: all are.
        n_actions: A.

    Returns:
        int64 ``(n,)``.
    """
    uniform = uniform.double()
    if legal is None:
        return (uniform * n_actions).long()
    nth = (uniform * legal.sum(-1)).long()
    index = torch.arange(n_actions, device=legal.device)
    reached = legal.cumsum(-1) > nth.unsqueeze(-1)
    return torch.where(reached, index, n_actions).amin(-1)


def tutor_uniforms(trial: Trial, *, n_lanes: int, lesson: int = 0, step: int = 0) -> Tensor:
    """The tutor's own luck for one action, ``(n, n_lanes)`` in [0, 1)."""
    return uniforms(
        trial.seed,
        trial.students,
        purpose=Purpose.TUTOR,
        n_lanes=n_lanes,
        trial=trial.trial,
        lesson=lesson,
        step=step,
    )
