"""Students seated several times: the same person, the same luck, taught in several ways."""

from __future__ import annotations

import torch

from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask


def test_copies_of_a_student_differ_by_what_they_are_taught_only() -> None:
    population = Population.model_validate(
        {"name": "test", "student": "bkt", "latents": {"ability": {"normal": {"sd": 1.0}}}}
    )
    task = TeachingTask(n_lessons=2, n_steps=4)
    students = student_indices(Split.TEST, 7)
    together, apart = (Classroom(population, task, seed=5) for _ in range(2))
    together.begin_trial(students, 1, n_copies=3)
    lessons = torch.tensor([[0, 3, 6, 0, 1, 4, 7, 1], [0] * 8, [8, 7, 6, 5, 4, 3, 2, 1]])
    outcomes = [together.step(a.repeat_interleave(7)) for a in lessons.T]
    for copy, actions in enumerate(lessons):
        apart.begin_trial(students, 1)
        rows = slice(7 * copy, 7 * copy + 7)
        for action, outcome in zip(actions, outcomes, strict=True):
            alone = apart.step(action.expand(7))
            assert torch.equal(alone.observation.response, outcome.observation.response[rows])
            assert torch.equal(alone.reward, outcome.reward[rows])
            assert torch.equal(alone.truth.mastery, outcome.truth.mastery[rows])
