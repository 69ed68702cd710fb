"""The Bernoulli bandit of the meta-RL literature as a student: door 1, a batched torch model.

Arm k succeeds with a hidden probability ``p_success[k]``, drawn from a uniform prior once per trial
(Duan et al. 2016, "RL²: fast reinforcement learning via slow reinforcement learning", arXiv
1611.02779, section 3.1); a pull changes nothing else. An arm is a skill that is practised in one
way, an answer is the arm's reward, and the post-test score is the number of successes so far out of
``n_pulls``: with ``reward: {score: post_test, scale: n_pulls}`` a trial's return is the number of
successes.

Ability and responsiveness, which every student has, do nothing here.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.practice import SkillPractice
from tutor_envs.student import Belief, Latents, LatentSpec, State


class BernoulliBandit(SkillPractice):
    """Arms with hidden success probabilities; see the module's text."""

    name: ClassVar[str] = "bernoulli_bandit"
    activity: ClassVar[str] = "pull"
    unit: ClassVar[str] = "arm"

    modalities: tuple[str, ...] = ("pull",)
    n_skills: int = Field(5, ge=2, description="arms")
    n_pulls: int = Field(10, ge=1, description="pulls in a trial")

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, and the arms."""
        return self._common_latents() | {
            "p_success": LatentSpec((self.n_skills,), 0, 1, 0.5, "P(success) of each arm")
        }

    @property
    def max_lesson_steps(self) -> int | None:
        """The score counts successes out of ``n_pulls``."""
        return self.n_pulls

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``n_successes`` ``(n, K)`` of each arm: none."""
        return {"n_successes": torch.zeros_like(latents["p_success"])}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """The arms' probabilities, whatever happened."""
        return latents["p_success"]

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """Count a success."""
        return {"n_successes": state["n_successes"] + (practised & correct)}

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Successes of each arm, out of all pulls."""
        return state["n_successes"] / self.n_pulls

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Successes out of all pulls."""
        return self.mastery(latents, state).sum(-1)

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(success) of the arm, as a share of all pulls."""
        return self.p_answer(latents, belief, self._skill(action)).squeeze(-1) / self.n_pulls

    def planning_belief(self, belief: Belief) -> Belief:
        """Nothing: past successes change no later pull."""
        return {}
