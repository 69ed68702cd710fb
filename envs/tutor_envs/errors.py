"""Error texts of one form: what was found, what is allowed, the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError
from pydantic_core import InitErrorDetails


def unknown_name(place: str, found: object, known: Iterable[str]) -> str:
    """``unknown `place` 'found'; allowed: a, b; did you mean 'a'?``."""
    names = sorted(known)
    near = difflib.get_close_matches(str(found), names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown `{place}` {found!r}; allowed: {', '.join(names) or '(none)'}{hint}"


def below(error: ValidationError, *place: str | int) -> ValidationError:
    """The same error, located below ``place``: for validators that validate a part themselves."""
    details: list[InitErrorDetails] = [
        {
            "type": found["type"],
            "loc": (*place, *found["loc"]),
            "input": found["input"],
            "ctx": found.get("ctx", {}),
        }
        for found in error.errors()
    ]
    return ValidationError.from_exception_data(error.title, details)


class StudentError(RuntimeError):
    """A custom student failed while it was taught: which one, whom and when.

    Attributes:
        plug_in: the reference under which the student model was loaded.
        what: what went wrong.
        row: row of the batch that it happened in; None: the whole batch.
        student: index of the student.
        lesson: lesson of the trial, from 0.
        step: teaching action of the lesson, from 0.
    """

    def __init__(self, plug_in: str, what: str, *, row: int | None = None) -> None:
        super().__init__(plug_in, what)
        self.plug_in = plug_in
        self.what = what
        self.row = row
        self.student: int | None = None
        self.lesson: int | None = None
        self.step: int | None = None

    def __str__(self) -> str:
        parts = [
            f"{name} {value}"
            for name in ("student", "lesson", "step")
            if (value := getattr(self, name)) is not None
        ]
        if self.student is None and self.row is not None:
            parts.append(f"row {self.row} of the batch")
        where = f" [{', '.join(parts)}]" if parts else ""
        return f"custom student `{self.plug_in}`: {self.what}{where}"
