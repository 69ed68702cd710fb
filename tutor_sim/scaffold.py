"""``tutor-sim new student NAME``: a working, tested starting point for a student of one's own."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from tutor_sim.files import atomic_write

_FILES = {
    "student_door{door}.py.txt": "{name}.py",
    "population.yaml.txt": "{name}.yaml",
    "test_student.py.txt": "test_{name}.py",
    "experiment.yaml.txt": "{name}_experiment.yaml",
}
"""Template -> file that is written."""
_LATENTS = {
    1: "  p_learn: {beta: {mean: 0.25, concentration: 6}}\n"
    "  p_known: {beta: {mean: 0.2, concentration: 10}}\n",
    2: "  speed: {beta: {mean: 0.25, concentration: 6}}\n"
    "  p_slip: {beta: {mean: 0.1, concentration: 20}}\n",
}
_EXPERIMENT = {
    1: {"steps": "400_000", "tutors": "random, round_robin, best_fixed, thompson, oracle"},
    2: {"steps": "40_000", "tutors": "random, round_robin"},
}
"""A Python object is slower, and tutors that need a belief cannot teach it."""


def class_name(name: str) -> str:
    """``quick_learner`` -> ``QuickLearner``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def new_student(name: str, folder: Path, door: int = 1) -> list[Path]:
    """Write a student model, its population, a test and an experiment.

    Args:
        name: of the files; a Python name in lower case, like ``quick_learner``.
        folder: where the files go; none of them may exist.
        door: 1, a batched torch model, or 2, a plain Python class for one student.

    Raises:
        ValueError: the name cannot be used, or a file exists already.
        SaveError: a file could not be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(
            f"`NAME` must be a Python name in lower case, like quick_learner, got {name!r}"
        )
    if door not in (1, 2):
        raise ValueError(f"`--door` must be 1 or 2, got {door}")
    targets = {t.format(door=door): folder / f.format(name=name) for t, f in _FILES.items()}
    existing = [str(path) for path in targets.values() if path.exists()]
    if existing:
        raise ValueError(f"{', '.join(existing)} exists already; nothing was written")
    words = {"name": name, "kind": class_name(name), "latents": _LATENTS[door].rstrip()}
    words |= _EXPERIMENT[door]
    for template, path in targets.items():
        text = resources.files("tutor_sim").joinpath("templates", template).read_text("utf-8")
        atomic_write(path, Template(text).substitute(words).encode())
    return list(targets.values())
