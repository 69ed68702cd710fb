"""Every model's shortcut for the expected gain agrees with enumerating the responses."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tutor_envs.student import StudentModel
from tutor_envs.students.bkt import BKT
from tutor_envs.students.irt import IRT
from tutor_envs.students.memory import Memory
from tutor_envs.students.style_bandit import StyleBandit

MODELS = [
    BKT(n_skills=4, prerequisites={1: (0,), 3: (1, 2)}, weights=(0.1, 0.2, 0.3, 0.4)),
    BKT(n_skills=2, initial_states=((), (1,)), unlock_after=1),
    IRT(n_skills=3),
    Memory(fail_to=1.0),
    StyleBandit(questionnaire_accuracy=0.7),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_gain_is_the_mean_change_over_the_responses(model: StudentModel) -> None:
    n = 60
    generator = torch.Generator().manual_seed(0)
    latents = {}
    for name, spec in model.latent_specs.items():
        value = torch.rand(n, *spec.shape, generator=generator, dtype=torch.float64)
        value = max(spec.low, 0) + 0.9 * value * (min(spec.high, 3) - max(spec.low, 0))
        latents[name] = value / value.sum(-1, keepdim=True) if spec.simplex else value
    belief = model.begin_belief(latents)
    for _ in range(5):
        action, response = (
            torch.randint(high, (n,), generator=generator)
            for high in (model.n_actions, model.n_responses)
        )
        enumerated = StudentModel.belief_gain(model, latents, belief, action)
        gain = model.belief_gain(latents, belief, action)
        assert_close(gain, enumerated, rtol=1e-9, atol=1e-12)
        gains = model.belief_gains(latents, belief)
        assert gains.shape == (n, model.n_actions)
        assert_close(gains.gather(1, action.unsqueeze(1)).squeeze(1), gain, rtol=1e-9, atol=1e-12)
        possible = model.predict(latents, belief, action).gather(1, response.unsqueeze(1)) > 0
        response = torch.where(possible.squeeze(1), response, 0)
        belief = model.update(latents, belief, action, response)
