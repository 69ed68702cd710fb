"""The checks of a log's rows, field by field: what is wrong where, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tutor_sim.logs.cells import Cells
from tutor_sim.logs.formats import Layout, is_milliseconds
from tutor_sim.logs.log import Floats, Ints
from tutor_sim.logs.parse import BLANKS, Bools, Numbers, numbers, outcomes, ratings, seconds, strip

_ITEM_PARTS = " / "
_THE_STUDENT = "0"
_NAMES = ("student", "item", "skill")
_GOOD = 1
"""Ratings above this one (again) are correct answers."""


@dataclasses.dataclass
class Draft:
    """The fields of rows, before they are sorted; strings are dictionary-encoded Arrow arrays.

    ``skill`` is None where each item is a skill of its own; ``order``, ``time`` and ``gap`` where
    the file says nothing about them.
    """

    student: Any
    item: Any
    skill: Any | None
    correct: Floats
    rating: Ints
    response_time: Floats
    order: Floats | None
    time: Floats | None
    gap: Floats | None
    line: Ints

    def take(self, index: Ints) -> Draft:
        """These rows, in this order."""
        rows = pa.array(index)
        return Draft(
            student=self.student.take(rows),
            item=self.item.take(rows),
            skill=None if self.skill is None else self.skill.take(rows),
            correct=self.correct[index],
            rating=self.rating[index],
            response_time=self.response_time[index],
            order=None if self.order is None else self.order[index],
            time=None if self.time is None else self.time[index],
            gap=None if self.gap is None else self.gap[index],
            line=self.line[index],
        )


class Rows:
    """Which rows of a file are still good, why others are not, and what else is worth saying."""

    def __init__(self, line: Ints) -> None:
        """All rows are good."""
        self.line = line
        self.good = np.ones(len(line), dtype=bool)
        self.bad: list[tuple[int, str, str]] = []
        self.notes: list[str] = []

    def reject(self, rows: Bools, kind: str, found: Callable[[int], str] | None = None) -> None:
        """These rows are bad, if they were good so far."""
        rows = rows & self.good
        self.bad += [
            (int(self.line[row]), kind, kind + (found(row) if found else ""))
            for row in np.flatnonzero(rows).tolist()
        ]
        self.good &= ~rows

    def add_bad(self, lines: Ints, kind: str) -> None:
        """Rows that turned out bad after they were taken out of the file's order."""
        self.bad += [(line, kind, kind) for line in lines.tolist()]

    def skip(self, rows: Bools, why: str) -> None:
        """These rows do not belong into the log, and that is no mistake."""
        if n := int((rows & self.good).sum()):
            self.notes.append(f"skipped {n:,} rows {why}")
        self.good &= ~rows

    def note(self, rows: Bools, what: str) -> None:
        """Say of how many of the good rows this is true."""
        if n := int((rows & self.good).sum()):
            self.notes.append(f"{n:,} rows {what}")


class _Source:
    """The fields of a file, by name."""

    def __init__(
        self,
        cells: Cells,
        columns: Mapping[str, list[int]],
        header: Sequence[str],
        layout: Layout,
        layout_name: str,
    ) -> None:
        self.cells, self.columns, self.header = cells, columns, header
        self.layout, self.layout_name = layout, layout_name
        self.n = len(cells.line)

    def name(self, field: str) -> str:
        return self.header[self.columns[field][0]]

    def text(self, field: str, separator: str = ";") -> Any:
        """The field's strings, null where blank; None: no such column, or all of it is blank."""
        # In our own files a name that looks like a word for "missing" is a name.
        ours = self.layout_name == "tutor_sim" and field in _NAMES
        blanks = ("",) if ours else BLANKS
        parts = [strip(self.cells.columns[i], blanks) for i in self.columns.get(field, [])]
        if len(parts) > 1:
            joined = pc.binary_join_element_wise(*parts, separator, null_handling="skip")
            parts = [strip(joined, blanks)]
        return parts[0] if parts and parts[0].null_count < self.n else None

    def got(self, field: str) -> Callable[[int], str]:
        """``, got 'x'`` for an error text."""
        column = self.cells.columns[self.columns[field][0]]
        return lambda row: f", got {column[row].as_py()!r}"

    def seconds(self, field: str) -> Numbers | None:
        """Numbers or dates as seconds."""
        column = self.text(field)
        if column is None:
            return None
        ms = is_milliseconds(self.layout_name, field, self.name(field))
        return seconds(column, milliseconds=ms)


def check(
    cells: Cells,
    columns: Mapping[str, list[int]],
    header: Sequence[str],
    layout: Layout,
    layout_name: str,
) -> tuple[Draft, Rows]:
    """Read every field of every row.

    Args:
        cells: of the file.
        columns: field -> indices of its columns.
        header: names of all columns.
        layout: how to read the values.
        layout_name: its name.

    Returns:
        The fields of all rows, and which of the rows are good.
    """
    source, rows = _Source(cells, columns, header, layout, layout_name), Rows(cells.line)
    student = _student(source, rows)
    item, skill = _item_and_skill(source, rows)
    correct, rating = _answers(source, rows)
    order, time, gap = _when(source, rows)
    _attempts(source, rows)
    response_time = _response_time(source, rows)
    draft = Draft(
        student=pc.dictionary_encode(student),
        item=pc.dictionary_encode(item),
        skill=None if skill is None else pc.dictionary_encode(skill),
        correct=correct,
        rating=rating,
        response_time=response_time,
        order=order,
        time=time,
        gap=gap,
        line=cells.line,
    )
    return draft, rows


def _null(column: Any) -> Bools:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False))


def _student(source: _Source, rows: Rows) -> Any:
    if "student" not in source.columns:
        rows.notes.append("no column for the student: taken as the log of one student")
        return pa.array([_THE_STUDENT] * source.n, pa.string())
    student = source.text("student")
    if student is None:
        student = pa.nulls(source.n, pa.string())
    rows.reject(_null(student), f"no student in `{source.name('student')}`")
    return student


def _item_and_skill(source: _Source, rows: Rows) -> tuple[Any, Any | None]:
    item = source.text("item", _ITEM_PARTS)
    skill = source.text("skill", source.layout.skill_separator)
    if item is None:
        item = pa.nulls(source.n, pa.string()) if skill is None else skill
        rows.notes.append("no items in the file: each skill is taken as one item")
        rows.reject(_null(item), "no item and no skill")
    else:
        rows.reject(_null(item), f"no item in `{source.name('item')}`")
    if skill is None:
        rows.notes.append("no skills in the file: each item is taken as a skill of its own")
        return item, None
    rows.note(_null(skill), "without a skill: they share the skill `(none)`")
    return item, skill


def _answers(source: _Source, rows: Rows) -> tuple[Floats, Ints]:
    rating = np.zeros(source.n)
    column = source.text("rating")
    if column is not None:
        rating, bad = ratings(column)
        rows.reject(bad, f"`{source.name('rating')}` must be 1 to 4", source.got("rating"))
        if source.layout_name == "anki":
            rows.reject(np.isnan(rating) & ~bad, f"no rating in `{source.name('rating')}`")
            rows.skip(rating == 0, "that are no reviews (rating 0)")
        rating = np.nan_to_num(rating)
    column = source.text("correct")
    if column is None:
        correct = np.where(rating > 0, (rating > _GOOD).astype(float), np.nan)
    else:
        layout = source.layout
        correct, bad = outcomes(column, layout.outcomes, layout.study)
        allowed = ", ".join(sorted({"0", "1"} | layout.outcomes.keys() | layout.study))
        kind = f"`{source.name('correct')}` must be {allowed} or blank"
        rows.reject(bad, kind, source.got("correct"))
    rows.note(np.isnan(correct), "without a graded answer (study trials)")
    return correct, rating.astype(np.int64)


def _when(source: _Source, rows: Rows) -> tuple[Floats | None, Floats | None, Floats | None]:
    order = None
    column = source.text("order")
    if column is not None:
        order, bad = numbers(column)
        kind = f"`{source.name('order')}` must be a number"
        rows.reject(bad | np.isnan(order), kind, source.got("order"))
    time = source.seconds("time")
    if time is not None:
        kind = f"`{source.name('time')}` must be a number or a date with time"
        blank = np.isnan(time.value) if order is None else np.zeros(source.n, dtype=bool)
        rows.reject(time.bad | blank, kind, source.got("time"))
        return order, time.value, None
    gap = source.seconds("gap")
    if gap is not None:
        bad = gap.bad | (gap.value < 0)
        kind = f"`{source.name('gap')}` must be a number of seconds >= 0"
        rows.reject(bad, kind, source.got("gap"))
        return order, None, gap.value
    if order is None:
        rows.notes.append("no order and no time in the file: taken in the order of its lines")
    return order, None, None


def _attempts(source: _Source, rows: Rows) -> None:
    column = source.text("attempt")
    if column is not None:
        rows.skip(numbers(column).value > 1, "that are later attempts at the same step")


def _response_time(source: _Source, rows: Rows) -> Floats:
    column = source.text("response_time")
    if column is None:
        return np.full(source.n, np.nan)
    ms = is_milliseconds(source.layout_name, "response_time", source.name("response_time"))
    value, bad = numbers(column)
    wrong = bad | (value < 0)
    rows.note(wrong, "whose response time is no number >= 0: taken as unknown")
    return np.where(wrong, np.nan, value / 1000 if ms else value)
