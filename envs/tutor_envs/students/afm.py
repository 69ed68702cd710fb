"""Additive factors model: the logit rises by a step at every practice, right or wrong.

The state is how often each of K skills was practised, ``N_k``; a practice in a modality with factor
``style`` (:func:`tutor_envs.student.style_multiplier`) counts as ``style`` practices. Then

``logit P(correct) = ability_on_start * ability + easiness_k + slope_k * exp(log_speed) * N_k``

(Cen, Koedinger & Junker 2006, ITS), where ``log_speed`` makes the slopes the student's own, as in
individualised AFM (Liu & Koedinger 2015, EDM; from memory). The answer teaches nothing and nothing
is forgotten: a tutor has to find out which skills the student lacks, and which are quick to learn.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Belief, Latents, LatentSpec, State, style_multipliers


class AFM(SkillPractice):
    """Additive factors model; see the module's text for the equations."""

    name: ClassVar[str] = "afm"

    ability_on_start: float = Field(1.0, ge=0, description="logits per SD of ability")

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, easiness and slope of each skill (logits), and the student's speed."""
        return self._common_latents() | {
            "easiness": LatentSpec((self.n_skills,), -10, 10, -0.5, "logit before any practice"),
            "slope": LatentSpec((self.n_skills,), 0, 10, 0.3, "logits per practice"),
            "log_speed": LatentSpec((), -5, 5, 0.0, "log of the student's factor on every slope"),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``n_practised`` ``(n, K)``: none yet."""
        return {"n_practised": torch.zeros_like(latents["easiness"])}

    def _slope(self, latents: Latents) -> Tensor:
        return latents["slope"] * torch.exp(latents["log_speed"]).unsqueeze(-1)

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Logistic in the number of practices."""
        start = self.ability_on_start * latents["ability"].unsqueeze(-1) + latents["easiness"]
        return torch.sigmoid(start + self._slope(latents) * state["n_practised"])

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One practice more, whatever the answer."""
        return {"n_practised": state["n_practised"] + practised * style}

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """The answer does not matter."""
        after = self.update(latents, belief, action, action)
        return self.belief_post_test(latents, after) - self.belief_post_test(latents, belief)

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``belief_gain``, of all skills at once for each modality."""
        now = self.p_correct(latents, belief)
        gains = [
            self.p_correct(latents, {"n_practised": belief["n_practised"] + style.unsqueeze(-1)})
            - now
            for style in style_multipliers(latents).unbind(-1)
        ]
        return torch.stack(gains, dim=-1).flatten(1) / self.n_skills
