"""Results on disk: one row per tutor (x training seed) x student x lesson in a Parquet file.

=====================  =======  ====================================================================
column                 type     meaning
=====================  =======  ====================================================================
tutor                  string   name of the tutor
role                   string   learned, baseline, optimum or oracle (which reads what is hidden)
student                int64    index of the student; the same index is the same student
type                   string   name of the student's type in the population
lesson                 int32    lesson of the trial; 1 is the first
score                  float64  the lesson's score, times the task's ``reward.scale``
post_test_start        float32  expected post-test score in [0, 1] before the first action
post_test_end          float32  the same after the last action
mastery_start          float32  mean mastery of the skills in [0, 1] before the first action
mastery_end            float32  the same after the last action
training_seed          uint64   which of several trainings, in a study the cell's seed; null: not
                                trained, or once
=====================  =======  ====================================================================

Post-tests and mastery are hidden from tutors. The file's metadata ``tutor_sim`` is JSON: format
version, population, task, seed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from tutor_sim.evaluation import Evaluation
from tutor_sim.files import atomic_write
from tutor_sim.summary import Summary

FORMAT = 1
"""Version of the columns; another meaning is another number."""
_METADATA_KEY = b"tutor_sim"


def to_table(evaluations: Sequence[Evaluation]) -> pa.Table:
    """Every tutor's lessons as rows; see the module for the columns.

    Raises:
        ValueError: there are no evaluations.
    """
    if not evaluations:
        raise ValueError("`evaluations` must hold at least one evaluation, got none.")
    first = evaluations[0]
    about = {
        "format": FORMAT,
        "population": first.population.name,
        "task": first.task.model_dump(mode="json"),
        "seed": first.seed,
    }
    table = pa.concat_tables([_rows(evaluation) for evaluation in evaluations])
    return table.replace_schema_metadata({_METADATA_KEY: json.dumps(about).encode()})


def _rows(evaluation: Evaluation) -> pa.Table:
    n_students, n_lessons = evaluation.scores.shape
    n_rows = n_students * n_lessons

    def each_student(values: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(values, n_lessons)

    def constant(text: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(np.zeros(n_rows, np.int32), [text]).cast(pa.string())

    types = pa.DictionaryArray.from_arrays(
        each_student(evaluation.types.astype(np.int32)), list(evaluation.population.type_names)
    )
    columns = {
        "tutor": constant(evaluation.tutor),
        "role": constant(str(evaluation.role)),
        "student": each_student(evaluation.students),
        "type": types.cast(pa.string()),
        "lesson": np.tile(np.arange(1, n_lessons + 1, dtype=np.int32), n_students),
        "score": evaluation.scores.ravel(),
    }
    for name, values in (("post_test", evaluation.post_test), ("mastery", evaluation.mastery)):
        columns[f"{name}_start"] = values[:, 0].T.ravel()
        columns[f"{name}_end"] = values[:, -1].T.ravel()
    columns["training_seed"] = pa.array([evaluation.training_seed] * n_rows, pa.uint64())
    return pa.table(columns)


def write_results(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write every tutor's lessons to a Parquet file, whole or not at all."""
    buffer = io.BytesIO()
    parquet.write_table(to_table(evaluations), buffer, compression="zstd")
    atomic_write(path, buffer.getvalue())


def read_results(path: Path) -> pa.Table:
    """A results file as a table.

    Raises:
        ValueError: not a results file of this format (the text names the file).
        OSError: the file cannot be read.
    """
    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from error
    metadata = (table.schema.metadata or {}).get(_METADATA_KEY)
    found = json.loads(metadata).get("format") if metadata else None
    if found != FORMAT:
        raise ValueError(f"{path}: results must have `format` {FORMAT}, got {found}")
    return table


def scores_by_tutor(table: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Tutor -> scores ``(n, K)``, students in increasing order of index, lessons in order.

    Of a tutor that was trained with S seeds ``(S n, K)``, seed after seed.
    """
    keys = ("tutor", "training_seed", "student", "lesson")
    order = [(key, "ascending") for key in keys if key in table.column_names]
    table = table.sort_by(order)
    tutors = table["tutor"].to_numpy()
    lessons = table["lesson"].to_numpy()
    scores = table["score"].to_numpy()
    n_lessons = int(lessons.max())
    return {
        str(tutor): scores[tutors == tutor].reshape(-1, n_lessons)
        for tutor in dict.fromkeys(tutors.tolist())
    }


def write_summary(path: Path, summary: Summary, more: Mapping[str, Any] | None = None) -> None:
    """Write the summary, and ``more`` keys beside its own, as JSON, whole or not at all."""
    content = summary.to_json() | dict(more or {})
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    atomic_write(path, text.encode())
