"""Learner with a zone of proximal development: difficulty and support decide what is learned.

The state is an ability ``theta_k`` for each skill, in logits; a lesson starts at
``theta_k = ability_on_start * ability + skill_offset_k``. An action is an item of skill k with
difficulty b, given with support s (a scaffold: hints, a worked step), in a modality with factor
``style`` (:func:`tutor_envs.student.style_multiplier`). Support makes the item easier by s logits,
for the answer and for learning:

* answer: ``P(correct) = sigmoid(theta_k - (b - s))``;
* learning: ``theta_k += growth * style * exp(-d**2 / (2 zpd_width**2))`` at the distance
  ``d = b - s - theta_k - zpd_offset``, so most where the supported item lies ``zpd_offset`` beyond
  what the student can do alone (Vygotsky's zone of proximal development, with the scaffolding of
  Wood, Bruner & Ross 1976; the Gaussian form is our choice);
* forgetting: the distance to the start shrinks by ``exp(-forget_per_day * days)``.

It differs from ``irt`` in its actions. The post-test is taken without support, so a right answer
with support says little, and help that brings hard items within a novice's reach holds back one who
no longer needs it: a tutor has to fade it out.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.student import (
    Belief,
    Latents,
    LatentSpec,
    State,
    StudentModel,
    TeachingAction,
    style_multiplier,
    style_multipliers,
)


class ZPD(StudentModel):
    """Learner with a zone of proximal development; see the module's text for the equations."""

    name: ClassVar[str] = "zpd"

    n_skills: int = Field(2, ge=1)
    modalities: tuple[str, ...] = Field(("text", "video"), min_length=1)
    difficulties: tuple[float, ...] = Field(
        (0.0, 2.0), min_length=1, description="item difficulties, in logits, increasing"
    )
    supports: tuple[float, ...] = Field(
        (0.0, 1.5),
        min_length=1,
        description="levels of support: logits by which an item gets easier, >= 0, increasing",
    )
    target_difficulty: float = Field(
        1.0, description="mastery is P(correct) at this difficulty, without support"
    )
    ability_on_start: float = Field(1.0, ge=0, description="logits at the start per SD of ability")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field in ("difficulties", "supports"):
            levels = list(getattr(self, field))
            if levels != sorted(set(levels)):
                raise ValueError(f"`{field}` must increase, got {levels}")
        if self.supports[0] < 0:
            raise ValueError(f"`supports` must be >= 0, got {list(self.supports)}")
        return self

    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_0`` .. ``skill_{K-1}``."""
        return tuple(f"skill_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice of (skill, difficulty, support, modality), the modality varying fastest."""
        return tuple(
            TeachingAction(f"practice(b={b:g}, support={s:g})", skill, modality)
            for skill in self.skills
            for b in self.difficulties
            for s in self.supports
            for modality in self.modalities
        )

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, the start of each skill (logits), the zone, and forgetting."""
        return self._common_latents() | {
            "skill_offset": LatentSpec(
                (self.n_skills,), -10, 10, 0.0, "theta_k at the start, less the part of ability"
            ),
            "growth": LatentSpec((), 0, 10, 0.4, "largest growth per practice, in logits"),
            "zpd_offset": LatentSpec((), -5, 5, 0.5, "best difficulty above theta, in logits"),
            "zpd_width": LatentSpec((), 0.05, 10, 1.0, "width of the zone, in logits"),
            "forget_per_day": LatentSpec((), 0, 1e3, 0.0, "rate at which growth is lost"),
        }

    def _item(self, action: Tensor) -> Tensor:
        """Index of (difficulty, support), ``(n,)``."""
        n_items = len(self.difficulties) * len(self.supports)
        return action.div(len(self.modalities), rounding_mode="floor").remainder(n_items)

    def _skill(self, action: Tensor) -> Tensor:
        n_items = len(self.difficulties) * len(self.supports)
        return action.div(n_items * len(self.modalities), rounding_mode="floor")

    def _supported(self, like: Tensor) -> Tensor:
        """``(D * S,)`` difficulty of each item less its support."""
        levels = [b - s for b in self.difficulties for s in self.supports]
        return torch.tensor(levels, dtype=like.dtype, device=like.device)

    def _start(self, latents: Latents) -> Tensor:
        return self.ability_on_start * latents["ability"].unsqueeze(-1) + latents["skill_offset"]

    # -- simulation ---------------------------------------------------------------------------
    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``theta`` ``(n, K)``, in logits."""
        return {"theta": self._start(latents)}

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        theta = belief["theta"].gather(-1, self._skill(action).unsqueeze(-1)).squeeze(-1)
        p = torch.sigmoid(theta - self._supported(theta)[self._item(action)])
        return torch.stack([1 - p, p], dim=-1)

    def _learned(self, latents: Latents, theta: Tensor, supported: Tensor) -> Tensor:
        """Growth at style 1 of ``theta`` ``(n, ...)``, which broadcasts with ``supported``."""
        shape = (-1, *(1,) * (theta.dim() - 1))
        distance = supported - theta - latents["zpd_offset"].view(shape)
        aim = torch.exp(-(distance**2) / (2 * latents["zpd_width"].view(shape) ** 2))
        return latents["growth"].view(shape) * aim

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Growth of the practised skill, whatever the answer; then the time that it took."""
        theta = belief["theta"]
        style = style_multiplier(latents, action.remainder(len(self.modalities)))
        skills = torch.arange(self.n_skills, device=action.device)
        practised = self._skill(action).unsqueeze(-1) == skills
        supported = self._supported(theta)[self._item(action)].unsqueeze(-1)
        learned = practised * style.unsqueeze(-1) * self._learned(latents, theta, supported)
        days = torch.full_like(style, self.step_days)
        return self.belief_wait(latents, {"theta": theta + learned}, days)

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """What was learned fades."""
        kept = torch.exp(-latents["forget_per_day"] * days).unsqueeze(-1)
        start = self._start(latents)
        return {"theta": start + (state["theta"] - start) * kept}

    # -- gains --------------------------------------------------------------------------------
    def _score(self, theta: Tensor) -> Tensor:
        """Mean P(correct) over the difficulties, without support; shape as ``theta``."""
        levels = torch.tensor(self.difficulties, dtype=theta.dtype, device=theta.device)
        return torch.sigmoid(theta.unsqueeze(-1) - levels).mean(-1)

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """The answer does not matter."""
        after = self.update(latents, belief, action, action)["theta"]
        return (self._score(after) - self._score(belief["theta"])).mean(-1)

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``belief_gain``, with axes ``(n, skill, item, modality)`` until the end."""
        now, start = (
            x.view(-1, self.n_skills, 1, 1) for x in (belief["theta"], self._start(latents))
        )
        style = style_multipliers(latents)[:, None, None]
        grown = now + style * self._learned(latents, now, self._supported(now).unsqueeze(-1))
        kept = torch.exp(-latents["forget_per_day"] * self.step_days).view(-1, 1, 1, 1)
        before = self._score(now)
        gained = self._score(start + (grown - start) * kept) - before
        lost = self._score(start + (now - start) * kept) - before
        others = lost.sum(1, keepdim=True) - lost
        return ((gained + others) / self.n_skills).flatten(1)

    # -- truth --------------------------------------------------------------------------------
    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer at ``target_difficulty``, without support."""
        return torch.sigmoid(state["theta"] - self.target_difficulty)

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Mean probability of a correct answer over skills and difficulties, without support."""
        return self._score(state["theta"]).mean(-1)
