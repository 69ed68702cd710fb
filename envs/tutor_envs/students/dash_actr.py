"""DASH[ACT-R]: recall from a power-law sum over past reviews, weighed by their outcome.

For item i of student j, with reviews k of that item t_k days ago:

* ``P(correct) = sigmoid(scale * log(1 + max(0, s)) + ability_on_logit * ability_j
  - difficulty_i)`` with ``s = sum_k v_k * t_k**-decay_j``, where ``v_k`` is ``correct_weight_j``
  for a right and ``wrong_weight_j`` for a wrong answer, and lags below ``min_lag_days`` count as
  that;
* a review adds ``style`` (see :func:`tutor_envs.student.style_multiplier`) times its term; then
  the time of the action passes. A lesson on a new topic starts without reviews.

Sources: Lindsey, Shroyer, Pashler & Mozer 2014 (Psychological Science 25(3)), in the form of the
benchmark of open-spaced-repetition (code read): its parameters w0..w4 are scale, decay, wrong and
correct weight and minus the difficulty. There gaps are whole days and a review of the same day
counts nothing; here time is continuous, and it counts as one of ``min_lag_days`` ago.
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
from tutor_envs.student import Latents, LatentSpec, State


class DASHACTR(SkillPractice):
    """DASH with ACT-R's memory strength; see the module's text for the equations."""

    name: ClassVar[str] = "dash_actr"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    scale: float = Field(1.52, gt=0, description="logit per log(1 + s)")
    min_lag_days: float = Field(0.1, gt=0, description="shorter lags count as this")
    ability_on_logit: float = Field(0.58, ge=0, description="logit per SD of ability")
    max_reviews: int = Field(32, ge=1, description="reviews kept: the longest lesson")

    @property
    def max_lesson_steps(self) -> int:
        """As many actions as the history holds."""
        return self.max_reviews

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, difficulties, the speed of forgetting, and what an answer adds."""
        return self._common_latents() | {
            "difficulty": LatentSpec(
                (self.n_skills,), -math.inf, math.inf, 0.0, "logit, before any review"
            ),
            "decay": LatentSpec((), 0, math.inf, 0.5, "exponent of forgetting"),
            "correct_weight": LatentSpec((), -math.inf, math.inf, 1.993, "term of a right answer"),
            "wrong_weight": LatentSpec((), -math.inf, math.inf, -0.674, "term of a wrong answer"),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """An empty history of ``lag`` (days), ``item`` and ``amount``, ``(n, H)`` each."""
        like, size = latents["ability"], self.max_reviews
        return {
            "lag": empty_column(like, size),
            "item": empty_index(like, size, self.n_skills),
            "amount": empty_column(like, size),
        }

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer on each item now."""
        traces = totals(self._left(latents, state), state["item"], self.n_skills)
        return self._p_correct(latents, traces)

    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """Probability of a correct answer on one item now."""
        left = self._left(latents, state)
        traces = dot(left, reviews_of(skill, state["item"], left.dtype))
        return self._p_correct(narrowed(latents, skill, "difficulty"), traces)

    def _left(self, latents: Latents, state: State) -> Tensor:
        """The term of each review, ``(n, H)``."""
        lag = state["lag"].clamp(min=self.min_lag_days)
        return decay_(lag, latents["decay"].unsqueeze(-1)).mul_(state["amount"])

    def _p_correct(self, latents: Latents, traces: Tensor) -> Tensor:
        logit = self.ability_on_logit * latents["ability"].unsqueeze(-1) - latents["difficulty"]
        return torch.sigmoid(self.scale * torch.log1p(traces.clamp(min=0)) + logit)

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One review more in the history, with the weight of its outcome."""
        right, wrong = (latents[f"{name}_weight"].unsqueeze(-1) for name in ("correct", "wrong"))
        return {
            "lag": push(state["lag"], torch.zeros_like(style)),
            "item": push(state["item"], index_of(practised)),
            "amount": push(state["amount"], style * torch.where(correct, right, wrong)),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Reviews grow older."""
        return state | {"lag": state["lag"] + days.unsqueeze(-1)}
