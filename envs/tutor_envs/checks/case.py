"""One student model under check: a varied population, simulated without a classroom."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tutor_envs.doors.hosted import HostedStudent
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents, LatentSpec, State, StudentModel

_SPREAD = 0.25
"""Share of a latent's range, to each side of its default, that the checks' students fill."""


class Level(enum.StrEnum):
    """How bad it is."""

    PROBLEM = "problem"
    WARNING = "warning"


class Finding(NamedTuple):
    """Something to change.

    Attributes:
        check: name of the rule.
        level: whether the student cannot be used so, or can.
        message: what is wrong, and what to change.
    """

    check: str
    level: Level
    message: str


class Complaint(NamedTuple):
    """A finding before it knows which check it is of."""

    message: str
    level: Level = Level.PROBLEM


Check = Callable[["Case"], Iterator[Complaint]]


@dataclasses.dataclass(frozen=True)
class Trace:
    """What happened to n students in T steps of one lesson.

    Attributes:
        latents: of the students.
        states: before the first step, and after each.
        actions: int64 ``(T, n)``.
        responses: int64 ``(T, n)``; R where the action reached nobody.
        mastery: ``(T + 1, n, K)``.
        post_test: ``(T + 1, n)``.
        legal: bool ``(n, A)`` before each step and after the last, or None.
        signals: ``(n, S)`` at the start and after each step, or None.
    """

    latents: Latents
    states: list[State]
    actions: Tensor
    responses: Tensor
    mastery: Tensor
    post_test: Tensor
    legal: list[Tensor | None]
    signals: list[Tensor | None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A student model under check.

    Attributes:
        population: whose students are simulated.
        n_students: in the reference batch.
        n_steps: of a lesson.
        seed: of students and luck.
    """

    population: Population
    n_students: int
    n_steps: int
    seed: int

    @property
    def model(self) -> StudentModel:
        """The model under check."""
        return self.population.student_model

    @property
    def hosted(self) -> bool:
        """Its students are Python objects."""
        return isinstance(self.model, HostedStudent)

    @property
    def students(self) -> Tensor:
        """The reference batch."""
        return student_indices(Split.TRAIN, self.n_students)

    def latents(self, students: Tensor, dtype: torch.dtype = torch.float32) -> Latents:
        """Of these students."""
        return self.population.sample(self.seed, students, dtype=dtype)

    def begin(self, students: Tensor, latents: Latents) -> State:
        """Their state at the start of a lesson."""
        u = uniforms(
            self.seed, students, purpose=Purpose.LESSON_START, n_lanes=self.model.n_start_uniforms
        )
        return self.model.begin_lesson(latents, u)

    def luck(self, students: Tensor, step: int) -> Tensor:
        """Their uniforms at a step."""
        n_lanes = self.model.n_step_uniforms
        return uniforms(
            self.seed, students, purpose=Purpose.STUDENT_STEP, n_lanes=n_lanes, step=step
        )

    def action(self, students: Tensor, step: int, legal: Tensor | None) -> Tensor:
        """A uniformly random legal action, each student's own."""
        u = uniforms(self.seed, students, purpose=Purpose.TRAINING, n_lanes=1, step=step)
        if legal is None:
            legal = torch.ones(len(students), self.model.n_actions, dtype=torch.bool)
        share = legal.double().cumsum(-1)
        return (u.double() * share[:, -1:] >= share).sum(-1).clamp(max=self.model.n_actions - 1)

    def simulate(
        self,
        students: Tensor,
        *,
        n_steps: int | None = None,
        dtype: torch.dtype = torch.float32,
        same_actions: bool = False,
    ) -> Trace:
        """Teach these students random actions.

        Args:
            students: int64 ``(n,)`` indices.
            n_steps: of the lesson; None: as the case says.
            dtype: of the latents.
            same_actions: as to the first student, for everybody.
        """
        model, latents = self.model, self.latents(students, dtype)
        state = self.begin(students, latents)
        trace = _Recorder(model, latents, state)
        for step in range(n_steps or self.n_steps):
            legal = trace.legal[-1]
            action = self.action(students, step, legal)
            if same_actions:
                action = action[:1].expand(len(students)).clone()
            reached = model.reachable(state)
            after, response = model.step(latents, state, action, self.luck(students, step))
            if legal is not None:
                allowed = legal.gather(-1, action.unsqueeze(-1)).squeeze(-1)
                reached = allowed if reached is None else allowed & reached
            if reached is not None:
                after = {k: _where(reached, value, state[k]) for k, value in after.items()}
                response = torch.where(reached, response, model.n_responses)
            state = after
            trace.record(action, response, state)
        return trace.finish()


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(condition.reshape(-1, *[1] * (yes.dim() - 1)), yes, no)


class _Recorder:
    def __init__(self, model: StudentModel, latents: Latents, state: State) -> None:
        self.model, self.latents = model, latents
        self.actions: list[Tensor] = []
        self.responses: list[Tensor] = []
        self.states: list[State] = []
        self.legal: list[Tensor | None] = []
        self.mastery: list[Tensor] = []
        self.post_test: list[Tensor] = []
        self.signals: list[Tensor | None] = []
        self.see(state)

    def see(self, state: State) -> None:
        self.states.append(state)
        self.legal.append(self.model.legal_actions(state))
        self.mastery.append(self.model.mastery(self.latents, state))
        self.post_test.append(self.model.post_test(self.latents, state))
        self.signals.append(self.model.signals(self.latents, state))

    def record(self, action: Tensor, response: Tensor, state: State) -> None:
        self.actions.append(action)
        self.responses.append(response)
        self.see(state)

    def finish(self) -> Trace:
        return Trace(
            self.latents,
            self.states,
            torch.stack(self.actions),
            torch.stack(self.responses),
            torch.stack(self.mastery),
            torch.stack(self.post_test),
            self.legal,
            self.signals,
        )


# -- students who differ -----------------------------------------------------------------------
def spread_latents(model: type[StudentModel], configured: StudentModel) -> dict[str, Any]:
    """Distributions around the defaults of all latents, for a model without a population.

    Args:
        model: its class, which may know distributions of its own.
        configured: an instance.
    """
    own: dict[str, Any] = getattr(model, "default_distributions", dict)()
    return {name: _spread(spec) for name, spec in configured.latent_specs.items()} | own


def _spread(spec: LatentSpec) -> dict[str, Any]:
    if spec.simplex:
        return {"dirichlet": {"concentration": 1}}
    low, high, middle = spec.low, spec.high, spec.default
    if not low <= middle <= high:
        return {"uniform": {"low": low, "high": high}}
    half = _SPREAD * (high - low)
    if not math.isfinite(half):
        half = max(1.0, abs(middle)) if math.isinf(low) and math.isinf(high) else abs(middle) / 2
        half = half or 0.5
    return {"uniform": {"low": max(low, middle - half), "high": min(high, middle + half)}}
