"""What there is to choose from, for ``tutor-sim list``."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from tutor_agents import plug_ins
from tutor_agents.registry import TUTORS
from tutor_envs.population_files import POPULATIONS, default_population
from tutor_envs.registration import ENVIRONMENTS
from tutor_envs.students import STUDENT_MODELS
from tutor_sim.learners import LEARNERS


def environments() -> dict[str, str]:
    """Gymnasium id -> whom it teaches."""
    return {
        env_id: f"student model {student}: {_first_line(STUDENT_MODELS[student])}"
        for env_id, student in ENVIRONMENTS.items()
    }


def agents() -> dict[str, str]:
    """Name under ``tutors:``, or algorithm of a learner -> what it is; third parties' come last."""
    ours = {
        **{name: kind.description for name, kind in LEARNERS.items()},
        **{name: kind.description for name, kind in TUTORS.items()},
    }
    theirs = [name for name in plug_ins.entry_points() if name not in ours]
    return ours | {name: plug_ins.description(name) for name in theirs}


def students() -> dict[str, str]:
    """Name under ``population.student`` -> what it is, and its own latents.

    Those that every model has (ability, responsiveness, style strength) are not repeated.
    """
    specs = {name: kind().latent_specs for name, kind in STUDENT_MODELS.items()}
    common = set.intersection(*map(set, specs.values()))
    own = {name: ", ".join(n for n in specs[name] if n not in common) for name in specs}
    return {
        name: _first_line(kind) + (f" Latents: {own[name]}." if own[name] else "")
        for name, kind in STUDENT_MODELS.items()
    }


def populations() -> dict[str, str]:
    """Name under ``population`` -> whom it describes."""
    named = {name: default_population(name) for name in POPULATIONS}
    return {name: f"({p.student}) {p.description}" for name, p in named.items()}


def _first_line(kind: type) -> str:
    """Of the text of the module that defines it."""
    return (inspect.getdoc(inspect.getmodule(kind)) or "").partition("\n")[0]


def listing(what: str) -> Table:
    """A table of the ``envs``, the ``agents``, the ``students`` or the ``populations``."""
    lists: dict[str, Callable[[], dict[str, str]]] = {
        "envs": environments,
        "agents": agents,
        "students": students,
        "populations": populations,
    }
    rows = lists[what]()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        table.add_row(name, Text(text))
    return table
