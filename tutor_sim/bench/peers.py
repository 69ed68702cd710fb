"""Where the peers and the common family are: in the repository, beside the experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutor_sim.bench.job import Subject

FOLDER = Path(__file__).parents[2] / "experiments" / "benchmarks"
FAMILY = FOLDER / "family.yaml"
"""The students that all subjects of a comparison share."""
TRIAL = {"n_lessons": 4, "n_steps": 64}
"""How long they are taught."""


def check_repository() -> None:
    """See that the family is there.

    Raises:
        ValueError: it is not: an installed package has no experiments.
    """
    if not FAMILY.exists():
        raise ValueError(f"{FAMILY}: not found; benchmarks run from a clone of the repository")


def peer(name: str, make: str, settings: dict[str, Any]) -> Subject:
    """Somebody else's way to do the work; ``make`` is ``file.py:function`` in the folder."""
    return Subject(name, str(FOLDER / make), settings, is_peer=True)
