"""ZPDES: progress and weights by hand, the zone, and what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_agents.registry import make_tutor
from tutor_agents.tutor import Trial
from tutor_agents.zpdes import Values, ZpdesTutor, chances
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

WRONG, RIGHT = 0, 1


def bkt(**model: Any) -> Population:
    return Population.model_validate(
        {
            "name": "test",
            "student": "bkt",
            "model": {"n_skills": 3, "modalities": ["text", "video"], **model},
        }
    )


CHAIN = bkt(prerequisites={1: [0], 2: [0, 1]})


def make(population: Population, n: int = 1, **parameters: Any) -> ZpdesTutor:
    tutor = make_tutor("zpdes", population, TeachingTask(n_steps=20), **parameters)
    assert isinstance(tutor, ZpdesTutor)
    tutor.begin_trial(Trial(torch.arange(n), 0, 0))
    return tutor


def answer(tutor: ZpdesTutor, action: int, *responses: int, step: int = 1) -> None:
    for response in responses:
        actions = torch.tensor([action])
        tutor.observe(actions, Observation(actions, torch.tensor([response]), None, None, step, 0))


def weights(window: int, *answers: int, beta: float = 0.2) -> list[float]:
    """Weight of the only value after each answer."""
    values, known = Values(1, 1, window, torch.device("cpu")), []
    for response in answers:
        one = torch.tensor([True])
        values.add(torch.tensor([0]), torch.tensor([response == RIGHT]), one, beta)
        known.append(values.weight.item())
    return known


def test_weights_follow_progress_as_worked_by_hand() -> None:
    # Window 4. Two answers change nothing. Three (0, 0, 1): newest 1 less the mean of 0, 0: r = 1,
    # w = 0.2 * 0.05 + 0.8 * 1 = 0.81. Four (0, 0, 1, 1): r = 1, w = 0.162 + 0.8 = 0.962.
    # Then 0 1 1 1: r = 1 - 1/2, w = 0.1924 + 0.4. Then 1 1 1 1: r = 0, not 2 as from adding the
    # halves. Then 1 1 1 0: r = -1/2 counts as 0.
    expected = [0.05, 0.05, 0.81, 0.962, 0.5924, 0.11848, 0.023696]
    assert weights(4, 0, 0, 1, 1, 1, 1, 0) == pytest.approx(expected)


@given(st.lists(st.integers(0, 1), min_size=3, max_size=20), st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_progress_is_the_newer_half_less_the_older(answers: list[int], window: int) -> None:
    values = Values(1, 2, window, torch.device("cpu"))
    for response in answers:
        values.add(
            torch.tensor([1]), torch.tensor([bool(response)]), torch.tensor([True]), beta=0.2
        )
    held = answers[-window:]
    half = len(held) // 2
    expected = np.mean(held[-half:]) - np.mean(held[:-half])
    assert values.progress()[0].tolist() == pytest.approx([0, expected])
    assert values.weight[0, 0] == 0.05


def test_chances_mix_the_weights_with_exploration() -> None:
    weight = torch.tensor([[0.3, 0.1, 0.6], [0.0, 0.0, 0.5]], dtype=torch.float64)
    among = torch.tensor([[True, True, False]] * 2)
    # 0.8 * (3/4, 1/4) + 0.2 * 1/2; where the weights are zero, equal chances
    expected = torch.tensor([[0.7, 0.3, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    assert torch.allclose(chances(weight, among, 0.2), expected)


def test_the_zone_opens_with_success_and_closes_with_mastery() -> None:
    tutor = make(CHAIN)
    assert tutor.zone.tolist() == [[True, False, False]]
    answer(tutor, 0, RIGHT)
    assert tutor.zone.tolist() == [[True, False, False]]  # one answer is too few
    answer(tutor, 1, RIGHT)
    assert tutor.zone.tolist() == [[True, True, False]]  # skill 2 builds on skill 1, too
    assert tutor.items.weight[0, 1] == tutor.items.weight[0, 0]
    answer(tutor, 2, WRONG, RIGHT)
    assert tutor.zone.tolist() == [[True, True, False]]  # one half is not above one half
    answer(tutor, 2, RIGHT)
    assert tutor.zone.tolist() == [[True, True, True]]
    answer(tutor, 0, RIGHT, RIGHT, RIGHT)
    assert tutor.zone.tolist() == [[True, True, True]]
    answer(tutor, 0, RIGHT)  # six of six
    assert tutor.zone.tolist() == [[False, True, True]]
    answer(tutor, 2, *[RIGHT] * 6)
    answer(tutor, 4, *[RIGHT] * 6)
    assert tutor.zone.tolist() == [[False, False, True]]  # the last one stays


def test_a_new_lesson_opens_the_first_items_and_keeps_what_modalities_are_worth() -> None:
    tutor = make(CHAIN)
    answer(tutor, 1, WRONG, WRONG, RIGHT, RIGHT)
    before = tutor.modalities.weight.clone()
    answer(tutor, 0, RIGHT, step=0)
    assert tutor.zone.tolist() == [[True, False, False]]
    assert torch.equal(tutor.modalities.weight, before)
    assert before[0, 1] > before[0, 0] == 0.05
    answer(tutor, 1, WRONG)  # the first answer of the lesson: nothing to compare it with
    assert torch.equal(tutor.modalities.weight, before)


def test_levels_follow_each_other_and_skills_as_asked() -> None:
    irt = Population.model_validate(
        {"name": "t", "student": "irt", "model": {"n_skills": 2, "difficulties": [0.0, 1.0]}}
    )
    assert make(irt).zone.tolist() == [[True, False, True, False]]
    assert make(irt, order="index").zone.tolist() == [[True, False, False, False]]
    assert make(bkt()).zone.tolist() == [[True, True, True]]
    assert make(bkt(), order="index").zone.tolist() == [[True, False, False]]


def test_items_and_modalities_are_drawn_by_their_weights() -> None:
    n = 40_000
    tutor = make(bkt(), n)
    tutor.items.weight[:] = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    tutor.modalities.weight[:] = torch.tensor([0.9, 0.1, 0.0], dtype=torch.float64)
    start = torch.full((n,), 6)
    actions = tutor.act(Observation(start, torch.full((n,), 2), None, None, 0, 0))
    share = torch.bincount(actions, minlength=6).double() / n
    item = 0.8 * np.array([0.5, 0.3, 0.2]) + 0.2 / 3
    way = 0.8 * np.array([0.9, 0.1]) + 0.2 / 2
    # Five standard errors of a share are at most 0.0125.
    assert share.numpy() == pytest.approx(np.outer(item, way).ravel(), abs=0.0125)
