"""Predictive performance equation: practice, elapsed time, and the spacing between reviews.

For item i of student j with N presentations ``t_k`` days ago (the first is the exposure
``initial_lag_i`` days before the lesson), and ``lag_k`` the days between presentations:

* activation ``M = N**learning_j * T**-d``;
* elapsed time ``T = sum_k w_k t_k`` with ``w_k = t_k**-x / sum t**-x``, x = ``recency``: recent
  presentations weigh most (lags below ``min_lag_days`` count as that);
* decay ``d = exp(-ability_on_decay * ability_j) * (base_decay_j + spacing_decay *
  mean_k 1 / log(lag_k + e))``: spaced practice is forgotten more slowly;
* ``P(correct) = sigmoid((M - threshold_i) / noise)``.

A review is a presentation whatever the answer. With ``style`` of
:func:`tutor_envs.student.style_multiplier` it counts for so much of one in N, in the weights and in
the mean over lags; then the time of the action passes.

Sources: Walsh, Gluck, Gunzelmann, Jastrzembski & Krusmark 2018 (Cognitive Science 42; equations
from code and summaries that cite it: the paper itself was not at hand), constants from the PPE of
``psi-kt`` (code read): learning .1, x .6, b .04, m .08, threshold .9, noise .04. Two choices are
ours: time is in days (the sources leave the unit open), and with one presentation, when there is no
lag yet, the mean is 1, its value for lags of zero. (The usual special case ``d = b`` would make the
first review of an item speed up its forgetting.) Ability on decay is ours too.
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


class PPE(SkillPractice):
    """Predictive performance equation; see the module's text for the equations."""

    name: ClassVar[str] = "ppe"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    recency: float = Field(0.6, ge=0, description="exponent of the weights of past reviews, x")
    spacing_decay: float = Field(0.08, ge=0, description="decay of massed practice, m")
    noise: float = Field(0.04, gt=0, description="spread of activation, s")
    min_lag_days: float = Field(1 / 1440, gt=0, description="shorter lags count as this")
    ability_on_decay: float = Field(0.3, ge=0, description="log decay per SD of ability")
    max_reviews: int = Field(32, ge=1, description="reviews kept: the longest lesson")

    @property
    def max_lesson_steps(self) -> int:
        """As many actions as the history holds."""
        return self.max_reviews

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, thresholds, learning and decay, and when each item was first seen."""
        items = (self.n_skills,)
        return self._common_latents() | {
            "threshold": LatentSpec(
                items, -math.inf, math.inf, 0.9, "activation answered half the time"
            ),
            "learning": LatentSpec((), 0, math.inf, 0.1, "exponent of practice, c"),
            "base_decay": LatentSpec((), 0, math.inf, 0.04, "decay of widely spaced practice, b"),
            "initial_lag": LatentSpec(items, 0, math.inf, 1.0, "days since the first exposure"),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """The first exposure, and an empty history of reviews.

        ``first_lag`` and ``since`` ``(n, K)``, days since the first and the last presentation;
        ``n_reviews`` and ``massing`` ``(n, K)``, number of reviews and sum of 1 / log(lag + e);
        ``lag`` (days), ``item`` and ``amount`` of the reviews, ``(n, H)`` each.
        """
        like, size = latents["initial_lag"], self.max_reviews
        return {
            "first_lag": like.clone(),
            "since": like.clone(),
            "n_reviews": torch.zeros_like(like),
            "massing": torch.zeros_like(like),
            "lag": empty_column(like, size),
            "item": empty_index(like, size, self.n_skills),
            "amount": empty_column(like, size),
        }

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer on each item now."""
        lag, weight = self._weigh(state)
        item = state["item"].long()
        weighted, weight = (totals(w, item, self.n_skills) for w in (weight * lag, weight))
        return self._p_correct(latents, state, weighted, weight)

    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """Probability of a correct answer on one item now."""
        lag, weight = self._weigh(state)
        weight.mul_(reviews_of(skill, state["item"], weight.dtype))
        asked = narrowed(state, skill, "first_lag", "n_reviews", "massing")
        latents = narrowed(latents, skill, "threshold")
        return self._p_correct(latents, asked, dot(weight, lag), weight.sum(-1, keepdim=True))

    def _weigh(self, state: State) -> tuple[Tensor, Tensor]:
        """Lag and weight of each review, ``(n, H)`` each."""
        lag = state["lag"].clamp(min=self.min_lag_days)
        return lag, decay_(lag.clone(), self.recency).mul_(state["amount"])

    def _p_correct(
        self, latents: Latents, state: State, weighted: Tensor, weight: Tensor
    ) -> Tensor:
        """From the sums over the reviews, and what the state says of each item."""
        first = state["first_lag"].clamp(min=self.min_lag_days)
        of_first = first**-self.recency
        elapsed = (of_first * first + weighted) / (of_first + weight)
        n_reviews = state["n_reviews"]
        mean = torch.where(n_reviews > 0, state["massing"] / n_reviews, 1)
        decay = latents["base_decay"].unsqueeze(-1) + self.spacing_decay * mean
        decay = decay * torch.exp(-self.ability_on_decay * latents["ability"]).unsqueeze(-1)
        practice = (1 + n_reviews) ** latents["learning"].unsqueeze(-1)
        activation = practice * elapsed**-decay
        return torch.sigmoid((activation - latents["threshold"]) / self.noise)

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One presentation more; the answer makes no difference."""
        item = index_of(practised)
        since = state["since"].gather(1, item)
        return {
            "first_lag": state["first_lag"],
            "since": state["since"].scatter(1, item, 0.0),
            "n_reviews": state["n_reviews"].scatter_add(1, item, style),
            "massing": state["massing"].scatter_add(1, item, style / torch.log(since + math.e)),
            "lag": push(state["lag"], torch.zeros_like(style)),
            "item": push(state["item"], item),
            "amount": push(state["amount"], style),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Presentations grow older."""
        days = days.unsqueeze(-1)
        return state | {name: state[name] + days for name in ("first_lag", "since", "lag")}
