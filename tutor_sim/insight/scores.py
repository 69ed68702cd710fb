"""How good a probe is, on students it was not fitted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tutor_sim.tracing.metrics import auc

Array = NDArray[np.float64]
N_BINS = 10


def r2(predicted: Array, target: Array) -> float:
    """``1 - sum (y - yhat)^2 / sum (y - ybar)^2``, mean over the columns that vary.

    0 is knowing the mean only, 1 is everything; worse than the mean is negative.

    Args:
        predicted: ``(n, c)``.
        target: ``(n, c)``.
    """
    spread = ((target - target.mean(0)) ** 2).sum(0)
    known = spread > 1e-9
    if not known.any():
        return float("nan")
    missed = ((predicted - target) ** 2).sum(0)
    return float((1 - missed[known] / spread[known]).mean())


def group_auc(p: Array, group: NDArray[np.int64]) -> float:
    """One group against the rest, mean over the groups that occur (Fawcett 2006).

    0.5 is chance (Pattern Recognition Letters 27(8), section 8). Probabilities that agree to nine
    decimals are ties.

    Args:
        p: ``(n, G)`` probabilities.
        group: int64 ``(n,)``.
    """
    rounded = np.round(p, 9)
    each = [auc(rounded[:, g], (group == g).astype(np.float64)) for g in range(p.shape[1])]
    known = [value for value in each if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def brier(p: Array, group: NDArray[np.int64]) -> float:
    """Mean over students of ``sum_g (p_g - [g is right])^2``, in [0, 2] (Brier 1950)."""
    truth = np.eye(p.shape[1])[group]
    return float(((p - truth) ** 2).sum(1).mean())


def calibration_error(p: Array, group: NDArray[np.int64]) -> float:
    """Expected calibration error over ten equal bins of all probabilities, in [0, 1].

    ``sum_b n_b / n |share that is right in b - mean probability in b|``, every (student, group)
    pair counting once (Naeini, Cooper & Hauskrecht 2015, AAAI; for classes one by one: Nixon et
    al. 2019, arXiv 1904.01685).
    """
    truth = np.eye(p.shape[1])[group].ravel()
    flat = p.ravel()
    bins = np.minimum((flat * N_BINS).astype(int), N_BINS - 1)
    gap = np.bincount(bins, weights=truth - flat, minlength=N_BINS)
    return float(np.abs(gap).sum() / len(flat))
