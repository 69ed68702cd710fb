"""The style bandit: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tutor_envs.students.style_bandit import StyleBandit

MODEL = StyleBandit(n_units=10, modalities=("text", "video", "game"))
ASKING = StyleBandit(n_units=10, modalities=("text", "video", "game"), questionnaire_accuracy=0.7)


def student(model: StyleBandit, n: int = 1, **latents) -> dict[str, torch.Tensor]:
    values = {name: spec.default for name, spec in model.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in model.latent_specs.items()
    }


STYLED = {
    "p_event": 0.4,
    "style_strength": 1.0,
    "responsiveness": [0.5, 0.3, 0.2],
    "p_slip": 0.1,
    "p_guess": 0.2,
}
# p_event * 3 * responsiveness
P_EVENT = (0.6, 0.36, 0.24)


def test_events_and_answers_by_hand():
    latents = student(MODEL, 3, **STYLED)
    belief = MODEL.begin_belief(latents)
    actions = torch.arange(3)
    gain = MODEL.expected_gain(latents, belief, actions)
    assert gain.tolist() == pytest.approx([p / 10 for p in P_EVENT])
    p_correct = MODEL.predict(latents, belief, actions)[:, 1]
    assert p_correct.tolist() == pytest.approx([p * 0.9 + (1 - p) * 0.2 for p in P_EVENT])
    right = MODEL.update(latents, belief, actions, torch.ones(3).long())["n_events"]
    assert right.tolist() == pytest.approx([p * 0.9 / (p * 0.9 + (1 - p) * 0.2) for p in P_EVENT])
    wrong = MODEL.update(latents, belief, actions, torch.zeros(3).long())["n_events"]
    assert wrong.tolist() == pytest.approx([p * 0.1 / (p * 0.1 + (1 - p) * 0.8) for p in P_EVENT])


def test_ability_scales_the_rate_which_is_clipped_at_one():
    latents = student(MODEL, 1, **STYLED, ability=1.0)
    belief = MODEL.begin_belief(latents)
    gain = MODEL.expected_gain(latents, belief, torch.tensor([1]))
    assert gain.item() == pytest.approx(0.36 * math.exp(0.3) / 10)
    latents = student(MODEL, 1, **STYLED, ability=5.0)  # .6 * e ** 1.5 > 1
    assert MODEL.expected_gain(latents, belief, torch.tensor([0])).item() == pytest.approx(0.1)


def test_a_step_with_known_luck():
    latents = student(MODEL, 4, **STYLED)
    state = MODEL.begin_lesson(latents, torch.empty(4, 0))
    # event below .6; then right below 1 - slip = .9, else below guess = .2
    luck = torch.tensor([[0.59, 0.89], [0.59, 0.91], [0.61, 0.19], [0.61, 0.21]])
    after, response = MODEL.step(latents, state, torch.zeros(4).long(), luck)
    assert after["n_events"].tolist() == [1, 1, 0, 0]
    assert response.tolist() == [1, 0, 1, 0]
    assert MODEL.mastery(latents, after)[:, 0].tolist() == pytest.approx([0.1, 0.1, 0, 0])


def test_the_questionnaire_names_the_best_modality_and_teaches_nothing():
    assert ASKING.n_actions == 4
    assert str(ASKING.actions[3]) == "questionnaire"
    assert ASKING.responses == ("wrong", "correct", "label_0", "label_1", "label_2")
    latents = student(ASKING, 4, **STYLED)
    state = ASKING.begin_lesson(latents, torch.empty(4, 0))
    ask = torch.full((4,), 3)
    # the true label 0 with .7, the others with .15 each: edges at .7 and .85
    p = ASKING.predict(latents, state, ask)[0]
    assert p.tolist() == pytest.approx([0, 0, 0.7, 0.15, 0.15])
    luck = torch.tensor([[0, 0.69], [0, 0.71], [0, 0.84], [0, 0.86]])
    after, response = ASKING.step(latents, state, ask, luck)
    assert response.tolist() == [2, 3, 3, 4]
    assert after["n_events"].tolist() == [0, 0, 0, 0]
    assert ASKING.expected_gain(latents, state, ask).tolist() == [0, 0, 0, 0]
    assert ASKING.update(latents, state, ask, response)["n_events"].tolist() == [0, 0, 0, 0]


def test_a_given_label_goes_before_the_best_modality():
    latents = student(ASKING, 1, **STYLED, style_label=2)
    state = ASKING.begin_lesson(latents, torch.empty(1, 0))
    p = ASKING.predict(latents, state, torch.tensor([3]))[0]
    assert p.tolist() == pytest.approx([0, 0, 0.15, 0.15, 0.7])


def test_practice_is_answered_as_without_a_questionnaire():
    plain, asking = student(MODEL, 3, **STYLED), student(ASKING, 3, **STYLED)
    state = MODEL.begin_belief(plain)
    actions = torch.arange(3)
    p = ASKING.predict(asking, state, actions)
    torch.testing.assert_close(p[:, :2], MODEL.predict(plain, state, actions))
    assert p[:, 2:].abs().max() == 0


def test_a_questionnaire_needs_two_labels():
    with pytest.raises(ValueError, match="`n_labels` must be >= 2 for a questionnaire, got 1"):
        StyleBandit(modalities=("text",), questionnaire_accuracy=0.7)
