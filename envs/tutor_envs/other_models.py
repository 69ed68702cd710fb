"""Other student models for the same tutor: do the teaching actions agree, and how to make them.

A tutor acts by the index of a teaching action. It can teach students of another model if the
actions and responses mean the same there, index by index: :func:`check_same_meaning`. A population
that ships can be given the skills and modalities that a tutor knows: :func:`reshaped`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import ValidationError

from tutor_envs.distributions import Distribution, as_array
from tutor_envs.population import Population
from tutor_envs.student import CORRECT, StudentModel
from tutor_envs.student_registry import configured

RESHAPED = (
    "actr",
    "afm",
    "bkt",
    "dash",
    "dash_actr",
    "dash_mcm",
    "data_shaped",
    "efc",
    "fsrs",
    "hlr",
    "irt",
    "memory",
    "ou",
    "pfa",
    "ppe",
)
"""Student models that can have any number of skills and modalities; others have a structure."""


def check_same_meaning(known: Population, other: Population) -> None:
    """Refuse students for whom a tutor's actions, or the responses to them, mean something else.

    Action by action, skill and modality must be the same by index, and so must be the activity: by
    name, or where each model has only one (practice here, review there), whatever its name.

    Args:
        known: the population that the tutor was made for.
        other: the one that it is to teach.

    Raises:
        ValueError: they disagree; the text says where.
    """
    mine, theirs = known.student_model, other.student_model
    where = f"population `{other.name}` cannot be taught by tutors of `{known.name}`"
    for what, found, wanted in (
        # the first two are a wrong and a correct answer, whatever their names
        ("responses", _after_answers(theirs), _after_answers(mine)),
        ("signals", theirs.signal_names, mine.signal_names),
    ):
        if found != wanted:
            raise ValueError(f"{where}: its {what} must be {list(wanted)}, got {list(found)}")
    if len(theirs.actions) != len(mine.actions):
        raise ValueError(f"{where}: it must have {_size(mine)}, got {_size(theirs)}")
    same_names = sorted(mine.modalities) == sorted(theirs.modalities)
    if same_names and mine.modalities != theirs.modalities:
        raise ValueError(
            f"{where}: `modalities` must come in the same order, {list(mine.modalities)}, got "
            f"{list(theirs.modalities)}"
        )
    for i, (one, another) in enumerate(zip(_meanings(mine), _meanings(theirs), strict=True)):
        if one != another:
            raise ValueError(
                f"{where}: teaching action {i} must mean `{mine.actions[i]}`, got "
                f"`{theirs.actions[i]}`"
            )


def _after_answers(model: StudentModel) -> tuple[str, ...]:
    return ("wrong", "correct", *model.responses[CORRECT + 1 :])


def _size(model: StudentModel) -> str:
    activities = len({action.activity for action in model.actions})
    return (
        f"{model.n_actions} teaching actions ({len(model.skills)} skills, "
        f"{len(model.modalities)} modalities, {activities} activities)"
    )


def _meanings(model: StudentModel) -> list[tuple[str, int, int]]:
    """Activity, index of the skill and of the modality of each action; -1 for none."""
    several = len({action.activity for action in model.actions}) > 1
    return [
        (
            action.activity if several else "",
            model.skills.index(action.skill) if action.skill in model.skills else -1,
            model.modalities.index(action.modality) if action.modality in model.modalities else -1,
        )
        for action in model.actions
    ]


def reshaped(population: Population, like: Population) -> Population:
    """Its students with the number of skills and the modalities of another population.

    What the population says skill by skill, or modality by modality, is taken from the place that
    lies as far along: the fourth of five skills is like the third of four. Prerequisites and names
    are kept where the number of skills stays. Students of ``irt`` get one difficulty, its target.

    Args:
        population: of one of the models ``RESHAPED``, without components.
        like: whose actions the students are to be taught by.

    Raises:
        ValueError: another model, components, or a configuration that allows no other shape.
    """
    model, wanted = population.model, like.student_model
    assert isinstance(model, StudentModel)
    if population.student not in RESHAPED or population.components is not None:
        what = "components" if population.components else f"model `{population.student}`"
        raise ValueError(f"population `{population.name}` cannot be reshaped: it has {what}")
    n_skills = len(wanted.skills)
    config = model.model_dump() | {
        "n_items" if population.student == "memory" else "n_skills": n_skills,
        "modalities": wanted.modalities,
    }
    if population.student == "irt":
        config["difficulties"] = (config["target_difficulty"],)
    if n_skills != len(model.skills):
        own: dict[str, Any] = {"skill_names": (), "prerequisites": {}, "weights": None}
        config |= {key: value for key, value in own.items() if key in config}
    try:
        other = configured(type(model), config)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(f"population `{population.name}` cannot be reshaped: {reason}") from None

    def fitted(latents: dict[str, Distribution]) -> dict[str, Distribution]:
        return {
            name: _resized(
                distribution, model.latent_specs[name].shape, other.latent_specs[name].shape
            )
            for name, distribution in latents.items()
        }

    types = {
        name: kind.model_copy(update={"latents": fitted(kind.latents)})
        for name, kind in population.types.items()
    }
    return Population(
        name=f"{population.name} shaped as {like.name}",
        description=population.description,
        student=population.student,
        model=other,
        latents=fitted(population.latents),
        types=types,
        correlations=population.correlations,
    )


def _resized(
    distribution: Distribution, old: tuple[int, ...], new: tuple[int, ...]
) -> Distribution:
    """The distribution with its numbers for each skill or modality picked for the new shape."""
    if old == new:
        return distribution
    changes: dict[str, Any] = {}
    for field in type(distribution).model_fields:
        value = getattr(distribution, field)
        if not isinstance(value, tuple) or field == "probabilities":
            continue
        numbers = as_array(value)
        n_own = numbers.ndim - (field == "values")  # the first axis of `values` lists them
        if n_own == 0:
            continue
        for axis, (before, after) in enumerate(
            zip(old[-n_own:], new[-n_own:], strict=True), start=numbers.ndim - n_own
        ):
            if numbers.shape[axis] == before:
                numbers = numbers.take(np.arange(after) * before // after, axis=axis)
        changes[field] = numbers.tolist()
    return type(distribution).model_validate(distribution.model_dump() | changes)
