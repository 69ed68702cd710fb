"""ACT-R: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan, sigmoid
from tutor_envs.students.actr import ACTR

MODEL = ACTR(
    n_skills=3, modalities=("read", "say"), step_s=43200, interference=1 / 86400, max_reviews=12
)
DAYS = MODEL.step_days
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_activation_by_hand():
    latents = student(decay=0.5, decay_slope=0.25, initial_lag=4.0, threshold=-1.0, ability=0.5)
    # a second counts 1 / 86400, so T is in days: strength 4**-.5 = 1/2 before the review
    state = MODEL.begin_lesson(latents, NONE)
    assert MODEL.strength(latents, state)[0].tolist() == pytest.approx([0.5] * 3)
    # so the review's trace decays with .25 * 1/2 + .5 = .625; 16 days later
    strength = 20**-0.5 + 16**-0.625
    logit = (math.log(strength) + 1 + 0.266 * 0.5) / 0.2549
    assert p_correct(latents, [(0, 0, 0, 15.5)])[0] == pytest.approx(sigmoid(logit))


def test_a_study_on_top_of_a_strong_memory_fades_faster():
    latents = student(initial_lag=20.0)
    massed = play(latents, [(1, 0, 1, 20 - DAYS), (0, 0, 1, 0.0), (0, 0, 1, 0.0)])
    spaced = play(latents, [(0, 0, 1, 20.0), (0, 0, 1, 0.0)])
    # each newest trace, of a second review half a day or twenty days after the first
    assert massed["decay"][0, 0] > spaced["decay"][0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, thresholds, lags = random_plan(seed), (-1.0, -0.6, -0.8), (1.0, 2.5, 0.1)
    a, c = 0.18, 0.22
    latents = student(
        threshold=thresholds, decay=a, decay_slope=c, initial_lag=lags, ability=-0.4, **STYLE
    )
    total = len(plan) * DAYS + sum(gap for *_, gap in plan)
    expected = []
    for item in range(3):
        traces = [(-lags[item], 1.0, a)]  # time, style, decay; the first exposure

        def strength(now, traces=traces):
            return sum(style * max(1.0, now - time) ** -d for time, style, d in traces)

        for lag, style, _ in past(plan, item):
            traces.append((total - lag, style, c * strength(total - lag) + a))
        logit = (math.log(strength(total)) - thresholds[item] - 0.266 * 0.4) / 0.2549
        expected.append(sigmoid(logit))
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


def test_the_default_scale_of_time():
    model = ACTR(n_skills=1, modalities=("read",))
    latents = {
        name: torch.full((1, *spec.shape), spec.default, dtype=torch.float64)
        for name, spec in model.latent_specs.items()
    }
    strength = model.strength(latents, model.begin_lesson(latents, NONE))
    # one day is 86400 * .025 = 2160 s of the model's time
    assert strength.item() == pytest.approx(2160**-0.177)


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
