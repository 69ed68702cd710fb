"""The Elo student: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.student import StudentModel
from tutor_envs.students.elo import Elo

ITEMS = {
    "n_skills": 3,
    "item_ratings": (-1.0, 1.0, 0.5),
    "skill_of_item": (0, 0, 1),
    "modalities": ("text", "video"),
    "step_decay": 0.5,
}
MODEL = Elo(**ITEMS)


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in MODEL.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in MODEL.latent_specs.items()
    }


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_items_of_a_skill_share_its_rating():
    latents = student(ability=0.4, skill_offset=[0.1, -0.3])
    state = MODEL.begin_lesson(latents, torch.empty(1, 0))
    assert state["theta"][0].tolist() == pytest.approx([0.5, 0.1])
    expected = [sigmoid(1.5), sigmoid(-0.5), sigmoid(-0.4)]
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx(expected)
    assert MODEL.post_test(latents, state).item() == pytest.approx(sum(expected) / 3)


def test_every_answer_moves_the_rating_by_its_surprise():
    latents = student(
        ability=0.2, k_correct=0.9, k_wrong=0.4, style_strength=1.0, responsiveness=[0.75, 0.25]
    )
    state = MODEL.begin_belief(latents)
    theta = 0.2
    # item 1 by text (style 1.5): right; item 0 by video (.5): wrong, at 1 / (1 + .5 * 1)
    state = MODEL.update(latents, state, torch.tensor([2]), torch.tensor([1]))
    theta += 1.5 * 0.9 * (1 - sigmoid(theta - 1))
    state = MODEL.update(latents, state, torch.tensor([1]), torch.tensor([0]))
    theta -= 0.5 * 0.4 * sigmoid(theta + 1) / 1.5
    assert state["theta"][0].tolist() == pytest.approx([theta, 0.2])
    assert state["n_answers"][0].tolist() == [2, 0]


@settings(max_examples=15, deadline=None)
@given(theta=st.floats(-4, 4), k=st.floats(0, 3), item=st.integers(0, 2))
def test_equal_steps_move_nobody_on_average(theta, k, item):
    latents = student(ability=theta, k_correct=k, k_wrong=k)
    belief, action = MODEL.begin_belief(latents), torch.tensor([2 * item])
    p = MODEL.predict(latents, belief, action)[0]
    right, wrong = (
        MODEL.update(latents, belief, action, torch.tensor([r]))["theta"][0] for r in (1, 0)
    )
    assert (p[1] * right + p[0] * wrong).tolist() == pytest.approx([theta, theta])


def test_the_mean_step_is_the_drift_of_learning():
    latents = student(ability=0.3, k_correct=1.0, k_wrong=0.25)
    belief, action = MODEL.begin_belief(latents), torch.tensor([4])
    p = sigmoid(0.3 - 0.5)
    right, wrong = (
        MODEL.update(latents, belief, action, torch.tensor([r]))["theta"][0, 1] for r in (1, 0)
    )
    step = p * right + (1 - p) * wrong - 0.3
    assert step.item() == pytest.approx(0.75 * p * (1 - p))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_gains_agree_with_enumeration(seed):
    luck = torch.Generator().manual_seed(seed)
    n = 6
    latents = student(
        n,
        ability=torch.randn(n, generator=luck, dtype=torch.float64),
        skill_offset=torch.randn(n, 2, generator=luck, dtype=torch.float64),
        style_strength=0.8,
        responsiveness=[0.7, 0.3],
    )
    belief = MODEL.begin_belief(latents)
    belief = MODEL.update(latents, belief, torch.arange(n), torch.arange(n) % 2)
    gains = MODEL.belief_gains(latents, belief)
    for action in range(MODEL.n_actions):
        enumerated = StudentModel.belief_gain(MODEL, latents, belief, torch.full((n,), action))
        torch.testing.assert_close(gains[:, action], enumerated)


@settings(max_examples=10, deadline=None)
@given(ability=st.floats(-4, 4), more=st.floats(0, 3))
def test_more_ability_never_lowers_an_answer(ability, more):
    low, high = (
        MODEL.p_correct(who, MODEL.begin_belief(who))
        for who in (student(ability=ability), student(ability=ability + more))
    )
    assert (high >= low).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_skills": 2}, "`item_ratings` must have a value for each of `n_skills` = 2 items"),
        ({"skill_of_item": (0, 1)}, "`skill_of_item` must have a value .* got 2"),
        ({"skill_of_item": (0, 0, 2)}, r"without a gap, got \[0, 0, 2\]"),
    ],
)
def test_wrong_items_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Elo(**ITEMS | change)
