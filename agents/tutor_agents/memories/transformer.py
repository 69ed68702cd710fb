"""A causal transformer (Vaswani et al. 2017, arXiv 1706.03762) with a cache for acting.

Layer norm comes first in every block (Xiong et al. 2020, arXiv 2002.04745); p_t is a learned
position, x_t the input::

    y_t = x_t + p_t
    y_t <- y_t + W attention(norm(y))_t        see :mod:`tutor_agents.memories.attention`
    y_t <- y_t + perceptron(norm(y_t))         both for every block
    out_t = norm(y_t)

What a block adds begins near zero: at first the output is the input, normalised, which keeps
reinforcement learning stable while attention is still noise (the lesson of the gated transformer,
Parisotto et al. 2020, arXiv 1910.06764).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from tutor_agents.memories.attention import CausalAttention
from tutor_agents.memories.layers import RESIDUAL_GAIN, Perceptron, initialise_layers
from tutor_agents.memories.memory import Memory, MemoryState


class TransformerMemory(Memory):
    """Blocks of attention and perceptron over all that happened in the trial."""

    def __init__(self, width: int, n_steps: int, *, n_layers: int, n_heads: int) -> None:
        """See :class:`tutor_agents.memories.config.TransformerConfig`.

        Raises:
            ValueError: the heads do not divide the width.
        """
        super().__init__(width, n_steps)
        if width % n_heads:
            raise ValueError(
                f"`hidden_size` must be a multiple of `n_heads`, got {width} and {n_heads}"
            )
        self.position = nn.Parameter(torch.zeros(n_steps, width))
        self.blocks = nn.ModuleList(_Block(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    def initialise(self) -> None:
        """Orthogonal, and small where a block adds to its input."""
        initialise_layers(self)
        nn.init.normal_(self.position, std=0.1)
        for block in self._blocks():
            nn.init.orthogonal_(block.out.weight, gain=RESIDUAL_GAIN)

    def begin(self, n_students: int) -> MemoryState:
        """No keys, no values, and no steps so far."""
        age = torch.zeros(n_students, dtype=torch.int64, device=self.position.device)
        state = {"age": age}
        for i, block in enumerate(self._blocks()):
            keys, values = block.attention.begin(n_students, self.n_steps)
            state |= {f"keys_{i}": keys, f"values_{i}": values}
        return state

    def step(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """One query to the keys of all steps so far."""
        age = state["age"]
        after = {"age": age + 1}
        x = x + self.position[age]
        for i, block in enumerate(self._blocks()):
            x, keys, values = block.step(x, state[f"keys_{i}"], state[f"values_{i}"], age)
            after |= {f"keys_{i}": keys, f"values_{i}": values}
        out: Tensor = self.norm(x)
        return out, after

    def sequence(self, x: Tensor) -> Tensor:
        """Every step at once, under a causal mask."""
        x = x + self.position[: len(x)].unsqueeze(1)
        for block in self._blocks():
            x = block.sequence(x)
        out: Tensor = self.norm(x)
        return out

    def _blocks(self) -> Iterable[_Block]:
        return cast("Iterable[_Block]", self.blocks)


class _Block(nn.Module):
    """Attention, then a perceptron; each is added to what came in."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = CausalAttention(width, n_heads, width // n_heads)
        self.out = nn.Linear(width, width)
        self.norm_perceptron = nn.LayerNorm(width)
        self.perceptron = Perceptron(width)

    def step(
        self, x: Tensor, keys: Tensor, values: Tensor, age: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        heads, keys, values = self.attention.step(self.norm_attention(x), keys, values, age)
        return self._add(x, heads), keys, values

    def sequence(self, x: Tensor) -> Tensor:
        return self._add(x, self.attention.sequence(self.norm_attention(x)))

    def _add(self, x: Tensor, heads: Tensor) -> Tensor:
        x = x + self.out(heads)
        out: Tensor = x + self.perceptron(self.norm_perceptron(x))
        return out
