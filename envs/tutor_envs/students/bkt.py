"""Bayesian knowledge tracing with individual differences, items, resources and forgetting.

Each of K skills is mastered or not. For an item of skill k taught in modality m (each modality is a
resource with its own learning rate, the "multilearn" of pyBKT: Badrinath, Wang & Pardos 2021, EDM):

* answer, from the mastery *before* the step (Corbett & Anderson 1995, UMUAI 4):
  ``P(correct) = 1 - p_slip`` if mastered, ``p_guess`` if not;
* learning, if not mastered:
  ``P(0 -> 1) = clip(sigmoid(logit p_learn[k, m] + ability_on_learn * ability) * style * e)``
  where ``style`` is :func:`tutor_envs.student.style_multiplier` and ``e`` is
  ``prerequisite_factor`` while any prerequisite of k is not mastered, else 1. The ability shift on
  the logit is individualised BKT (Yudelson, Koedinger & Gordon 2013, AIED);
* forgetting: every mastered skill that was not practised in this step is lost with ``p_forget``;
  in a pause of d days, with ``1 - (1 - p_forget)**(d / step_days)``.

With ``items_per_skill`` a skill is practised on one of several items that differ in slip and guess
(item difficulty, KT-IDEM: Pardos & Heffernan 2011, UMAP): for item i of skill k the logits of
``p_slip`` and ``p_guess`` are shifted by ``slip_shift[k, i]`` and ``guess_shift[k, i]``.

At the start of a lesson the skills are mastered independently with
``sigmoid(logit p_init[k] + ability_on_init * ability)``; or, where ``initial_states`` lists sets of
mastered skills, one of those sets is drawn with probabilities ``p_initial_state``.

The shifts per standard deviation of ability (0.8 on learning, 1.0 on the start, both on the logit
scale) are our choice; fitted values differ between courses.
"""

from __future__ import annotations

import math
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
from tutor_envs.students.bkt_belief import FactoredBelief, JointBelief, MasteryBelief

_MAX_JOINT_SKILLS = 12
"""The joint belief has 2**K entries; beyond this many dependent skills it is refused."""


class BKT(StudentModel):
    """Bayesian knowledge tracing; see the module's text for the equations."""

    name: ClassVar[str] = "bkt"

    n_skills: int = Field(3, ge=1)
    skill_names: tuple[str, ...] = Field((), description="names of the skills; default: numbered")
    items_per_skill: int | None = Field(
        None, ge=1, description="items of a skill that differ in slip and guess; None: no items"
    )
    prerequisites: dict[int, tuple[int, ...]] = Field(
        default_factory=dict, description="skill index -> indices of the skills it builds on"
    )
    prerequisite_factor: float = Field(
        0.1, ge=0, le=1, description="learning is scaled by this while a prerequisite is missing"
    )
    unlock_after: int | None = Field(
        None,
        ge=1,
        description="a skill opens once each prerequisite was answered correctly this often",
    )
    initial_states: tuple[tuple[int, ...], ...] | None = Field(
        None, description="possible sets of mastered skills at the start; replaces p_init"
    )
    weights: tuple[float, ...] | None = Field(
        None, description="weight of each skill in the post-test; sums to 1; default equal"
    )
    ability_on_learn: float = Field(0.8, ge=0, description="logit of learning per SD of ability")
    ability_on_init: float = Field(
        1.0, ge=0, description="logit of initial mastery per SD of ability"
    )

    @model_validator(mode="after")
    def _check(self) -> BKT:
        named = set(self.prerequisites) | {q for qs in self.prerequisites.values() for q in qs}
        named |= {k for mastered in self.initial_states or () for k in mastered}
        for skill in named:
            if not 0 <= skill < self.n_skills:
                raise ValueError(f"skill indices must be in [0, {self.n_skills - 1}], got {skill}")
        if self._cyclic():
            raise ValueError(f"`prerequisites` must not form a cycle, got {self.prerequisites}")
        if self.skill_names and len(set(self.skill_names)) != self.n_skills:
            raise ValueError(
                f"`skill_names` must be {self.n_skills} different names, got {self.skill_names}"
            )
        if self.weights is not None:
            if len(self.weights) != self.n_skills:
                raise ValueError(
                    f"`weights` must have {self.n_skills} numbers, got {len(self.weights)}"
                )
            if min(self.weights) < 0 or not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
                raise ValueError(f"`weights` must be >= 0 and sum to 1, got {list(self.weights)}")
        if self.initial_states is not None and not self.initial_states:
            raise ValueError("`initial_states` must list at least one set of skills, got none")
        return self

    def _cyclic(self) -> bool:
        remaining = {k: set(qs) for k, qs in self.prerequisites.items()}
        while remaining:
            free = [k for k, qs in remaining.items() if not qs & set(remaining)]
            if not free:
                return True
            for k in free:
                del remaining[k]
        return False

    # -- declarations -------------------------------------------------------------------------
    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_names``, or ``skill_0`` .. ``skill_{K-1}``."""
        return self.skill_names or tuple(f"skill_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice of (skill, item, modality), the modality varying fastest."""
        if self.items_per_skill is None:
            return skill_modality_actions("practice", self.skills, self.modalities)
        return tuple(
            TeachingAction(f"practice(item {item})", skill, modality)
            for skill in self.skills
            for item in range(self.items_per_skill)
            for modality in self.modalities
        )

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, and the student's own rates (probabilities)."""
        n_skills, n_modalities = self.n_skills, len(self.modalities)
        specs = self._common_latents() | {
            "p_learn": LatentSpec((n_skills, n_modalities), 0, 1, 0.15, "P(learn) per practice"),
            "p_slip": LatentSpec((), 0, 1, 0.1, "P(wrong answer) when mastered"),
            "p_guess": LatentSpec((), 0, 1, 0.2, "P(correct answer) when not mastered"),
            "p_forget": LatentSpec((), 0, 1, 0.0, "P(loss) of a skill in a step without practice"),
        }
        if self.initial_states is None:
            specs["p_init"] = LatentSpec((n_skills,), 0, 1, 0.25, "P(mastered) at the start")
        else:
            n_states = len(self.initial_states)
            specs["p_initial_state"] = LatentSpec(
                (n_states,), 0, 1, 1 / n_states, "P(initial state)", simplex=True
            )
        if self.items_per_skill is not None:
            shape = (n_skills, self.items_per_skill)
            specs["slip_shift"] = LatentSpec(shape, -10, 10, 0.0, "logit of slip on this item")
            specs["guess_shift"] = LatentSpec(shape, -10, 10, 0.0, "logit of guess on this item")
        return specs

    @property
    def n_start_uniforms(self) -> int:
        """One for each skill, or one for the joint initial state."""
        return self.n_skills if self.initial_states is None else 1

    @property
    def n_step_uniforms(self) -> int:
        """Answer, learning, and forgetting of each skill."""
        return 2 + self.n_skills

    @cached_property
    def _requires(self) -> Tensor:
        """``(K, K)`` bool: row k marks the prerequisites of skill k."""
        requires = torch.zeros(self.n_skills, self.n_skills, dtype=torch.bool)
        for skill, needed in self.prerequisites.items():
            requires[skill, list(needed)] = True
        return requires

    @cached_property
    def _independent(self) -> bool:
        """Nothing ties the skills to each other."""
        return not self.prerequisites and self.initial_states is None

    @cached_property
    def _belief(self) -> MasteryBelief:
        """The form of the belief; few skills have the joint one, which the exact planner takes."""
        if self.n_skills <= _MAX_JOINT_SKILLS:
            return JointBelief(self._requires, self.prerequisite_factor)
        if self._independent:
            return FactoredBelief()
        raise ValueError(
            f"an exact belief needs `n_skills` <= {_MAX_JOINT_SKILLS} where skills have "
            f"prerequisites or listed initial states, got {self.n_skills}"
        )

    @cached_property
    def _skill_weights(self) -> Tensor:
        weights = self.weights or (1 / self.n_skills,) * self.n_skills
        return torch.tensor(weights, dtype=torch.float64)

    def _p_init(self, latents: Latents) -> Tensor:
        """``(n, K)`` initial mastery probabilities."""
        shift = self.ability_on_init * latents["ability"].unsqueeze(-1)
        return torch.sigmoid(torch.logit(latents["p_init"]) + shift)

    def _p_learn(self, latents: Latents, action: Tensor) -> Tensor:
        """``(n,)`` learning probability of the practised skill, its prerequisites being met."""
        table = latents["p_learn"].flatten(1)
        index = self._skill(action) * len(self.modalities) + self._modality(action)
        base = table.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        style = style_multiplier(latents, self._modality(action))
        return self._shifted(base, latents["ability"], style)

    def _shifted(self, p_learn: Tensor, ability: Tensor, style: Tensor) -> Tensor:
        rate = torch.sigmoid(torch.logit(p_learn) + self.ability_on_learn * ability)
        return (rate * style).clamp(0, 1)

    @property
    def _actions_per_skill(self) -> int:
        return (self.items_per_skill or 1) * len(self.modalities)

    def _skill(self, action: Tensor) -> Tensor:
        return action.div(self._actions_per_skill, rounding_mode="floor")

    def _modality(self, action: Tensor) -> Tensor:
        return action.remainder(len(self.modalities))

    def _slip_and_guess(self, latents: Latents, action: Tensor) -> tuple[Tensor, Tensor]:
        """``(n,)`` each, of the item in use."""
        slip, guess = latents["p_slip"], latents["p_guess"]
        if self.items_per_skill is None:
            return slip, guess
        item = action.div(len(self.modalities), rounding_mode="floor").unsqueeze(-1)
        shifted = [
            torch.sigmoid(torch.logit(p) + latents[name].flatten(1).gather(-1, item).squeeze(-1))
            for p, name in ((slip, "slip_shift"), (guess, "guess_shift"))
        ]
        return shifted[0], shifted[1]

    def _practised(self, action: Tensor) -> Tensor:
        """``(n, K)`` bool, true at the practised skill."""
        skills = torch.arange(self.n_skills, device=action.device)
        return self._skill(action).unsqueeze(-1) == skills

    def _begin_history(self, latents: Latents) -> State:
        if self.unlock_after is None:
            return {}
        ability = latents["ability"]
        return {"n_correct": ability.new_zeros((ability.shape[0], self.n_skills))}

    def _next_history(self, state: State, action: Tensor, response: Tensor) -> State:
        if self.unlock_after is None:
            return {}
        correct = self._practised(action) & (response == CORRECT).unsqueeze(-1)
        return {"n_correct": (state["n_correct"] + correct).clamp(max=self.unlock_after)}

    # -- simulation ---------------------------------------------------------------------------
    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """Draw the initial mastery: ``mastered`` ``(n, K)`` bool."""
        if self.initial_states is None:
            mastered = uniforms < self._p_init(latents)
        else:
            edges = latents["p_initial_state"].cumsum(-1)[:, :-1]
            drawn = (uniforms >= edges).sum(-1)
            sets = torch.zeros(len(self.initial_states), self.n_skills, dtype=torch.bool)
            for row, mastered_skills in enumerate(self.initial_states):
                sets[row, list(mastered_skills)] = True
            mastered = sets.to(drawn.device)[drawn]
        return {"mastered": mastered, **self._begin_history(latents)}

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Answer from the current mastery, then learn, then forget."""
        mastered = state["mastered"]
        practised = self._practised(action)
        response = (uniforms[:, 0] < self.answer(latents, state, action)[:, CORRECT]).long()
        learns = uniforms[:, 1] < self._p_learn(latents, action) * self._readiness(mastered, action)
        forgets = uniforms[:, 2:] < latents["p_forget"].unsqueeze(-1)
        kept = mastered & (practised | ~forgets)
        after = kept | (practised & learns.unsqueeze(-1))
        return {"mastered": after, **self._next_history(state, action, response)}, response

    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """P(wrong), P(correct): a slip if mastered, a guess if not."""
        knows = (state["mastered"] & self._practised(action)).any(-1)
        slip, guess = self._slip_and_guess(latents, action)
        p_correct = torch.where(knows, 1 - slip, guess)
        return torch.stack([1 - p_correct, p_correct], dim=-1)

    def _readiness(self, mastered: Tensor, action: Tensor) -> Tensor:
        """Factor on learning: 1, or ``prerequisite_factor`` while a prerequisite is missing."""
        required = self._requires.to(action.device)[self._skill(action)]
        missing = (required & ~mastered).any(-1)
        return 1 - missing * (1 - self.prerequisite_factor)

    @property
    def n_wait_uniforms(self) -> int:
        """Forgetting of each skill."""
        return self.n_skills

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Every mastered skill may be lost."""
        lost = uniforms < self._p_lost(latents, days).unsqueeze(-1)
        return {**state, "mastered": state["mastered"] & ~lost}

    def _p_lost(self, latents: Latents, days: Tensor) -> Tensor:
        """``(n,)`` probability that a mastered skill is lost in a pause."""
        return 1 - (1 - latents["p_forget"]) ** (days / self.step_days)

    def legal_actions(self, state: State | Belief) -> Tensor | None:
        """Skills whose prerequisites were answered correctly ``unlock_after`` times."""
        if self.unlock_after is None:
            return None
        done = state["n_correct"] >= self.unlock_after
        closed = (self._requires.to(done.device) & ~done.unsqueeze(1)).any(-1)
        return (~closed).repeat_interleave(self._actions_per_skill, dim=-1)

    # -- truth --------------------------------------------------------------------------------
    def mastery(self, latents: Latents, state: State) -> Tensor:
        """1 for a mastered skill, 0 otherwise."""
        return state["mastered"].to(latents["ability"].dtype)

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Weighted share of mastered skills (a test without slips and guesses)."""
        return self.mastery(latents, state) @ self._skill_weights.to(latents["ability"])

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Weighted P(learn) of the practised skill less the weighted P(forget) of the others."""
        mastered, practised = state["mastered"], self._practised(action)
        weights = self._skill_weights.to(latents["ability"])
        p_learn = self._p_learn(latents, action) * self._readiness(mastered, action)
        learned = (practised & ~mastered) * p_learn.unsqueeze(-1)
        lost = (mastered & ~practised) * latents["p_forget"].unsqueeze(-1)
        return (learned - lost) @ weights

    # -- belief; see tutor_envs.students.bkt_belief -------------------------------------------
    def begin_belief(self, latents: Latents) -> Belief:
        """``p``: probabilities of the joint mastery states, or of each skill's mastery."""
        if self.initial_states is None:
            p = self._belief.begin(self._p_init(latents))
        else:
            ability = latents["ability"]
            p = ability.new_zeros((ability.shape[0], 2**self.n_skills))
            for column, mastered_skills in enumerate(self.initial_states):
                p[:, sum(2**k for k in mastered_skills)] += latents["p_initial_state"][:, column]
        return {"p": p, **self._begin_history(latents)}

    @property
    def belief_is_distribution(self) -> bool:
        """It is, unless answers are counted to unlock skills or skills are followed one by one."""
        return self.unlock_after is None and isinstance(self._belief, JointBelief)

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        slip, guess = self._slip_and_guess(latents, action)
        known = self._belief.known(belief["p"], self._skill(action))
        p_correct = known * (1 - slip) + (1 - known) * guess
        return torch.stack([1 - p_correct, p_correct], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Bayes' rule on the answer, then learning, then forgetting of the other skills."""
        skill, correct = self._skill(action), response == CORRECT
        slip, guess = self._slip_and_guess(latents, action)
        if_known = torch.where(correct, 1 - slip, slip)
        if_not = torch.where(correct, guess, 1 - guess)
        p = self._belief.weigh(belief["p"], skill, if_known, if_not)
        p = self._belief.learn(p, skill, self._p_learn(latents, action))
        if bool((latents["p_forget"] > 0).any()):
            p = self._belief.lose(p, latents["p_forget"].unsqueeze(-1) * ~self._practised(action))
        return {"p": p, **self._next_history(belief, action, response)}

    def belief_wait(self, latents: Latents, belief: Belief, days: Tensor) -> Belief:
        """Every mastered skill may be lost."""
        p_lost = self._p_lost(latents, days).unsqueeze(-1).expand(-1, self.n_skills)
        return {**belief, "p": self._belief.lose(belief["p"], p_lost)}

    def belief_mastery(self, latents: Latents, belief: Belief) -> Tensor:
        """Marginal probability that each skill is mastered."""
        return self._belief.mastery(belief["p"])

    def belief_post_test(self, latents: Latents, belief: Belief) -> Tensor:
        """Expected weighted share of mastered skills."""
        return self.belief_mastery(latents, belief) @ self._skill_weights.to(belief["p"])

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """The column of ``belief_gains``."""
        return self.belief_gains(latents, belief).gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """As ``expected_gain``, which is linear in the joint state: no response is enumerated."""
        weights = self._skill_weights.to(belief["p"])
        teachable = self._belief.teachable(belief["p"]) * weights
        mastered = self.belief_mastery(latents, belief) * weights
        lost = latents["p_forget"].unsqueeze(-1) * (mastered.sum(-1, keepdim=True) - mastered)
        ability, style = latents["ability"].view(-1, 1, 1), style_multipliers(latents).unsqueeze(1)
        p_learn = self._shifted(latents["p_learn"], ability, style)
        gains = p_learn * teachable.unsqueeze(-1) - lost.unsqueeze(-1)
        # The same for every item of a skill: ``(n, K, I, M)``.
        gains = gains.unsqueeze(2).expand(-1, -1, self.items_per_skill or 1, -1)
        return gains.flatten(1)
