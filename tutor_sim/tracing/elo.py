"""Elo rating of students and items.

``P(correct) = sigmoid(theta_j + easiness_i)``; after an answer both move by
``K / (1 + decay * n) * (correct - P)``, where n counts the answers behind a rating (the uncertainty
function of Pelánek 2016, Computers & Education 98). Item ratings are learned from the training
students, a batch of students at a time, and are fixed when others are predicted.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import special

from tutor_sim.logs.log import Floats, InteractionLog, Ints
from tutor_sim.tracing.histories import Sequences

_K_ABILITY = 1.2
_K_ITEM = 0.35
_DECAY = 0.05
_BATCH = 16
"""Training students whose answers move the items at the same time; many would overshoot."""


class Elo:
    """Elo predictor; see the module's text."""

    def fit(self, log: InteractionLog) -> None:
        """Easiness of every item."""
        log = log.rows(np.flatnonzero(log.graded))
        self.easiness: Floats = np.full(
            len(log.item_names), special.logit(np.clip(log.correct.mean(), 0.01, 0.99))
        )
        self._n_answers: Ints = np.zeros(len(log.item_names), dtype=np.int64)
        batch = log.student // _BATCH
        starts = np.flatnonzero(np.diff(batch, prepend=-1, append=-2))
        for first, stop in pairwise(starts):
            self._run(log.rows(np.arange(first, stop)), learn_items=True)

    def predict(self, log: InteractionLog) -> Floats:
        """P(correct) of every row; see :class:`tutor_sim.tracing.predictors.Predictor`."""
        return self._run(log, learn_items=False)

    def _run(self, log: InteractionLog, learn_items: bool) -> Floats:
        sequences = Sequences(log.student)
        theta, n_answers = np.zeros((2, len(sequences.key)))
        result = np.empty(len(log))
        for now in sequences.steps():
            rows = sequences.index[now]
            item, graded = log.item[rows], log.graded[rows]
            theta, n_answers = theta[: len(rows)], n_answers[: len(rows)]
            result[rows] = p = special.expit(theta + self.easiness[item])
            surprise = np.where(graded, log.correct[rows] - p, 0)
            theta = theta + _K_ABILITY / (1 + _DECAY * n_answers) * surprise
            n_answers = n_answers + graded
            if learn_items:
                gain = _K_ITEM / (1 + _DECAY * self._n_answers[item])
                np.add.at(self.easiness, item, gain * surprise)
                np.add.at(self._n_answers, item, 1)
        return result
