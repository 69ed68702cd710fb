"""IRT with growth: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.student import StudentModel
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


# -- four parameters, the practice law, drift -------------------------------------------------
FITTED = IRT(
    n_skills=2,
    skill_names=("fractions", "decimals"),
    modalities=("text", "video"),
    growth_law="practice",
    difficulties=(0.0,),
    discrimination=1.0,
    target_difficulty=0.0,
    ability_on_start=0.75,
)


def test_four_parameters_bound_the_answer():
    latents = student(ability=0.7, p_guess=0.2, p_slip=0.1)
    state = MODEL.begin_lesson(latents, torch.empty(1, 0))
    # sigmoid(1.5 * (.7 - 2)) between the floor .2 and the ceiling .9
    expected = 0.2 + 0.7 * sigmoid(-1.95)
    assert MODEL.predict(latents, state, index(0, 2, 0))[0, 1].item() == pytest.approx(expected)
    sure = student(ability=50.0, p_guess=0.2, p_slip=0.1)
    state = MODEL.begin_lesson(sure, torch.empty(1, 0))
    assert MODEL.post_test(sure, state).item() == pytest.approx(0.9)
    assert MODEL.mastery(sure, state)[0].tolist() == pytest.approx([0.9, 0.9])


def test_every_difficulty_may_have_its_own_discrimination():
    model = IRT(difficulties=(-1.0, 1.0), discrimination=(0.5, 2.0), modalities=("text",))
    latents = student(2)
    state = {"theta": torch.tensor([[0.4, 0.0]] * 2, dtype=torch.float64)}
    p = model.predict(latents, state, torch.tensor([0, 1]))[:, 1]
    assert p.tolist() == pytest.approx([sigmoid(0.5 * 1.4), sigmoid(2.0 * -0.6)])
    # over both skills and both items
    score = (sigmoid(0.7) + sigmoid(-1.2) + sigmoid(0.5) + sigmoid(-2.0)) / 4
    assert model.post_test(latents, state)[0].item() == pytest.approx(score)


def test_the_practice_law_by_hand():
    latents = student(
        ability=-0.8, skill_offset=[0.3, -0.1], growth=1.9, style_strength=1.0,
        responsiveness=[0.75, 0.25],
    )  # fmt: skip
    assert [str(a) for a in FITTED.actions] == [
        "practice fractions by text",
        "practice fractions by video",
        "practice decimals by text",
        "practice decimals by video",
    ]
    state = FITTED.begin_lesson(latents, torch.empty(1, 0))
    assert state["theta"][0].tolist() == pytest.approx([0.75 * -0.8 + 0.3, 0.75 * -0.8 - 0.1])
    for action in (0, 0, 1, 3):  # text counts 1.5 exposures, video half of one
        state = FITTED.update(latents, state, torch.tensor([action]), torch.tensor([0]))
    # exposures 1.5 + 1.5 + .5 and .5
    expected = [-0.3 + 1.9 * math.log(4.5), -0.7 + 1.9 * math.log(1.5)]
    assert state["theta"][0].tolist() == pytest.approx(expected)
    p = FITTED.predict(latents, state, torch.tensor([2]))[0, 1]
    assert p.item() == pytest.approx(sigmoid(expected[1]))


@pytest.mark.parametrize("model", [MODEL, FITTED], ids=["zpd", "practice"])
def test_drift_takes_logits_by_the_day(model):
    latents = student(drift_per_day=0.4)
    state = model.begin_lesson(latents, torch.empty(1, 0))
    days = torch.tensor([2.5], dtype=torch.float64)
    after = model.wait(latents, state, days, torch.empty(1, 0))
    assert after["theta"][0].tolist() == pytest.approx([-1.0, -1.0])
    # a teaching action takes half a minute of it, of the other skill too
    taught = model.update(latents, state, torch.tensor([0]), torch.tensor([1]))
    assert taught["theta"][0, 1].item() == pytest.approx(-0.4 * 30 / 86400)


@pytest.mark.parametrize("law", ["zpd", "practice"])
def test_gains_agree_with_enumeration_under_drift_and_guessing(law):
    model = IRT(
        n_skills=3, modalities=("a", "b"), growth_law=law, discrimination=(0.5, 1.0, 1.5, 2.0),
        step_s=7200,
    )  # fmt: skip
    luck = torch.Generator().manual_seed(0)
    n = 20
    latents = {
        name: torch.full((n, *spec.shape), spec.default, dtype=torch.float64)
        for name, spec in model.latent_specs.items()
    } | {
        "ability": torch.randn(n, generator=luck, dtype=torch.float64),
        "p_guess": torch.full((n,), 0.2, dtype=torch.float64),
        "p_slip": torch.full((n,), 0.1, dtype=torch.float64),
        "drift_per_day": torch.rand(n, generator=luck, dtype=torch.float64),
        "style_strength": torch.full((n,), 0.5, dtype=torch.float64),
        "responsiveness": torch.tensor([[0.8, 0.2]] * n, dtype=torch.float64),
    }
    belief = model.begin_belief(latents)
    for step in range(4):
        gains = model.belief_gains(latents, belief)
        for taught in range(model.n_actions):
            action = torch.full((n,), taught)
            enumerated = StudentModel.belief_gain(model, latents, belief, action)
            torch.testing.assert_close(gains[:, taught], enumerated)
            torch.testing.assert_close(model.belief_gain(latents, belief, action), enumerated)
        belief = model.update(latents, belief, torch.full((n,), 5 * step), torch.ones(n).long())


@settings(max_examples=15, deadline=None)
@given(
    theta=st.floats(-6, 6),
    more=st.floats(0, 3),
    guess=st.floats(0, 1),
    slip=st.floats(0, 1),
)
def test_more_ability_never_lowers_an_answer(theta, more, guess, slip):
    low, high = (student(ability=a, p_guess=guess, p_slip=slip) for a in (theta, theta + more))
    for action in range(MODEL.n_actions):
        p = [
            MODEL.predict(who, MODEL.begin_belief(who), torch.tensor([action]))[0, 1].item()
            for who in (low, high)
        ]
        assert 0 <= p[0] <= p[1] + 1e-12 <= 1 + 2e-12


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"discrimination": (1.0, 2.0)}, r"one for each of the 4 difficulties, got 2"),
        ({"skill_names": ("a", "a")}, r"`skill_names` must be 2 different names"),
        ({"growth_law": "magic"}, r"zpd.*practice"),
    ],
)
def test_a_wrong_configuration_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        IRT(**config)
