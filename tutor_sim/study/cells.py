"""The cells of a study: one tutor with one population and one seed, each in a run folder.

A learner's cell is a run folder like that of ``tutor-sim train``. A finished cell has the file
``evaluation.safetensors`` with the fingerprint of what it was to do, or ``left_out.json`` where its
tutor cannot teach the population, and is not run again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from tutor_agents.tutor import CannotTeach, Tutor
from tutor_envs.errors import StudentError
from tutor_sim.checkpoint import list_checkpoints
from tutor_sim.commands import show_training
from tutor_sim.compare import listed_tutor
from tutor_sim.config import Experiment
from tutor_sim.config_errors import dotted
from tutor_sim.controls.compared import ComparedControls
from tutor_sim.controls.shown import controls_to_json
from tutor_sim.evaluation import Role, evaluate
from tutor_sim.files import atomic_write
from tutor_sim.mistakes import raised_by_us
from tutor_sim.runs import Command, Run
from tutor_sim.study.config import Study, tutor_label
from tutor_sim.study.stored import save_evaluation, stored_fingerprint
from tutor_sim.summary import BAYES
from tutor_sim.training import train

EVALUATION_FILE = "evaluation.safetensors"
LEFT_OUT_FILE = "left_out.json"
CONTROLS_FILE = "null_controls.json"
_DEVICE = "cpu"
_LISTED = 3
"""Cells that a message lists at most, and keys of each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One tutor with one population and one seed.

    Attributes:
        population: name in the study.
        tutor: name in the study.
        seed: of training, or of what the tutor prepares.
        experiment: this cell alone.
        folder: its run folder.
    """

    population: str
    tutor: str
    seed: int
    experiment: Experiment
    folder: Path

    def __str__(self) -> str:
        """``bkt / rl2 / seed 0``."""
        return f"{self.population} / {self.tutor} / seed {self.seed}"

    @property
    def result(self) -> Path:
        """What the cell yields."""
        return self.folder / EVALUATION_FILE

    @property
    def is_finished(self) -> bool:
        """It was run as it is now, or its tutor is left out.

        Raises:
            ValueError: its result is damaged.
        """
        found = stored_fingerprint(self.result) == fingerprint(self.experiment)
        return found or bool(self.left_out)

    @property
    def left_out(self) -> str:
        """Why its tutor cannot teach this population, as was found out before; empty: it can.

        Raises:
            ValueError: what was found out is damaged.
        """
        path = self.folder / LEFT_OUT_FILE
        if not path.is_file():
            return ""
        try:
            found = json.loads(path.read_bytes())
            own = found["fingerprint"] == fingerprint(self.experiment)
            return str(found["reason"]) if own else ""
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: damaged: {error!r}; delete it, and it is made again"
            ) from error


class Outcome(NamedTuple):
    """What came of running a cell.

    Attributes:
        score: mean score over students and lessons; nan where there is none.
        elapsed_s: seconds that it took this time.
        left_out: why the tutor cannot teach this population, if so.
        fault: what the user, or who keeps the disk, has to mend.
    """

    score: float
    elapsed_s: float
    left_out: str = ""
    fault: OSError | ValueError | StudentError | None = None


def cells_of(study: Study, folder: Path) -> list[Cell]:
    """All cells of a study, population by population and seed by seed.

    Args:
        study: the study.
        folder: where ``<population>/<tutor>-<seed>`` lie.
    """
    cells = []
    for population in study.populations:
        whole = study.experiment(population)
        for seed in study.seeds:
            for tutor in study.tutors_taking_part:
                name = f"{tutor}-{seed}"
                part = _part(whole, tutor, seed)
                part = part.model_copy(update={"name": f"{population}-{name}"})
                cells.append(Cell(population, tutor, seed, part, folder / population / name))
    return cells


def _part(whole: Experiment, tutor: str, seed: int) -> Experiment:
    """The experiment of one cell, which no other tutor of the study changes."""
    if tutor in whole.learned:
        return whole.part(tutor, seed).model_copy(update={"tutors": ()})
    specs = tuple(spec for spec in whole.tutors if tutor_label(spec) == tutor)
    changes = {"seed": seed, "seeds": (), "learners": {}, "tutors": specs}
    return whole.model_copy(update=changes)


def fingerprint(experiment: Experiment) -> str:
    """SHA-256 of all that a cell's result depends on."""
    return hashlib.sha256(json.dumps(_content(experiment), sort_keys=True).encode()).hexdigest()


def _content(experiment: Experiment) -> dict[str, Any]:
    left_out = {"name", "description", "reference_values", "checkpoint", "short"}
    return experiment.model_dump(mode="json", exclude=left_out)


# -- before ----------------------------------------------------------------------------------------
def check_unchanged(cells: Sequence[Cell]) -> None:
    """Refuse to go on where something was trained otherwise than the cells say now.

    What is merely evaluated otherwise (other test students, options of a tutor without training) is
    evaluated again, and no training is lost.

    Raises:
        ValueError: training would be thrown away; the text names cells and keys.
    """
    changed = {cell: keys for cell in cells if (keys := _changed_training(cell))}
    if not changed:
        return
    lines = [f"  {cell}: {', '.join(keys)}" for cell, keys in list(changed.items())[:_LISTED]]
    more = f"\n  and {len(changed) - _LISTED} more" if len(changed) > _LISTED else ""
    raise ValueError(
        f"{len(changed)} cells were trained with other settings than the study has now:\n"
        + "\n".join(lines)
        + more
        + "\nGive the changed learner another name, choose another folder with `--out`, or delete "
        f"the folders of these cells, such as {next(iter(changed)).folder}"
    )


def _changed_training(cell: Cell) -> list[str]:
    """Keys that what was trained in the cell's folder disagrees about."""
    if cell.experiment.learner is None or not list_checkpoints(cell.folder / "checkpoints"):
        return []
    if (cell.folder / "config.yaml").read_text(encoding="utf-8") == cell.experiment.to_yaml():
        return []
    before, now = (_content(e) for e in (Run.open(cell.folder).experiment, cell.experiment))
    for content in (before, now):
        for key in ("n_students", "delays_days", "discount"):
            del content["evaluation"][key]
    return [
        f"`{key}` was {old!r}, is {new!r}"
        for key, old, new in list(_differences(before, now))[:_LISTED]
    ]


def _differences(
    before: Any, now: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), (*path, str(key)))
    elif before != now:
        yield dotted(path), before, now


def prepare(cell: Cell) -> None:
    """Make the run folder, or bring it up to date.

    Raises:
        SaveError: it cannot be written.
    """
    config = cell.folder / "config.yaml"
    if config.is_file() and config.read_text(encoding="utf-8") == cell.experiment.to_yaml():
        return
    command: Command = "compare" if cell.experiment.learner is None else "train"
    Run.begin(cell.folder, cell.experiment, command, n_threads=1)


# -- run -------------------------------------------------------------------------------------------
def run_cell(folder: Path, log: Console) -> Outcome:
    """Train and evaluate what the cell's run folder says, from its last checkpoint on.

    The numbers depend on the folder alone: not on who runs it, where, or after which other cells.

    Args:
        folder: the cell's.
        log: for progress of training.

    Returns:
        What came of it; a mistake of the user's is returned, so that it survives a journey between
        processes, and everything unexpected is raised.

    Raises:
        Interrupted: the user stopped it; a checkpoint was written.
    """
    started_s = time.monotonic()
    torch.set_num_threads(1)
    try:
        score = _run(Run.open(folder), log)
    except CannotTeach as error:
        found = {"fingerprint": fingerprint(Run.open(folder).experiment), "reason": str(error)}
        atomic_write(folder / LEFT_OUT_FILE, (json.dumps(found, indent=1) + "\n").encode())
        return Outcome(float("nan"), time.monotonic() - started_s, str(error))
    except (OSError, ValueError, StudentError) as error:
        if isinstance(error, ValueError) and not raised_by_us(error):
            raise
        return Outcome(float("nan"), time.monotonic() - started_s, fault=error)
    return Outcome(score, time.monotonic() - started_s)


def _run(run: Run, log: Console) -> float:
    """The score."""
    experiment = run.experiment
    tutor: Tutor
    if experiment.learner is not None:
        role = Role.LEARNED
        tutor = train(run, device=_DEVICE, console=log).tutor
    else:
        (spec,) = experiment.tutors
        role = Role.OPTIMUM if spec.algorithm == BAYES else Role.BASELINE
        tutor = listed_tutor(experiment, spec, _DEVICE)
    evaluation = evaluate(
        tutor,
        experiment.population,
        experiment.task,
        n_students=experiment.evaluation.n_students,
        seed=experiment.evaluation.seed,
        role=role,
        device=_DEVICE,
        delays_days=experiment.evaluation.delays_days,
    )
    if experiment.learner is not None:
        show_training(run, evaluation)
    controls = ComparedControls(
        experiment.population, experiment.task, seed=evaluation.seed, device=_DEVICE
    )
    controls.meet(tutor, evaluation)
    if controls.of_others:
        text = json.dumps(controls_to_json(controls.of_others), indent=1, allow_nan=False) + "\n"
        atomic_write(run.folder / CONTROLS_FILE, text.encode())
    save_evaluation(run.folder / EVALUATION_FILE, evaluation, fingerprint(experiment))
    return evaluation.score
