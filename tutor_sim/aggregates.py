"""Scores over several populations in one number, and ranks, by a stratified bootstrap.

A score is normalised in each population by two references with the same students: 0 is the random
tutor's mean, 1 the reference's. Then, following Agarwal et al. 2021 ("Deep reinforcement learning
at the edge of the statistical precipice", section 4), a *run* is one training seed's mean with one
population, and a tutor's aggregates are

* the mean over runs, populations weighted alike;
* the interquartile mean: the mean without the lowest and the highest quarter of all runs;
* the expected rank among tutors by mean score, averaged over populations.

Populations are the strata: the users' choice, and not resampled. In each, students are drawn with
replacement (the same for all tutors, as they taught the same ones), and S - 1 of each tutor's S
seeds (Rao & Wu 1988; see :mod:`tutor_sim.two_level`). Intervals of the mean and the interquartile
mean are the value plus and minus Student's t times the bootstrap's standard error, with
Satterthwaite's degrees of freedom for the variances of the mean. Those of ranks are percentiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tutor_sim.comparisons import Spread, spread_of_mean
from tutor_sim.statistics import LEVEL, MAX_BOOTSTRAPPED, Estimate, interquartile_mean

Array = NDArray[np.float64]

N_RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""
_MAX_RESAMPLED = 2**21
"""Numbers resampled at once (16 MiB)."""


class Aggregate(NamedTuple):
    """One tutor over all populations.

    Attributes:
        mean: normalised score, mean over populations.
        iqm: interquartile mean over runs.
    """

    mean: Estimate
    iqm: Estimate


class Rank(NamedTuple):
    """Where one tutor stands among others; 1 is the best.

    Attributes:
        expected: mean rank over resamples and populations, with its 95 % percentile interval.
        p_best: share of the resamples in which its mean rank is the best (shared if tied).
    """

    expected: Estimate
    p_best: float


def normalised(scores: Array, low: Array, high: Array) -> Array:
    """Scores on the scale from one reference to the other, by the references' means.

    Args:
        scores: ``(S, n)`` of one population.
        low: ``(S', n)``, of the reference at 0.
        high: ``(S'', n)``, of the reference at 1.
    """
    result: Array = (scores - low.mean()) / (high.mean() - low.mean())
    return result


def linearised(scores: Array, low: Array, high: Array) -> Array:
    """Normalised scores that carry what each student does to the scale.

    A run's normalised mean is a ratio of means over students, ``z = (V - V_low) / (V_high -
    V_low)``; to first order a student moves it by ``(v - v_low - z (v_high - v_low)) / (V_high -
    V_low)`` (the influence value of a ratio, Hampel et al. 1986). With these, resampling draws the
    scale together with the scores, and never divides by a scale that a resample lost.

    Arguments as for :func:`normalised`.

    Returns:
        ``(S, n)``; each row's mean is the run's normalised mean.
    """
    z = normalised(scores, low, high)
    of_low, of_high = (normalised(end, low, high).mean(axis=0) for end in (low, high))
    runs = z.mean(axis=1, keepdims=True)
    result: Array = z - (1 - runs) * of_low - runs * (of_high - 1)
    return result


def aggregate(
    scores: Mapping[str, Sequence[Array]],
    low: Sequence[Array],
    high: Sequence[Array],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, Aggregate]:
    """Normalised mean and interquartile mean of every tutor over all populations.

    Args:
        scores: tutor -> ``(S, n)`` for each population; n is the same for all tutors.
        low: the reference at 0, ``(S', n)`` for each population.
        high: the reference at 1.
        n_resamples: bootstrap resamples.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    runs: dict[str, list[Array]] = {tutor: [] for tutor in scores}
    resampled: dict[str, list[Array]] = {tutor: [] for tutor in scores}
    for index, (zero, one) in enumerate(zip(low, high, strict=True)):
        found = [linearised(parts[index], zero, one) for parts in scores.values()]
        means = _resampled_means(found, n_resamples, rng)
        for tutor, own, replicates in zip(scores, found, means, strict=True):
            runs[tutor].append(own)
            resampled[tutor].append(_draw_seeds(replicates, rng))
    return {tutor: _aggregate(runs[tutor], resampled[tutor]) for tutor in scores}


def ranks(
    scores: Mapping[str, Sequence[Array]], *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> dict[str, Rank]:
    """Expected rank of every tutor; needs no references.

    With few seeds the spread is a little too small: percentiles do not allow for the uncertainty
    of the spread itself.

    Args:
        scores: tutor -> ``(S, n)`` for each population; n is the same for all tutors.
        n_resamples: bootstrap resamples.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    by_population = []
    for of_all in zip(*scores.values(), strict=True):
        means = _resampled_means(of_all, n_resamples, rng)
        drawn = np.stack([_draw_seeds(runs, rng).mean(axis=1) for runs in means], axis=1)
        by_population.append(stats.rankdata(-_without_rounding(drawn), axis=1))
    mean_ranks = np.mean(by_population, axis=0)  # (B, tutors)
    best = mean_ranks == mean_ranks.min(axis=1, keepdims=True)
    p_best = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(mean_ranks, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return {
        tutor: Rank(
            Estimate(float(mean_ranks[:, k].mean()), float(low[k]), float(high[k])),
            float(p_best[k]),
        )
        for k, tutor in enumerate(scores)
    }


def _aggregate(runs: Sequence[Array], replicates: Sequence[Array]) -> Aggregate:
    """The values of the scores themselves, with the spread of the replicates ``(B, S - 1)``."""
    values = [each.mean(axis=1) for each in runs]
    freedom = spread_of_mean(
        part for each in runs for part in (each.mean(axis=0), each.mean(axis=1))
    ).freedom
    means = np.mean([each.mean(axis=1) for each in replicates], axis=0)
    middles = interquartile_mean(np.concatenate(replicates, axis=1))
    return Aggregate(
        _estimate(float(np.mean([each.mean() for each in values])), means, freedom),
        _estimate(float(interquartile_mean(np.concatenate(values))), middles, freedom),
    )


def _estimate(value: float, replicates: Array, freedom: Array) -> Estimate:
    half = float(Spread(replicates.var(ddof=1), freedom).half_width())
    return Estimate(value, value - half, value + half)


def _resampled_means(
    rows: Sequence[Array], n_resamples: int, rng: np.random.Generator
) -> list[Array]:
    """Means over students drawn with replacement, the same students for all.

    Beyond ``MAX_BOOTSTRAPPED`` students the means are drawn from their normal limit, which is the
    same to within the noise of resampling and costs nothing.

    Args:
        rows: ``(S_j, n)`` each.
        n_resamples: B.
        rng: the source of randomness.

    Returns:
        ``(B, S_j)`` for each.
    """
    table = np.concatenate(rows)
    m, n = table.shape
    if n > MAX_BOOTSTRAPPED:
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(table)) / n)
        root = vectors * np.sqrt(np.maximum(values, 0))
        means = table.mean(axis=1) + rng.standard_normal((n_resamples, m)) @ root.T
    else:
        means = np.empty((n_resamples, m))
        batch = max(1, _MAX_RESAMPLED // n)
        for start in range(0, n_resamples, batch):
            size = min(batch, n_resamples - start)
            students = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
            counts = np.bincount(students.ravel(), minlength=size * n).reshape(size, n)
            means[start : start + size] = counts.astype(np.float64) @ table.T / n
    ends = np.cumsum([len(part) for part in rows])[:-1]
    return np.split(means, ends, axis=1)


def _draw_seeds(runs: Array, rng: np.random.Generator) -> Array:
    """S - 1 of S seeds with replacement, ``(B, S - 1)``; one seed stays."""
    n_resamples, n_seeds = runs.shape
    if n_seeds == 1:
        return runs
    drawn = rng.integers(0, n_seeds, (n_resamples, n_seeds - 1))
    result: Array = np.take_along_axis(runs, drawn, axis=1)
    return result


def _without_rounding(values: Array) -> Array:
    """Sums of the same numbers in another order are the same."""
    scale = np.abs(values).max()
    result: Array = np.round(values / scale, 9) if scale > 0 else values
    return result
