"""The transition-matrix student: an explicit Markov chain over knowledge states.

Tang, Chen, Li, Liu & Ying (2019, BJMSP 72(1)) as shipped in EduSim. A knowledge state is a set of
mastered skills that holds every prerequisite of its members (a knowledge space); all such sets are
the S states. Two systems of the paper: *binary*, skills 0 -> 1 (3 states, the default here), and
*tree*, ``prerequisites: {1: [0], 2: [0], 3: [2], 4: [0], 5: [4], 6: [4]}`` (31 states).

A material works on the first skill of its list that is not mastered, if that skill's prerequisites
are. Learning material l in modality m in state s:

* ``P(s -> s + {skill}) = clip(style * sigmoid(logit p_learn[l] + ability_on_learn * ability))``
  while there is something to learn, else the state stays; nothing is forgotten;
* then the student answers an item on what the material worked on (DINA: Junker & Sijtsma 2001,
  APM 25): correctly with ``1 - p_slip`` if it is mastered now, or if nothing was left to learn,
  and with ``p_guess`` otherwise. With no slips and guesses this shows what there is to see;
* at the start of a lesson one of ``initial_states`` is drawn with ``p_initial_state``.

Score: share of mastered skills. EduSim's reward is the number of skills gained: ``mastery_gain``
scaled by the number of skills. Its tree has a probability of its own (.51-.83) for each of the 217
pairs of material and state; here there is one for each material and student. Ability and style are
ours; with ``ability: 0`` and ``style_strength: 0`` the chain is EduSim's.

The belief is the exact distribution over the S states.
"""

from __future__ import annotations

import itertools
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
)

_MAX_SKILLS = 12
"""There may be 2**K states; beyond this many skills the table is refused."""


class TMS(StudentModel):
    """A Markov chain over knowledge states; see the module's text for the equations."""

    name: ClassVar[str] = "tms"

    n_skills: int = Field(2, ge=1, le=_MAX_SKILLS)
    prerequisites: dict[int, tuple[int, ...]] = Field(
        {1: (0,)}, description="skill index -> indices of the skills it builds on"
    )
    materials: tuple[tuple[int, ...], ...] | None = Field(
        None, description="skills that each material teaches, in order; default: one for each skill"
    )
    initial_states: tuple[tuple[int, ...], ...] = Field(
        ((), (0,)), min_length=1, description="possible sets of mastered skills at the start"
    )
    ability_on_learn: float = Field(0.8, ge=0, description="logit of learning per SD of ability")

    @model_validator(mode="after")
    def _check(self) -> TMS:
        named = {*self.prerequisites, *itertools.chain.from_iterable(self.prerequisites.values())}
        named |= {k for skills in (*self._materials, *self.initial_states) for k in skills}
        for skill in sorted(named):
            if not 0 <= skill < self.n_skills:
                raise ValueError(f"skill indices must be in [0, {self.n_skills - 1}], got {skill}")
        if not all(self._materials):
            raise ValueError("`materials` must each teach at least one skill")
        if frozenset(range(self.n_skills)) not in self._states:
            raise ValueError(f"`prerequisites` must not form a cycle, got {self.prerequisites}")
        for skills in self.initial_states:
            if frozenset(skills) not in self._states:
                raise ValueError(
                    "`initial_states` must hold the prerequisites of their skills, "
                    f"got {sorted(skills)}"
                )
        return self

    # -- the knowledge space ------------------------------------------------------------------
    @cached_property
    def _materials(self) -> tuple[tuple[int, ...], ...]:
        return self.materials or tuple((k,) for k in range(self.n_skills))

    @cached_property
    def _states(self) -> dict[frozenset[int], int]:
        """Every state that can be reached from nothing -> its index, small sets first."""
        found = {frozenset[int]()}
        edge = found
        while edge:
            edge = {s | {k} for s in edge for k in range(self.n_skills) if self._ready(s, k)}
            edge -= found
            found = found | edge
        return {s: i for i, s in enumerate(sorted(found, key=lambda s: (len(s), sorted(s))))}

    def _ready(self, state: frozenset[int], skill: int) -> bool:
        return state.issuperset(self.prerequisites.get(skill, ()))

    @cached_property
    def _mastered(self) -> Tensor:
        """``(S, K)`` bool: the skills of each state."""
        return torch.tensor([[k in s for k in range(self.n_skills)] for s in self._states])

    @cached_property
    def _target(self) -> Tensor:
        """``(L, S)``: the state after learning material l; the state itself if nothing can be."""
        return torch.tensor([[self._after(m, s) for s in self._states] for m in self._materials])

    def _after(self, material: tuple[int, ...], state: frozenset[int]) -> int:
        skill = next((k for k in material if k not in state), None)
        learnable = skill is not None and self._ready(state, skill)
        return self._states[state | {skill} if learnable and skill is not None else state]

    @cached_property
    def _done(self) -> Tensor:
        """``(L, S)`` bool: all that the material teaches is mastered."""
        return torch.tensor([[s.issuperset(m) for s in self._states] for m in self._materials])

    # -- declarations -------------------------------------------------------------------------
    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_0`` .. ``skill_{K-1}``."""
        return tuple(f"skill_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """A material in a modality, at index ``material * M + modality``."""
        names = tuple("+".join(f"skill_{k}" for k in m) for m in self._materials)
        return skill_modality_actions("teach", names, self.modalities)

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, learning by material, items, and the start."""
        n_starts = len(self.initial_states)
        return self._common_latents() | {
            "p_learn": LatentSpec((len(self._materials),), 0, 1, 0.65, "P(learn) per material"),
            "p_slip": LatentSpec((), 0, 1, 0.2, "P(wrong answer) when mastered"),
            "p_guess": LatentSpec((), 0, 1, 0.2, "P(correct answer) when not mastered"),
            "p_initial_state": LatentSpec(
                (n_starts,), 0, 1, 1 / n_starts, "P(initial state)", simplex=True
            ),
        }

    @property
    def n_start_uniforms(self) -> int:
        """The initial state."""
        return 1

    @property
    def n_step_uniforms(self) -> int:
        """Answer, learning."""
        return 2

    # -- the chain ----------------------------------------------------------------------------
    def _material(self, action: Tensor) -> Tensor:
        return action.div(len(self.modalities), rounding_mode="floor")

    def _p_move(self, latents: Latents, action: Tensor) -> Tensor:
        """``(n, S)`` probability of learning in each state."""
        material = self._material(action)
        p = latents["p_learn"].gather(-1, material.unsqueeze(-1)).squeeze(-1)
        rate = torch.sigmoid(torch.logit(p) + self.ability_on_learn * latents["ability"])
        style = style_multiplier(latents, action.remainder(len(self.modalities)))
        target = self._target.to(action.device)[material]
        learnable = target != torch.arange(target.shape[-1], device=action.device)
        return learnable * (rate * style).clamp(0, 1).unsqueeze(-1)

    def _p_right(self, latents: Latents, action: Tensor) -> tuple[Tensor, Tensor]:
        """P(correct) after learning ``(n, 1)``, and in each state without it ``(n, S)``."""
        knows, guess = (1 - latents["p_slip"]).unsqueeze(-1), latents["p_guess"].unsqueeze(-1)
        done = self._done.to(action.device)[self._material(action)]
        return knows, torch.where(done, knows, guess)

    def _at(self, table: Tensor, state: State) -> Tensor:
        return table.gather(-1, state["index"].unsqueeze(-1)).squeeze(-1)

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """Draw the initial state: ``index`` int64 ``(n,)`` among the S states."""
        edges = latents["p_initial_state"].cumsum(-1)[:, :-1]
        starts = torch.tensor([self._states[frozenset(s)] for s in self.initial_states])
        return {"index": starts.to(edges.device)[(uniforms >= edges).sum(-1)]}

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Learn, then answer."""
        learns = uniforms[:, 1] < self._at(self._p_move(latents, action), state)
        target = self._at(self._target.to(action.device)[self._material(action)], state)
        after, stayed = self._p_right(latents, action)
        p_correct = torch.where(learns, after.squeeze(-1), self._at(stayed, state))
        response = (uniforms[:, 0] < p_correct).long()
        return {"index": torch.where(learns, target, state["index"])}, response

    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """P(wrong), P(correct), over the luck of learning."""
        return self.predict(latents, self._certain(latents, state), action)

    def _certain(self, latents: Latents, state: State) -> Belief:
        one = torch.nn.functional.one_hot(state["index"], len(self._states))
        return {"p": one.to(latents["ability"].dtype)}

    # -- truth --------------------------------------------------------------------------------
    def mastery(self, latents: Latents, state: State) -> Tensor:
        """1 for a mastered skill, 0 otherwise."""
        table = self._mastered.to(latents["ability"])
        return table[state["index"]]

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Share of mastered skills."""
        return self.mastery(latents, state).mean(-1)

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """P(learning) over the number of skills."""
        return self._at(self._p_move(latents, action), state) / self.n_skills

    # -- belief over the S states -------------------------------------------------------------
    @property
    def belief_is_distribution(self) -> bool:
        """``p`` is."""
        return True

    def begin_belief(self, latents: Latents) -> Belief:
        """``p`` ``(n, S)``: probability of each state."""
        starts = [self._states[frozenset(skills)] for skills in self.initial_states]
        p = latents["ability"].new_zeros((len(latents["ability"]), len(self._states)))
        for column, index in enumerate(starts):
            p[:, index] += latents["p_initial_state"][:, column]
        return {"p": p}

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        move = self._p_move(latents, action)
        after, stayed = self._p_right(latents, action)
        p = (belief["p"] * (move * after + (1 - move) * stayed)).sum(-1)
        return torch.stack([1 - p, p], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Bayes' rule over staying and moving."""
        move = self._p_move(latents, action)
        correct = (response == CORRECT).unsqueeze(-1)
        moved, stayed = (
            torch.where(correct, right, 1 - right) for right in self._p_right(latents, action)
        )
        target = self._target.to(action.device)[self._material(action)]
        joint = belief["p"] * (1 - move) * stayed
        joint = joint.scatter_add(-1, target, belief["p"] * move * moved)
        return {"p": joint / joint.sum(-1, keepdim=True).clamp(min=torch.finfo(joint.dtype).tiny)}

    def belief_mastery(self, latents: Latents, belief: Belief) -> Tensor:
        """P(mastered)."""
        return belief["p"] @ self._mastered.to(belief["p"])

    def belief_post_test(self, latents: Latents, belief: Belief) -> Tensor:
        """Expected share of mastered skills."""
        return self.belief_mastery(latents, belief).mean(-1)

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(learning) over the number of skills."""
        return (belief["p"] * self._p_move(latents, action)).sum(-1) / self.n_skills
