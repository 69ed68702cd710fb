"""What several tests of tutors need: a lesson to watch, and the cases with known values."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tutor_agents.tutor import Oracle, Trial, Tutor
from tutor_envs.cases import Case, load_cases
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

CASES = Path(__file__).parents[2] / ".." / "shared" / "cases" / "bayes_limit.json"


class Taught(NamedTuple):
    """A whole trial: actions ``(T, n)``, returns ``(n,)``, and every observation, the first too."""

    actions: Tensor
    returns: Tensor
    observations: list[Observation]


class Teach:
    """Teaches one trial to test students."""

    def __call__(
        self,
        tutor: Tutor,
        population: Population,
        task: TeachingTask,
        students: int | Tensor = 2000,
        seed: int = 1,
    ) -> Taught:
        if isinstance(students, int):
            students = student_indices(Split.TEST, students)
        classroom = Classroom(population, task, seed=seed)
        observation = classroom.begin_trial(students)
        if isinstance(tutor, Oracle):
            tutor.inform(classroom)
        tutor.begin_trial(Trial(students, seed, 0))
        actions, observations = [], [observation]
        returns = torch.zeros(len(students), dtype=torch.float64)
        for _ in range(task.n_trial_steps):
            action = tutor.act(observation)
            outcome = classroom.step(action)
            observation = outcome.observation
            tutor.observe(action, observation)
            actions.append(action)
            observations.append(observation)
            returns += outcome.reward
        return Taught(torch.stack(actions), returns, observations)


@pytest.fixture
def teach() -> Teach:
    return Teach()


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    if not CASES.exists():
        pytest.skip("the cases with known values (../shared/cases) are not here")
    return {case.name: case for case in load_cases(CASES)}


@pytest.fixture(scope="session")
def population() -> Population:
    """A continuous BKT population with prerequisites that lock skills at first."""
    return Population.model_validate(
        {
            "name": "test",
            "student": "bkt",
            "model": {"n_skills": 3, "prerequisites": {1: [0], 2: [1]}, "unlock_after": 1},
            "latents": {
                "ability": {"normal": {"mean": 0, "sd": 1}},
                "responsiveness": {"dirichlet": {"concentration": 1.0}},
                "style_strength": 0.8,
                "p_forget": 0.02,
            },
        }
    )


@pytest.fixture(scope="session")
def task() -> TeachingTask:
    return TeachingTask(n_lessons=2, n_steps=6)
