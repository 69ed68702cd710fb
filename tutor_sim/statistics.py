"""Statistics of evaluations: pure functions of arrays, with 95 % intervals.

Intervals are percentile bootstrap intervals over students (Efron & Tibshirani 1993, ch. 13), drawn
with a fixed seed, so the same scores give the same interval. Beyond 5,000 students the t-interval
of the statistic's influence values (Hampel et al. 1986, "Robust statistics", ch. 2) is used
instead, which is the same to within the noise of resampling and costs nothing. The interquartile
mean follows Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical
precipice". Whatever is undefined (no spread between references, a single student) is nan and
carries its reason.

Scores are ``(n,)`` or, of a tutor that was trained with several seeds, ``(S, n)`` with the same
students in every row. Then the value is the mean over seeds, and the interval covers seeds and
students (:mod:`tutor_sim.two_level`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tutor_sim.two_level import half_width, two_level_band, two_level_half_width

Array = NDArray[np.float64]

N_RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""
LEVEL = 0.95
"""Confidence level of every interval."""
TAIL_SHARE = 0.1
"""Share of students in the worst decile."""
MAX_BOOTSTRAPPED = 5000
"""Students up to which intervals are bootstrapped; above, influence values do as well."""
_MAX_RESAMPLED = 2**21
"""Numbers resampled at once (16 MiB)."""
_SAME = 1e-9
"""Two references this close (relative to their size) do not span a scale."""


class Estimate(NamedTuple):
    """A number and its interval.

    Attributes:
        value: the estimate; nan where undefined.
        low: lower end of the interval.
        high: upper end of the interval.
        reason: why the value or its interval is undefined; empty otherwise.
    """

    value: float
    low: float
    high: float
    reason: str = ""

    def __str__(self) -> str:
        """``0.812 [0.801, 0.823]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def known(self) -> bool:
        """There is a value."""
        return not math.isnan(self.value)


class Reference(NamedTuple):
    """A reference tutor's expected score: exact, estimated, or both.

    Attributes:
        value: the exact expectation, where it is known.
        scores: ``(n,)``, its scores with the very students of the tutor that is compared.
    """

    value: float | None = None
    scores: Array | None = None


def undefined(reason: str) -> Estimate:
    """No number, and why."""
    return Estimate(math.nan, math.nan, math.nan, reason)


# -- one tutor ------------------------------------------------------------------------------------
def mean_interval(scores: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Estimate:
    """Mean over students.

    Args:
        scores: ``(n,)`` or ``(S, n)``.
        n_resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ValueError: there are no scores.
    """
    return _interval((scores,), _mean, lambda x: x, n_resamples=n_resamples, seed=seed)


def iqm_interval(scores: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Estimate:
    """Interquartile mean over students: the mean without the lowest and highest quarter.

    Arguments as for :func:`mean_interval`.
    """

    def influence(x: Array) -> Array:
        return np.clip(x, *np.quantile(x, (0.25, 0.75))) / 0.5

    return _interval((scores,), interquartile_mean, influence, n_resamples=n_resamples, seed=seed)


def worst_decile_interval(
    scores: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Estimate:
    """Mean over the tenth of the students with the lowest scores (ill luck included).

    Arguments as for :func:`mean_interval`.
    """

    def influence(x: Array) -> Array:
        return np.minimum(x, np.quantile(x, TAIL_SHARE)) / TAIL_SHARE

    return _interval((scores,), worst_decile, influence, n_resamples=n_resamples, seed=seed)


def interquartile_mean(scores: Array, axis: int = -1) -> Array:
    """Mean of the middle half: ``floor(n / 4)`` scores are left out on each side."""
    result: Array = stats.trim_mean(scores, 0.25, axis=axis)
    return result


def worst_decile(scores: Array, axis: int = -1) -> Array:
    """Mean of the lowest ``ceil(n / 10)`` scores."""
    scores = np.moveaxis(scores, axis, -1)
    n_worst = math.ceil(TAIL_SHARE * scores.shape[-1])
    lowest = np.partition(scores, n_worst - 1, axis=-1)[..., :n_worst]
    result: Array = lowest.mean(axis=-1)
    return result


def mean_band(values: ArrayLike) -> tuple[Array, Array, Array]:
    """Mean over the last axis with its 95 % t-interval, for the many points of a curve.

    Args:
        values: ``(..., n)``.

    Returns:
        Mean, low and high, each ``(...)``; low and high are nan for a single student.
    """
    values = np.asarray(values, dtype=np.float64)
    n = values.shape[-1]
    mean: Array = values.mean(axis=-1)
    if n < 2:
        nothing = np.full_like(mean, math.nan)
        return mean, nothing, nothing
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=-1, ddof=1) / math.sqrt(n)
    return mean, mean - half, mean + half


# -- two and three tutors -------------------------------------------------------------------------
def paired_difference(
    scores: ArrayLike, reference: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Estimate:
    """Mean over students of the score less the reference's score with the same student.

    Args:
        scores: ``(n,)`` or ``(S, n)``.
        reference: ``(n,)``, of the same students in the same order; or ``(S, n)``: seed by seed.
        n_resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ValueError: the two are not of the same students.
    """
    scores, reference = _paired(scores, reference)
    return mean_interval(scores - reference, n_resamples=n_resamples, seed=seed)


def fraction(
    scores: ArrayLike,
    low: Reference,
    high: Reference,
    *,
    luck: Sequence[ArrayLike] = (),
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Where a tutor stands between two references: ``(V - V_low) / (V_high - V_low)``.

    With the random tutor as ``low`` and the Bayes-optimal one as ``high`` it is the fraction of
    optimal; with the best non-adaptive sequence as ``low``, the fraction of adaptivity.

    Where both references are known exactly, their difference is the exact scale, and known luck is
    taken out of the scores: how far luck carried another tutor from what it is known to achieve
    tells how far it carried this one (see :func:`without_shared_luck`).
    Otherwise all three means are of the same students and resampled together (paired bootstrap of
    the ratio). An estimate may lie above 1 by luck, which its interval shows.

    Args:
        scores: ``(n,)`` or ``(S, n)``.
        low: the reference at 0.
        high: the reference at 1.
        luck: of other tutors with the same students, ``(n,)`` each: score less its expectation.
        n_resamples: bootstrap resamples.
        seed: of the resampling.

    Returns:
        nan with a reason where the references do not span a scale or are unknown.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if low.value is not None and high.value is not None:
        span = high.value - low.value
        if span <= _SAME * max(abs(high.value), abs(low.value), 1e-300):
            return undefined(f"the references span no scale: {low.value:g} to {high.value:g}")
        per_student = (without_shared_luck(scores, luck) - low.value) / span
        return mean_interval(per_student, n_resamples=n_resamples, seed=seed)
    sides = [_as_scores(reference, scores.shape[-1]) for reference in (low, high)]
    if sides[0] is None or sides[1] is None:
        return undefined("a reference is unknown")
    gain, span_scores = scores - sides[0], sides[1] - sides[0]
    scale = _t_interval(span_scores)
    if not scale.low > 0:
        return undefined(f"the references are not told apart: they differ by {scale}")

    def influence(gain: Array, span: Array) -> Array:
        ratio = gain.mean() / span.mean()
        values: Array = (gain - ratio * span) / span.mean()
        return values

    return _interval((gain, span_scores), _ratio, influence, n_resamples=n_resamples, seed=seed)


def without_shared_luck(scores: ArrayLike, luck: Sequence[ArrayLike]) -> Array:
    """Scores less what is explained by known luck: the regression estimator of control variates.

    ``v_i - sum_j b_j c_ij`` with the least-squares ``b`` of the centred scores on the centred
    controls: the same expectation (to order 1/n) with a smaller variance (Owen 2013, "Monte Carlo
    theory, methods and examples", section 8.9).

    Args:
        scores: ``(n,)`` or ``(S, n)``, each row by itself.
        luck: controls ``c_j``, each ``(n,)`` with expectation zero, of the same students.

    Raises:
        ValueError: a control is not of the same students.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not luck:
        return scores
    if scores.ndim == 2:
        return np.stack([without_shared_luck(row, luck) for row in scores])
    controls = np.stack([_paired(control, scores)[0] for control in luck], axis=-1)
    centred = controls - controls.mean(axis=0)
    slopes = np.linalg.lstsq(centred, scores - scores.mean(), rcond=None)[0]
    result: Array = scores - controls @ slopes
    return result


def seed_band(values: ArrayLike) -> tuple[Array, Array, Array]:
    """Mean over seeds and students with its 95 % interval, for the many points of a curve.

    Args:
        values: ``(S, ..., n)``; one seed is :func:`mean_band`.

    Returns:
        Mean, low and high, each ``(...)``.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 1 or values.shape[-1] < 2:
        return mean_band(values.mean(axis=0))
    return two_level_band(values, LEVEL)


def regret(progress: ArrayLike, reference: ArrayLike) -> tuple[Array, Array, Array]:
    """What is lost to a reference on the same students, at every point of a curve.

    Args:
        progress: ``(..., n)``, such as ``Evaluation.progress`` (for each step) or the transposed
            scores (for each lesson).
        reference: ``(..., n)``, of the reference with the same students.

    Returns:
        Mean of ``reference - progress`` over students with its 95 % t-interval, each ``(...)``.
    """
    progress, reference = _paired(progress, reference)
    return mean_band(reference - progress)


# -- inside ---------------------------------------------------------------------------------------
def _as_scores(reference: Reference, n_students: int) -> Array | None:
    if reference.scores is not None:
        return np.asarray(reference.scores, dtype=np.float64)
    return None if reference.value is None else np.full(n_students, reference.value)


def _paired(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape[-1:] != y.shape[-1:]:
        raise ValueError(
            f"paired scores must be of the same students, got {x.shape} and {y.shape}."
        )
    return x, y


def _t_interval(scores: Array) -> Estimate:
    mean, low, high = mean_band(scores)
    return Estimate(float(mean), float(low), float(high))


def _mean(scores: Array, axis: int = -1) -> Array:
    result: Array = scores.mean(axis=axis)
    return result


def _ratio(numerator: Array, denominator: Array, axis: int = -1) -> Array:
    """Of means; a resample in which the references do not differ at all counts as a tiny span."""
    span = denominator.mean(axis=axis)
    result: Array = numerator.mean(axis=axis) / np.where(span == 0, _SAME, span)
    return result


def _interval(
    samples: tuple[ArrayLike, ...],
    statistic: Callable[..., Any],
    influence: Callable[..., Array],
    *,
    n_resamples: int,
    seed: int,
) -> Estimate:
    """A statistic of samples of the same students, and its interval.

    Args:
        samples: ``(n,)`` each, resampled together, or ``(S, n)``: several seeds.
        statistic: of the samples over their last axis.
        influence: how much each student moves the statistic, times n, up to a constant; of one
            seed: ``(n,)``.
        n_resamples: bootstrap resamples.
        seed: of the resampling.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    data: list[Array] = list(np.broadcast_arrays(*arrays))
    n = data[0].shape[-1]
    if n == 0:
        raise ValueError("`scores` must hold at least one student's score, got none.")
    if data[0].ndim == 2 and len(data[0]) == 1:
        data = [sample[0] for sample in data]
    value = float(np.mean(statistic(*data)))
    if n == 1:
        return Estimate(value, math.nan, math.nan, "one student: no interval")
    if all(np.ptp(sample) == 0 for sample in data):
        return Estimate(value, value, value)
    if n > MAX_BOOTSTRAPPED:
        half = _influence_half_width(data, statistic, influence)
        return Estimate(value, value - half, value + half)
    if data[0].ndim == 2:
        half = two_level_half_width(
            data, statistic, n_resamples=n_resamples, level=LEVEL, seed=seed
        )
        return Estimate(value, value - half, value + half)
    result = stats.bootstrap(
        data,
        statistic,
        paired=len(data) > 1,
        vectorized=True,
        axis=-1,
        n_resamples=n_resamples,
        batch=max(1, _MAX_RESAMPLED // n),
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = result.confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def _influence_half_width(
    data: Sequence[Array], statistic: Callable[..., Any], influence: Callable[..., Array]
) -> float:
    """Half the width of an interval by influence values, for many students."""
    n = data[0].shape[-1]
    if data[0].ndim == 1:
        mean, low, _ = mean_band(influence(*data))
        return float(mean - low)
    n_seeds = len(data[0])
    by_seed = [influence(*(sample[row] for sample in data)) for row in range(n_seeds)]
    v_students = float(np.mean(by_seed, axis=0).var(ddof=1)) / n
    v_seeds = float(np.var(statistic(*data), ddof=1)) / n_seeds
    return float(half_width(v_students + v_seeds, v_students, v_seeds, n, n_seeds, LEVEL))
