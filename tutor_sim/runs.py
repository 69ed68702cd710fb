"""The run folder: everything about one training run, in one place.

===================  ==========================================================================
``config.yaml``      the resolved experiment: what was left out is filled in, nothing points
                     to another file
``run.json``         the command, seeds, and the numbers of threads and processes it was begun
                     with (rounding depends on them)
``versions.json``    versions of Python and the libraries
``checkpoints/``     see :mod:`tutor_sim.checkpoint`
``tensorboard/``     event files; the tags are documented in :mod:`tutor_sim.tensorboard`
``metrics.jsonl``    the same numbers, one JSON object a line
``tutor/``           the trained tutor, to be taken away
``results.parquet``  scores of every tutor, student and lesson; ``summary.json``: their summary
``report.html``      the report
``insight/``         what ``tutor-sim insight``, ``lesson`` and ``class`` found, if they were run
===================  ==========================================================================

An experiment with several trainings (``learners``, ``seeds``) has a folder for the comparison, with
``parts/`` instead of checkpoints and events: a run folder for each learner and seed, called
``<learner>-<seed>``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from tutor_agents.engine import parallel
from tutor_sim.config import Experiment
from tutor_sim.experiment_files import load_experiment
from tutor_sim.files import SaveError, atomic_write, saving
from tutor_sim.versions import versions

Command = Literal["train", "compare"]
_MAX_RUNS = 100_000


@dataclasses.dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: where it is.
        experiment: the resolved experiment.
        command: what was asked for, and what ``resume`` finishes.
        n_threads: CPU threads of PyTorch.
    """

    folder: Path
    experiment: Experiment
    command: Command
    n_threads: int

    @classmethod
    def create(cls, root: Path, experiment: Experiment, command: Command, n_threads: int) -> Run:
        """Make the next free folder ``<experiment>-<seed>-<number>`` in ``root``.

        Raises:
            SaveError: the folder cannot be made or written.
        """
        folder = _claim(root, f"{experiment.name}-{experiment.seed}")
        return cls.begin(folder, experiment, command, n_threads)

    @classmethod
    def begin(cls, folder: Path, experiment: Experiment, command: Command, n_threads: int) -> Run:
        """Write what a run begins with; ``config.yaml`` comes last, and makes it one.

        Raises:
            SaveError: the folder cannot be made or written.
        """
        run = cls(folder, experiment, command, n_threads)
        inner = [run.parts] if experiment.has_parts else [run.checkpoints, run.tensorboard]
        for path in inner:
            with saving(path):
                path.mkdir(parents=True, exist_ok=True)
        seeds = list(experiment.seeds) or experiment.seed
        about = {
            "command": command,
            "n_threads": n_threads,
            "n_processes": parallel.size(),
            "seeds": {"training": seeds, "evaluation": experiment.evaluation.seed},
        }
        _write_json(run.folder / "versions.json", versions())
        _write_json(run.folder / "run.json", about)
        atomic_write(run.folder / "config.yaml", experiment.to_yaml().encode())
        return run

    def part(self, name: str, seed: int) -> Run:
        """The run folder of one training of an experiment that has several, made if need be.

        Raises:
            ValueError: what is there is damaged.
            SaveError: the folder cannot be made or written.
        """
        experiment = self.experiment.part(name, seed)
        folder = self.parts / experiment.name
        if (folder / "config.yaml").is_file():
            return Run.open(folder)
        return Run.begin(folder, experiment, "train", self.n_threads)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a run folder.

        Raises:
            ValueError: it is none, or was damaged.
            OSError: it cannot be read.
        """
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such run folder")
        if (folder / "study.yaml").is_file():
            raise ValueError(f"{folder}: the folder of a study; `tutor-sim study` goes on with it")
        for name in ("config.yaml", "run.json"):
            if not (folder / name).is_file():
                raise ValueError(f"{folder}: not a run folder: it has no {name}")
        try:
            about = json.loads((folder / "run.json").read_bytes())
            command, n_threads = about["command"], int(about["n_threads"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{folder / 'run.json'}: damaged: {error!r}") from error
        return cls(folder, load_experiment(folder / "config.yaml"), command, n_threads)

    @property
    def parts(self) -> Path:
        """Folder of the parts of an experiment with several trainings."""
        return self.folder / "parts"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.folder / "tensorboard"

    @property
    def tutor(self) -> Path:
        """Folder of the trained tutor."""
        return self.folder / "tutor"

    @property
    def metrics(self) -> Path:
        """The metrics, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.html"


def _claim(root: Path, stem: str) -> Path:
    """Make the first folder ``<stem>-<number>`` that does not exist yet."""
    with saving(root):
        root.mkdir(parents=True, exist_ok=True)
    for number in range(1, _MAX_RUNS):
        folder = root / f"{stem}-{number:03d}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise SaveError(f"cannot write {folder}: {error.strerror}") from error
        return folder
    raise SaveError(f"cannot write in {root}: there are {_MAX_RUNS} runs of {stem} already")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())
