"""The student model: how one simulated mind learns, forgets and answers, batched.

A student model is a pure function family on tensors with a leading student dimension ``n``. It
holds no student and draws no random number: latents, state and uniforms are arguments. So one
definition serves the simulation of a million students, a planner that starts from any state, and
an exact test.

Two views of a student exist side by side:

* the **state** is what one simulated student really knows (hidden from tutors);
* the **belief** is what an observer who knows the *latents* can know of that state from the
  actions and responses so far. A model whose state follows from latents and history alone (IRT,
  memory) has ``belief = state``; a model with hidden jumps (BKT) keeps a distribution. Exact
  filters and planners for unknown latents are a mixture of such beliefs over student types.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Latents = Mapping[str, Tensor]
"""What is fixed for a student: name -> ``(n, *shape)``."""
State = dict[str, Tensor]
"""What changes while a student is taught: name -> ``(n, ...)``."""
Belief = dict[str, Tensor]
"""What an observer who knows the latents knows of the state: name -> ``(n, ...)``."""

WRONG = 0
CORRECT = 1
SECONDS_PER_DAY = 86400.0


class TeachingAction(NamedTuple):
    """What a tutor can do next: an activity on a skill (or item), in a modality."""

    activity: str
    skill: str
    modality: str

    def __str__(self) -> str:
        """``practice skill_1 by video``, leaving out what does not apply."""
        return " ".join(
            [self.activity]
            + [self.skill] * bool(self.skill)
            + [f"by {self.modality}"] * bool(self.modality)
        )


@dataclass(frozen=True)
class LatentSpec:
    """One latent of a student model.

    Attributes:
        shape: shape of one student's value; ``()`` for a scalar.
        low: smallest allowed value.
        high: largest allowed value.
        default: value where a population says nothing (broadcast to ``shape``).
        meaning: one line, with the unit.
        simplex: the last axis is non-negative and sums to one.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    default: float
    meaning: str
    simplex: bool = False

    @property
    def size(self) -> int:
        """Numbers in one student's value."""
        return math.prod(self.shape)


def style_multiplier(latents: Latents, modality: Tensor) -> Tensor:
    """How much a student's learning is scaled by the modality in use.

    ``1 + style_strength * (M * responsiveness[modality] - 1)``: the mean over the M modalities is
    one, and ``style_strength = 0`` makes every modality equal. This is a simulated trait, not a
    claim about people: the matching hypothesis of learning styles is contested (Pashler, McDaniel,
    Rohrer & Bjork 2008, Psychological Science in the Public Interest 9(3)).

    Args:
        latents: has ``responsiveness`` ``(n, M)`` on the simplex and ``style_strength`` ``(n,)``.
        modality: int64 ``(n,)``.

    Returns:
        ``(n,)``, each in ``[0, M]``.
    """
    chosen = latents["responsiveness"].gather(-1, modality.unsqueeze(-1))
    return _style(latents, chosen).squeeze(-1)


def style_multipliers(latents: Latents) -> Tensor:
    """:func:`style_multiplier` of every modality, ``(n, M)``."""
    return _style(latents, latents["responsiveness"])


def _style(latents: Latents, share: Tensor) -> Tensor:
    n_modalities = latents["responsiveness"].shape[-1]
    return 1 + latents["style_strength"].unsqueeze(-1) * (n_modalities * share - 1)


class StudentModel(BaseModel, ABC):
    """Base of every student model; its fields are the model's configuration.

    Symbols: ``n`` students, ``K`` skills, ``M`` modalities, ``A`` teaching actions, ``R``
    responses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    """The name in a population file (``student: name``)."""
    file_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that name files, relative to the file that says so."""
    modalities: tuple[str, ...] = Field(("text", "video", "practice"), min_length=1)
    step_s: float = Field(30.0, gt=0, description="seconds that one teaching action takes")

    # -- what the model declares --------------------------------------------------------------
    @property
    @abstractmethod
    def skills(self) -> tuple[str, ...]:
        """Names of the K skills (or items)."""

    @property
    @abstractmethod
    def actions(self) -> tuple[TeachingAction, ...]:
        """The A teaching actions; a teaching action is known by its index here."""

    @property
    def responses(self) -> tuple[str, ...]:
        """The R responses a tutor can see; 0 is a wrong and 1 a correct answer."""
        return ("wrong", "correct")

    @property
    @abstractmethod
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Every latent with its shape, range, default and meaning."""

    @property
    def n_start_uniforms(self) -> int:
        """Uniforms that ``begin_lesson`` consumes for each student."""
        return 0

    @property
    def n_step_uniforms(self) -> int:
        """Uniforms that ``step`` consumes for each student."""
        return 1

    @property
    def max_lesson_steps(self) -> int | None:
        """Longest lesson for which the model's score is defined; None: no limit."""
        return None

    @property
    def n_actions(self) -> int:
        """A, the number of teaching actions."""
        return len(self.actions)

    @property
    def n_responses(self) -> int:
        """R, the number of responses."""
        return len(self.responses)

    def _common_latents(self) -> dict[str, LatentSpec]:
        n_modalities = len(self.modalities)
        return {
            "ability": LatentSpec(
                (), -math.inf, math.inf, 0.0, "general ability, in standard deviations"
            ),
            "responsiveness": LatentSpec(
                (n_modalities,),
                0,
                1,
                1 / n_modalities,
                "share of learning per modality",
                simplex=True,
            ),
            "style_strength": LatentSpec(
                (), 0, 1, 0.0, "how much the modality matters; 0: not at all"
            ),
        }

    # -- simulation ---------------------------------------------------------------------------
    @abstractmethod
    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """The state at the start of a lesson on a new topic.

        Args:
            latents: of n students.
            uniforms: ``(n, n_start_uniforms)`` in [0, 1).
        """

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """One teaching action and the student's response.

        Args:
            latents: of n students.
            state: as returned by ``begin_lesson`` or ``step``.
            action: int64 ``(n,)`` in ``[0, A)``.
            uniforms: ``(n, n_step_uniforms)`` in [0, 1).

        Returns:
            The next state, and the response, int64 ``(n,)`` in ``[0, R)``.
        """
        p_correct = self.answer(latents, state, action)[:, CORRECT]
        response = (uniforms[:, 0] < p_correct).long()
        return self.update(latents, state, action, response), response

    @property
    def step_days(self) -> float:
        """Days that one teaching action takes."""
        return self.step_s / SECONDS_PER_DAY

    def lesson_days(self, n_actions: int) -> float:
        """Days from the start of a lesson until it has had so many teaching actions.

        Everybody may know them: breaks that are part of the plan are in them.
        """
        return n_actions * self.step_days

    @property
    def n_wait_uniforms(self) -> int:
        """Uniforms that ``wait`` consumes for each student."""
        return 0

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Time passes without teaching: a break, a rest. Default: nothing is forgotten.

        Args:
            latents: of n students.
            state: before the time passes.
            days: ``(n,)``, >= 0.
            uniforms: ``(n, n_wait_uniforms)`` in [0, 1).
        """
        return state

    def legal_actions(self, state: State | Belief) -> Tensor | None:
        """``(n, A)`` mask of allowed actions, from observable history alone; None: all allowed."""
        return None

    # -- what else a tutor sees, and what teaching costs --------------------------------------
    @property
    def signal_names(self) -> tuple[str, ...]:
        """Names of the S real numbers that a tutor sees beside the response."""
        return ()

    def signals(self, latents: Latents, state: State) -> Tensor | None:
        """What a tutor sees now beside the response, ``(n, S)``, near unit scale; None if S is 0.

        A model keeps in its state what the last action showed.
        """
        return None

    def present(self, state: State | Belief) -> Tensor | None:
        """Bool ``(n,)``: who has not left the trial, for good; None: nobody ever leaves."""
        return None

    def reachable(self, state: State | Belief) -> Tensor | None:
        """Bool ``(n,)``: whom an action reaches now: present, and the lesson not over; None: all.

        An action that does not reach its student has no effect, no response and no cost.
        """
        return self.present(state)

    @property
    def action_costs(self) -> tuple[float, ...] | None:
        """What each of the A actions takes off the lesson's score; None: nothing."""
        return None

    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Probability of each response of a student in this state, ``(n, R)``.

        Default: the state is known, and :meth:`predict` says it.
        """
        return self.predict(latents, state, action)

    # -- privileged truth: for rewards, evaluation and oracles only ---------------------------
    @abstractmethod
    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Mastery of each skill in [0, 1], ``(n, K)``."""

    @abstractmethod
    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Expected score in [0, 1] of a post-test taken now, ``(n,)``."""

    @property
    def has_expected_gain(self) -> bool:
        """``expected_gain`` is exact (then training may be paid expected rewards)."""
        return True

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Expected change of ``post_test`` by one action, over the student's luck, ``(n,)``."""
        return self.belief_gain(latents, state, action)

    # -- belief of an observer who knows the latents ------------------------------------------
    def begin_belief(self, latents: Latents) -> Belief:
        """The belief at the start of a lesson. Default: the state is known."""
        some = next(iter(latents.values()))
        return self.begin_lesson(latents, some.new_zeros((some.shape[0], self.n_start_uniforms)))

    @abstractmethod
    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Probability of each response to ``action``, ``(n, R)``."""

    @abstractmethod
    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """The belief after ``action`` was answered by ``response``, int64 ``(n,)`` each.

        A response of probability zero leaves finite numbers (which its weight makes irrelevant).
        """

    def belief_wait(self, latents: Latents, belief: Belief, days: Tensor) -> Belief:
        """The belief after ``days`` ``(n,)`` without teaching. Default: the state is known."""
        return self.wait(latents, belief, days, days.new_empty(len(days), 0))

    def belief_mastery(self, latents: Latents, belief: Belief) -> Tensor:
        """Expected mastery of each skill, ``(n, K)``. Default: the state is known."""
        return self.mastery(latents, belief)

    def belief_post_test(self, latents: Latents, belief: Belief) -> Tensor:
        """Expected score of a post-test taken now, ``(n,)``. Default: the state is known."""
        return self.post_test(latents, belief)

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Expected change of the post-test score by one action, ``(n,)``."""
        p_response = self.predict(latents, belief, action)
        after = torch.zeros_like(p_response[:, 0])
        for response in range(self.n_responses):
            updated = self.update(latents, belief, action, torch.full_like(action, response))
            after = after + p_response[:, response] * self.belief_post_test(latents, updated)
        return after - self.belief_post_test(latents, belief)

    def belief_gains(self, latents: Latents, belief: Belief) -> Tensor:
        """``belief_gain`` of every action, ``(n, A)``; a model may know a faster way."""
        some = next(iter(latents.values()))
        n, actions = some.shape[0], torch.arange(self.n_actions, device=some.device)
        return torch.stack([self.belief_gain(latents, belief, a.expand(n)) for a in actions], -1)

    def planning_belief(self, belief: Belief) -> Belief:
        """The part of a belief on which predictions, gains and legality depend. Default: all."""
        return belief

    @property
    def is_functional(self) -> bool:
        """A state is a value: the student can be copied, set back and predicted (beliefs exist).

        False for students who can only be simulated forward, such as Python objects.
        """
        return True

    @property
    def belief_is_exact(self) -> bool:
        """The belief is Bayes' rule, not an approximation: exact planning is possible."""
        return True

    @property
    def belief_is_distribution(self) -> bool:
        """The belief is one tensor ``(n, S)``: the probabilities of S hidden states."""
        return False


def skill_modality_actions(
    activity: str, skills: tuple[str, ...], modalities: tuple[str, ...]
) -> tuple[TeachingAction, ...]:
    """Every (skill, modality) pair as an action, at index ``skill * M + modality``."""
    return tuple(
        TeachingAction(activity, skill, modality) for skill in skills for modality in modalities
    )
