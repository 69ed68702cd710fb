"""Weights of FSRS: predictions by hand, and known weights found again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tutor_envs.students.fsrs import (
    DEFAULT_WEIGHTS,
    first_memory,
    next_memory,
    retrievability,
)
from tutor_sim.calibration.memory_weights import (
    PRIOR_MEAN,
    PRIOR_SD,
    ReviewData,
    fit_weights,
    natural_weights,
    predict_recall,
)
from tutor_sim.calibration.mixed import Floats

DEFAULT = np.array([DEFAULT_WEIGHTS])


def test_recall_is_the_power_law_of_the_first_stability() -> None:
    """Two cards, first reviews Good and Again; reviewed again 2.5 and 1 days later."""
    data = ReviewData(
        student=np.zeros(4, dtype=np.int64),
        card=np.array([0, 1, 1, 0]),
        rating=np.array([3, 1, 3, 1]),
        days=np.array([0.0, 0.5, 1.5, 2.5]),
        n_students=1,
    )
    w20 = DEFAULT_WEIGHTS[20]
    factor = 0.9 ** (-1 / w20) - 1
    p = predict_recall(DEFAULT, data)
    assert np.isnan(p[:2]).all()
    assert p[3] == pytest.approx((1 + factor * 2.5 / DEFAULT_WEIGHTS[2]) ** -w20)
    assert p[2] == pytest.approx((1 + factor * 1.0 / DEFAULT_WEIGHTS[0]) ** -w20)


def simulate(weights: Floats, n_cards: int, n_reviews: int, seed: int) -> ReviewData:
    """Every learner reviews every card after gaps of 1 to about 30 days."""
    rng = np.random.default_rng(seed)
    n = len(weights)
    w = torch.from_numpy(weights).unsqueeze(1)
    rating = torch.from_numpy(rng.choice([1, 3], (n, n_cards), p=[0.4, 0.6]))
    stability, difficulty = first_memory(w, rating)
    days, ratings, times = np.zeros((n, n_cards)), [rating.numpy()], [np.zeros((n, n_cards))]
    for _ in range(n_reviews - 1):
        gap = np.exp(rng.uniform(0, np.log(30), (n, n_cards)))
        recalled = (
            rng.random((n, n_cards)) < retrievability(w, stability, torch.from_numpy(gap)).numpy()
        )
        rating = torch.from_numpy(np.where(recalled, 3, 1))
        stability, difficulty = next_memory(w, stability, difficulty, rating, torch.from_numpy(gap))
        days = days + gap
        ratings.append(rating.numpy())
        times.append(days)
    shape = (n, n_cards, n_reviews)
    return ReviewData(
        student=np.broadcast_to(np.arange(n)[:, None, None], shape).ravel(),
        card=np.broadcast_to(np.arange(n_cards)[None, :, None], shape).ravel(),
        rating=np.stack(ratings, -1).ravel(),
        days=np.stack(times, -1).ravel(),
        n_students=n,
    )


def test_weights_of_learners_are_recovered() -> None:
    """Thirty learners, 200 reviews each: spread of first stability and of the decay."""
    rng = np.random.default_rng(3)
    value = np.tile(np.array(PRIOR_MEAN), (30, 1))
    value[:, 2] += 1.2 * rng.normal(size=30)
    value[:, 20] += 0.4 * rng.normal(size=30)
    truth = natural_weights(value)
    data = simulate(truth, n_cards=40, n_reviews=5, seed=0)
    fit = fit_weights(data)
    assert fit.n_scored == 30 * 40 * 4
    z = (fit.value - value) / fit.se
    assert np.abs(z[:, [2, 20]]).max() < 4
    assert (np.abs(z[:, [2, 20]]) < 2).mean() > 0.85
    assert np.corrcoef(fit.value[:, 2], value[:, 2])[0, 1] > 0.75
    assert (fit.se[:, 2] < 0.6 * PRIOR_SD[2]).all()
    # What nobody did (rate Hard first) tells nothing: w1 follows w2 by the prior only.
    assert (fit.se[:, 1] > 0.5 * PRIOR_SD[1]).all()
    # Better predictions than the truth's own average could give.
    p, truth_p = predict_recall(natural_weights(fit.value), data), predict_recall(truth, data)
    later = ~np.isnan(p)
    assert np.abs(p - truth_p)[later].mean() < 0.04


def test_reviews_within_a_day_do_not_count() -> None:
    data = simulate(DEFAULT, n_cards=20, n_reviews=3, seed=1)
    with pytest.raises(ValueError, match="a day or more later, got none"):
        fit_weights(dataclasses.replace(data, days=data.days / 100))
