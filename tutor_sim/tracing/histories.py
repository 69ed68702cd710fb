"""What a student did before each row of a log, and sequences laid out to be stepped in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from tutor_sim.logs.log import Floats, InteractionLog, Ints

Kc = Literal["skill", "item"]
"""What counts as one knowledge component."""


def with_kc(log: InteractionLog, kc: Kc) -> InteractionLog:
    """The log whose skills are its knowledge components: its skills, or its items.

    Raises:
        ValueError: ``kc`` is neither.
    """
    if kc == "skill":
        return log
    if kc != "item":
        raise ValueError(f"`kc` must be `skill` or `item`, got {kc!r}")
    return dataclasses.replace(log, skill=log.item, skill_names=log.item_names, more_skills={})


class RowSkills(NamedTuple):
    """The skills of the rows, one entry for each (row, skill), sorted by row.

    Attributes:
        row: ``(m,)`` row of the log.
        skill: ``(m,)`` skill code.
    """

    row: Ints
    skill: Ints


def row_skills(log: InteractionLog) -> RowSkills:
    """Every (row, skill) of a log; a row with several skills has several entries."""
    several = np.fromiter(log.more_skills, dtype=np.int64, count=len(log.more_skills))
    single = np.delete(np.arange(len(log)), several)
    sets = log.more_skills.values()
    row = np.concatenate([single, np.repeat(several, [len(s) for s in sets])])
    skill = np.concatenate([log.skill[single], np.array([k for s in sets for k in s], np.int64)])
    order = np.argsort(row, kind="stable")
    return RowSkills(row[order], skill[order])


def earlier_sum(key: Ints, value: Floats) -> Floats:
    """Sum of ``value`` over the earlier rows with the same ``key``, ``(n,)``.

    Exact where the values are whole numbers.
    """
    order = np.argsort(key, kind="stable")
    before = np.cumsum(value[order]) - value[order]
    is_first = np.diff(key[order], prepend=-1) != 0
    group = np.cumsum(is_first) - 1
    result = np.empty(len(key))
    result[order] = before - before[is_first][group]
    return result


class Sequences:
    """Rows grouped into sequences, laid out so that all sequences step together.

    Sequences are sorted by falling length; step t holds the t-th row of the first ``n_t`` of them,
    so nothing is padded::

        sequence 0   a0 a1 a2 a3        index = [a0 b0 c0 | a1 b1 c1 | a2 | a3]
        sequence 1   b0 b1              n_t   =     3          3       1    1
        sequence 2   c0 c1

    Attributes:
        index: ``(n,)`` rows in the order above.
        bounds: ``(T + 1,)`` where each step starts in ``index``.
        key: ``(n_sequences,)`` the key of each sequence.
    """

    def __init__(self, key: Ints) -> None:
        by_key = np.argsort(key, kind="stable")
        keys, length = np.unique(key, return_counts=True)
        start = np.cumsum(length) - length
        rank = np.empty(len(keys), dtype=np.int64)
        longest_first = np.argsort(-length, kind="stable")
        rank[longest_first] = np.arange(len(keys))
        step = np.arange(len(key)) - np.repeat(start, length)
        self.index: Ints = by_key[np.lexsort((np.repeat(rank, length), step))]
        self.bounds: Ints = np.concatenate([[0], np.cumsum(np.bincount(step))])
        self.key: Ints = keys[longest_first]

    def steps(self) -> Iterator[slice]:
        """Where each step lies in ``index``: the first ``n_t`` sequences have a row there."""
        return (slice(int(a), int(b)) for a, b in pairwise(self.bounds))
