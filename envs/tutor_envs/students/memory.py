"""Exponential forgetting: items with a half-life that grows with successful review.

For item i with strength ``n_i`` and lag ``d_i`` (steps since it was last reviewed):

* half-life ``hl_i = half_life[i] * growth**n_i * exp(ability_on_half_life * ability)``, in steps;
* recall ``P(recall) = 2**(-d_i / hl_i)`` (half-life form: Settles & Meeder 2016, ACL);
* after a successful review ``n_i <- min(n_i + style, max_strength)``, where ``style`` is
  :func:`tutor_envs.student.style_multiplier`; after a failure ``n_i`` stays, or becomes
  ``min(n_i, fail_to)`` where ``fail_to`` is given;
* then the reviewed item's lag becomes 1 and every other lag grows by 1.

The post-test is the mean recall over items ``delay`` steps after the lesson so far. The log
half-life's spread between people is 1.2-1.4 (fits to 9,999 spaced-repetition users), hence the
default ``ability_on_half_life = 1.2`` per standard deviation.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.student import (
    CORRECT,
    Belief,
    Latents,
    LatentSpec,
    State,
    StudentModel,
    TeachingAction,
    skill_modality_actions,
    style_multiplier,
    style_multipliers,
)


class Memory(StudentModel):
    """Exponential-forgetting memory; see the module's text for the equations."""

    name: ClassVar[str] = "memory"

    n_items: int = Field(4, ge=1)
    max_strength: float = Field(6, ge=0, description="strength cannot grow beyond this")
    fail_to: float | None = Field(None, ge=0, description="a failure lowers the strength to this")
    delay: float = Field(10, ge=0, description="steps between the lesson and its post-test")
    initial_lag: tuple[float, ...] | float = Field(1, description="steps since the first exposure")
    ability_on_half_life: float = Field(1.2, ge=0, description="log half-life per SD of ability")

    @model_validator(mode="after")
    def _check(self) -> Memory:
        lags = self.initial_lag if isinstance(self.initial_lag, tuple) else (self.initial_lag,)
        if isinstance(self.initial_lag, tuple) and len(lags) != self.n_items:
            raise ValueError(f"`initial_lag` must have {self.n_items} numbers, got {len(lags)}")
        if min(lags) < 0:
            raise ValueError(f"`initial_lag` must be >= 0, got {self.initial_lag}")
        return self

    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``item_0`` .. ``item_{K-1}``."""
        return tuple(f"item_{i}" for i in range(self.n_items))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Review of an item in a modality, at index ``item * M + modality``."""
        return skill_modality_actions("review", self.skills, self.modalities)

    @property
    def responses(self) -> tuple[str, ...]:
        """Recalled or not."""
        return ("forgotten", "recalled")

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, base half-lives (steps) and growth per review."""
        return self._common_latents() | {
            "half_life": LatentSpec((self.n_items,), 1e-6, 1e9, 6.0, "base half-life, in steps"),
            "growth": LatentSpec((), 1, 1e3, 2.0, "factor on the half-life per successful review"),
        }

    def _item(self, action: Tensor) -> Tensor:
        """``(n, K)`` bool, true at the reviewed item."""
        item = action.div(len(self.modalities), rounding_mode="floor")
        return item.unsqueeze(-1) == torch.arange(self.n_items, device=action.device)

    def _recall(self, latents: Latents, state: State, delay: float = 0.0) -> Tensor:
        """``(n, K)`` recall probabilities ``delay`` steps from now."""
        scale = torch.exp(self.ability_on_half_life * latents["ability"]).unsqueeze(-1)
        growth = latents["growth"].unsqueeze(-1) ** state["strength"]
        return torch.exp2(-(state["lag"] + delay) / (latents["half_life"] * growth * scale))

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``strength`` 0 and ``lag`` (steps) at ``initial_lag``, ``(n, K)`` each."""
        half_life = latents["half_life"]
        lag = torch.as_tensor(self.initial_lag, dtype=half_life.dtype, device=half_life.device)
        return {"strength": torch.zeros_like(half_life), "lag": lag.expand(half_life.shape).clone()}

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(forgotten), P(recalled)."""
        recall = (self._recall(latents, belief) * self._item(action)).sum(-1)
        return torch.stack([1 - recall, recall], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Strength by success or failure; lags by one step of time."""
        item = self._item(action)
        strength, success = belief["strength"], (response == CORRECT).unsqueeze(-1)
        step = style_multiplier(latents, action.remainder(len(self.modalities))).unsqueeze(-1)
        grown = (strength + step).clamp(max=self.max_strength)
        failed = strength if self.fail_to is None else strength.clamp(max=self.fail_to)
        return {
            "strength": torch.where(item, torch.where(success, grown, failed), strength),
            "lag": torch.where(item, 1.0, belief["lag"] + 1),
        }

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Lags grow by as many steps as teaching actions would fit in."""
        return state | {"lag": state["lag"] + days.unsqueeze(-1) / self.step_days}

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """All items get one step older, but the reviewed one: it is recalled or not, and fresh."""
        strength, lag = belief["strength"], belief["lag"]
        fresh = torch.ones_like(lag)
        failed = strength if self.fail_to is None else strength.clamp(max=self.fail_to)
        now, later, failure = (
            self._recall(latents, {"strength": s, "lag": t}, self.delay)
            for s, t in ((strength, lag), (strength, lag + 1), (failed, fresh))
        )
        p = self._recall(latents, belief)
        others = (later - now).sum(-1, keepdim=True) - later
        gains = []
        for style in style_multipliers(latents).unbind(-1):
            grown = (strength + style.unsqueeze(-1)).clamp(max=self.max_strength)
            success = self._recall(latents, {"strength": grown, "lag": fresh}, self.delay)
            gains.append(others + p * success + (1 - p) * failure)
        return torch.stack(gains, dim=-1).flatten(1) / self.n_items

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Probability of recalling each item at the post-test."""
        return self._recall(latents, state, self.delay)

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Mean recall over the items, ``delay`` steps from now."""
        return self.mastery(latents, state).mean(-1)
