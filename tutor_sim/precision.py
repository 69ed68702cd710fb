"""How exactly the products of matrices are computed in training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

MatmulPrecision = Literal["highest", "high", "medium"]
"""As torch calls it: float32; TensorFloat-32 where there is; bfloat16 where there is. Sums and all
else stay in float32."""


@contextlib.contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Inside it products are computed like this, unless the processor would take longer.

    See ``torch.set_float32_matmul_precision``.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision if _pays() else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _pays() -> bool:
    """There is a GPU, or a processor that has bfloat16 in more than name.

    With AVX-512 alone torch multiplies bfloat16 at half the speed of float32; with AMX, faster.
    """
    cpu = torch.cpu.get_capabilities()
    is_x86 = cpu.get("architecture") == "x86_64"
    return torch.cuda.is_available() or not is_x86 or bool(cpu.get("amx_bf16"))
