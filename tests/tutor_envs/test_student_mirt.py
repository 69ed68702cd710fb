"""Multidimensional IRT with growth: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.student import StudentModel
from tutor_envs.students.mirt import MIRT

ITEMS = {
    "n_skills": 3,
    "q_matrix": ((1.5, 0.0), (0.0, 0.8), (1.0, 0.5)),
    "difficulties": (0.5, -0.5, 1.0),
    "modalities": ("text", "video"),
}
BOTH = {True: MIRT(**ITEMS), False: MIRT(**ITEMS, compensatory=False)}
each_form = pytest.mark.parametrize("model", BOTH.values(), ids=["compensatory", "conjunctive"])


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    specs = BOTH[True].latent_specs
    values = {name: spec.default for name, spec in specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in specs.items()
    }


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(compensatory: bool) -> list[float]:
    """P(correct) without guessing for theta = (1, -.2)."""
    if compensatory:
        mixed = sigmoid(1.0 * 1 + 0.5 * -0.2 - 1.0)
        return [sigmoid(1.5 * 1 - 0.5), sigmoid(0.8 * -0.2 + 0.5), mixed]
    mixed = sigmoid(1.0 * (1 - 1)) * sigmoid(0.5 * (-0.2 - 1))
    return [sigmoid(1.5 * (1 - 0.5)), sigmoid(0.8 * (-0.2 + 0.5)), mixed]


@pytest.mark.parametrize("compensatory", [True, False])
def test_answers_by_hand(compensatory):
    model = BOTH[compensatory]
    latents = student(ability=0.4, specific=[0.6, -0.6], p_guess=0.2)
    state = model.begin_lesson(latents, torch.empty(1, 0))
    assert state["theta"][0].tolist() == pytest.approx([1.0, -0.2])
    expected = [0.2 + 0.8 * p for p in by_hand(compensatory)]
    assert model.mastery(latents, state)[0].tolist() == pytest.approx(expected)
    for item in range(3):
        p = model.predict(latents, state, torch.tensor([2 * item + 1]))[0, 1]
        assert p.item() == pytest.approx(expected[item])


@pytest.mark.parametrize("compensatory", [True, False])
def test_growth_is_shared_by_the_loadings(compensatory):
    model = BOTH[compensatory]
    latents = student(growth=0.6, style_strength=1.0, responsiveness=[0.75, 0.25])
    state = {"theta": torch.tensor([[1.0, -0.2]], dtype=torch.float64)}
    after = model.update(latents, state, torch.tensor([4]), torch.tensor([0]))["theta"]
    p = by_hand(compensatory)[2]  # the mixed item by text, style 1.5
    step = 0.6 * 1.5 * 4 * p * (1 - p)
    assert after[0].tolist() == pytest.approx([1.0 + step * 2 / 3, -0.2 + step / 3])


def test_a_strong_trait_makes_up_for_a_weak_one_only_where_it_may():
    state = {"theta": torch.tensor([[8.0, -4.0]], dtype=torch.float64)}
    mixed = {form: model.mastery(student(), state)[0, 2] for form, model in BOTH.items()}
    assert mixed[True] > 0.95
    assert mixed[False] < 0.1


@each_form
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_gains_agree_with_enumeration(model, seed):
    luck = torch.Generator().manual_seed(seed)
    n = 6
    latents = student(
        n,
        ability=torch.randn(n, generator=luck, dtype=torch.float64),
        specific=torch.randn(n, 2, generator=luck, dtype=torch.float64),
        p_guess=torch.rand(n, generator=luck, dtype=torch.float64) / 2,
        style_strength=0.8,
        responsiveness=[0.7, 0.3],
    )
    belief = model.begin_belief(latents)
    belief = model.update(latents, belief, torch.arange(n), torch.ones(n).long())
    gains = model.belief_gains(latents, belief)
    for action in range(model.n_actions):
        action_each = torch.full((n,), action)
        enumerated = StudentModel.belief_gain(model, latents, belief, action_each)
        torch.testing.assert_close(gains[:, action], enumerated)
        torch.testing.assert_close(model.belief_gain(latents, belief, action_each), enumerated)


@each_form
@settings(max_examples=10, deadline=None)
@given(ability=st.floats(-4, 4), more=st.floats(0, 3))
def test_more_of_a_trait_never_lowers_an_answer(model, ability, more):
    low, abler, more_specific = (
        model.p_correct(who, model.begin_belief(who))
        for who in (
            student(ability=ability),
            student(ability=ability + more),
            student(ability=ability, specific=[0.0, more]),
        )
    )
    assert (abler >= low - 1e-12).all()
    assert (more_specific >= low - 1e-12).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_skills": 4}, "`q_matrix` must have a row for each of `n_skills` = 4 items, got 3"),
        ({"difficulties": (0.0,)}, "`difficulties` must have a row .* 3 items, got 1"),
        ({"q_matrix": ((1.0,), (0.0,), (1.0,))}, r"one of them > 0, got \[0.0\] in row 1"),
        ({"q_matrix": ((1.0, 0.0), (1.0,), (1.0, 0.0))}, "must have 2 loadings >= 0"),
        ({"q_matrix": ((1.0, 0.0), (1.0, -1.0), (1.0, 0.0))}, "must have 2 loadings >= 0"),
    ],
)
def test_a_wrong_q_matrix_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        MIRT(**ITEMS | change)
