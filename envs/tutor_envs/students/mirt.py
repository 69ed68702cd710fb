"""Multidimensional IRT: items that need several traits, and traits that grow through the Q-matrix.

The state is a vector of T traits ``theta``, in logits. A lesson starts at one general factor plus
specific ones, ``theta_t = ability_on_start * ability + specific_t``. Item i loads on trait t by
``q_matrix[i][t] = a_it >= 0`` and has the difficulty ``b_i``.

**Answer**, with ``c = p_guess`` (Reckase 2009, Multidimensional Item Response Theory; the
non-compensatory form is Sympson's, 1978):

* compensatory: ``P(correct) = c + (1 - c) sigmoid(sum_t a_it theta_t - b_i)``; a strong trait makes
  up for a weak one;
* non-compensatory: ``P(correct) = c + (1 - c) prod_{t: a_it > 0} sigmoid(a_it (theta_t - b_i))``;
  every trait that the item needs must be there.

**Growth.** Practice of item i in a modality with factor ``style``
(:func:`tutor_envs.student.style_multiplier`) raises each trait by its share of the item's loadings,
``theta_t += growth * style * 4 p (1 - p) * a_it / sum_s a_is``, where p is P(correct) without
guessing: items that are answered rightly half the time teach most. The factor ``4 p (1 - p)`` and
the sharing by loadings are our choice. The answer itself teaches nothing; nothing is forgotten.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Belief, Latents, LatentSpec, State, style_multipliers


class MIRT(SkillPractice):
    """Multidimensional IRT with growth; see the module's text for the equations."""

    name: ClassVar[str] = "mirt"
    unit: ClassVar[str] = "item"

    n_skills: int = Field(5, ge=1, description="number of items, rows of the Q-matrix")
    q_matrix: tuple[tuple[float, ...], ...] = Field(
        ((1.2, 0.0), (0.0, 1.2), (1.0, 0.6), (0.6, 1.0), (0.9, 0.9)),
        description="loading (discrimination) of each item on each trait, >= 0",
    )
    difficulties: tuple[float, ...] = Field(
        (-0.5, -0.5, 0.5, 0.5, 1.0), description="difficulty of each item, in logits"
    )
    compensatory: bool = Field(True, description="a strong trait makes up for a weak one")
    ability_on_start: float = Field(1.0, ge=0, description="logits at the start per SD of ability")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, rows in (("q_matrix", self.q_matrix), ("difficulties", self.difficulties)):
            if len(rows) != self.n_skills:
                raise ValueError(
                    f"`{field}` must have a row for each of `n_skills` = {self.n_skills} items, "
                    f"got {len(rows)}"
                )
        for i, row in enumerate(self.q_matrix):
            if len(row) != self.n_traits or min(row, default=0) < 0 or not sum(row) > 0:
                raise ValueError(
                    f"`q_matrix` must have {self.n_traits} loadings >= 0 in each row, one of them "
                    f"> 0, got {list(row)} in row {i}"
                )
        return self

    @property
    def n_traits(self) -> int:
        """T, the number of traits."""
        return len(self.q_matrix[0])

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, specific factors (logits), growth and guessing."""
        return self._common_latents() | {
            "specific": LatentSpec(
                (self.n_traits,), -10, 10, 0.0, "trait at the start, less the part of ability"
            ),
            "growth": LatentSpec((), 0, 10, 0.5, "largest growth per practice, in logits"),
            "p_guess": LatentSpec((), 0, 1, 0.0, "P(correct) without any knowledge"),
        }

    def _loadings(self, like: Tensor) -> Tensor:
        """``(I, T)``."""
        return torch.tensor(self.q_matrix, dtype=like.dtype, device=like.device)

    def _p_known(self, theta: Tensor) -> Tensor:
        """P(correct) without guessing, ``(..., I)`` for traits ``(..., T)``."""
        loadings = self._loadings(theta)
        b = torch.tensor(self.difficulties, dtype=theta.dtype, device=theta.device)
        if self.compensatory:
            return torch.sigmoid(theta @ loadings.T - b)
        each = torch.sigmoid(loadings * (theta.unsqueeze(-2) - b.unsqueeze(-1)))
        return torch.where(loadings > 0, each, 1.0).prod(-1)

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``theta`` ``(n, T)``, in logits."""
        start = self.ability_on_start * latents["ability"].unsqueeze(-1)
        return {"theta": start + latents["specific"]}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """The response surface of every item."""
        guess = latents["p_guess"].unsqueeze(-1)
        return guess + (1 - guess) * self._p_known(state["theta"])

    def _growth(self, latents: Latents, theta: Tensor) -> Tensor:
        """``(n, I, T)``: what practice of each item would add to each trait, at style 1."""
        p = self._p_known(theta)
        loadings = self._loadings(theta)
        share = loadings / loadings.sum(-1, keepdim=True)
        return (latents["growth"].unsqueeze(-1) * 4 * p * (1 - p)).unsqueeze(-1) * share

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """The practised item's traits grow, whatever the answer."""
        theta = state["theta"]
        growth = (self._growth(latents, theta) * practised.unsqueeze(-1)).sum(1)
        return {"theta": theta + growth * style}

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """The answer does not matter."""
        after = self.update(latents, belief, action, action)
        return self.belief_post_test(latents, after) - self.belief_post_test(latents, belief)

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``belief_gain``, with axes ``(n, item, modality)`` until the end."""
        theta = belief["theta"]
        style = style_multipliers(latents)[:, None, :, None]
        after = theta[:, None, None] + self._growth(latents, theta).unsqueeze(2) * style
        change = self._p_known(after).mean(-1) - self._p_known(theta).mean(-1)[:, None, None]
        return ((1 - latents["p_guess"])[:, None, None] * change).flatten(1)
