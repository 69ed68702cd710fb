"""The meta-parameters eta: settings of the loss as unbounded numbers that an optimiser can move.

Discount and lambda are sigmoids, the entropy weight is a softplus. A sigmoid reaches neither 0 nor
1, so a start beyond [0.001, 0.999] begins at that edge: a discount of 1, which a finite trial
allows, begins at 0.999. On the logit's scale equal steps change the horizon 1 / (1 - discount) by
equal factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

TunedName = Literal["discount", "gae_lambda", "entropy_weight"]
"""What can be tuned."""

_EDGE = 1e-3


def squashed(name: TunedName, raw: Tensor) -> Tensor:
    """The setting that an unbounded number stands for, differentiable."""
    return nn.functional.softplus(raw) if name == "entropy_weight" else raw.sigmoid()


def unsquashed(name: TunedName, value: float) -> float:
    """The inverse of ``squashed``, from the nearest value that it can reach.

    Args:
        name: of the setting.
        value: in [0, 1] for discount and lambda, > 0 for the entropy weight.
    """
    if name == "entropy_weight":
        return math.log(math.expm1(value)) if value < 20 else value
    inside = min(max(value, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))


class MetaParameters(nn.Module):
    """Eta, one scalar for each tuned setting."""

    def __init__(self, start: Mapping[TunedName, float]) -> None:
        """Name of each tuned setting -> where it starts."""
        super().__init__()
        self.names = tuple(start)
        self.raw = nn.ParameterDict(
            {k: nn.Parameter(torch.tensor(unsquashed(k, v))) for k, v in start.items()}
        )

    def forward(self) -> dict[TunedName, Tensor]:
        """Name -> current value, a differentiable scalar."""
        return {name: squashed(name, self.raw[name]) for name in self.names}
