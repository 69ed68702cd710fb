"""pyKT's files: a student's whole history in one record, its values joined by commas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tutor_sim.logs.cells import Cells, first_line

_FIELDS = ("student", "item", "skill", "correct", "time", "response_time", "order")
_LINES = 6
"""Lines of a student in a text file: id and length, then the five columns below."""
_COLUMNS = ("questions", "concepts", "responses", "timestamps", "usetimes")
_PADDING = "-1"

_Record = tuple[int, str, dict[str, list[str]]]


def read_sequences(data: bytes, format: str | None) -> tuple[list[str], Cells] | None:
    """Names of the columns and the cells; None: not a pyKT file.

    Raises:
        ValueError: ``format`` says that it is one, and it is not.
    """
    if format not in (None, "pykt"):
        return None
    start = first_line(data)
    head = [name.strip() for name in start.split(",")]
    if {"uid", "responses"} <= set(head) and {"questions", "concepts"} & set(head):
        records = _csv_records(data.decode())
    elif len(head) == 2 and head[1].isdigit():
        records = _text_records(data.decode().split("\n"))
    elif format == "pykt":
        raise ValueError(
            "a pyKT file must be blocks of six lines (id,length; questions; concepts; responses; "
            f"timestamps; usetimes) or a csv with uid and responses; it starts with {start!r}"
        )
    else:
        return None
    return list(_FIELDS), _cells(records)


def _split(text: str) -> list[str]:
    return [] if text.strip() in ("", "NA") else text.strip().split(",")


def _text_records(lines: list[str]) -> Iterator[_Record]:
    while lines and not lines[-1].strip():
        lines.pop()
    for start in range(0, len(lines), _LINES):
        block = lines[start : start + _LINES]
        columns = dict(zip(_COLUMNS, map(_split, block[1:]), strict=False))
        yield start + 1, block[0].rpartition(",")[0].strip(), columns


def _csv_records(text: str) -> Iterator[_Record]:
    reader = csv.DictReader(io.StringIO(text))
    for row in reader:
        columns = {name: _split(row.get(name) or "") for name in (*_COLUMNS, "is_repeat")}
        mask = _split(row.get("selectmasks") or "")
        if mask:
            keep = [value != _PADDING for value in mask]
            columns = {
                name: [v for v, k in zip(values, keep, strict=False) if k]
                for name, values in columns.items()
            }
        yield reader.line_num, row.get("uid") or "", columns


def _cells(records: Iterator[_Record]) -> Cells:
    flat: dict[str, list[str]] = {field: [] for field in _FIELDS}
    line: list[int] = []
    malformed: list[tuple[int, str]] = []
    position: dict[str, int] = {}
    for number, student, columns in records:
        n = len(columns.get("responses", []))
        lengths = {name: len(values) for name, values in columns.items() if values}
        if any(length != n for length in lengths.values()) or not n:
            found = ", ".join(f"{length} {name}" for name, length in lengths.items())
            malformed.append((number, f"a sequence of unequal lengths: {found or 'no values'}"))
            continue
        filled = {name: columns.get(name) or [""] * n for name in _COLUMNS}
        flat["student"] += [student] * n
        flat["item"] += filled["questions"] if columns.get("questions") else filled["concepts"]
        flat["skill"] += filled["concepts"] if columns.get("concepts") else filled["questions"]
        flat["correct"] += filled["responses"]
        flat["time"] += filled["timestamps"]
        flat["response_time"] += filled["usetimes"]
        # A row that repeats a question for its next skill has its predecessor's place.
        first = [value != "1" for value in columns.get("is_repeat") or ["0"] * n]
        places = position.get(student, 0) + np.cumsum(first)
        position[student] = int(places[-1])
        flat["order"] += [str(place) for place in places]
        line += [number] * n
    arrays = {i: pa.array(flat[field], pa.string()) for i, field in enumerate(_FIELDS)}
    return Cells(arrays, np.array(line, dtype=np.int64), malformed)
