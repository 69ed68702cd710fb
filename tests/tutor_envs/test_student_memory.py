"""Exponential forgetting: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tutor_envs.students.memory import Memory

MODEL = Memory(
    n_items=3,
    modalities=("read", "say"),
    delay=4,
    initial_lag=(1, 2, 3),
    max_strength=2,
    fail_to=0.5,
)


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in MODEL.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in MODEL.latent_specs.items()
    }


def start(latents):
    return MODEL.begin_lesson(latents, torch.empty(len(latents["ability"]), 0))


def test_recall_halves_every_half_life():
    latents = student(half_life=[1.0, 2.0, 6.0])
    # 2 ** -(lag / half-life): 2 ** -1, 2 ** -1, 2 ** -.5
    for item, p in enumerate((0.5, 0.5, math.sqrt(0.5))):
        predicted = MODEL.predict(latents, start(latents), torch.tensor([2 * item]))[0]
        assert predicted.tolist() == pytest.approx([1 - p, p])


def test_ability_and_strength_stretch_the_half_life():
    latents = student(half_life=[2.0, 2.0, 2.0], growth=3.0, ability=0.5)
    state = start(latents) | {"strength": torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)}
    half_life = [2 * 3**n * math.exp(1.2 * 0.5) for n in range(3)]
    lag = (1, 2, 3)
    # the post-test comes 4 steps later
    expected = [2 ** (-(d + 4) / h) for d, h in zip(lag, half_life, strict=True)]
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx(expected)
    assert MODEL.post_test(latents, state).item() == pytest.approx(sum(expected) / 3)


def test_a_success_strengthens_by_the_style_and_resets_the_lag():
    latents = student(style_strength=0.5, responsiveness=[0.8, 0.2])
    after = MODEL.update(latents, start(latents), torch.tensor([3]), torch.tensor([1]))
    # item 1 by `say`: 1 + .5 * (2 * .2 - 1) = .7; the other lags grow by one
    assert after["strength"][0].tolist() == pytest.approx([0, 0.7, 0])
    assert after["lag"][0].tolist() == [2, 1, 4]


def test_a_failure_weakens_to_the_floor_but_still_resets_the_lag():
    latents = student()
    state = start(latents) | {"strength": torch.tensor([[1.0, 0.2, 2.0]], dtype=torch.float64)}
    for item, strength in enumerate((0.5, 0.2, 0.5)):
        after = MODEL.update(latents, state, torch.tensor([2 * item]), torch.tensor([0]))
        assert after["strength"][0, item].item() == pytest.approx(strength)
        assert after["lag"][0, item].item() == 1


def test_without_a_floor_a_failure_keeps_the_strength():
    model = Memory(n_items=1)
    state = {"strength": torch.tensor([[1.5]]), "lag": torch.tensor([[3.0]])}
    latents = {name: torch.ones(1, *spec.shape) for name, spec in model.latent_specs.items()}
    after = model.update(latents, state, torch.tensor([0]), torch.tensor([0]))
    assert after["strength"].item() == 1.5


def test_strength_is_capped():
    latents = student()
    state = start(latents)
    for _ in range(4):
        state = MODEL.update(latents, state, torch.tensor([0]), torch.tensor([1]))
    assert state["strength"][0].tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_items": 2, "initial_lag": (1, 2, 3)}, "`initial_lag` must have 2 numbers, got 3"),
        ({"initial_lag": -1}, "`initial_lag` must be >= 0, got -1"),
        ({"n_items": 2, "initial_lag": (1, -1)}, "`initial_lag` must be >= 0"),
        ({"delay": -1}, "greater than or equal to 0"),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        Memory(**config)


def test_waiting_makes_lags_grow_in_steps():
    model = Memory(n_items=2, modalities=("read",), step_s=60)
    latents = {name: torch.ones(1, *spec.shape) for name, spec in model.latent_specs.items()}
    state = {"strength": torch.tensor([[1.0, 0.0]]), "lag": torch.tensor([[3.0, 5.0]])}
    # half a day is 720 minutes
    after = model.wait(latents, state, torch.tensor([0.5]), torch.empty(1, 0))
    assert after["lag"][0].tolist() == pytest.approx([723, 725])
    assert torch.equal(after["strength"], state["strength"])
    assert state["lag"][0].tolist() == [3, 5]
