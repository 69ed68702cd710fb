"""The simple neural attentive meta-learner, SNAIL (Mishra et al. 2018, arXiv 1707.03141).

Causal convolutions gather what happened, attention picks from it::

    dense(x, d)_t = [x_t, tanh(F_t) * sigmoid(G_t)],   F_t, G_t = A x_{t-d} + B x_t + b
    block(x)      = dense(... dense(dense(x, 1), 2) ..., 2^{l-1}),   the least l with 2^l >= T
    out           = W [y, attention(y)] + w,   y = block(block(x))

Inputs before the trial's start are zero. Every convolution has kernel 2 and adds F features
(``n_filters``) to those that it was given; with its last dilation a block sees the whole trial.
The sizes are those of the paper's bandits: two blocks of 32 filters and one attention.

Acting keeps, for each convolution, the products ``A x`` of its last d steps, which are smaller than
the inputs x themselves, and for the attention its keys and values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tutor_agents.memories.attention import CausalAttention
from tutor_agents.memories.layers import initialise_layers
from tutor_agents.memories.memory import Memory, MemoryState

N_BLOCKS = 2


class SNAILMemory(Memory):
    """Two blocks of dense causal convolutions, then attention with one head."""

    def __init__(self, width: int, n_steps: int, *, n_filters: int) -> None:
        """See :class:`tutor_agents.memories.config.SNAILConfig`."""
        super().__init__(width, n_steps)
        n_levels = max(1, (n_steps - 1).bit_length())  # the least l with 2^l >= T
        dilations = [2**level for level in range(n_levels)]
        self.convolutions = nn.ModuleList(
            _DenseConvolution(width + i * n_filters, n_filters, dilation)
            for i, dilation in enumerate(dilations * N_BLOCKS)
        )
        n_features = width + N_BLOCKS * n_levels * n_filters
        self.attention = CausalAttention(n_features, n_heads=1, head_width=n_filters)
        self.out = nn.Linear(n_features + n_filters, width)

    def initialise(self) -> None:
        """Orthogonal."""
        initialise_layers(self)

    def begin(self, n_students: int) -> MemoryState:
        """Zeros, no keys, no values, and no steps so far."""
        keys, values = self.attention.begin(n_students, self.n_steps)
        age = torch.zeros(n_students, dtype=torch.int64, device=keys.device)
        state = {"age": age, "keys": keys, "values": values}
        for i, convolution in enumerate(self._convolutions()):
            state[f"past_{i}"] = convolution.begin(n_students)
        return state

    def step(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """One step of every convolution, and one query."""
        after = {"age": state["age"] + 1}
        for i, convolution in enumerate(self._convolutions()):
            x, after[f"past_{i}"] = convolution.step(x, state[f"past_{i}"])
        read, after["keys"], after["values"] = self.attention.step(
            x, state["keys"], state["values"], state["age"]
        )
        out: Tensor = self.out(torch.cat([x, read], dim=-1))
        return out, after

    def sequence(self, x: Tensor) -> Tensor:
        """Every step at once."""
        for convolution in self._convolutions():
            x = convolution.sequence(x)
        out: Tensor = self.out(torch.cat([x, self.attention.sequence(x)], dim=-1))
        return out

    def _convolutions(self) -> Iterable[_DenseConvolution]:
        return cast("Iterable[_DenseConvolution]", self.convolutions)


class _DenseConvolution(nn.Module):
    """A gated causal convolution of kernel 2 whose features are put behind its inputs."""

    def __init__(self, n_inputs: int, n_filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.n_filters = n_filters
        self.now = nn.Linear(n_inputs, 2 * n_filters)
        self.before = nn.Linear(n_inputs, 2 * n_filters, bias=False)

    def begin(self, n_students: int) -> Tensor:
        """``(N, dilation, 2F)`` zeros: inputs before the start are zero."""
        return self.before.weight.new_zeros(n_students, self.dilation, 2 * self.n_filters)

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """``(N, C)`` to ``(N, C + F)``, and the past with this step in it."""
        latest = self.before(x).unsqueeze(1)
        return self._add(x, past[:, 0]), torch.cat([past[:, 1:], latest], dim=1)

    def sequence(self, x: Tensor) -> Tensor:
        """``(T, N, C)`` to ``(T, N, C + F)``."""
        before = pad(self.before(x), (0, 0, 0, 0, self.dilation, 0))[: len(x)]
        return self._add(x, before)

    def _add(self, x: Tensor, before: Tensor) -> Tensor:
        feature, gate = (self.now(x) + before).chunk(2, dim=-1)
        return torch.cat([x, torch.tanh(feature) * torch.sigmoid(gate)], dim=-1)
