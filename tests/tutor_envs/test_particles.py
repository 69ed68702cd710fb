"""Beliefs by particles, against the exact filter of the same student."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tutor_envs.components import Components, ComposedStudent
from tutor_envs.particles import ParticleStudent
from tutor_envs.student import (
    CORRECT,
    WRONG,
    Latents,
    LatentSpec,
    State,
    TeachingAction,
    skill_modality_actions,
)
from tutor_envs.students.bkt import BKT

P_INIT, P_LEARN, P_SLIP, P_GUESS = 0.4, 0.3, 0.1, 0.2
N_PARTICLES = 512
TOLERANCE = 0.06
"""About three standard errors of a share of 512 particles."""


class HiddenSkill(ParticleStudent):
    """One BKT skill, written for particles; every waited day it is lost with probability 1/2."""

    name: ClassVar[str] = "hidden_skill"
    modalities: tuple[str, ...] = ("text",)

    @property
    def skills(self) -> tuple[str, ...]:
        return ("skill_0",)

    @property
    def actions(self) -> tuple[TeachingAction, ...]:
        return skill_modality_actions("practice", self.skills, self.modalities)

    @property
    def latent_specs(self) -> dict[str, LatentSpec]:
        return self._common_latents()

    @property
    def n_start_uniforms(self) -> int:
        return 1

    @property
    def n_learn_uniforms(self) -> int:
        return 1

    @property
    def n_wait_uniforms(self) -> int:
        return 1

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        return {"knows": uniforms[:, 0] < P_INIT}

    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        p = torch.where(state["knows"], 1 - P_SLIP, P_GUESS).to(latents["ability"].dtype)
        return torch.stack([1 - p, p], dim=-1)

    def learn(
        self, latents: Latents, state: State, action: Tensor, response: Tensor, uniforms: Tensor
    ) -> State:
        return {"knows": state["knows"] | (uniforms[:, 0] < P_LEARN)}

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        return {"knows": state["knows"] & (uniforms[:, 0] < 0.5**days)}

    def mastery(self, latents: Latents, state: State) -> Tensor:
        return state["knows"].to(latents["ability"].dtype).unsqueeze(-1)

    def post_test(self, latents: Latents, state: State) -> Tensor:
        return self.mastery(latents, state)[:, 0]


EXACT = BKT(n_skills=1, modalities=("text",))


def latents(n: int = 1) -> dict[str, Tensor]:
    """For both forms of the student."""
    one = torch.ones(n, dtype=torch.float64)
    return {
        "ability": 0 * one,
        "responsiveness": one.unsqueeze(-1),
        "style_strength": 0 * one,
        "p_learn": (P_LEARN * one).view(n, 1, 1),
        "p_slip": P_SLIP * one,
        "p_guess": P_GUESS * one,
        "p_forget": 0 * one,
        "p_init": (P_INIT * one).unsqueeze(-1),
        "lapse": 0.3 * one,
    }


HISTORIES = [
    [CORRECT, CORRECT, CORRECT],
    [WRONG, WRONG, WRONG, WRONG],
    [WRONG, CORRECT, WRONG, CORRECT, CORRECT],
]


@pytest.mark.parametrize("history", HISTORIES)
def test_particles_agree_with_the_exact_filter(history):
    cloud, z, practice = HiddenSkill(n_particles=N_PARTICLES), latents(), torch.zeros(1).long()
    belief, exact = cloud.begin_belief(z), EXACT.begin_belief(z)
    for response in history:
        p, p_exact = cloud.predict(z, belief, practice), EXACT.predict(z, exact, practice)
        assert p.sum().item() == pytest.approx(1)
        torch.testing.assert_close(p, p_exact, atol=TOLERANCE, rtol=0)
        gain, gain_exact = (
            m.belief_gain(z, b, practice) for m, b in ((cloud, belief), (EXACT, exact))
        )
        torch.testing.assert_close(gain, gain_exact, atol=TOLERANCE, rtol=0)
        answer = torch.tensor([response])
        belief = cloud.update(z, belief, practice, answer)
        exact = EXACT.update(z, exact, practice, answer)
    torch.testing.assert_close(
        cloud.belief_mastery(z, belief), EXACT.belief_mastery(z, exact), atol=TOLERANCE, rtol=0
    )


def test_an_answer_nobody_can_give_leaves_finite_numbers():
    cloud, z = HiddenSkill(), latents()
    belief = cloud.begin_belief(z)
    belief = {k: torch.ones_like(v) if k == "knows" else v for k, v in belief.items()}
    for _ in range(3):
        belief = cloud.update(z, belief, torch.tensor([0]), torch.tensor([WRONG]))
    assert all(v.double().isfinite().all() for v in belief.values())
    assert belief["particle_weight"].sum().item() == pytest.approx(1)


def test_a_belief_does_not_depend_on_its_batch():
    cloud, practice = HiddenSkill(), torch.zeros(3).long()
    answers = torch.tensor([[WRONG, CORRECT, WRONG], [CORRECT, CORRECT, WRONG]])
    together, alone = cloud.begin_belief(latents(3)), cloud.begin_belief(latents(1))
    for row in answers:
        together = cloud.update(latents(3), together, practice, row)
        alone = cloud.update(latents(1), alone, practice[:1], row[2:])
    assert all(torch.equal(v[2:], alone[k]) for k, v in together.items())


def test_waiting_moves_every_particle():
    # after one day half of what is known is lost: .4 -> .2
    cloud, z = HiddenSkill(n_particles=N_PARTICLES), latents()
    after = cloud.belief_wait(z, cloud.begin_belief(z), torch.ones(1, dtype=torch.float64))
    assert cloud.belief_post_test(z, after).item() == pytest.approx(0.2, abs=TOLERANCE)


def test_simulated_students_answer_and_learn_as_said():
    n, cloud = 12_000, HiddenSkill()
    u = torch.rand(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state = cloud.begin_lesson(latents(n), u)
    after, response = cloud.step(latents(n), state, torch.zeros(n).long(), u[:, 1:])
    # P(correct) = .4 * .9 + .6 * .2 = .48;  P(known after) = .4 + .6 * .3 = .58
    assert response.double().mean().item() == pytest.approx(0.48, abs=5.3 * 0.5 / n**0.5)
    assert after["knows"].double().mean().item() == pytest.approx(0.58, abs=5.3 * 0.5 / n**0.5)


@pytest.mark.parametrize("history", HISTORIES)
def test_a_student_followed_by_particles_can_be_composed(history):
    """A cloud as the base and a distribution as the base: two codes, one filter."""
    lapses = Components.model_validate({"lapses": {}, "n_particles": N_PARTICLES})
    both = [ComposedStudent.of(base, lapses) for base in (HiddenSkill(), EXACT)]
    z, practice = latents(), torch.zeros(1).long()
    beliefs = [student.begin_belief(z) for student in both]
    for response in history:
        answer = torch.tensor([response])
        beliefs = [m.update(z, b, practice, answer) for m, b in zip(both, beliefs, strict=True)]
        cloud, distribution = (
            m.belief_mastery(z, b).item() for m, b in zip(both, beliefs, strict=True)
        )
        # A student who does not attend waits 30 seconds; of the cloud's skill that loses nothing.
        assert cloud == pytest.approx(distribution, abs=TOLERANCE)
