"""Brings several sources together: whose students were the same, and which tutors are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutor_sim.evaluation import Role
from tutor_sim.reporting.sources import Part, Source, Teaching

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Taught:
    """One tutor with the students of one population.

    Attributes:
        role: what it is in a comparison.
        seeds: of its S trainings, or of what it prepared.
        lessons: score of each lesson, ``(S, n, K)``.
        cost: see :class:`tutor_sim.reporting.sources.Part`.
    """

    role: Role
    seeds: tuple[int, ...]
    lessons: Array
    cost: Mapping[str, float]

    @property
    def scores(self) -> Array:
        """Mean score of each student over the lessons, ``(S, n)``."""
        scores: Array = self.lessons.mean(axis=-1)
        return scores


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """One population and all who taught its students.

    Attributes:
        population: its name.
        task: as scored.
        seed: of the students and their luck.
        students: int64 ``(n,)`` indices.
        tutors: by name.
    """

    population: str
    task: Mapping[str, Any]
    seed: int
    students: NDArray[np.int64]
    tutors: Mapping[str, Taught]


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """What a report is about.

    Attributes:
        sources: the folders.
        groups: one for each population.
        notes: how they were brought together.
    """

    sources: tuple[Source, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def gather(sources: Sequence[Source]) -> Material:
    """Bring sources together.

    Populations that are defined alike, with the same task, are one. Tutors of one name and the same
    settings are one, whose seeds are counted together; those with other settings carry the folder's
    name behind theirs.

    Raises:
        ValueError: they cannot be compared; the text names the two folders and what differs.
    """
    groups: list[list[tuple[Source, Part]]] = []
    for source in sources:
        for part in source.parts:
            for group in groups:
                if _is_same(source, part, *group[0]):
                    group.append((source, part))
                    break
            else:
                groups.append([(source, part)])
    names = _tutor_names(groups)
    notes = [note for source in sources for part in source.parts for note in part.notes]
    notes += _settings_notes(groups, names)
    found = tuple(_group(group, names) for group in groups)
    return Material(tuple(sources), found, tuple(dict.fromkeys(notes)))


def _is_same(source: Source, part: Part, other: Source, theirs: Part) -> bool:
    """It is the same population.

    Raises:
        ValueError: it is, and other students or other tasks; or it only has the same name.
    """
    named_alike = part.population == theirs.population
    known = part.definition is not None and theirs.definition is not None
    alike = part.definition == theirs.definition if known else named_alike
    if not named_alike and not (alike and part.task == theirs.task):
        return False
    differences = [] if alike else ["it is defined otherwise"]
    differences += [
        f"{what} is {a} and {b}"
        for what, a, b in (
            *_task_values(part.task, theirs.task),
            ("`evaluation.seed`", part.seed, theirs.seed),
            ("`evaluation.n_students`", len(part.students), len(theirs.students)),
        )
        if a != b
    ]
    if differences or not np.array_equal(part.students, theirs.students):
        raise ValueError(
            f"{source.folder} and {other.folder} cannot be compared, since the students of "
            f"`{theirs.population}` are not the same there: "
            + ("; ".join(differences) or "they have other indices")
        )
    return True


def _task_values(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(f"`task.{key}`", a.get(key), b.get(key)) for key in {**a, **b}]


def _tutor_names(
    groups: Sequence[Sequence[tuple[Source, Part]]],
) -> dict[tuple[str, str], str]:
    """Name and settings of a tutor -> what the report calls it."""
    labels = [source.label for source in {id(s): s for group in groups for s, _ in group}.values()]
    settings: dict[str, dict[str, str]] = {}
    clashing = set()
    for group in groups:
        here: dict[str, str] = {}
        for source, part in group:
            for teaching in part.teachings:
                label = str(source.folder) if labels.count(source.label) > 1 else source.label
                settings.setdefault(teaching.tutor, {}).setdefault(teaching.settings, label)
                if here.setdefault(teaching.tutor, teaching.settings) != teaching.settings:
                    clashing.add(teaching.tutor)
    return {
        (tutor, made): f"{tutor} ({label})" if tutor in clashing else tutor
        for tutor, versions in settings.items()
        for made, label in versions.items()
    }


def _settings_notes(
    groups: Sequence[Sequence[tuple[Source, Part]]], names: Mapping[tuple[str, str], str]
) -> list[str]:
    """Tutors that are called alike, and were made otherwise for one population than another."""
    made: dict[str, dict[str, str]] = {}
    for group in groups:
        for _, part in group:
            for t in part.teachings:
                versions = made.setdefault(names[t.tutor, t.settings], {})
                versions.setdefault(t.settings, group[0][1].population)
    return [
        f"`{tutor}` does not have the same settings in {_listed(versions.values())}: what is said "
        "of it over all populations is of all of these."
        for tutor, versions in made.items()
        if len(versions) > 1
    ]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _group(parts: Sequence[tuple[Source, Part]], names: Mapping[tuple[str, str], str]) -> Group:
    first = parts[0][1]
    found: dict[str, dict[int, tuple[Source, Teaching]]] = {}
    costs: dict[str, Mapping[str, float]] = {}
    for source, part in parts:
        for teaching in part.teachings:
            name = names[teaching.tutor, teaching.settings]
            costs.setdefault(name, part.costs.get(teaching.tutor, {}))
            seeds = found.setdefault(name, {})
            if teaching.seed in seeds:
                _check_repeated(teaching, source, *seeds[teaching.seed])
            else:
                seeds[teaching.seed] = source, teaching
    tutors = {
        name: Taught(
            next(iter(seeds.values()))[1].role,
            tuple(sorted(seeds)),
            np.stack([seeds[seed][1].scores for seed in sorted(seeds)]),
            costs[name],
        )
        for name, seeds in found.items()
    }
    return Group(first.population, first.task, first.seed, first.students, tutors)


def _check_repeated(teaching: Teaching, source: Source, other: Source, theirs: Teaching) -> None:
    if not np.array_equal(teaching.scores, theirs.scores):
        raise ValueError(
            f"{source.folder} and {other.folder} both hold `{teaching.tutor}` of seed "
            f"{teaching.seed}, made alike, with other scores: leave one of them out"
        )
