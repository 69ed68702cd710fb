"""The last reviews of a student, for models that need the time of each.

A history is a set of columns ``(n, H)`` with the newest review first: ``lag``, the days since each
review; an index that says which item it was (and perhaps what was answered); and the amount that
it counts for, which is zero in slots not used yet. Adding a review shifts every column by one, so
the review before the last H drops out: a model that keeps a history declares H as its longest
lesson.

A step costs what it moves through memory. So a review is an index in a column, not a row of zeros
with a one, indices are as narrow as they can be, and models compute in place on columns that they
have just made (never on those of a state). Sums scatter the H amounts to what they are
summed by. (On a GPU the order of additions may differ between runs, and with it the last bit; see
``torch.use_deterministic_algorithms``.)
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from importlib.resources import files

import torch
from torch import Tensor

from tutor_envs.native import addresses, load_library


def empty_column(like: Tensor, capacity: int) -> Tensor:
    """A column of an empty history, zeros ``(n, capacity)``.

    Args:
        like: ``(n, ...)``; gives the number of students, the dtype and the device.
        capacity: H, how many reviews are kept.
    """
    return like.new_zeros((like.shape[0], capacity))


def empty_index(like: Tensor, capacity: int, n_values: int) -> Tensor:
    """A column of indices in ``[0, n_values)`` of an empty history, zeros ``(n, capacity)``."""
    types = (torch.int8, torch.int16, torch.int32)
    narrowest = next(dtype for dtype in types if n_values <= torch.iinfo(dtype).max)
    return like.new_zeros((like.shape[0], capacity), dtype=narrowest)


def push(column: Tensor, newest: Tensor) -> Tensor:
    """The column ``(n, H)`` with a review's entry ``(n, 1)`` in front, without its oldest.

    ::

        newest = d    [c, b, a]  ->  [d, c, b]
    """
    return torch.cat([newest.to(column.dtype), column[:, :-1]], 1)


def totals(amount: Tensor, index: Tensor, n_values: int) -> Tensor:
    """The sum of the amounts at each index, ``(n, V)``.

    Args:
        amount: ``(n, H)``, of each review.
        index: ``(n, H)``, integers in ``[0, V)``.
        n_values: V.
    """
    zeros = amount.new_zeros((len(amount), n_values))
    return zeros.scatter_add_(1, index.long(), amount)


def reviews_of(item: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    """1 where a review has the item ``(n, 1)``, else 0; ``(n, H)`` of this dtype."""
    return (index == item.to(index.dtype)).to(dtype)


def dot(one: Tensor, other: Tensor) -> Tensor:
    """The sum over reviews of the products of two columns ``(n, H)``; ``(n, 1)``."""
    product: Tensor = one.unsqueeze(1) @ other.unsqueeze(2)
    return product.squeeze(-1)


def decay_(time: Tensor, exponent: Tensor | float) -> Tensor:
    """``time**-exponent`` in place, for times > 0; in a third of the time of ``torch.pow``."""
    return time.log_().mul_(exponent).neg_().exp_()


def window_totals(
    amount: Tensor, index: Tensor, lag: Tensor, windows: Sequence[float], n_values: int
) -> Tensor:
    """The sum of the amounts at each index by age, ``(n, W, V)``.

    A review counts in the narrowest window that holds it, and not in the wider ones; ``cumsum(1)``
    makes the sums in nested windows of it. One that is as old as a window is in it.

    Args:
        amount: ``(n, H)``, of each review.
        index: ``(n, H)``, integers in ``[0, V)``; made for ``V * (W + 1)`` values.
        lag: ``(n, H)``, days since each review.
        windows: W increasing numbers of days; infinity holds all.
        n_values: V.
    """
    on_cpu = amount.device.type == "cpu" and not torch.compiler.is_compiling()
    by_loop = _compiled_totals() if on_cpu and amount.dtype == torch.float32 else None
    if by_loop is not None:
        return by_loop(amount, index, lag, windows, n_values)
    limits = [window for window in windows if window < math.inf]
    n_ages = len(limits) + 1
    age = torch.zeros_like(lag, dtype=torch.int8)
    for limit in limits:
        age = age + (lag > limit).view(torch.int8)
    cell = torch.add(index, age, alpha=n_values)
    by_age = totals(amount, cell, n_ages * n_values).view(-1, n_ages, n_values)
    return by_age[:, : len(windows)]


@functools.cache
def _compiled_totals() -> Callable[..., Tensor] | None:
    """:func:`window_totals` as a C loop; None where it cannot be had, which is logged."""
    library = load_library(files(__package__).joinpath("history.c"), "sums over reviews")
    if library is None:
        return None
    number, pointer = ctypes.c_int64, ctypes.c_void_p
    library.window_totals.argtypes = [
        *[number] * 2,
        *[pointer] * 3,
        *[number] * 2,
        pointer,
        number,
        pointer,
    ]
    library.window_totals.restype = None

    def by_loop(
        amount: Tensor, index: Tensor, lag: Tensor, windows: Sequence[float], n_values: int
    ) -> Tensor:
        columns = amount.contiguous(), lag.contiguous(), index.contiguous()
        n, n_windows = len(amount), len(windows)
        limits = (ctypes.c_float * n_windows)(*windows)
        out = amount.new_empty(n, n_windows, n_values)
        library.window_totals(
            n,
            amount.shape[1],
            *addresses(*columns),
            index.element_size(),
            n_windows,
            limits,
            n_values,
            *addresses(out),
        )
        return out

    return by_loop
