"""A GRU over whole sequences on the CPU, in one compiled loop over the steps.

The equations are those of ``torch.nn.GRU`` (Cho et al. 2014, arXiv 1406.1078), for input u_t::

    r, z  = sigmoid(W_ir u + b_ir + W_hr h + b_hr), sigmoid(W_iz u + b_iz + W_hz h + b_hz)
    q     = W_hn h + b_hn
    n     = tanh(W_in u + b_in + r q)
    h'    = n + z (h - n)

The products with ``W_ih`` are one product for all steps (of a table's rows, where inputs are looked
up in one). The rest is a C function (``gru_kernel.c``) that goes from step to step: products with
``W_hh`` for a few students and units at a time, whose gates follow while the sums are at hand. On
the way back the gradient of ``W_hh`` is one product for some hundred rows, while these are in the
cache. ``torch.nn.GRU`` is the reference (the tests ask for equality up to rounding) and takes over
where this does not apply: on other devices, in other precisions, inside ``plain_operations()``, and
where there is no C compiler (see :mod:`tutor_envs.native`).
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from tutor_agents.memories.memory import Embedded
from tutor_agents.plain import is_plain
from tutor_envs.native import addresses, load_library

_UNITS = 32
"""The C functions take widths that are multiples of this; zeros are added to others."""
_TILE = 16
"""Rows of a tile of products in bfloat16."""
_CHUNK_ROWS = 256
"""Of the way back that are computed before their share of the gradient of ``W_hh`` is."""


class _Weights(NamedTuple):
    """Of a one-layer GRU, in the order of its gates r, z, n."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor
    b_hh: Tensor

    @classmethod
    def padded(cls, gru: nn.GRU) -> _Weights:
        """With units added that stay at zero and that nobody hears."""
        missing = -gru.hidden_size % _UNITS
        weights = cls(*gru.all_weights[0])
        if not missing:
            return weights
        by_gate = [w.view(3, gru.hidden_size, *w.shape[1:]) for w in weights]
        pads = [(0, 0, 0, missing), (0, missing, 0, missing), (0, missing), (0, missing)]
        padded = (functional.pad(*pair).flatten(0, 1) for pair in zip(by_gate, pads, strict=True))
        return cls(*padded)

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
    """The C functions; see ``gru_kernel.c``."""

    pack: Any
    pack_tiles: Any
    forward: Any
    backward: Any
    has_tiles: bool

    def panels(self, w_hh: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """``W_hh`` in the order in which the way forward, and the way back if wanted, reads it.

        In bfloat16 where its products are.
        """
        w_hh, in_tiles = w_hh.detach().contiguous(), self.has_tiles and _is_medium()
        dtype = torch.bfloat16 if in_tiles else None
        forward = torch.empty_like(w_hh, dtype=dtype)
        back = torch.empty_like(w_hh, dtype=dtype) if both else None
        pack = self.pack_tiles if in_tiles else self.pack
        pack(w_hh.shape[1], *addresses(w_hh, forward), _address_of(back))
        return forward, back


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
    weights = _Weights.padded(gru)
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
    return out.view(n_steps, n_students, -1)[..., : gru.hidden_size]


def gru_packed(gru: nn.GRU, x: PackedSequence) -> PackedSequence:
    """The same for sequences of different lengths, the longest first."""
    kernel = _kernel_for(x.data)
    if kernel is None:
        hidden: PackedSequence = gru(x)[0]
        return hidden
    weights = _Weights.padded(gru)
    out = _sequence(_Given(weights.of(x.data)), weights, x.batch_sizes.tolist(), kernel)
    return x._replace(data=out[:, : gru.hidden_size])


def gru_step(gru: nn.GRU, x: Tensor, hidden: Tensor) -> Tensor:
    """The output after one more input; ``x`` and ``hidden`` are ``(N, W)``."""
    kernel = _kernel_for(x)
    if kernel is None or torch.is_grad_enabled():
        after: Tensor = gru(x.unsqueeze(0), hidden.unsqueeze(0))[1][0]
        return after
    weights = _Weights.padded(gru)
    given = _Given(weights.of(x).contiguous())
    panels, _ = kernel.panels(weights.w_hh, both=False)
    return _one_step(given, weights.b_hh, panels, hidden, kernel)


class FrozenGRU:
    """Steps of a GRU whose weights stay as they are, on inputs that are looked up: no gradients.

    What depends on the weights alone is computed once.
    """

    @classmethod
    def of(cls, gru: nn.GRU, table: Tensor, clock: Tensor) -> FrozenGRU | None:
        """None where the compiled function does not apply.

        Args:
            gru: one layer.
            table: ``(V, W)``, the inputs by token.
            clock: ``(T, W)``, what is added to them at each step.
        """
        kernel = _kernel_for(table)
        return None if kernel is None else cls(gru, table, clock, kernel)

    @torch.no_grad()
    def __init__(self, gru: nn.GRU, table: Tensor, clock: Tensor, kernel: _Kernel) -> None:
        weights = _Weights.padded(gru)
        self._b_hh, self._kernel = weights.b_hh.clone(), kernel
        self._x = functional.linear(table, weights.w_ih)
        self._common = functional.linear(clock, weights.w_ih, weights.b_ih)
        self._panels, _ = kernel.panels(weights.w_hh, both=False)

    def step(self, token: Tensor, t: int, hidden: Tensor) -> Tensor:
        """The output ``(N, W)`` after the input of step t.

        Args:
            token: int64 ``(N,)`` in ``[0, V)``.
            t: in ``[0, T)``.
            hidden: the output of the step before, ``(N, W)``.

        Raises:
            IndexError: a token is not in the table.
        """
        given = _Given(self._x, self._common[t], token.contiguous())
        return _one_step(given, self._b_hh, self._panels, hidden, self._kernel)


def _one_step(
    given: _Given, b_hh: Tensor, panels: Tensor, hidden: Tensor, kernel: _Kernel
) -> Tensor:
    n, width = hidden.shape
    both = hidden.new_zeros(2, n, len(b_hh) // 3)  # before and after
    both[0, :, :width] = hidden
    _run(given, b_hh, panels, both, None, [n], kernel)
    return both[1, :, :width]


def _sequence(given: _Given, weights: _Weights, sizes: list[int], kernel: _Kernel) -> Tensor:
    """Outputs ``(rows, W)`` from the products with ``W_ih``, one step after the other."""
    out: Tensor = _Sequence.apply(  # type: ignore[no-untyped-call]
        *given, weights.w_hh, weights.b_hh, sizes, kernel
    )
    return out


def _run(
    given: _Given,
    b_hh: Tensor,
    panels: Tensor,
    hidden: Tensor,
    saved: Tensor | None,
    sizes: list[int],
    kernel: _Kernel,
) -> None:
    """Fill the memories after each step into ``hidden``, and what the way back needs.

    Raises:
        IndexError: a token is not in the table.
    """
    width = hidden.shape[-1]
    common = hidden.new_zeros(len(sizes), 3 * width) if given.common is None else given.common
    kept = hidden.new_empty(4 * width) if saved is None else saved
    starts, narrow = torch.tensor(_starts(sizes)), _place_for_narrow(panels, sizes[0], width)
    is_wrong = kernel.forward(
        len(sizes),
        starts.data_ptr(),
        width,
        len(given.x),
        given.x.data_ptr(),
        _address_of(given.token),
        *addresses(common, panels, b_hh, hidden, kept),
        0 if saved is None else 4 * width,
        _address_of(narrow),
    )
    if is_wrong:
        raise IndexError(f"tokens must be in [0, {len(given.x)})")


def _place_for_narrow(panels: Tensor, n_rows: int, n_columns: int) -> Tensor | None:
    """Where the other factor of products in bfloat16 is kept; None where they are in float."""
    if panels.dtype == torch.float32:
        return None
    return panels.new_empty(n_rows + -n_rows % _TILE, n_columns)


def _starts(sizes: list[int]) -> list[int]:
    """The first row of each step, and the number of rows."""
    return [0, *itertools.accumulate(sizes)]


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
        given = _Given(
            x.contiguous(),
            None if common is None else common.contiguous(),
            None if token is None else token.contiguous(),
        )
        hidden = x.new_empty(n_students + n_rows, width)  # before step 0, after 0, after 1, ...
        hidden[:n_students] = 0
        goes_back = any(ctx.needs_input_grad)
        saved = x.new_empty(n_rows, 4 * width) if goes_back else None
        forward, ctx.panels = kernel.panels(w_hh, both=goes_back)
        _run(given, b_hh, forward, hidden, saved, sizes, kernel)
        ctx.n_x = len(x)
        ctx.save_for_backward(hidden, saved, given.token)
        ctx.sizes, ctx.kernel = sizes, kernel
        return hidden[n_students:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # with create_graph=True
            raise RuntimeError("the compiled GRU has no second derivatives: use plain_operations()")
        hidden, saved, token = ctx.saved_tensors
        sizes, starts = ctx.sizes, _starts(ctx.sizes)
        for_c = torch.tensor(starts)
        n_rows, width = grad.shape
        grad, carry = grad.contiguous(), grad.new_zeros(sizes[0], width)
        # Columns q, r, z, n of d: the last three are the gradient by the products with W_ih; the
        # first three that by those with W_hh, whose rows are in the order n, r, z there.
        d_w, d_b = grad.new_zeros(3 * width, width), grad.new_zeros(3 * width)
        if token is None:
            d_x, d_common = grad.new_empty(n_rows, 3 * width), None
        else:
            d_x, d_common = (grad.new_zeros(n, 3 * width) for n in (ctx.n_x, len(sizes)))
        chunks = list(_chunks(sizes))
        narrow = _place_for_narrow(ctx.panels, sizes[0], 3 * width)
        d = grad.new_empty(max(sum(sizes[chunk]) for chunk in chunks), 4 * width)
        for chunk in reversed(chunks):
            rows = slice(starts[chunk.start], starts[chunk.stop])
            ctx.kernel.backward(
                chunk.start,
                chunk.stop,
                for_c.data_ptr(),
                width,
                *addresses(grad, saved, hidden, ctx.panels, carry, d),
                *map(_address_of, (token, d_x, d_common, narrow)),
            )
            d_chunk = d[: rows.stop - rows.start]
            by_hidden = d_chunk[:, : 3 * width]
            d_w.addmm_(by_hidden.t(), _before(hidden, sizes, starts, chunk))
            d_b += by_hidden.sum(0)
            if token is None:
                d_x[rows] = d_chunk[:, width:]
        return d_x, d_common, None, d_w.roll(-width, 0), d_b.roll(-width, 0), None, None


def _chunks(sizes: list[int]) -> Iterator[slice]:
    """Steps, some hundred rows at a time."""
    first = rows = 0
    for t, n in enumerate(sizes):
        if rows + n > _CHUNK_ROWS and t > first:
            yield slice(first, t)
            first, rows = t, 0
        rows += n
    yield slice(first, len(sizes))


def _before(hidden: Tensor, sizes: list[int], starts: list[int], chunk: slice) -> Tensor:
    """The memories before these steps, ``(rows, W)``."""
    steps, n_rows = range(chunk.start, chunk.stop), sum(sizes[chunk])
    firsts = [sizes[0] + starts[t - 1] if t else 0 for t in steps]
    if firsts[-1] + sizes[steps[-1]] == firsts[0] + n_rows:  # they lie side by side
        return hidden[firsts[0] : firsts[0] + n_rows]
    return torch.cat(
        [hidden[first : first + sizes[t]] for t, first in zip(steps, firsts, strict=True)]
    )


def _address_of(values: Tensor | None) -> int | None:
    """Of the first element; None of nothing."""
    return None if values is None else values.data_ptr()


def _is_medium() -> bool:
    """Products may round to bfloat16, see ``torch.set_float32_matmul_precision``."""
    return torch.get_float32_matmul_precision() == "medium"


def _kernel_for(x: Tensor) -> _Kernel | None:
    fits = x.device.type == "cpu" and x.dtype == torch.float32
    fits = fits and not torch.is_autocast_enabled("cpu")
    return _load() if fits and not is_plain() else None


@functools.cache
def _load() -> _Kernel | None:
    """The compiled functions; None where they cannot be had, which is logged."""
    library = load_library(files(__package__).joinpath("gru_kernel.c"), "GRU")
    if library is None:
        return None
    number, address = ctypes.c_int64, ctypes.c_void_p
    packs = library.gru_pack, library.gru_pack_tiles
    for pack in packs:
        pack.argtypes, pack.restype = [number, *[address] * 3], None
    forward, backward = library.gru_forward, library.gru_backward
    forward.argtypes = [number, address, number, number, *[address] * 7, number, address]
    forward.restype = ctypes.c_int
    backward.argtypes = [number, number, address, number, *[address] * 10]
    backward.restype = None
    return _Kernel(*packs, forward, backward, bool(library.gru_has_tiles()))
