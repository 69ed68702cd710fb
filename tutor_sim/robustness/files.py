"""``robustness.json`` and ``robustness.csv``: the lines as data.

The CSV file has a row for each learned tutor and population; an estimate is three columns, such as
``drop``, ``drop_low`` and ``drop_high``; what is undefined is empty. The JSON file has the same
lines, and all tutors of each population as in ``summary.json``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

from tutor_sim.files import atomic_write
from tutor_sim.robustness.teaching import Line, Robustness
from tutor_sim.statistics import Estimate

FORMAT = 1
JSON_FILE = "robustness.json"
CSV_FILE = "robustness.csv"


def write_files(folder: Path, found: Robustness) -> None:
    """Write both files, each whole or not at all.

    Raises:
        SaveError: one cannot be written.
    """
    text = json.dumps(_content(found), indent=2, allow_nan=False) + "\n"
    atomic_write(folder / JSON_FILE, text.encode())
    atomic_write(folder / CSV_FILE, _csv(found).encode())


def _content(found: Robustness) -> dict[str, Any]:
    experiment = found.experiment
    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "home": experiment.population.name,
        "n_students": found.n_students,
        "seed": experiment.evaluation.seed,
        "task": experiment.task.model_dump(mode="json"),
        "lines": [_plain(line) for line in found.lines],
        "populations": {
            place.name: summary.to_json()
            for place, summary in zip(found.places, found.summaries, strict=True)
        },
        "left_out": [one._asdict() for one in found.left_out],
        "notes": list(found.notes),
    }


def _plain(line: Line) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "population": line.place.name,
        "kind": line.place.kind,
        "meaning": line.place.meaning,
    }
    for field in dataclasses.fields(line)[1:]:
        value = getattr(line, field.name)
        plain[field.name] = _numbers(value) if isinstance(value, Estimate) else value
    return plain


def _numbers(estimate: Estimate) -> dict[str, Any]:
    numbers = dict(zip(("value", "low", "high"), map(_finite, estimate[:3]), strict=True))
    return numbers | ({"reason": estimate.reason} if estimate.reason else {})


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _csv(found: Robustness) -> str:
    rows = []
    for line in found.lines:
        row: dict[str, Any] = {}
        for name, value in _plain(line).items():
            if isinstance(value, dict):
                row |= {name: value["value"]}
                row |= {f"{name}_{end}": value[end] for end in ("low", "high")}
            else:
                row[name] = value
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
