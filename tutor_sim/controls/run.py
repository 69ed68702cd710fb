"""Null controls: what must come out as no difference, for every tutor that plays fair.

Each is a paired difference whose expectation is 0 by construction, whatever the population:

``another's answers``
    The tutor is shown the answers of another student, who is taught the same actions. Then its
    actions fit the student it is scored with no better than they fit anyone else. *Difference*:
    the score of each student with the actions that were chosen under the student's name, less the
    mean score with those chosen under three others'. A tutor that reads the truth or a student's
    luck fails.
``strangers alike``
    All students have the same latents, so there is nothing to get to know. *Difference*: the mean
    score of the lessons after the first, less that where each memory of a first lesson goes on
    with another student. A tutor that knows a student's luck fails; so does an evaluation in which
    something of a lesson leaks into the next. It takes two lessons, and students who stay.
``idle actions``
    Teaching leaves students as they were. *Difference*: the tutor's score less the random tutor's
    with the same students. A tutor that meddles with its students or with their scores fails. It
    takes a student model that is a function (``StudentModel.is_functional``).

A control fails where the difference is more than four standard errors from 0: by chance that
happens once in 16,000 controls, while the intervals that are printed are of 95 %. In the first
control neighbouring differences share actions, which makes their standard error slightly too large.

That answers are worth something is not what these controls deny: even equal students know different
things at any moment, which answers tell. So a gain over the best fixed sequence need not vanish
where students are equal, and is no null control.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Tutor
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask
from tutor_sim.controls.students import all_the_same, untouched
from tutor_sim.controls.tutors import AnothersAnswers, Replayed, StrangersAfterwards
from tutor_sim.evaluation import evaluate, scored_task
from tutor_sim.statistics import Estimate, mean_interval, undefined

Array = NDArray[np.float64]

N_STUDENTS = 300
"""Test students of each control."""
MAX_STANDARD_ERRORS = 4.0
"""A difference further from 0 than this is a failure."""
_N_OTHERS = 3
"""Students under whose names the actions were chosen that a student's own are compared with."""
_ROUNDING = 1e-6

ANSWERS, STRANGERS, IDLE = "another's answers", "strangers alike", "idle actions"
MEANINGS = {
    ANSWERS: "The tutor is shown the answers of another student: what it does to a student, less "
    "what it does to others, done to the same student.",
    STRANGERS: "All students have the same latents: lessons after the first with the same student, "
    "less those in which each memory of a first lesson goes on with another student.",
    IDLE: "Teaching leaves students as they were: the tutor less the random tutor.",
}
"""Control -> what its difference is."""


@dataclasses.dataclass(frozen=True)
class Control:
    """One null control of one tutor.

    Attributes:
        name: of the control.
        tutor: whose.
        difference: what must be 0; undefined, with the reason, where the control makes no sense.
        standard_error: of the difference; nan where undefined.
    """

    name: str
    tutor: str
    difference: Estimate
    standard_error: float

    @property
    def defined(self) -> bool:
        """The control makes sense here."""
        return self.difference.known

    @property
    def n_errors(self) -> float:
        """Standard errors between the difference and 0; 0 where it is rounding or undefined."""
        size = abs(self.difference.value) if self.defined else 0.0
        if size <= _ROUNDING:
            return 0.0
        return size / self.standard_error if self.standard_error > 0 else math.inf

    @property
    def passed(self) -> bool:
        """The difference is 0 as far as chance allows; also where it is undefined."""
        return self.n_errors <= MAX_STANDARD_ERRORS


class NullControls:
    """The null controls for one population and task; each tutor is put through them in turn."""

    def __init__(
        self,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        n_students: int = N_STUDENTS,
        device: str = "cpu",
    ) -> None:
        """Prepare the students.

        Args:
            population: whose students are taught in the comparison.
            task: what is taught there.
            seed: of the students and their luck.
            n_students: test students of each control, more than three.
            device: of PyTorch; the tutors must be there.
        """
        self._population, self._task = population, scored_task(task)
        self._seed, self._n_students, self._device = seed, n_students, device

    def of(self, tutor: Tutor, name: str) -> list[Control]:
        """All three controls of a tutor that does not claim to be an oracle.

        Args:
            tutor: as it teaches in the comparison.
            name: how the comparison calls it.
        """
        found = []
        for control, difference in self._controls().items():
            try:
                values = difference(tutor)
            except _UndefinedError as error:
                found.append(Control(control, name, undefined(str(error)), math.nan))
            else:
                error_ = float(values.std(ddof=1)) / math.sqrt(len(values))
                found.append(Control(control, name, mean_interval(values), error_))
        return found

    def _controls(self) -> dict[str, Callable[[Tutor], Array]]:
        return {ANSWERS: self._answers, STRANGERS: self._strangers, IDLE: self._idle}

    def _scores(self, tutor: Tutor, population: Population | None = None) -> Array:
        """Scores of each student in each lesson, ``(n, K)``."""
        return evaluate(
            tutor,
            population or self._population,
            self._task,
            n_students=self._n_students,
            seed=self._seed,
            device=self._device,
            batch_students=self._n_students,
        ).scores

    def _answers(self, tutor: Tutor) -> Array:
        yoked = AnothersAnswers(
            tutor, self._population, self._task, seed=self._seed, device=self._device
        )
        own = self._scores(yoked).mean(axis=1)
        planned = yoked.planned
        others = [
            self._scores(Replayed(planned, shift)).mean(axis=1) for shift in range(1, _N_OTHERS + 1)
        ]
        difference: Array = own - np.mean(others, axis=0)
        return difference

    def _strangers(self, tutor: Tutor) -> Array:
        if self._task.n_lessons == 1:
            raise _UndefinedError("there is one lesson, and nobody goes on with anybody")
        if self._may_leave():
            raise _UndefinedError("students may leave, and who is left is not a matter of chance")
        alike = all_the_same(self._population)
        same = self._scores(tutor, alike)
        strangers = self._scores(StrangersAfterwards(tutor), alike)
        difference: Array = (same - strangers)[:, 1:].mean(axis=1)
        return difference

    def _idle(self, tutor: Tutor) -> Array:
        try:
            still = untouched(self._population)
        except ValueError as error:
            raise _UndefinedError(str(error)) from error
        random = RandomTutor(self._population.student_model)
        difference: Array = (self._scores(tutor, still) - self._scores(random, still)).mean(axis=1)
        return difference

    def _may_leave(self) -> bool:
        room = Classroom(self._population, self._task, seed=self._seed, device=self._device)
        return room.begin_trial(student_indices(Split.TEST, 1)).present is not None


class _UndefinedError(Exception):
    """A control makes no sense here."""
