"""FSRS-6: against the package ``fsrs``, and numbers worked by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.students.fsrs import (
    DEFAULT_WEIGHTS,
    FSRS,
    LOWER_WEIGHTS,
    UPPER_WEIGHTS,
    first_memory,
    next_memory,
    retrievability,
)

MODEL = FSRS(n_skills=2, modalities=("read", "say"), step_s=86400.0, delay_days=3)
W = DEFAULT_WEIGHTS


def student(model: FSRS = MODEL, n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in model.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in model.latent_specs.items()
    }


def start(latents, model: FSRS = MODEL):
    return model.begin_lesson(latents, torch.empty(len(latents["ability"]), 0))


def answer(state, response: int, action: int = 0, latents=None, model: FSRS = MODEL):
    latents = student(model) if latents is None else latents
    return model.update(latents, state, torch.tensor([action]), torch.tensor([response]))


weights = st.tuples(
    *(
        st.one_of(st.just(d), st.floats(low, high))
        for d, low, high in zip(W, LOWER_WEIGHTS, UPPER_WEIGHTS, strict=True)
    )
)
# seconds since the last review: within the day, and whole days up to a year
gaps = st.one_of(st.integers(0, 86399), st.integers(1, 365).map(lambda d: 86400 * d))
reviews = st.lists(st.tuples(st.integers(1, 4), gaps), min_size=1, max_size=12)


@settings(max_examples=15, deadline=None)
@given(history=reviews, w=weights)
@pytest.mark.parametrize("default", [True, False])
def test_it_agrees_with_the_package_fsrs(history, w, default):
    """Stability, difficulty and recall after every review, for every rating.

    The package rounds gaps down to whole days, so gaps here are whole days or below one day.
    """
    fsrs = pytest.importorskip("fsrs")
    w = W if default else w
    scheduler = fsrs.Scheduler(w, learning_steps=(), relearning_steps=(), enable_fuzzing=False)
    card, now = fsrs.Card(), datetime(2025, 1, 1, tzinfo=UTC)
    tensor = torch.tensor(w, dtype=torch.float64)
    memory = None
    for rating, gap_s in history:
        now += timedelta(seconds=gap_s)
        graded = torch.tensor(rating)
        if memory is None:
            memory = first_memory(tensor, graded)
        else:
            days = torch.tensor(gap_s / 86400, dtype=torch.float64)
            if gap_s >= 86400:
                recall = scheduler.get_card_retrievability(card, now)
                assert retrievability(tensor, memory[0], days).item() == pytest.approx(
                    recall, rel=1e-9
                )
            memory = next_memory(tensor, *memory, graded, days)
        card, _ = scheduler.review_card(card, fsrs.Rating(rating), now)
        assert memory[0].item() == pytest.approx(card.stability, rel=1e-9)
        assert memory[1].item() == pytest.approx(card.difficulty, rel=1e-9)


def test_the_defaults_and_bounds_are_the_package_s():
    scheduler = pytest.importorskip("fsrs.scheduler")
    assert scheduler.DEFAULT_PARAMETERS == DEFAULT_WEIGHTS
    assert scheduler.LOWER_BOUNDS_PARAMETERS == LOWER_WEIGHTS
    assert scheduler.UPPER_BOUNDS_PARAMETERS == UPPER_WEIGHTS


def test_recall_is_ninety_percent_after_one_stability():
    w = torch.tensor(W, dtype=torch.float64)
    s = torch.tensor([0.5, 7.0, 300.0], dtype=torch.float64)
    assert retrievability(w, s, s).tolist() == pytest.approx([0.9] * 3)
    assert retrievability(w, s, 0 * s).tolist() == [1, 1, 1]


def test_a_first_exposure_is_a_guess_and_sets_the_memory():
    latents = student(p_known=0.3)
    state = start(latents)
    assert MODEL.predict(latents, state, torch.tensor([0]))[0].tolist() == pytest.approx([0.7, 0.3])
    right, wrong = (answer(state, response) for response in (1, 0))
    assert right["stability"][0, 0].item() == pytest.approx(W[2])
    assert wrong["stability"][0, 0].item() == pytest.approx(W[0])
    # D0(3) = w4 - e^(2 w5) + 1, D0(1) = w4 - 1 + 1
    assert right["difficulty"][0, 0].item() == pytest.approx(W[4] - math.exp(2 * W[5]) + 1)
    assert wrong["difficulty"][0, 0].item() == pytest.approx(W[4])
    assert right["days"][0].tolist() == [1, 1]  # a step of one day has passed
    assert right["seen"][0].tolist() == [True, False]


def test_reviews_on_the_same_day_and_later_by_hand():
    later = answer(answer(start(student()), 1), 1)
    s, d = W[2], W[4] - math.exp(2 * W[5]) + 1
    r = (1 + (0.9 ** (-1 / W[20]) - 1) / s) ** -W[20]  # one day later
    grown = s * (1 + math.exp(W[8]) * (11 - d) * s ** -W[9] * (math.exp(W[10] * (1 - r)) - 1))
    assert later["stability"][0, 0].item() == pytest.approx(grown)
    quick = FSRS(n_skills=2, modalities=("read", "say"), step_s=3600)
    soon = answer(answer(start(student()), 1, model=quick), 1, model=quick)
    factor = max(1, math.exp(W[17] * W[18]) * s ** -W[19])
    assert soon["stability"][0, 0].item() == pytest.approx(s * factor)


def test_style_multiplies_the_log_growth_of_a_success_only():
    plain, styled = student(), student(style_strength=0.5, responsiveness=[0.8, 0.2])
    state = answer(start(plain), 1)
    s = state["stability"][0, 0].item()
    grown = answer(state, 1)["stability"][0, 0].item()
    for action, factor in ((0, 1.3), (1, 0.7)):  # 1 + .5 (2 * .8 - 1), 1 + .5 (2 * .2 - 1)
        after = answer(state, 1, action, styled)["stability"][0, 0].item()
        assert math.log(after / s) == pytest.approx(factor * math.log(grown / s))
        failed = [answer(state, 0, action, who)["stability"] for who in (plain, styled)]
        torch.testing.assert_close(*failed)


def test_ability_scales_the_first_stability_and_the_growth():
    model = FSRS(n_skills=1, step_s=86400.0, ability_on_stability=0.5, ability_on_growth=0.2)
    latents = student(model, ability=2.0)
    w = model.weights(latents)[0].tolist()
    assert w[:4] == pytest.approx([x * math.e for x in W[:4]])
    assert w[8] == pytest.approx(W[8] + 0.4)
    assert [*w[4:8], *w[9:]] == pytest.approx([*W[4:8], *W[9:]])
    after = answer(start(latents, model), 1, latents=latents, model=model)
    assert after["stability"].item() == pytest.approx(W[2] * math.e)


def test_the_post_test_comes_after_the_delay_and_the_wait():
    latents = student(p_known=0.2)
    state = answer(start(latents), 1)  # card 0 seen one day ago, S = w2
    f = 0.9 ** (-1 / W[20]) - 1
    expected = (1 + f * 4 / W[2]) ** -W[20]  # delay of 3 days
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx([expected, 0.2])
    assert MODEL.post_test(latents, state).item() == pytest.approx((expected + 0.2) / 2)
    waited = MODEL.wait(latents, state, torch.tensor([2.5]), torch.empty(1, 0))
    recall = MODEL.predict(latents, waited, torch.tensor([0]))[0, 1].item()
    assert recall == pytest.approx((1 + f * 3.5 / W[2]) ** -W[20])


def test_stability_stays_finite():
    model = FSRS(n_skills=1, step_s=86400.0 * 365)
    latents = student(
        model, w8=4.5, w9=0.0, w10=3.5, style_strength=1.0, responsiveness=[1, 0, 0], ability=3.0
    )
    latents = {name: value.float() for name, value in latents.items()}
    state = start(latents, model)
    for _ in range(8):
        state = answer(state, 1, latents=latents, model=model)
    assert state["stability"].item() == 36500
