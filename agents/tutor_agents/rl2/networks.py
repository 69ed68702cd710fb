"""The networks of RL²: the actor with its memory, the critic, the belief head.

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

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask


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

    @classmethod
    def of(cls, model: StudentModel, task: TeachingTask, hidden_size: int) -> ActorShape:
        """The shape for a student model's actions and responses and a task's clock."""
        return cls(
            n_actions=model.n_actions,
            n_responses=model.n_responses,
            n_lessons=task.n_lessons,
            n_steps=task.n_steps,
            show_score=task.show_score,
            n_signals=len(model.signal_names),
            hidden_size=hidden_size,
        )


class Actor(nn.Module):
    """GRU memory and policy."""

    def __init__(self, shape: ActorShape) -> None:
        """Build an actor of this shape; see ``initialise`` for its weights."""
        super().__init__()
        self.shape = shape
        self._n_codes = shape.n_responses + 1
        width = shape.hidden_size
        self.token = nn.Embedding(shape.n_actions * self._n_codes + 1, width)
        self.clock = nn.Embedding(shape.n_lessons * shape.n_steps, width)
        self.score = nn.Linear(1, width) if shape.show_score else None
        self.signals = nn.Linear(shape.n_signals, width) if shape.n_signals else None
        self.gru = nn.GRU(width, width)
        self.head = nn.Sequential(
            nn.Linear(2 * width, width), nn.Tanh(), nn.Linear(width, shape.n_actions)
        )

    def initialise(self) -> None:
        """Draw the initial weights from torch's generator (seed it first).

        Orthogonal recurrent weights; a token's embedding large enough (SD 0.5) to move the gates;
        a policy head small enough to start near uniform.
        """
        nn.init.normal_(self.token.weight, std=0.5)
        nn.init.normal_(self.clock.weight, std=0.5)
        for name, parameter in self.gru.named_parameters():
            if "weight" in name:
                for gate in parameter.data.chunk(3):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(parameter)
        _initialise_head(self.head, gain=0.01)

    def encode(self, observation: Observation) -> Tensor:
        """The token of each student's last (action, response) pair, int64 ``(N,)``."""
        begins = observation.action == self.shape.n_actions
        return observation.action * self._n_codes + torch.where(begins, 0, observation.response)

    def clock_index(self, lesson: int, step: int) -> int:
        """Row of the clock embedding."""
        return lesson * self.shape.n_steps + step

    def remember(
        self,
        token: Tensor,
        clock: Tensor,
        score: Tensor | None,
        memory: Tensor,
        signals: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the memory over a piece of a trial.

        Args:
            token: int64 ``(T, N)``.
            clock: int64 ``(T,)``.
            score: ``(T, N)`` or None.
            memory: ``(1, N, H)``; zeros at the start of a trial.
            signals: ``(T, N, S)`` or None.

        Returns:
            The memory after every step ``(T, N, H)``, and after the last ``(1, N, H)``.
        """
        x = self.token(token) + self.clock(clock).unsqueeze(1)
        if self.score is not None:
            assert score is not None
            x = x + self.score(score.unsqueeze(-1))
        if self.signals is not None:
            assert signals is not None
            x = x + self.signals(signals.to(x.dtype))
        hidden, last = self.gru(x, memory)
        return hidden, last

    def logits(self, hidden: Tensor, clock: Tensor) -> Tensor:
        """Action logits ``(T, N, A)`` from the memory ``(T, N, H)`` and the clock ``(T,)``."""
        time = self.clock(clock).unsqueeze(1).expand(hidden.shape)
        logits: Tensor = self.head(torch.cat([hidden, time], dim=-1))
        return logits


class Critic(nn.Module):
    """Value of a situation, from the (detached) memory, the clock and privileged features."""

    def __init__(self, n_features: int, n_clock: int, hidden_size: int) -> None:
        """``n_features`` privileged features; 0 for a critic that sees what the actor sees."""
        super().__init__()
        self.clock = nn.Embedding(n_clock, hidden_size)
        self.value = nn.Sequential(
            nn.Linear(2 * hidden_size + n_features, 2 * hidden_size),
            nn.Tanh(),
            nn.Linear(2 * hidden_size, hidden_size),
            nn.Tanh(),
            nn.Linear(hidden_size, 1),
        )

    def initialise(self) -> None:
        """Draw the initial weights from torch's generator."""
        nn.init.normal_(self.clock.weight, std=0.5)
        _initialise_head(self.value, gain=1.0)

    def forward(self, hidden: Tensor, clock: Tensor, features: Tensor) -> Tensor:
        """Values ``(T, N)`` from ``(T, N, H)``, ``(T,)`` and ``(T, N, F)``."""
        time = self.clock(clock).unsqueeze(1).expand(*hidden.shape[:2], -1)
        value: Tensor = self.value(torch.cat([hidden, time, features], dim=-1)).squeeze(-1)
        return value


class BeliefHead(nn.Module):
    """What the memory knows: the student's type, latents, and answer to every action."""

    def __init__(self, hidden_size: int, n_types: int, n_latents: int, model: StudentModel) -> None:
        """``n_latents`` counts the latents (standardised) that vary in the population."""
        super().__init__()
        self.shape = (model.n_actions, model.n_responses)
        self.kind = nn.Linear(hidden_size, n_types)
        self.latents = nn.Linear(hidden_size, n_latents)
        self.response = nn.Linear(hidden_size, model.n_actions * model.n_responses)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Type logits ``(..., types)``, latents ``(..., L)``, response logits ``(..., A, R)``."""
        response = self.response(hidden)
        return self.kind(hidden), self.latents(hidden), response.unflatten(-1, self.shape)


def _initialise_head(head: nn.Sequential, gain: float) -> None:
    layers = [layer for layer in head if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain=gain if layer is layers[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
