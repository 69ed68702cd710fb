"""Peer: RL² with PPO in JAX (see ``jax_ppo.py``) on the benchmarks' family."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax_ppo
from family import K, M, Settings
from jax import Array
from jax_students import Student, new_lesson, new_student, teach

from tutor_sim.bench.job import Work


class _Family(NamedTuple):
    """The students of ``jax_students.py``."""

    n_actions: int = K * M
    n_responses: int = 2

    def begin(self, key: Array, n: int) -> Student:
        return new_student(key, (n,))

    def next_lesson(self, key: Array, student: Student) -> Student:
        return new_lesson(key, student.logit)

    def teach(self, key: Array, student: Student, action: Array) -> tuple[Student, Array, Array]:
        return teach(key, student, action)


class Train:
    """Updates: a batch of whole trials, then all passes over it, in one compiled function."""

    def __init__(self, **settings: Any) -> None:
        self._settings = Settings(**settings)
        self._key = jax.random.key(0)
        self._state = jax_ppo.begin(_Family(), self._settings, self._key)

    def prepare(self, round_: int) -> None:
        """Nothing."""

    def work(self) -> Work:
        """One update."""
        s = self._settings
        self._key, key = jax.random.split(self._key)
        self._state, score = jax_ppo.update(_Family(), s, self._state, key, s.learning_rate)
        return Work(s.n_students * s.n_trial_steps, float(score) / s.n_lessons, None)
