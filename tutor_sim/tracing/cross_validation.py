"""How well predictors do on students they were not fitted on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tutor_envs.errors import unknown_name
from tutor_sim.logs.log import Floats, InteractionLog, folds
from tutor_sim.tracing.histories import Kc, with_kc
from tutor_sim.tracing.memory import MEMORY_PREDICTORS
from tutor_sim.tracing.metrics import auc, log_loss, rmse
from tutor_sim.tracing.predictors import PREDICTORS


class Scores(NamedTuple):
    """Scores of predictions, pooled over rows.

    Attributes:
        auc: area under the ROC curve.
        log_loss: mean, in nats.
        rmse: root mean squared error.
        n: scored rows.
        fold_auc_sd: SD of the folds' AUCs (ddof 1); NaN where there are no folds.
    """

    auc: float
    log_loss: float
    rmse: float
    n: int
    fold_auc_sd: float


def score(p: Floats, correct: Floats) -> Scores:
    """Scores of predictions; rows where ``p`` or ``correct`` is NaN are left out."""
    rows = ~(np.isnan(p) | np.isnan(correct))
    p, correct = p[rows], correct[rows]
    if not len(p):
        return Scores(np.nan, np.nan, np.nan, 0, np.nan)
    return Scores(auc(p, correct), log_loss(p, correct), rmse(p, correct), len(p), np.nan)


def held_out_predictions(
    log: InteractionLog, name: str, *, kc: Kc = "skill", n_folds: int = 5, seed: int = 0
) -> Floats:
    """P(correct) of every graded row, by a predictor fitted on the other folds' students.

    Args:
        log: with graded rows of at least ``n_folds`` students.
        name: a key of ``PREDICTORS`` or ``MEMORY_PREDICTORS``.
        kc: what is one knowledge component: the log's skills, or its items.
        n_folds: number of folds, >= 2.
        seed: of the folds; see :func:`tutor_sim.logs.log.folds`.

    Returns:
        ``(len(log),)``; NaN at rows without a grade and where the predictor does not apply.

    Raises:
        ValueError: no such predictor, or too few students.
    """
    predictors = PREDICTORS | MEMORY_PREDICTORS
    if name not in predictors:
        raise ValueError(unknown_name("predictor", name, predictors))
    log = with_kc(log, kc)
    fold = folds(log.n_students, n_folds, seed)[log.student]
    if n_folds < 2 or len(np.unique(fold[log.graded])) < n_folds:
        raise ValueError(
            f"{n_folds} folds need at least two folds and graded answers of students in each, got "
            f"{len(np.unique(log.student[log.graded]))} students with graded answers"
        )
    result = np.full(len(log), np.nan)
    for held_out in range(n_folds):
        predictor = predictors[name]()
        predictor.fit(log.rows(np.flatnonzero(fold != held_out)))
        rows = np.flatnonzero(fold == held_out)
        result[rows] = predictor.predict(log.rows(rows))
    return np.where(log.graded, result, np.nan)


def cross_validate(
    log: InteractionLog, name: str, *, kc: Kc = "skill", n_folds: int = 5, seed: int = 0
) -> Scores:
    """Scores of :func:`held_out_predictions` (see there), pooled over all held-out rows."""
    p = held_out_predictions(log, name, kc=kc, n_folds=n_folds, seed=seed)
    fold = folds(log.n_students, n_folds, seed)[log.student]
    of_folds = [score(p[fold == k], log.correct[fold == k]).auc for k in range(n_folds)]
    return score(p, log.correct)._replace(fold_auc_sd=float(np.std(of_folds, ddof=1)))
