"""IRT with growth: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tutor_envs.students.irt import IRT

MODEL = IRT(
    n_skills=2,
    difficulties=(-1.0, 0.0, 2.0),
    modalities=("text", "video"),
    discrimination=1.5,
    target_difficulty=0.5,
)


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in MODEL.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in MODEL.latent_specs.items()
    }


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def index(skill: int, difficulty: int, modality: int) -> torch.Tensor:
    return torch.tensor([(skill * 3 + difficulty) * 2 + modality])


def test_actions_are_skill_by_difficulty_by_modality():
    assert MODEL.n_actions == 12
    assert str(MODEL.actions[index(1, 2, 0)]) == "practice(b=2) skill_1 by text"


def test_a_lesson_starts_at_ability_plus_offset():
    latents = student(ability=0.7, skill_offset=[-0.2, 0.4])
    theta = MODEL.begin_lesson(latents, torch.empty(1, 0))["theta"]
    assert theta[0].tolist() == pytest.approx([0.5, 1.1])


def test_the_answer_is_two_parameter_logistic():
    latents = student(ability=0.7, skill_offset=[-0.2, 0.4])
    state = MODEL.begin_lesson(latents, torch.empty(1, 0))
    # theta = 1.1 on skill 1; difficulty 2: sigmoid(1.5 * (1.1 - 2))
    p = MODEL.predict(latents, state, index(1, 2, 0))[0]
    assert p.tolist() == pytest.approx([1 - sigmoid(-1.35), sigmoid(-1.35)])


@pytest.mark.parametrize("response", [0, 1])
def test_growth_by_hand(response):
    latents = student(
        growth=0.4,
        zpd_offset=0.5,
        zpd_width=0.8,
        style_strength=1.0,
        responsiveness=[0.7, 0.3],
    )
    state = {"theta": torch.tensor([[0.2, 1.0]], dtype=torch.float64)}
    after = MODEL.update(latents, state, index(0, 2, 1), torch.tensor([response]))
    # aim = exp(-(2 - .2 - .5)**2 / (2 * .8**2)) = exp(-1.69 / 1.28); style = 1 + (2 * .3 - 1) = .6
    grown = 0.2 + 0.4 * 0.6 * math.exp(-1.69 / 1.28)
    assert after["theta"][0].tolist() == pytest.approx([grown, 1.0])


def test_growth_is_largest_just_beyond_reach():
    latents = student(3, zpd_offset=0.5, zpd_width=0.5)
    theta = torch.tensor([[-0.5, 0.0]] * 3, dtype=torch.float64)  # the best item is at 0
    easy, right, hard = (index(0, d, 0).item() for d in range(3))
    after = MODEL.update(
        latents, {"theta": theta}, torch.tensor([easy, right, hard]), torch.ones(3).long()
    )
    gain = (after["theta"] - theta)[:, 0]
    assert gain[1].item() == pytest.approx(0.3)  # the default growth, fully
    assert gain[1] > gain[0] > gain[2] > 0


def test_mastery_and_post_test_by_hand():
    latents = student()
    state = {"theta": torch.tensor([[0.5, -1.0]], dtype=torch.float64)}
    expected = [0.5, sigmoid(1.5 * (-1.0 - 0.5))]
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx(expected)
    score = sum(sigmoid(1.5 * (t - b)) for t in (0.5, -1.0) for b in (-1.0, 0.0, 2.0)) / 6
    assert MODEL.post_test(latents, state).item() == pytest.approx(score)


def test_difficulties_must_increase():
    with pytest.raises(ValueError, match=r"`difficulties` must increase, got \[1.0, 0.0\]"):
        IRT(difficulties=(1.0, 0.0))
