"""Peer: ``gymnasium.make_vec`` with plain-Python students, as its documentation has it."""

from __future__ import annotations

import gymnasium
import numpy as np
from family import K, M
from single_student import SingleStudent

from tutor_sim.bench.job import Work


class Simulate:
    """Whole trials under random actions."""

    def __init__(self, n_students: int, n_lessons: int, n_steps: int) -> None:
        self._n_students, self._n_lessons, self._n_steps = n_students, n_lessons, n_steps
        gymnasium.register("SingleStudent-v0", SingleStudent)
        self._envs = gymnasium.make_vec(
            "SingleStudent-v0",
            n_students,
            vectorization_mode="sync",
            n_lessons=n_lessons,
            n_steps=n_steps,
        )
        self._envs.reset(seed=0)

    def prepare(self, round_: int) -> None:
        """Draw the actions."""
        shape = self._n_lessons * self._n_steps, self._n_students
        self._actions = np.random.default_rng(round_).integers(K * M, size=shape)

    def work(self) -> Work:
        """One trial; the reset of those that are over is part of the next one."""
        total = np.zeros(self._n_students)
        for action in self._actions:
            total += self._envs.step(action)[1]
        self._envs.reset()
        scores = total / self._n_lessons
        return Work(self._actions.size, scores.mean(), scores.std() / len(scores) ** 0.5)
