"""FSRS-6 weights of every learner: the most probable ones under a published prior.

All cards of all learners run in one batch: position t of every card's reviews is one step of the
pure functions of :mod:`tutor_envs.students.fsrs`, and each learner has 21 weights of its own. A
review counts in the likelihood if it comes a day or more after the last (as in the fit of the
package ``fsrs``); an earlier one only changes the memory. Gaps are fractions of days.

Prior: means and SDs over 9,999 users of spaced-repetition software (fits of FSRS-5 in the public
srs-benchmark results), the four initial stabilities on the log scale with their correlations.
FSRS-6's own two weights (``w19``, ``w20``) have no published spread, and ``w17``, ``w18`` changed
their meaning: these four are centred at the package's defaults, with SDs of our choice for the
first two. Standard errors: the prior's precision plus the expected information.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tutor_envs.students.fsrs import (
    DEFAULT_WEIGHTS,
    LOWER_WEIGHTS,
    N_WEIGHTS,
    UPPER_WEIGHTS,
    first_memory,
    next_memory,
    retrievability,
)
from tutor_sim.calibration.minimise import minimise
from tutor_sim.calibration.mixed import Floats, Ints

LOG_WEIGHTS = (0, 1, 2, 3, 7, 20)
"""Weights whose logarithm is normal."""
# fmt: off
PRIOR_MEAN = (
    -0.691, 0.289, 1.264, 2.621, 7.164, 0.555, 1.873, -5.1, 1.559, 0.157, 1.016, 1.908, 0.106,
    0.303, 2.227, 0.255, 2.938, *DEFAULT_WEIGHTS[17:20], float(np.log(DEFAULT_WEIGHTS[20])),
)
"""Of each weight (of its logarithm for ``LOG_WEIGHTS``)."""
PRIOR_SD = (
    1.229, 1.326, 1.370, 1.231, 0.356, 0.216, 0.557, 1.9, 0.357, 0.151, 0.267, 0.147, 0.037,
    0.105, 0.373, 0.180, 0.637, 0.212, 0.345, 0.05, 0.5,
)
# fmt: on
_S0_CORRELATION = (
    (1.0, 0.76, 0.64, 0.47),
    (0.76, 1.0, 0.80, 0.55),
    (0.64, 0.80, 1.0, 0.70),
    (0.47, 0.55, 0.70, 1.0),
)
_P_MARGIN = 1e-6
_STEP = 1e-5
"""Of a finite difference, in SDs of the prior."""
_ENOUGH = 1e-4
"""A gain of the log-posterior that is worth no further iteration."""


@dataclasses.dataclass(frozen=True)
class ReviewData:
    """Reviews sorted by learner, then by time.

    Attributes:
        student: ``(n,)`` codes in ``[0, n_students)``.
        card: ``(n,)`` codes of the item.
        rating: ``(n,)`` 1 again, 2 hard, 3 good, 4 easy.
        days: ``(n,)`` time of the review.
        n_students: U.
    """

    student: Ints
    card: Ints
    rating: Ints
    days: Floats
    n_students: int


@dataclasses.dataclass(frozen=True)
class WeightsFit:
    """Estimates on the prior's scale (logarithms for ``LOG_WEIGHTS``).

    Attributes:
        value: ``(U, 21)``.
        cov: ``(U, 21, 21)`` posterior covariance.
        n_scored: reviews in the likelihood.
        converged: the fit had stopped moving.
    """

    value: Floats
    cov: Floats
    n_scored: int
    converged: bool

    @property
    def se(self) -> Floats:
        """``(U, 21)``."""
        return np.asarray(np.sqrt(np.einsum("uii->ui", self.cov)))


class _Cards:
    """Reviews by card, longest history first."""

    def __init__(self, data: ReviewData) -> None:
        key = data.student * (int(data.card.max()) + 1) + data.card
        order = np.argsort(key, kind="stable")
        _, first, length = np.unique(key[order], return_index=True, return_counts=True)
        longest = np.argsort(-length, kind="stable")
        start, length = first[longest], length[longest]
        reach = [int(np.searchsorted(-length, -t, side="left")) for t in range(length[0])]
        self.rows = [order[start[:n] + t] for t, n in enumerate(reach)]
        self.student = torch.from_numpy(data.student[self.rows[0]])
        self.rating = [torch.from_numpy(data.rating[rows]) for rows in self.rows]
        self.gap = [
            torch.from_numpy(data.days[now] - data.days[before[: len(now)]])
            for before, now in zip(self.rows, self.rows[1:], strict=False)
        ]
        self.n_rows = len(data.student)

    def recall(self, weights: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Probability of recall at reviews 1, 2, ...; memory after each card's review 0, 1, ...

        Args:
            weights: ``(U, 21)``.
        """
        mine = weights[self.student]
        stability, difficulty = first_memory(mine, self.rating[0])
        found = []
        for gap, rating in zip(self.gap, self.rating[1:], strict=True):
            n = len(gap)
            mine, stability, difficulty = mine[:n], stability[:n], difficulty[:n]
            found.append(retrievability(mine, stability, gap))
            stability, difficulty = next_memory(mine, stability, difficulty, rating, gap)
        return found, stability, difficulty


def _weights(value: Tensor) -> Tensor:
    """Weights within their bounds from values on the prior's scale, ``(..., 21)``."""
    is_log = torch.zeros(N_WEIGHTS, dtype=torch.bool)
    is_log[list(LOG_WEIGHTS)] = True
    natural = torch.where(is_log, torch.where(is_log, value, 0).exp(), value)
    low = torch.tensor(LOWER_WEIGHTS, dtype=value.dtype)
    high = torch.tensor(UPPER_WEIGHTS, dtype=value.dtype)
    return torch.minimum(torch.maximum(natural, low), high)


def prior_covariance() -> Floats:
    """``(21, 21)`` on the prior's scale."""
    correlation = np.eye(N_WEIGHTS)
    correlation[:4, :4] = _S0_CORRELATION
    return correlation * np.outer(PRIOR_SD, PRIOR_SD)


def fit_weights(
    data: ReviewData,
    *,
    max_iterations: int = 80,
    progress: Callable[[int], None] | None = None,
) -> WeightsFit:
    """The most probable weights of every learner.

    Args:
        data: reviews with times.
        max_iterations: of L-BFGS.
        progress: called with the number of gradients taken so far.

    Raises:
        ValueError: no review comes a day or more after another of the same card.
    """
    cards = _Cards(data)
    scored = [gap >= 1 for gap in cards.gap]
    n_scored = sum(int(s.sum()) for s in scored)
    if n_scored == 0:
        raise ValueError("FSRS needs cards that are reviewed again a day or more later, got none")
    mean = torch.tensor(PRIOR_MEAN, dtype=torch.float64)
    root = torch.linalg.cholesky(torch.from_numpy(prior_covariance()))
    deviation = torch.zeros(data.n_students, N_WEIGHTS, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        found, _, _ = cards.recall(_weights(mean + deviation @ root.T))
        total = 0.5 * deviation.square().sum()
        for p, rating, counts in zip(found, cards.rating[1:], scored, strict=True):
            p = p[counts].clamp(_P_MARGIN, 1 - _P_MARGIN)
            total = total - torch.where(rating[counts] > 1, p, 1 - p).log().sum()
        return total

    converged = minimise(
        lambda: loss() / n_scored,
        [deviation],
        max_iterations=max_iterations,
        tolerance=_ENOUGH / n_scored,
        progress=progress,
    )
    value = mean + deviation.detach() @ root.T
    prior = torch.linalg.inv(torch.from_numpy(prior_covariance()))
    cov = torch.linalg.inv(prior + _information(cards, scored, value))
    return WeightsFit(value.numpy(), cov.numpy(), n_scored, converged)


def _information(cards: _Cards, scored: list[Tensor], value: Tensor) -> Tensor:
    """Expected (Fisher) information of every learner's reviews, ``(U, 21, 21)``."""

    def recalled(at: Tensor) -> Tensor:
        found, _, _ = cards.recall(_weights(at))
        return torch.cat([p[counts] for p, counts in zip(found, scored, strict=True)])

    with torch.no_grad():
        p = recalled(value)
        # Slopes by differences: 21 runs forward cost far less than second derivatives.
        steps = _STEP * torch.diag(torch.tensor(PRIOR_SD, dtype=value.dtype))
        slopes = [(recalled(value + step) - p) / step.sum() for step in steps]
        p = p.clamp(_P_MARGIN, 1 - _P_MARGIN)
        slope = torch.stack(slopes, -1) / (p * (1 - p)).sqrt().unsqueeze(-1)
    student = torch.cat([cards.student[: len(counts)][counts] for counts in scored])
    squares = slope.unsqueeze(-1) * slope.unsqueeze(-2)
    return value.new_zeros(len(value), N_WEIGHTS, N_WEIGHTS).index_add(0, student, squares)


def natural_weights(value: Floats) -> Floats:
    """Weights within their bounds, ``(..., 21)``, from values on the prior's scale."""
    return np.asarray(_weights(torch.from_numpy(value)).numpy())


def predict_recall(weights: Floats, data: ReviewData) -> Floats:
    """Probability of recall at every review, ``(n,)``; NaN at a card's first.

    Args:
        weights: ``(U, 21)``, within their bounds.
        data: reviews; each is predicted from the same card's earlier ones.
    """
    cards = _Cards(data)
    found, _, _ = cards.recall(torch.from_numpy(weights))
    p = np.full(cards.n_rows, np.nan)
    for rows, recalled in zip(cards.rows[1:], found, strict=True):
        p[rows] = recalled.numpy()
    return p
