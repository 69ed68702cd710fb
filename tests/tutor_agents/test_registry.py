"""Tutors by name: what may be asked for, and what is said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tutor_agents.registry import TUTORS, make_tutor, tutor_parameters
from tutor_agents.tutor import Oracle, Tutor
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


@pytest.fixture
def small() -> Population:
    return Population.model_validate({"name": "small", "student": "style_bandit"})


@pytest.mark.parametrize("name", TUTORS)
def test_every_tutor_is_made_by_name(small: Population, name: str) -> None:
    tutor = make_tutor(name, small, TeachingTask(n_steps=3))
    assert isinstance(tutor, Tutor)
    assert tutor.name == name
    assert isinstance(tutor, Oracle) == TUTORS[name].informed
    assert TUTORS[name].description


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("myopc", {}, "did you mean 'myopic'"),
        ("myopic", {"n_tipes": 3}, "unknown `tutors.myopic` 'n_tipes'; allowed: n_types"),
        ("random", {"n_types": 3}, r"allowed: \(none\)"),
        ("mastery_threshold", {"threshold": 1.5}, r"`tutors.mastery_threshold.threshold`.*got 1.5"),
        ("mastery_threshold", {"student": "typical"}, "'average' or 'posterior', got 'typical'"),
        ("zpd", {"target": 1}, r"`tutors.zpd.target` should be less than 1, got 1"),
        ("zpdes", {"window": 1}, r"`tutors.zpdes.window` .* got 1"),
        ("ucb1", {"reward": "gain"}, "'answer' or 'progress', got 'gain'"),
        ("thompson_bandit", {"epsilon": 0.1}, "unknown `tutors.thompson_bandit` 'epsilon'"),
        ("best_fixed", {"n_students": "many"}, "`tutors.best_fixed.n_students` .* got 'many'"),
    ],
)
def test_bad_requests_are_refused(
    small: Population, name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tutor_parameters(name, parameters)
    with pytest.raises(ValueError, match=message):
        make_tutor(name, small, TeachingTask(), **parameters)


def test_an_exact_plan_needs_a_finite_population(population: Population) -> None:
    with pytest.raises(ValueError, match="`bayes` plans exactly and needs a finite population"):
        make_tutor("bayes", population, TeachingTask(n_steps=2))


def test_a_family_too_big_for_an_exact_plan_is_refused(small: Population) -> None:
    styles = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    family = small.with_latents(
        responsiveness={"categorical": {"values": styles}}, style_strength=1
    )
    with pytest.raises(ValueError, match="too big for exact planning"):
        make_tutor("bayes", family, TeachingTask(n_steps=10), max_gib=1e-6)


def test_parameters_reach_the_tutor(
    teach: Callable[..., Any], population: Population, task: TeachingTask
) -> None:
    by_index = make_tutor("round_robin", population, task)
    at_random = make_tutor("round_robin", population, task, order="random")
    assert not teach(by_index, population, task, 20).actions.equal(
        teach(at_random, population, task, 20).actions
    )
