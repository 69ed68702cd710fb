"""Peer: the benchmarks' family in JAX, under ``jit`` and ``lax.scan``.

``gymnax`` style is what libraries of JAX environments do: a function for one environment with a key
of its own, ``vmap`` over environments, and at every step a reset that is computed and mostly thrown
away. ``lockstep`` is our layout in JAX: one batch, one key, a reset only where lessons begin.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from family import DIFFICULTY_SD, P_FORGET, P_GUESS, P_INIT, P_SLIP, K, M
from jax import Array

from tutor_sim.bench.job import Work


class Student(NamedTuple):
    """What is hidden; with leading axes for a batch."""

    logit: Array  # (M,) of learning with an easy skill
    difficulty: Array  # (K,)
    mastered: Array  # (K,) bool


def new_student(key: Array, batch: tuple[int, ...] = ()) -> Student:
    """Latents and the first lesson."""
    k_ability, k_taste, k_lesson = jax.random.split(key, 3)
    ability = jax.random.normal(k_ability, (*batch, 1))
    style = jax.nn.softmax(2 * jax.random.normal(k_taste, (*batch, M)))
    return new_lesson(k_lesson, -3 + 0.8 * ability + 1.2 * (M * style - 1))


def new_lesson(key: Array, logit: Array) -> Student:
    """The same latents, another topic."""
    k_mastered, k_difficulty = jax.random.split(key)
    shape = *logit.shape[:-1], K
    difficulty = DIFFICULTY_SD * jax.random.normal(k_difficulty, shape)
    return Student(logit, difficulty, jax.random.uniform(k_mastered, shape) < P_INIT)


def teach(key: Array, student: Student, action: Array) -> tuple[Student, Array, Array]:
    """One action for each student: who it is then, the answer, the reward."""
    skill, modality = action // M, action % M
    u = jax.random.uniform(key, (*action.shape, K + 2))
    practised = jnp.arange(K) == skill[..., None]
    logit = jnp.take_along_axis(student.logit, modality[..., None], -1)
    learned = practised & (u[..., :1] < jax.nn.sigmoid(logit - student.difficulty))
    lost = ~practised & (u[..., 2:] < P_FORGET)
    mastered = (student.mastered | learned) & ~lost
    knows = (mastered & practised).any(-1)
    correct = u[..., 1] < jnp.where(knows, 1 - P_SLIP, P_GUESS)
    gain = (mastered.sum(-1) - student.mastered.sum(-1)) / K
    return student._replace(mastered=mastered), correct, gain


class Simulate:
    """Whole trials under random actions in one compiled scan."""

    def __init__(self, n_students: int, n_lessons: int, n_steps: int, style: str) -> None:
        self._shape = n_lessons * n_steps, n_students
        self._n_lessons = n_lessons
        trial = {"gymnax": _gymnax_trial, "lockstep": _lockstep_trial}[style]
        self._trial = jax.jit(partial(trial, n_lessons=n_lessons, n_steps=n_steps))

    def prepare(self, round_: int) -> None:
        """Draw the actions."""
        actions = np.random.default_rng(round_).integers(K * M, size=self._shape, dtype=np.int32)
        self._actions, self._key = jnp.asarray(actions), jax.random.key(round_)

    def work(self) -> Work:
        """One trial."""
        total, _ = self._trial(self._key, self._actions)
        scores = np.asarray(total) / self._n_lessons
        steps = self._actions.size
        return Work(steps, float(scores.mean()), float(scores.std() / len(scores) ** 0.5))


def _gymnax_trial(
    key: Array, actions: Array, *, n_lessons: int, n_steps: int
) -> tuple[Array, Array]:
    """Answers are kept (as one byte each), as our observations are."""

    def one(key: Array, student: Student, clock: Array, action: Array) -> tuple[Array, ...]:
        k_step, k_lesson, k_new = jax.random.split(key, 3)
        after, correct, reward = teach(k_step, student, action)
        clock = clock + 1
        done, over = clock == n_lessons * n_steps, clock % n_steps == 0
        lesson, fresh = new_lesson(k_lesson, student.logit), new_student(k_new)
        after = jax.tree.map(lambda *c: jnp.where(over, *c), lesson, after)
        after = jax.tree.map(lambda *c: jnp.where(done, *c), fresh, after)
        return after, jnp.where(done, 0, clock), correct, reward

    def step(carry: tuple[Array, ...], action: Array) -> tuple[tuple[Array, ...], Array]:
        keys, student, clock, total = carry
        keys, use = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        student, clock, correct, reward = jax.vmap(one)(use, student, clock, action)
        return (keys, student, clock, total + reward), correct

    n = actions.shape[1]
    keys = jax.random.split(key, n)
    students, zero = jax.vmap(new_student)(keys), jnp.zeros(n, jnp.int32)
    (_, _, _, total), seen = jax.lax.scan(step, (keys, students, zero, jnp.zeros(n)), actions)
    return total, seen


def _lockstep_trial(
    key: Array, actions: Array, *, n_lessons: int, n_steps: int
) -> tuple[Array, Array]:
    n = actions.shape[1]

    def step(carry: tuple[Student, Array], now: tuple[Array, Array]) -> tuple[tuple, Array]:
        (student, total), (key, action) = carry, now
        student, correct, reward = teach(key, student, action)
        return (student, total + reward), correct

    def lesson(carry: tuple[Student, Array], now: tuple[Array, Array]) -> tuple[tuple, Array]:
        (student, total), (key, actions) = carry, now
        k_lesson, k_steps = jax.random.split(key)
        student = new_lesson(k_lesson, student.logit)
        keys = jax.random.split(k_steps, n_steps)
        return jax.lax.scan(step, (student, total), (keys, actions))

    k_new, k_lessons = jax.random.split(key)
    start = new_student(k_new, (n,)), jnp.zeros(n)
    keys = jax.random.split(k_lessons, n_lessons)
    by_lesson = actions.reshape(n_lessons, n_steps, n)
    (_, total), seen = jax.lax.scan(lesson, start, (keys, by_lesson))
    return total, seen
