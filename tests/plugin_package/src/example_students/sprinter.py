"""A student who learns a skill at once, but not always."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Latents, LatentSpec, State


class Sprinter(SkillPractice):
    """Knowledge that grows by a share of what is missing."""

    name: ClassVar[str] = "sprinter"

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        return self._common_latents() | {"pace": LatentSpec((), 0, 1, 0.5, "share learned")}

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        return {"known": latents["pace"].new_zeros(len(latents["pace"]), self.n_skills)}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        return state["known"]

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        known = state["known"]
        gain = (latents["pace"].unsqueeze(-1) * style).clamp(0, 1) * (1 - known)
        return {"known": torch.where(practised, known + gain, known)}
