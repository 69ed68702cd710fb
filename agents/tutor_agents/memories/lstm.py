"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

With input x_t, output h_t and cell c_t, all of width W::

    i, f, o = sigmoid(W_i,f,o x_t + U_i,f,o h_{t-1} + b_i,f,o)
    c_t = f * c_{t-1} + i * tanh(W_c x_t + U_c h_{t-1} + b_c)
    h_t = o * tanh(c_t)

by ``torch.nn.LSTM``. The forget gate's bias begins at 1, so that a cell holds what it was told
until training says otherwise (Jozefowicz et al. 2015).
"""

from __future__ import annotations

from torch import Tensor, nn

from tutor_agents.memories.gru import initialise_gates
from tutor_agents.memories.memory import Memory, MemoryState


class LSTMMemory(Memory):
    """One layer; the output is h."""

    def __init__(self, width: int, n_steps: int) -> None:
        """``n_steps`` plays no part: an LSTM may run for ever."""
        super().__init__(width, n_steps)
        self.lstm = nn.LSTM(width, width)

    def initialise(self) -> None:
        """Orthogonal for each gate; biases zero, but 1 for the forget gate."""
        initialise_gates(self.lstm, n_gates=4)
        # Torch orders the gates i, f, c, o, and adds two biases.
        nn.init.ones_(self.lstm.get_parameter("bias_ih_l0").data.chunk(4)[1])

    def begin(self, n_students: int) -> MemoryState:
        """Zeros."""
        zeros = next(self.lstm.parameters()).new_zeros(n_students, self.width)
        return {"hidden": zeros, "cell": zeros}

    def step(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """One cell."""
        before = state["hidden"].unsqueeze(0), state["cell"].unsqueeze(0)
        _, (hidden, cell) = self.lstm(x.unsqueeze(0), before)
        return hidden[0], {"hidden": hidden[0], "cell": cell[0]}

    def sequence(self, x: Tensor) -> Tensor:
        """One fused call."""
        hidden: Tensor = self.lstm(x)[0]
        return hidden
