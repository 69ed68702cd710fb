"""The vector that Gymnasium's users see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tutor_envs.classroom import Classroom, Observation
from tutor_envs.observation import observation_layout, observation_space, observation_vector
from tutor_envs.population_files import default_population
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.students.style_bandit import StyleBandit
from tutor_envs.task import TeachingTask

MODEL = StyleBandit(modalities=("a", "b", "c"))
TASK = TeachingTask(n_lessons=2, n_steps=4, show_score=True)
LAYOUT = observation_layout(MODEL, TASK)


def vector(action, response, step, lesson, score=0.0) -> dict[str, list[float]]:
    """One student's vector, by slice."""
    seen = Observation(
        torch.tensor([action]), torch.tensor([response]), None, torch.tensor([score]), step, lesson
    )
    row = observation_vector(seen, LAYOUT, TASK)[0]
    return {name: row[part].tolist() for name, part in LAYOUT._asdict().items()}


def test_the_slices_tile_the_vector():
    assert LAYOUT.size == 3 + 2 + 6 + 1
    covered = np.concatenate([np.arange(LAYOUT.size)[part] for part in LAYOUT])
    assert covered.tolist() == list(range(LAYOUT.size))
    without = observation_layout(MODEL, TeachingTask())
    assert without.size == LAYOUT.size - 1
    assert np.arange(without.size)[without.score].size == 0


def test_the_start_of_a_trial():
    assert vector(action=3, response=2, step=0, lesson=0) == {
        "action": [0, 0, 0],
        "response": [0, 0],
        "correct": [0],
        "valid": [0],
        "progress": [0],
        "lesson": [0],
        "lesson_start": [1],
        "trial_start": [1],
        "score": [0],
        "signals": [],
    }


def test_within_a_lesson():
    assert vector(action=1, response=1, step=3, lesson=1) == {
        "action": [0, 1, 0],
        "response": [0, 1],
        "correct": [1],
        "valid": [1],
        "progress": [0.75],
        "lesson": [0.5],
        "lesson_start": [0],
        "trial_start": [0],
        "score": [0],
        "signals": [],
    }


def test_an_illegal_action_is_seen_as_such():
    seen = vector(action=2, response=2, step=1, lesson=0)
    assert seen["action"] == [0, 0, 1]
    assert (seen["response"], seen["correct"], seen["valid"]) == ([0, 0], [0], [0])


def test_the_first_observation_of_an_inner_lesson_carries_the_last_answer_and_the_score():
    seen = vector(action=0, response=0, step=0, lesson=1, score=0.625)
    assert (seen["lesson_start"], seen["trial_start"]) == ([1], [0])
    assert (seen["action"], seen["response"], seen["correct"]) == ([1, 0, 0], [1, 0], [0])
    assert seen["score"] == [0.625]


def test_after_the_trial_nothing_starts():
    seen = vector(action=0, response=1, step=0, lesson=2)
    assert (seen["lesson"], seen["lesson_start"], seen["trial_start"]) == ([1], [0], [0])


@pytest.mark.parametrize("student", STUDENT_MODELS)
@pytest.mark.parametrize("score", ["post_test", "mastery_gain", "mean_recall", "time_to_mastery"])
def test_every_observation_of_a_trial_lies_in_the_space(student, score):
    population = default_population(student)
    task = TeachingTask(n_lessons=2, n_steps=9, reward={"score": score}, show_score=True)
    room = Classroom(population, task)
    layout = observation_layout(room.model, task)
    space = observation_space(layout)
    luck = torch.Generator().manual_seed(0)
    observations = [room.begin_trial(torch.arange(20))]
    for _ in range(18):
        action = torch.randint(room.model.n_actions, (20,), generator=luck)
        observations.append(room.step(action).observation)
    for observation in observations:
        for row in observation_vector(observation, layout, task).numpy():
            assert row in space
