"""The common shape of a student model: K skills, each practised in a modality.

A model whose knowledge follows from latents and history alone subclasses :class:`SkillPractice`
and writes three things: ``begin_lesson``, ``p_correct`` and ``practise`` (and ``wait``, where time
matters). Everything else, the belief included, follows from them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.student import (
    CORRECT,
    Belief,
    Latents,
    State,
    StudentModel,
    TeachingAction,
    skill_modality_actions,
    style_multiplier,
)


def index_of(practised: Tensor) -> Tensor:
    """The practised skill, int64 ``(n, 1)``, from ``(n, K)`` bool that is true there alone."""
    return practised.to(torch.int8).argmax(-1, keepdim=True)


def narrowed(values: Mapping[str, Tensor], skill: Tensor, *names: str) -> dict[str, Tensor]:
    """The same with one skill in place of K in some tensors, ``(n, 1, ...)`` of ``(n, K, ...)``.

    Args:
        values: latents, or a state.
        skill: int64 ``(n, 1)``.
        names: of the tensors ``(n, K, ...)``; default: all of ``values``.
    """
    return dict(values) | {name: _of_skill(values[name], skill) for name in names or values}


def _of_skill(value: Tensor, skill: Tensor) -> Tensor:
    rest = value.shape[2:]
    return value.gather(1, skill.view(-1, 1, *[1] * len(rest)).expand(-1, 1, *rest))


class SkillPractice(StudentModel):
    """K skills practised in M modalities; the state is known from latents and history.

    A teaching action is the practice of a skill in a modality, at index ``skill * M + modality``.
    """

    activity: ClassVar[str] = "practice"
    """What teaching actions are called."""
    unit: ClassVar[str] = "skill"
    """What is practised: ``skill`` or ``item``."""

    n_skills: int = Field(4, ge=1)
    skill_names: tuple[str, ...] = Field((), description="names of the K skills; default: numbered")
    delay_days: float = Field(
        0.0, ge=0, description="days between the lesson and its post-test (if there is forgetting)"
    )

    @model_validator(mode="after")
    def _check_skill_names(self) -> Self:
        if self.skill_names and len(set(self.skill_names)) != self.n_skills:
            raise ValueError(
                f"`skill_names` must be {self.n_skills} different names, got "
                f"{len(self.skill_names)} of which {len(set(self.skill_names))} differ"
            )
        return self

    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_names``, or ``skill_0`` .. ``skill_{K-1}`` (or ``item_0`` ..)."""
        return self.skill_names or tuple(f"{self.unit}_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice of a skill in a modality, at index ``skill * M + modality``."""
        return skill_modality_actions(self.activity, self.skills, self.modalities)

    # -- what a model writes ------------------------------------------------------------------
    @abstractmethod
    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer now, for each skill, ``(n, K)``."""

    @abstractmethod
    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """The state right after an answer, before the time that the action took has passed.

        Args:
            latents: of n students.
            state: at the time of the answer.
            practised: bool ``(n, K)``, true at the practised skill.
            correct: bool ``(n, 1)``, the answer.
            style: ``(n, 1)``, the modality's factor on learning;
                see :func:`tutor_envs.student.style_multiplier`.
        """

    # -- what a model may know a faster way for -----------------------------------------------
    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """:meth:`p_correct` on one skill for each student, int64 ``(n, 1)``; ``(n, 1)``."""
        return self.p_correct(latents, state).gather(-1, skill)

    # -- what follows -------------------------------------------------------------------------
    def _skill(self, action: Tensor) -> Tensor:
        """The practised skill, int64 ``(n, 1)``."""
        return action.div(len(self.modalities), rounding_mode="floor").unsqueeze(-1)

    def practised(self, action: Tensor) -> Tensor:
        """``(n, K)`` bool, true at the practised skill."""
        return self._skill(action) == torch.arange(self.n_skills, device=action.device)

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        p = self.p_answer(latents, belief, self._skill(action)).squeeze(-1)
        return torch.stack([1 - p, p], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Practice, then the time that the action takes."""
        correct = (response == CORRECT).unsqueeze(-1)
        style = style_multiplier(latents, action.remainder(len(self.modalities))).unsqueeze(-1)
        after = self.practise(latents, belief, self.practised(action), correct, style)
        return self.belief_wait(latents, after, torch.full_like(style[:, 0], self.step_days))

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer on each skill at the post-test."""
        if self.delay_days:
            delay = torch.full_like(latents["ability"], self.delay_days)
            state = self.belief_wait(latents, state, delay)
        return self.p_correct(latents, state)

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Mean probability of a correct answer over the skills, ``delay_days`` from now."""
        return self.mastery(latents, state).mean(-1)
