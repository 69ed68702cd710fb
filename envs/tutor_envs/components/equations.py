"""The equations of the components, on plain tensors and numbers; sources at the configuration."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fatigue_after(fatigue: Tensor, carry: float, load: Tensor) -> Tensor:
    """``max(0, carry F + load)``; a rest has a negative load."""
    return (carry * fatigue + load).clamp(min=0)


def engagement_after(engagement: Tensor, *changes: Tensor) -> Tensor:
    """``clip(E + changes, 0, 1)``."""
    return (engagement + torch.stack(changes).sum(0)).clamp(0, 1)


def leaving_hazard(hazard: float, *shifts: Tensor) -> Tensor:
    """``sigmoid(logit(hazard) + shifts)``."""
    return torch.sigmoid(math.log(hazard / (1 - hazard)) + torch.stack(shifts).sum(0))


def share_that_learns(novice: Tensor, expert: Tensor, mastery: Tensor) -> Tensor:
    """``novice + (expert - novice) mastery``: probability that an attended action teaches."""
    return novice + (expert - novice) * mastery


def helped(p_answer: Tensor, help_: Tensor) -> Tensor:
    """Answers ``(n, R)`` when a wrong one turns into a correct one with probability ``(n,)``."""
    turned = p_answer[:, 0] * help_
    return torch.cat(
        [(p_answer[:, 0] - turned)[:, None], (p_answer[:, 1] + turned)[:, None], p_answer[:, 2:]],
        dim=-1,
    )


def inattentive(p_answer: Tensor, guess: float) -> Tensor:
    """Answers ``(n, R)`` of a student who does not attend: correct with probability ``guess``."""
    answers = torch.zeros_like(p_answer)
    answers[:, 0], answers[:, 1] = 1 - guess, guess
    return answers


def log_seconds(mean: float, sd: float, shift: Tensor, uniform: Tensor) -> Tensor:
    """Log-normal response time: ``mean + shift + sd ndtri(u)``."""
    # Uniforms are multiples of 2**-24, 0 among them: half a step keeps the quantile finite.
    quantile: Tensor = torch.special.ndtri(uniform.double() + 2.0**-25)
    return mean + shift + sd * quantile.to(shift.dtype)
