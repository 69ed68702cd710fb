"""What several memories are built of: a perceptron, and how layers begin."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu

RESIDUAL_GAIN = 0.1
"""Scale of the weights by which a block begins to add to its input."""


class Perceptron(nn.Module):
    """Two layers, the inner twice as wide, with GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., W)`` to ``(..., W)``."""
        out: Tensor = self.outer(gelu(self.inner(x)))
        return out


def initialise_layers(network: nn.Module) -> None:
    """Orthogonal linear layers with zero biases, layer norms that do not scale.

    What a perceptron adds to its input begins small.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm):
            layer.reset_parameters()
    for layer in network.modules():
        if isinstance(layer, Perceptron):
            nn.init.orthogonal_(layer.outer.weight, gain=RESIDUAL_GAIN)
