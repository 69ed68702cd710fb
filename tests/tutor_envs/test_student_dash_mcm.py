"""DASH[MCM]: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan, sigmoid
from tutor_envs.students.dash_mcm import DASHMCM

MODEL = DASHMCM(
    n_skills=3,
    modalities=("read", "say"),
    step_s=43200,
    tau_days=(1 / math.log(2), 2 / math.log(2)),
)
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_counts_halve_every_day_and_every_other_day():
    latents = student(
        difficulty=[0.5, 0.0, 0.0], correct_weight=[0.3, 0.6], attempt_weight=[-0.1, 0.2], ability=1
    )
    # item 0: right 2 days ago, wrong 1 day ago
    plan = [(0, 0, 1, 0.5), (0, 0, 0, 0.5)]
    # right: 1/4 and 1/2; all: 1/4 + 1/2 and 1/2 + 2**-.5
    logit = (
        (1 - 0.5)
        + (0.3 * math.log(1.25) + 0.6 * math.log(1.5))
        + (-0.1 * math.log(1.75) + 0.2 * math.log(1.5 + 2**-0.5))
    )
    assert p_correct(latents, plan) == pytest.approx([sigmoid(logit), sigmoid(1), sigmoid(1)])


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, difficulty = random_plan(seed), (0.5, -0.2, 1.1)
    right_weight, weight = (0.8, 0.65), (0.28, -0.15)
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
        for w, tau in enumerate(MODEL.tau_days):
            faded = [(s * math.exp(-lag / tau), right) for lag, s, right in past(plan, item)]
            logit += weight[w] * math.log(1 + sum(amount for amount, _ in faded))
            logit += right_weight[w] * math.log(1 + sum(amount for amount, right in faded if right))
        expected.append(sigmoid(logit))
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


def test_time_constants_are_positive():
    with pytest.raises(ValueError, match=r"`tau_days` must be > 0, got \[1.0, 0.0\]"):
        DASHMCM(tau_days=(1.0, 0.0))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), one=st.floats(0, 50), two=st.floats(0, 50))
def test_waiting_twice_is_waiting_once(seed, one, two):
    latents = student(**STYLE)
    state = play(latents, random_plan(seed, 4))
    twice = MODEL.wait(latents, MODEL.wait(latents, state, days(one), NONE), days(two), NONE)
    once = MODEL.wait(latents, state, days(one + two), NONE)
    for name in state:
        torch.testing.assert_close(twice[name], once[name])
