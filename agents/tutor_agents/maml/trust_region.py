"""One step of trust-region policy optimisation (Schulman et al. 2015, arXiv 1502.05477)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    """What a step did: the loss after it, the divergence, and the share of the full step taken."""

    loss: Tensor
    divergence: Tensor
    share: float


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, n_iterations: int = 10, tolerance: float = 1e-10
) -> Tensor:
    """``x`` with ``A x = b`` for a positive definite A, given as ``product(v) = A v``."""
    x, residual = torch.zeros_like(b), b.clone()
    direction, square = residual.clone(), residual @ residual
    for _ in range(n_iterations):
        if square < tolerance:
            break
        along = product(direction)
        size = square / (direction @ along)
        x, residual = x + size * direction, residual - size * along
        square_before, square = square, residual @ residual
        direction = residual + square / square_before * direction
    return x


def trust_region_step(
    parameters: Sequence[Tensor],
    evaluate: Callable[[], tuple[Tensor, Tensor]],
    *,
    max_divergence: float = 0.01,
    damping: float = 1e-5,
    backtrack: float = 0.8,
    max_backtracks: int = 15,
) -> Step:
    """Move ``parameters`` (in place) down the loss, within a bound on the divergence.

    The full step solves ``min g.x`` subject to ``x.H x / 2 <= max_divergence``, with H the Hessian
    of the divergence; it is shortened until the loss falls and the bound holds. If it never does,
    nothing moves (share 0).

    Args:
        parameters: that may move.
        evaluate: loss and divergence (from where the step began) at the current parameters.
        max_divergence: delta.
        damping: added to H's diagonal.
        backtrack: factor of each shortening.
        max_backtracks: shortenings tried.
    """
    loss, divergence = evaluate()
    gradient = _flat_gradient(loss, parameters, retain_graph=True)
    slope = _flat_gradient(divergence, parameters, create_graph=True)

    def product(v: Tensor) -> Tensor:
        return _flat_gradient(slope @ v, parameters, retain_graph=True) + damping * v

    direction = conjugate_gradient(product, -gradient)
    curvature = direction @ product(direction)
    loss, divergence = loss.detach(), divergence.detach()
    if not curvature > 0:
        return Step(loss, divergence, 0.0)
    full = torch.sqrt(2 * max_divergence / curvature) * direction
    start = [p.detach().clone() for p in parameters]
    share = 1.0
    for _ in range(max_backtracks):
        _place(parameters, start, share * full)
        with torch.no_grad():
            new_loss, new_divergence = evaluate()
        if new_loss < loss and new_divergence <= max_divergence:
            return Step(new_loss, new_divergence, share)
        share *= backtrack
    _place(parameters, start, torch.zeros_like(full))
    return Step(loss, divergence, 0.0)


def _flat_gradient(
    value: Tensor,
    parameters: Sequence[Tensor],
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> Tensor:
    gradients = torch.autograd.grad(
        value,
        parameters,
        retain_graph=retain_graph or create_graph,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return torch.cat([g.reshape(-1) for g in gradients])


@torch.no_grad()
def _place(parameters: Sequence[Tensor], start: Sequence[Tensor], step: Tensor) -> None:
    pieces = torch.split(step, [p.numel() for p in parameters])
    for parameter, origin, piece in zip(parameters, start, pieces, strict=True):
        parameter.copy_(origin + piece.view_as(origin))
