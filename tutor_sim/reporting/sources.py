"""Reads run folders, folders of evaluations and study folders into one form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from pyarrow.compute import field

from tutor_sim.adapting import SUFFIX
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Role
from tutor_sim.results import read_results
from tutor_sim.runs import Run
from tutor_sim.study.config import Study, tutor_label
from tutor_sim.study.files import load_study
from tutor_sim.study.results import RESULTS_FILE, SUMMARY_FILE

_STUDY_KEY = b"tutor_sim_study"
_ROW_ORDER = [(key, "ascending") for key in ("tutor", "training_seed", "student", "lesson")]


@dataclasses.dataclass(frozen=True, eq=False)
class Teaching:
    """One tutor of one seed with the students of one population.

    Attributes:
        tutor: its name.
        role: what it is in a comparison.
        seed: of its training, or of what it prepared.
        scores: float64 ``(n, K)``.
        settings: what the tutor is made by, as JSON: two tutors of one name and other settings are
            two tutors.
    """

    tutor: str
    role: Role
    seed: int
    scores: NDArray[np.float64]
    settings: str


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """What a source says of one population.

    Attributes:
        population: its name there.
        definition: the population as JSON; None: not known, only its name is.
        task: as scored.
        seed: of the students and their luck.
        students: int64 ``(n,)`` indices.
        teachings: of every tutor and seed.
        costs: tutor -> ``us_per_action``, and ``teaching_steps``, ``elapsed_s`` and ``cpu_s`` of
            one training where it was trained.
        summary: what the source's ``summary.json`` says of this population.
        notes: what the source notes about it.
    """

    population: str
    definition: str | None
    task: Mapping[str, Any]
    seed: int
    students: NDArray[np.int64]
    teachings: tuple[Teaching, ...]
    costs: Mapping[str, Mapping[str, float]]
    summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One folder.

    Attributes:
        folder: where it is.
        kind: run, evaluation or study.
        name: of the experiment or study.
        description: what it says about itself.
        seeds: of training and evaluation, in words.
        versions: library -> version at its beginning.
        command: makes its numbers again.
        configuration: the resolved experiment or study as YAML.
        parts: one for each population.
    """

    folder: Path
    kind: str
    name: str
    description: str
    seeds: str
    versions: Mapping[str, str]
    command: str
    configuration: str
    parts: tuple[Part, ...]

    @property
    def label(self) -> str:
        """What tells it from other sources in a table."""
        return self.folder.resolve().name


def read_source(folder: Path) -> Source:
    """A study's folder, a run folder, or one under a run's ``evaluations``.

    Raises:
        ValueError: it is none of these, has no results, or is damaged.
        OSError: it cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    if (folder / "study.yaml").is_file():
        return _read_study(folder)
    if (folder / "config.yaml").is_file():
        return _read_run(folder, Run.open(folder), "run")
    above = folder.resolve().parent.parent
    if (folder / RESULTS_FILE).is_file() and (above / "config.yaml").is_file():
        return _read_run(folder, Run.open(above), "evaluation")
    raise ValueError(
        f"{folder}: neither a run folder (it has no config.yaml), nor a study's (no study.yaml), "
        "nor one of a run's evaluations"
    )


# -- runs ------------------------------------------------------------------------------------------
def _read_run(folder: Path, run: Run, kind: str) -> Source:
    path, experiment = folder / RESULTS_FILE, run.experiment
    if not path.is_file():
        raise ValueError(f"{folder}: there are no results yet; `tutor-sim resume` goes on with it")
    try:
        table = read_results(path)
        about = json.loads(table.schema.metadata[b"tutor_sim"])
    except (pa.ArrowException, KeyError, OSError) as error:
        raise _damaged(path, error) from error
    summary = _json(folder / SUMMARY_FILE)
    own = about["population"] == experiment.population.name
    definition = experiment.population if own else None
    made_for = None if own else experiment.population.name
    notes = (
        ()
        if own
        else (f"{folder}: these tutors were made for students of {experiment.population.name}.",)
    )
    part = _part(path, about, table, definition, summary, notes, experiment, made_for)
    seeds = ", ".join(map(str, experiment.training_seeds))
    verb = "compare" if run.command == "compare" else "train"
    return Source(
        folder,
        kind,
        experiment.name,
        experiment.description,
        f"training {seeds}; students {experiment.evaluation.seed}",
        _json(run.folder / "versions.json"),
        f"tutor-sim {verb} {run.folder / 'config.yaml'}",
        experiment.to_yaml(),
        (part,),
    )


# -- studies ---------------------------------------------------------------------------------------
def _read_study(folder: Path) -> Source:
    path = folder / RESULTS_FILE
    if not path.is_file():
        raise ValueError(f"{folder}: there are no results yet; `tutor-sim study` goes on with it")
    study = load_study(folder / "study.yaml")
    try:
        table = parquet.read_table(path)
        about = json.loads(table.schema.metadata[_STUDY_KEY])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    summaries = _json(folder / SUMMARY_FILE)["populations"]
    parts = []
    for name, own in about.items():
        if name not in study.populations:
            raise ValueError(f"{path}: damaged: population `{name}` is not one of study.yaml")
        notes = tuple(f"{name}: {note}" for note in summaries[name]["notes"])
        experiment = study.experiment(name)
        rows = table.filter(field("population") == name)
        part = _part(path, own, rows, experiment.population, summaries[name], notes, experiment)
        parts.append(dataclasses.replace(part, population=name))
    seeds = ", ".join(map(str, study.seeds))
    return Source(
        folder,
        "study",
        study.name,
        study.description,
        f"training {seeds}; students {study.evaluation.seed}",
        _json(_first_cell(folder, study) / "versions.json"),
        f"tutor-sim study {folder / 'study.yaml'}",
        study.to_yaml(),
        tuple(parts),
    )


def _first_cell(folder: Path, study: Study) -> Path:
    population, tutor = next(iter(study.populations)), study.tutors_taking_part[0]
    return folder / "cells" / population / f"{tutor}-{study.seeds[0]}"


# -- rows ------------------------------------------------------------------------------------------
def _part(
    path: Path,
    about: Mapping[str, Any],
    table: pa.Table,
    population: Any,
    summary: Mapping[str, Any],
    notes: tuple[str, ...],
    experiment: Experiment,
    made_for: str | None = None,
) -> Part:
    try:
        students, teachings = _teachings(path, about, table, experiment, made_for)
        costs = {line["tutor"]: _cost(line) for line in summary["tutors"]}
    except (KeyError, TypeError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    if len(students) < 2:
        raise ValueError(f"{path}: a report needs two students at least, got {len(students)}")
    return Part(
        about["population"],
        None if population is None else json.dumps(population.model_dump(mode="json")),
        about["task"],
        about["seed"],
        students,
        teachings,
        costs,
        summary,
        notes,
    )


def _teachings(
    path: Path,
    about: Mapping[str, Any],
    table: pa.Table,
    experiment: Experiment,
    made_for: str | None,
) -> tuple[NDArray[np.int64], tuple[Teaching, ...]]:
    """The students' indices, and every tutor's scores with them."""
    n_lessons = int(about["task"]["n_lessons"])
    found: list[Teaching] = []
    students: NDArray[np.int64] = np.empty(0, np.int64)
    for tutor, seed, rows in _by_tutor_and_seed(table):
        scores, who = rows["score"].to_numpy(), rows["student"].to_numpy()[::n_lessons]
        students = students if found else who
        complete = len(rows) == n_lessons * len(students) and bool(np.isfinite(scores).all())
        if not complete or not np.array_equal(who, students):
            raise ValueError(
                f"{path}: damaged: scores of `{tutor}` are missing, or it did not teach the "
                "students of the others"
            )
        found.append(
            Teaching(
                tutor,
                Role(rows["role"][0].as_py()),
                experiment.seed if seed is None else seed,
                scores.reshape(-1, n_lessons),
                json.dumps([_settings(experiment, tutor), made_for], sort_keys=True),
            )
        )
    return students, tuple(found)


def _by_tutor_and_seed(table: pa.Table) -> Iterator[tuple[str, int | None, pa.Table]]:
    """Rows in the order of students and lessons."""
    if "training_seed" not in table.column_names:  # of an earlier version
        table = table.append_column("training_seed", pa.nulls(len(table), pa.uint64()))
    table = table.sort_by(_ROW_ORDER)
    for tutor in table["tutor"].unique().to_pylist():
        of_tutor = table.filter(field("tutor") == tutor)
        for seed in of_tutor["training_seed"].unique().to_pylist():
            column = field("training_seed")
            yield (
                tutor,
                seed,
                of_tutor.filter(column.is_null() if seed is None else column == seed),
            )


def _settings(experiment: Experiment, tutor: str) -> Any:
    """What a tutor is made by."""
    learner = experiment.learned.get(tutor.removesuffix(SUFFIX))
    if learner is not None:
        return learner.model_dump(mode="json")
    found = (
        {"algorithm": spec.algorithm, **spec.options} if spec.own_name else spec.options
        for spec in experiment.tutors
        if tutor_label(spec) == tutor
    )
    return next(found, {})


def _cost(line: Mapping[str, Any]) -> dict[str, float]:
    trained = line.get("cost") or {}
    return {"us_per_action": float(line["us_per_action"])} | {
        name: float(value) for name, value in trained.items()
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: damaged: {str(error) or repr(error)}")
