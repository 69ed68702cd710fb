"""Populations in YAML files: the reader, and those that ship with the environments."""

from __future__ import annotations

from pathlib import Path

from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.student_registry import resolve_student
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.yaml_loading import load_yaml


def load_population(path: str | Path) -> Population:
    """The population that a YAML file describes.

    Raises:
        ValueError: not a population (the text names the file).
        OSError: the file cannot be read.
    """
    data = load_yaml(Path(path)).data
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a population file must be a mapping, got {type(data).__name__}")
    try:
        return Population.model_validate(resolve_student(data, Path(path).parent))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


POPULATIONS = {
    path.stem: path for path in sorted((Path(__file__).parent / "populations").glob("*.yaml"))
}
"""Name -> file of every population that ships with the environments."""


def population_of(student: str) -> Population:
    """The population that ships with a built-in model; for a custom one, its default latents.

    Raises:
        ValueError: there is no such student model, or it cannot be loaded.
    """
    if student in STUDENT_MODELS:
        return default_population(student)
    return Population.model_validate({"name": student.rpartition(":")[2], "student": student})


def default_population(name: str) -> Population:
    """The population that ships under this name: one for each built-in student model.

    Raises:
        ValueError: there is no such population.
    """
    if name not in POPULATIONS:
        raise ValueError(unknown_name("population", name, POPULATIONS))
    return load_population(POPULATIONS[name])
