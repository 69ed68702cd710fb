"""The Ornstein-Uhlenbeck student: numbers by hand, and its belief against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.students.ou import OU

MODEL = OU(n_skills=2, prerequisites={1: (0,)}, transfer=0.5, modalities=("text", "video"))
ALONE = OU(n_skills=2, prerequisites={}, modalities=("text", "video"))


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in MODEL.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in MODEL.latent_specs.items()
    }


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_a_lesson_starts_at_rest_around_its_level():
    latents = student(ability=0.4, skill_offset=[0.1, -0.2], reversion=0.5, volatility=0.6)
    uniforms = tensor(0.5, 0.841344746068543)  # the second noise is one standard deviation
    state = MODEL.begin_lesson(latents, uniforms)
    assert state["x"][0].tolist() == pytest.approx([0.5, 0.2 + 0.6])  # sd .6 / sqrt(2 * .5)
    assert MODEL.mastery(latents, state)[0, 0].item() == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_waiting_by_hand():
    latents = student(
        ability=0.4, skill_offset=[0.1, -0.2], growth=1.2, retained=0.25, reversion=0.3,
        volatility=0.5,
    )  # fmt: skip
    state = {"x": tensor(1.0, -0.4), "exposure": tensor(2.0, 0.0)}
    days = torch.tensor([4.0], dtype=torch.float64)
    after = MODEL.wait(latents, state, days, tensor(0.5, 0.841344746068543))
    kept = math.exp(-1.2)
    mu = [0.5 + 0.25 * 1.2 * math.log(3), 0.2 + 0.5 * 1.0]  # skill 1 builds on skill 0, at 1
    sd = 0.5 * math.sqrt((1 - kept**2) / 0.6)
    expected = [mu[0] + (1.0 - mu[0]) * kept, mu[1] + (-0.4 - mu[1]) * kept + sd]
    assert after["x"][0].tolist() == pytest.approx(expected)
    assert after["exposure"][0].tolist() == [2.0, 0.0]


def test_practice_by_hand():
    latents = student(
        growth=1.2, volatility=0.0, reversion=0.3, retained=0.0, style_strength=1.0,
        responsiveness=[0.75, 0.25],
    )  # fmt: skip
    state = {"x": tensor(0.3, 0.0), "exposure": tensor(1.0, 0.0)}
    uniforms = tensor(0.0, 0.5, 0.5)
    after, response = ALONE.step(latents, state, torch.tensor([0]), uniforms)
    assert response.item() == 1
    assert after["exposure"][0].tolist() == [2.5, 0.0]  # text counts 1.5
    # a jump by 1.2 * log(3.5 / 2), then a day on the way back to 0
    jumped = 0.3 + 1.2 * math.log(3.5 / 2)
    assert after["x"][0].tolist() == pytest.approx([jumped * math.exp(-0.3), 0.0])


@settings(max_examples=15, deadline=None)
@given(
    first=st.floats(0, 20),
    second=st.floats(0, 20),
    reversion=st.floats(0.01, 3),
    x=st.floats(-3, 3),
)
def test_two_waits_are_one_long_wait(first, second, reversion, x):
    latents = student(reversion=reversion, ability=0.7)
    belief = ALONE.begin_belief(latents) | {
        "mean": tensor(x, -x),
        "covariance": tensor(0.3, 0.1).diag_embed(),
    }
    days = [torch.tensor([d], dtype=torch.float64) for d in (first, second, first + second)]
    twice = ALONE.belief_wait(latents, ALONE.belief_wait(latents, belief, days[0]), days[1])
    once = ALONE.belief_wait(latents, belief, days[2])
    for name in once:
        torch.testing.assert_close(twice[name], once[name])


def test_at_rest_the_spread_stays():
    latents = student()
    belief = ALONE.begin_belief(latents)
    later = ALONE.belief_wait(latents, belief, torch.tensor([3.0], dtype=torch.float64))
    for name in belief:
        torch.testing.assert_close(later[name], belief[name])


def test_simulation_has_the_moments_of_the_belief():
    n = 40_000
    luck = torch.Generator().manual_seed(0)
    one, many = student(1, ability=0.5), student(n, ability=0.5)
    state = MODEL.begin_lesson(many, torch.rand(n, 2, generator=luck))
    belief = MODEL.begin_belief(one)
    for days in (2.0, 5.0):
        wait = torch.full((n,), days, dtype=torch.float64)
        state = MODEL.wait(many, state, wait, torch.rand(n, 2, generator=luck))
        belief = MODEL.belief_wait(one, belief, wait[:1])
    sd = belief["covariance"][0].diagonal().sqrt()
    assert ((state["x"].mean(0) - belief["mean"][0]).abs() < 5 * sd / n**0.5).all()
    sampled = torch.from_numpy(np.cov(state["x"].numpy().T))
    torch.testing.assert_close(sampled, belief["covariance"][0], rtol=0.05, atol=0.01)
    mastery = MODEL.mastery(many, state)
    error = (mastery.mean(0) - MODEL.belief_mastery(one, belief)[0]).abs()
    assert (error < 5 * mastery.std(0) / n**0.5 + 1e-5).all()


def test_the_belief_follows_a_large_weighted_sample():
    """Importance sampling: many simulated students, weighted by the answers that were given."""
    n = 60_000
    luck = torch.Generator().manual_seed(1)
    one, many = student(volatility=0.8), student(n, volatility=0.8)
    state = MODEL.begin_lesson(many, torch.rand(n, 2, generator=luck))
    belief = MODEL.begin_belief(one)
    weight = torch.ones(n, dtype=torch.float64)
    for taught, response in ((0, 0), (2, 1), (1, 1), (0, 0), (3, 1)):
        action = torch.tensor([taught])
        p = MODEL.predict(one, belief, action)[0, response].item()
        likelihood = MODEL.answer(many, state, action.expand(n))[:, response]
        sampled = ((weight * likelihood).sum() / weight.sum()).item()
        assert p == pytest.approx(sampled, abs=0.01)
        weight = weight * likelihood
        uniforms = torch.rand(n, 3, generator=luck)
        state, _ = MODEL.step(many, state, action.expand(n), uniforms)  # its own answer is dropped
        belief = MODEL.update(one, belief, action, torch.tensor([response]))
    mean = (weight @ state["x"]) / weight.sum()
    variance = (weight @ (state["x"] - mean) ** 2) / weight.sum()
    torch.testing.assert_close(belief["mean"][0], mean, rtol=0, atol=0.03)
    torch.testing.assert_close(belief["covariance"][0].diagonal(), variance, rtol=0.05, atol=0)


def test_the_gain_of_a_known_state_is_the_mean_over_the_noise():
    n = 50_000
    luck = torch.Generator().manual_seed(2)
    one, many = student(volatility=0.8), student(n, volatility=0.8)
    state = {"x": tensor(-0.5, 0.3), "exposure": tensor(1.0, 0.0)}
    states = {name: value.expand(n, 2) for name, value in state.items()}
    for taught in range(MODEL.n_actions):
        action = torch.tensor([taught])
        after, _ = MODEL.step(many, states, action.expand(n), torch.rand(n, 3, generator=luck))
        gain = MODEL.post_test(many, after) - MODEL.post_test(many, states)
        expected = MODEL.expected_gain(one, state, action)
        assert (gain.mean() - expected).abs() < 5 * gain.std() / n**0.5


def test_extreme_luck_and_impossible_answers_stay_finite():
    latents = {k: v.float() for k, v in student(skill_offset=[10.0, -10.0], volatility=5.0).items()}
    for u in (0.0, 1 - 2.0**-24):
        state = MODEL.begin_lesson(latents, torch.full((1, 2), u))
        assert state["x"].isfinite().all()
    sure = student(skill_offset=[10.0, -10.0], volatility=0.0)
    for who in (latents, sure):
        belief = MODEL.begin_belief(who)
        for taught, response in ((0, 0), (2, 1)):
            belief = MODEL.update(who, belief, torch.tensor([taught]), torch.tensor([response]))
            assert all(bool(value.isfinite().all()) for value in belief.values())


@settings(max_examples=10, deadline=None)
@given(ability=st.floats(-4, 4), more=st.floats(0, 3), days=st.floats(0, 30))
def test_more_ability_never_lowers_an_answer(ability, more, days):
    scores = []
    for a in (ability, ability + more):
        who = student(ability=a)
        belief = MODEL.begin_belief(who)
        belief = MODEL.belief_wait(who, belief, torch.tensor([days], dtype=torch.float64))
        scores.append(MODEL.belief_mastery(who, belief))
    assert (scores[1] >= scores[0] - 1e-9).all()


def test_prerequisites_come_before_their_skill():
    with pytest.raises(ValueError, match=r"smaller index, in \[0, 1\], got 0: \[1\]"):
        OU(n_skills=2, prerequisites={0: (1,)})
    with pytest.raises(ValueError, match=r"got 3: \[0\]"):
        OU(n_skills=2, prerequisites={3: (0,)})
