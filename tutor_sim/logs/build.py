"""From cells to an interaction log: checked rows are coded, put in order, and merged."""

from __future__ import annotations

import bisect
from typing import Any, NamedTuple

import numpy as np

from tutor_sim.logs.checks import Draft, Rows
from tutor_sim.logs.formats import Layout
from tutor_sim.logs.log import Floats, InteractionLog, Ints
from tutor_sim.logs.parse import Bools, codes, sorted_names

NO_SKILL = "(none)"
"""Name of the skill of rows without one, in a file that has skills."""


class Built(NamedTuple):
    """What came of a draft.

    Attributes:
        log: with the students' own ids as names.
        bad: ``(line, kind of mistake, reason)``.
        notes: sentences on what was merged, skipped or assumed.
    """

    log: InteractionLog
    bad: list[tuple[int, str, str]]
    notes: tuple[str, ...]


def build(draft: Draft, rows: Rows, layout: Layout) -> Built:
    """Sort the good rows of a checked file and give everything its code."""
    draft = draft.take(np.flatnonzero(rows.good))
    who = codes(draft.student)
    code = who.code
    by = draft.order if draft.order is not None else draft.time
    place = np.arange(len(code))
    index = np.lexsort((place, code) if by is None else (place, by, code))
    draft, code = draft.take(index), code[index]
    time = _since_start(draft, code)
    keep = _in_order(time, code)
    if not keep.all():
        rows.add_bad(draft.line[~keep], "the time goes back against `order`")
        draft, code, time = draft.take(np.flatnonzero(keep)), code[keep], time[keep]
    item = codes(draft.item)
    group = np.arange(len(code))
    if layout.skill_rows and draft.order is not None:
        group = _answers(code, draft.order, item.code)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    if n := len(group) - len(first):
        rows.notes.append(f"merged {n:,} rows that repeat an answer for its next skill")
    more_skills: dict[int, tuple[int, ...]] = {}
    skill, skill_names = item.code[first], item.names
    if draft.skill is not None:
        skill, more_skills, skill_names = _skills(draft.skill, layout.skill_separator, group)
    log = InteractionLog(
        student=code[first],
        item=item.code[first],
        skill=skill,
        more_skills=more_skills,
        correct=draft.correct[first],
        time_s=time[first],
        response_time_s=draft.response_time[first],
        rating=draft.rating[first],
        line=draft.line[first],
        student_names=who.names,
        item_names=item.names,
        skill_names=skill_names,
    )
    return Built(log, rows.bad, tuple(rows.notes))


def _starts(code: Ints) -> Ints:
    """First row of each student; ``code`` is sorted."""
    return np.flatnonzero(np.diff(code, prepend=-1))


def _since_start(draft: Draft, code: Ints) -> Floats:
    """Seconds since the student's first event, from times or from gaps; NaN where unknown."""
    if not len(code):
        return np.empty(0)
    starts = _starts(code)
    of_student = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(code)))
    if draft.time is not None:
        first: Floats = np.fmin.reduceat(draft.time, starts)
        return draft.time - first[of_student]
    if draft.gap is None:
        return np.full(len(code), np.nan)
    gap = np.nan_to_num(draft.gap)
    gap[starts] = 0
    total: Floats = gap.cumsum()
    since: Floats = total - total[starts][of_student]
    return since


def _in_order(time: Floats, code: Ints) -> Bools:
    """Rows to keep so that no student's time goes back; as many of them as possible."""
    keep = np.ones(len(time), dtype=bool)
    known = np.flatnonzero(~np.isnan(time))
    back = (np.diff(time[known]) < 0) & (np.diff(code[known]) == 0)
    for student in np.unique(code[known][1:][back]):
        rows = known[np.searchsorted(code[known], student) :]
        rows = rows[code[rows] == student]
        keep[rows] = False
        keep[rows[_longest_rise(time[rows])]] = True
    return keep


def _longest_rise(values: Floats) -> list[int]:
    """Indices of a longest non-decreasing subsequence (Schensted 1961), in O(n log n)."""
    ends: list[float] = []
    last: list[int] = []
    previous = [-1] * len(values)
    for i, value in enumerate(values.tolist()):
        place = bisect.bisect_right(ends, value)
        previous[i] = last[place - 1] if place else -1
        ends[place : place + 1] = [value]
        last[place : place + 1] = [i]
    chain = []
    i = last[-1] if last else -1
    while i >= 0:
        chain.append(i)
        i = previous[i]
    return chain[::-1]


def _answers(code: Ints, order: Floats, item: Ints) -> Ints:
    """For each row, a number that rows of one answer (same student, order and item) share."""
    new = (np.diff(code) != 0) | (np.diff(order) != 0) | (np.diff(item) != 0)
    return np.concatenate([[0], np.cumsum(new)]) if len(code) else np.empty(0, dtype=np.int64)


def _skills(
    column: Any, separator: str, group: Ints
) -> tuple[Ints, dict[int, tuple[int, ...]], tuple[str, ...]]:
    """First skill of each answer, all skills of answers with several, and the names."""
    texts = codes(column)
    index = texts.code
    lists = [*(_split(text, separator) for text in texts.names), (NO_SKILL,)]
    used = set(lists if (index < 0).any() else lists[:-1])
    names = sorted_names({name for each in used for name in each})
    number = {name: i for i, name in enumerate(names)}
    # Rows without a skill have the index -1: the last list.
    coded = [tuple(number.get(name, 0) for name in each) for each in lists]
    first_rows = np.flatnonzero(np.diff(group, prepend=-1))
    first = np.array([each[0] for each in coded], dtype=np.int64)[index[first_rows]]
    several = np.array([len(each) > 1 for each in coded])[index]
    several[1:] |= np.diff(group) == 0
    more: dict[int, tuple[int, ...]] = {}
    for row in np.flatnonzero(several):
        answer = int(group[row])
        have = more.get(answer) or coded[index[first_rows[answer]]]
        more[answer] = (*have, *(s for s in coded[index[row]] if s not in have))
    return first, {row: skills for row, skills in more.items() if len(skills) > 1}, names


def _split(text: str, separator: str) -> tuple[str, ...]:
    parts = dict.fromkeys(part.strip() for part in text.split(separator))
    return tuple(part for part in parts if part) or (NO_SKILL,)
