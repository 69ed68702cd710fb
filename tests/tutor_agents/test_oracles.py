"""The oracles that plan, against enumeration and the exact planner; and the bounds in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tutor_agents.planner import ExactPlanner
from tutor_agents.registry import make_tutor
from tutor_envs.cases import Case
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask

BKT = {
    "name": "forgetful",
    "student": "bkt",
    "model": {"n_skills": 2, "modalities": ["a", "b"], "prerequisites": {1: [0]}},
    "latents": {
        "ability": {"normal": {"mean": 0, "sd": 1}},
        "style_strength": 1.0,
        "responsiveness": {"dirichlet": {"concentration": 1.0}},
        "p_forget": 0.2,
    },
}
TINY: dict[str, dict[str, Any]] = {
    "bkt": BKT,
    "bkt that unlocks": {**BKT, "model": BKT["model"] | {"unlock_after": 1}},
    "memory": {
        "name": "m",
        "student": "memory",
        "model": {"n_items": 2, "modalities": ["a", "b"], "delay": 3, "fail_to": 0},
        "latents": {"style_strength": 0.5, "responsiveness": {"dirichlet": {"concentration": 1.0}}},
    },
    "zpd": {"name": "z", "student": "zpd", "model": {"n_skills": 1}},
    "costs": {
        "name": "c",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["a"]},
        "components": {"activities": {"practice": {}, "quiz": {}}, "costs": {"practice": 0.05}},
    },
}
SCORES = ("post_test", "mastery_gain", "mean_recall", "time_to_mastery")


def best_of_all_sequences(
    population: Population, task: TeachingTask, students: torch.Tensor, seed: int
) -> torch.Tensor:
    """Largest score of each student over every sequence of a lesson, lesson by lesson, ``(n,)``."""
    n_actions, n = population.student_model.n_actions, len(students)
    sequences = torch.tensor(list(itertools.product(range(n_actions), repeat=task.n_steps)))
    classroom = Classroom(population, task, seed=seed)
    observation = classroom.begin_trial(students, n_copies=len(sequences))
    actions = sequences.repeat_interleave(n, dim=0)
    total = torch.zeros(n, dtype=torch.float64)
    for _ in range(task.n_lessons):
        lesson = torch.zeros(len(actions), dtype=torch.float64)
        for action in actions.unbind(-1):
            allowed = torch.ones_like(action, dtype=torch.bool)
            if observation.legal is not None:
                allowed = observation.legal.gather(1, action.unsqueeze(1)).squeeze(1)
            outcome = classroom.step(action)
            observation = outcome.observation
            lesson = torch.where(allowed, lesson + outcome.reward, -torch.inf)
        total += lesson.view(-1, n).amax(0)
    return total


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", TINY)
def test_the_clairvoyant_is_the_best_of_all_sequences(
    teach: Callable[..., Any], name: str, score: str
) -> None:
    population = Population.model_validate(TINY[name])
    n_steps = 4 if population.student_model.n_actions <= 4 else 3
    task = TeachingTask(
        n_lessons=2, n_steps=n_steps, reward=Reward(score=score, mastery_threshold=0.6)
    )
    students = student_indices(Split.TEST, 40)
    taught = teach(make_tutor("clairvoyant", population, task), population, task, students, 3)
    expected = best_of_all_sequences(population, task, students, 3)
    assert torch.allclose(taught.returns, expected, atol=1e-6)


@pytest.mark.parametrize("case", ["style-bandit-questionnaire-b", "bkt-types-a", "prerequisites-b"])
def test_the_informed_plan_earns_what_full_information_is_worth(
    teach: Callable[..., Any], cases: dict[str, Case], case: str
) -> None:
    population, task = cases[case].population(), cases[case].task()
    returns = teach(make_tutor("oracle_plan", population, task), population, task, 2000).returns
    error = float(returns.std()) / len(returns) ** 0.5
    assert abs(float(returns.mean()) - cases[case].values["full_info"]) <= 5 * error + 1e-5


def test_the_informed_plan_for_memories_is_the_optimum_of_each_type(
    teach: Callable[..., Any], cases: dict[str, Case]
) -> None:
    population, task = cases["memory-a"].population(), TeachingTask(n_steps=6)
    returns = teach(make_tutor("oracle_plan", population, task), population, task, 2000).returns
    error = float(returns.std()) / len(returns) ** 0.5
    assert abs(float(returns.mean()) - ExactPlanner.of(population, task).oracle()) <= 5 * error


def test_the_informed_plan_sacrifices_a_step_where_the_greedy_oracle_does_not(
    teach: Callable[..., Any],
) -> None:
    # Skill 1 is learned at once if skill 0 is mastered, else with .3; skill 0 with .25 (weight .1).
    population = Population.model_validate(
        {
            "name": "ladder",
            "student": "bkt",
            "model": {
                "n_skills": 2,
                "modalities": ["a"],
                "prerequisites": {1: [0]},
                "prerequisite_factor": 0.1,
                "weights": [0.1, 0.9],
            },
            "latents": {"p_learn": [[0.5], [1.0]], "p_init": [0.0, 0.0]},
        }
    )
    task = TeachingTask(n_steps=3)
    values = {}
    for name in ("oracle", "oracle_plan"):
        tutor = make_tutor(name, population, task)
        values[name] = float(teach(tutor, population, task, 20_000).returns.mean())
    # Skill 0 until it is mastered, then skill 1; after two failures skill 1 by itself:
    # 1/2: 1 for sure; 1/4: 1, with the last step; 1/4: the last step, best .1 * .9 = .09.
    assert values["oracle_plan"] == pytest.approx(0.5 + 0.25 + 0.25 * 0.09, abs=0.02)
    # Greedy takes the larger gain, .1 * .9 = .09 > .5 * .1 = .05, until skill 1 is mastered.
    assert values["oracle"] < 0.4


def test_no_state_is_planned_for_that_is_not_known(population: Population) -> None:
    with pytest.raises(ValueError, match=r"`oracle_plan` needs .* `bkt` as configured is neither"):
        make_tutor("oracle_plan", population, TeachingTask(n_steps=2))


def test_too_many_states_are_refused(teach: Callable[..., Any]) -> None:
    population, task = Population.model_validate(TINY["memory"]), TeachingTask(n_steps=5)
    for name, message in (
        ("clairvoyant", "exact or nothing.* states of one student, more than `max_states` = 9"),
        ("oracle_plan", "too big for `oracle_plan`.*more than `max_states` = 9"),
    ):
        tutor = make_tutor(name, population, task, max_states=9)
        with pytest.raises(ValueError, match=message):
            teach(tutor, population, task, 20)


def test_students_who_may_leave_are_refused(teach: Callable[..., Any]) -> None:
    population = Population.model_validate(BKT | {"components": {"dropout": {"hazard": 0.1}}})
    task = TeachingTask(n_steps=3)
    with pytest.raises(ValueError, match=r"`clairvoyant` cannot teach .* students may leave"):
        teach(make_tutor("clairvoyant", population, task), population, task, 5)


CASES = (
    "style-bandit-questionnaire-b",
    "bkt-types-a",
    "memory-a",
    "memory-b",
    "prerequisites-a",
    "prerequisites-b",
)


@pytest.mark.parametrize("name", CASES)
def test_the_bounds_stand_in_their_order(
    teach: Callable[..., Any], cases: dict[str, Case], name: str
) -> None:
    """Random, pomcp, bayes, the informed plan, the clairvoyant: paired, to five standard errors.

    The clairvoyant is never behind, whoever the student.
    """
    population = cases[name].population()
    task = TeachingTask(n_steps=4)
    few = {"pomcp": {"n_simulations": 10, "n_rollouts": 4}}
    returns = {
        tutor: teach(
            make_tutor(tutor, population, task, **few.get(tutor, {})), population, task, 300
        ).returns
        for tutor in ("random", "myopic", "pomcp", "bayes", "oracle", "oracle_plan", "clairvoyant")
    }
    for tutor, values in returns.items():
        assert bool((values <= returns["clairvoyant"] + 1e-6).all()), tutor
    order = ("random", "pomcp", "bayes", "oracle_plan")
    for lower, upper in itertools.pairwise(order):
        more = returns[upper] - returns[lower]
        assert float(more.mean()) >= -5 * float(more.std()) / len(more) ** 0.5, (lower, upper)
    assert float((returns["oracle_plan"] - returns["random"]).mean()) > 0
