"""Minimises a function of tensors by L-BFGS, gradients by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from tutor_sim.calibration.mixed import Floats


def minimise(
    loss: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    *,
    max_iterations: int,
    tolerance: float,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Move the parameters, in place, to a minimum.

    Args:
        loss: of the parameters as they stand; about 1 in size.
        parameters: float64 leaves that require gradients.
        max_iterations: of L-BFGS.
        tolerance: it stops when an iteration gains less.
        progress: called with the number of gradients taken so far.

    Returns:
        Whether it stopped before its iterations ended.
    """
    evaluations = 0

    def put(flat: Floats) -> None:
        place = 0
        with torch.no_grad():
            for parameter in parameters:
                part = flat[place : place + parameter.numel()]
                parameter.copy_(torch.from_numpy(part.copy()).view_as(parameter))
                place += parameter.numel()

    def evaluate(flat: Floats) -> tuple[float, Floats]:
        nonlocal evaluations
        put(flat)
        value = loss()
        gradients = torch.autograd.grad(value, list(parameters))
        evaluations += 1
        if progress is not None:
            progress(evaluations)
        return float(value.detach()), np.concatenate([g.numpy().ravel() for g in gradients])

    start = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    options = {"maxiter": max_iterations, "maxcor": 20, "ftol": tolerance, "gtol": 1e-7}
    found = optimize.minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
    put(np.asarray(found.x))
    return bool(found.nit < max_iterations)
