"""DASH[ACT-R]: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan, sigmoid
from tutor_envs.students.dash_actr import DASHACTR

MODEL = DASHACTR(
    n_skills=3,
    modalities=("read", "say"),
    step_s=43200,
    scale=1.5,
    ability_on_logit=1,
    max_reviews=12,
)
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_the_power_law_by_hand():
    latents = student(
        difficulty=[0.5, 0.0, 0.0], decay=0.5, correct_weight=2.0, wrong_weight=-1.0, ability=0.2
    )
    # item 0: right 4 days ago, wrong 1 day ago: 2 * 4**-.5 - 1 * 1 = 0; right alone: 1
    both = [(0, 0, 1, 2.5), (0, 0, 0, 0.5)]
    assert p_correct(latents, both)[0] == pytest.approx(sigmoid(0.2 - 0.5))
    right = [(0, 0, 1, 3.5)]
    assert p_correct(latents, right)[0] == pytest.approx(sigmoid(1.5 * math.log(2) - 0.3))


def test_the_sum_is_not_below_zero():
    latents = student(wrong_weight=-1.0)
    assert p_correct(latents, [(0, 0, 0, 0.5)]) == pytest.approx([0.5] * 3)


def test_short_lags_count_as_the_shortest():
    latents = student(correct_weight=1.0, decay=1.0)
    state = MODEL.begin_lesson(latents, NONE)
    reviewed, right = torch.tensor([[True, False, False]]), torch.tensor([[True]])
    state = MODEL.practise(latents, state, reviewed, right, torch.ones(1, 1).double())
    # .1 days: 1 / .1 = 10
    assert MODEL.p_correct(latents, state)[0, 0].item() == pytest.approx(
        sigmoid(1.5 * math.log(11))
    )


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, difficulty = random_plan(seed), (0.5, -0.2, 1.1)
    latents = student(
        difficulty=difficulty,
        decay=0.7,
        correct_weight=1.9,
        wrong_weight=-0.6,
        ability=-0.4,
        **STYLE,
    )
    expected = []
    for item in range(3):
        total = sum(
            style * (1.9 if correct else -0.6) * max(lag, 0.1) ** -0.7
            for lag, style, correct in past(plan, item)
        )
        expected.append(sigmoid(1.5 * math.log(1 + max(total, 0)) - 0.4 - difficulty[item]))
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), one=st.floats(0, 50), two=st.floats(0, 50))
def test_waiting_twice_is_waiting_once(seed, one, two):
    latents = student(**STYLE)
    state = play(latents, random_plan(seed, 4))
    twice = MODEL.wait(latents, MODEL.wait(latents, state, days(one), NONE), days(two), NONE)
    once = MODEL.wait(latents, state, days(one + two), NONE)
    for name in state:
        torch.testing.assert_close(twice[name], once[name])
