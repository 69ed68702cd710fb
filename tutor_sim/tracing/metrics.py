"""How good predicted probabilities of correct answers are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tutor_sim.logs.log import Floats

_SMALLEST_P = 1e-6


def auc(p: Floats, correct: Floats) -> float:
    """P(a correct answer was given a higher ``p`` than a wrong one), ties counting half.

    Args:
        p: ``(n,)`` predictions.
        correct: ``(n,)``, 1 or 0.

    Returns:
        In [0, 1] (Mann-Whitney U over the number of pairs); NaN where all answers are alike.
    """
    is_correct = np.asarray(correct) == 1
    n_correct, n = int(is_correct.sum()), len(is_correct)
    if n_correct in (0, n):
        return float("nan")
    rank_sum = stats.rankdata(p)[is_correct].sum()
    pairs_won = rank_sum - n_correct * (n_correct + 1) / 2
    return float(pairs_won / (n_correct * (n - n_correct)))


def log_loss(p: Floats, correct: Floats) -> float:
    """Mean ``-log P(answer)`` in nats; ``p`` is kept within 1e-6 of 0 and 1."""
    p = np.clip(p, _SMALLEST_P, 1 - _SMALLEST_P)
    return float(-np.mean(np.where(np.asarray(correct) == 1, np.log(p), np.log1p(-p))))


def rmse(p: Floats, correct: Floats) -> float:
    """Root of the mean squared error (root of the Brier score)."""
    error: NDArray[np.float64] = np.asarray(p) - np.asarray(correct)
    return float(np.sqrt(np.mean(error**2)))
