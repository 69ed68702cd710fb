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
    """Inside it products are computed like this; see ``torch.set_float32_matmul_precision``."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
