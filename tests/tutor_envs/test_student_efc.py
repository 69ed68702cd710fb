"""Exponential forgetting: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan
from tutor_envs.students.efc import EFC

MODEL = EFC(n_skills=3, modalities=("read", "say"), step_s=43200, delay_days=7)
DAYS = MODEL.step_days
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_recall_by_hand():
    latents = student(decay_rate=[0.1, 0.2, 0.0], initial_lag=[2.0, 3.0, 4.0])
    assert p_correct(latents, []) == pytest.approx([math.exp(-0.2), math.exp(-0.6), 1])
    # a review at day 0, and half a day for the action: S = 2 and a lag of .5 for item 0
    assert p_correct(latents, [(0, 0, 0, 0.0)]) == pytest.approx(
        [math.exp(-0.1 * 0.5 / 2), math.exp(-0.2 * 3.5), 1]
    )


def test_the_post_test_comes_a_week_later():
    latents = student(decay_rate=0.1, initial_lag=1.0)
    state = MODEL.begin_lesson(latents, NONE)
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx([math.exp(-0.8)] * 3)
    assert MODEL.post_test(latents, state).item() == pytest.approx(math.exp(-0.8))


def test_ability_slows_forgetting():
    latents = student(decay_rate=0.1, initial_lag=2.0, ability=0.5)
    assert p_correct(latents, [])[0] == pytest.approx(math.exp(-0.2 * math.exp(-1.2 * 0.5)))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, rates, lags = random_plan(seed), (0.05, 0.2, 0.7), (1.0, 2.5, 0.0)
    latents = student(decay_rate=rates, initial_lag=lags, ability=-0.4, **STYLE)
    total = len(plan) * DAYS + sum(gap for *_, gap in plan)
    expected = []
    for item in range(3):
        reviews = past(plan, item)
        lag = min((review[0] for review in reviews), default=lags[item] + total)
        strength = 1 + sum(style for _, style, _ in reviews)
        expected.append(math.exp(-rates[item] * math.exp(1.2 * 0.4) * lag / strength))
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), gap=st.floats(0, 100))
def test_time_brings_forgetting_and_a_review_recall(seed, gap):
    latents = student(**STYLE)
    plan = random_plan(seed, 5)
    before, after = (
        p_correct(latents, plan),
        p_correct(latents, [*plan[:-1], (*plan[-1][:3], plan[-1][3] + gap)]),
    )
    assert all(later <= sooner + 1e-12 for sooner, later in zip(before, after, strict=True))
    fresh = p_correct(latents, [*plan, (0, 0, 1, 0.0)])
    assert fresh[0] >= p_correct(latents, [*plan[:-1], (*plan[-1][:3], plan[-1][3] + DAYS)])[0]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), one=st.floats(0, 50), two=st.floats(0, 50))
def test_waiting_twice_is_waiting_once(seed, one, two):
    latents = student(**STYLE)
    state = play(latents, random_plan(seed, 4))
    twice = MODEL.wait(latents, MODEL.wait(latents, state, days(one), NONE), days(two), NONE)
    once = MODEL.wait(latents, state, days(one + two), NONE)
    for name in state:
        torch.testing.assert_close(twice[name], once[name])
