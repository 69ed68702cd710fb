"""A head: one hidden layer of tanh on what a memory holds and on the clock.

On a CPU it goes through the rows of a trial a few hundred at a time, forward and back, so that what
one operation writes is still in the cache when the next one reads it. (Of 256 students at a time, a
head of 128 units takes three quarters of the time.) The sums are those of the plain layers, which
take over on other devices and inside ``plain_operations()``, where second derivatives are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import linear

from tutor_agents.plain import is_plain

_CHUNK_ROWS = 512
"""Rows of a few hundred numbers: some tensors of so many fit into a cache of a megabyte."""


def head_of_parts(
    head: nn.Sequential, hidden: Tensor, clock: Tensor, features: Tensor | None = None
) -> Tensor:
    """``head`` of hidden, clock and features as if they lay side by side.

    Args:
        head: a linear layer, tanh, a linear layer.
        hidden: ``(T, N, H)``, or ``(N, H)`` for one step.
        clock: ``(T, 1, H)``, or ``(H,)``: the same for all students, and mapped once for them.
        features: ``(T, N, F)``, where the head has any.

    Returns:
        ``(T, N, A)`` or ``(N, A)``.
    """
    first, last = head[0], head[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    width = hidden.shape[-1]
    of_hidden, of_clock, of_features = torch.split(
        first.weight, [width, clock.shape[-1], first.in_features - width - clock.shape[-1]], dim=1
    )
    common = linear(clock, of_clock, first.bias)
    if features is not None and features.shape[-1]:
        hidden = torch.cat([hidden, features], dim=-1)
        of_hidden = torch.cat([of_hidden, of_features], dim=1)
    if hidden.dim() == 3 and hidden.device.type == "cpu" and not is_plain():
        chunked: Callable[..., Tensor] = _Chunked.apply
        return chunked(hidden, common, of_hidden, last.weight, last.bias)
    return linear((linear(hidden, of_hidden) + common).tanh(), last.weight, last.bias)


class _Chunked(Function):
    """``tanh(x w' + common) w_out' + b_out``; ``x`` is ``(T, N, W)``, ``common`` ``(T, 1, H)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, common: Tensor, w: Tensor, w_out: Tensor, b_out: Tensor
    ) -> Tensor:
        n_steps, n_students, _ = x.shape
        x = x.contiguous()
        mixed = x.new_empty(n_steps, n_students, w.shape[0])
        out = x.new_empty(n_steps, n_students, w_out.shape[0])
        for at in _chunks(n_steps, n_students):
            layer = mixed[at]
            torch.mm(_rows(x[at]), w.t(), out=_rows(layer))
            layer.add_(common[at]).tanh_()
            torch.addmm(b_out, _rows(layer), w_out.t(), out=_rows(out[at]))
        ctx.save_for_backward(x, mixed, w, w_out)
        return out

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # with create_graph=True
            raise RuntimeError(
                "this head has no second derivatives: compute inside plain_operations()"
            )
        x, mixed, w, w_out = ctx.saved_tensors
        n_steps, n_students, _ = x.shape
        d_out = d_out.contiguous()
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_common = x.new_empty(n_steps, 1, w.shape[0])
        d_w, d_w_out = torch.zeros_like(w), torch.zeros_like(w_out)
        d_b_out = torch.zeros_like(w_out[:, 0])
        for at in _chunks(n_steps, n_students):
            layer, above = _rows(mixed[at]), _rows(d_out[at])
            slope = torch.ops.aten.tanh_backward(above @ w_out, layer)
            torch.sum(slope.view(-1, n_students, w.shape[0]), 1, keepdim=True, out=d_common[at])
            d_b_out += above.sum(0)
            d_w_out.addmm_(above.t(), layer)
            d_w.addmm_(slope.t(), _rows(x[at]))
            if d_x is not None:
                torch.mm(slope, w, out=_rows(d_x[at]))
        return d_x, d_common, d_w, d_w_out, d_b_out


def _chunks(n_steps: int, n_students: int) -> list[slice]:
    size = max(1, _CHUNK_ROWS // n_students)
    return [slice(t, min(t + size, n_steps)) for t in range(0, n_steps, size)]


def _rows(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])
