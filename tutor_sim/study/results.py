"""The results of a study: all rows in one table, and for each population a summary.

====================  ==========================================================================
``results.parquet``   a row for every population, tutor, seed, student and lesson: the column
                      ``population``, then those of :mod:`tutor_sim.results`
``results.csv``       the same
``summary.json``      for each population what ``tutor-sim compare`` writes, and its notes
====================  ==========================================================================
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from tutor_sim.compare import Training, mean_cost
from tutor_sim.controls.run import Control
from tutor_sim.controls.shown import controls_from_json, controls_to_json
from tutor_sim.evaluation import Evaluation
from tutor_sim.files import atomic_write
from tutor_sim.metrics import read_metrics
from tutor_sim.results import to_table
from tutor_sim.study.cells import CONTROLS_FILE, Cell
from tutor_sim.study.config import Study
from tutor_sim.study.stored import load_evaluation
from tutor_sim.summary import Cost, Summary, summarise

RESULTS_FILE = "results.parquet"
CSV_FILE = "results.csv"
SUMMARY_FILE = "summary.json"


@dataclasses.dataclass(frozen=True)
class PopulationResult:
    """What the cells of one population say together.

    Attributes:
        evaluations: one for each tutor and seed.
        summary: their statistics.
        notes: what could not be done, and why.
        controls: null controls of learned and third parties' tutors.
    """

    evaluations: tuple[Evaluation, ...]
    summary: Summary
    notes: tuple[str, ...]
    controls: tuple[Control, ...] = ()


def summarise_cells(study: Study, population: str, cells: Sequence[Cell]) -> PopulationResult:
    """Read the finished cells of one population and compare its tutors.

    Args:
        study: the study.
        population: its name.
        cells: all of it.

    Raises:
        ValueError: no tutor is left, or a result is damaged.
    """
    left_out = {cell: cell.left_out for cell in cells}
    finished = [cell for cell, reason in left_out.items() if not reason]
    reasons = [f"{c.tutor} is left out: {reason}" for c, reason in left_out.items() if reason]
    if not finished:
        raise ValueError(f"population `{population}` has no tutor: {reasons[0]}")
    evaluations = tuple(_labelled(cell) for cell in finished)
    summary = summarise(
        evaluations,
        exact=study.populations[population].reference_values,
        costs=_costs(finished),
        discount=study.evaluation.discount,
    )
    controls = tuple(control for cell in finished for control in _controls(cell))
    return PopulationResult(evaluations, summary, tuple(dict.fromkeys(reasons)), controls)


def _controls(cell: Cell) -> list[Control]:
    path = cell.folder / CONTROLS_FILE
    if not path.is_file():
        return []
    try:
        return controls_from_json(json.loads(path.read_bytes()), f"{cell.tutor}-{cell.seed}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _labelled(cell: Cell) -> Evaluation:
    """A learned tutor is called as the study calls its learner."""
    evaluation = load_evaluation(cell.result, cell.experiment)
    if cell.experiment.learner is None:
        return evaluation
    return dataclasses.replace(evaluation, tutor=cell.tutor)


def _costs(cells: Sequence[Cell]) -> dict[str, Cost]:
    """Learned tutor -> what its training took, mean over seeds."""
    found: dict[str, list[Training]] = {}
    for cell in cells:
        if cell.experiment.learner is not None:
            last = read_metrics(cell.folder / "metrics.jsonl")[-1]
            training = Training(
                (), last["teaching_steps"], last["perf/elapsed_s"], last["perf/cpu_s"]
            )
            found.setdefault(cell.tutor, []).append(training)
    return {tutor: mean_cost(trainings) for tutor, trainings in found.items()}


def write_study_results(folder: Path, results: Mapping[str, PopulationResult]) -> None:
    """Write all rows and the summaries, each file whole or not at all.

    Args:
        folder: the study's.
        results: by population.

    Raises:
        SaveError: a file could not be written.
    """
    parts = {name: to_table(result.evaluations) for name, result in results.items()}
    about = {name: json.loads(part.schema.metadata[b"tutor_sim"]) for name, part in parts.items()}
    table = pa.concat_tables(
        [
            part.add_column(0, "population", pa.array([name] * len(part), pa.string()))
            for name, part in parts.items()
        ]
    ).replace_schema_metadata({b"tutor_sim_study": json.dumps(about).encode()})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    atomic_write(folder / RESULTS_FILE, buffer.getvalue())
    buffer = io.BytesIO()
    csv.write_csv(table, buffer)
    atomic_write(folder / CSV_FILE, buffer.getvalue())
    summaries = {
        name: result.summary.to_json()
        | {"null_controls": controls_to_json(result.controls), "notes": list(result.notes)}
        for name, result in results.items()
    }
    text = json.dumps({"format": 1, "populations": summaries}, indent=2, allow_nan=False) + "\n"
    atomic_write(folder / SUMMARY_FILE, text.encode())
