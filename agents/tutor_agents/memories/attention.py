"""Causal attention with a window of past keys and values, for a sequence and for one step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class CausalAttention(nn.Module):
    """Attention of every step to itself and the steps before (Vaswani et al. 2017, 1706.03762).

    For each head, with queries, keys and values of D numbers, linear in the input::

        out_t = sum_{s <= t} softmax_s(q_t . k_s / sqrt(D)) v_s

    ``step`` keeps the keys and values of the last T steps, the newest last, in tensors of a fixed
    size: students who began at different times go on in one batch, and a step costs O(T).
    """

    def __init__(self, n_inputs: int, n_heads: int, head_width: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.head_width = head_width
        self.project = nn.Linear(n_inputs, 3 * n_heads * head_width)

    def begin(self, n_students: int, n_steps: int) -> tuple[Tensor, Tensor]:
        """Empty windows of keys and of values for T steps, ``(N, heads, T, D)``."""
        zeros = self.project.weight.new_zeros(n_students, self.n_heads, n_steps, self.head_width)
        return zeros, zeros

    def step(
        self, x: Tensor, keys: Tensor, values: Tensor, age: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step.

        Args:
            x: ``(N, n_inputs)``.
            keys: ``(N, heads, T, D)``.
            values: ``(N, heads, T, D)``.
            age: int64 ``(N,)``, steps that a student has in the window.

        Returns:
            The output ``(N, heads x D)`` and the windows with this step in them.
        """
        query, key, value = self._project(x.unsqueeze(0))
        keys = torch.cat([keys[:, :, 1:], key], dim=2)
        values = torch.cat([values[:, :, 1:], value], dim=2)
        n_steps = keys.shape[2]
        filled = torch.arange(n_steps, device=x.device) >= n_steps - 1 - age.unsqueeze(1)
        out = scaled_dot_product_attention(query, keys, values, filled[:, None, None])
        return out.flatten(1), keys, values

    def sequence(self, x: Tensor) -> Tensor:
        """``(T, N, n_inputs)`` to ``(T, N, heads x D)``."""
        out = scaled_dot_product_attention(*self._project(x), is_causal=True)
        return out.permute(2, 0, 1, 3).flatten(2)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, ``(N, heads, T, D)`` each, of ``(T, N, n_inputs)``."""
        split = self.project(x).unflatten(-1, (3, self.n_heads, self.head_width))
        query, key, value = split.permute(2, 1, 3, 0, 4)
        return query, key, value
