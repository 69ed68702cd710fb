"""What a tutor loses against the Bayes-optimal one, measured without luck.

By the performance difference lemma (Kakade & Langford 2002, "Approximately optimal approximate
reinforcement learning", lemma 6.1) a tutor's value is::

    V = V* - E[ sum over t of  max_a Q*(b_t, a) - Q*(b_t, a_t) ]

where b_t is what can be believed about the student after t answers, a_t the tutor's action, and Q*
the optimal action values. The exact planner knows Q* at every belief, so each action of a tutor has
its exact loss; only which beliefs come up is left to chance. Near the optimum there is little to
lose, and so far less noise than in drawn scores.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutor_agents.distill.teacher import ActionValues, BayesTeacher, planned_values
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.evaluation import evaluate


class _Watched:
    """Teaches as the tutor does, and notes what each action loses."""

    def __init__(self, tutor: Tutor, teacher: BayesTeacher) -> None:
        self.name = tutor.name
        self.regrets: list[Tensor] = []
        self._tutor, self._teacher = tutor, teacher

    def begin_trial(self, trial: Trial) -> None:
        self._tutor.begin_trial(trial)
        self._teacher.begin_trial(trial.students)
        self.regrets.append(torch.zeros(len(trial.students), dtype=torch.float64))

    def act(self, observation: Observation) -> Tensor:
        action = self._tutor.act(observation)
        losses = self._teacher.losses(observation).gather(1, action.unsqueeze(1)).squeeze(1)
        self.regrets[-1] += losses.cpu()
        return action

    def observe(self, action: Tensor, observation: Observation) -> None:
        self._tutor.observe(action, observation)
        self._teacher.observe(action, observation)


def regrets(
    tutor: Tutor,
    population: Population,
    task: TeachingTask,
    *,
    n_students: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    values: ActionValues | None = None,
) -> NDArray[np.float64]:
    """What a tutor's actions on each of ``n_students`` test students lose, in the task's units.

    The optimal value less the mean of these estimates the tutor's value, without bias.

    Args:
        tutor: sees what a tutor can see.
        population: a finite family.
        task: one that the exact planner can solve.
        n_students: test students, one trial each.
        seed: of the students and their luck.
        device: where the students are taught.
        values: of the family and task; None: as planned for whoever asked last.

    Returns:
        float64 ``(n_students,)``, none below 0 beyond rounding.

    Raises:
        ValueError: the family cannot be planned for exactly, or is too big.
    """
    values = planned_values(population, task) if values is None else values
    watched = _Watched(tutor, BayesTeacher(values))
    evaluate(watched, population, task, n_students=n_students, seed=seed, device=device)
    lost: NDArray[np.float64] = task.reward.scale * torch.cat(watched.regrets).numpy()
    return lost
