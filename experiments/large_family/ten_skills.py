"""Ten skills in four modalities: a family too large for an exact plan.

A new topic begins each lesson: each of K skills is mastered with ``p_init`` and has a difficulty
``d_k ~ Normal(0, difficulty_sd)`` of its own. Practice of skill k in modality m:

* learning, if not mastered: ``P(0 -> 1) = sigmoid(-3 + .8 ability + 1.2 (M style_m - 1) - d_k)``
  with ``style = softmax(2 taste)``;
* answer, from the mastery *after* the step: right with ``1 - p_slip`` if mastered, else with
  ``p_guess``;
* every mastered skill that was not practised is forgotten with ``p_forget``.

What stays from lesson to lesson is ability and style; a tutor must find out by which modality the
student learns while it looks, from one answer at a time, which skills are mastered already.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
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
)

# Five-point Gauss-Hermite quadrature of a standard normal: the belief's grid of difficulties.
_NODES = (-2.856970013872805, -1.355626179974266, 0.0, 1.355626179974266, 2.856970013872805)
_WEIGHTS = (0.0112574113, 0.2220759220, 0.5333333333, 0.2220759220, 0.0112574113)
_GROUP = 5
"""Skills whose forgetting one uniform number decides, each pattern of them to within 2**-24."""


class TenSkills(StudentModel):
    """Mastery in jumps, with a difficulty for each skill and topic; see the module's text."""

    name: ClassVar[str] = "ten_skills"

    n_skills: int = Field(10, ge=1, le=31)
    modalities: tuple[str, ...] = ("text", "video", "worked_example", "practice")
    p_init: float = Field(0.15, ge=0, le=1, description="share mastered at the start of a lesson")
    difficulty_sd: float = Field(0.5, ge=0, description="of a topic's skills, in logits")
    p_slip: float = Field(0.1, ge=0, le=1)
    p_guess: float = Field(0.2, ge=0, le=1)
    p_forget: float = Field(0.005, ge=0, le=1, description="per step, of a skill not practised")

    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_0`` .. ``skill_{K-1}``."""
        return tuple(f"skill_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice of a skill in a modality, at index ``skill * M + modality``."""
        return skill_modality_actions("practice", self.skills, self.modalities)

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Ability, and the taste from which the style follows."""
        n_modalities = len(self.modalities)
        taste = LatentSpec((n_modalities,), -math.inf, math.inf, 0.0, "style = softmax(2 taste)")
        return self._common_latents() | {"taste": taste}

    @property
    def n_start_uniforms(self) -> int:
        """Mastery and difficulty of each skill."""
        return 2 * self.n_skills

    @property
    def n_step_uniforms(self) -> int:
        """Learning, answer, forgetting of each group of skills."""
        return 2 + -(-self.n_skills // _GROUP)

    # -- equations ----------------------------------------------------------------------------
    def _logit(self, latents: Latents) -> Tensor:
        """Of P(0 -> 1) by each modality at difficulty 0, ``(n, M)``."""
        fit = len(self.modalities) * torch.softmax(2 * latents["taste"], dim=-1) - 1
        return -3 + 0.8 * latents["ability"].unsqueeze(-1) + 1.2 * fit

    def _skill(self, action: Tensor) -> Tensor:
        """The practised skill, int64 ``(n, 1)``."""
        # By numbers with a point, since processors divide no vectors of integers.
        return ((action + 0.5) / len(self.modalities)).long().unsqueeze(-1)

    def _practised(self, action: Tensor) -> Tensor:
        return self._skill(action) == torch.arange(self.n_skills, device=action.device)

    def _bit(self, skill: Tensor) -> Tensor:
        """Of the practised skill ``(n, 1)``, int32 ``(n,)``."""
        return torch.ones_like(skill, dtype=torch.int32).squeeze(-1) << skill.squeeze(-1).int()

    def _p_learn(self, state: State, action: Tensor, skill: Tensor) -> Tensor:
        """P(0 -> 1) by each action, ``(n,)``."""
        modality = action.unsqueeze(-1) - len(self.modalities) * skill
        logit = state["logit"].gather(-1, modality) - state["difficulty"].gather(-1, skill)
        return torch.sigmoid(logit).squeeze(-1)

    def _bits(self, flags: Tensor) -> Tensor:
        """``(n, K)`` flags as int32 ``(n,)``, skill k at bit k."""
        bits = torch.zeros_like(flags[:, 0], dtype=torch.int32)
        for k in reversed(range(self.n_skills)):
            bits = torch.add(flags[:, k], bits, alpha=2)
        return bits

    def _lost(self, uniforms: Tensor) -> Tensor:
        """Forgotten, if they were known and not practised: bits, each with ``p_forget``.

        A number decides on one skill after the other, as in arithmetic decoding: what it says
        beyond the decision is uniform again.
        """
        p, bits = self.p_forget, torch.zeros_like(uniforms[:, 0], dtype=torch.int32)
        if p == 0:
            return bits
        for k in range(self.n_skills):
            if k % _GROUP == 0:
                u = uniforms[:, k // _GROUP]
            lost = u < p
            bits = torch.add(bits, lost, alpha=1 << k)
            u = torch.where(lost, u * (1 / p), (u - p) * (1 / max(1 - p, 1e-9)))
        return bits

    def _flags(self, bits: Tensor) -> Tensor:
        """The reverse of :meth:`_bits`, bool ``(n, K)``."""
        weights = 1 << torch.arange(self.n_skills, dtype=torch.int32, device=bits.device)
        return (bits & weights.unsqueeze(-1) != 0).mT

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``mastered`` int32 ``(n,)``, a bit for each skill; ``difficulty`` ``(n, K)``.

        And ``logit`` ``(n, M)``, of learning at difficulty 0.
        """
        mastered, rank = uniforms.chunk(2, dim=-1)
        difficulty = self.difficulty_sd * torch.special.ndtri(rank.clamp(1e-6, 1 - 1e-6))
        return {
            "mastered": self._bits(mastered < self.p_init),
            "difficulty": difficulty,
            "logit": self._logit(latents),
        }

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Learn, answer, forget."""
        skill, known = self._skill(action), state["mastered"]
        bit = self._bit(skill)
        knows = (known & bit != 0) | (uniforms[:, 0] < self._p_learn(state, action, skill))
        others = known & ~self._lost(uniforms[:, 2:]) & ~bit
        p_correct = torch.where(knows, 1 - self.p_slip, self.p_guess)
        response = (uniforms[:, 1] < p_correct).long()
        return state | {"mastered": torch.where(knows, others | bit, others)}, response

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """0 or 1."""
        return self._flags(state["mastered"]).to(latents["ability"].dtype)

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Share of the skills that are mastered."""
        return self.mastery(latents, state).mean(-1)

    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """From the mastery after the step."""
        skill = self._skill(action)
        knows = state["mastered"] & self._bit(skill) != 0
        known = torch.where(knows, 1.0, self._p_learn(state, action, skill))
        p = self.p_guess + (1 - self.p_slip - self.p_guess) * known
        return torch.stack([1 - p, p], dim=-1)

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Learning less forgetting, over the skills."""
        practised, known = self._practised(action), self._flags(state["mastered"])
        p_learn = self._p_learn(state, action, self._skill(action)).unsqueeze(-1)
        gain = torch.where(practised & ~known, p_learn, 0.0)
        return (gain - self.p_forget * (known & ~practised)).mean(-1)

    # -- belief: for each skill, mastered or not times a grid of difficulties --------------------
    def _grid(self, like: Tensor) -> Tensor:
        return self.difficulty_sd * torch.tensor(_NODES, dtype=like.dtype, device=like.device)

    def begin_belief(self, latents: Latents) -> Belief:
        """``p`` ``(n, K, 2, G)``: not mastered, mastered; difficulty on the grid."""
        some = latents["ability"]
        weights = torch.tensor(_WEIGHTS, dtype=some.dtype, device=some.device)
        weights = weights / weights.sum()
        p = torch.stack([(1 - self.p_init) * weights, self.p_init * weights])
        return {"p": p.expand(len(some), self.n_skills, *p.shape).clone()}

    def _after_practice(self, latents: Latents, p: Tensor, action: Tensor) -> Tensor:
        """Belief of every skill, had it been practised, ``(n, K, 2, G)``."""
        modality = (action % len(self.modalities)).unsqueeze(-1)
        logit = self._logit(latents).gather(-1, modality) - self._grid(p)
        learned = p[:, :, 0] * torch.sigmoid(logit).unsqueeze(1)
        return torch.stack([p[:, :, 0] - learned, p[:, :, 1] + learned], dim=2)

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        after = self._after_practice(latents, belief["p"], action)
        known = after[:, :, 1].sum(-1).gather(-1, self._skill(action)).squeeze(-1)
        p = self.p_guess + (1 - self.p_slip - self.p_guess) * known
        return torch.stack([1 - p, p], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Learning, the answer, forgetting of the others."""
        p = belief["p"]
        after = self._after_practice(latents, p, action)
        right = (response == CORRECT).unsqueeze(-1)
        known = torch.where(right, 1 - self.p_slip, self.p_slip)
        unknown = torch.where(right, self.p_guess, 1 - self.p_guess)
        weighed = after * torch.stack([unknown, known], dim=-1).unsqueeze(-1).to(p.dtype)
        weighed = weighed / weighed.sum((-2, -1), keepdim=True).clamp(min=1e-30)
        lost = p[:, :, 1] * self.p_forget
        others = torch.stack([p[:, :, 0] + lost, p[:, :, 1] - lost], dim=2)
        practised = self._practised(action)[..., None, None]
        return {"p": torch.where(practised, weighed, others)}

    def belief_mastery(self, latents: Latents, belief: Belief) -> Tensor:
        """P(mastered)."""
        return belief["p"][:, :, 1].sum(-1)

    def belief_post_test(self, latents: Latents, belief: Belief) -> Tensor:
        """Expected share of the skills."""
        return self.belief_mastery(latents, belief).mean(-1)

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Learning of the practised skill less forgetting of the others."""
        p, practised = belief["p"], self._practised(action)
        gain = self._after_practice(latents, p, action)[:, :, 1].sum(-1) - p[:, :, 1].sum(-1)
        lost = self.p_forget * p[:, :, 1].sum(-1)
        return torch.where(practised, gain, -lost).mean(-1)

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """The gain of every action, ``(n, A)``; only learning depends on the modality."""
        p, n_modalities = belief["p"], len(self.modalities)
        known = p[:, :, 1].sum(-1)
        lost = self.p_forget * (known.sum(-1, keepdim=True) - known)
        gains = []
        for m in range(n_modalities):
            action = torch.full((len(p),), m, device=p.device)
            after = self._after_practice(latents, p, action)[:, :, 1].sum(-1)
            gains.append((after - known - lost) / self.n_skills)
        return torch.stack(gains, dim=-1).flatten(1)

    @property
    def belief_is_exact(self) -> bool:
        """No: difficulty lies on a grid."""
        return False
