"""What a student had done before each answer, from the rows of a log."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tutor_sim.calibration.mixed import Floats, Ints
from tutor_sim.logs.log import InteractionLog

SECONDS_PER_DAY = 86400.0
_CANDIDATE_WINDOWS = (1 / 24, 1.0, 7.0, 30.0)
_MIN_SHARE = 0.05
_SESSION_BREAK_S = 1800.0


class Counts(NamedTuple):
    """Before each row, on the same skill by the same student, ``(n,)`` each.

    Attributes:
        exposures: rows, study trials included.
        successes: correct answers.
        failures: wrong answers.
    """

    exposures: Floats
    successes: Floats
    failures: Floats


def _groups(log: InteractionLog) -> tuple[Ints, Ints]:
    """Rows sorted by (student, skill), time kept, and where each such sequence starts."""
    key = log.student * len(log.skill_names) + log.skill
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    return order, starts


def counts_before(log: InteractionLog) -> Counts:
    """Exposures, successes and failures before each row."""
    order, starts = _groups(log)
    lengths = np.diff(starts, append=len(order))

    def before(what: Floats) -> Floats:
        total = np.cumsum(what[order]) - what[order]
        result = np.empty(len(order))
        result[order] = total - np.repeat(total[starts], lengths)
        return result

    correct = np.nan_to_num(log.correct)
    wrong = np.where(log.graded, 1 - correct, 0)
    return Counts(before(np.ones(len(log))), before(correct), before(wrong))


def window_counts(log: InteractionLog) -> tuple[tuple[float, ...], Floats, Floats]:
    """Successes and reviews of the item within each time window before each row.

    Windows (days) that hardly ever differ from the next longer one cannot be told apart and are
    left out; the last one is infinite.

    Returns:
        The W windows, and the counts of successes and of reviews, ``(n, W)`` each.
    """
    windows = (*_CANDIDATE_WINDOWS, np.inf)
    order, starts = _groups(log)
    days = log.time_s / SECONDS_PER_DAY
    correct = np.nan_to_num(log.correct)
    successes = np.zeros((len(log), len(windows)))
    reviews = np.zeros_like(successes)
    for rows in np.split(order, starts[1:]):
        time, place = days[rows], np.arange(len(rows))
        total = np.concatenate([[0.0], np.cumsum(correct[rows])])
        for column, window in enumerate(windows):
            first = np.searchsorted(time, time - window, side="left")
            reviews[rows, column] = place - np.minimum(first, place)
            successes[rows, column] = total[place] - total[np.minimum(first, place)]
    repeats = max((reviews[:, -1] > 0).sum(), 1)
    kept = [len(windows) - 1]
    for column in reversed(range(len(windows) - 1)):
        differing = (reviews[:, column] != reviews[:, kept[0]]).sum() / repeats
        if differing >= _MIN_SHARE and (reviews[:, column] > 0).sum() / repeats >= _MIN_SHARE:
            kept.insert(0, column)
    return tuple(float(windows[c]) for c in kept), successes[:, kept], reviews[:, kept]


def step_seconds(log: InteractionLog) -> float | None:
    """Median seconds from one row of a student to the next within a session; None: no times."""
    same = log.student[1:] == log.student[:-1]
    gap = np.diff(log.time_s)[same]
    gap = gap[(gap > 0) & (gap < _SESSION_BREAK_S)]
    return float(np.median(gap)) if len(gap) else None


def rare_skills(log: InteractionLog, fewer_than: int = 20) -> int:
    """Skills with so few graded answers."""
    answers = np.bincount(log.skill[log.graded], minlength=len(log.skill_names))
    return int((answers < fewer_than).sum())
