"""Item response theory with growth in the zone of proximal development.

The state is an ability ``theta_k`` for each skill, on the logit scale. For an item of skill k and
difficulty b taught in modality m:

* answer, two-parameter logistic (Birnbaum 1968):
  ``P(correct) = sigmoid(discrimination * (theta_k - b))``;
* growth: ``theta_k += growth * style * aim``, where ``style`` is
  :func:`tutor_envs.student.style_multiplier` and
  ``aim = exp(-(b - theta_k - zpd_offset)**2 / (2 zpd_width**2))`` is near one for an item just
  beyond the student's reach (``zpd_offset`` logits above) and near zero for items far too easy or
  too hard. It formalises Vygotsky's zone of proximal development; the Gaussian form is our choice.

A lesson on a new topic starts at ``theta_k = ability + skill_offset_k``.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

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


class IRT(StudentModel):
    """IRT with growth; see the module's text for the equations."""

    name: ClassVar[str] = "irt"

    n_skills: int = Field(2, ge=1)
    difficulties: tuple[float, ...] = Field(
        (-1.0, 0.0, 1.0, 2.0), min_length=1, description="item difficulties, in logits, increasing"
    )
    discrimination: float = Field(1.2, gt=0, description="slope of the response curve")
    target_difficulty: float = Field(1.0, description="mastery is P(correct) at this difficulty")

    @model_validator(mode="after")
    def _check(self) -> IRT:
        if list(self.difficulties) != sorted(set(self.difficulties)):
            raise ValueError(f"`difficulties` must increase, got {list(self.difficulties)}")
        return self

    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_0`` .. ``skill_{K-1}``."""
        return tuple(f"skill_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice of (skill, difficulty, modality), the modality varying fastest."""
        return tuple(
            TeachingAction(f"practice(b={b:g})", skill, modality)
            for skill in self.skills
            for b in self.difficulties
            for modality in self.modalities
        )

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, the start of each skill (logits), and how the student grows."""
        return self._common_latents() | {
            "skill_offset": LatentSpec(
                (self.n_skills,), -10, 10, 0.0, "theta_k - ability at the start"
            ),
            "growth": LatentSpec((), 0, 10, 0.3, "largest growth per practice, in logits"),
            "zpd_offset": LatentSpec((), -5, 5, 0.5, "best difficulty above theta, in logits"),
            "zpd_width": LatentSpec((), 0.05, 10, 1.0, "width of the zone, in logits"),
        }

    def _difficulty(self, action: Tensor, dtype: torch.dtype) -> Tensor:
        levels = torch.tensor(self.difficulties, dtype=dtype, device=action.device)
        per_skill = action.div(len(self.modalities), rounding_mode="floor")
        return levels[per_skill.remainder(len(self.difficulties))]

    def _skill(self, action: Tensor) -> Tensor:
        return action.div(len(self.difficulties) * len(self.modalities), rounding_mode="floor")

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``theta`` ``(n, K)``, in logits."""
        return {"theta": latents["ability"].unsqueeze(-1) + latents["skill_offset"]}

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        theta = belief["theta"].gather(-1, self._skill(action).unsqueeze(-1)).squeeze(-1)
        p = torch.sigmoid(self.discrimination * (theta - self._difficulty(action, theta.dtype)))
        return torch.stack([1 - p, p], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Growth of the practised skill; the answer itself does not change it."""
        theta = belief["theta"]
        distance = self._difficulty(action, theta.dtype).unsqueeze(-1) - theta
        distance = distance - latents["zpd_offset"].unsqueeze(-1)
        aim = torch.exp(-(distance**2) / (2 * latents["zpd_width"].unsqueeze(-1) ** 2))
        style = style_multiplier(latents, action.remainder(len(self.modalities)))
        practised = self._skill(action).unsqueeze(-1) == torch.arange(
            self.n_skills, device=action.device
        )
        return {"theta": theta + practised * (latents["growth"] * style).unsqueeze(-1) * aim}

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Growth does not depend on the answer, and only the practised skill changes."""
        grown = self.update(latents, belief, action, action)["theta"]
        skill = self._skill(action).unsqueeze(-1)
        theta = torch.stack([belief["theta"].gather(-1, skill), grown.gather(-1, skill)])
        levels = torch.tensor(self.difficulties, dtype=theta.dtype, device=theta.device)
        score = torch.sigmoid(self.discrimination * (theta - levels)).mean(-1)
        gain: Tensor = (score[1] - score[0]) / self.n_skills
        return gain

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``belief_gain``, with axes ``(n, skill, difficulty, modality)`` until the end."""
        theta = belief["theta"]
        levels = torch.tensor(self.difficulties, dtype=theta.dtype, device=theta.device)
        theta = theta.view(-1, self.n_skills, 1, 1)
        distance = levels.unsqueeze(-1) - theta - latents["zpd_offset"].view(-1, 1, 1, 1)
        aim = torch.exp(-(distance**2) / (2 * latents["zpd_width"].view(-1, 1, 1, 1) ** 2))
        growth = latents["growth"].unsqueeze(-1) * style_multipliers(latents)
        grown = theta + growth.view(-1, 1, 1, growth.shape[-1]) * aim
        before = torch.sigmoid(self.discrimination * (theta.unsqueeze(-1) - levels)).mean(-1)
        after = torch.sigmoid(self.discrimination * (grown.unsqueeze(-1) - levels)).mean(-1)
        return ((after - before) / self.n_skills).flatten(1)

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer at ``target_difficulty``."""
        return torch.sigmoid(self.discrimination * (state["theta"] - self.target_difficulty))

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Mean probability of a correct answer over skills and difficulties."""
        theta = state["theta"].unsqueeze(-1)
        levels = torch.tensor(self.difficulties, dtype=theta.dtype, device=theta.device)
        return torch.sigmoid(self.discrimination * (theta - levels)).mean((-1, -2))
