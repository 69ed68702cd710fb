"""The knowledge-structure student: levels on a graph of prerequisites, taught near the last skill.

The student of KSS in EduSim (Liu et al. 2019, KDD; MIT licence). Skill k has a level a_k <= 5; the
default graph has 10 skills and 12 edges from prerequisites to successors:

* start: ``a_k = round(start[k]) + ability_on_start * ability - 0.1 k`` (EduSim draws the whole
  number from {-3, -2, -1});
* answer, before learning: ``P(correct) = guess + (1 - guess) known_k``,
  ``known_k = sigmoid(1.7 * discrimination * (a_k - difficulty[k]))`` (3PL; EduSim: 5 and 0.25);
* learning works only near the last skill that was learned: on that skill itself, its successors,
  its prerequisites and theirs, and the other successors of its prerequisites; at first on any;
* then ``inc = rate (5 - a_k) exp(-gate * (sum over prerequisites q of 5 - a_q))``, with EduSim's
  rate 0.5 and gate 1; ``a_k += inc``, and along every path of length d below k a skill gets
  ``inc * 0.5**d``; levels stop at 5. Here ``rate`` is a student's own, times
  ``exp(ability_on_rate * ability)`` and the modality's style, at most 1.

Nothing in the state is left to chance once the latents are known. The score is EduSim's episode
reward with expected in place of drawn test answers: ``(S_now - S_start) / (S_full - S_start)``,
where S is the sum of ``known_k`` (the guessing cancels) and S_full its value at level 5 throughout;
it is 0 at the start of a lesson, and 0 for good where there is nothing to learn. Mastery of a skill
is ``known_k``. EduSim draws difficulties unseeded, which makes its published random score
irreproducible; here they are latents, and so a function of the seed.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Latents, LatentSpec, State

FULL_LEVEL = 5.0
_LEVEL_STEP = 0.1
_LOGISTIC = 1.7
_SPREAD = 0.5


class KSS(SkillPractice):
    """Levels on a graph of prerequisites; see the module's text for the equations."""

    name: ClassVar[str] = "kss"
    activity: ClassVar[str] = "teach"

    n_skills: int = Field(10, ge=1)
    edges: tuple[tuple[int, int], ...] = Field(
        (
            *((0, 1), (0, 2), (1, 3), (2, 4), (2, 8), (3, 4)),
            *((4, 8), (5, 4), (5, 9), (6, 7), (7, 8), (8, 9)),
        ),
        description="(prerequisite, successor) pairs; no cycle",
    )
    ability_on_start: float = Field(0.5, ge=0, description="level at the start per SD of ability")
    ability_on_rate: float = Field(0.3, ge=0, description="log learning rate per SD of ability")

    @model_validator(mode="after")
    def _check_edges(self) -> KSS:
        for edge in self.edges:
            if not all(0 <= k < self.n_skills for k in edge):
                raise ValueError(
                    f"`edges` must join skills in [0, {self.n_skills - 1}], got {list(edge)}"
                )
        if bool(torch.linalg.matrix_power(self._adjacency, self.n_skills).any()):
            raise ValueError(f"`edges` must not form a cycle, got {list(self.edges)}")
        return self

    # -- the graph ----------------------------------------------------------------------------
    @cached_property
    def _adjacency(self) -> Tensor:
        """``(K, K)`` float64: 1 from a prerequisite (row) to a successor (column)."""
        adjacency = torch.zeros(self.n_skills, self.n_skills, dtype=torch.float64)
        for prerequisite, successor in self.edges:
            adjacency[prerequisite, successor] = 1
        return adjacency

    @cached_property
    def _share(self) -> Tensor:
        """``(K, K)``: what skill l gets of an increment of skill k, summed over paths k -> l."""
        step, share = _SPREAD * self._adjacency, torch.eye(self.n_skills, dtype=torch.float64)
        total = share
        for _ in range(self.n_skills):
            share = share @ step
            total = total + share
        return total

    @cached_property
    def _near(self) -> Tensor:
        """``(K, K)`` bool: skill l can be learned right after skill k."""
        down, up = self._adjacency, self._adjacency.T
        return (torch.eye(self.n_skills) + down + up + up @ up + up @ down) > 0

    # -- declarations -------------------------------------------------------------------------
    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, start and items of the skills, and the student's rates."""
        n_skills = self.n_skills
        return self._common_latents() | {
            "start": LatentSpec((n_skills,), -10, FULL_LEVEL, -2.0, "level at the start, rounded"),
            "difficulty": LatentSpec(
                (n_skills,), -10, 10, 2.5, "difficulty of the item, in levels"
            ),
            "discrimination": LatentSpec((), 0, 10, 5.0, "slope of the items"),
            "p_guess": LatentSpec((), 0, 1, 0.25, "P(correct answer) without knowing"),
            "rate": LatentSpec((), 0, 1, 0.5, "share of what is missing that is learned at once"),
            "gate": LatentSpec((), 0, 10, 1.0, "how much missing prerequisites hinder"),
        }

    # -- equations ----------------------------------------------------------------------------
    def _start(self, latents: Latents) -> Tensor:
        ability = latents["ability"].unsqueeze(-1)
        order = torch.arange(self.n_skills, dtype=ability.dtype, device=ability.device)
        shifted = latents["start"].round() + self.ability_on_start * ability - _LEVEL_STEP * order
        return shifted.clamp(max=FULL_LEVEL)

    def _known(self, latents: Latents, level: Tensor | float) -> Tensor:
        slope = _LOGISTIC * latents["discrimination"].unsqueeze(-1)
        return torch.sigmoid(slope * (level - latents["difficulty"]))

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``level`` ``(n, K)``, and ``last`` ``(n, K)`` bool at the last skill learned: none."""
        level = self._start(latents)
        return {"level": level, "last": torch.zeros_like(level, dtype=torch.bool)}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """A guess, or knowing."""
        guess = latents["p_guess"].unsqueeze(-1)
        return guess + (1 - guess) * self._known(latents, state["level"])

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """Learn the skill if it is near the last one, and spread the increment."""
        level, last = state["level"], state["last"]
        graph = self._adjacency.to(level)
        near = last.to(level.dtype) @ self._near.to(level) > 0
        learnable = practised & (near | ~last.any(-1, keepdim=True))
        missing = FULL_LEVEL - level
        open_gate = torch.exp(-latents["gate"].unsqueeze(-1) * (missing @ graph))
        talent = torch.exp(self.ability_on_rate * latents["ability"])
        rate = ((latents["rate"] * talent).unsqueeze(-1) * style).clamp(max=1)
        increment = torch.where(learnable, rate * missing * open_gate, 0.0)
        return {
            "level": (level + increment @ self._share.to(level)).clamp(max=FULL_LEVEL),
            "last": torch.where(learnable.any(-1, keepdim=True), practised, last),
        }

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """``known`` of each skill."""
        return self._known(latents, state["level"])

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Gain since the start of the lesson, as a share of what could be gained."""
        start = self._known(latents, self._start(latents)).sum(-1)
        now = self._known(latents, state["level"]).sum(-1)
        possible = self._known(latents, FULL_LEVEL).sum(-1) - start
        share = (now - start) / possible.clamp(min=torch.finfo(start.dtype).tiny)
        return torch.where(possible > 1e-6, share, 0.0).clamp(0, 1)
