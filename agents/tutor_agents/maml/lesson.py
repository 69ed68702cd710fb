"""One lesson as a tutor saw it, and its summary: what the policy knows while it teaches.

The policy keeps nothing from one lesson to the next but its weights. Within a lesson it sees::

    counts   log(1 + how often) for each (action, response) pair of this lesson
    last     the last pair, one-hot; zeros at the lesson's start
    signals  what the student model showed beside the last response; zeros at the lesson's start
    clock    the step of the lesson, one-hot
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tutor_agents.engine.rollout import Rollout


class Lesson(NamedTuple):
    """T steps with N students, time-major; nothing in it is hidden from a tutor.

    Attributes:
        action: int64 ``(T, N)``.
        response: int64 ``(T, N)`` in ``[0, R]``; R for none.
        legal: bool ``(T, N, A)``, before each action.
        present: bool ``(T, N)``, before each action.
        signals: ``(T, N, S)``, shown with each response; S may be 0.
        score: ``(N,)``, of the lesson; zeros where the task does not show it.
    """

    action: Tensor
    response: Tensor
    legal: Tensor
    present: Tensor
    signals: Tensor
    score: Tensor


def lessons_of(rollout: Rollout, n_steps: int, n_actions: int) -> list[Lesson]:
    """The lessons of recorded trials, in order.

    What the last response of a lesson showed stands with the first step of the next lesson, so of
    the last lesson the last signals and the score are unknown (zeros): nothing is adapted to it.
    """
    action, legal, present = rollout.action, rollout.legal, rollout.present
    n_trial_steps, n = action.shape
    if legal is None:
        legal = action.new_ones((n_trial_steps, n, n_actions), dtype=torch.bool)
    if present is None:
        present = torch.ones_like(action, dtype=torch.bool)
    signals, score = rollout.inputs.signals, rollout.inputs.score
    signals = rollout.logp.new_zeros(n_trial_steps, n, 0) if signals is None else signals
    score = torch.zeros_like(rollout.logp) if score is None else score
    signals = torch.cat([signals[1:], torch.zeros_like(signals[:1])])
    score = torch.cat([score[1:], torch.zeros_like(score[:1])])
    whole = Lesson(action, rollout.response, legal, present, signals, score)
    split = (torch.split(field, n_steps) for field in whole)
    lessons = map(Lesson._make, zip(*split, strict=True))
    return [lesson._replace(score=lesson.score[-1]) for lesson in lessons]


def pairs(action: Tensor, response: Tensor, n_actions: int, n_responses: int) -> Tensor:
    """The (action, response) pair, one-hot, float32 ``(..., A (R + 1))``."""
    token = action * (n_responses + 1) + response
    return one_hot(token, n_actions * (n_responses + 1)).to(torch.float32)


def summary(counts: Tensor, last: Tensor, signals: Tensor, clock: Tensor) -> Tensor:
    """What is seen at one moment of a lesson; see the module's text.

    Args:
        counts: ``(..., A (R + 1))`` of pairs so far.
        last: ``(..., A (R + 1))``.
        signals: ``(..., S)``.
        clock: ``(..., T)``, or of a shape that expands to it.
    """
    clock = clock.expand(*counts.shape[:-1], clock.shape[-1])
    return torch.cat([counts.log1p(), last, signals.to(counts.dtype), clock], dim=-1)


def seen_before(lesson: Lesson, n_responses: int) -> Tensor:
    """The summary before each action, ``(T, N, F)``."""
    pair = pairs(lesson.action, lesson.response, lesson.legal.shape[-1], n_responses)
    last = torch.cat([torch.zeros_like(pair[:1]), pair[:-1]])
    signals = torch.cat([torch.zeros_like(lesson.signals[:1]), lesson.signals[:-1]])
    return summary(last.cumsum(0), last, signals, _clock(pair))


def seen_after(lesson: Lesson, n_responses: int) -> Tensor:
    """The summary after each action, and the counts at the lesson's end.

    ``(T, N, F + A (R + 1))``.
    """
    pair = pairs(lesson.action, lesson.response, lesson.legal.shape[-1], n_responses)
    counts = pair.cumsum(0)
    now = summary(counts, pair, lesson.signals, _clock(pair))
    return torch.cat([now, counts[-1:].log1p().expand_as(counts)], dim=-1)


def _clock(pair: Tensor) -> Tensor:
    """``(T, 1, T)``."""
    return torch.eye(len(pair), device=pair.device, dtype=pair.dtype).unsqueeze(1)
