"""``metrics.jsonl``: what TensorBoard shows as scalars, one JSON object for each row.

A row has ``updates_done`` and ``teaching_steps`` (teaching actions so far) and then tags of
:mod:`tutor_sim.tensorboard`; a number that is not finite is written as null. Apart from ``perf/``
tags, the rows of a run that was killed and resumed are those of an uninterrupted one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutor_sim.files import atomic_write, saving

Row = dict[str, Any]


class MetricsLog:
    """Appends rows to a metrics file."""

    def __init__(self, path: Path, *, keep_updates: int) -> None:
        """Open the file; rows of more than ``keep_updates`` updates are dropped (-1: all are).

        Raises:
            SaveError: the file cannot be written.
        """
        self._path = path
        kept = [row for row in read_metrics(path) if row["updates_done"] <= keep_updates]
        atomic_write(path, "".join(map(_line, kept)).encode())
        with saving(path):
            self._file = path.open("a", encoding="utf-8")

    def append(self, updates_done: int, teaching_steps: int, values: Mapping[str, float]) -> None:
        """Add a row.

        Raises:
            SaveError: it could not be written.
        """
        finite = {tag: value if math.isfinite(value) else None for tag, value in values.items()}
        with saving(self._path):
            self._file.write(
                _line({"updates_done": updates_done, "teaching_steps": teaching_steps} | finite)
            )
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics file in order; an unfinished last line of a killed run is left out."""
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines]
