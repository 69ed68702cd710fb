"""How fast a tutor adapts: where it stands after each lesson, and what it took to get there.

Lessons before are the adaptation: "after k lessons" is the score of lesson k + 1. Scores are
``(n, K)`` or, with S training seeds, ``(S, n, K)``; references teach the same students.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tutor_sim.statistics import Array, Estimate, Reference, fraction

LEVELS = (0.5, 0.8, 0.95)
"""Shares of the way to the optimum whose price is reckoned."""
_MAX_POINTS = 7
"""Numbers of actions after which regret is told, at most."""


def lesson_fractions(
    scores: ArrayLike, random: ArrayLike, optimum: ArrayLike
) -> tuple[Estimate, ...]:
    """Where a tutor stands in each lesson between the random tutor and the optimum there.

    ``(V_k - V_random,k) / (V_opt,k - V_random,k)``. An optimum for whole trials may give away some
    of an early lesson to find out about the student, so the fraction can pass 1 there.

    Args:
        scores: ``(n, K)`` or ``(S, n, K)``.
        random: ``(n, K)``, 0 in every lesson.
        optimum: ``(n, K)``, 1 in every lesson.
    """
    scores, low, high = (np.asarray(values, np.float64) for values in (scores, random, optimum))
    return tuple(
        fraction(scores[..., k], Reference(scores=low[:, k]), Reference(scores=high[:, k]))
        for k in range(scores.shape[-1])
    )


def way_to_last_lesson(
    scores: ArrayLike, random: ArrayLike, optimum: ArrayLike
) -> tuple[Estimate, ...]:
    """The same with one scale for all lessons: from random to optimum in the *last* lesson.

    ``(V_k - V_random,K) / (V_opt,K - V_random,K)``; arguments as for :func:`lesson_fractions`.
    """
    scores, low, high = (np.asarray(values, np.float64) for values in (scores, random, optimum))
    ends = Reference(scores=low[:, -1]), Reference(scores=high[:, -1])
    return tuple(fraction(scores[..., k], *ends) for k in range(scores.shape[-1]))


def actions_to_reach(way: Sequence[Estimate], level: float, n_steps: int) -> Estimate:
    """Teaching actions with a student before the first lesson that reaches a level.

    Whole lessons count: 0 is reached in the first lesson, ``n_steps`` in the second. The interval
    runs from the first lesson whose upper bound reaches the level to the first whose lower bound
    does: the lessons that a test of "not reached before" or "reached by now" leaves open, where
    the curve rises.

    Args:
        way: of each lesson, from :func:`way_to_last_lesson`.
        level: share of the way.
        n_steps: teaching actions of a lesson.

    Returns:
        Infinite, with a reason, where it is not reached within the lessons.
    """
    for estimate in way:
        if not estimate.known:
            return estimate

    def first(bounds: Sequence[float]) -> float:
        reached = (k for k, bound in enumerate(bounds) if bound >= level)
        return float(n_steps * next(reached, math.inf))

    value = first([estimate.value for estimate in way])
    reason = f"not reached in {len(way)} lessons" if math.isinf(value) else ""
    lows, highs = [e.low for e in way], [e.high for e in way]
    if any(math.isnan(bound) for bound in lows):
        return Estimate(value, math.nan, math.nan, reason or way[0].reason)
    return Estimate(value, first(highs), first(lows), reason)


def cumulative_regret(progress: ArrayLike, reference: ArrayLike) -> Array:
    """What was lost to a reference so far, after every teaching action of the trial.

    ``R_m = sum_{i <= m} (r*_i - r_i)``, where ``r_i`` is what the i-th action added to the progress
    of its lesson (Lattimore & Szepesvari 2020, "Bandit algorithms", section 4.4). It ends with the
    regret of the whole trial: the sum over lessons, where a score is a mean.

    Args:
        progress: ``(K, T + 1, n)``, see ``Evaluation.progress``.
        reference: ``(K, T + 1, n)``, of the reference with the same students.

    Returns:
        ``(K, T + 1, n)``: before the first action of each lesson, and after each.
    """
    progress, reference = np.asarray(progress, np.float64), np.asarray(reference, np.float64)
    behind = (reference - reference[:, :1]) - (progress - progress[:, :1])
    before = np.cumsum(behind[:, -1], axis=0) - behind[:, -1]
    result: Array = before[:, None] + behind
    return result


def regret_points(n_actions: int) -> list[int]:
    """Numbers of actions after which regret is told: 1, 2, 5, 10, 20, ... and the last."""
    steps = [m * 10**e for e in range(len(str(n_actions))) for m in (1, 2, 5)]
    before = [step for step in steps if step < n_actions]
    return [*before[1 - _MAX_POINTS :], n_actions]
