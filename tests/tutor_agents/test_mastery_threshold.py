"""The curriculum: order, criterion, cap, cycling, review."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tutor_agents.mastery_threshold import MasteryThresholdTutor
from tutor_agents.teaching_actions import topological_order
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import average_type
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.student import CORRECT, WRONG
from tutor_envs.task import TeachingTask

N_MODALITIES = 2
POPULATION = Population.model_validate(
    {
        "name": "test",
        "student": "bkt",
        "model": {
            "n_skills": 3,
            "modalities": ["text", "video"],
            "prerequisites": {0: [1]},
        },
        "latents": {"p_init": 0.25, "p_learn": 0.15, "p_slip": 0.1, "p_guess": 0.2},
    }
)


def skills_taught(tutor: MasteryThresholdTutor, responses: list[int], n_steps: int) -> list[int]:
    """Actions taken with a student who gives these responses, in lessons of ``n_steps``."""
    model = POPULATION.student_model
    tutor.begin_trial(Trial(torch.tensor([0]), 0, 0))
    observation = Observation(
        torch.tensor([model.n_actions]), torch.tensor([model.n_responses]), None, None, 0, 0
    )
    actions = []
    for t, response in enumerate(responses, start=1):
        action = tutor.act(observation)
        actions.append(int(action))
        observation = Observation(
            action, torch.tensor([response]), None, None, t % n_steps, t // n_steps
        )
        tutor.observe(action, observation)
    return actions


def make(**settings: float) -> MasteryThresholdTutor:
    types = average_type(POPULATION.types_exact())
    return MasteryThresholdTutor(POPULATION.student_model, types, **settings)  # type: ignore[arg-type]


def answers_to_mastery(threshold: float) -> int:
    """Correct answers after which the two-state BKT posterior passes the threshold."""
    mastered, count = 0.25, 0
    while mastered < threshold:
        known = mastered * 0.9 / (mastered * 0.9 + (1 - mastered) * 0.2)
        mastered, count = known + (1 - known) * 0.15, count + 1
    return count


@pytest.mark.parametrize("threshold", [0.7, 0.95])
def test_each_skill_until_it_is_mastered_prerequisites_first(threshold: float) -> None:
    # Skill 1 comes first: skill 0 builds on it. Then 0, then 2. Skill 0 may need more answers than
    # the others: it is learned more slowly as far as its prerequisite may be missing.
    n = answers_to_mastery(threshold)
    assert n == {0.7: 2, 0.95: 3}[threshold]
    actions = skills_taught(make(threshold=threshold), [CORRECT] * 12, 12)
    skills = [action // N_MODALITIES for action in actions]
    last = skills.index(2) + n
    assert skills[:last] == [1] * n + [0] * (last - 2 * n) + [2] * n


def test_the_modalities_of_a_skill_take_turns() -> None:
    actions = skills_taught(make(), [CORRECT] * 4, 12)
    assert actions == [2, 3, 2, 0]  # skill 1 by text, video, text; then skill 0 by text


def test_the_cap_ends_fruitless_practice_and_the_weakest_skill_is_reviewed() -> None:
    actions = skills_taught(make(max_attempts=2), [WRONG] * 6 + [CORRECT] * 2, 12)
    assert [a // N_MODALITIES for a in actions[:6]] == [1, 1, 0, 0, 2, 2]
    # All have hit the cap. Skill 0 had the least chance to be learned: it is reviewed.
    assert actions[6] // N_MODALITIES == 0


def test_a_new_lesson_starts_the_curriculum_anew() -> None:
    actions = skills_taught(make(max_attempts=2), [WRONG] * 8, 4)
    assert [a // N_MODALITIES for a in actions] == [1, 1, 0, 0] * 2


def test_topological_order_takes_the_lowest_free_index() -> None:
    assert topological_order(4, {0: (3,), 1: (0, 2)}) == [2, 3, 0, 1]
    with pytest.raises(ValueError, match="cycle"):
        topological_order(2, {0: (1,), 1: (0,)})


@pytest.mark.parametrize("student", ["irt", "memory", "style_bandit"])
def test_every_student_model_can_be_taught(
    teach: Callable[..., Any], task: TeachingTask, student: str
) -> None:
    population = Population.model_validate({"name": "test", "student": student})
    model = population.student_model
    tutor = MasteryThresholdTutor(model, population.types_exact(), max_attempts=3)
    taught = teach(tutor, population, task, 5)
    # At most three in a row on one skill while another is in hand.
    named = [model.actions[a].skill for a in taught.actions[:6, 0].tolist()]
    expected = [model.skills[min(i // 3, len(model.skills) - 1)] for i in range(6)]
    assert named == expected
