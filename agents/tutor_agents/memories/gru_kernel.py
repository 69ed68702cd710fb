"""A GRU over whole sequences on the CPU: one matrix product and one pass over the gates a step.

The equations are those of ``torch.nn.GRU`` (Cho et al. 2014, arXiv 1406.1078), for input u_t::

    r, z  = sigmoid(W_ir u + b_ir + W_hr h + b_hr), sigmoid(W_iz u + b_iz + W_hz h + b_hz)
    q     = W_hn h + b_hn
    n     = tanh(W_in u + b_in + r q)
    h'    = n + z (h - n)

The products with ``W_ih`` are one product for all steps (of a table's rows, where inputs are looked
up in one), those with ``W_hh`` one for each step, and between two of these a small C function
(``gru_kernel.c``) computes all gates of all students in one pass, forward or backward.
``torch.nn.GRU`` is the reference (the tests ask for equality up to rounding) and takes over where
this does not apply: on other devices, in other precisions, inside ``plain_gru()``, and where there
is no C compiler (see :mod:`tutor_envs.native`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from tutor_agents.memories.memory import Embedded
from tutor_envs.native import addresses, load_library

_BYTES = 4
"""Of a float."""
_wanted: ContextVar[bool] = ContextVar("gru_kernel_wanted", default=True)


class _Weights(NamedTuple):
    """Of a one-layer GRU, in the order of its gates r, z, n."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor
    b_hh: Tensor

    def of(self, x: Tensor | Embedded) -> Tensor:
        """The products ``(..., 3 W)`` of inputs with ``W_ih``."""
        if isinstance(x, Embedded):
            return x.linear(self.w_ih, self.b_ih)
        return functional.linear(x, self.w_ih, self.b_ih)


class _Given(NamedTuple):
    """The products with ``W_ih`` of all steps, ``rows`` in all.

    Attributes:
        x: ``(rows, 3 W)``, or with tokens ``(V, 3 W)``.
        common: with tokens, what is added for all students of a step, ``(T, 3 W)``.
        token: int64 ``(rows,)``, which row of ``x``; None: its own.
    """

    x: Tensor
    common: Tensor | None = None
    token: Tensor | None = None


class _Kernel(NamedTuple):
    """The two C functions; see ``gru_kernel.c``."""

    forward: Any
    backward: Any


@contextlib.contextmanager
def plain_gru() -> Iterator[None]:
    """Inside it ``torch.nn.GRU`` computes, which has second derivatives."""
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)


def gru_sequence(gru: nn.GRU, x: Tensor | Embedded) -> Tensor:
    """The outputs of a one-layer GRU from an empty memory on.

    Args:
        gru: its weights; W inputs and as many outputs.
        x: ``(T, N, W)``.

    Returns:
        ``(T, N, W)``.
    """
    kernel = _kernel_for(x.table if isinstance(x, Embedded) else x)
    if kernel is None:
        hidden: Tensor = gru(x.dense() if isinstance(x, Embedded) else x)[0]
        return hidden
    weights = _Weights(*gru.all_weights[0])
    n_steps, n_students = (x.token if isinstance(x, Embedded) else x).shape[:2]
    if isinstance(x, Embedded) and x.rest is None and x.has_few_rows:
        given = _Given(
            functional.linear(x.table, weights.w_ih),
            functional.linear(x.clock.squeeze(1), weights.w_ih, weights.b_ih),
            x.token.flatten(),
        )
    else:
        given = _Given(weights.of(x).flatten(0, 1))
    out = _sequence(given, weights, [n_students] * n_steps, kernel)
    return out.view(n_steps, n_students, -1)


def gru_packed(gru: nn.GRU, x: PackedSequence) -> PackedSequence:
    """The same for sequences of different lengths, the longest first."""
    kernel = _kernel_for(x.data)
    if kernel is None:
        hidden: PackedSequence = gru(x)[0]
        return hidden
    weights = _Weights(*gru.all_weights[0])
    sizes = x.batch_sizes.tolist()
    return x._replace(data=_sequence(_Given(weights.of(x.data)), weights, sizes, kernel))


def gru_step(gru: nn.GRU, x: Tensor, hidden: Tensor) -> Tensor:
    """The output after one more input; ``x`` and ``hidden`` are ``(N, W)``."""
    kernel = _kernel_for(x)
    if kernel is None or torch.is_grad_enabled():
        after: Tensor = gru(x.unsqueeze(0), hidden.unsqueeze(0))[1][0]
        return after
    weights = _Weights(*gru.all_weights[0])
    gates = weights.of(x)
    g = functional.linear(hidden, weights.w_hh, weights.b_hh)
    before, after = hidden.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    n_students, width = after.shape
    nowhere = after.new_empty(4 * width)
    nothing = gates.new_zeros(3 * width)
    kernel.forward(
        n_students,
        width,
        *addresses(gates),
        None,
        *addresses(nothing, g, before, after, nowhere),
        0,
    )
    return after


def _sequence(given: _Given, weights: _Weights, sizes: list[int], kernel: _Kernel) -> Tensor:
    """Outputs ``(rows, W)`` from the products with ``W_ih``, one step after the other."""
    if given.token is not None and not 0 <= given.token.min() <= given.token.max() < len(given.x):
        raise IndexError(f"tokens must be in [0, {len(given.x)})")
    out: Tensor = _Sequence.apply(  # type: ignore[no-untyped-call]
        *given, weights.w_hh, weights.b_hh, sizes, kernel
    )
    return out


class _Sequence(Function):
    """From the products with ``W_ih`` to the outputs, ``(rows, W)``.

    Step t has ``sizes[t]`` rows, of the students whose sequence is longer than t; they are the
    first of those of step t - 1.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        common: Tensor | None,
        token: Tensor | None,
        w_hh: Tensor,
        b_hh: Tensor,
        sizes: list[int],
        kernel: _Kernel,
    ) -> Tensor:
        n_rows, n_students, width = sum(sizes), sizes[0], w_hh.shape[1]
        x = x.contiguous()
        common = x.new_zeros(len(sizes), 3 * width) if common is None else common.contiguous()
        hidden = x.new_empty(n_students + n_rows, width)  # before step 0, after 0, after 1, ...
        hidden[:n_students] = 0
        saved_width = 4 * width if any(ctx.needs_input_grad) else 0  # 0: all over the same row
        saved = x.new_empty(n_rows if saved_width else 1, 4 * width)
        g, w_t = x.new_empty(n_students, 3 * width), w_hh.t()
        x_p, common_p, g_p, hidden_p, saved_p = addresses(x, common, g, hidden, saved)
        row = width * _BYTES
        done = 0
        for t, (n, start) in enumerate(zip(sizes, _starts(sizes), strict=True)):
            torch.addmm(b_hh, hidden[start : start + n], w_t, out=g[:n])
            kernel.forward(
                n,
                width,
                x_p if token is not None else x_p + 3 * done * row,
                _address_of(token, done),
                common_p + 3 * t * row,
                g_p,
                hidden_p + start * row,
                hidden_p + (n_students + done) * row,
                saved_p + saved_width * done * _BYTES,
                saved_width,
            )
            done += n
        ctx.n_x = len(x)
        ctx.save_for_backward(hidden, saved, w_hh, token)
        ctx.sizes, ctx.kernel = sizes, kernel
        return hidden[n_students:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # with create_graph=True
            raise RuntimeError("the compiled GRU has no second derivatives: use plain_gru()")
        hidden, saved, w_hh, token = ctx.saved_tensors
        sizes, starts = ctx.sizes, _starts(ctx.sizes)
        (done, width), n_students = grad.shape, sizes[0]
        grad = grad.contiguous()
        d = torch.empty_like(saved)
        carry = grad.new_zeros(n_students, width)
        d_x = d_common = None
        if token is not None:
            d_x = grad.new_zeros(ctx.n_x, 3 * width)
            d_common = grad.new_zeros(len(sizes), 3 * width)
        grad_p, hidden_p, saved_p, carry_p, d_p = addresses(grad, hidden, saved, carry, d)
        row = width * _BYTES
        # Columns q, r, z, n of d: the last three are the gradient by `gates`; the first three that
        # by the products with W_hh, whose rows are in the order n, r, z there.
        by_hidden, w_nrz = d[:, : 3 * width], w_hh.roll(width, 0)
        for t, (n, start) in reversed(list(enumerate(zip(sizes, starts, strict=True)))):
            done -= n
            ctx.kernel.backward(
                n,
                width,
                grad_p + done * row,
                saved_p + 4 * done * row,
                hidden_p + start * row,
                carry_p,
                d_p + 4 * done * row,
                _address_of(token, done),
                _address_of(d_x),
                _address_of(d_common, 3 * t * width),
            )
            if done > 0:
                carry[:n].addmm_(by_hidden[done : done + n], w_nrz)
        if sizes[-1] == n_students:
            before = hidden[: len(d)]
        else:
            pieces = [hidden[start : start + n] for n, start in zip(sizes, starts, strict=True)]
            before = torch.cat(pieces)
        d_w = (by_hidden.t() @ before).roll(-width, 0)
        d_b = by_hidden.sum(0).roll(-width, 0)
        return d[:, width:] if d_x is None else d_x, d_common, None, d_w, d_b, None, None


def _address_of(values: Tensor | None, first: int = 0) -> int | None:
    """Of an element; None of nothing."""
    return None if values is None else values.data_ptr() + first * values.element_size()


def _starts(sizes: list[int]) -> list[int]:
    """Row of ``hidden`` at which the memories before each step begin."""
    return [0, *itertools.accumulate(sizes[:-2], initial=sizes[0])][: len(sizes)]


def _kernel_for(x: Tensor) -> _Kernel | None:
    is_plain = x.device.type == "cpu" and x.dtype == torch.float32
    is_plain = is_plain and not torch.is_autocast_enabled("cpu")
    return _load() if is_plain and _wanted.get() else None


@functools.cache
def _load() -> _Kernel | None:
    """The compiled functions; None where they cannot be had, which is logged."""
    library = load_library(files(__package__).joinpath("gru_kernel.c"), "GRU")
    if library is None:
        return None
    number, address = ctypes.c_int64, ctypes.c_void_p
    library.gru_forward.argtypes = [number, number, *[address] * 7, number]
    library.gru_backward.argtypes = [number, number, *[address] * 8]
    library.gru_forward.restype = library.gru_backward.restype = None
    return _Kernel(library.gru_forward, library.gru_backward)
