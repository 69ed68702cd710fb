"""The other populations: standard shifts, variants, other student models, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tutor_envs.other_models import RESHAPED, check_same_meaning, reshaped
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS, default_population
from tutor_envs.shifts import SHIFTS, shifted
from tutor_sim.experiment_files import load_population

OTHER_MODELS = ("bkt", "irt", "fsrs")
"""Populations of other models that every tutor meets if it can: knowledge, ability, memory."""

Kind = Literal["home", "shift", "variant", "model", "file"]


class Elsewhere(NamedTuple):
    """A population that a tutor is taken to.

    Attributes:
        name: how tables call it.
        kind: where it comes from.
        population: whose students are taught.
        meaning: what is different there.
    """

    name: str
    kind: Kind
    population: Population
    meaning: str


class LeftOut(NamedTuple):
    """A population that cannot be made, and why."""

    name: str
    reason: str


def standard_populations(home: Population) -> tuple[list[Elsewhere], list[LeftOut]]:
    """All standard shifts, all variants of the population, and other student models."""
    found: list[Elsewhere] = []
    left_out: list[LeftOut] = []
    for name in SHIFTS:
        try:
            found.append(_shift(home, name))
        except ValueError as error:
            left_out.append(LeftOut(name, str(error)))
    for name in home.variants:
        variant = _variant(home, name)
        same = [one.name for one in found if _alike(one.population, variant.population)]
        if same:
            left_out.append(LeftOut(name, f"this variant is the same as the shift `{same[0]}`"))
        else:
            found.append(variant)
    for name in OTHER_MODELS:
        if name == home.student:
            continue
        try:
            found.append(_other_model(home, name))
        except ValueError as error:
            left_out.append(LeftOut(name, str(error)))
    return found, left_out


def named_populations(home: Population, names: Sequence[str]) -> list[Elsewhere]:
    """These populations.

    Args:
        home: where the tutor was trained.
        names: of variants, of standard shifts, of populations that ship, or paths of files.

    Raises:
        ValueError: nothing is called like that, it makes no sense for these students, or the
            tutor's actions mean something else there.
    """
    return [_named(home, name) for name in dict.fromkeys(names)]


def _named(home: Population, name: str) -> Elsewhere:
    if name in home.variants:
        return _variant(home, name)
    if name in SHIFTS:
        try:
            return _shift(home, name)
        except ValueError as error:
            raise ValueError(
                f"`--population` {name} makes no sense for `{home.name}`: {error}"
            ) from error
    if name in POPULATIONS:
        return _other_model(home, name)
    if not Path(name).is_file():
        raise ValueError(
            f"`--population` must be a standard shift ({', '.join(SHIFTS)}), a variant of the "
            f"run's population ({', '.join(home.variants) or 'it has none'}), one of "
            f"{', '.join(POPULATIONS)}, or the path of a population file, got {name!r}"
        )
    population = load_population(Path(name))
    check_same_meaning(home, population)
    return Elsewhere(name, "file", population, population.description or population.name)


def _shift(home: Population, name: str) -> Elsewhere:
    return Elsewhere(name, "shift", shifted(home, name), SHIFTS[name])


def _variant(home: Population, name: str) -> Elsewhere:
    return Elsewhere(name, "variant", home.variant(name), home.variants[name].description)


def _other_model(home: Population, name: str) -> Elsewhere:
    """A population that ships: as it is, or else with the skills and modalities of home."""
    population = default_population(name)
    try:
        check_same_meaning(home, population)
    except ValueError:
        if population.student not in RESHAPED:
            raise
        population = reshaped(population, home)
        check_same_meaning(home, population)
    meaning = f"students of the model `{population.student}`"
    if population.name != name:
        meaning += ", with these skills and modalities"
    return Elsewhere(name, "model", population, meaning)


def _alike(one: Population, other: Population) -> bool:
    nameless = {"name": "", "description": "", "variants": {}}
    return one.model_copy(update=nameless) == other.model_copy(update=nameless)
