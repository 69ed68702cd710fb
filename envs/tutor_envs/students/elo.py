"""Elo student: a rating per skill that every answer moves, as chess ratings are moved by games.

In tutoring systems Elo ratings are a teacher's running *estimate* of a student (Pelanek 2016,
Computers & Education 98). Here the update is the student: the rating ``theta_k`` is what the
student really can do, an "urn" that each answer puts something into or takes something from. It
differs from ``irt``, where the answer is only evidence: here the answer itself moves the student,
success breeds success, and two students alike at the start drift apart by luck.

**Answer** to item i with rating ``b_i``, which exercises the skill k = ``skill_of_item[i]``:
``p = P(correct) = sigmoid(theta_k - b_i)``. A lesson starts at
``theta_k = ability_on_start * ability + skill_offset_k``.

**Learning**, in a modality with factor ``style`` (:func:`tutor_envs.student.style_multiplier`) and
with ``n_k`` answers on the skill so far (the asymmetric update of PFAE: Papousek, Pelanek &
Stanislav 2014, EDM; the falling factor is Pelanek's uncertainty function):

* right: ``theta_k += style * k_correct * (1 - p) / (1 + step_decay * n_k)``
* wrong: ``theta_k -= style * k_wrong * p / (1 + step_decay * n_k)``

This is Elo's ``K (y - p)``, which moves nobody on average, plus a drift of learning: the mean step
is ``(k_correct - k_wrong) p (1 - p)``. With ``k_correct > k_wrong`` a student learns, most from
items that are answered rightly half the time. Nothing is forgotten.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Belief, Latents, LatentSpec, State, style_multipliers


class Elo(SkillPractice):
    """A student whose true rating moves as an Elo rating; see the module's text."""

    name: ClassVar[str] = "elo"
    unit: ClassVar[str] = "item"

    n_skills: int = Field(6, ge=1, description="number of items")
    item_ratings: tuple[float, ...] = Field(
        (-1.0, 0.0, 1.0, -1.0, 0.0, 1.0), description="rating of each item, in logits"
    )
    skill_of_item: tuple[int, ...] = Field(
        (0, 0, 0, 1, 1, 1), description="index of the skill that each item exercises"
    )
    ability_on_start: float = Field(1.0, ge=0, description="logits at the start per SD of ability")
    step_decay: float = Field(
        0.05, ge=0, description="steps shrink as 1 / (1 + step_decay * answers on the skill)"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field in ("item_ratings", "skill_of_item"):
            if len(getattr(self, field)) != self.n_skills:
                raise ValueError(
                    f"`{field}` must have a value for each of `n_skills` = {self.n_skills} items, "
                    f"got {len(getattr(self, field))}"
                )
        if set(self.skill_of_item) != set(range(self.n_rated)):
            raise ValueError(
                "`skill_of_item` must use the skills 0, 1, .. without a gap, "
                f"got {list(self.skill_of_item)}"
            )
        return self

    @property
    def n_rated(self) -> int:
        """Skills that have a rating."""
        return max(self.skill_of_item) + 1

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, the start of each rating (logits), and the step sizes."""
        return self._common_latents() | {
            "skill_offset": LatentSpec(
                (self.n_rated,), -10, 10, 0.0, "rating at the start, less the part of ability"
            ),
            "k_correct": LatentSpec((), 0, 10, 0.8, "logits per surprise of a right answer"),
            "k_wrong": LatentSpec((), 0, 10, 0.2, "logits lost per surprise of a wrong answer"),
        }

    def _skill_of(self, device: torch.device) -> Tensor:
        """``(I,)`` index of each item's skill."""
        return torch.tensor(self.skill_of_item, device=device)

    def _p(self, theta: Tensor) -> Tensor:
        """``(..., I)`` for ratings ``(..., K)``."""
        b = torch.tensor(self.item_ratings, dtype=theta.dtype, device=theta.device)
        return torch.sigmoid(theta[..., self._skill_of(theta.device)] - b)

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """Ratings ``theta`` and answers so far ``n_answers``, ``(n, K)`` each."""
        theta = self.ability_on_start * latents["ability"].unsqueeze(-1) + latents["skill_offset"]
        return {"theta": theta, "n_answers": torch.zeros_like(theta)}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Of each item."""
        return self._p(state["theta"])

    def _steps(self, latents: Latents, state: State) -> tuple[Tensor, Tensor]:
        """``(n, I)`` step of each item's skill after a right and after a wrong answer, style 1."""
        p = self._p(state["theta"])
        n_answers = state["n_answers"][:, self._skill_of(p.device)]
        size = 1 / (1 + self.step_decay * n_answers)
        right = latents["k_correct"].unsqueeze(-1) * (1 - p) * size
        wrong = -latents["k_wrong"].unsqueeze(-1) * p * size
        return right, wrong

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """The rating moves by the surprise."""
        right, wrong = self._steps(latents, state)
        step = torch.where(correct, right, wrong) * style * practised
        exercises = self._skill_of(step.device).unsqueeze(-1) == torch.arange(
            self.n_rated, device=step.device
        )
        exercises = exercises.to(step.dtype)
        return {
            "theta": state["theta"] + step @ exercises,
            "n_answers": state["n_answers"] + practised.to(step.dtype) @ exercises,
        }

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``belief_gain``, with axes ``(n, item, modality)`` until the end."""
        theta = belief["theta"]
        own = torch.nn.functional.one_hot(self._skill_of(theta.device), self.n_rated).to(theta)
        style = style_multipliers(latents)[:, None, :, None]
        p = self._p(theta)
        after = torch.zeros_like(p).unsqueeze(-1)
        for weight, step in zip((p, 1 - p), self._steps(latents, belief), strict=True):
            moved = theta[:, None, None] + (step.unsqueeze(-1) * own).unsqueeze(2) * style
            after = after + weight.unsqueeze(-1) * self._p(moved).mean(-1)
        return (after - p.mean(-1)[:, None, None]).flatten(1)
