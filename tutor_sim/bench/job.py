"""What a subject of a benchmark is."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Work(NamedTuple):
    """What was done in one round.

    Attributes:
        steps: teaching actions simulated or trained on; of a limit, what it counts.
        score: mean score of a lesson, by which everybody is seen to do the same; None: no lessons.
        score_se: its standard error; None: not known.
    """

    steps: int
    score: float | None = None
    score_se: float | None = None


class Job(Protocol):
    """The work, again and again."""

    def prepare(self, round_: int) -> None:
        """What each round needs beforehand; its time is not counted."""

    def work(self) -> Work:
        """One round."""


class Subject(NamedTuple):
    """Who does the work.

    Attributes:
        name: for the table.
        make: ``module:function`` or ``file.py:function``, which makes the job.
        settings: its keyword arguments; numbers, texts and their lists.
        is_peer: somebody else's.
    """

    name: str
    make: str
    settings: dict[str, Any]
    is_peer: bool = False


def load(make: str) -> Callable[..., Job]:
    """The function that makes a job; a file is imported with its folder on the path.

    Nothing of ours is imported for it: a peer's process must not hold what it has no use for.
    """
    where, _, function = make.rpartition(":")
    if where.endswith(".py"):
        path = Path(where).resolve()
        sys.path.insert(0, str(path.parent))
        where = path.stem
    job: Callable[..., Job] = getattr(importlib.import_module(where), function)
    return job
