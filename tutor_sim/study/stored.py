"""Evaluations on disk, so that a cell is evaluated once: safetensors, with the rest as JSON in it.

The file is written whole or not at all, and carries the fingerprint of what it was evaluated for:
where both are there, the cell is finished.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from safetensors import SafetensorError

from tutor_sim.config import Experiment
from tutor_sim.evaluation import Evaluation, Role, scored_task
from tutor_sim.files import atomic_write

FORMAT = 2
"""Version of the file; another meaning is another number."""
_PLAIN = ("tutor", "role", "us_per_action", "delays_days")
_KEY = "tutor_sim"


def save_evaluation(path: Path, evaluation: Evaluation, fingerprint: str) -> None:
    """Write everything that was recorded.

    Raises:
        SaveError: it could not be written.
    """
    values = {
        field.name: getattr(evaluation, field.name) for field in dataclasses.fields(Evaluation)
    }
    arrays = {
        name: np.ascontiguousarray(value)
        for name, value in values.items()
        if isinstance(value, np.ndarray)
    }
    about = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        **{name: values[name] for name in _PLAIN},
    }
    atomic_write(path, safetensors.numpy.save(arrays, {_KEY: json.dumps(about)}))


def load_evaluation(path: Path, experiment: Experiment) -> Evaluation:
    """Read what was recorded.

    Args:
        path: the file.
        experiment: what was evaluated; its population and task are not in the file.

    Raises:
        ValueError: it is damaged, or of another format.
        OSError: it cannot be read.
    """
    about = _about(path)
    if about["format"] != FORMAT:
        raise ValueError(f"{path}: must have `format` {FORMAT}, got {about['format']}")
    return Evaluation(
        tutor=about["tutor"],
        role=Role(about["role"]),
        us_per_action=about["us_per_action"],
        delays_days=tuple(about["delays_days"]),
        population=experiment.population,
        task=scored_task(experiment.task),
        seed=experiment.evaluation.seed,
        training_seed=experiment.seed,
        **safetensors.numpy.load_file(path),
    )


def stored_fingerprint(path: Path) -> str | None:
    """The fingerprint in the file; None: there is no file, or one that recorded other things.

    Raises:
        ValueError: it is damaged.
    """
    if not path.is_file():
        return None
    about = _about(path)
    return str(about["fingerprint"]) if about["format"] == FORMAT else None


def _about(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})[_KEY])
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: damaged: {error!r}; delete it, and it is made again") from error
    return about
