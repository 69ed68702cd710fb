"""What is compared between a real and a simulated log: each statistic a number with a name.

* **learning curve**: share correct at the 1st, 2nd, 3rd ... meeting with an item (or skill);
* **forgetting**: share correct at a later meeting, by the time since the last one and by the
  number of correct answers before;
* **learners**: mean, standard deviation and quantiles of the students' shares correct;
* **sessions**: rows per session; a pause of half an hour ends one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from tutor_sim.logs.log import Floats, InteractionLog, Ints
from tutor_sim.tracing.histories import Kc, earlier_sum, with_kc

Group = Literal["learning curve", "forgetting", "learners", "sessions", "predictors"]

N_OPPORTUNITIES = 10
GAP_EDGES_S = (0.0, 60.0, 600.0, 3600.0, 0.8 * 86400, 2 * 86400, 7 * 86400, 30 * 86400, np.inf)
GAP_NAMES = ("< 1 min", "1-10 min", "10-60 min", "1-19 h", "1-2 d", "2-7 d", "7-30 d", "> 30 d")
SUCCESS_NAMES = ("0", "1", "2", "3+")
"""Correct answers before; more than three are taken together."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SESSION_BREAK_S = 1800.0
_MIN_ROWS = 100
"""Graded rows that a share needs."""
_MIN_STUDENT_ROWS = 10
"""Graded rows from which on a student's share correct is counted."""
_REPEAT_SHARE = 0.25
"""Share of rows that repeat an item, from which on items are what is learned."""


class Key(NamedTuple):
    """Which statistic: its group, and its name there."""

    group: Group
    name: str


class Value(NamedTuple):
    """A statistic of one log: its value, and the rows (or students, or sessions) behind it."""

    value: float
    n: int


Statistics = Mapping[Key, Value]


def natural_kc(log: InteractionLog) -> Kc:
    """What is met again and again: items, or else the skills."""
    pairs = np.unique(log.student * (len(log.item_names) + 1) + log.item)
    return "item" if len(pairs) <= (1 - _REPEAT_SHARE) * len(log) else "skill"


def statistics(log: InteractionLog, kc: Kc) -> dict[Key, Value]:
    """Learning curve, forgetting, learners and sessions of a log.

    Args:
        log: of real or simulated students.
        kc: whether meetings with items or with skills are counted.
    """
    met = _Meetings(with_kc(log, kc))
    return {
        **_learning_curve(log, met),
        **_forgetting(log, met),
        **_learners(log),
        **_sessions(log),
    }


class _Meetings:
    """For each row: earlier meetings with the same item, correct answers there, and the pause."""

    def __init__(self, log: InteractionLog) -> None:
        key = log.student * (len(log.skill_names) + 1) + log.skill
        self.before: Ints = earlier_sum(key, np.ones(len(key))).astype(np.int64)
        self.successes: Ints = earlier_sum(key, np.nan_to_num(log.correct)).astype(np.int64)
        order = np.argsort(key, kind="stable")
        pause = np.full(len(key), np.nan)
        pause[order] = np.diff(log.time_s[order], prepend=np.nan)
        self.pause_s: Floats = np.where(self.before > 0, pause, np.nan)


def _learning_curve(log: InteractionLog, met: _Meetings) -> dict[Key, Value]:
    return _shares(
        "learning curve",
        [f"meeting {k + 1}" for k in range(N_OPPORTUNITIES)],
        log.correct,
        np.where(log.graded & (met.before < N_OPPORTUNITIES), met.before, -1),
    )


def _forgetting(log: InteractionLog, met: _Meetings) -> dict[Key, Value]:
    successes = np.minimum(met.successes, len(SUCCESS_NAMES) - 1)
    gap = np.digitize(met.pause_s, GAP_EDGES_S[1:-1])
    cell = successes * len(GAP_NAMES) + gap
    names = [forgetting_name(right, gap) for right in SUCCESS_NAMES for gap in GAP_NAMES]
    known = log.graded & ~np.isnan(met.pause_s)
    return _shares("forgetting", names, log.correct, np.where(known, cell, -1))


def forgetting_name(successes: str, gap: str) -> str:
    """Name of the share correct after so many correct answers and such a pause."""
    return f"{successes} correct before, {gap}"


def _shares(group: Group, names: list[str], correct: Floats, cell: Ints) -> dict[Key, Value]:
    """Share correct in each cell with enough rows; -1 is no cell."""
    used = cell >= 0
    n = np.bincount(cell[used], minlength=len(names))
    right = np.bincount(cell[used], weights=correct[used], minlength=len(names))
    return {
        Key(group, name): Value(float(right[i] / n[i]), int(n[i]))
        for i, name in enumerate(names)
        if n[i] >= _MIN_ROWS
    }


def student_shares(log: InteractionLog) -> Floats:
    """Share correct of each student with enough graded rows."""
    graded = log.graded
    n = np.bincount(log.student[graded], minlength=log.n_students)
    right = np.bincount(log.student[graded], weights=log.correct[graded], minlength=log.n_students)
    enough = n >= _MIN_STUDENT_ROWS
    return np.asarray(right[enough] / n[enough])


def _learners(log: InteractionLog) -> dict[Key, Value]:
    shares = student_shares(log)
    if len(shares) < 2:
        return {}
    values = {"mean share correct": shares.mean(), "SD of share correct": shares.std()}
    for q in QUANTILES:
        values[f"{q:.0%} quantile"] = np.quantile(shares, q)
    return {Key("learners", name): Value(float(v), len(shares)) for name, v in values.items()}


def _sessions(log: InteractionLog) -> dict[Key, Value]:
    if np.isnan(log.time_s).any() or not len(log):
        return {}
    pause = np.diff(log.time_s, prepend=np.nan)
    new = (np.diff(log.student, prepend=-1) != 0) | (pause > SESSION_BREAK_S)
    lengths = np.diff(np.flatnonzero(new), append=len(log))
    values = {f"rows per session, {q:.0%} quantile": np.quantile(lengths, q) for q in QUANTILES}
    return {Key("sessions", name): Value(float(v), len(lengths)) for name, v in values.items()}
