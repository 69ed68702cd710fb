"""Merging equal nodes of a level: fingerprints of rows, and which rows are distinct.

Two rows are taken to be equal when all their numbers agree after rounding to ``2**-33`` (1.2e-10).
They are compared by a 64-bit fingerprint: with a billion rows the chance of one false match is
about 3 %, with ten million 3e-6.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_RESOLUTION = 2.0**33
_NODE_BITS = 30
_GOLDEN = 0x9E3779B97F4A7C15
MAX_NODES = 2**_NODE_BITS
"""Nodes of one level are numbered below this."""


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits).bitwise_and(2 ** (64 - bits) - 1)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


def _mixed(x: Tensor) -> Tensor:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA): a bijection of 64-bit words."""
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _salts(n: int) -> Tensor:
    """``(n,)`` different words, one for each column."""
    return torch.arange(1, n + 1) * _signed(_GOLDEN)


def rows_fingerprint(values: Tensor) -> Tensor:
    """Fingerprint of every row.

    Args:
        values: ``(n, width)``, any dtype; floats are rounded first.

    Returns:
        int64 ``(n,)``.
    """
    rounded = torch.round(values.to(torch.float64) * _RESOLUTION) + 0.0
    return _mixed(rounded.view(torch.int64) + _salts(values.shape[1])).sum(1)


def component_fingerprint(component: int, weights: Tensor, nodes: Tensor | int) -> Tensor:
    """A term of a mixture's fingerprint, which is the sum over its components.

    Args:
        component: which component.
        weights: float64 in [0, 1], its weight in each mixture; what rounds to zero does not count.
        nodes: integers in ``[0, MAX_NODES)``, what the component is in each mixture.

    Returns:
        int64 of the shape of ``weights``.
    """
    q = torch.round(weights * _RESOLUTION).long()
    words = torch.where(q == 0, 0, (q << _NODE_BITS) | nodes)
    return _mixed(words + _signed((component + 1) * _GOLDEN % 2**64))


def labelled(fingerprints: Tensor, labels: Tensor) -> Tensor:
    """Fingerprints of (row, label) pairs; int64 ``(n,)`` each."""
    return _mixed(fingerprints + labels * _signed(_GOLDEN))


def distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct keys.

    Args:
        keys: int64 ``(n,)``.

    Returns:
        ``first`` ``(m,)``, a row that holds each distinct key, and ``inverse`` int32 ``(n,)``, the
        position in ``first`` of every row's key.
    """
    array = keys.numpy()
    order = array.argsort()
    ordered = array[order]
    starts = np.empty(len(array), dtype=bool)
    starts[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    inverse = np.empty(len(array), dtype=np.int32)
    inverse[order] = np.cumsum(starts, dtype=np.int32) - 1
    return torch.from_numpy(order[starts]), torch.from_numpy(inverse)
