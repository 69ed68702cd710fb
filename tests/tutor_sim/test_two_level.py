"""Intervals over seeds and students: the closed form of random effects, and coverage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tutor_sim.statistics import (
    MAX_BOOTSTRAPPED,
    Array,
    Estimate,
    Reference,
    fraction,
    iqm_interval,
    mean_band,
    mean_interval,
    paired_difference,
    seed_band,
    without_shared_luck,
    worst_decile_interval,
)

INTERVALS = [mean_interval, iqm_interval, worst_decile_interval]


def crossed(
    rng: np.random.Generator, n_seeds: int, n: int, sd_seed: float, sd_student: float, sd: float
) -> Array:
    """Scores of a random-effects model: ``a_s + b_i + e_si``, mean 0."""
    scores: Array = (
        sd_seed * rng.normal(size=(n_seeds, 1))
        + sd_student * rng.normal(size=n)
        + sd * rng.normal(size=(n_seeds, n))
    )
    return scores


@pytest.mark.parametrize("interval", INTERVALS)
def test_one_seed_is_as_no_seed(interval: Callable[..., Estimate]) -> None:
    scores = np.random.default_rng(0).normal(size=80)
    assert interval(scores[None]) == interval(scores)


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_value_is_the_mean_over_seeds(interval: Callable[..., Estimate]) -> None:
    scores = np.random.default_rng(0).normal(size=(3, 80))
    each = [interval(row).value for row in scores]
    assert interval(scores).value == pytest.approx(np.mean(each))


def test_equal_scores_have_no_spread() -> None:
    assert mean_interval(np.full((3, 5), 0.25)) == Estimate(0.25, 0.25, 0.25)
    assert math.isnan(mean_interval(np.ones((3, 1))).low)


def test_where_only_seeds_differ_it_is_their_t_interval() -> None:
    # seeds 0, 1, 2 with every student: mean 1, sd 1, t(0.975, 2) = 4.3027
    scores = np.repeat([[0.0], [1], [2]], 50, axis=1)
    found = mean_interval(scores, n_resamples=20_000)
    half = 4.302652729911275 / math.sqrt(3)
    assert found.high - found.value == pytest.approx(half, rel=0.02)
    _, low, high = seed_band(scores)
    assert (low, high) == (pytest.approx(1 - half), pytest.approx(1 + half))


def test_where_only_students_differ_it_is_their_interval() -> None:
    scores = np.random.default_rng(0).normal(size=400)
    alone, thrice = mean_interval(scores), mean_interval(np.stack([scores] * 3))
    assert thrice.value == pytest.approx(alone.value)
    assert thrice.high - thrice.low == pytest.approx(alone.high - alone.low, rel=0.1)
    for one, three in zip(mean_band(scores), seed_band(np.stack([scores] * 3)), strict=True):
        assert three == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize("n", [200, MAX_BOOTSTRAPPED + 1])
def test_the_width_is_that_of_random_effects(n: int) -> None:
    # Var(mean) = sd_seed² / S + sd_student² / n + sd² / (S n), with many seeds: normal quantile
    n_seeds, sd_seed, sd_student, sd = 60, 0.5, 2.0, 1.0
    rng = np.random.default_rng(4)
    halves = []
    for _ in range(10):
        found = mean_interval(crossed(rng, n_seeds, n, sd_seed, sd_student, sd), n_resamples=300)
        halves.append((found.high - found.low) / 2)
    variance = sd_seed**2 / n_seeds + sd_student**2 / n + sd**2 / (n_seeds * n)
    assert np.mean(halves) == pytest.approx(1.98 * math.sqrt(variance), rel=0.08)


@pytest.mark.parametrize(
    ("sd_seed", "sd_student", "sd"), [(1.0, 0.5, 0.5), (0.1, 1.0, 1.0), (0.0, 1.0, 0.0)]
)
def test_intervals_of_three_seeds_cover_the_truth(
    sd_seed: float, sd_student: float, sd: float
) -> None:
    rng = np.random.default_rng(5)
    hits, n_cases = {"bootstrap": 0, "closed form": 0}, 200
    for _ in range(n_cases):
        scores = crossed(rng, 3, 100, sd_seed, sd_student, sd)
        found = mean_interval(scores, n_resamples=200)
        _, low, high = seed_band(scores)
        hits["bootstrap"] += found.low <= 0 <= found.high
        hits["closed form"] += bool(low <= 0 <= high)
    for hit in hits.values():
        assert hit >= 0.91 * n_cases


def test_differences_and_fractions_are_paired_with_every_seed() -> None:
    luck = 100 * np.random.default_rng(0).normal(size=40)
    scores = np.stack([luck + 0.25, luck + 0.75])
    assert paired_difference(scores, luck).value == pytest.approx(0.5)
    found = fraction(scores, Reference(scores=luck), Reference(scores=luck + 1))
    assert found.value == pytest.approx(0.5)
    with pytest.raises(ValueError, match="same students"):
        paired_difference(scores, luck[1:])


def test_known_luck_is_taken_out_of_every_seed() -> None:
    luck = np.random.default_rng(0).normal(size=50)
    scores = np.stack([3 + 2 * luck, 5 - luck])
    np.testing.assert_allclose(without_shared_luck(scores, [luck]), [[3.0] * 50, [5.0] * 50])


def test_a_band_has_a_point_for_each_point() -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 5, 30))
    mean, low, high = seed_band(values)
    assert mean.shape == low.shape == high.shape == (2, 5)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 3)))
    assert (low < mean).all()
    assert (mean < high).all()
