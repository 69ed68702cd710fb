"""Ridge logistic regression on a sparse design."""

from __future__ import annotations

import numpy as np
from scipy import optimize, sparse, special

from tutor_sim.logs.log import Floats


def fit_logistic(design: sparse.csr_array, target: Floats, ridge: float | Floats = 1.0) -> Floats:
    """Weights that minimise ``sum(log-loss) + sum(ridge * weight**2) / 2``.

    Newton's method in a trust region, its steps by conjugate gradients; columns are scaled by the
    root of their curvature at weight 0, so counts and indicators are equally easy.

    Args:
        design: ``(n, d)``.
        target: ``(n,)`` in [0, 1].
        ridge: >= 0; one number, or one for each column.

    Returns:
        ``(d,)``.
    """
    penalty = np.broadcast_to(np.asarray(ridge, dtype=np.float64), design.shape[1:])
    curvature = design.multiply(design).sum(0) / 4 + penalty
    scale = 1 / np.sqrt(np.maximum(curvature, 1e-12))
    scaled = (design * scale).tocsr()
    transposed = scaled.T.tocsr()
    penalty = penalty * scale**2

    def loss(w: Floats) -> tuple[float, Floats]:
        logit = scaled @ w
        value = np.logaddexp(0, logit).sum() - target @ logit + penalty @ w**2 / 2
        return float(value), transposed @ (special.expit(logit) - target) + penalty * w

    def curve(w: Floats, v: Floats) -> Floats:
        p = special.expit(scaled @ w)
        product: Floats = transposed @ (p * (1 - p) * (scaled @ v)) + penalty * v
        return product

    found = optimize.minimize(
        loss,
        np.zeros(design.shape[1]),
        jac=True,
        hessp=curve,
        method="trust-ncg",
        options={"gtol": 1e-4 * np.sqrt(design.shape[0]), "maxiter": 200},
    )
    weights: Floats = found.x * scale
    return weights


def indicators(code: np.ndarray, n_codes: int, value: Floats | None = None) -> sparse.csr_array:
    """``(n, n_codes)``: row r holds ``value[r]`` (default 1) in column ``code[r]``."""
    n = len(code)
    data = np.ones(n) if value is None else value
    return sparse.csr_array((data, code, np.arange(n + 1)), shape=(n, n_codes))
