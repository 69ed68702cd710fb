"""Performance factors analysis: successes and failures on a skill raise it by different amounts.

The state is how often each of K skills was answered rightly, ``S_k``, and wrongly, ``F_k``; a
practice in a modality with factor ``style`` (:func:`tutor_envs.student.style_multiplier`) counts as
``style`` answers. Then (Pavlik, Cen & Koedinger 2009, AIED)

``logit P(correct) = ability_on_start * ability + easiness_k
+ exp(log_speed) * (success_slope_k * f(S_k) + failure_slope_k * f(F_k))``

with ``f(x) = x``, or ``log1p(x)`` where ``log_counts`` is set (as in the fits of Gervet, Koedinger,
Schneider & Mitchell 2020, JEDM 12(3)). Usually ``success_slope > failure_slope``: an answer
teaches, and a right one teaches more, so a tutor gains most from what the student can just do. The
factor ``exp(log_speed)`` is the student's own speed, as in individualised AFM. Nothing is
forgotten.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Belief, Latents, LatentSpec, State, style_multipliers


class PFA(SkillPractice):
    """Performance factors analysis; see the module's text for the equations."""

    name: ClassVar[str] = "pfa"

    ability_on_start: float = Field(1.0, ge=0, description="logits per SD of ability")
    log_counts: bool = Field(False, description="counts enter as log1p")

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, each skill's easiness and slopes (logits), and the student's speed."""
        shape = (self.n_skills,)
        return self._common_latents() | {
            "easiness": LatentSpec(shape, -10, 10, -0.5, "logit before any practice"),
            "success_slope": LatentSpec(shape, 0, 10, 0.35, "logits per correct answer"),
            "failure_slope": LatentSpec(shape, -10, 10, 0.15, "logits per wrong answer"),
            "log_speed": LatentSpec((), -5, 5, 0.0, "log of the student's factor on every slope"),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``n_correct`` and ``n_wrong`` ``(n, K)``: none yet."""
        none = torch.zeros_like(latents["easiness"])
        return {"n_correct": none, "n_wrong": none}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Logistic in the counts."""
        correct, wrong = state["n_correct"], state["n_wrong"]
        if self.log_counts:
            correct, wrong = torch.log1p(correct), torch.log1p(wrong)
        learned = latents["success_slope"] * correct + latents["failure_slope"] * wrong
        learned = learned * torch.exp(latents["log_speed"]).unsqueeze(-1)
        start = self.ability_on_start * latents["ability"].unsqueeze(-1) + latents["easiness"]
        return torch.sigmoid(start + learned)

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One success or one failure more."""
        return {
            "n_correct": state["n_correct"] + (practised & correct) * style,
            "n_wrong": state["n_wrong"] + (practised & ~correct) * style,
        }

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``belief_gain``, of all skills at once for each modality."""
        now = self.p_correct(latents, belief)
        correct, wrong = belief["n_correct"], belief["n_wrong"]
        gains = []
        for style in style_multipliers(latents).unsqueeze(1).unbind(-1):
            success = self.p_correct(latents, {"n_correct": correct + style, "n_wrong": wrong})
            failure = self.p_correct(latents, {"n_correct": correct, "n_wrong": wrong + style})
            gains.append(now * success + (1 - now) * failure - now)
        return torch.stack(gains, dim=-1).flatten(1) / self.n_skills
