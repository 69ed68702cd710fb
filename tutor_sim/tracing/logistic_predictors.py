"""Two logistic regressions on counts of a student's earlier right and wrong answers.

* PFA (Pavlik, Cen & Koedinger 2009, AIED): ``logit p = skill_k + gamma_k right_k + rho_k wrong_k``,
  summed over a row's skills;
* Best-LR (Gervet, Koedinger, Schneider & Mitchell 2020, Journal of Educational Data Mining 12):
  ``logit p = item_i + skill_k`` plus weights on log(1 + right) and log(1 + wrong), counted per
  skill (weights of its own for each skill), over all rows, and per item.

Every weight but the intercept has a ridge of 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse, special

from tutor_sim.logs.log import Floats, InteractionLog, Ints
from tutor_sim.tracing.histories import earlier_sum, row_skills
from tutor_sim.tracing.logistic import fit_logistic, indicators


class Counts(NamedTuple):
    """Earlier right and wrong answers, ``(n,)`` each."""

    right: Floats
    wrong: Floats


def earlier_answers(log: InteractionLog, key: Ints, rows: Ints | slice = slice(None)) -> Counts:
    """Counts of the earlier graded rows with the same key.

    Args:
        log: the log.
        key: ``(m,)`` key of each entry.
        rows: ``(m,)`` row of each entry; default: the entries are the rows.
    """
    right = earlier_sum(key, np.nan_to_num(log.correct)[rows])
    return Counts(right, earlier_sum(key, log.graded[rows].astype(np.float64)) - right)


def columns(*values: Floats) -> sparse.csr_array:
    """``(n, len(values))`` dense columns."""
    return sparse.csr_array(np.stack(values, axis=1))


class _LogisticPredictor:
    """Fits and predicts with a design; its first column is the intercept."""

    def _design(self, log: InteractionLog) -> sparse.csr_array:
        raise NotImplementedError

    def fit(self, log: InteractionLog) -> None:
        """Ridge logistic regression on the graded rows."""
        graded = np.flatnonzero(log.graded)
        design = self._design(log)[graded]
        ridge = np.ones(design.shape[1])
        ridge[0] = 0
        self.weights: Floats = fit_logistic(design, log.correct[graded], ridge)

    def predict(self, log: InteractionLog) -> Floats:
        """P(correct) of every row; see :class:`tutor_sim.tracing.predictors.Predictor`."""
        p: Floats = special.expit(self._design(log) @ self.weights)
        return p


def _per_skill(log: InteractionLog, transform: np.ufunc) -> list[sparse.csr_array]:
    """Indicators of the skills, and transformed counts of right and wrong in their columns."""
    row, skill = row_skills(log)
    counts = earlier_answers(log, log.student[row] * len(log.skill_names) + skill, row)
    shape = (len(log), len(log.skill_names))
    values = (np.ones(len(row)), transform(counts.right), transform(counts.wrong))
    return [sparse.csr_array((v, (row, skill)), shape=shape) for v in values]


class PerformanceFactors(_LogisticPredictor):
    """PFA with raw counts; see the module's text."""

    def _design(self, log: InteractionLog) -> sparse.csr_array:
        return sparse.hstack([columns(np.ones(len(log))), *_per_skill(log, np.positive)]).tocsr()


class BestLR(_LogisticPredictor):
    """Best-LR; see the module's text."""

    def _design(self, log: InteractionLog) -> sparse.csr_array:
        in_all = earlier_answers(log, log.student)
        on_item = earlier_answers(log, log.student * len(log.item_names) + log.item)
        counts = columns(np.ones(len(log)), *np.log1p([*in_all, *on_item]))
        items = indicators(log.item, len(log.item_names))
        return sparse.hstack([counts, *_per_skill(log, np.log1p), items]).tocsr()
