"""Rules and bandits teach whoever comes: shipped populations, components, students of any make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tutor_envs
from small_students import EVERYTHING, taught
from tutor_agents.registry import TUTORS, make_tutor
from tutor_envs.population import Population
from tutor_envs.population_files import load_population
from tutor_envs.student import TeachingAction
from tutor_envs.task import TeachingTask

ON_A_BELIEF: dict[str, dict[str, Any]] = {
    "prerequisites_first": {},
    "zpd": {},
    "max_information": {"n_types": 8},
}
BY_ANSWERS: dict[str, dict[str, Any]] = {
    "zpdes": {},
    "elo_matched": {"warm_start": True, "n_students": 16},
    "epsilon_greedy": {"warm_start": True, "n_students": 16},
    "ucb1": {},
    "thompson_bandit": {},
    "linucb": {"warm_start": True, "n_students": 16},
}
FOLDER = Path(tutor_envs.__file__).parent / "populations"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))
A_FEW = ("bkt_classroom", "irt", "kss", "style_bandit", "tms")
"""Those with prerequisites, difficulties, edges, a questionnaire, materials on several skills."""


def teach(name: str, population: Population, parameters: dict[str, Any]) -> list[TeachingAction]:
    """The actions that one of 16 students takes in two short lessons; all are checked as legal."""
    longest = population.student_model.max_lesson_steps or 5
    task = TeachingTask(n_lessons=2, n_steps=min(5, longest))
    tutor = make_tutor(name, population, task, **parameters)
    actions = taught(tutor, population, task, n_students=16)[1]
    return [population.student_model.actions[a] for a in actions.unique().tolist()]


@pytest.mark.parametrize("name", ON_A_BELIEF | BY_ANSWERS)
@pytest.mark.parametrize(
    "shipped",
    [name if name in A_FEW else pytest.param(name, marks=pytest.mark.slow) for name in SHIPPED],
)
def test_shipped_populations_are_taught(shipped: str, name: str) -> None:
    population = load_population(FOLDER / f"{shipped}.yaml")
    actions = teach(name, population, (ON_A_BELIEF | BY_ANSWERS)[name])
    # Others are taken where nothing else is legal; testing may ask for anything.
    assert name == "max_information" or all(action.skill for action in actions)


@pytest.mark.parametrize("name", ON_A_BELIEF | BY_ANSWERS)
def test_students_with_components_of_every_kind_are_taught(name: str) -> None:
    population = Population.model_validate(
        {
            "name": "everything",
            "student": "bkt",
            "model": {"n_skills": 2},
            "components": {**EVERYTHING, "n_particles": 8},
        }
    )
    actions = teach(name, population, (ON_A_BELIEF | BY_ANSWERS)[name])
    if name not in ("prerequisites_first", "max_information"):
        assert not {a.activity for a in actions} & {"worked_example", "rest"}


@pytest.mark.parametrize("name", BY_ANSWERS)
def test_students_who_can_only_be_simulated_are_taught(name: str) -> None:
    moody = Path(__file__).parents[2] / "experiments" / "custom_students" / "moody.py"
    population = Population.model_validate({"name": "moody", "student": f"{moody}:Moody"})
    assert not population.student_model.is_functional
    assert teach(name, population, BY_ANSWERS[name])


def test_only_what_needs_a_belief_says_so() -> None:
    assert all(TUTORS[name].predicts for name in ON_A_BELIEF)
    assert not any(TUTORS[name].predicts for name in BY_ANSWERS)
