"""What the first k answers of a student are worth to a tutor.

A tutor teaches as ever, but once, after k actions of the trial, it forgets everything: it begins
the trial anew. What its score falls short of the ordinary one by is what the first k answers were
worth to the rest of the trial: ``worth(k) = V - V(k)``, with the same students and the same luck.
It is 0 by definition for k = 0 (nothing to forget yet) and for all actions of the trial (nothing
left to teach), and between them it is 0 for a tutor that makes no use of what it hears.

Where k is a whole number of lessons, only what was found out about the *student* is forgotten: the
next lesson is on a new topic. Inside a lesson, what was taught in it so far is forgotten, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Observation
from tutor_envs.task import TeachingTask
from tutor_sim.evaluation import Role
from tutor_sim.measures import mean_estimate
from tutor_sim.statistics import Array, Estimate

_MAX_LESSONS = 6
"""Whole lessons that are tried one by one; of longer trials 1, 2, 4, 8, ... lessons."""


class Forgetful:
    """Teaches as the inner tutor, which begins the trial anew after so many actions.

    The observation after which it starts again says nothing of what was before: previous action,
    response, score and signals are those of the trial's start. What can be seen of the present
    stays: the lesson's clock, the legal actions, and who has not left.
    """

    def __init__(self, tutor: Tutor, after: int) -> None:
        """Wrap a tutor.

        Args:
            tutor: no oracle, which would have to be informed.
            after: teaching actions of the trial before it forgets.
        """
        self.name = tutor.name
        self._tutor, self._after = tutor, after

    def begin_trial(self, trial: Trial) -> None:
        """Meet the students."""
        self._trial, self._n_taught = trial, 0
        self._tutor.begin_trial(trial)

    def act(self, observation: Observation) -> Tensor:
        """As the inner tutor acts, to whom this student may be new."""
        if self._n_taught == 0:
            self._first = observation
        if self._n_taught == self._after:
            self._tutor.begin_trial(self._trial)
            observation = observation._replace(
                action=self._first.action,
                response=self._first.response,
                score=self._first.score,
                signals=self._first.signals,
            )
        return self._tutor.act(observation)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Pass it on."""
        self._n_taught += 1
        self._tutor.observe(action, observation)


@dataclasses.dataclass(frozen=True)
class FirstAnswers:
    """What a student's first answers are worth to one tutor; means over students and seeds.

    Attributes:
        tutor: its name.
        role: what it is in a comparison.
        score: mean score of a lesson, with nothing forgotten.
        forgetful: k -> mean score of a lesson where it forgets after k actions.
        worth: k -> the difference, paired: what the first k answers are worth.
    """

    tutor: str
    role: Role
    score: Estimate
    forgetful: Mapping[int, Estimate]
    worth: Mapping[int, Estimate]

    @classmethod
    def of(
        cls, tutor: str, role: Role, scores: Array, forgetful: Mapping[int, Array]
    ) -> FirstAnswers:
        """From the scores of the students.

        Args:
            tutor: its name.
            role: what it is in a comparison.
            scores: ``(S, n)``, mean over lessons, with nothing forgotten.
            forgetful: k -> ``(S, n)``, with the same students.
        """
        return cls(
            tutor,
            role,
            mean_estimate(scores),
            {k: mean_estimate(values) for k, values in forgetful.items()},
            {k: mean_estimate(scores - values) for k, values in forgetful.items()},
        )


def forgetting_points(task: TeachingTask) -> list[int]:
    """The k that are tried: 1, 2, 4, 8, ... actions and whole lessons, less than the trial."""
    powers = [2**i for i in range(task.n_trial_steps.bit_length())]
    lessons = powers if task.n_lessons > _MAX_LESSONS else range(1, task.n_lessons)
    points = {*powers, *(task.n_steps * k for k in lessons)}
    return sorted(k for k in points if k < task.n_trial_steps)
