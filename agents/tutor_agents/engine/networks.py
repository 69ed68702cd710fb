"""The networks of learned tutors: the actor with its memory, the critic, the belief head.

Only :class:`Actor` is deployed. Its inputs are observable::

    token  one embedding row for each (previous action, response) pair   (T, N)
    clock  one embedding row for each (lesson, step)                     (T,)
    score  the last lesson's score, where the task shows it              (T, N)
    signals  what the student model shows beside the response            (T, N, S)

The joint token matters: an additive code (action + response) hardly learns, because the memory
must then form the interaction by itself. The clock holds the time to go and the start flags of
trial and lesson (its first row, and every row with step 0).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import linear

from tutor_agents.engine.head import head_of_parts
from tutor_agents.memories import Embedded, MemoryConfig, MemoryState, NamedMemory, make_memory
from tutor_agents.memories.config import GRUConfig
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask

Network = Literal["joint", "per_skill"]
"""How an actor sees its actions: each for itself, or skills alike (``engine/skill_actor.py``)."""


class Inputs(NamedTuple):
    """What an actor takes in; ``...`` is ``(N,)`` for one step and ``(T, N)`` for a trial.

    Attributes:
        token: int64 ``(...)``, index of the last (action, response) pair.
        score: ``(...)``, the last lesson's score; None where the task does not show it.
        signals: ``(..., S)``, what the student model shows beside the response; None without.
    """

    token: Tensor
    score: Tensor | None
    signals: Tensor | None


class ActorShape(BaseModel):
    """What sizes an actor; written beside its weights when it is taken away."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_actions: int = Field(ge=1)
    n_responses: int = Field(ge=1)
    n_lessons: int = Field(ge=1)
    n_steps: int = Field(ge=1, description="teaching actions in a lesson")
    show_score: bool = Field(description="the score of a finished lesson is an input")
    n_signals: int = Field(0, ge=0, description="real-valued observables that are inputs")
    hidden_size: int = Field(ge=1)
    memory: NamedMemory = Field(default_factory=GRUConfig)
    skill_of_action: tuple[int, ...] = Field((), description="index of the skill; () if not used")
    way_of_action: tuple[int, ...] = Field((), description="index of (activity, modality)")

    @classmethod
    def of(
        cls,
        model: StudentModel,
        task: TeachingTask,
        hidden_size: int,
        memory: MemoryConfig,
        network: Network = "joint",
    ) -> ActorShape:
        """The shape for a student model's actions and responses and a task's clock.

        Raises:
            ValueError: a per-skill network, and actions that are not every skill in every way.
        """
        skill_of_action, way_of_action = (
            _skills_and_ways(model) if network == "per_skill" else ((), ())
        )
        return cls(
            n_actions=model.n_actions,
            n_responses=model.n_responses,
            n_lessons=task.n_lessons,
            n_steps=task.n_steps,
            show_score=task.show_score,
            n_signals=len(model.signal_names),
            hidden_size=hidden_size,
            memory=memory,
            skill_of_action=skill_of_action,
            way_of_action=way_of_action,
        )

    @property
    def n_trial_steps(self) -> int:
        """Teaching actions in a trial, T."""
        return self.n_lessons * self.n_steps

    def clock(self, observation: Observation) -> int:
        """Teaching actions of the trial so far, t."""
        return observation.lesson * self.n_steps + observation.step


def _skills_and_ways(model: StudentModel) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Index of the skill of each action, and of its way: the pair (activity, modality)."""
    ways = list(dict.fromkeys((action.activity, action.modality) for action in model.actions))
    taught = [(action.skill, (action.activity, action.modality)) for action in model.actions]
    if len(taught) < 2 or set(taught) != {(skill, way) for skill in model.skills for way in ways}:
        raise ValueError(
            f"`network` must be 'joint' for student model `{model.name}`: 'per_skill' needs every "
            "skill to be taught by every activity in every modality"
        )
    skills = list(model.skills)
    return (
        tuple(skills.index(str(skill)) for skill, _ in taught),
        tuple(ways.index(way) for _, way in taught),
    )


class Policy(Protocol):
    """A network that acts and is trained on whole trials; T steps, N students.

    Acting step by step and a whole trial at once must give the same logits.
    """

    shape: ActorShape

    def encode(self, observation: Observation) -> Inputs:
        """The inputs of one step, ``(N,)``."""
        ...

    def begin(self, n_students: int) -> MemoryState:
        """Empty memories of N students."""
        ...

    def step(
        self, inputs: Inputs, t: int, state: MemoryState
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """What the memory holds ``(N, H)``, action logits ``(N, A)``, the memory after step t."""
        ...

    def sequence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The same for steps 0 to T - 1: ``(T, N, H)`` and ``(T, N, A)``."""
        ...


class InputEncoder(nn.Module):
    """Observations as vectors: the sum of embeddings of token, clock, score and signals."""

    def __init__(self, shape: ActorShape) -> None:
        super().__init__()
        self.shape = shape
        self._n_codes = shape.n_responses + 1
        width = shape.hidden_size
        self.token = nn.Embedding(shape.n_actions * self._n_codes + 1, width)
        self.clock = nn.Embedding(shape.n_trial_steps, width)
        self.score = nn.Linear(1, width) if shape.show_score else None
        self.signals = nn.Linear(shape.n_signals, width) if shape.n_signals else None

    def initialise(self) -> None:
        """Embeddings large enough (SD 0.5) to move the gates of a memory."""
        nn.init.normal_(self.token.weight, std=0.5)
        nn.init.normal_(self.clock.weight, std=0.5)

    def encode(self, observation: Observation) -> Inputs:
        """The inputs of one step."""
        begins = observation.action == self.shape.n_actions
        code = torch.where(begins, 0, observation.response)
        token = observation.action * self._n_codes + code
        return Inputs(token, observation.score, observation.signals)

    def forward(self, inputs: Inputs, clock: Tensor) -> Embedded:
        """Vectors ``(..., W)``; ``clock`` is the embedded time, ``(W,)`` or ``(T, 1, W)``."""
        rest: Tensor | None = None
        if self.score is not None:
            assert inputs.score is not None
            rest = self.score(inputs.score.unsqueeze(-1))
        if self.signals is not None:
            assert inputs.signals is not None
            signals = self.signals(inputs.signals.to(self.token.weight.dtype))
            rest = signals if rest is None else rest + signals
        return Embedded(self.token.weight, inputs.token, clock, rest)


class Actor(nn.Module):
    """Memory and policy; see :class:`Policy` for what its methods promise."""

    def __init__(self, shape: ActorShape) -> None:
        """Build an actor of this shape; see ``initialise`` for its weights."""
        super().__init__()
        self.shape = shape
        width = shape.hidden_size
        self.inputs = InputEncoder(shape)
        self.memory = make_memory(shape.memory, width, shape.n_trial_steps)
        self.head = nn.Sequential(
            nn.Linear(2 * width, width), nn.Tanh(), nn.Linear(width, shape.n_actions)
        )

    def initialise(self) -> None:
        """Draw the initial weights from torch's generator (seed it first).

        The policy head is small enough to start near uniform.
        """
        self.inputs.initialise()
        self.memory.initialise()
        initialise_head(self.head, gain=0.01)

    def encode(self, observation: Observation) -> Inputs:
        """The inputs of one step."""
        return self.inputs.encode(observation)

    def begin(self, n_students: int) -> MemoryState:
        """Empty memories."""
        return self.memory.begin(n_students)

    def step(
        self, inputs: Inputs, t: int, state: MemoryState
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step of acting."""
        clock = self.inputs.clock.weight[t]
        hidden, state = self.memory.step(self.inputs(inputs, clock).dense(), state)
        return hidden, self._logits(hidden, clock), state

    def sequence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """A whole trial at once."""
        clock = self.inputs.clock.weight[: len(inputs.token)].unsqueeze(1)
        hidden = self.memory.sequence_of(self.inputs(inputs, clock))
        return hidden, self._logits(hidden, clock)

    def _logits(self, hidden: Tensor, clock: Tensor) -> Tensor:
        return head_of_parts(self.head, hidden, clock)


class Critic(nn.Module):
    """Value of a situation, from the memory, the clock and privileged features.

    A critic with privileged features does not shape the memory that it reads; one without does.
    """

    def __init__(self, n_features: int, n_clock: int, hidden_size: int) -> None:
        """``n_features`` privileged features; 0 for a critic that sees what the actor sees."""
        super().__init__()
        self._shapes_memory = n_features == 0
        self.clock = nn.Embedding(n_clock, hidden_size)
        self.value = nn.Sequential(
            nn.Linear(2 * hidden_size + n_features, hidden_size),
            nn.Tanh(),
            nn.Linear(hidden_size, 1),
        )

    def initialise(self) -> None:
        """Draw the initial weights from torch's generator."""
        nn.init.normal_(self.clock.weight, std=0.5)
        initialise_head(self.value, gain=1.0)

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """Values ``(T, N)`` of steps 0 to T - 1, from ``(T, N, H)`` and ``(T, N, F)``."""
        if not self._shapes_memory:
            hidden = hidden.detach()
        clock = self.clock.weight[: len(hidden)].unsqueeze(1)
        return head_of_parts(self.value, hidden, clock, features).squeeze(-1)


class BeliefHead(nn.Module):
    """What the memory knows: the student's type, latents, and answer to every action."""

    def __init__(self, hidden_size: int, n_types: int, n_latents: int, model: StudentModel) -> None:
        """``n_latents`` counts the latents (standardised) that vary in the population."""
        super().__init__()
        self.shape = (model.n_actions, model.n_responses)
        self.kind = nn.Linear(hidden_size, n_types)
        self.latents = (
            nn.Linear(hidden_size, n_latents)
            if n_latents
            # Nothing to draw, of which torch would warn.
            else nn.utils.skip_init(nn.Linear, hidden_size, 0)  # type: ignore[no-untyped-call]
        )
        self.response = nn.Linear(hidden_size, model.n_actions * model.n_responses)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Type logits ``(..., types)``, latents ``(..., L)``, response logits ``(..., A, R)``."""
        response = self.response(hidden)
        return self.kind(hidden), self.latents(hidden), response.unflatten(-1, self.shape)


def linear_of_parts(layer: nn.Module, *parts: Tensor) -> Tensor:
    """A linear layer's output for parts ``(..., W_i)`` as if they lay side by side.

    The first has the shape of all; the others may broadcast to it, and are mapped before they do:
    the clock once for all students.
    """
    assert isinstance(layer, nn.Linear)
    weights = torch.split(layer.weight, [part.shape[-1] for part in parts], dim=1)
    used = [pair for pair in zip(parts, weights, strict=True) if pair[0].shape[-1]]
    first, *others = used  # a product with nothing would be a tensor of zeros
    # The bias goes with a small part, if there is one: little to sum up on the way back.
    biases = [layer.bias, *[None] * len(used)] if others else []
    x = linear(*first, None if others else layer.bias)
    for pair, bias in zip(others, biases, strict=False):
        x += linear(*pair, bias)
    return x


def initialise_head(head: nn.Sequential, gain: float) -> None:
    """Orthogonal layers of gain sqrt(2), the last of ``gain``; zero biases."""
    layers = [layer for layer in head if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain=gain if layer is layers[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
