"""What a tutor can learn of a population before it meets a student: by watching random teaching."""

from __future__ import annotations

import torch

from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask


def watch_training_students(
    tutor: Tutor,
    population: Population,
    task: TeachingTask,
    *,
    seed: int,
    n_students: int,
    device: torch.device | str = "cpu",
) -> None:
    """Show the tutor a trial in which training students are taught at random.

    It begins the trial and observes every step, as when it teaches; it never acts.

    Args:
        tutor: who watches.
        population: whose training students are taught.
        task: length of the trial.
        seed: of the students, their luck and the choice of actions.
        n_students: how many there are.
        device: where to simulate.
    """
    classroom = Classroom(population, task, seed=seed, device=device)
    students = student_indices(Split.TRAIN, n_students).to(device)
    trial = Trial(students, seed, 0)
    teacher = RandomTutor(population.student_model)
    teacher.begin_trial(trial)
    tutor.begin_trial(trial)
    observation = classroom.begin_trial(students)
    for _ in range(task.n_trial_steps):
        action = teacher.act(observation)
        observation = classroom.step(action).observation
        tutor.observe(action, observation)
