"""Who is better than whom: tests, probabilities of improvement and profiles over populations.

Everything here is about tutors that taught the same students of one or several populations. A
tutor's scores of one population are ``(S, n)``: S training seeds (1 for a tutor that is not
trained), n students, the same for all tutors. Populations are weighted alike, as the tasks are in
Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".

All numbers here are means over populations, students and seeds, so that their variance is a sum:
in each population one part for the draw of students (shared by all tutors: paired), and one for
each tutor's draw of seeds. An interval is the value plus and minus Student's t times the standard
error with the degrees of freedom of Satterthwaite (1946) for that sum; a tutor with one seed has no
part for its seed, and the interval then says nothing about another training. For two tutors with
one seed and one population it is the paired t-test over students; where only seeds differ, Welch's
t-test over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tutor_sim.statistics import LEVEL, Estimate

Array = NDArray[np.float64]

_SAME = 1e-9
"""Scores this close, relative to the largest, are a tie: sums may be rounded otherwise."""


class Spread(NamedTuple):
    """How far a mean may be off.

    Attributes:
        variance: of the mean, ``(...)``.
        freedom: degrees of freedom of the estimate of the variance, ``(...)``; inf: no spread.
    """

    variance: Array
    freedom: Array

    def half_width(self, level: float = LEVEL) -> Array:
        """Half the width of the interval."""
        half: Array = stats.t.ppf((1 + level) / 2, self.freedom) * np.sqrt(self.variance)
        return half


class Difference(NamedTuple):
    """A mean difference between two tutors, tested.

    Attributes:
        estimate: with its 95 % interval.
        spread: behind the interval.
        p: two-sided p-value of "no difference"; 1 where the scores are equal throughout.
    """

    estimate: Estimate
    spread: Spread
    p: float


# -- numbers ---------------------------------------------------------------------------------------
def difference(x: Sequence[ArrayLike], y: Sequence[ArrayLike]) -> Difference:
    """Mean over populations of the difference of mean scores, and its t-test.

    Args:
        x: scores of one tutor, ``(S, n)`` for each population.
        y: of the other, ``(S', n)`` each, with the same students.

    Raises:
        ValueError: not the same students, or fewer than two.
    """
    pairs = _pairs(x, y)
    value = float(np.mean([a.mean() - b.mean() for a, b in pairs]))
    spread = spread_of_mean(
        part
        for a, b in pairs
        for part in (a.mean(axis=0) - b.mean(axis=0), a.mean(axis=1), b.mean(axis=1))
    )
    spread = _over(spread, len(pairs))
    error = math.sqrt(float(spread.variance))
    t = 0.0 if value == 0 else math.inf if error == 0 else abs(value) / error
    p = float(2 * stats.t.sf(t, float(spread.freedom)))
    half = float(spread.half_width())
    return Difference(Estimate(value, value - half, value + half), spread, p)


def probability_of_improvement(x: Sequence[ArrayLike], y: Sequence[ArrayLike]) -> Estimate:
    """Probability that a student scores more with one tutor than with the other.

    ``P(X > Y) + P(X = Y) / 2``, the mean over populations, students and all pairs of seeds; both
    tutors teach the same student with the same luck. (Agarwal et al. 2021, section 4.3, compare
    runs that are not paired, by the Mann-Whitney statistic.) The variance is that of the Hoeffding
    projections on students and on either tutor's seeds (Hoeffding 1948, "A class of statistics
    with asymptotically normal distribution").

    Arguments as for :func:`difference`.

    Raises:
        ValueError: not the same students, or fewer than two.
    """
    wins = [_wins(a, b) for a, b in _pairs(x, y)]
    value = float(np.mean([h.mean() for h in wins]))
    spread = spread_of_mean(
        part
        for h in wins
        for part in (h.mean(axis=(0, 1)), h.mean(axis=(1, 2)), h.mean(axis=(0, 2)))
    )
    half = float(_over(spread, len(wins)).half_width())
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def profile(scores: Sequence[ArrayLike], taus: ArrayLike) -> tuple[Array, Array, Array]:
    """Share of the students who score at least tau, for each tau: the performance profile.

    The mean over populations, seeds and students, with pointwise 95 % intervals within [0, 1]
    (Agarwal et al. 2021, section 4.2; there the share of runs).

    Args:
        scores: ``(S, n)`` for each population, normalised so that one tau means the same in all.
        taus: ``(G,)``.

    Returns:
        Share, low and high, each ``(G,)``.
    """
    levels = np.asarray(taus, dtype=np.float64)
    reached = [
        np.stack([_checked(part) >= tau - _SAME for tau in levels]).astype(np.float64)
        for part in scores
    ]  # (G, S, n) each
    share: Array = np.mean([part.mean(axis=(1, 2)) for part in reached], axis=0)
    spread = spread_of_mean(
        part for each in reached for part in (each.mean(axis=1), each.mean(axis=2))
    )
    half = _over(spread, len(reached)).half_width()
    return share, np.clip(share - half, 0, 1), np.clip(share + half, 0, 1)


def holm(p_values: ArrayLike) -> Array:
    """P-values adjusted for testing all of them, by Holm's step-down method.

    With the m p-values in increasing order, the adjusted k-th (from 1 on) is the largest of
    ``(m - j + 1) p_j`` over j <= k, at most 1. Calling those below 5 % significant is wrong about
    any of them with probability 5 % at most, however they depend on each other (Holm 1979, "A
    simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6).

    Args:
        p_values: ``(m,)`` in [0, 1].

    Returns:
        ``(m,)``, in the order of the argument.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


# -- spread ----------------------------------------------------------------------------------------
def spread_of_mean(parts: Iterable[ArrayLike]) -> Spread:
    """The spread of a sum of means of independent draws.

    Args:
        parts: the draws of each mean, ``(..., n)``; a single draw tells of no spread and counts
            for none.

    Returns:
        The sum of the variances with Satterthwaite's degrees of freedom.
    """
    variance, spread = np.zeros(()), np.zeros(())
    for part in parts:
        draws = np.asarray(part, dtype=np.float64)
        n = draws.shape[-1]
        if n > 1:
            own = draws.var(axis=-1, ddof=1) / n
            variance, spread = variance + own, spread + own**2 / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(spread > 0, variance**2 / spread, math.inf)
    return Spread(variance, freedom)


def _over(spread: Spread, n_populations: int) -> Spread:
    """Of the mean over populations instead of the sum."""
    return Spread(spread.variance / n_populations**2, spread.freedom)


def _wins(x: Array, y: Array) -> Array:
    """1 where x is more, 1/2 where it is the same; ``(S, S', n)``."""
    gain = x[:, None] - y[None]
    tie = np.abs(gain) <= _SAME * max(np.abs(x).max(), np.abs(y).max())
    wins: Array = np.where(tie, 0.5, gain > 0)
    return wins


def _pairs(x: Sequence[ArrayLike], y: Sequence[ArrayLike]) -> list[tuple[Array, Array]]:
    pairs = [(_checked(a), _checked(b)) for a, b in zip(x, y, strict=True)]
    for a, b in pairs:
        if a.shape[1] != b.shape[1]:
            raise ValueError(
                f"paired scores must be of the same students, got {a.shape} and {b.shape}."
            )
    return pairs


def _checked(scores: ArrayLike) -> Array:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(
            f"`scores` must be (seeds, students) with two students at least, got {array.shape}."
        )
    return array
