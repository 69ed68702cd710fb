"""Rasch model with an ability that is re-estimated after every answer.

``P(correct) = sigmoid(theta + easiness_i)`` with ``theta ~ N(0, sd)`` on a grid (Rasch 1960; Bock &
Aitkin 1981, Psychometrika 46, for the fit). Training: marginal maximum likelihood by EM over
the grid, with a ridge on the easiness. Prediction: the mean of ``P(correct)`` under the posterior
of ``theta`` given the student's earlier answers.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse, special, stats

from tutor_sim.logs.log import Floats, InteractionLog
from tutor_sim.tracing.histories import Sequences

_GRID = np.linspace(-4.0, 4.0, 41)
_N_ITERATIONS = 25
_RIDGE = 1.0


class Rasch:
    """Online Rasch predictor; see the module's text."""

    def fit(self, log: InteractionLog) -> None:
        """Easiness of every item, and the SD of ability."""
        rows = np.flatnonzero(log.graded)
        place = (log.student[rows], log.item[rows])
        shape = (log.n_students, len(log.item_names))
        n_right = sparse.csr_array((log.correct[rows], place), shape=shape)
        n_answers = sparse.csr_array((np.ones(len(rows)), place), shape=shape)
        present = np.flatnonzero(n_answers.sum(1))
        n_right, n_answers = n_right[present], n_answers[present]
        share = log.correct[rows].mean()
        self.intercept, self.sd = float(special.logit(np.clip(share, 0.01, 0.99))), 1.0
        self.easiness: Floats = np.zeros(shape[1])
        for _ in range(_N_ITERATIONS):
            theta = self.sd * _GRID
            logit = self.intercept + self.easiness[:, None] + theta
            log_p = n_right @ logit - n_answers @ np.logaddexp(0, logit) + stats.norm.logpdf(_GRID)
            weight = special.softmax(log_p, axis=1)
            answers = n_answers.T @ weight
            p = special.expit(logit)
            gradient = n_right.sum(0) - (answers * p).sum(1) - _RIDGE * self.easiness
            self.easiness = self.easiness + gradient / ((answers * p * (1 - p)).sum(1) + _RIDGE)
            self.intercept += self.easiness.mean()
            self.easiness -= self.easiness.mean()
            self.sd = max(float(np.sqrt((weight @ theta**2).mean())), 0.05)

    def predict(self, log: InteractionLog) -> Floats:
        """P(correct) of every row; see :class:`tutor_sim.tracing.predictors.Predictor`."""
        logit = self.intercept + self.easiness[log.item][:, None]
        theta, prior = self.sd * _GRID, stats.norm.pdf(_GRID)
        sequences = Sequences(log.student)
        posterior = np.tile(prior / prior.sum(), (len(sequences.key), 1))
        result = np.empty(len(log))
        for now in sequences.steps():
            rows = sequences.index[now]
            posterior = posterior[: len(rows)]
            p_right = special.expit(logit[rows] + theta)
            result[rows] = (posterior * p_right).sum(1)
            right = log.correct[rows, None]
            seen = np.where(np.isnan(right), 1, np.where(right == 1, p_right, 1 - p_right))
            posterior = posterior * seen
            posterior /= posterior.sum(1, keepdims=True)
        return result
