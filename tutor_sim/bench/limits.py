"""What the machine can do at most: copies, random numbers, products of matrices.

These are jobs like others, so that they are measured in the same rounds.
"""

from __future__ import annotations

import torch

from tutor_envs.population import Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_sim.bench.job import Work

_COPIED = 2**26
"""Floats: 256 MiB, beyond every cache."""
_STUDENTS, _LANES = 65_536, 4
_SIDE = 1024


class _Limit:
    def prepare(self, round_: int) -> None:
        """Nothing."""


class Copy(_Limit):
    """Bytes read and written by a copy in main memory."""

    def __init__(self) -> None:
        self._from, self._to = torch.zeros(_COPIED), torch.zeros(_COPIED)

    def work(self) -> Work:
        """Four copies."""
        for _ in range(4):
            self._to.copy_(self._from)
        return Work(4 * 2 * self._from.nbytes)


class RandomNumbers(_Limit):
    """Uniform numbers, as simulation draws them."""

    def work(self) -> Work:
        """A few million."""
        students = student_indices(Split.TRAIN, _STUDENTS)
        for step in range(50):
            uniforms(0, students, purpose=Purpose.STUDENT_STEP, n_lanes=_LANES, step=step)
        return Work(50 * _STUDENTS * _LANES)


class Products(_Limit):
    """Floating-point operations of a product of large matrices."""

    def __init__(self, dtype: str) -> None:
        self._a = torch.randn(_SIDE, _SIDE).to(getattr(torch, dtype))

    def work(self) -> Work:
        """A few tens of GFLOP."""
        for _ in range(20):
            self._a @ self._a
        return Work(20 * 2 * _SIDE**3)
