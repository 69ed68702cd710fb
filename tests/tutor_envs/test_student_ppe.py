"""PPE: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan, sigmoid
from tutor_envs.students.ppe import PPE

MODEL = PPE(
    n_skills=3, modalities=("read", "say"), step_s=43200, recency=0.5, noise=0.05, max_reviews=12
)
DAYS = MODEL.step_days
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_activation_by_hand():
    latents = student(initial_lag=3.0, base_decay=0.04, learning=0.1, threshold=0.9, ability=0.5)
    # presentations 4 and 1 days ago: weights 4**-.5 and 1, T = (2 + 1) / 1.5 = 2; they lie 3 apart
    decay = math.exp(-0.3 * 0.5) * (0.04 + 0.08 / math.log(3 + math.e))
    activation = 2**0.1 * 2**-decay
    after = p_correct(latents, [(0, 0, 0, 0.5)])
    assert after[0] == pytest.approx(sigmoid((activation - 0.9) / 0.05))
    # the other items have one presentation, 4 days ago, with the decay of massed practice
    activation = 4 ** -(math.exp(-0.3 * 0.5) * (0.04 + 0.08))
    assert after[1] == pytest.approx(sigmoid((activation - 0.9) / 0.05))


def test_spaced_reviews_last_longer_than_massed_ones():
    latents = student()
    massed = [(1, 0, 1, 10.0 - DAYS), (0, 0, 1, 0.0), (0, 0, 1, 60.0)]
    spaced = [(0, 0, 1, 10.0), (0, 0, 1, 60.0)]
    assert p_correct(latents, spaced)[0] > p_correct(latents, massed)[0]


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, thresholds, first = random_plan(seed), (0.9, 0.8, 1.0), (1.0, 2.5, 0.1)
    latents = student(
        threshold=thresholds,
        learning=0.12,
        base_decay=0.05,
        initial_lag=first,
        ability=-0.4,
        **STYLE,
    )
    total = len(plan) * DAYS + sum(gap for *_, gap in plan)
    expected = []
    for item in range(3):
        reviews = past(plan, item)
        lags = [total + first[item]] + [lag for lag, _, _ in reviews]
        styles = [1.0] + [style for _, style, _ in reviews]
        weights = [style * lag**-0.5 for style, lag in zip(styles, lags, strict=True)]
        elapsed = sum(w * lag for w, lag in zip(weights, lags, strict=True)) / sum(weights)
        gaps = [sooner - later for sooner, later in itertools.pairwise(lags)]
        inverse = [s / math.log(gap + math.e) for s, gap in zip(styles[1:], gaps, strict=True)]
        mean = sum(inverse) / sum(styles[1:]) if reviews else 1.0
        decay = math.exp(0.3 * 0.4) * (0.05 + 0.08 * mean)
        activation = sum(styles) ** 0.12 * elapsed**-decay
        expected.append(sigmoid((activation - thresholds[item]) / 0.05))
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


def test_time_starts_at_a_minute():
    latents = student(initial_lag=0.0)
    assert p_correct(latents, [])[0] == pytest.approx(sigmoid((1440**0.12 - 0.9) / 0.05))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), one=st.floats(0, 50), two=st.floats(0, 50))
def test_waiting_twice_is_waiting_once(seed, one, two):
    latents = student(**STYLE)
    state = play(latents, random_plan(seed, 4))
    twice = MODEL.wait(latents, MODEL.wait(latents, state, days(one), NONE), days(two), NONE)
    once = MODEL.wait(latents, state, days(one + two), NONE)
    for name in state:
        torch.testing.assert_close(twice[name], once[name])
