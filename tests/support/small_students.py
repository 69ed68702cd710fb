"""Small populations with known optima for the tests of learners, and what a tutor reaches there."""

from __future__ import annotations

from typing import Any

import torch

from tutor_agents.tutor import Oracle, Trial, Tutor
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

EVERYTHING = {
    "fatigue": {},
    "engagement": {},
    "lapses": {},
    "dropout": {"hazard": 0.1},
    "response_time": {},
    "schedule": {"steps_per_session": 4, "budget_s": 300},
    "activities": {k: {} for k in ("practice", "quiz", "worked_example", "hint", "rest")},
    "costs": {"quiz": 0.01},
    "prerequisites": {"requires": {"skill_1": ["skill_0"]}, "n_correct": 1},
}
"""Components of every kind."""


def bandit(p: list[list[float]], n_units: int = 15, **latents: Any) -> Population:
    """A style bandit with one type for each row of event probabilities."""
    types = {
        f"type_{i}": {
            "weight": 1,
            "latents": {
                "p_event": sum(row) / len(row),
                "responsiveness": [x / sum(row) for x in row],
                "style_strength": 1.0,
                "p_slip": 0.0,
                "p_guess": 0.0,
                **latents,
            },
        }
        for i, row in enumerate(p)
    }
    return Population.model_validate(
        {
            "name": "bandit",
            "student": "style_bandit",
            "model": {"modalities": [f"m{i}" for i in range(len(p[0]))], "n_units": n_units},
            "types": types,
        }
    )


def locked_bkt(**components: Any) -> Population:
    """BKT with a locked second skill: some actions are illegal at first."""
    return Population.model_validate(
        {
            "name": "locked",
            "student": "bkt",
            "model": {"n_skills": 2, "prerequisites": {1: [0]}, "unlock_after": 1},
            "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}},
            "components": components,
        }
    )


def taught(
    tutor: Tutor, population: Population, task: TeachingTask, n_students: int = 4000
) -> tuple[float, torch.Tensor]:
    """Mean return per trial over fresh test students, and the actions ``(T, n)``, all legal."""
    room = Classroom(population, task, seed=1)
    if isinstance(tutor, Oracle):
        tutor.inform(room)
    students = student_indices(Split.TEST, n_students)
    tutor.begin_trial(Trial(students, 1, 0))
    observation, total, ended, actions = room.begin_trial(students), 0.0, False, []
    while not ended:
        action = tutor.act(observation)
        if observation.legal is not None:
            assert observation.legal.gather(-1, action.unsqueeze(-1)).all()
        outcome = room.step(action)
        observation, ended = outcome.observation, outcome.trial_ended
        total += outcome.reward.mean().item()
        tutor.observe(action, observation)
        actions.append(action)
    return total, torch.stack(actions)


def score(
    tutor: Tutor, population: Population, task: TeachingTask, n_students: int = 4000
) -> float:
    """Mean return per trial over fresh test students."""
    return taught(tutor, population, task, n_students)[0]
