"""Additive factors model: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.student import StudentModel
from tutor_envs.students.afm import AFM

MODEL = AFM(n_skills=2, modalities=("text", "video"), ability_on_start=1.5)


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in MODEL.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in MODEL.latent_specs.items()
    }


def taught(latents, actions, responses):
    belief = MODEL.begin_belief(latents)
    n = len(latents["ability"])
    for action, response in zip(actions, responses, strict=True):
        belief = MODEL.update(latents, belief, torch.full((n,), action), torch.full((n,), response))
    return belief


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_logit_rises_by_a_step_per_practice():
    latents = student(
        ability=0.4, easiness=[-1.0, 0.5], slope=[0.3, 0.2], log_speed=math.log(2),
        style_strength=0.5, responsiveness=[0.8, 0.2],
    )  # fmt: skip
    # text counts 1 + .5 * (1.6 - 1) = 1.3 practices, video .7
    state = taught(latents, [0, 1, 0, 3], [0, 1, 1, 0])
    assert state["n_practised"][0].tolist() == pytest.approx([3.3, 0.7])
    expected = [sigmoid(0.6 - 1.0 + 0.6 * 3.3), sigmoid(0.6 + 0.5 + 0.4 * 0.7)]
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx(expected)
    assert MODEL.post_test(latents, state).item() == pytest.approx(sum(expected) / 2)
    p = MODEL.predict(latents, state, torch.tensor([2]))[0]
    assert p.tolist() == pytest.approx([1 - expected[1], expected[1]])


def test_the_answer_teaches_nothing():
    latents = student()
    right, wrong = (taught(latents, [0, 2, 1], [r, r, r]) for r in (1, 0))
    assert torch.equal(right["n_practised"], wrong["n_practised"])


def test_waiting_changes_nothing():
    latents = student()
    state = taught(latents, [0, 2], [1, 0])
    later = MODEL.belief_wait(latents, state, torch.tensor([1000.0], dtype=torch.float64))
    assert torch.equal(later["n_practised"], state["n_practised"])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_gains_agree_with_enumeration(seed):
    luck = torch.Generator().manual_seed(seed)
    n = 6
    latents = student(
        n,
        ability=torch.randn(n, generator=luck, dtype=torch.float64),
        easiness=torch.randn(n, 2, generator=luck, dtype=torch.float64),
        slope=torch.rand(n, 2, generator=luck, dtype=torch.float64),
        style_strength=0.8,
        responsiveness=[0.7, 0.3],
    )
    belief = taught(latents, [0, 3, 3], [1, 0, 1])
    gains = MODEL.belief_gains(latents, belief)
    for action in range(MODEL.n_actions):
        action_each = torch.full((n,), action)
        enumerated = StudentModel.belief_gain(MODEL, latents, belief, action_each)
        torch.testing.assert_close(gains[:, action], enumerated)
        torch.testing.assert_close(MODEL.belief_gain(latents, belief, action_each), enumerated)


@settings(max_examples=15, deadline=None)
@given(ability=st.floats(-4, 4), more=st.floats(0, 2), speed=st.floats(-2, 2))
def test_ability_and_speed_never_lower_an_answer(ability, more, speed):
    states = [
        (who, taught(who, [0, 0, 2], [0, 0, 0]))
        for who in (
            student(ability=ability, log_speed=speed),
            student(ability=ability + more, log_speed=speed),
            student(ability=ability, log_speed=speed + more),
        )
    ]
    p, abler, faster = (MODEL.p_correct(*view) for view in states)
    assert (abler >= p - 1e-12).all()
    assert (faster >= p - 1e-12).all()
