"""The column layouts that are known, and how a layout is recognised from a file's header.

Names of columns are compared in a normal form, ``Anon Student Id`` = ``Anon.Student.Id`` =
``anon_student_id``, so that a layout is found after a trip through a spreadsheet or R, too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from tutor_envs.errors import unknown_name

FIELDS = (
    "student",
    "item",
    "skill",
    "correct",
    "order",
    "time",
    "gap",
    "rating",
    "response_time",
    "attempt",
)
"""What a column can be read as."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A column layout; all column names in normal form, the first that is there counts.

    Attributes:
        description: one line for people.
        signature: columns of which all must be there (alternatives in a tuple) to recognise it.
        columns: field -> columns it may stand in.
        skill_separator: between the skills of one row.
        skill_rows: several rows of one student with the same order and item are one answer, with
            one row for each skill.
        outcomes: graded answers in words; a value that is a number is read as such.
        study: words for a trial without a graded answer.
        same_item: columns that make up the name of an item together.
    """

    description: str
    signature: tuple[tuple[str, ...], ...]
    columns: Mapping[str, tuple[str, ...]]
    skill_separator: str = ";"
    skill_rows: bool = False
    outcomes: Mapping[str, float] = dataclasses.field(default_factory=dict)
    study: frozenset[str] = frozenset()
    same_item: tuple[str, ...] = ()


_OUTCOMES = {"correct": 1.0, "ok": 1.0, "incorrect": 0.0, "bug": 0.0, "hint": 0.0, "error": 0.0}
"""A request for a hint as the first attempt counts as not correct, as in DataShop."""
_CARD = ("card_id", "cid")
_RATING = ("review_rating", "rating", "ease", "button", "button_chosen")

LAYOUTS: dict[str, Layout] = {
    "tutor_sim": Layout(
        "student_id, order, timestamp or gap_seconds (s), skill_id (a;b), item_id, correct, rating",
        (("student_id",), ("item_id",), ("correct", "rating")),
        {
            "student": ("student_id",),
            "item": ("item_id",),
            "skill": ("skill_id",),
            "correct": ("correct",),
            "order": ("order",),
            "time": ("timestamp",),
            "gap": ("gap_seconds",),
            "rating": ("rating",),
            "response_time": ("rt_ms", "rt_s"),
        },
    ),
    "assistments": Layout(
        "ASSISTments 2009, 2012, 2015 and 2017",
        (
            ("user_id", "studentid"),
            ("problem_id", "problemid", "sequence_id"),
            ("correct",),
        ),
        {
            "student": ("user_id", "studentid"),
            "item": ("problem_id", "problemid", "sequence_id"),
            "skill": ("skill_id", "skill_name", "skill"),
            "correct": ("correct",),
            "order": ("order_id", "problem_log_id", "log_id", "action_num"),
            "time": ("start_time", "starttime"),
            "response_time": ("ms_first_response", "ms_first_response_time", "timetaken"),
        },
        skill_rows=True,
    ),
    "lkt": Layout(
        "LKT: Anon.Student.Id, CF..Time.., Outcome, KC..Default..",
        (("anon_student_id",), ("cf_time",), ("outcome", "cf_ansbin")),
        {
            "student": ("anon_student_id",),
            "item": ("step_name", "problem_name"),
            "skill": ("kc_default", "kc_"),
            "correct": ("outcome", "cf_ansbin"),
            "time": ("cf_time",),
            "response_time": ("duration_sec",),
        },
        skill_separator="~~",
        outcomes=_OUTCOMES,
        study=frozenset({"study"}),
        same_item=("kc_default", "cf_stimulus_version"),
    ),
    "datashop": Layout(
        "DataShop transactions, student steps and KDD Cup 2010",
        (("anon_student_id",), ("outcome", "first_attempt", "correct_first_attempt")),
        {
            "student": ("anon_student_id",),
            "item": ("step_name",),
            "skill": ("kc_default", "kc_"),
            "correct": ("outcome", "first_attempt", "correct_first_attempt"),
            "time": ("time", "first_transaction_time", "step_start_time"),
            "response_time": ("duration_sec", "step_duration_sec"),
            "attempt": ("attempt_at_step",),
        },
        skill_separator="~~",
        outcomes=_OUTCOMES,
        study=frozenset({"study"}),
        same_item=("problem_name", "step_name"),
    ),
    "anki": Layout(
        "Anki and FSRS review logs: card_id, time of review, rating 1 to 4",
        (_CARD, _RATING),
        {
            "student": ("user_id", "student_id"),
            "item": _CARD,
            "skill": ("deck_id", "deck"),
            "time": ("review_datetime", "review_time", "id"),
            "order": ("review_th",),
            "rating": _RATING,
            "response_time": ("review_duration", "duration", "time"),
        },
    ),
    "pykt": Layout(
        "pyKT: sequences as text blocks, or a csv of sequences",
        (("uid",), ("questions", "concepts"), ("responses",)),
        {name: (name,) for name in FIELDS},
        skill_separator="_",
        skill_rows=True,
    ),
}
"""Name -> layout, in the order in which they are tried."""

_MILLISECONDS = re.compile(r"(^|_)ms(_|$)")
_IN_MILLISECONDS = {
    ("anki", "time"),
    ("anki", "response_time"),
    ("pykt", "time"),
    ("pykt", "response_time"),
}
"""Columns of numbers whose unit is known from the layout and not from their name."""


def normal(column: str) -> str:
    """``Anon Student Id`` and ``Anon.Student.Id`` become ``anon_student_id``."""
    return re.sub(r"[^a-z0-9]+", "_", column.strip().lower()).strip("_")


def is_milliseconds(layout: str, field: str, column: str) -> bool:
    """Numbers in this column are milliseconds (else seconds)."""
    return (layout, field) in _IN_MILLISECONDS or bool(_MILLISECONDS.search(normal(column)))


def detect(header: Sequence[str]) -> str | None:
    """The first layout whose signature is in the header; None: no such layout."""
    names = {normal(column) for column in header}
    for layout_name, layout in LAYOUTS.items():
        if all(names.intersection(alternatives) for alternatives in layout.signature):
            return layout_name
    return None


def assign(
    layout: Layout | None, header: Sequence[str], mapping: Mapping[str, str]
) -> dict[str, list[int]]:
    """Which columns each field is read from, by index; a field may have several columns.

    Raises:
        ValueError: ``mapping`` names an unknown field or a column that is not in the file.
    """
    names = [normal(column) for column in header]
    chosen: dict[str, list[int]] = {}
    for field, candidates in (layout.columns if layout else {}).items():
        for candidate in candidates:
            found = [i for i, name in enumerate(names) if _matches(name, candidate)]
            if found:
                # DataShop repeats a column where a row has several skills under one model.
                chosen[field] = [i for i in found if names[i] == names[found[0]]]
                break
    if layout and layout.same_item and all(part in names for part in layout.same_item):
        chosen["item"] = [names.index(part) for part in layout.same_item]
    for field, column in mapping.items():
        if field not in FIELDS:
            raise ValueError(unknown_name("--map", field, FIELDS))
        exact = [i for i, name in enumerate(header) if name.strip() == column.strip()]
        found = exact or [i for i, name in enumerate(names) if name == normal(column)]
        if not found:
            raise ValueError(unknown_name("column", column, header))
        chosen[field] = found
    return chosen


def _matches(name: str, candidate: str) -> bool:
    """Equal; a candidate that ends in ``_`` is the start of any knowledge component's name."""
    if candidate.endswith("_"):
        return name.startswith(candidate) and not name.startswith("kc_category")
    return name == candidate
