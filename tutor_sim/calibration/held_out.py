"""Cross-validation by student of a fitted model, with the folds and scores of the predictors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tutor_sim.calibration.mixed import Floats
from tutor_sim.calibration.result import HeldOut, Job
from tutor_sim.logs.log import InteractionLog, folds
from tutor_sim.tracing.cross_validation import cross_validate, score

N_FOLDS = 5
HOW = f"{N_FOLDS}-fold by student, each answer from the student's own earlier ones"

Bools = NDArray[np.bool_]
Predict = Callable[[Bools, Bools], Floats]
"""Fit the rows of the first mask; P(correct) of the rows of the second."""


def by_student(job: Job, name: str, predict: Predict, counted: Bools | None = None) -> HeldOut:
    """Score of a model that is fitted to four fifths of the students at a time.

    Args:
        job: the log, and who hears of the progress.
        name: of the model.
        predict: fits and predicts, given masks of the log's rows.
        counted: rows that are scored; default all graded ones.
    """
    log = job.log
    fold = folds(log.n_students, N_FOLDS)[log.student]
    p = np.full(len(log), np.nan)
    for k in range(N_FOLDS):
        job.tell(f"{name}: held-out students", k / N_FOLDS)
        test = fold == k
        if test.any() and log.graded[~test].any():
            p[test] = predict(~test, test)
    job.tell(f"{name}: held-out students", 1.0)
    keep = log.graded & ~np.isnan(p) & (True if counted is None else counted)
    return scored(name, p, log.correct, keep)


def scored(name: str, p: Floats, correct: Floats, keep: Bools) -> HeldOut:
    """Scores of given predictions."""
    found = score(p[keep], correct[keep])
    return HeldOut(name, found.auc, found.log_loss, int(keep.sum()))


def of_predictor(job: Job, predictor: str, label: str) -> HeldOut:
    """Score of a predictor of :mod:`tutor_sim.tracing` under the same protocol."""
    job.tell(f"{label}: held-out students", 0.0)
    found = cross_validate(job.log, predictor, n_folds=N_FOLDS)
    job.tell(f"{label}: held-out students", 1.0)
    return HeldOut(label, found.auc, found.log_loss, found.n)


def enough_students(log: InteractionLog) -> bool:
    """There is a student for every fold."""
    return log.n_students >= N_FOLDS
