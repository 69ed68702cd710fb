"""ACT-R declarative memory: each study leaves a trace that decays faster if memory was strong.

For item i of student j with studies k = 0, 1, .. that lie ``t_k`` days back:

* activation ``m = log sum_k style_k * T_k**-d_k`` with ``T_k = max(1, 86400 h t_k)``, where h is
  ``interference``: outside the lab a second counts for so much less;
* decay ``d_k = decay_slope_j * exp(m_k) + decay_j``, where ``m_k`` is the activation at the moment
  of study k (none at the first, whose decay is ``decay_j``): massed studies fade fast, spaced ones
  last. That is the spacing effect of Pavlik & Anderson 2005 (Cognitive Science 29(4));
* ``P(recall) = sigmoid((m - threshold_i + ability_on_threshold * ability_j) / noise)``.

Study 0 is the first exposure, ``initial_lag_i`` days before the lesson. A review is a study
whatever the answer, with ``style`` of :func:`tutor_envs.student.style_multiplier` (1 for study 0);
then the time of the action passes.

The equations and the constants of the default agree with the ``ACT_R`` of the benchmark of
open-spaced-repetition (code read), which has no style, no ability and one threshold.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.history import decay_, dot, empty_column, empty_index, push, reviews_of, totals
from tutor_envs.practice import SkillPractice, index_of, narrowed
from tutor_envs.student import SECONDS_PER_DAY, Latents, LatentSpec, State


class ACTR(SkillPractice):
    """ACT-R declarative memory; see the module's text for the equations."""

    name: ClassVar[str] = "actr"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    noise: float = Field(0.2549, gt=0, description="spread of activation, s")
    interference: float = Field(0.025, gt=0, description="weight of a second, h")
    ability_on_threshold: float = Field(0.266, ge=0, description="activation per SD of ability")
    max_reviews: int = Field(32, ge=1, description="reviews kept: the longest lesson")

    @property
    def max_lesson_steps(self) -> int:
        """As many actions as the history holds."""
        return self.max_reviews

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, thresholds, how decay arises, and when each item was first seen."""
        items = (self.n_skills,)
        return self._common_latents() | {
            "threshold": LatentSpec(
                items, -math.inf, math.inf, -0.704, "activation recalled half the time"
            ),
            "decay": LatentSpec((), 0, math.inf, 0.177, "decay of a study without activation, a"),
            "decay_slope": LatentSpec((), 0, math.inf, 0.217, "decay per exp(activation), c"),
            "initial_lag": LatentSpec(items, 0, math.inf, 1.0, "days since the first exposure"),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """The first exposure, and an empty history of reviews.

        ``first_lag`` ``(n, K)``, days since the first exposure; ``lag`` (days), ``item``, ``decay``
        and ``amount`` of the reviews, ``(n, H)`` each.
        """
        like, size = latents["ability"], self.max_reviews
        return {
            "first_lag": latents["initial_lag"].clone(),
            "lag": empty_column(like, size),
            "item": empty_index(like, size, self.n_skills),
            "decay": empty_column(like, size),
            "amount": empty_column(like, size),
        }

    def strength(self, latents: Latents, state: State) -> Tensor:
        """``exp(activation)`` of each item now, ``(n, K)``."""
        first = decay_(self._time(state["first_lag"]), latents["decay"].unsqueeze(-1))
        return first + totals(self._left(state), state["item"], self.n_skills)

    def _strength_of(self, latents: Latents, state: State, item: Tensor) -> Tensor:
        """``exp(activation)`` of one item now, ``(n, 1)``."""
        first_lag = state["first_lag"].gather(-1, item)
        first = decay_(self._time(first_lag), latents["decay"].unsqueeze(-1))
        return first + dot(self._left(state), reviews_of(item, state["item"], first.dtype))

    def _left(self, state: State) -> Tensor:
        """What is left of each review, ``(n, H)``."""
        return decay_(self._time(state["lag"]), state["decay"]).mul_(state["amount"])

    def _time(self, lag: Tensor) -> Tensor:
        """T of a lag in days."""
        return (SECONDS_PER_DAY * self.interference * lag).clamp_(min=1)

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of recalling each item now."""
        return self._p_correct(latents, self.strength(latents, state))

    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """Probability of recalling one item now."""
        strength = self._strength_of(latents, state, skill)
        return self._p_correct(narrowed(latents, skill, "threshold"), strength)

    def _p_correct(self, latents: Latents, strength: Tensor) -> Tensor:
        shift = self.ability_on_threshold * latents["ability"].unsqueeze(-1) - latents["threshold"]
        return torch.sigmoid((torch.log(strength) + shift) / self.noise)

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One trace more; the answer makes no difference."""
        item = index_of(practised)
        activation = self._strength_of(latents, state, item)
        slope, decay = (latents[name].unsqueeze(-1) for name in ("decay_slope", "decay"))
        return {
            "first_lag": state["first_lag"],
            "lag": push(state["lag"], torch.zeros_like(style)),
            "item": push(state["item"], item),
            "decay": push(state["decay"], slope * activation + decay),
            "amount": push(state["amount"], style),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Traces grow older."""
        days = days.unsqueeze(-1)
        return state | {"first_lag": state["first_lag"] + days, "lag": state["lag"] + days}
