"""Elo matching: the ratings by hand, a law, and what the warm start finds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_agents.elo_matched import EloMatchedTutor
from tutor_agents.registry import make_tutor
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

LEVELS = (-1.0, 0.0, 1.5)
POPULATION = Population.model_validate(
    {
        "name": "levels",
        "student": "irt",
        "model": {
            "n_skills": 1,
            "difficulties": LEVELS,
            "modalities": ["text", "video"],
            "discrimination": 1.0,
        },
        "latents": {"growth": 0.0, "ability": {"normal": {"mean": 0, "sd": 0.3}}},
    }
)
"""Actions 0, 1 are the easy item, 2, 3 the middle one, 4, 5 the hard one."""
WRONG, RIGHT, NOTHING = 0, 1, 2


def make(n_steps: int = 12, **parameters: Any) -> EloMatchedTutor:
    tutor = make_tutor("elo_matched", POPULATION, TeachingTask(n_steps=n_steps), **parameters)
    assert isinstance(tutor, EloMatchedTutor)
    tutor.begin_trial(Trial(torch.tensor([0]), 0, 0))
    return tutor


def observe(tutor: EloMatchedTutor, action: int, response: int, step: int = 1) -> Observation:
    actions = torch.tensor([action])
    observation = Observation(actions, torch.tensor([response]), None, None, step, 0)
    tutor.observe(actions, observation)
    return observation


def test_ratings_move_as_worked_by_hand() -> None:
    tutor = make()
    observe(tutor, 2, RIGHT)
    # Both were 0, p = 1/2: the student gains U(0) / 2 = 0.5, the item loses as much.
    assert tutor.rating.tolist() == [0.5]
    assert tutor.difficulty.tolist() == [[0, -0.5, 0]]
    observe(tutor, 3, NOTHING)
    assert tutor.rating.tolist() == [0.5]
    observe(tutor, 3, WRONG)
    # p = sigmoid(1) = 0.7310586, U(1) = 1 / 1.05: a loss of 0.6962463, the item's gain.
    assert tutor.rating.item() == pytest.approx(0.5 - 0.6962463)
    assert tutor.difficulty[0, 1].item() == pytest.approx(-0.5 + 0.6962463)
    observe(tutor, 0, RIGHT)
    # theta = -0.1962463 on d = 0: 1 - p = 0.5489047; U(2) = 1 / 1.1 for theta, U(0) = 1 for d.
    assert tutor.rating.item() == pytest.approx(-0.1962463 + 0.5489047 / 1.1)
    assert tutor.difficulty[0, 0].item() == pytest.approx(-0.5489047)


def test_a_lesson_keeps_the_student_and_forgets_the_items() -> None:
    tutor = make()
    observe(tutor, 2, RIGHT, step=0)
    assert tutor.rating.tolist() == [0.5]
    assert tutor.difficulty.tolist() == [[0, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([WRONG, RIGHT, NOTHING]))))
@settings(max_examples=40, deadline=None)
def test_without_decay_what_the_student_wins_the_items_lose(log: list[tuple[int, int]]) -> None:
    tutor = make(decay=0.0)
    for action, response in log:
        observe(tutor, action, response)
    assert tutor.rating.item() == pytest.approx(-tutor.difficulty.sum().item(), abs=1e-9)


def test_the_nearest_item_is_asked_and_modalities_take_turns() -> None:
    tutor = make(target=0.75)
    tutor.difficulty = torch.tensor([[-1.0, 0.0, 1.5]], dtype=torch.float64)
    asked = []
    for _ in range(3):
        observation = observe(tutor, asked[-1] if asked else 5, NOTHING)
        asked.append(int(tutor.act(observation)))
    # sigmoid(1) = 0.73 is nearest to 0.75: the easy item, by text, by video, by text.
    assert asked == [0, 1, 0]
    tutor.rating = torch.tensor([2.4], dtype=torch.float64)
    assert int(tutor.act(observation)) == 4  # sigmoid(0.9) = 0.71 for the hard one


def test_the_warm_start_finds_the_difficulties() -> None:
    tutor = make(n_steps=60, warm_start=True, n_students=1000)
    found = (tutor.difficulty[0] - tutor.difficulty[0, 1]).tolist()
    # From answers alone, hence only differences; 20,000 answers to each item.
    assert found == pytest.approx(LEVELS, abs=0.15)


def test_the_first_answer_of_one_training_student_is_plain_elo() -> None:
    tutor = make(n_steps=1, warm_start=True, n_students=1)
    moved = [d for d in tutor.difficulty[0].tolist() if d]
    assert len(moved) == 1
    assert math.isclose(abs(moved[0]), 0.5)


def test_a_model_without_right_and_wrong_answers_is_refused() -> None:
    class Silent(type(POPULATION.student_model)):  # type: ignore[misc]
        @property
        def responses(self) -> tuple[str, ...]:
            return ("seen",)

    with pytest.raises(ValueError, match=r"`elo_matched` goes by right and wrong .*\['seen'\]"):
        EloMatchedTutor(Silent())
