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
