"""DASH: recall from the counts of reviews and successes in nested windows of time.

For item i of student j, with ``n_w`` reviews and ``c_w`` right answers in the last ``w`` days:

* ``logit P(correct) = ability_on_logit * ability_j - difficulty_i
  + sum_w correct_weight_w log(1 + c_w) + attempt_weight_w log(1 + n_w)``;
* a review adds ``style`` (see :func:`tutor_envs.student.style_multiplier`) to the counts, at lag
  zero; then the time of the action passes. A review counts in window w while its lag is <= w.

A lesson on a new topic starts without reviews.

Sources: Lindsey, Shroyer, Pashler & Mozer 2014 (Psychological Science 25(3)); windows and features
as in the benchmark of open-spaced-repetition (code read). Beware of the order there: its features
are ``n_1, c_1, n_7, c_7, ...``, so even weights belong to attempts and odd ones to successes. The
original writes the term of attempts with a minus; here the sign is in the weight.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.history import empty_column, empty_index, push, window_totals
from tutor_envs.practice import SkillPractice, index_of, narrowed
from tutor_envs.student import Latents, LatentSpec, State


class DASH(SkillPractice):
    """Difficulty, ability and study history; see the module's text for the equations."""

    name: ClassVar[str] = "dash"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    windows_days: tuple[float, ...] = Field((1.0, 7.0, 30.0, math.inf), min_length=1)
    ability_on_logit: float = Field(1.0, ge=0, description="logit per SD of ability")
    max_reviews: int = Field(32, ge=1, description="reviews kept: the longest lesson")

    @model_validator(mode="after")
    def _check(self) -> Self:
        windows = self.windows_days
        if list(windows) != sorted(set(windows)) or windows[0] <= 0:
            raise ValueError(f"`windows_days` must increase from above 0, got {list(windows)}")
        return self

    @property
    def max_lesson_steps(self) -> int:
        """As many actions as the history holds."""
        return self.max_reviews

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, difficulties, and the weights of the windows."""
        windows = (len(self.windows_days),)
        return self._common_latents() | {
            "difficulty": LatentSpec(
                (self.n_skills,), -math.inf, math.inf, 0.0, "logit, before any review"
            ),
            "correct_weight": LatentSpec(
                windows, -math.inf, math.inf, 0.5, "logit per log(1 + successes)"
            ),
            "attempt_weight": LatentSpec(
                windows, -math.inf, math.inf, 0.0, "logit per log(1 + reviews)"
            ),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """An empty history of ``lag`` (days), ``outcome`` and ``amount``, ``(n, H)`` each.

        The outcome ``correct * K + item`` says what was reviewed and answered.
        """
        like, size = latents["ability"], self.max_reviews
        return {
            "lag": empty_column(like, size),
            "outcome": empty_index(like, size, 2 * self.n_skills * (len(self.windows_days) + 1)),
            "amount": empty_column(like, size),
        }

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer on each item now."""
        wrong, right = self._seen(state).chunk(2, -1)
        return self._p_correct(latents, wrong, right)

    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """Probability of a correct answer on one item now."""
        seen = self._seen(state)
        asked = skill.unsqueeze(1).expand(-1, seen.shape[1], 1)
        wrong, right = seen.gather(-1, asked), seen.gather(-1, self.n_skills + asked)
        return self._p_correct(narrowed(latents, skill, "difficulty"), wrong, right)

    def _seen(self, state: State) -> Tensor:
        """How often each outcome was seen by age, ``(n, W, 2 K)``."""
        return window_totals(
            state["amount"], state["outcome"], state["lag"], self.windows_days, 2 * self.n_skills
        )

    def _p_correct(self, latents: Latents, wrong: Tensor, right: Tensor) -> Tensor:
        """From the answers to k items by age, ``(n, W, k)`` each."""
        logit = self.ability_on_logit * latents["ability"].unsqueeze(-1) - latents["difficulty"]
        for count, weight in ((right, "correct_weight"), (right + wrong, "attempt_weight")):
            logs = torch.log(1 + count.cumsum(1))
            logit = logit + (latents[weight].unsqueeze(1) @ logs).squeeze(1)
        return torch.sigmoid(logit)

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One review more in the history."""
        return {
            "lag": push(state["lag"], torch.zeros_like(style)),
            "outcome": push(state["outcome"], correct * self.n_skills + index_of(practised)),
            "amount": push(state["amount"], style),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Reviews grow older and leave their windows."""
        return state | {"lag": state["lag"] + days.unsqueeze(-1)}
