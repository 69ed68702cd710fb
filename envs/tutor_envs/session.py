"""What both Gymnasium faces share: which students come next, and NumPy arrays in and out."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from tutor_envs.classroom import Classroom, Observation, Outcome, Truth
from tutor_envs.doors.loading import resolve_reference
from tutor_envs.errors import unknown_name
from tutor_envs.observation import observation_layout, observation_space, observation_vector
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import POPULATIONS, load_population, population_of
from tutor_envs.rng import MAX_STUDENT_INDEX
from tutor_envs.task import Reward, TeachingTask

DEFAULT_TASK = TeachingTask(n_lessons=3, n_steps=15, reward=Reward(score="post_test", when="step"))
"""A trial's return is the sum of its three post-test scores, paid as they arise."""

RENDER_MODES = ("ansi", "rgb_array")
_OPTIONS = ("students", "trial")


class LessonRecord(NamedTuple):
    """One lesson of one student, growing as it is taught.

    Attributes:
        lesson: index in the trial.
        actions: taught so far.
        responses: to them; R for none.
        mastery: ``(K,)`` before the first action and after each; hidden from the tutor.
    """

    lesson: int
    actions: list[int]
    responses: list[int]
    mastery: list[NDArray[np.float32]]


class Step(NamedTuple):
    """One step of n students.

    Attributes:
        observations: float32 ``(n, size)``.
        rewards: float64 ``(n,)``.
        trial_ended: for all of them at once: it is over, or everybody has left.
    """

    observations: NDArray[np.float32]
    rewards: NDArray[np.float64]
    trial_ended: bool


def resolve_population(
    student: str | None,
    population: Population | Mapping[str, Any] | str | Path | None,
    variant: str | None,
) -> Population:
    """The population that an environment's arguments describe.

    Args:
        student: name (or reference) of the student model that is required; None: any.
        population: a population, its content as a mapping, the name of one that ships with the
            environments, the path of a YAML file, or None for the student model's own.
        variant: named variant of it; None: as it is.

    Raises:
        ValueError: nothing is named, it is invalid, or it is of another student model.
        OSError: the file cannot be read.
    """
    if population is None:
        if student is None:
            raise ValueError("`population` must be given where no `student` is, got None for both")
        population = population_of(student)
    elif isinstance(population, str | Path):
        population = load_population(POPULATIONS.get(str(population), population))
    elif not isinstance(population, Population):
        population = Population.model_validate(population)
    if student is not None and population.student != resolve_reference(student):
        raise ValueError(
            f"`population.student` must be {student!r} in this environment, "
            f"got {population.student!r}"
        )
    return population if variant is None else population.variant(variant)


def resolve_task(task: TeachingTask | Mapping[str, Any] | None) -> TeachingTask:
    """The task that an environment's argument describes; None: :data:`DEFAULT_TASK`.

    Raises:
        ValueError: it is invalid.
    """
    if task is None:
        return DEFAULT_TASK
    return task if isinstance(task, TeachingTask) else TeachingTask.model_validate(task)


class Session:
    """A classroom of n seats that takes the next n students of a split at every trial.

    Trial j since the last seeding seats students ``j n .. (j + 1) n - 1`` of the split, so seat i
    sees students i, i + n, i + 2n, ...
    """

    def __init__(
        self,
        population: Population,
        task: TeachingTask,
        split: str,
        n_seats: int,
        render_mode: str | None,
    ) -> None:
        """Set up the seats; :meth:`seed` comes before :meth:`reset`.

        Raises:
            ValueError: unknown split or render mode, no seats, or the student model cannot be
                taught as the task says.
        """
        if n_seats < 1:
            raise ValueError(f"`num_envs` must be >= 1, got {n_seats}.")
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(unknown_name("render_mode", render_mode, RENDER_MODES))
        if split not in list(Split):
            raise ValueError(unknown_name("split", split, Split))
        self.task = task
        self.n_seats = n_seats
        self.layout = observation_layout(population.student_model, task)
        self.observation_space = observation_space(self.layout)
        self.action_space = spaces.Discrete(population.student_model.n_actions)
        self.masked = False
        self.seeded = False
        self._model = population.student_model
        self._render_mode = render_mode
        self._records: list[LessonRecord] = []
        self._split = Split(split)
        self._classroom = Classroom(population, task)
        self._observation: Observation | None = None
        self._running = False
        self._n_trials = 0

    # -- trials -------------------------------------------------------------------------------
    def seed(self, seed: int) -> None:
        """Start again with the first students of the split and with this seed, in [0, 2**64).

        Raises:
            ValueError: the seed is out of range.
        """
        if not 0 <= seed < 2**64:
            raise ValueError(f"`seed` must be in [0, 2**64), got {seed}.")
        self._classroom.seed = seed
        self._n_trials = 0
        self.seeded = True

    def reset(self, options: Mapping[str, Any] | None = None) -> NDArray[np.float32]:
        """Begin a trial.

        Args:
            options: ``students``, the indices to seat (these leave the queue of students where it
                is), and ``trial``, which trial with them.

        Returns:
            float32 ``(n, size)``.

        Raises:
            ValueError: unknown option, or students that cannot be seated.
        """
        options = dict(options or {})
        for name in options:
            if name not in _OPTIONS:
                raise ValueError(unknown_name("options", name, _OPTIONS))
        trial = operator.index(options.get("trial", 0))
        if not 0 <= trial <= MAX_STUDENT_INDEX:
            raise ValueError(f"`options.trial` must be in [0, 2**32), got {trial}.")
        if options.get("students") is None:
            students = student_indices(
                self._split, self.n_seats, start=self._n_trials * self.n_seats
            )
            self._n_trials += 1
        else:
            students = self._chosen(options["students"])
        self._observation = self._classroom.begin_trial(students, trial)
        self._running = True
        self.masked = self._observation.legal is not None
        self._open_records()
        return self._vector(self._observation)

    def _chosen(self, students: int | Sequence[int]) -> torch.Tensor:
        indices = np.atleast_1d(np.asarray(students))
        if indices.shape != (self.n_seats,) or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"`options.students` must be {self.n_seats} integers, got {students}.")
        if indices.min() < 0 or indices.max() > MAX_STUDENT_INDEX:
            raise ValueError(f"`options.students` must be in [0, 2**32), got {students}.")
        return torch.from_numpy(indices.astype(np.int64))

    def step(self, actions: ArrayLike) -> Step:
        """Teach one action in every seat.

        Args:
            actions: integers ``(n,)`` in ``[0, A)``.

        Raises:
            ResetNeeded: no trial is running.
            ValueError: the actions are not of that form.
        """
        if not self._running or self._observation is None:
            raise ResetNeeded("no trial is running: call `reset` before `step`")
        taught = np.asarray(actions)
        if taught.shape != (self.n_seats,) or not np.issubdtype(taught.dtype, np.integer):
            raise ValueError(f"`action` must be {self.n_seats} integers, got {actions!r}.")
        if taught.min() < 0 or taught.max() >= self.action_space.n:
            raise ValueError(
                f"`action` must be in [0, {self.action_space.n - 1}], got {actions!r}."
            )
        if self._observation.step == 0 and self._observation.lesson > 0:
            self._open_records()
        outcome = self._classroom.step(torch.from_numpy(taught.astype(np.int64)))
        self._observation = outcome.observation
        everybody_left = self.present is not None and not self.present.any()
        self._running = not (outcome.trial_ended or everybody_left)
        self._record(outcome)
        rewards = outcome.reward.numpy().astype(np.float64)
        return Step(self._vector(outcome.observation), rewards, not self._running)

    def _vector(self, observation: Observation) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = observation_vector(
            observation, self.layout, self.task
        ).numpy()
        return vector

    # -- what else can be seen ----------------------------------------------------------------
    def action_masks(self) -> NDArray[np.bool_]:
        """Actions that are allowed now, bool ``(n, A)``; all of them once the trial has ended."""
        legal = None if self._observation is None else self._observation.legal
        if legal is None:
            return np.ones((self.n_seats, int(self.action_space.n)), dtype=np.bool_)
        masks: NDArray[np.bool_] = legal.numpy().copy()
        return masks

    @property
    def present(self) -> NDArray[np.bool_] | None:
        """Who has not left the trial, bool ``(n,)``; None where nobody ever leaves."""
        if self._observation is None or self._observation.present is None:
            return None
        there: NDArray[np.bool_] = self._observation.present.numpy().copy()
        return there

    @property
    def truth(self) -> Truth:
        """Privileged: the hidden truth now.

        Raises:
            ResetNeeded: no student is seated yet.
        """
        if self._observation is None:
            raise ResetNeeded("no student is seated: call `reset` before reading `truth`")
        return self._classroom.truth

    # -- pictures -----------------------------------------------------------------------------
    def _open_records(self) -> None:
        if self._render_mode is not None and self._observation is not None:
            mastery = self._classroom.truth.mastery.numpy()
            lesson = self._observation.lesson
            self._records = [LessonRecord(lesson, [], [], [row.copy()]) for row in mastery]

    def _record(self, outcome: Outcome) -> None:
        for i, record in enumerate(self._records):
            record.actions.append(int(outcome.observation.action[i]))
            record.responses.append(int(outcome.observation.response[i]))
            record.mastery.append(outcome.truth.mastery[i].numpy().copy())

    def render(self) -> tuple[str, ...] | tuple[NDArray[np.uint8], ...] | None:
        """For every seat the lesson so far; a finished one until the next is begun.

        Raises:
            ResetNeeded: no student is seated yet.
        """
        if self._render_mode is None:
            return None
        if self._observation is None:
            raise ResetNeeded("no student is seated: call `reset` before `render`")
        from tutor_envs import render  # here, for it imports matplotlib

        if self._render_mode == "ansi":
            return tuple(render.lesson_text(r, self._model, self.task) for r in self._records)
        return tuple(render.lesson_image(r, self._model, self.task) for r in self._records)
