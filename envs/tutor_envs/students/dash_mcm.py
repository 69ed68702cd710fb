"""DASH[MCM]: recall from counts of reviews and successes that decay at several speeds.

As :mod:`tutor_envs.students.dash`, with counts that fade smoothly instead of leaving a window
(the multiscale context model's leaky integrators):

* ``logit P(correct) = ability_on_logit * ability_j - difficulty_i
  + sum_w correct_weight_w log(1 + c_w) + attempt_weight_w log(1 + n_w)`` with
  ``n_w = sum_k exp(-t_k / tau_w)`` over the reviews of item i, t_k days ago, and ``c_w`` over the
  right answers among them;
* a review adds ``style`` (see :func:`tutor_envs.student.style_multiplier`) to each count; then the
  time of the action passes.

Source: Lindsey, Shroyer, Pashler & Mozer 2014 (Psychological Science 25(3)). The time constants are
those of the benchmark of open-spaced-repetition, whose code (read) also cuts each sum off at
windows of 1, 7, 30 and infinity days; the cut is not in the model and not here.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.practice import SkillPractice, narrowed
from tutor_envs.student import Latents, LatentSpec, State


class DASHMCM(SkillPractice):
    """DASH with decaying counts; see the module's text for the equations."""

    name: ClassVar[str] = "dash_mcm"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    tau_days: tuple[float, ...] = Field((0.2434, 1.9739, 16.0090, 129.8426), min_length=1)
    ability_on_logit: float = Field(1.0, ge=0, description="logit per SD of ability")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if min(self.tau_days) <= 0:
            raise ValueError(f"`tau_days` must be > 0, got {list(self.tau_days)}")
        return self

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, difficulties, and the weights of the time scales."""
        scales = (len(self.tau_days),)
        return self._common_latents() | {
            "difficulty": LatentSpec(
                (self.n_skills,), -math.inf, math.inf, 0.0, "logit, before any review"
            ),
            "correct_weight": LatentSpec(
                scales, -math.inf, math.inf, 0.5, "logit per log(1 + successes)"
            ),
            "attempt_weight": LatentSpec(
                scales, -math.inf, math.inf, 0.0, "logit per log(1 + reviews)"
            ),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``attempts`` and ``successes``, decayed counts ``(n, K, W)``; 0 on a new topic."""
        shape = (len(latents["ability"]), self.n_skills, len(self.tau_days))
        zeros = latents["ability"].new_zeros(shape)
        return {"attempts": zeros, "successes": zeros.clone()}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer on each item now."""
        logit = self.ability_on_logit * latents["ability"].unsqueeze(-1) - latents["difficulty"]
        for name, weight in (("successes", "correct_weight"), ("attempts", "attempt_weight")):
            logit = logit + (torch.log1p(state[name]) * latents[weight].unsqueeze(1)).sum(-1)
        return torch.sigmoid(logit)

    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """Probability of a correct answer on one item now."""
        item = narrowed(latents, skill, "difficulty")
        return self.p_correct(item, narrowed(state, skill))

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One review more in the counts of every time scale."""
        return {
            "attempts": state["attempts"] + (practised * style).unsqueeze(-1),
            "successes": state["successes"] + ((practised & correct) * style).unsqueeze(-1),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Counts decay."""
        kept = torch.exp(-days.unsqueeze(-1) / days.new_tensor(self.tau_days)).unsqueeze(1)
        return {name: count * kept for name, count in state.items()}
