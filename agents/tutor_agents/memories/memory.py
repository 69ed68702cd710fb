"""The memory of a tutor: what it carries through a trial.

A memory is causal: what it holds after step t depends on the inputs up to t alone. It has two
faces with the same output. ``step`` goes one action further and is for acting; ``sequence`` takes
a whole trial at once and is for training. Both begin empty: a memory is reset at the start of a
trial and only there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import embedding, linear

MemoryState = dict[str, Tensor]
"""What is carried from one step to the next; students lead every tensor, ``(N, ...)``."""


class Embedded(NamedTuple):
    """Input vectors as the sum that they are: a row of a table, the clock, and the rest.

    Attributes:
        table: ``(V, W)``.
        token: int64 ``(..., N)``, the rows of the table.
        clock: of the step, the same for all students; ``(W,)``, or ``(T, 1, W)`` for a trial.
        rest: ``(..., N, W)``, what else is added; None: nothing.
    """

    table: Tensor
    token: Tensor
    clock: Tensor
    rest: Tensor | None = None

    def dense(self) -> Tensor:
        """The vectors, ``(..., N, W)``."""
        x = embedding(self.token, self.table) + self.clock
        return x if self.rest is None else x + self.rest

    @property
    def has_few_rows(self) -> bool:
        """The tables have fewer rows than there are vectors."""
        return len(self.table) + self.clock[..., 0].numel() < self.token.numel()

    def linear(self, weight: Tensor, bias: Tensor) -> Tensor:
        """``weight x + bias`` of all vectors x, ``(..., N, W')``.

        A linear map of a sum is the sum of the maps: where the tables have few rows, these are
        mapped once instead of every vector.
        """
        if not self.has_few_rows:
            return linear(self.dense(), weight, bias)
        return Embedded(
            linear(self.table, weight),
            self.token,
            linear(self.clock, weight, bias),
            None if self.rest is None else linear(self.rest, weight),
        ).dense()


class Memory(nn.Module, ABC):
    """One kind of memory; inputs and outputs have the same width W.

    Attributes:
        width: W.
        n_steps: steps of a trial, T; the longest sequence that the memory must hold.
    """

    def __init__(self, width: int, n_steps: int) -> None:
        super().__init__()
        self.width = width
        self.n_steps = n_steps

    @abstractmethod
    def initialise(self) -> None:
        """Draw the initial weights from torch's generator (seed it first)."""

    @abstractmethod
    def begin(self, n_students: int) -> MemoryState:
        """The empty memories of N students, on the device of the weights."""

    @abstractmethod
    def step(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """Take in one input.

        Args:
            x: ``(N, W)``.
            state: of ``begin`` or the step before; not changed.

        Returns:
            The output ``(N, W)`` and the memory after it.
        """

    @abstractmethod
    def sequence(self, x: Tensor) -> Tensor:
        """The outputs after every input of a trial, from an empty memory on.

        Args:
            x: ``(T', N, W)`` with T' <= T.

        Returns:
            ``(T', N, W)``.
        """

    def sequence_of(self, x: Embedded) -> Tensor:
        """The same for inputs ``(T', N)``; for a memory that has a use for their being sums."""
        return self.sequence(x.dense())
