"""Linear probes: ridge and softmax regression whose penalty is chosen without the scored students.

Both standardise their features (those that do not vary among the fitted students are left out) and
leave the intercept free.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array = NDArray[np.float64]

RIDGE_PENALTIES = 10.0 ** np.arange(-2, 7)
"""Tried for ridge regression, on standardised features; from next to none to all but the mean."""
SOFTMAX_PENALTIES = 10.0 ** np.arange(0, 5)
_INNER_SHARE = 0.75
"""Share of the fitted students on whom a softmax penalty is tried; the others choose it."""


def ridge(fit: Array, target: Array, new: Array) -> Array:
    """Predictions of ridge regression, each target with its own penalty.

    With centred, standardised features ``X = U diag(s) V'`` the fit is
    ``ybar + U diag(s^2 / (s^2 + penalty)) U' y`` (Hoerl & Kennard 1970, Technometrics 12(1)). The
    penalty minimises the sum of squared leave-one-out errors, which are
    ``(y_i - yhat_i) / (1 - h_i)`` with ``h_i = 1/n + sum_j u_ij^2 s_j^2 / (s_j^2 + penalty)``
    (PRESS: Allen 1974, Technometrics 16(1)).

    Args:
        fit: ``(n, d)`` features of the students to learn from.
        target: ``(n, c)``.
        new: ``(m, d)`` features of other students.

    Returns:
        ``(m, c)``.
    """
    x, others = _standardised(fit, new)
    mean = target.mean(0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    along = u.T @ (target - mean)
    kept = s**2 / (s**2 + RIDGE_PENALTIES[:, None])
    fitted = mean + np.einsum("nj,pj,jc->pnc", u, kept, along)
    leverage = 1 / len(x) + np.einsum("nj,pj->pn", u**2, kept)
    # A student whom the fit passes through says nothing of the error: that penalty is not chosen.
    slack = np.maximum(1 - leverage, 1e-9)[..., None]
    chosen = (((target - fitted) / slack) ** 2).sum(1).argmin(0)
    penalty = RIDGE_PENALTIES[chosen]
    positive = np.maximum(s, 1e-12)[:, None]
    weights = vt.T @ (along * positive / (positive**2 + penalty))
    predictions: Array = mean + others @ weights
    return predictions


def softmax(fit: Array, group: NDArray[np.int64], new: Array, n_groups: int) -> Array:
    """Probabilities by multinomial logistic regression with a ridge penalty.

    The penalty is the one with the least log-loss on the last quarter of the fitted students when
    fitted on the others; then all of them are fitted.

    Args:
        fit: ``(n, d)`` features of the students to learn from.
        group: int64 ``(n,)`` in ``[0, n_groups)``.
        new: ``(m, d)`` features of other students.
        n_groups: G.

    Returns:
        ``(m, G)``, rows sum to one.
    """
    inner = int(_INNER_SHARE * len(fit))
    x, rest = _standardised(fit[:inner], fit[inner:])
    losses = []
    for penalty in SOFTMAX_PENALTIES:
        p = predict_softmax(rest, fit_softmax(x, group[:inner], n_groups, penalty))
        losses.append(-np.log(np.maximum(p[np.arange(len(p)), group[inner:]], 1e-12)).mean())
    x, others = _standardised(fit, new)
    best = float(SOFTMAX_PENALTIES[int(np.argmin(losses))])
    return predict_softmax(others, fit_softmax(x, group, n_groups, best))


def fit_softmax(x: Array, group: NDArray[np.int64], n_groups: int, penalty: float) -> Array:
    """Weights ``(d + 1, G)``, the intercepts last, that minimise a penalised log-loss.

    ``-sum_i log softmax(x_i W + b)[group_i] + penalty / 2 * sum(W^2)``, by L-BFGS.
    """
    n, d = x.shape
    design = np.column_stack([x, np.ones(n)])
    truth = np.eye(n_groups)[group]
    shrunk = np.append(np.full(d, penalty), 0.0)[:, None]

    def loss(flat: Array) -> tuple[float, Array]:
        w = flat.reshape(d + 1, n_groups)
        logits = design @ w
        value = (special.logsumexp(logits, axis=1) - (logits * truth).sum(1)).sum()
        slope = design.T @ (special.softmax(logits, axis=1) - truth) + shrunk * w
        return float(value + 0.5 * (shrunk * w**2).sum()), slope.ravel()

    start = np.zeros((d + 1) * n_groups)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weights: Array = found.x.reshape(d + 1, n_groups)
    return weights


def predict_softmax(x: Array, weights: Array) -> Array:
    """Probabilities ``(n, G)`` by weights of :func:`fit_softmax`."""
    p: Array = special.softmax(x @ weights[:-1] + weights[-1], axis=1)
    return p


def _standardised(fit: Array, new: Array) -> tuple[Array, Array]:
    """Both by mean and SD of the first; columns that do not vary there are left out."""
    mean, sd = fit.mean(0), fit.std(0)
    used = sd > 1e-9
    return (fit[:, used] - mean[used]) / sd[used], (new[:, used] - mean[used]) / sd[used]
