"""DAS3H: study history by concept, on top of a power law of forgetting for each item.

Items exercise concepts (their knowledge components; ``concepts_of_items``). For item i of student
j, reviewed ``lag`` days ago if ever, with ``n_cw`` reviews and ``s_cw`` right answers on items of
concept c in the last w days:

* what is kept: ``m = sigmoid(ability_on_logit * ability_j + item_easiness_i + sum_c
  (concept_easiness_c + sum_w correct_weight_cw log(1 + s_cw) + attempt_weight_cw log(1 + n_cw)))``
  over the concepts c of item i (Choffin, Popineau, Bourda & Vie 2019, EDM);
* ``P(correct) = m + (1 - m) * (1 + rate_j * lag)**-decay_j`` once the item was reviewed, else m:
  what a review showed fades by a power law (the student of ``rltutor``, Kubotani et al. 2021;
  code read. There time is in seconds, so that the second term is gone within minutes, and an item
  never reviewed counts as seen ten seconds before the start);
* a review adds ``style`` (see :func:`tutor_envs.student.style_multiplier`) to the counts of all
  concepts of its item; then the time of the action passes.

A lesson on a new topic starts without reviews.
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


class DAS3H(SkillPractice):
    """Study history by concept; see the module's text for the equations."""

    name: ClassVar[str] = "das3h"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "item"

    concepts_of_items: tuple[tuple[int, ...], ...] = Field(
        (), description="concepts (0, 1, ..) of each item; default: each item is a concept"
    )
    windows_days: tuple[float, ...] = Field((1 / 24, 1.0, 7.0, 30.0, math.inf), min_length=1)
    ability_on_logit: float = Field(1.0, ge=0, description="logit per SD of ability")
    max_reviews: int = Field(32, ge=1, description="reviews kept: the longest lesson")

    @model_validator(mode="after")
    def _check(self) -> Self:
        windows, concepts = self.windows_days, self.concepts_of_items
        if list(windows) != sorted(set(windows)) or windows[0] <= 0:
            raise ValueError(f"`windows_days` must increase from above 0, got {list(windows)}")
        if concepts and len(concepts) != self.n_skills:
            raise ValueError(
                f"`concepts_of_items` must have {self.n_skills} lists, got {len(concepts)}"
            )
        used = {concept for item in concepts for concept in item}
        if concepts and (not all(concepts) or used != set(range(len(used)))):
            raise ValueError(
                "`concepts_of_items` must name concepts 0, 1, .. without a gap, at least one for "
                f"each item, got {[list(item) for item in concepts]}"
            )
        return self

    @cached_property
    def _concepts(self) -> tuple[tuple[int, ...], ...]:
        return self.concepts_of_items or tuple((k,) for k in range(self.n_skills))

    @cached_property
    def n_concepts(self) -> int:
        """C, the number of concepts."""
        return 1 + max(concept for item in self._concepts for concept in item)

    @property
    def max_lesson_steps(self) -> int:
        """As many actions as the history holds."""
        return self.max_reviews

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, easiness, the weights of the windows, and the power law."""
        weights = (self.n_concepts, len(self.windows_days))
        return self._common_latents() | {
            "item_easiness": LatentSpec(
                (self.n_skills,), -math.inf, math.inf, 0.0, "logit, of the item"
            ),
            "concept_easiness": LatentSpec(
                (self.n_concepts,), -math.inf, math.inf, 0.0, "logit, of a concept"
            ),
            "correct_weight": LatentSpec(
                weights, -math.inf, math.inf, 0.5, "logit per log(1 + successes)"
            ),
            "attempt_weight": LatentSpec(
                weights, -math.inf, math.inf, 0.0, "logit per log(1 + reviews)"
            ),
            "rate": LatentSpec((), 0, math.inf, 0.3, "forgetting rate, per day"),
            "decay": LatentSpec((), 0, math.inf, 0.8, "exponent of forgetting"),
        }

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """An empty history, and when each item was last seen.

        ``lag`` (days), ``outcome`` (``correct * K + item``) and ``amount`` of the reviews,
        ``(n, H)``; ``since`` ``(n, K)``, days since each item's last review, and ``seen``
        ``(n, K)``, 1 if there was one.
        """
        like, size = latents["ability"], self.max_reviews
        zeros = torch.zeros_like(latents["item_easiness"])
        return {
            "lag": empty_column(like, size),
            "outcome": empty_index(like, size, 2 * self.n_skills * (len(self.windows_days) + 1)),
            "amount": empty_column(like, size),
            "since": zeros,
            "seen": zeros.clone(),
        }

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer on each item now."""
        return self._p_correct(latents, state, self._logit(latents, state))

    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """Probability of a correct answer on one item now."""
        logit = self._logit(latents, state).gather(-1, skill)
        return self._p_correct(latents, narrowed(state, skill, "since", "seen"), logit)

    def _logit(self, latents: Latents, state: State) -> Tensor:
        """Of what is kept of each item, ``(n, K)``: sums before and after the logarithm."""
        ability, n_windows = latents["ability"], len(self.windows_days)
        concepts = ability.new_tensor(
            [[float(c in item) for c in range(self.n_concepts)] for item in self._concepts]
        )
        nested = ability.new_ones(n_windows, n_windows).triu()  # a window lies in all wider ones
        answers = ability.new_tensor([[0, 1], [1, 1]])  # wrong: an attempt; right: a success, too
        to_counts = torch.einsum("wv,ab,kc->wakbcv", nested, answers, concepts).flatten(0, 2)
        to_items = concepts.T.repeat_interleave(n_windows, 0).repeat(2, 1)
        seen = window_totals(
            state["amount"], state["outcome"], state["lag"], self.windows_days, 2 * self.n_skills
        )
        gained = (seen.flatten(1) @ to_counts.flatten(1)).add_(1).log_()
        for half, name in zip(gained.chunk(2, 1), ("correct", "attempt"), strict=True):
            half.mul_(latents[f"{name}_weight"].flatten(1))
        easiness = latents["item_easiness"] + latents["concept_easiness"] @ concepts.T
        return self.ability_on_logit * ability.unsqueeze(-1) + easiness + gained @ to_items

    def _p_correct(self, latents: Latents, state: State, logit: Tensor) -> Tensor:
        kept = torch.sigmoid(logit)
        rate, decay = (latents[name].unsqueeze(-1) for name in ("rate", "decay"))
        return kept + (1 - kept) * state["seen"] * (1 + rate * state["since"]) ** -decay

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One review more in the history, and the item was just seen."""
        item = index_of(practised)
        return {
            "lag": push(state["lag"], torch.zeros_like(style)),
            "outcome": push(state["outcome"], correct * self.n_skills + item),
            "amount": push(state["amount"], style),
            "since": state["since"].scatter(1, item, 0.0),
            "seen": state["seen"].scatter(1, item, 1.0),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Reviews grow older."""
        days = days.unsqueeze(-1)
        return state | {"lag": state["lag"] + days, "since": state["since"] + days}
