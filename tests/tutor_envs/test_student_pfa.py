"""Performance factors analysis: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.student import StudentModel
from tutor_envs.students.pfa import PFA

PLAIN = PFA(n_skills=2, modalities=("text", "video"), ability_on_start=2.0)
LOGGED = PFA(n_skills=2, modalities=("text", "video"), ability_on_start=2.0, log_counts=True)


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in PLAIN.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in PLAIN.latent_specs.items()
    }


def taught(model, latents, actions, responses):
    belief = model.begin_belief(latents)
    n = len(latents["ability"])
    for action, response in zip(actions, responses, strict=True):
        belief = model.update(latents, belief, torch.full((n,), action), torch.full((n,), response))
    return belief


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("model", "f"), [(PLAIN, float), (LOGGED, math.log1p)])
def test_success_and_failure_count_by_their_slopes(model, f):
    latents = student(
        ability=-0.25, easiness=[0.5, -1.0], success_slope=[0.6, 0.4], failure_slope=[0.2, -0.1],
        log_speed=math.log(1.5), style_strength=1.0, responsiveness=[0.75, 0.25],
    )  # fmt: skip
    # skill 0: right by text (1.5), wrong by video (.5); skill 1: wrong by text (1.5)
    state = taught(model, latents, [0, 1, 2], [1, 0, 0])
    assert state["n_correct"][0].tolist() == pytest.approx([1.5, 0])
    assert state["n_wrong"][0].tolist() == pytest.approx([0.5, 1.5])
    expected = [
        sigmoid(-0.5 + 0.5 + 1.5 * (0.6 * f(1.5) + 0.2 * f(0.5))),
        sigmoid(-0.5 - 1.0 + 1.5 * (-0.1 * f(1.5))),
    ]
    assert model.mastery(latents, state)[0].tolist() == pytest.approx(expected)
    p = model.predict(latents, state, torch.tensor([1]))[0, 1]
    assert p.item() == pytest.approx(expected[0])


def test_a_right_answer_teaches_more_than_a_wrong_one():
    latents = student()
    right, wrong = (taught(PLAIN, latents, [0], [r]) for r in (1, 0))
    before = PLAIN.post_test(latents, PLAIN.begin_belief(latents))
    gains = [(PLAIN.post_test(latents, s) - before).item() for s in (right, wrong)]
    assert gains[0] > gains[1] > 0


@pytest.mark.parametrize("model", [PLAIN, LOGGED], ids=["plain", "logged"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_gains_agree_with_enumeration(model, seed):
    luck = torch.Generator().manual_seed(seed)
    n = 6
    latents = student(
        n,
        ability=torch.randn(n, generator=luck, dtype=torch.float64),
        easiness=torch.randn(n, 2, generator=luck, dtype=torch.float64),
        failure_slope=torch.randn(n, 2, generator=luck, dtype=torch.float64) / 5,
        style_strength=0.8,
        responsiveness=[0.7, 0.3],
    )
    belief = taught(model, latents, [0, 3, 3], [1, 0, 1])
    gains = model.belief_gains(latents, belief)
    for action in range(model.n_actions):
        enumerated = StudentModel.belief_gain(model, latents, belief, torch.full((n,), action))
        torch.testing.assert_close(gains[:, action], enumerated)


@settings(max_examples=15, deadline=None)
@given(ability=st.floats(-4, 4), more=st.floats(0, 2))
def test_more_ability_never_lowers_an_answer(ability, more):
    low, high = student(ability=ability), student(ability=ability + more)
    p, better = (
        LOGGED.p_correct(who, taught(LOGGED, who, [0, 2, 2], [1, 0, 1])) for who in (low, high)
    )
    assert (better >= p - 1e-12).all()
