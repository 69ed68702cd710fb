"""What there is to choose from, for ``tutor-sim list``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from tutor_agents import plug_ins
from tutor_agents.registry import TUTORS
from tutor_envs.errors import unknown_name
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
    return _table(_LISTS[what]().items())


def details(what: str, name: str) -> Iterator[Text | Table]:
    """What can be set of one of them: of agents and students, with defaults; a population's file.

    Raises:
        ValueError: there is none of this name.
    """
    known = _LISTS[what]()
    if name not in known:
        raise ValueError(unknown_name(what, name, known))
    if what == "populations":
        yield Text(POPULATIONS[name].read_text(encoding="utf-8").rstrip())
        return
    yield Text(known[name])
    if what == "agents":
        yield from _set_of_agent(name)
        return
    student = STUDENT_MODELS[ENVIRONMENTS.get(name, name)]
    yield Text("\nunder `population.model`:")
    yield _options(student)
    yield Text("\nunder `population.latents`, each a number or a distribution:")
    specs = student().latent_specs
    yield _table(
        (latent, f"default {spec.default:g}, in [{spec.low:g}, {spec.high:g}]: {spec.meaning}")
        for latent, spec in specs.items()
    )


def _set_of_agent(name: str) -> Iterator[Text | Table]:
    if name in LEARNERS:
        yield Text("\nunder `learner`:")
        yield _options(LEARNERS[name].config)
    elif name not in TUTORS:
        yield Text("\nIts options are its own; see who made it.")
    elif TUTORS[name].parameters.model_fields:
        yield Text(f"\nunder `tutors`, as `{name}: {{...}}`:")
        yield _options(TUTORS[name].parameters)


def _options(settings: type[BaseModel]) -> Table:
    rows = []
    for name, field in settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            default = default.model_dump(mode="json")
        bounds = [text for part in field.metadata if (text := _bound(part))]
        said = [f"default {'none' if default is None else default}", *bounds]
        rows.append(
            (name, ", ".join(said) + (f": {field.description}" if field.description else ""))
        )
    return _table(rows)


def _bound(constraint: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return next(
        (f"{s} {getattr(constraint, k)}" for k, s in signs.items() if hasattr(constraint, k)), ""
    )


def _table(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(name, Text(text))
    return table


_LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "envs": environments,
    "agents": agents,
    "students": students,
    "populations": populations,
}
