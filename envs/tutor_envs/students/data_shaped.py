"""The data-shaped default: all-or-none acquisition, growing strength and power-law forgetting.

What records of real learners show together (72 cloze items practised by 478 learners: stats_cloze,
Pavlik, Eglington & Harrell-Williams 2021): a first exposure jumps more than a smooth curve allows
(right answers .30, .64, .76, .83, .85 at opportunities 1 to 5), further practice strengthens, and
the odds of recall fall as a power of time. Item k is *acquired* or not, which is hidden.

* start: ``P(acquired) = sigmoid(logit p_init + ability_on_init * ability + easiness[k])``;
* exposure: ``P(0 -> 1) = clip(style * sigmoid(logit p_acquire + ability_on_acquire * ability +
  easiness_on_acquire * easiness[k]))``, whatever the answer (it is followed by feedback); what is
  acquired stays so. This is the learning step of Bayesian knowledge tracing;
* recall of an acquired item: ``r = sigmoid(strength_start + easiness[k] + growth log(1 + c_k) -
  forgetting log(1 + t_k / 60 s))``, where c_k adds the modality's style for every right answer and
  ``failure_weight`` times it for every wrong one (log counts: Pavlik, Eglington & Harrell-Williams
  2021), and t_k is the time since the last practice (0 before the first one);
* answer: ``P(correct) = guess + (1 - guess) (1 - slip) r`` if acquired, else ``guess``: who slips
  may still guess. ``logit slip = logit p_slip - ability_on_slip * ability``, and
  ``logit guess = logit p_guess + ability_on_guess * ability``.

One general factor, ability, thus enters start, speed, slip and guess together, as learner effects
in data do; the speed of forgetting is a trait of its own.

**The belief is exact.** Counts and times follow from actions and answers. Given the latents, items
start independently, an answer tells about its own item only, and an exposure changes its own item
only; so the posterior stays a product over items. Each factor is a hidden Markov chain with two
states and known rates: one number ``P(acquired)``, moved by Bayes' rule, then by the exposure. All
chances are linear in that number, so state and belief share one form (0 or 1 in a state).
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import (
    CORRECT,
    SECONDS_PER_DAY,
    Belief,
    Latents,
    LatentSpec,
    State,
    style_multiplier,
)

_MINUTES_PER_DAY = SECONDS_PER_DAY / 60
_MAX_LOGIT = 30.0


class DataShaped(SkillPractice):
    """Acquisition, strength and forgetting; see the module's text for the equations."""

    name: ClassVar[str] = "data_shaped"
    unit: ClassVar[str] = "item"

    delay_days: float = Field(1.0, ge=0, description="days between the lesson and its post-test")
    failure_weight: float = Field(
        0.5, ge=0, description="strength of a wrong answer, in right answers"
    )
    ability_on_init: float = Field(0.9, ge=0, description="logit of the start per SD of ability")
    ability_on_acquire: float = Field(0.7, ge=0, description="logit of learning per SD of ability")
    ability_on_slip: float = Field(0.7, ge=0, description="logit of the slip, down, per SD")
    ability_on_guess: float = Field(0.2, ge=0, description="logit of the guess per SD of ability")
    easiness_on_acquire: float = Field(
        0.5, ge=0, description="logit of learning per logit of easiness"
    )

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, rates, strength and forgetting, and the items' easiness."""
        return self._common_latents() | {
            "p_init": LatentSpec((), 0, 1, 0.18, "P(acquired) at the start"),
            "p_acquire": LatentSpec((), 0, 1, 0.4, "P(acquire) per exposure"),
            "p_slip": LatentSpec((), 0, 1, 0.07, "P(failing to use what is recalled)"),
            "p_guess": LatentSpec((), 0, 1, 0.1, "P(correct answer) without knowing"),
            "strength_start": LatentSpec(
                (), -_MAX_LOGIT, _MAX_LOGIT, 1.5, "logit of recall before any practice"
            ),
            "growth": LatentSpec((), 0, 10, 1.0, "logit of recall per log count of practice"),
            "forgetting": LatentSpec((), 0, 10, 0.2, "logit of recall lost per log minute"),
            "easiness": LatentSpec(
                (self.n_skills,), -_MAX_LOGIT, _MAX_LOGIT, 0.0, "logit of the item"
            ),
        }

    @property
    def n_start_uniforms(self) -> int:
        """One for each item."""
        return self.n_skills

    @property
    def n_step_uniforms(self) -> int:
        """Answer, acquisition."""
        return 2

    # -- chances ------------------------------------------------------------------------------
    def _shifted(self, latents: Latents, name: str, per_sd: float, per_easiness: float) -> Tensor:
        """A rate of this student, moved by ability and easiness, ``(n, K)``."""
        logit = torch.logit(latents[name]) + per_sd * latents["ability"]
        return torch.sigmoid(logit.unsqueeze(-1) + per_easiness * latents["easiness"])

    def _p_init(self, latents: Latents) -> Tensor:
        return self._shifted(latents, "p_init", self.ability_on_init, 1.0)

    def _p_acquire(self, latents: Latents, style: Tensor) -> Tensor:
        rate = self._shifted(
            latents, "p_acquire", self.ability_on_acquire, self.easiness_on_acquire
        )
        return (style * rate).clamp(0, 1)

    def _p_answer(self, latents: Latents, state: State | Belief) -> tuple[Tensor, Tensor]:
        """P(correct) of each item if it is acquired and if it is not, ``(n, K)`` each."""
        guess = self._shifted(latents, "p_guess", self.ability_on_guess, 0.0)
        slip = self._shifted(latents, "p_slip", -self.ability_on_slip, 0.0)
        start, growth, forgetting = (
            latents[name].unsqueeze(-1) for name in ("strength_start", "growth", "forgetting")
        )
        recall = torch.sigmoid(
            start
            + latents["easiness"]
            + growth * torch.log1p(state["practice"])
            - forgetting * torch.log1p(state["days"] * _MINUTES_PER_DAY)
        )
        return guess + (1 - guess) * (1 - slip) * recall, guess

    # -- simulation ---------------------------------------------------------------------------
    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """Draw what is acquired.

        ``acquired`` (0 or 1), ``practice`` (the count c), ``days`` since the last practice and
        ``seen`` (bool), each ``(n, K)``.
        """
        p_init = self._p_init(latents)
        return self._begin(latents, (uniforms < p_init).to(p_init.dtype))

    def _begin(self, latents: Latents, acquired: Tensor) -> State:
        nothing = torch.zeros_like(acquired)
        return {
            "acquired": acquired,
            "practice": nothing,
            "days": nothing.clone(),
            "seen": nothing.bool(),
        }

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Answer, then perhaps acquire."""
        p_correct = self.answer(latents, state, action)[:, CORRECT]
        response = (uniforms[:, 0] < p_correct).long()
        style = style_multiplier(latents, action.remainder(len(self.modalities))).unsqueeze(-1)
        practised = self.practised(action)
        acquires = practised & (uniforms[:, 1:] < self._p_acquire(latents, style))
        acquired = torch.where(acquires, 1.0, state["acquired"])
        correct = (response == CORRECT).unsqueeze(-1)
        after = self._practised_once(state, practised, correct, style) | {"acquired": acquired}
        return self.wait(
            latents, after, torch.full_like(style[:, 0], self.step_days), uniforms[:, :0]
        ), response

    def _practised_once(
        self, state: State | Belief, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """Count and clock of the practised item: the part of the state that is known."""
        grown = state["practice"] + style * torch.where(correct, 1.0, self.failure_weight)
        return {
            "practice": torch.where(practised, grown, state["practice"]),
            "days": torch.where(practised, 0.0, state["days"]),
            "seen": state["seen"] | practised,
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Practised items get older; what was known from before stays as it is."""
        return state | {"days": torch.where(state["seen"], state["days"] + days.unsqueeze(-1), 0.0)}

    def p_correct(self, latents: Latents, state: State | Belief) -> Tensor:
        """Of each item now, ``(n, K)``; for a belief, its mean."""
        acquired, other = self._p_answer(latents, state)
        return other + state["acquired"] * (acquired - other)

    # -- belief -------------------------------------------------------------------------------
    def begin_belief(self, latents: Latents) -> Belief:
        """As a state, with ``acquired`` the probability of it."""
        return self._begin(latents, self._p_init(latents))

    def practise(
        self, latents: Latents, state: Belief, practised: Tensor, correct: Tensor, style: Tensor
    ) -> Belief:
        """Bayes' rule for the answer, then the exposure."""
        p = state["acquired"]
        likelihoods = [torch.where(correct, q, 1 - q) for q in self._p_answer(latents, state)]
        joint, other = p * likelihoods[0], (1 - p) * likelihoods[1]
        posterior = joint / (joint + other).clamp(min=torch.finfo(p.dtype).tiny)
        exposed = posterior + (1 - posterior) * self._p_acquire(latents, style)
        acquired = torch.where(practised, exposed, p)
        return self._practised_once(state, practised, correct, style) | {"acquired": acquired}
