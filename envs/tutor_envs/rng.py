"""Counter-based randomness: every draw is a pure function of what it is for.

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3", SC'11), written in int64 tensor operations so that it runs batched on any device and
compiles to a pure function; by itself, the CPU draws the same numbers in a C loop (``philox.c``).
There is no generator state: the same student has the same luck whatever the batch size, the device,
the order of execution, or the tutor that teaches.

A draw is addressed by ``(seed; student, trial, lesson, step, purpose, lane)``:

=======  ==============================================
counter  content
=======  ==============================================
word 0   student index, 0 .. 2**32 - 1
word 1   trial, 0 .. 2**32 - 1
word 2   lesson * 2**16 + step, each 0 .. 2**16 - 1
word 3   purpose * 2**16 + block of four lanes
key      the two 32-bit halves of the seed
=======  ==============================================
"""

from __future__ import annotations

import ctypes
import enum
import functools
import math
from collections.abc import Callable
from importlib.resources import files

import torch
from torch import Tensor

from tutor_envs.native import addresses, load_library

_MULTIPLIER_0 = 0xD2511F53
_MULTIPLIER_1 = 0xCD9E8D57
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_MASK_32 = 0xFFFFFFFF
_LOW_16 = 0xFFFF
_ROUNDS = 10
MAX_STUDENT_INDEX = _MASK_32
"""Student and trial indices fit into 32 bits."""
MAX_STEPS = _LOW_16
"""Lessons in a trial and steps in a lesson fit into 16 bits each."""


class Purpose(enum.IntEnum):
    """What a draw is for; draws of different purposes never collide."""

    LATENTS = 0
    LESSON_START = 1
    STUDENT_STEP = 2
    TUTOR = 3
    TRAINING = 4
    BELIEF = 5
    WAIT = 6


def _mul_hi_lo(multiplier: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of ``multiplier * word``, without overflowing int64.

    The multiplier is split into 16-bit halves, so that every product stays below 2**48.
    """
    low = (multiplier & _LOW_16) * word
    high = (multiplier >> 16) * word + (low >> 16)
    return high >> 16, ((high & _LOW_16) << 16) | (low & _LOW_16)


def philox4x32(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four 32-bit random words for each counter.

    Args:
        counter: four int64 tensors of one (broadcastable) shape, each in [0, 2**32).
        key: two 32-bit integers.

    Returns:
        Four int64 tensors in [0, 2**32), of the broadcast shape.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        hi0, lo0 = _mul_hi_lo(_MULTIPLIER_0, c0)
        hi1, lo1 = _mul_hi_lo(_MULTIPLIER_1, c2)
        c0, c1, c2, c3 = hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0
        k0, k1 = (k0 + _WEYL_0) & _MASK_32, (k1 + _WEYL_1) & _MASK_32
    return c0, c1, c2, c3


def uniforms(
    seed: int,
    student: Tensor,
    *,
    purpose: Purpose,
    n_lanes: int,
    trial: int | Tensor = 0,
    lesson: int | Tensor = 0,
    step: int | Tensor = 0,
) -> Tensor:
    """Uniform numbers in [0, 1), one row of lanes for every student.

    Args:
        seed: the experiment's seed, 0 .. 2**64 - 1.
        student: int64 student indices, shape ``(*batch)``.
        purpose: what the numbers are for.
        n_lanes: how many numbers each student needs (0 is allowed).
        trial: trial index; broadcast against ``student``.
        lesson: lesson index; broadcast against ``student``.
        step: step index; broadcast against ``student``. A ``(T, 1)`` tensor of steps draws a
            whole lesson at once.

    Returns:
        float32, shape ``(*broadcast, n_lanes)``: multiples of 2**-24, so float32 and float64
        hold the same values.

    Raises:
        ValueError: the seed is out of range.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must be in [0, 2**64), got {seed}.")
    words = (student, trial, lesson * 2**16 + step)
    address = [torch.as_tensor(word, device=student.device) for word in words]
    shape = torch.broadcast_shapes(*(w.shape for w in address))  # type: ignore[no-untyped-call]
    # Views: what is the same for all keeps a stride of 0.
    n_columns = shape[-1] if shape else 1
    n_rows = math.prod(shape[:-1])
    table = [word.long().expand(shape).reshape(n_rows, n_columns) for word in address]
    on_cpu = student.device.type == "cpu" and not torch.compiler.is_compiling()
    draw = (_compiled_draw() if on_cpu else None) or _draw
    key = seed & _MASK_32, seed >> 32
    return draw(table, purpose, key, n_lanes).mT.reshape(*shape, n_lanes)


def _draw(table: list[Tensor], purpose: Purpose, key: tuple[int, int], n_lanes: int) -> Tensor:
    """``(rows, n_lanes, columns)`` of student, trial and clock, each ``(rows, columns)``."""
    n_blocks = max(1, -(-n_lanes // 4))
    block = torch.arange(n_blocks, device=table[0].device).unsqueeze(-1) + int(purpose) * 2**16
    c0, c1, c2 = (word.unsqueeze(-2) for word in table)
    lanes = torch.stack(philox4x32((c0, c1, c2, block), key), dim=-2).flatten(-3, -2)
    return (lanes[:, :n_lanes] >> 8).to(torch.float32) * 2.0**-24


@functools.cache
def _compiled_draw() -> Callable[..., Tensor] | None:
    """:func:`_draw` as a C loop; None where it cannot be had, which is logged."""
    library = load_library(files(__package__).joinpath("philox.c"), "random numbers")
    if library is None:
        return None
    number, pointer, word = ctypes.c_int64, ctypes.c_void_p, ctypes.c_uint32
    library.uniforms.argtypes = [number, number, pointer, pointer, *[word] * 3, number, pointer]
    library.uniforms.restype = None

    def draw(table: list[Tensor], purpose: Purpose, key: tuple[int, int], n_lanes: int) -> Tensor:
        address = [word if word.stride(1) in (0, 1) else word.contiguous() for word in table]
        n_rows, n_columns = address[0].shape
        out = torch.empty(n_rows, n_lanes, n_columns)
        library.uniforms(
            n_rows,
            n_columns,
            (pointer * 3)(*addresses(*address)),
            (number * 6)(*(stride for word in address for stride in word.stride())),
            purpose,
            *key,
            n_lanes,
            *addresses(out),
        )
        return out

    return draw
