"""Door 2: students written as a plain Python class for one student, with no torch.

The class is written like this; what is optional may be left out::

    class Learner:
        skills = ("add", "subtract")
        # optional: names, or (activity, skill, modality); default: practice of each skill
        actions = ("drill", ("lecture", "add", "video"))
        responses = ("wrong", "correct")  # optional
        latents = {"speed": {"low": 0, "high": 1, "default": 0.3, "meaning": "..."}}  # optional

        def __init__(self, latents, rng): ...  # dict of numbers, numpy.random.Generator
        def teach(self, action): ...  # index into actions -> response, an index or a bool
        def mastery(self): ...  # number in [0, 1], or one for each skill
        def post_test(self): ...  # optional: in [0, 1]; default: mean mastery
        def wait(self, days): ...  # optional: time passes without teaching

An object lives for one lesson; the next lesson begins with a new one that has the same latents and
other luck. Its generator is seeded from the uniforms that the model is given, so a student is the
same in a batch of any size, in this process or in a worker.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from tutor_envs.doors.hosted import HostedStudent
from tutor_envs.doors.python_door import PythonDoor
from tutor_envs.doors.room import Door
from tutor_envs.doors.worker import DoorPlan
from tutor_envs.errors import unknown_name
from tutor_envs.student import LatentSpec, TeachingAction

_NO_MODALITY = "any"
_LATENT_KEYS = ("low", "high", "default", "meaning")


class PythonStudent(HostedStudent):
    """Objects of a plain class as a batched student model; :func:`python_student` subclasses it."""

    kind: ClassVar[type]
    declared_skills: ClassVar[tuple[str, ...]]
    declared_actions: ClassVar[tuple[TeachingAction, ...]]
    declared_responses: ClassVar[tuple[str, ...]]
    declared_latents: ClassVar[dict[str, LatentSpec]]
    modalities: tuple[str, ...] = Field((_NO_MODALITY,), min_length=1)

    @property
    def skills(self) -> tuple[str, ...]:
        """As the class says."""
        return self.declared_skills

    @property
    def actions(self) -> tuple[TeachingAction, ...]:
        """As the class says."""
        return self.declared_actions

    @property
    def responses(self) -> tuple[str, ...]:
        """As the class says."""
        return self.declared_responses

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, and what the class declares."""
        return self._common_latents() | self.declared_latents

    def _door(self) -> Door:
        return PythonDoor(self.kind, len(self.skills), self.n_responses)

    def _plan(self) -> DoorPlan:
        arguments = (self.reference, len(self.skills), self.n_responses)
        return DoorPlan(f"{PythonDoor.__module__}:{PythonDoor.__name__}", arguments)


@functools.cache
def python_student(kind: type, reference: str) -> type[PythonStudent]:
    """The student model whose students are objects of this class.

    Args:
        kind: the plain class.
        reference: under which it was loaded.

    Raises:
        ValueError: the class does not say what it must; the text says what to write.
    """
    for method in ("teach", "mastery"):
        if not callable(getattr(kind, method, None)):
            raise ValueError(f"`{reference}` must define the method `{method}`")
    skills = _names(kind, reference, "skills")
    actions = tuple(_action(a, reference) for a in getattr(kind, "actions", ()) or ())
    actions = actions or tuple(TeachingAction("practice", skill, "") for skill in skills)
    for action in actions:
        if action.skill and action.skill not in skills:
            raise ValueError(f"`{reference}`: " + unknown_name("actions", action.skill, skills))
    modalities = tuple(dict.fromkeys(a.modality for a in actions if a.modality))
    fields: dict[str, Any] = {
        "__module__": __name__,
        "__doc__": kind.__doc__,
        "__annotations__": {"modalities": tuple[str, ...]},
        "modalities": modalities or (_NO_MODALITY,),
        "name": reference,
        "reference": reference,
        "kind": kind,
        "declared_skills": skills,
        "declared_actions": actions,
        "declared_responses": _names(kind, reference, "responses", ("wrong", "correct")),
        "declared_latents": _latents(kind, reference),
    }
    return type(f"Python{kind.__name__}", (PythonStudent,), fields)


def _names(
    kind: type, reference: str, attribute: str, default: tuple[str, ...] = ()
) -> tuple[str, ...]:
    names = getattr(kind, attribute, default)
    valid = isinstance(names, tuple | list) and names and all(isinstance(n, str) for n in names)
    if not valid or len(set(names)) < len(names):
        raise ValueError(
            f"`{reference}` must have a class attribute `{attribute}`: different names, like "
            f'("one", "two"), got {names!r}'
        )
    return tuple(names)


def _action(written: Any, reference: str) -> TeachingAction:
    if isinstance(written, str):
        return TeachingAction(written, "", "")
    if isinstance(written, tuple | list) and [type(part) for part in written] == [str] * 3:
        return TeachingAction(*written)
    raise ValueError(
        f"`{reference}`: each of `actions` must be a name or (activity, skill, modality), "
        f"got {written!r}"
    )


def _latents(kind: type, reference: str) -> dict[str, LatentSpec]:
    declared = getattr(kind, "latents", {})
    if not isinstance(declared, Mapping):
        raise ValueError(f"`{reference}`: `latents` must be a dictionary, got {declared!r}")
    specs = {}
    for name, written in declared.items():
        place = f"latents.{name}"
        if not isinstance(written, Mapping) or "default" not in written:
            raise ValueError(
                f'`{reference}`: `{place}` must be like {{"low": 0, "high": 1, "default": 0.3, '
                f'"meaning": "..."}}, got {written!r}'
            )
        for key in written:
            if key not in _LATENT_KEYS:
                raise ValueError(f"`{reference}`: " + unknown_name(place, key, _LATENT_KEYS))
        low, high = float(written.get("low", -math.inf)), float(written.get("high", math.inf))
        default = float(written["default"])
        if not low <= default <= high:
            raise ValueError(
                f"`{reference}`: `{place}.default` must be in [{low:g}, {high:g}], got {default:g}"
            )
        specs[name] = LatentSpec((), low, high, default, str(written.get("meaning", "")))
    return specs
