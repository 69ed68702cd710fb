"""DAS3H: numbers worked by hand, and an independent scalar implementation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from review_plans import NONE, STYLE, Reviews, days, random_plan, sigmoid
from tutor_envs.students.das3h import DAS3H

MODEL = DAS3H(
    n_skills=3,
    modalities=("read", "say"),
    step_s=43200,
    concepts_of_items=((0,), (0,), (0, 1)),
    windows_days=(1, 7),
    max_reviews=12,
)
REVIEWS = Reviews(MODEL)
student, play, p_correct, past = REVIEWS.student, REVIEWS.play, REVIEWS.p_correct, REVIEWS.past


def test_a_review_helps_the_items_that_share_a_concept():
    latents = student(
        item_easiness=[0.1, 0.2, 0.3],
        concept_easiness=[-1.0, -0.5],
        correct_weight=[[0.3, 0.6], [0.9, 1.2]],
        attempt_weight=[[0.1, 0.2], [0.4, 0.5]],
        rate=1.0,
        decay=0.5,
        ability=0.7,
    )
    # right on item 0, three days ago: concept 0 has one review and success within 7 days, not 1
    plan = [(0, 0, 1, 2.5)]
    gained = (0.6 + 0.2) * math.log(2)
    kept = [
        sigmoid(0.7 + 0.1 - 1 + gained),
        sigmoid(0.7 + 0.2 - 1 + gained),
        sigmoid(0.7 + 0.3 - 1.5 + gained),
    ]
    # what the review of item 0 showed: (1 + 1 * 3)**-.5 = 1/2
    assert p_correct(latents, plan) == pytest.approx([kept[0] + (1 - kept[0]) / 2, *kept[1:]])


def test_an_item_never_reviewed_has_nothing_fresh():
    latents = student(concept_easiness=[0.4, -0.5])
    assert p_correct(latents, []) == pytest.approx([sigmoid(0.4), sigmoid(0.4), sigmoid(-0.1)])


def test_without_a_list_each_item_is_a_concept():
    model = DAS3H(n_skills=3)
    assert model.n_concepts == 3
    assert model.latent_specs["correct_weight"].shape == (3, 5)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_scalar_implementation(seed):
    plan, items, concepts = random_plan(seed), (0.5, -0.2, 1.1), (-1.0, 0.3)
    right_weight, weight = ((0.2, 0.3), (0.4, 0.1)), ((0.1, -0.1), (0.05, 0.2))
    latents = student(
        item_easiness=items,
        concept_easiness=concepts,
        correct_weight=right_weight,
        attempt_weight=weight,
        rate=0.4,
        decay=0.9,
        ability=-0.4,
        **STYLE,
    )
    members = {0: (0, 1, 2), 1: (2,)}
    expected = []
    for item, exercised in enumerate(MODEL.concepts_of_items):
        logit = -0.4 + items[item]
        for concept in exercised:
            logit += concepts[concept]
            reviews = [review for member in members[concept] for review in past(plan, member)]
            for w, window in enumerate((1, 7)):
                inside = [review for review in reviews if review[0] <= window]
                right = sum(style for _, style, correct in inside if correct)
                logit += right_weight[concept][w] * math.log(1 + right)
                logit += weight[concept][w] * math.log(1 + sum(style for _, style, _ in inside))
        kept = sigmoid(logit)
        lags = [lag for lag, _, _ in past(plan, item)]
        shown = (1 + 0.4 * min(lags)) ** -0.9 if lags else 0.0
        expected.append(kept + (1 - kept) * shown)
    assert p_correct(latents, plan) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"n_skills": 2, "concepts_of_items": [[0]]},
            "`concepts_of_items` must have 2 lists, got 1",
        ),
        ({"n_skills": 2, "concepts_of_items": [[0], [2]]}, "without a gap"),
        ({"n_skills": 2, "concepts_of_items": [[0], []]}, "at least one for each item"),
        ({"windows_days": (7, 1)}, "`windows_days` must increase from above 0"),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        DAS3H(**config)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), one=st.floats(0, 50), two=st.floats(0, 50))
def test_waiting_twice_is_waiting_once(seed, one, two):
    latents = student(**STYLE)
    state = play(latents, random_plan(seed, 4))
    twice = MODEL.wait(latents, MODEL.wait(latents, state, days(one), NONE), days(two), NONE)
    once = MODEL.wait(latents, state, days(one + two), NONE)
    for name in state:
        torch.testing.assert_close(twice[name], once[name])
