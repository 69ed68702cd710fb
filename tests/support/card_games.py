"""Cards for the tests of schedulers: students who answer by a script, and populations of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.student import StudentModel

DAY = 86400.0


def cards(student: str = "efc", n: int = 3, modalities: Sequence[str] = ("read",), **more: Any):
    """A population of one kind of student, with n cards and one action a day."""
    model = {"n_skills": n, "modalities": list(modalities), "step_s": DAY} | more.pop("model", {})
    return Population.model_validate({"name": "cards", "student": student, "model": model} | more)


def seen(action: Sequence[int], response: Sequence[int], step: int, lesson: int = 0) -> Observation:
    """What a tutor sees where every action is legal."""
    return Observation(torch.tensor(action), torch.tensor(response), None, None, step, lesson)


def play(
    tutor: Tutor, model: StudentModel, answers: Sequence[Sequence[int]], n_steps: int | None = None
) -> list[list[int]]:
    """The actions for each student, who answers by script whatever is asked.

    Args:
        tutor: begins a trial.
        model: whose actions they are.
        answers: of each step, of each student.
        n_steps: of a lesson; None: all are one lesson.
    """
    n = len(answers[0])
    n_steps = n_steps or len(answers) + 1
    tutor.begin_trial(Trial(torch.arange(n), 0, 0))
    observation = seen([model.n_actions] * n, [model.n_responses] * n, 0)
    actions = []
    for t, response in enumerate(answers, start=1):
        action = tutor.act(observation)
        actions.append(action)
        observation = seen(action.tolist(), response, t % n_steps, t // n_steps)
        tutor.observe(action, observation)
    return torch.stack(actions, -1).tolist()


def play_one(
    tutor: Tutor, model: StudentModel, answers: Sequence[int], n_steps: int | None = None
) -> list[int]:
    """:func:`play` with one student."""
    return play(tutor, model, [[answer] for answer in answers], n_steps)[0]
