"""Door 2: a plain Python class for one student; imports no torch.

The class needs ``__init__(self, latents, rng)``, ``teach(self, action)`` and ``mastery(self)``, and
names its ``skills``; see :mod:`tutor_envs.doors.python_student` for all of it.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tutor_envs.doors.loading import load_attribute
from tutor_envs.doors.room import Refusal, Start


class PythonDoor:
    """Opens lessons with objects of a plain class."""

    def __init__(self, kind: type, n_skills: int, n_responses: int) -> None:
        self._kind = kind
        self._n_skills = n_skills
        self._n_responses = n_responses

    @classmethod
    def load(cls, reference: str, n_skills: int, n_responses: int) -> PythonDoor:
        """In a worker: find the class by its reference.

        Raises:
            ValueError: it cannot be loaded.
        """
        return cls(load_attribute(reference), n_skills, n_responses)

    def open(self, start: Start, used: Any) -> Any:
        """A new object with a generator of its own."""
        return self._kind(dict(start.latents), np.random.default_rng(start.luck))

    def teach(self, student: Any, action: int) -> int:
        """The response as an index.

        Raises:
            Refusal: it is none.
        """
        return as_response(student.teach(action), self._n_responses, f"teach({action}) returned")

    def wait(self, student: Any, days: float) -> None:
        """Tell the student, if it wants to know."""
        if hasattr(student, "wait"):
            student.wait(days)

    def look(self, student: Any, response: int) -> list[float]:
        """Response, present, post-test score, mastery.

        Raises:
            Refusal: mastery or post-test score are not numbers in [0, 1], or too few.
        """
        mastery = as_shares(student.mastery(), self._n_skills, "mastery()")
        if hasattr(student, "post_test"):
            post_test = as_shares(student.post_test(), 1, "post_test()")[0]
        else:
            post_test = sum(mastery) / len(mastery)
        return [response, 1.0, post_test, *mastery]


def as_response(value: Any, n_responses: int, what: str) -> int:
    """An index in [0, R) from a truth value or a whole number.

    Raises:
        Refusal: it is something else.
    """
    try:
        index = int(value) if isinstance(value, np.bool_) else operator.index(value)
    except TypeError:
        index = -1
    if not 0 <= index < n_responses:
        raise Refusal(
            f"{what} {value!r}; it must be True, False or a whole number in [0, {n_responses}), "
            "an index into `responses`"
        )
    return index


def as_shares(value: Any, size: int, what: str) -> list[float]:
    """``size`` numbers in [0, 1]; a single number counts for all.

    Raises:
        Refusal: it is something else.
    """
    several = isinstance(value, Sequence | np.ndarray)
    shares = list(value) if several else [value] * size
    if len(shares) != size or not all(isinstance(share, numbers.Real) for share in shares):
        raise Refusal(f"{what} returned {value!r}; it must be one number, or a list of {size}")
    shares = [float(share) for share in shares]
    if not all(math.isfinite(share) and 0 <= share <= 1 for share in shares):
        raise Refusal(f"{what} returned {value!r}; every number must be in [0, 1]")
    return shares
