"""Whether torch's own operations shall compute, which have derivatives of every order.

Operations of ours that are faster have first derivatives only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_wanted: ContextVar[bool] = ContextVar("plain_operations", default=False)


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """Inside it torch's own operations take the place of ours."""
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def is_plain() -> bool:
    """We are inside :func:`plain_operations`."""
    return _wanted.get()
