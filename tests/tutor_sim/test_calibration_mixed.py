"""The logistic mixed model: against exact integration, and on data with known parameters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats

from tutor_sim.calibration.mixed import (
    Floats,
    MixedData,
    MixedFit,
    Posterior,
    fit_mixed,
    logistic_moments,
    sds_and_correlations,
)
from tutor_sim.calibration.online import predict_online


def growth_data(n_students: int, n_units: int, n_repeats: int, seed: int) -> MixedData:
    """Start -0.8 (SD 0.75), slope 1.6 (SD 0.5), correlation 0.5; units' starts have SD 1."""
    rng = np.random.default_rng(seed)
    cov = np.array([[0.75**2, 0.5 * 0.75 * 0.5], [0.5 * 0.75 * 0.5, 0.5**2]])
    u = rng.multivariate_normal([-0.8, 1.6], cov, n_students)
    v = rng.normal(0, 1, n_units)
    student = np.repeat(np.arange(n_students), n_units * n_repeats)
    unit = np.tile(np.repeat(np.arange(n_units), n_repeats), n_students)
    exposures = np.tile(np.arange(n_repeats), n_students * n_units)
    x = np.stack([np.ones(len(student)), np.log1p(exposures)], 1)
    p = special.expit((x * u[student]).sum(1) + v[unit])
    correct = (rng.random(len(p)) < p).astype(float)
    return MixedData(correct, x, student, x, unit, x[:, :1], n_students, n_units)


def test_the_logistic_moments_are_integrals() -> None:
    p, slope = logistic_moments(np.array([0.7]), np.array([0.9]))
    density = stats.norm(0.7, np.sqrt(0.9)).pdf
    expected = integrate.quad(lambda e: special.expit(e) * density(e), -12, 12)[0]
    assert p[0] == pytest.approx(expected, abs=1e-4)
    expected = integrate.quad(lambda e: special.expit(e) * special.expit(-e) * density(e), -12, 12)[
        0
    ]
    assert slope[0] == pytest.approx(expected, abs=1e-4)


def test_one_random_intercept_agrees_with_exact_maximum_likelihood() -> None:
    """100 students with 12 answers each on one unit: the likelihood by fine quadrature."""
    rng = np.random.default_rng(0)
    n, m = 100, 12
    right = rng.binomial(m, special.expit(rng.normal(0.4, 1.1, n)))
    grid = np.linspace(-9, 9, 2001)
    step = grid[1] - grid[0]

    def minus_log_likelihood(parameters: Floats) -> float:
        mean, log_sd = parameters
        prior = stats.norm(mean, np.exp(log_sd)).pdf(grid)
        likelihood = stats.binom.pmf(right[:, None], m, special.expit(grid))
        return -float(np.log(likelihood @ prior * step).sum())

    exact = optimize.minimize(minus_log_likelihood, [0.0, 0.0]).x
    correct = (np.arange(m) < right[:, None]).astype(float).ravel()
    one, zero = np.ones((n * m, 1)), np.zeros(n * m, dtype=np.int64)
    student = np.repeat(np.arange(n), m)
    fit = fit_mixed(MixedData(correct, one, student, one, zero, one[:, :0], n, 1))
    assert fit.converged
    assert fit.beta[0] == pytest.approx(exact[0], abs=0.02)
    assert np.sqrt(fit.student_cov[0, 0]) == pytest.approx(np.exp(exact[1]), abs=0.02)
    # The standard error is about sd / sqrt(2 n) or more: answers are noisy.
    (se,), _ = fit.student_se()
    assert 1.1 / np.sqrt(2 * n) < se < 2.5 * 1.1 / np.sqrt(2 * n)


def test_spread_correlation_and_slopes_are_recovered() -> None:
    fit = fit_mixed(growth_data(n_students=250, n_units=12, n_repeats=5, seed=1))
    sd, r = sds_and_correlations(fit.student_cov)
    sd_se, r_se = fit.student_se()
    for value, truth, se, most in (
        (sd[0], 0.75, sd_se[0], 0.07),
        (sd[1], 0.5, sd_se[1], 0.08),
        (r[0, 1], 0.5, r_se[0, 1], 0.25),
    ):
        assert abs(value - truth) < 2.5 * se
        assert 0.2 * most < se < most
    # The units' mean is known to 1 / sqrt(15) = 0.26 only; the slope to about 0.5 / sqrt(400).
    assert fit.beta == pytest.approx([-0.8, 1.6], abs=0.5)
    assert fit.beta[1] == pytest.approx(1.6, abs=0.1)
    assert np.sqrt(fit.unit_cov[0, 0]) == pytest.approx(1.0, abs=0.4)


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """Twenty small data sets: the 95 % intervals of the slope's SD hold it in 17 or more."""
    held = 0
    for seed in range(20):
        fit = fit_mixed(growth_data(n_students=100, n_units=8, n_repeats=5, seed=seed))
        sd = np.sqrt(fit.student_cov[1, 1])
        held += abs(np.log(sd / 0.5)) < 1.96 * fit.student_se()[0][1] / sd
    assert held >= 17


def one_student(correct: list[float]) -> MixedData:
    x = np.ones((len(correct), 1))
    codes = np.zeros(len(correct), dtype=np.int64)
    return MixedData(np.array(correct), x, codes, x, codes, x[:, :0], 1, 1)


def prior_only(mean: float, variance: float) -> MixedFit:
    units = Posterior(np.zeros((1, 0)), np.zeros((1, 0, 0)))
    students = Posterior(np.zeros((1, 1)), np.full((1, 1, 1), variance))
    cov = np.full((1, 1), variance)
    return MixedFit(np.array([mean]), cov, cov, np.zeros((0, 0)), students, units, 0, True)


def test_online_predictions_are_nearly_bayes_rule() -> None:
    """Answers 1, 1, 0 of a student with start N(0.3, 0.8): against integration on a grid."""
    answers = [1.0, 1.0, 0.0]
    p = predict_online(prior_only(0.3, 0.8), one_student(answers))
    grid = np.linspace(-8, 8, 4001)
    weight = stats.norm(0.3, np.sqrt(0.8)).pdf(grid)
    for found, answer in zip(p, answers, strict=True):
        right = special.expit(grid)
        assert found == pytest.approx((weight @ right) / weight.sum(), abs=0.01)
        weight = weight * (right if answer else 1 - right)


@given(
    answers=st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=8),
    place=st.integers(0, 7),
)
@settings(max_examples=15, deadline=None)
def test_predictions_use_earlier_answers_only(answers: list[float], place: int) -> None:
    data = one_student(answers)
    fit = prior_only(0.0, 1.0)
    changed = data.correct.copy()
    changed[place % len(answers) :] = 1 - changed[place % len(answers) :]
    before = predict_online(fit, data)[: place % len(answers) + 1]
    after = predict_online(fit, dataclasses.replace(data, correct=changed))
    assert after[: len(before)].tolist() == before.tolist()


def test_no_answers_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one graded answer"):
        fit_mixed(one_student([]))
