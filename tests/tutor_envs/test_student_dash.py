"""DASH: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan, sigmoid
from tutor_envs.students.dash import DASH

MODEL = DASH(
    n_skills=3,
    modalities=("read", "say"),
    step_s=43200,
    windows_days=(1, 7, math.inf),
    max_reviews=12,
)
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_windows_by_hand():
    latents = student(
        difficulty=[0.5, 0.0, 0.0],
        correct_weight=[0.3, 0.6, 0.9],
        attempt_weight=[-0.1, 0.2, 0.4],
        ability=0.7,
    )
    # item 0: right 10 days ago, right 3 days ago, wrong half a day ago (each action half a day)
    plan = [(0, 0, 1, 6.5), (0, 0, 1, 2.0), (0, 0, 0, 0.0)]
    state = play(latents, plan)
    assert state["lag"][0, :3].tolist() == pytest.approx([0.5, 3, 10])
    logit = (
        (0.7 - 0.5)
        + (0.3 * math.log(1) + 0.6 * math.log(2) + 0.9 * math.log(3))  # right: 0, 1, 2
        + (-0.1 * math.log(2) + 0.2 * math.log(3) + 0.4 * math.log(4))  # all: 1, 2, 3
    )
    assert p_correct(latents, plan) == pytest.approx([sigmoid(logit), sigmoid(0.7), sigmoid(0.7)])


def test_a_review_leaves_a_window_after_its_last_day():
    latents = student(correct_weight=[1.0, 0.0, 0.0])
    assert p_correct(latents, [(1, 0, 1, 0.5)])[1] == pytest.approx(2 / 3)  # 1 day ago: inside
    assert p_correct(latents, [(1, 0, 1, 0.75)])[1] == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, difficulty = random_plan(seed), (0.5, -0.2, 1.1)
    right_weight, weight = (0.5, 0.55, 0.64), (0.33, 0.1, -0.12)
    latents = student(
        difficulty=difficulty,
        correct_weight=right_weight,
        attempt_weight=weight,
        ability=-0.4,
        **STYLE,
    )
    expected = []
    for item in range(3):
        logit = -0.4 - difficulty[item]
        for w, window in enumerate((1, 7, math.inf)):
            inside = [review for review in past(plan, item) if review[0] <= window]
            logit += weight[w] * math.log(1 + sum(style for _, style, _ in inside))
            right = sum(style for _, style, correct in inside if correct)
            logit += right_weight[w] * math.log(1 + right)
        expected.append(sigmoid(logit))
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


def test_a_lesson_is_no_longer_than_the_history():
    assert MODEL.max_lesson_steps == 12


@pytest.mark.parametrize("windows", [(1.0, 1.0), (7.0, 1.0), (0.0, 1.0)])
def test_windows_must_increase(windows):
    with pytest.raises(ValueError, match="`windows_days` must increase from above 0, got"):
        DASH(windows_days=windows)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), one=st.floats(0, 50), two=st.floats(0, 50))
def test_waiting_twice_is_waiting_once(seed, one, two):
    latents = student(**STYLE)
    state = play(latents, random_plan(seed, 4))
    twice = MODEL.wait(latents, MODEL.wait(latents, state, days(one), NONE), days(two), NONE)
    once = MODEL.wait(latents, state, days(one + two), NONE)
    for name in state:
        torch.testing.assert_close(twice[name], once[name])
