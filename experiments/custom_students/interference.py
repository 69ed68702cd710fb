"""Interference: practising one skill blurs the others.

Door 1, a batched torch model. Each practice teaches the skill a share of what is missing, and takes
a share off every other skill; so it matters when a skill is practised, not only how often, and
students who forget much by interference need another order than those who learn slowly.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Latents, LatentSpec, State


class Interference(SkillPractice):
    """Known shares of the skills, pushed up by practice and down by that of others."""

    name: ClassVar[str] = "interference"

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, learning rate, and how much the other skills suffer."""
        return self._common_latents() | {
            "p_learn": LatentSpec((), 0, 1, 0.3, "share of what is missing learned by a practice"),
            "blur": LatentSpec((), 0, 1, 0.05, "share of the other skills lost by a practice"),
            "p_guess": LatentSpec((), 0, 1, 0.2, "P(correct) where nothing is known"),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """`known` ``(n, K)``: nothing at first."""
        return {"known": latents["ability"].new_zeros(len(latents["ability"]), self.n_skills)}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """From guessing to 0.95."""
        guess = latents["p_guess"].unsqueeze(-1)
        return guess + (0.95 - guess).clamp(min=0) * state["known"]

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """Up where it was practised, down elsewhere."""
        known = state["known"]
        share = (latents["p_learn"].unsqueeze(-1) * style).clamp(0, 1)
        after = torch.where(
            practised, known + share * (1 - known), known * (1 - latents["blur"].unsqueeze(-1))
        )
        return {"known": after}
