"""The best fixed sequence: against brute force, known values, and locked skills."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tutor_agents import best_fixed
from tutor_agents.best_fixed import BestFixedTutor, FixedSequence, search_sequence
from tutor_envs.cases import Case
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

CHAIN = Population.model_validate(
    {
        "name": "chain",
        "student": "bkt",
        "model": {
            "n_skills": 3,
            "modalities": ["text"],
            "prerequisites": {0: [1], 2: [0]},
            "prerequisite_factor": 0.0,
        },
        "latents": {"p_init": 0.0, "p_learn": 1.0},
    }
)


def test_a_chain_of_sure_steps_is_found_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # Everything is learned at the first try once its prerequisite is there: 1, 0, 2 masters all.
    task = TeachingTask(n_steps=3)
    exhaustive = search_sequence(CHAIN, task, n_students=4)
    assert exhaustive.actions == (1, 0, 2)
    assert exhaustive.score == pytest.approx(1.0)
    monkeypatch.setattr(best_fixed, "_MAX_EXHAUSTIVE", 0)
    assert search_sequence(CHAIN, task, n_students=4) == exhaustive


def test_local_search_finds_what_exhaustive_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    population = CHAIN.with_latents(p_learn=0.5, p_forget=0.05)
    task = TeachingTask(n_steps=6)
    exhaustive = search_sequence(population, task, n_students=64)
    monkeypatch.setattr(best_fixed, "_MAX_EXHAUSTIVE", 0)
    assert search_sequence(population, task, n_students=64).score == pytest.approx(exhaustive.score)


def test_the_score_of_a_sequence_is_what_teaching_it_brings(teach: Callable[..., Any]) -> None:
    population = CHAIN.with_latents(p_learn=0.5)
    task = TeachingTask.model_validate({"n_steps": 4, "reward": {"score": "mean_recall"}})
    found = search_sequence(population, task, seed=3, n_students=40)
    students = student_indices(Split.TRAIN, 40)
    returns = {
        sequence: teach(
            BestFixedTutor(FixedSequence(sequence, 0.0)), population, task, students, seed=3
        )
        .returns.mean()
        .item()
        for sequence in itertools.product(range(3), repeat=4)
    }
    assert found.score == pytest.approx(max(returns.values()), abs=1e-6)
    assert returns[found.actions] == pytest.approx(found.score, abs=1e-6)


def test_a_spent_budget_ends_the_search() -> None:
    task = TeachingTask(n_steps=40)
    found = search_sequence(CHAIN, task, n_students=8, max_student_steps=1)
    assert len(found.actions) == 40


def test_locked_skills_are_skipped_and_lessons_repeat(
    teach: Callable[..., Any], population: Population, task: TeachingTask
) -> None:
    tutor = BestFixedTutor(FixedSequence((3, 6, 0, 1, 2, 5), 0.0))
    taught = teach(tutor, population, task, 50)
    # Skills 1 and 2 (actions 3 to 8) are locked at first: the next legal index is 0.
    assert bool((taught.actions[[0, 6]] == 0).all())
    for t, action in enumerate(taught.actions):
        assert bool(taught.observations[t].legal.gather(1, action.unsqueeze(1)).all())


@pytest.mark.parametrize("name", ["bkt-types-a", "memory-a", "prerequisites-b"])
def test_close_to_the_exact_open_loop_value(
    teach: Callable[..., Any], cases: dict[str, Case], name: str
) -> None:
    case = cases[name]
    population, task = case.population(), case.task()
    found = search_sequence(population, task, n_students=256, max_student_steps=3_000_000)
    returns = teach(BestFixedTutor(found), population, task, 4000).returns
    se = returns.std().item() / 4000**0.5
    # Never above the optimum; below it by what 256 training students cannot tell apart.
    assert returns.mean().item() <= case.values["openloop"] + 5 * se
    assert returns.mean().item() >= case.values["openloop"] - 0.015 - 5 * se
    assert torch.tensor(found.actions).max() < population.student_model.n_actions
