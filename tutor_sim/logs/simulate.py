"""Interaction logs of simulated students, taught by a tutor that needs no training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutor_agents.registry import make_tutor
from tutor_envs.population import Population
from tutor_envs.student import CORRECT
from tutor_envs.task import TeachingTask
from tutor_sim.evaluation import evaluate
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.parse import sorted_names

DEFAULT_STEPS = 50


def simulate_log(
    population: Population,
    *,
    n_students: int,
    n_steps: int | None = None,
    task: TeachingTask | None = None,
    seed: int = 0,
    tutor: str = "random",
) -> InteractionLog:
    """The log of simulated students.

    Every item is what the actions call a skill (an action without one is its own item). In a task
    of several lessons each lesson is a new topic to the student, so that its items are others:
    ``lesson 2: skill_0``.

    Args:
        population: whose students are taught.
        n_students: how many, from the first test student on.
        n_steps: teaching actions for each student, in one lesson; default 50.
        task: lessons and steps, in place of ``n_steps``.
        seed: of the students, their luck and the tutor's.
        tutor: name of a tutor; see ``tutor-sim list agents``.

    Raises:
        ValueError: both or bad numbers of steps, or an unknown tutor.
    """
    if task is not None and n_steps is not None:
        raise ValueError(f"give `n_steps` or `task`, not both; got `n_steps` {n_steps}")
    if task is None:
        task = TeachingTask(n_steps=DEFAULT_STEPS if n_steps is None else n_steps)
    teacher = make_tutor(tutor, population, task, seed=seed)
    taught = evaluate(teacher, population, task, n_students=n_students, seed=seed)
    model = population.student_model
    names = [action.skill or str(action) for action in model.actions]
    labels = [
        [f"lesson {lesson + 1}: {name}" if lesson else name for name in names]
        for lesson in range(task.n_lessons)
    ]
    item_names = sorted_names({label for lesson in labels for label in lesson})
    table = np.array([[item_names.index(label) for label in lesson] for lesson in labels])
    item = table[np.arange(task.n_lessons)[:, None, None], taught.actions]
    step = np.arange(task.n_trial_steps) * model.step_s
    time_s = np.broadcast_to(step.reshape(task.n_lessons, task.n_steps, 1), item.shape)
    response = _by_student(taught.responses)
    # An illegal action reaches no student: nothing happened that a log could hold.
    answered = response < model.n_responses
    n_rows = int(answered.sum())
    items = _by_student(item)[answered].astype(np.int64)
    return InteractionLog(
        student=np.repeat(np.arange(n_students), task.n_trial_steps)[answered],
        item=items,
        skill=items,
        more_skills={},
        correct=(response[answered] == CORRECT).astype(np.float64),
        time_s=_by_student(time_s)[answered],
        response_time_s=np.full(n_rows, np.nan),
        rating=np.zeros(n_rows, dtype=np.int64),
        line=np.arange(n_rows) + 2,
        student_names=tuple(map(str, range(n_students))),
        item_names=item_names,
        skill_names=item_names,
    )


def _by_student(values: NDArray[Any]) -> NDArray[Any]:
    """``(K, T, n)`` as one row after the other, student by student."""
    return np.moveaxis(values, -1, 0).reshape(-1)
