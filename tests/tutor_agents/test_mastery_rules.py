"""Rules of mastery learning on a belief: prerequisites first, and a target rate of success."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tutor_agents.registry import make_tutor
from tutor_agents.teaching_actions import prerequisites_of
from tutor_agents.tutor import Trial, Tutor
from tutor_agents.zpd import ZpdTutor
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.student import CORRECT, WRONG
from tutor_envs.task import TeachingTask

TASK = TeachingTask(n_steps=30)
RATES = {"p_init": 0.25, "p_learn": 0.15, "p_slip": 0.1, "p_guess": 0.2}


def population(**more: Any) -> Population:
    """BKT, two modalities: skill 1 builds on skill 0; skill 2 stands alone."""
    model = {"n_skills": 3, "modalities": ["text", "video"], "prerequisites": {1: [0]}}
    return Population.model_validate(
        {"name": "test", "student": "bkt", "model": model, "latents": RATES} | more
    )


def actions_taken(tutor: Tutor, responses: list[int], legal: list[bool] | None = None) -> list[int]:
    """With a student who gives these responses."""
    tutor.begin_trial(Trial(torch.tensor([0]), 0, 0))
    mask = None if legal is None else torch.tensor([legal])
    observation = Observation(torch.tensor([6]), torch.tensor([2]), mask, None, 0, 0)
    actions = []
    for t, response in enumerate(responses, start=1):
        action = tutor.act(observation)
        actions.append(int(action))
        observation = Observation(action, torch.tensor([response]), mask, None, t, 0)
        tutor.observe(action, observation)
    return actions


def skills(actions: list[int]) -> list[int]:
    return [action // 2 for action in actions]


# -- prerequisites first ---------------------------------------------------------------------------
def test_what_builds_on_an_unmastered_skill_is_not_practised() -> None:
    tutor = make_tutor("prerequisites_first", population(), TASK, max_attempts=2)
    # Skill 0 is never mastered: turns go between it and skill 2, never to skill 1; the older rule
    # leaves skill 0 at the cap, and goes on with skill 1.
    assert skills(actions_taken(tutor, [WRONG] * 10)) == [0, 0, 2, 2, 0, 0, 2, 2, 0, 0]
    other = make_tutor("mastery_threshold", population(), TASK, max_attempts=2)
    assert skills(actions_taken(other, [WRONG] * 4)) == [0, 0, 1, 1]


def test_mastery_opens_what_builds_on_it_and_all_is_reviewed_in_the_end() -> None:
    tutor = make_tutor("prerequisites_first", population(), TASK)
    actions = actions_taken(tutor, [CORRECT] * 12)
    # Three right answers lift 0.25 above 0.95 (worked out in the tests of `mastery_threshold`).
    assert skills(actions)[:4] == [0, 0, 0, 1]
    assert actions[:3] == [0, 1, 0]  # the modalities take turns
    first = skills(actions).index(2)
    assert set(skills(actions)[3:first]) == {1}
    assert set(skills(actions)[first : first + 3]) == {2}


def test_without_prerequisites_skill_by_skill() -> None:
    free = population(model={"n_skills": 3, "modalities": ["text", "video"]})
    tutor = make_tutor("prerequisites_first", free, TASK)
    assert skills(actions_taken(tutor, [CORRECT] * 9)) == [0] * 3 + [1] * 3 + [2] * 3


def test_where_the_fringe_cannot_be_taught_the_first_that_can_is() -> None:
    tutor = make_tutor("prerequisites_first", population(), TASK)
    only_the_dependent = [False, False, True, True, False, False]
    assert skills(actions_taken(tutor, [WRONG] * 2, only_the_dependent)) == [1, 1]


def test_prerequisites_are_read_wherever_they_are_declared() -> None:
    assert prerequisites_of(population().student_model) == {1: (0,)}
    composed = population(
        components={"prerequisites": {"requires": {"skill_2": ["skill_0"], "skill_1": []}}}
    )
    assert prerequisites_of(composed.student_model) == {1: (0,), 2: (0,)}
    kss = Population.model_validate(
        {"name": "t", "student": "kss", "model": {"n_skills": 3, "edges": [[2, 0], [1, 0]]}}
    )
    assert prerequisites_of(kss.student_model) == {0: (1, 2)}
    plain = Population.model_validate({"name": "t", "student": "afm"})
    assert prerequisites_of(plain.student_model) == {}


# -- a target rate of success ----------------------------------------------------------------------
IRT = Population.model_validate(
    {
        "name": "test",
        "student": "irt",
        "model": {
            "n_skills": 2,
            "difficulties": [-2.0, 0.0, 2.0],
            "modalities": ["text", "video"],
            "discrimination": 1.0,
            "target_difficulty": 2.0,
        },
        "latents": {"growth": 0.0, "skill_offset": [0.5, -0.1]},
    }
)
"""theta is 0.5 and -0.1; actions 0 to 5 are on the first skill, two for each difficulty."""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # P = 0.924 0.622 0.182 on the first skill, 0.870 0.475 0.109 on the second
        (0.95, [0, 1, 0]),
        (0.86, [6, 7, 6]),
        (0.6, [2, 3, 2]),
        (0.15, [4, 5, 4]),
    ],
)
def test_the_item_nearest_to_the_target_in_turns(target: float, expected: list[int]) -> None:
    tutor = make_tutor("zpd", IRT, TASK, target=target)
    assert isinstance(tutor, ZpdTutor)
    assert actions_taken(tutor, [WRONG] * 3) == expected
    assert tutor.success()[0, ::2].tolist() == pytest.approx(
        [0.924142, 0.622459, 0.182426, 0.869892, 0.475021, 0.109097], abs=1e-5
    )


def test_mastered_skills_are_left_until_all_are() -> None:
    # Mastery is P(correct) at difficulty 2: 0.182 and 0.109. Above 0.15 counts as mastered here.
    tutor = make_tutor("zpd", IRT, TASK, target=0.924, threshold=0.15)
    assert actions_taken(tutor, [WRONG] * 2) == [6, 7]
    every = make_tutor("zpd", IRT, TASK, target=0.924, threshold=0.1)
    assert actions_taken(every, [WRONG] * 2) == [0, 1]


def test_success_is_that_of_answers_given(teach: Callable[..., Any]) -> None:
    """Worked examples are never chosen, and leaving the course is no wrong answer."""
    activities: dict[str, Any] = {name: {} for name in ("practice", "worked_example", "rest")}
    composed = population(components={"activities": activities, "dropout": {"hazard": 0.3}})
    tutor = make_tutor("zpd", composed, TASK, student="average")
    assert isinstance(tutor, ZpdTutor)
    taught = teach(tutor, composed, TeachingTask(n_steps=6), 20)
    asked = {composed.student_model.actions[a].activity for a in taught.actions.unique().tolist()}
    assert asked == {"practice"}
    tutor.begin_trial(Trial(torch.tensor([0]), 0, 0))
    # 0.25 * 0.9 + 0.75 * 0.2
    assert tutor.success()[0, 0].item() == pytest.approx(0.375, abs=1e-6)
