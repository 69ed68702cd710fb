"""The gated recurrent unit (Cho et al. 2014, arXiv 1406.1078)."""

from __future__ import annotations

from torch import Tensor, nn

from tutor_agents.memories.gru_kernel import gru_sequence, gru_step
from tutor_agents.memories.memory import Embedded, Memory, MemoryState


class GRUMemory(Memory):
    """One layer; the output is the hidden state."""

    def __init__(self, width: int, n_steps: int) -> None:
        """``n_steps`` plays no part: a GRU may run for ever."""
        super().__init__(width, n_steps)
        self.gru = nn.GRU(width, width)

    def initialise(self) -> None:
        """Orthogonal for each gate; biases zero."""
        initialise_gates(self.gru, n_gates=3)

    def begin(self, n_students: int) -> MemoryState:
        """Zeros."""
        return {"hidden": next(self.gru.parameters()).new_zeros(n_students, self.width)}

    def step(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """One cell."""
        hidden = gru_step(self.gru, x, state["hidden"])
        return hidden, {"hidden": hidden}

    def sequence(self, x: Tensor) -> Tensor:
        """All steps in one call."""
        return gru_sequence(self.gru, x)

    def sequence_of(self, x: Embedded) -> Tensor:
        """The same; the first products are those of the tables."""
        return gru_sequence(self.gru, x)


def initialise_gates(recurrent: nn.RNNBase, n_gates: int) -> None:
    """Orthogonal weights for each gate, zero biases."""
    for name, parameter in recurrent.named_parameters():
        if "weight" in name:
            for gate in parameter.data.chunk(n_gates):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)
