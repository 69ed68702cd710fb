"""Exponential forgetting: a review slows an item's decay, whether it is recalled or not.

For item i of student j, ``lag`` days after its last review:

* recall ``P(recall) = exp(-rate_ij * lag / S_i)`` with ``S_i = 1 + attempts_i`` and
  ``rate_ij = decay_rate_i * exp(-ability_on_decay * ability_j)``, per day;
* a review adds ``style`` (see :func:`tutor_envs.student.style_multiplier`) to the attempts and
  sets the lag to zero; then the time of the action passes.

Source: the EFC student of Reddy, Levine & Dragan 2017 ("Accelerating human learning with deep
reinforcement learning", code ``deeptutor``, read), where all students are alike, rates are
``exp(N(ln .077, 1))`` and one action takes five units of time.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Latents, LatentSpec, State


class EFC(SkillPractice):
    """Exponential forgetting curve; see the module's text for the equations."""

    name: ClassVar[str] = "efc"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    ability_on_decay: float = Field(1.2, ge=0, description="log decay rate per SD of ability")

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, and each item's decay rate and lag at the start."""
        return self._common_latents() | {
            "decay_rate": LatentSpec(
                (self.n_skills,), 0, math.inf, 0.077, "forgetting rate, per day"
            ),
            "initial_lag": LatentSpec(
                (self.n_skills,), 0, math.inf, 1.0, "days since the first exposure"
            ),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``attempts`` (0) and ``lag`` (days), ``(n, K)`` each."""
        lag = latents["initial_lag"]
        return {"attempts": torch.zeros_like(lag), "lag": lag.clone()}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of recalling each item now."""
        slower = torch.exp(-self.ability_on_decay * latents["ability"]).unsqueeze(-1)
        rate = latents["decay_rate"] * slower
        return torch.exp(-rate * state["lag"] / (1 + state["attempts"]))

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One attempt more, and a fresh memory; the answer makes no difference."""
        return {
            "attempts": state["attempts"] + practised * style,
            "lag": torch.where(practised, 0, state["lag"]),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Lags grow."""
        return state | {"lag": state["lag"] + days.unsqueeze(-1)}
