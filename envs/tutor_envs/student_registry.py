"""Student models by reference: built in, or custom ones through one of three doors.

``student:`` in a population file is one of

* the name of a built-in model: ``bkt``;
* ``package.module:Class`` on the Python path;
* ``path/to/file.py:Class``, relative to the file that says so (else to the working directory);
* the name of an entry point in the group ``tutor_sim.students`` of an installed package;
* ``gym``, with the id of a Gymnasium environment as ``model: {id: Name-v0}``.

What the class is decides the door: a subclass of :class:`tutor_envs.student.StudentModel` is taken
as it is; a ``gymnasium.Env`` goes through :mod:`tutor_envs.doors.gym_student`; any other class with
a method ``teach`` through :mod:`tutor_envs.doors.python_student`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tutor_envs.doors.loading import describe, entry_points, load_attribute, resolve_reference
from tutor_envs.errors import unknown_name
from tutor_envs.student import StudentModel
from tutor_envs.students import STUDENT_MODELS

GYM = "gym"
"""``student: gym`` takes any registered Gymnasium environment by its id."""

_DECLARATIONS = (
    "skills",
    "actions",
    "responses",
    "latent_specs",
    "n_start_uniforms",
    "n_step_uniforms",
    "signal_names",
    "action_costs",
)

__all__ = [
    "GYM",
    "adapt",
    "configured",
    "innermost",
    "is_plug_in",
    "known_names",
    "resolve_student",
    "student_class",
]


def known_names() -> list[str]:
    """Every name that needs no path: built-in models, ``gym``, and entry points."""
    return [*STUDENT_MODELS, GYM, *entry_points()]


def student_class(reference: Any, folder: Path | None = None) -> type[StudentModel]:
    """The student model that a reference means; see the module's text.

    Args:
        reference: as in a population file.
        folder: what a relative file path starts from; None: the working directory.

    Raises:
        ValueError: nothing is found there, importing it fails, or it is not a student; the text
            names the plug-in and the cause.
    """
    if not isinstance(reference, str):
        raise ValueError(unknown_name("student", reference, known_names()))
    if reference in STUDENT_MODELS:
        return STUDENT_MODELS[reference]
    if reference == GYM:
        from tutor_envs.doors.gym_student import GymStudent

        return GymStudent
    if ":" not in reference and reference not in entry_points():
        raise ValueError(
            unknown_name("student", reference, known_names())
            + "; a student of your own is `module:Class` or `path/to/file.py:Class`"
        )
    resolved = resolve_reference(reference, folder)
    return adapt(load_attribute(resolved), resolved)


def adapt(found: Any, reference: str) -> type[StudentModel]:
    """The student model for a class, whichever door it takes.

    Args:
        found: what should be the class.
        reference: under which it was found; workers load it again by this.

    Raises:
        ValueError: it is not a student, or an incomplete one.
    """
    if not isinstance(found, type):
        raise ValueError(f"`student` {reference!r} must be a class, got {type(found).__name__}")
    if issubclass(found, StudentModel):
        if inspect.isabstract(found):
            missing = ", ".join(sorted(found.__abstractmethods__))
            raise ValueError(f"`student` {reference!r} must still define: {missing}")
        if not isinstance(getattr(found, "name", None), str):
            raise ValueError(
                f"`student` {reference!r} must have a name: "
                f'`name: ClassVar[str] = "{found.__name__.lower()}"`'
            )
        return found
    import gymnasium

    if issubclass(found, gymnasium.Env):
        from tutor_envs.doors.gym_student import gym_student

        return gym_student(found, reference)  # type: ignore[arg-type]  # a class has a hash
    if hasattr(found, "teach"):
        from tutor_envs.doors.python_student import python_student

        return python_student(found, reference)  # type: ignore[arg-type]  # a class has a hash
    raise ValueError(
        f"`student` {reference!r} is not a student: it must be a subclass of StudentModel or of "
        f"gymnasium.Env, or have the methods `teach` and `mastery`"
    )


def resolve_student(data: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """The data of a population with the files they name made independent of where they stand.

    Args:
        data: of a population, as read.
        folder: what a relative file path starts from; None: the working directory.
    """
    student = data.get("student")
    if not isinstance(student, str):
        return data
    if student in STUDENT_MODELS:
        fields, model = STUDENT_MODELS[student].file_fields, data.get("model")
        if folder is None or not isinstance(model, dict):
            return data
        files = {f: str(folder / model[f]) for f in fields if isinstance(model.get(f), str)}
        return {**data, "model": model | files}
    return {**data, "student": resolve_reference(student, folder)}


def configured(kind: type[StudentModel], configuration: Any) -> StudentModel:
    """An instance with this configuration.

    Raises:
        ValidationError: the configuration is invalid.
        ValueError: a custom model cannot even say what it is.
    """
    if kind in STUDENT_MODELS.values():
        return kind.model_validate(configuration)
    name = "its constructor"
    try:
        model = kind.model_validate(configuration)
        for name in _DECLARATIONS:
            getattr(model, name)
    except ValidationError:
        raise
    except Exception as error:
        raise ValueError(f"`student` `{kind.name}`: `{name}` raised {describe(error)}") from error
    return model


def is_plug_in(model: StudentModel) -> bool:
    """The model is not one of the built-in ones, with components or without."""
    return type(innermost(model)) not in STUDENT_MODELS.values()


def innermost(model: StudentModel) -> StudentModel:
    """The student model inside those that add components to it."""
    while isinstance(base := getattr(model, "base", None), StudentModel):
        model = base
    return model
