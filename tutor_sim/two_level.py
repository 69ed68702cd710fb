"""Intervals over training seeds and students together: the two-level bootstrap.

A learning algorithm trained with S seeds and evaluated on n students gives an S x n table of
scores: every seed's tutor teaches the same students. Seeds and students are both draws from what
might have been, so both are resampled, independently of each other (the pigeonhole bootstrap of
crossed data, Owen 2007, Annals of Applied Statistics 1(2), 386-411). Two things are minded:

* Resampling S seeds out of S understates their variance by (S - 1) / S, a third for three seeds.
  S - 1 of them are drawn, which makes it right (Rao & Wu 1988, JASA 83, 231-241).
* The spread of few seeds is itself uncertain. The interval is the value plus and minus Student's t
  times the bootstrap's standard error, the degrees of freedom being Satterthwaite's (1946) for the
  sum of the two variances: about S - 1 where seeds make the difference, about n - 1 where students
  do.

The part of the variance that belongs to neither (a seed's tutor with a student) is counted in both,
which makes intervals a little too wide, never too narrow (Owen 2007, theorem 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

_MAX_RESAMPLED = 2**21
"""Numbers resampled at once (16 MiB)."""


def two_level_half_width(
    samples: Sequence[Array],
    statistic: Callable[..., Any],
    *,
    n_resamples: int,
    level: float,
    seed: int,
) -> float:
    """Half the width of the interval of a statistic averaged over seeds.

    Args:
        samples: ``(S, n)`` each, of the same seeds and students, resampled together; S, n >= 2.
        statistic: of the samples over their last axis.
        n_resamples: bootstrap resamples.
        level: of confidence.
        seed: of the resampling.
    """
    n_seeds, n = samples[0].shape
    rng = np.random.default_rng(seed)
    resampled = np.empty((n_resamples, n_seeds))
    batch = max(1, _MAX_RESAMPLED // (n * n_seeds))
    for start in range(0, n_resamples, batch):
        size = min(batch, n_resamples - start)
        students = rng.integers(0, n, (size, n))
        values = statistic(*(sample[:, students] for sample in samples))
        resampled[start : start + size] = np.asarray(values).T
    drawn = rng.integers(0, n_seeds, (n_resamples, n_seeds - 1))
    replicates = np.take_along_axis(resampled, drawn, axis=1).mean(axis=1)
    v_students = float(resampled.mean(axis=1).var(ddof=1))
    v_seeds = float(np.var(statistic(*samples), ddof=1)) / n_seeds
    half = half_width(float(replicates.var(ddof=1)), v_students, v_seeds, n, n_seeds, level)
    return float(half)


def half_width(
    variance: ArrayLike,
    v_students: ArrayLike,
    v_seeds: ArrayLike,
    n: int,
    n_seeds: int,
    level: float,
) -> Array:
    """Student's t times the standard error.

    Args:
        variance: of the estimate.
        v_students: the part that comes of the draw of students.
        v_seeds: the part that comes of the draw of seeds.
        n: students.
        n_seeds: seeds.
        level: of confidence.
    """
    students, seeds = np.asarray(v_students), np.asarray(v_seeds)
    spread = students**2 / (n - 1) + seeds**2 / (n_seeds - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(spread > 0, (students + seeds) ** 2 / spread, math.inf)
    half: Array = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(variance)
    return half


def two_level_band(values: ArrayLike, level: float) -> tuple[Array, Array, Array]:
    """Mean over seeds and students with its interval, for the many points of a curve.

    The closed form of :func:`two_level_half_width` for means.

    Args:
        values: ``(S, ..., n)``, S and n >= 2.
        level: of confidence.

    Returns:
        Mean, low and high, each ``(...)``.
    """
    values = np.asarray(values, dtype=np.float64)
    n_seeds, n = values.shape[0], values.shape[-1]
    mean: Array = values.mean(axis=(0, -1))
    v_students = values.mean(axis=0).var(axis=-1, ddof=1) / n
    v_seeds = values.mean(axis=-1).var(axis=0, ddof=1) / n_seeds
    half = half_width(v_students + v_seeds, v_students, v_seeds, n, n_seeds, level)
    return mean, mean - half, mean + half
