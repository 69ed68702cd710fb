"""Lookahead against its neighbours: myopic at depth 1, the exact planner at any depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tutor_agents.planner import ExactPlanner
from tutor_agents.registry import make_tutor
from tutor_envs.cases import Case
from tutor_envs.population import Population
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.regret import regrets

TWO_TYPES = {
    "name": "two types",
    "student": "bkt",
    "model": {"n_skills": 2, "modalities": ["a", "b"], "prerequisites": {1: [0]}},
    "types": {
        "by a": {"weight": 1, "latents": {"p_learn": [[0.6, 0.1], [0.5, 0.1]]}},
        "by b": {"weight": 2, "latents": {"p_learn": [[0.1, 0.6], [0.1, 0.5]], "p_slip": 0.3}},
    },
}


def test_depth_one_is_myopic(
    teach: Callable[..., Any], population: Population, task: TeachingTask
) -> None:
    lookahead = make_tutor("lookahead", population, task, depth=1)
    myopic = make_tutor("myopic", population, task)
    actions = [teach(tutor, population, task, 200).actions for tutor in (lookahead, myopic)]
    assert torch.equal(*actions)


@pytest.mark.parametrize("score", ["post_test", "mean_recall"])
@pytest.mark.parametrize("unlock_after", [None, 1])
def test_to_the_end_it_is_the_optimum(score: str, unlock_after: int | None) -> None:
    population = Population.model_validate(
        TWO_TYPES | {"model": TWO_TYPES["model"] | {"unlock_after": unlock_after}}
    )
    reward = Reward.model_validate({"score": score})
    task = TeachingTask(n_lessons=2, n_steps=2, reward=reward)
    tutor = make_tutor("lookahead", population, task, depth=4)
    assert regrets(tutor, population, task, n_students=200).max() == pytest.approx(0, abs=1e-8)


def test_depth_three_earns_what_the_exact_planner_says(cases: dict[str, Case]) -> None:
    population, task = cases["memory-a"].population(), TeachingTask(n_steps=7)
    lost = regrets(
        make_tutor("lookahead", population, task, depth=3), population, task, n_students=500
    )
    planner = ExactPlanner.of(population, task)
    value = planner.lookahead(3)
    error = lost.std() / len(lost) ** 0.5
    assert value.low - 5 * error <= planner.bayes() - lost.mean() <= value.high + 5 * error


def test_a_tree_that_is_too_big_is_refused(population: Population, task: TeachingTask) -> None:
    message = (
        r"`tutors.lookahead.depth` = 6 looks at 64 types x \(9 actions x 2 responses\)\^5 = "
        "120,932,352 beliefs"
    )
    with pytest.raises(ValueError, match=message):
        make_tutor("lookahead", population, task, depth=6)
