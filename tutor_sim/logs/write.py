"""Writing an interaction log in our own schema, which :func:`read_log` reads back."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tutor_sim.files import atomic_write
from tutor_sim.logs.log import Floats, InteractionLog, Ints

SKILL_SEPARATOR = ";"
_MS_PER_S = 1000


def write_log(log: InteractionLog, path: str | Path) -> None:
    """Write a log as CSV, gzipped if the name ends in ``.gz``; whole or not at all.

    Columns: ``student_id`` (the code), ``order`` (within the student), ``timestamp`` (s),
    ``skill_id`` (joined by ``;``), ``item_id``, ``correct``, ``rating``, ``rt_ms``. Blank: unknown.

    Raises:
        ValueError: the name of a skill holds a ``;``.
        SaveError: the file cannot be written.
    """
    path = Path(path)
    for name in log.skill_names:
        if SKILL_SEPARATOR in name:
            raise ValueError(f"names of skills must not hold {SKILL_SEPARATOR!r}, got {name!r}")
    new = np.diff(log.student, prepend=-1) != 0
    starts = np.flatnonzero(new)
    order = np.arange(len(log)) - starts[np.cumsum(new) - 1] if len(log) else log.student
    skills = _named(log.skill_names, log.skill)
    for row, several in log.more_skills.items():
        skills[row] = SKILL_SEPARATOR.join(log.skill_names[skill] for skill in several)
    table = pa.table(
        {
            "student_id": log.student,
            "order": order,
            "timestamp": _blank_nan(log.time_s),
            "skill_id": pa.array(skills.tolist(), pa.string()),
            "item_id": pa.array(_named(log.item_names, log.item).tolist(), pa.string()),
            "correct": _blank_nan(log.correct).cast(pa.int64()),
            "rating": pa.array(log.rating, mask=log.rating == 0),
            "rt_ms": _blank_nan(log.response_time_s * _MS_PER_S),
        }
    )
    buffer = io.BytesIO()
    buffer.write((",".join(table.column_names) + "\n").encode())
    options = pa.csv.WriteOptions(include_header=False, quoting_style="needed")
    pa.csv.write_csv(table, buffer, write_options=options)
    data = buffer.getvalue()
    # The time of packing is left out, so that equal logs give equal files.
    atomic_write(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _named(names: tuple[str, ...], code: Ints) -> Any:
    return np.array(names, dtype=object)[code] if names else np.empty(0, dtype=object)


def _blank_nan(values: Floats) -> Any:
    return pa.array(values, mask=np.isnan(values))
