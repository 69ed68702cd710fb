"""BKT with an ability factor: against enumeration, and on data with known parameters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, special, stats

from tutor_sim.calibration.factor_bkt import (
    BKTData,
    FactorBKT,
    fit_factor_bkt,
    predict_factor_bkt,
)
from tutor_sim.calibration.mixed import Floats

BASE = special.logit(np.array([[0.3, 0.2, 0.1, 0.2], [0.5, 0.3, 0.15, 0.25]]))
LOADING = np.array([0.9, 0.7, -0.5, 0.4])


def known(base: Floats, loading: Floats) -> FactorBKT:
    zero = np.zeros_like(base)
    return FactorBKT(base, zero, loading, zero[0], base.mean(0), zero[0], zero[0] + 1, True)


def likelihood(theta: float, skill: int, answers: list[int]) -> float:
    """P(answers) on one skill: every path of mastery written out."""
    init, learn, slip, guess = special.expit(BASE[skill] + LOADING * theta)
    total = 0.0
    for path in itertools.product([0, 1], repeat=len(answers)):
        p = init if path[0] else 1 - init
        for before, after in itertools.pairwise(path):
            p *= {(0, 0): 1 - learn, (0, 1): learn, (1, 0): 0.0, (1, 1): 1.0}[before, after]
        for mastered, answer in zip(path, answers, strict=True):
            right = 1 - slip if mastered else guess
            p *= right if answer else 1 - right
        total += p
    return total


def test_a_prediction_is_bayes_rule_over_paths_and_ability() -> None:
    """Skill 0: 1, 0; skill 1: 1; then what is the chance of a right answer on skill 1?"""
    data = BKTData(
        student=np.zeros(4, dtype=np.int64),
        skill=np.array([0, 1, 0, 1]),
        correct=np.array([1.0, 1.0, 0.0, 1.0]),
        n_students=1,
        n_skills=2,
    )

    def integral(answers_0: list[int], answers_1: list[int]) -> float:
        def integrand(theta: float) -> float:
            both = likelihood(theta, 0, answers_0) * likelihood(theta, 1, answers_1)
            return both * stats.norm.pdf(theta)

        return float(integrate.quad(integrand, -8, 8)[0])

    expected = integral([1, 0], [1, 1]) / integral([1, 0], [1])
    p = predict_factor_bkt(known(BASE, LOADING), data)
    assert p[3] == pytest.approx(expected, abs=1e-4)
    assert p[0] == pytest.approx(
        integrate.quad(lambda t: likelihood(t, 0, [1]) * stats.norm.pdf(t), -8, 8)[0], abs=1e-4
    )


def test_practice_without_an_answer_teaches_and_tells_nothing() -> None:
    """P(known) .3 -> .3 + .7 * .2 = .44, so P(right) = .44 * .9 + .56 * .2 = .508."""
    data = BKTData(
        np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), np.array([np.nan, 1.0]), 1, 2
    )
    p = predict_factor_bkt(known(BASE, np.zeros(4)), data)
    assert p.tolist() == pytest.approx([0.3 * 0.9 + 0.7 * 0.2, 0.508])


def simulate(n_students: int, n_skills: int, n_repeats: int, seed: int) -> tuple[BKTData, Floats]:
    rng = np.random.default_rng(seed)
    mean, sd = special.logit([0.25, 0.25, 0.1, 0.2]), np.array([0.6, 0.4, 0.3, 0.3])
    base = mean + rng.normal(size=(n_skills, 4)) * sd
    theta = rng.normal(size=(n_students, 1, 1))
    init, learn, slip, guess = np.moveaxis(special.expit(base + theta * LOADING), -1, 0)
    mastered = rng.random(init.shape) < init
    answers = []
    for _ in range(n_repeats):
        answers.append(rng.random(init.shape) < np.where(mastered, 1 - slip, guess))
        mastered |= rng.random(init.shape) < learn
    correct = np.stack(answers, 1)  # (student, repeat, skill)
    shape = correct.shape
    student = np.broadcast_to(np.arange(n_students)[:, None, None], shape).ravel()
    skill = np.broadcast_to(np.arange(n_skills), shape).ravel()
    return BKTData(student, skill, correct.astype(float).ravel(), n_students, n_skills), base


def test_rates_and_loadings_are_recovered() -> None:
    data, base = simulate(n_students=200, n_skills=5, n_repeats=8, seed=0)
    fit = fit_factor_bkt(data)
    assert fit.converged
    error = fit.loading - LOADING
    assert (np.abs(error) < 3 * fit.loading_se).all()
    assert (fit.loading_se < 0.25).all()
    assert np.abs(error).max() < 0.35
    # 20 logits of skills: two thirds within one standard error, all within 4.
    z = (fit.base - base) / fit.base_se
    assert (np.abs(z) < 1.2).mean() > 0.6
    assert np.abs(z).max() < 4
    p = np.abs(special.expit(fit.base) - special.expit(base))
    assert p.mean(0).max() < 0.06
    # The held-out story: the factor predicts better than the same rates without it.
    without = known(fit.base, np.zeros(4))
    log_loss = [
        -np.log(np.where(data.correct == 1, p, 1 - p)).mean()
        for p in (predict_factor_bkt(fit, data), predict_factor_bkt(without, data))
    ]
    assert log_loss[0] < log_loss[1] - 0.01


def test_long_records_of_few_students() -> None:
    """240 answers place a student better than fixed nodes could: 11 of them are .65 apart.

    The loadings are SDs over 30 students, so no data can tell them better than
    ``loading / sqrt(2 * 30)``: 13 %.
    """
    data, _ = simulate(n_students=30, n_skills=6, n_repeats=40, seed=2)
    fit = fit_factor_bkt(data)
    assert (np.abs(fit.loading - LOADING) < 3 * fit.loading_se).all()
    assert (fit.loading_se > 0.5 * np.abs(fit.loading) / np.sqrt(60)).all()


def test_a_skill_without_answers_is_like_the_others() -> None:
    data, _ = simulate(n_students=60, n_skills=3, n_repeats=5, seed=1)
    fit = fit_factor_bkt(
        BKTData(data.student, data.skill, data.correct, data.n_students, n_skills=4)
    )
    assert fit.base[3] == pytest.approx(fit.mean, abs=0.05)
    assert (fit.base_se[3] > fit.base_se[:3].min(0)).all()


def test_only_study_trials_are_an_error() -> None:
    zero = np.zeros(2, dtype=np.int64)
    with pytest.raises(ValueError, match="at least one graded answer"):
        fit_factor_bkt(BKTData(zero, zero, np.full(2, np.nan), 1, 1))
