"""Item response theory with growth: ability on the logit scale, items at several difficulties.

The state is an ability ``theta_k`` for each skill, on the logit scale. A lesson on a new topic
starts at ``theta_k = ability_on_start * ability + skill_offset_k``.

**Answer.** For an item of skill k and difficulty b, four-parameter logistic (Birnbaum 1968; upper
asymptote: Barton & Lord 1981): ``P(correct) = c + (d - c) sigmoid(a (theta_k - b))`` with slope
``a = discrimination`` (one number, or one per difficulty), floor ``c = p_guess`` and ceiling
``d = 1 - p_slip`` (never below the floor). 3PL is ``p_slip = 0``; 2PL also has ``p_guess = 0``, and
1PL one discrimination of 1.

**Growth**, the practice being in a modality with factor ``style``
(:func:`tutor_envs.student.style_multiplier`), by one of two laws:

* ``zpd``: ``theta_k += growth * style * aim``, where
  ``aim = exp(-(b - theta_k - zpd_offset)**2 / (2 zpd_width**2))`` is near one for an item just
  beyond the student's reach (``zpd_offset`` logits above) and near zero for items far too easy or
  too hard. It formalises Vygotsky's zone of proximal development; the Gaussian form is our choice.
* ``practice``: ``theta_k = start_k + growth * log1p(N_k)``, where the exposure ``N_k`` counts
  practices of skill k at any difficulty, each as ``style``. This is the growth model that is fitted
  to real logs: logit p = learner + item + slope * log1p(exposures).

**Drift.** ``theta_k -= drift_per_day * days`` as time passes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

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

_Positive = Annotated[float, Field(gt=0)]


class IRT(StudentModel):
    """IRT with growth; see the module's text for the equations."""

    name: ClassVar[str] = "irt"

    n_skills: int = Field(2, ge=1)
    skill_names: tuple[str, ...] = Field((), description="names of the K skills; default: numbered")
    difficulties: tuple[float, ...] = Field(
        (-1.0, 0.0, 1.0, 2.0), min_length=1, description="item difficulties, in logits, increasing"
    )
    discrimination: _Positive | tuple[_Positive, ...] = Field(
        1.2, description="slope of the response curve: one number, or one for each difficulty"
    )
    target_difficulty: float = Field(1.0, description="mastery is P(correct) at this difficulty")
    growth_law: Literal["zpd", "practice"] = Field(
        "zpd", description="growth by well-aimed difficulty, or by log1p of the exposures"
    )
    ability_on_start: float = Field(1.0, ge=0, description="logits at the start per SD of ability")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.difficulties) != sorted(set(self.difficulties)):
            raise ValueError(f"`difficulties` must increase, got {list(self.difficulties)}")
        slopes = self.discrimination
        if isinstance(slopes, tuple) and len(slopes) != len(self.difficulties):
            raise ValueError(
                f"`discrimination` must be one number, or one for each of the "
                f"{len(self.difficulties)} difficulties, got {len(slopes)}"
            )
        if self.skill_names and len(set(self.skill_names)) != self.n_skills:
            raise ValueError(
                f"`skill_names` must be {self.n_skills} different names, got "
                f"{list(self.skill_names)}"
            )
        return self

    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_names``, or ``skill_0`` .. ``skill_{K-1}``."""
        return self.skill_names or tuple(f"skill_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice of (skill, difficulty, modality), the modality varying fastest."""
        one_level = len(self.difficulties) == 1
        return tuple(
            TeachingAction("practice" if one_level else f"practice(b={b:g})", skill, modality)
            for skill in self.skills
            for b in self.difficulties
            for modality in self.modalities
        )

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, the start of each skill (logits), how the student grows and answers.

        A slope fitted to answers may be negative (practice that tires): only the law ``practice``
        has that.
        """
        least = -10 if self.growth_law == "practice" else 0
        return self._common_latents() | {
            "skill_offset": LatentSpec(
                (self.n_skills,), -10, 10, 0.0, "theta_k at the start, less the part of ability"
            ),
            "growth": LatentSpec(
                (), least, 10, 0.3, "logits: most per practice (zpd), or per log1p(exposures)"
            ),
            "zpd_offset": LatentSpec((), -5, 5, 0.5, "best difficulty above theta, in logits"),
            "zpd_width": LatentSpec((), 0.05, 10, 1.0, "width of the zone, in logits"),
            "p_guess": LatentSpec((), 0, 1, 0.0, "P(correct) far below every item"),
            "p_slip": LatentSpec((), 0, 1, 0.0, "P(wrong) far above every item"),
            "drift_per_day": LatentSpec((), 0, 10, 0.0, "logits that every skill loses in a day"),
        }

    # -- actions and answers ------------------------------------------------------------------
    def _skill(self, action: Tensor) -> Tensor:
        return action.div(len(self.difficulties) * len(self.modalities), rounding_mode="floor")

    def _level(self, action: Tensor) -> Tensor:
        per_skill = action.div(len(self.modalities), rounding_mode="floor")
        return per_skill.remainder(len(self.difficulties))

    def _levels(self, like: Tensor) -> Tensor:
        """``(D,)`` difficulties."""
        return torch.tensor(self.difficulties, dtype=like.dtype, device=like.device)

    def _slopes(self, like: Tensor) -> Tensor:
        """``(D,)`` discriminations, or a scalar for all difficulties."""
        return torch.tensor(self.discrimination, dtype=like.dtype, device=like.device)

    def _p_correct(self, latents: Latents, logit: Tensor) -> Tensor:
        """The curve at ``a (theta - b)`` of shape ``(n, ...)``."""
        shape = (-1, *(1,) * (logit.dim() - 1))
        guess, slip = latents["p_guess"].view(shape), latents["p_slip"].view(shape)
        return guess + (1 - slip - guess).clamp(min=0) * torch.sigmoid(logit)

    def _p_levels(self, latents: Latents, theta: Tensor) -> Tensor:
        """P(correct) at every difficulty, the last axis."""
        logit = self._slopes(theta) * (theta.unsqueeze(-1) - self._levels(theta))
        return self._p_correct(latents, logit)

    def _score(self, latents: Latents, theta: Tensor) -> Tensor:
        """Mean P(correct) over the difficulties, shape as ``theta``."""
        return self._p_levels(latents, theta).mean(-1)

    # -- simulation ---------------------------------------------------------------------------
    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``theta`` ``(n, K)``, in logits; the practice law also keeps ``exposure`` ``(n, K)``."""
        start = self.ability_on_start * latents["ability"].unsqueeze(-1)
        theta = start + latents["skill_offset"]
        if self.growth_law == "zpd":
            return {"theta": theta}
        return {"theta": theta, "exposure": torch.zeros_like(theta)}

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        theta = belief["theta"].gather(-1, self._skill(action).unsqueeze(-1)).squeeze(-1)
        level, slopes = self._level(action), self._slopes(theta)
        logit = slopes.expand(len(self.difficulties))[level] * (theta - self._levels(theta)[level])
        p = self._p_correct(latents, logit)
        return torch.stack([1 - p, p], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Growth of the practised skill, whatever the answer; then the time that it took."""
        theta = belief["theta"]
        style = style_multiplier(latents, action.remainder(len(self.modalities)))
        skills = torch.arange(self.n_skills, device=action.device)
        practised = self._skill(action).unsqueeze(-1) == skills
        if self.growth_law == "zpd":
            b = self._levels(theta)[self._level(action)].unsqueeze(-1)
            growth = (latents["growth"] * style).unsqueeze(-1)
            grown = {"theta": theta + practised * growth * self._aim(latents, b, theta)}
        else:
            exposure = belief["exposure"] + practised * style.unsqueeze(-1)
            more = torch.log1p(exposure) - torch.log1p(belief["exposure"])
            grown = {
                "theta": theta + latents["growth"].unsqueeze(-1) * more,
                "exposure": exposure,
            }
        return self.belief_wait(latents, grown, torch.full_like(style, self.step_days))

    def _aim(self, latents: Latents, difficulty: Tensor, theta: Tensor) -> Tensor:
        """How well a difficulty fits each skill, in (0, 1]."""
        shape = (-1, *(1,) * (theta.dim() - 1))
        distance = difficulty - theta - latents["zpd_offset"].view(shape)
        return torch.exp(-(distance**2) / (2 * latents["zpd_width"].view(shape) ** 2))

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Every skill drifts down."""
        drift = (latents["drift_per_day"] * days).unsqueeze(-1)
        return {**state, "theta": state["theta"] - drift}

    # -- gains --------------------------------------------------------------------------------
    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Growth does not depend on the answer."""
        after = self.update(latents, belief, action, action)["theta"]
        change = self._score(latents, after) - self._score(latents, belief["theta"])
        return change.sum(-1) / self.n_skills

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``belief_gain``, with axes ``(n, skill, difficulty, modality)`` until the end."""
        theta = belief["theta"]
        style = style_multipliers(latents)
        drift = (latents["drift_per_day"] * self.step_days).view(-1, 1, 1, 1)
        growth = latents["growth"].unsqueeze(-1) * style
        growth = growth.view(-1, 1, 1, growth.shape[-1])
        now = theta.view(-1, self.n_skills, 1, 1)
        if self.growth_law == "zpd":
            grown = now + growth * self._aim(latents, self._levels(theta).unsqueeze(-1), now)
        else:
            exposure = belief["exposure"].view_as(now)
            more = torch.log1p(exposure + style.view_as(growth)) - torch.log1p(exposure)
            grown = now + latents["growth"].view(-1, 1, 1, 1) * more
            grown = grown.expand(-1, -1, len(self.difficulties), -1)
        before = self._score(latents, now)
        gained = self._score(latents, grown - drift) - before
        lost = self._score(latents, now - drift) - before
        others = lost.sum(1, keepdim=True) - lost
        return ((gained + others) / self.n_skills).flatten(1)

    # -- truth --------------------------------------------------------------------------------
    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer at ``target_difficulty``, with the mean slope."""
        slope = self._slopes(state["theta"]).mean()
        return self._p_correct(latents, slope * (state["theta"] - self.target_difficulty))

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Mean probability of a correct answer over skills and difficulties."""
        return self._p_levels(latents, state["theta"]).mean((-1, -2))
