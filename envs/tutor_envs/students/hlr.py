"""Half-life regression: the log half-life is linear in functions of the counts of right and wrong.

For item i of student j, ``lag`` days after its last review:

* recall ``P(recall) = 2**(-lag / h)`` with the half-life, in days,
  ``log2 h = right_weight_j * right_i**q + wrong_weight_j * wrong_i**q + bias_i
  + ability_on_half_life * ability_j``, clipped to [``min_half_life``, ``max_half_life``];
* ``right_i`` and ``wrong_i`` count the answers so far and ``q`` is ``count_power``; a review adds
  ``style`` (see :func:`tutor_envs.student.style_multiplier`) to one of them and sets the lag to
  zero; then the time of the action passes.

Sources: Settles & Meeder 2016 (ACL; code ``halflife-regression``: base 2, clip 15 minutes to 274
days, square roots of the counts); the benchmark of open-spaced-repetition uses ``q = 1/2`` without
their "+ 1" under the root, as here. The HLR student of ``deeptutor`` (Reddy, Levine & Dragan 2017)
is ``exp(-lag / exp(w.x))`` with ``w.x = 2 right + wrong + d_i``. That is this model with
``q = 1``, no clip, ``right_weight = 2 / ln 2``, ``wrong_weight = 1 / ln 2`` and
``bias_i = d_i / ln 2 + log2(ln 2)``, since ``exp(-t / e**z) = 2**(-t / (e**z ln 2))``.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Latents, LatentSpec, State


class HLR(SkillPractice):
    """Half-life regression; see the module's text for the equations."""

    name: ClassVar[str] = "hlr"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    ability_on_half_life: float = Field(0.814, ge=0, description="log2 half-life per SD of ability")
    count_power: float = Field(0.5, gt=0, le=1, description="counts enter to this power")
    min_half_life: float = Field(15 / 1440, ge=0, description="shortest half-life, in days")
    max_half_life: float = Field(274.0, gt=0, description="longest half-life, in days")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_half_life >= self.max_half_life:
            raise ValueError(
                f"`min_half_life` must be < `max_half_life`, got {self.min_half_life} "
                f"and {self.max_half_life}"
            )
        return self

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, the weights of the regression, and each item's lag at the start."""
        return self._common_latents() | {
            "bias": LatentSpec(
                (self.n_skills,), -math.inf, math.inf, 3.189, "log2 half-life (days) untrained"
            ),
            "right_weight": LatentSpec(
                (), -math.inf, math.inf, 2.454, "log2 half-life per right**q"
            ),
            "wrong_weight": LatentSpec(
                (), -math.inf, math.inf, -1.047, "log2 half-life per wrong**q"
            ),
            "initial_lag": LatentSpec(
                (self.n_skills,), 0, math.inf, 1.0, "days since the first exposure"
            ),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``right`` and ``wrong`` (0) and ``lag`` (days), ``(n, K)`` each."""
        lag = latents["initial_lag"]
        return {"right": torch.zeros_like(lag), "wrong": torch.zeros_like(lag), "lag": lag.clone()}

    def half_life(self, latents: Latents, state: State) -> Tensor:
        """Half-life of each item in days, ``(n, K)``."""
        right, wrong = (state[name] ** self.count_power for name in ("right", "wrong"))
        log2_half_life = (
            latents["right_weight"].unsqueeze(-1) * right
            + latents["wrong_weight"].unsqueeze(-1) * wrong
            + latents["bias"]
            + self.ability_on_half_life * latents["ability"].unsqueeze(-1)
        )
        return torch.exp2(log2_half_life).clamp(self.min_half_life, self.max_half_life)

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of recalling each item now."""
        return torch.exp2(-state["lag"] / self.half_life(latents, state))

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One right or wrong answer more, and a fresh memory."""
        return {
            "right": state["right"] + (practised & correct) * style,
            "wrong": state["wrong"] + (practised & ~correct) * style,
            "lag": torch.where(practised, 0, state["lag"]),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Lags grow."""
        return state | {"lag": state["lag"] + days.unsqueeze(-1)}
