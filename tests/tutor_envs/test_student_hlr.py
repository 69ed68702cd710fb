"""Half-life regression: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan
from tutor_envs.students.hlr import HLR

MODEL = HLR(n_skills=3, modalities=("read", "say"), step_s=43200)
DAYS = MODEL.step_days
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_half_life_by_hand():
    latents = student(bias=[1.0, 0.0, 3.0], right_weight=2.0, wrong_weight=-1.0)
    counts = {"right": [[4.0, 0.0, 9.0]], "wrong": [[1.0, 4.0, 0.0]], "lag": [[8.0, 1.0, 0.0]]}
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in counts.items()}
    # log2 h = 1 + 2 * 2 - 1 = 4; 0 + 0 - 2 = -2; 3 + 2 * 3 = 9, but no longer than 274 days
    assert MODEL.half_life(latents, state)[0].tolist() == pytest.approx([16, 0.25, 274])
    recall = MODEL.p_correct(latents, state)[0].tolist()
    assert recall == pytest.approx([2**-0.5, 2**-4, 1])


def test_half_lives_are_no_shorter_than_fifteen_minutes():
    latents = student(bias=-20.0)
    half_life = MODEL.half_life(latents, MODEL.begin_lesson(latents, NONE))
    assert half_life[0].tolist() == pytest.approx([15 / (24 * 60)] * 3)


def test_ability_lengthens_the_half_life():
    latents = student(bias=1.0, ability=0.5, initial_lag=3.0)
    assert p_correct(latents, [])[0] == pytest.approx(2 ** (-3 / 2 ** (1 + 0.814 * 0.5)))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, biases, lags = random_plan(seed), (2.0, 0.5, -1.0), (1.0, 2.5, 0.0)
    latents = student(
        bias=biases, initial_lag=lags, right_weight=1.5, wrong_weight=-0.6, ability=-0.4, **STYLE
    )
    total = len(plan) * DAYS + sum(gap for *_, gap in plan)
    expected = []
    for item in range(3):
        reviews = past(plan, item)
        lag = min((review[0] for review in reviews), default=lags[item] + total)
        right = sum(style for _, style, correct in reviews if correct)
        wrong = sum(style for _, style, correct in reviews if not correct)
        power = 1.5 * math.sqrt(right) - 0.6 * math.sqrt(wrong) + biases[item] - 0.814 * 0.4
        expected.append(2 ** (-lag / min(max(2**power, 15 / 1440), 274)))
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(right=st.integers(0, 4), wrong=st.integers(0, 4), d=st.floats(-3, 3), lag=st.floats(0, 500))
def test_the_natural_form_of_deeptutor_is_a_rescaling(right, wrong, d, lag):
    model = HLR(n_skills=3, count_power=1, min_half_life=0, max_half_life=math.inf)
    latents = student(
        right_weight=2 / math.log(2),
        wrong_weight=1 / math.log(2),
        bias=d / math.log(2) + math.log2(math.log(2)),
    )
    counts = {"right": right, "wrong": wrong, "lag": lag}
    state = {name: torch.full((1, 3), value, dtype=torch.float64) for name, value in counts.items()}
    # their features are attempts, right, wrong and the item, with weights 1, 1, 0 and d
    natural = math.exp(-lag / math.exp((right + wrong) + right + d))
    assert model.p_correct(latents, state)[0, 0].item() == pytest.approx(natural, abs=1e-9)


def test_clips_must_be_in_order():
    with pytest.raises(ValueError, match=r"`min_half_life` must be < `max_half_life`, got 5"):
        HLR(min_half_life=5, max_half_life=4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), one=st.floats(0, 50), two=st.floats(0, 50))
def test_waiting_twice_is_waiting_once(seed, one, two):
    latents = student(**STYLE)
    state = play(latents, random_plan(seed, 4))
    twice = MODEL.wait(latents, MODEL.wait(latents, state, days(one), NONE), days(two), NONE)
    once = MODEL.wait(latents, state, days(one + two), NONE)
    for name in state:
        torch.testing.assert_close(twice[name], once[name])
