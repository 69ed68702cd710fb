"""The learner with a zone of proximal development: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.student import StudentModel
from tutor_envs.students.zpd import ZPD

MODEL = ZPD(
    n_skills=2,
    difficulties=(0.0, 2.0),
    supports=(0.0, 0.5, 1.5),
    modalities=("text", "video"),
    target_difficulty=0.5,
)


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in MODEL.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in MODEL.latent_specs.items()
    }


def index(skill: int, difficulty: int, support: int, modality: int) -> torch.Tensor:
    return torch.tensor([((skill * 2 + difficulty) * 3 + support) * 2 + modality])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def state(*theta: float) -> dict[str, torch.Tensor]:
    return {"theta": torch.tensor([theta], dtype=torch.float64)}


def test_actions_are_skill_by_difficulty_by_support_by_modality():
    assert MODEL.n_actions == 24
    name = str(MODEL.actions[index(1, 1, 2, 0)])
    assert name == "practice(b=2, support=1.5) skill_1 by text"


def test_support_makes_the_answer_easier_and_the_post_test_ignores_it():
    p = MODEL.predict(student(), state(0.3, -1.0), index(0, 1, 2, 1))[0]
    assert p.tolist() == pytest.approx([1 - sigmoid(-0.2), sigmoid(-0.2)])  # .3 - (2 - 1.5)
    score = sum(sigmoid(t - b) for t in (0.3, -1.0) for b in (0.0, 2.0)) / 4
    assert MODEL.post_test(student(), state(0.3, -1.0)).item() == pytest.approx(score)
    mastery = MODEL.mastery(student(), state(0.3, -1.0))[0]
    assert mastery.tolist() == pytest.approx([sigmoid(-0.2), sigmoid(-1.5)])


@pytest.mark.parametrize("response", [0, 1])
def test_learning_by_hand(response):
    latents = student(
        growth=0.6, zpd_offset=0.4, zpd_width=0.8, style_strength=1.0, responsiveness=[0.7, 0.3]
    )
    after = MODEL.update(latents, state(0.2, 1.0), index(0, 1, 1, 1), torch.tensor([response]))
    # 2 - .5 - .2 - .4 = .9 from the middle of the zone; video has style .6
    learned = 0.6 * 0.6 * math.exp(-(0.9**2) / (2 * 0.64))
    assert after["theta"][0].tolist() == pytest.approx([0.2 + learned, 1.0])


def test_support_helps_the_novice_and_holds_the_expert_back():
    latents = student(zpd_width=0.7)
    for theta, best in ((-0.2, 2), (1.5, 0)):
        gains = MODEL.belief_gains(latents, state(theta, 0.0)).view(2, 2, 3, 2)
        on_hard_item = gains[0, 1, :, 0]
        assert on_hard_item.argmax().item() == best


def test_what_was_learned_fades_to_the_start():
    latents = student(ability=0.5, forget_per_day=0.1)
    days = torch.tensor([7.0], dtype=torch.float64)
    after = MODEL.wait(latents, state(1.5, 0.5), days, torch.empty(1, 0))
    assert after["theta"][0].tolist() == pytest.approx([0.5 + math.exp(-0.7), 0.5])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_gains_agree_with_enumeration(seed):
    model = MODEL.model_copy(update={"step_s": 20_000.0})
    luck = torch.Generator().manual_seed(seed)
    n = 6
    latents = student(
        n,
        ability=torch.randn(n, generator=luck, dtype=torch.float64),
        forget_per_day=torch.rand(n, generator=luck, dtype=torch.float64),
        style_strength=0.8,
        responsiveness=[0.7, 0.3],
    )
    belief = model.begin_belief(latents)
    for step in range(3):
        belief = model.update(latents, belief, torch.full((n,), 7 * step), torch.ones(n).long())
    gains = model.belief_gains(latents, belief)
    for action in range(model.n_actions):
        action_each = torch.full((n,), action)
        enumerated = StudentModel.belief_gain(model, latents, belief, action_each)
        torch.testing.assert_close(gains[:, action], enumerated)
        torch.testing.assert_close(model.belief_gain(latents, belief, action_each), enumerated)


@settings(max_examples=10, deadline=None)
@given(ability=st.floats(-4, 4), more=st.floats(0, 3))
def test_ability_and_support_never_lower_an_answer(ability, more):
    p = [
        MODEL.predict(
            student(24, ability=a),
            MODEL.begin_belief(student(24, ability=a)),
            torch.arange(24),
        )[:, 1].view(2, 2, 3, 2)
        for a in (ability, ability + more)
    ]
    assert (p[1] >= p[0] - 1e-12).all()
    assert (p[0].diff(dim=2) > 0).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"difficulties": (1.0, 0.0)}, r"`difficulties` must increase, got \[1.0, 0.0\]"),
        ({"supports": (0.0, 0.0)}, r"`supports` must increase"),
        ({"supports": (-1.0, 0.0)}, r"`supports` must be >= 0, got \[-1.0, 0.0\]"),
    ],
)
def test_wrong_levels_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        ZPD(**config)
