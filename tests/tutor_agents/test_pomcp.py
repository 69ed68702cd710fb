"""Tree search: near the Bayes optimum where that is known, exact with enough simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

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
ALWAYS_LOCKED = TWO_TYPES | {"model": TWO_TYPES["model"] | {"unlock_after": 1}}


@pytest.mark.parametrize("family", [TWO_TYPES, ALWAYS_LOCKED])
@pytest.mark.parametrize("score", ["post_test", "mean_recall"])
def test_a_tree_that_is_the_whole_problem_is_exact(family: dict[str, Any], score: str) -> None:
    # 4 actions x 2 responses, three steps: (1 + 8) * 4 expansions are all there are.
    population = Population.model_validate(family)
    task = TeachingTask(n_steps=3, reward=Reward.model_validate({"score": score}))
    tutor = make_tutor("pomcp", population, task, n_simulations=400, exploration=100.0)
    assert regrets(tutor, population, task, n_students=100).max() == pytest.approx(0, abs=1e-8)


def test_what_a_lesson_reveals_is_worth_something_in_the_next() -> None:
    population = Population.model_validate(TWO_TYPES)
    task = TeachingTask(n_lessons=2, n_steps=2)
    tutor = make_tutor("pomcp", population, task, n_simulations=300, exploration=10.0)
    assert regrets(tutor, population, task, n_students=100).mean() < 1e-3


def test_with_a_horizon_of_one_it_is_myopic(
    teach: Callable[..., Any], population: Population, task: TeachingTask
) -> None:
    options = {"n_types": 8, "n_particles": 8}
    pomcp = make_tutor("pomcp", population, task, horizon=1, **options)
    myopic = make_tutor("myopic", population, task, n_types=8)
    actions = [teach(tutor, population, task, 50).actions for tutor in (pomcp, myopic)]
    assert torch.equal(*actions)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "style-bandit-a",
        "style-bandit-questionnaire-b",
        "bkt-types-a",
        "bkt-types-b",
        "memory-a",
        "memory-b",
        "prerequisites-a",
        "prerequisites-b",
    ],
)
def test_within_two_percent_of_the_bayes_optimum(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    population, task = case.population(), case.task()
    tutor = make_tutor("pomcp", population, task)
    # Another seed is other luck of the planner, too; in the bandits it makes no difference.
    n_seeds = 1 if name.startswith("style") else 3
    lost = [
        regrets(tutor, population, task, n_students=100, seed=seed).mean()
        for seed in range(n_seeds)
    ]
    span = case.values["bayes"] - case.values["random"]
    assert 1 - sum(lost) / n_seeds / span >= 0.98


def test_few_simulations_beat_the_myopic_tutor(cases: dict[str, Case]) -> None:
    population, task = cases["prerequisites-b"].population(), TeachingTask(n_steps=6)
    loss = {
        name: regrets(
            make_tutor(name, population, task, **options), population, task, n_students=100
        ).mean()
        for name, options in (("myopic", {}), ("pomcp", {"n_simulations": 10, "n_rollouts": 4}))
    }
    assert loss["pomcp"] < 0.5 * loss["myopic"]
