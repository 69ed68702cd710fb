"""Tutors and learners of third parties: found by reference, as custom students are.

A reference is one of

* ``package.module:Class`` on the Python path;
* ``path/to/file.py:Class``, relative to the file that says so (else to the working directory);
* the name of an entry point in the group ``tutor_sim.tutors`` of an installed package.

A class with an attribute ``Config`` is a learner, which is trained; any other is a tutor, called as
``Class(population, task, seed=..., device=..., **options)``.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from typing import Any

import torch

from tutor_agents.tutor import Tutor
from tutor_envs.doors import loading
from tutor_envs.doors.loading import Kind, describe
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

_TUTORS = Kind("tutor", "tutor_sim.tutors")
HINT = "a tutor of your own is `module:Class` or `path/to/file.py:Class`"
_TUTOR_METHODS = ("begin_trial", "act", "observe")


def entry_points() -> dict[str, EntryPoint]:
    """Name -> entry point of every tutor and learner that an installed package brings along."""
    return loading.entry_points(_TUTORS)


def is_plug_in(name: object) -> bool:
    """The name is a reference or an entry point; whether it leads anywhere is another matter."""
    return isinstance(name, str) and (":" in name or name in entry_points())


def load_plug_in(reference: str) -> type:
    """The class of a tutor or of a learner.

    Raises:
        ValueError: nothing is found there, importing it fails, or it is no class; the text names
            the plug-in and the cause.
    """
    if ":" not in reference and reference not in entry_points():
        raise ValueError(f"{unknown_name('tutor', reference, entry_points())}; {HINT}")
    found = loading.load_attribute(loading.resolve_reference(reference), _TUTORS)
    if not isinstance(found, type):
        raise ValueError(f"`tutor` {reference!r} must be a class, got {type(found).__name__}")
    return found


def is_learner(kind: type) -> bool:
    """The class is trained; it says how under ``Config``."""
    return hasattr(kind, "Config")


def tutor_class(reference: str) -> type:
    """The class of a tutor that needs no training.

    Raises:
        ValueError: as :func:`load_plug_in`; or it is a learner, or lacks a method.
    """
    kind = load_plug_in(reference)
    if is_learner(kind):
        raise ValueError(
            f"`tutor` {reference!r} is a learner (it has a `Config`): train it as "
            f"`learner: {{algorithm: {reference!r}}}`"
        )
    missing = [name for name in _TUTOR_METHODS if not callable(getattr(kind, name, None))]
    if missing:
        raise ValueError(
            f"`tutor` {reference!r} is not a tutor: it must define {', '.join(missing)}"
        )
    return kind


def make_plug_in(
    reference: str,
    population: Population,
    task: TeachingTask,
    *,
    seed: int,
    device: torch.device | str,
    **options: Any,
) -> Tutor:
    """A third party's tutor for this population and task; arguments as for ``make_tutor``.

    Raises:
        ValueError: it cannot be found or built, or is no tutor.
    """
    kind = tutor_class(reference)
    try:
        tutor = kind(population, task, seed=seed, device=device, **options)
    except Exception as error:
        raise ValueError(
            f"`tutor` {reference!r}: its constructor raised {describe(error)}"
        ) from error
    if not isinstance(tutor, Tutor) or not isinstance(tutor.name, str):
        raise ValueError(f'`tutor` {reference!r} must have a name: `name = "{kind.__name__}"`')
    return tutor


def description(reference: str) -> str:
    """One line for lists: the first of the class's docstring, or why it cannot be loaded."""
    try:
        kind = load_plug_in(reference)
    except ValueError as error:
        return f"cannot be used: {error}"
    what = "learned: " if is_learner(kind) else ""
    text = (inspect.getdoc(kind) or kind.__name__).partition("\n")[0]
    return f"{what}{text} (from {kind.__module__.partition('.')[0]})"
