"""Predictors of graded repeats of an item, from the real time since its last exposure.

===================  ==========================================================================
repeat_mean          share correct of repeats
repeat_item_mean     the same for each item (ridge logistic regression)
hlr                  half-life regression (Settles & Meeder 2016, ACL), fitted by log-loss:
                     ``p = 2**(-gap / h)``, ``log2 h = w . (sqrt(1 + right), sqrt(1 + wrong), 1)``
hlr_item             the same with a weight for each item
power_law            ``logit p = w . (log(1 + gap), log(1 + right), log(1 + wrong), 1)``
dash_item            item + log(1 + gap) + log(1 + right), log(1 + wrong) in five time windows,
                     after DASH (Lindsey, Shroyer, Pashler & Mozer 2014, Psychological Science 25)
dash_item_student    the same + the student's share correct so far, on all items
===================  ==========================================================================

``right`` and ``wrong`` count the student's earlier graded answers on the item; study trials are
exposures, too. Exponential forgetting from ``p = 1`` has no slip and no guess: expect the log-loss
of ``hlr`` to be bad where its AUC is not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize, sparse, special

from tutor_sim.logs.log import Floats, InteractionLog, Ints
from tutor_sim.tracing.histories import earlier_sum
from tutor_sim.tracing.logistic import fit_logistic, indicators
from tutor_sim.tracing.logistic_predictors import Counts, columns, earlier_answers
from tutor_sim.tracing.predictors import Predictor

_DAY_S = 86400.0
_WINDOWS_S = (600.0, 3600.0, _DAY_S, 7 * _DAY_S)
"""Time windows of DASH; a last one holds everything. The shortest is for repeats in one session."""
_LOG2_HALF_LIFE = (-20.0, 13.0)
"""Half-lives in log2 days: from 0.1 s to 22 years."""
_RECALL = (1e-4, 1 - 1e-4)


def item_key(log: InteractionLog) -> Ints:
    """One number for each (student, item), ``(n,)``."""
    return log.student * len(log.item_names) + log.item


def gap_s(log: InteractionLog) -> Floats:
    """Seconds since the student's last exposure to the item, ``(n,)``; NaN at the first one.

    Raises:
        ValueError: a time is not known.
    """
    if np.isnan(log.time_s).any():
        line = log.line[np.isnan(log.time_s)][0]
        raise ValueError(
            f"`time_s` must be known in every row for memory models, not in line {line}"
        )
    key = item_key(log)
    order = np.argsort(key, kind="stable")
    again = np.diff(key[order], prepend=-1) == 0
    gap = np.empty(len(log))
    gap[order] = np.where(again, np.diff(log.time_s[order], prepend=0), np.nan)
    return gap


def graded_repeats(log: InteractionLog) -> np.ndarray:
    """Graded rows whose item the student met before, bool ``(n,)``."""
    return log.graded & (earlier_sum(item_key(log), np.ones(len(log))) > 0)


def recent_answers(log: InteractionLog, window_s: float) -> Counts:
    """Earlier right and wrong answers on the item at most ``window_s`` seconds ago."""
    group = np.unique(item_key(log), return_inverse=True)[1]
    order = np.lexsort((log.time_s, group))
    time = log.time_s - log.time_s.min()
    line = group * (2 * (time.max() + window_s)) + time  # a time axis with a stretch for each group
    oldest = np.searchsorted(line[order], line - window_s)
    place = np.empty(len(log), dtype=np.int64)
    place[order] = np.arange(len(log))

    def count(happened: Floats) -> Floats:
        before = np.concatenate([[0.0], np.cumsum(happened[order])])
        counts: Floats = before[place] - before[oldest]
        return counts

    right = count(np.nan_to_num(log.correct))
    return Counts(right, count(log.graded.astype(np.float64)) - right)


def _ones(log: InteractionLog) -> sparse.csr_array:
    return columns(np.ones(len(log)))


def _items(log: InteractionLog) -> sparse.csr_array:
    return indicators(log.item, len(log.item_names))


def _log_gap(log: InteractionLog) -> Floats:
    log_gap: Floats = np.log1p(np.nan_to_num(gap_s(log)))
    return log_gap


def _mean_design(log: InteractionLog) -> sparse.csr_array:
    return _ones(log)


def _item_design(log: InteractionLog) -> sparse.csr_array:
    return sparse.hstack([_ones(log), _items(log)]).tocsr()


def _power_law_design(log: InteractionLog) -> sparse.csr_array:
    counts = np.log1p(earlier_answers(log, item_key(log)))
    return columns(np.ones(len(log)), _log_gap(log), *counts)


def _dash_design(log: InteractionLog) -> sparse.csr_array:
    counts = [earlier_answers(log, item_key(log))]
    counts += [recent_answers(log, window_s) for window_s in _WINDOWS_S]
    logs = [np.log1p(c) for pair in counts for c in pair]
    return sparse.hstack([_ones(log), columns(_log_gap(log), *logs), _items(log)]).tocsr()


def _dash_student_design(log: InteractionLog) -> sparse.csr_array:
    right, wrong = earlier_answers(log, log.student)
    accuracy = (right + 1) / (right + wrong + 2)
    return sparse.hstack([_dash_design(log), columns(accuracy)]).tocsr()


class RepeatLogistic:
    """Ridge logistic regression on graded repeats; the design's first column is the intercept."""

    def __init__(self, design: Callable[[InteractionLog], sparse.csr_array]) -> None:
        self.design = design

    def fit(self, log: InteractionLog) -> None:
        """On the graded repeats; counts come from all rows."""
        repeats = np.flatnonzero(graded_repeats(log))
        design = self.design(log)[repeats]
        ridge = np.ones(design.shape[1])
        ridge[0] = 0
        self.weights = fit_logistic(design, log.correct[repeats], ridge)

    def predict(self, log: InteractionLog) -> Floats:
        """P(correct) of the graded repeats, NaN elsewhere."""
        return np.where(graded_repeats(log), special.expit(self.design(log) @ self.weights), np.nan)


class HalfLife:
    """Half-life regression fitted by log-loss with a ridge of 1; see the module's text."""

    def __init__(self, with_item: bool = False) -> None:
        self.with_item = with_item

    def _design(self, log: InteractionLog) -> sparse.csr_array:
        counts = earlier_answers(log, item_key(log))
        design = columns(*(np.sqrt(1 + c) for c in counts), np.ones(len(log)))
        return sparse.hstack([design, _items(log)]).tocsr() if self.with_item else design

    def fit(self, log: InteractionLog) -> None:
        """On the graded repeats; counts come from all rows."""
        repeats = np.flatnonzero(graded_repeats(log))
        design, correct = self._design(log)[repeats], log.correct[repeats]
        gap_days = gap_s(log)[repeats] / _DAY_S

        def loss(w: Floats) -> tuple[float, Floats]:
            log2_h = design @ w
            p = _recall(log2_h, gap_days)
            value = -np.log(np.where(correct == 1, p, 1 - p)).sum() + w @ w / 2
            inside = (p > _RECALL[0]) & (p < _RECALL[1])
            inside &= log2_h == np.clip(log2_h, *_LOG2_HALF_LIFE)
            # dp / dlog2_h = -p log(p) log(2)
            slope = (p - correct) / (1 - p) * -np.log(p) * np.log(2) * inside
            return float(value), design.T @ slope + w

        start = np.zeros(design.shape[1])
        self.weights: Floats = optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x

    def predict(self, log: InteractionLog) -> Floats:
        """P(recalled) of the graded repeats, NaN elsewhere."""
        p = _recall(self._design(log) @ self.weights, gap_s(log) / _DAY_S)
        return np.where(graded_repeats(log), p, np.nan)


def _recall(log2_half_life: Floats, gap_days: Floats) -> Floats:
    half_life = np.exp2(np.clip(log2_half_life, *_LOG2_HALF_LIFE))
    p: Floats = np.clip(np.exp2(-gap_days / half_life), *_RECALL)
    return p


MEMORY_PREDICTORS: dict[str, Callable[[], Predictor]] = {
    "repeat_mean": lambda: RepeatLogistic(_mean_design),
    "repeat_item_mean": lambda: RepeatLogistic(_item_design),
    "hlr": HalfLife,
    "hlr_item": lambda: HalfLife(with_item=True),
    "power_law": lambda: RepeatLogistic(_power_law_design),
    "dash_item": lambda: RepeatLogistic(_dash_design),
    "dash_item_student": lambda: RepeatLogistic(_dash_student_design),
}
"""Name -> a new predictor of graded repeats of an item; these need the time of every row."""
