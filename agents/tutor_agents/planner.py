"""The Bayes tutor: teaches a finite family of students as well as any tutor can.

Planning itself is in :mod:`tutor_agents.planning.exact`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.planning.exact import ExactPlanner, Progress, SearchSize, TiedValue
from tutor_agents.planning.level import DEFAULT_MAX_BYTES
from tutor_agents.planning.plan_table import PlanStep
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

__all__ = ["BayesTutor", "ExactPlanner", "SearchSize", "TiedValue"]


class BayesTutor:
    """Teaches by the Bayes-optimal plan of a finite family.

    The plan is computed once; teaching follows pointers, for any number of students at once.
    """

    def __init__(
        self,
        population: Population,
        task: TeachingTask,
        *,
        max_bytes: float = DEFAULT_MAX_BYTES,
        progress: Progress | None = None,
    ) -> None:
        """Plan for a family.

        Args:
            population: a finite family.
            task: lessons, steps and score.
            max_bytes: refuse a family whose search would hold more.
            progress: told a line about each step of the search.

        Raises:
            ValueError: the family is not finite or too big, or the task cannot be planned for.
        """
        self._plan_by(ExactPlanner.of(population, task, max_bytes=max_bytes, progress=progress))

    @classmethod
    def following(cls, planner: ExactPlanner) -> BayesTutor:
        """A tutor that uses a planner which is there already."""
        tutor = cls.__new__(cls)
        tutor._plan_by(planner)
        return tutor

    def _plan_by(self, planner: ExactPlanner) -> None:
        self._value = planner.bayes()
        self._plan = planner.plan()

    @property
    def name(self) -> str:
        """``bayes``."""
        return "bayes"

    @property
    def value(self) -> float:
        """The expected return of a trial with a student of the family."""
        return self._value

    def begin_trial(self, trial: Trial) -> None:
        """Meet new students, of whom the prior is all that is known."""
        self._situation = torch.zeros_like(trial.students)
        self._step = 0

    def act(self, observation: Observation) -> Tensor:
        """The planned action in each student's situation."""
        self._move_to(observation.action.device)
        return self._plan[self._step].action[self._situation]

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Move on by what the students answered.

        Raises:
            ValueError: another action was taken than planned.
        """
        step = self._plan[self._step]
        if not torch.equal(action, step.action[self._situation]):
            raise ValueError("the Bayes tutor's plan covers only its own actions, got others")
        self._situation = step.child[self._situation, observation.response]
        self._step += 1

    def _move_to(self, device: torch.device) -> None:
        self._situation = self._situation.to(device)
        if self._plan[0].action.device != device:
            self._plan = [PlanStep(*(table.to(device) for table in step)) for step in self._plan]
