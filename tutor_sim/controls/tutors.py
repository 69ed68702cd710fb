"""A tutor in conditions that take its knowledge of the student away; each is a tutor itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tutor_agents.choice import planned_or_next
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

_APART = 2**29
"""Between the index of a student and that of the other one whose answers are shown instead; the
test split holds twice as many."""


class AnothersAnswers:
    """The tutor is shown the answers of another student, who is taught the same actions.

    (A *yoked* control: what is done to a student is decided by another one's behaviour.) What the
    tutor is told of the trial is that of the student it is scored with, so that one who
    finds out more than the answers tell has every chance to use it.

    Attributes:
        planned: int64 ``(T, n)``: what the tutor chose in the trial that was taught last.
    """

    def __init__(
        self,
        tutor: Tutor,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Let a tutor teach by the answers of other students of the population.

        Args:
            tutor: who teaches.
            population: whose students answer.
            task: what is taught.
            seed: of the students and their luck.
            device: where the other students are simulated.
        """
        self.name = tutor.name
        self._tutor = tutor
        self._room = Classroom(population, task, seed=seed, device=device)
        self._chosen: list[Tensor] = []

    @property
    def planned(self) -> Tensor:
        """What the tutor chose at each step."""
        return torch.stack(self._chosen)

    def begin_trial(self, trial: Trial) -> None:
        """Seat the other students."""
        self._chosen = []
        self._seen = self._room.begin_trial(trial.students + _APART, trial.trial)
        self._tutor.begin_trial(trial)

    def act(self, observation: Observation) -> Tensor:
        """What the tutor does to the other student; the next legal action where that is illegal."""
        self._chosen.append(self._tutor.act(self._seen))
        return planned_or_next(self._chosen[-1], observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """The other student answers."""
        self._seen = self._room.step(self._chosen[-1]).observation
        self._tutor.observe(self._chosen[-1], self._seen)


class Replayed:
    """What was planned for other students is done to these, step by step."""

    name = "replayed"

    def __init__(self, planned: Tensor, shift: int) -> None:
        """Give each student the actions of the one ``shift`` places before.

        Args:
            planned: int64 ``(T, n)``.
            shift: not a multiple of n.
        """
        self._planned = planned.roll(shift, dims=1)

    def begin_trial(self, trial: Trial) -> None:
        """From the first step on."""
        self._step = 0

    def act(self, observation: Observation) -> Tensor:
        """The planned action, or the next legal one."""
        return planned_or_next(self._planned[self._step], observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Go on."""
        self._step += 1


class StrangersAfterwards:
    """After the first lesson the tutor's memory of one student meets the next student.

    Students stay in their seats; the tutor's row r teaches student r in the first lesson, and
    student r + 1 from then on.
    """

    def __init__(self, tutor: Tutor) -> None:
        """Let a tutor teach."""
        self.name = tutor.name
        self._tutor = tutor

    def begin_trial(self, trial: Trial) -> None:
        """The tutor meets the students of the first lesson."""
        self._tutor.begin_trial(trial)

    def act(self, observation: Observation) -> Tensor:
        """The tutor's action for the student who is before it now."""
        action = self._tutor.act(_rows(observation))
        return action.roll(1, dims=0) if observation.lesson else action

    def observe(self, action: Tensor, observation: Observation) -> None:
        """The tutor learns what came of its own action."""
        mine = action.roll(-1, dims=0) if _lesson_of_last_action(observation) > 0 else action
        self._tutor.observe(mine, _rows(observation))


def _lesson_of_last_action(observation: Observation) -> int:
    return observation.lesson - (observation.step == 0)


def _rows(observation: Observation) -> Observation:
    """The observation by the tutor's rows: what came of the last action, and what is allowed now.

    Between the first lesson and the second the two are of different students.
    """
    last, now = _lesson_of_last_action(observation), observation.lesson
    return observation._replace(
        action=_moved(observation.action, last),
        response=_moved(observation.response, last),
        score=_moved(observation.score, last),
        signals=_moved(observation.signals, last),
        legal=_moved(observation.legal, now),
        present=_moved(observation.present, now),
    )


def _moved(values: Any, lesson: int) -> Any:
    """A tensor by the tutor's rows in this lesson; None stays None."""
    return values.roll(-1, dims=0) if values is not None and lesson > 0 else values
