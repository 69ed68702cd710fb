"""Whom a student policy learns from: what each action loses against the best, after any history.

The Bayes planner's belief graph holds *every* belief that any actions can lead to, and a child for
every action and response. So its values answer for the best action after histories that the optimal
plan never meets, exactly and without planning anew: the values of all beliefs are a by-product of
the one backward recursion that finds the plan.

Every other teacher is a scripted tutor that follows the student along and says what it would do.
"""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tutor_agents.distill.config import TeacherName
from tutor_agents.planner import ExactPlanner
from tutor_agents.planning import policies
from tutor_agents.planning.belief_graph import BeliefGraph, BeliefLevel
from tutor_agents.registry import check_can_teach, make_tutor
from tutor_agents.tutor import Oracle, Trial, Tutor
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

TIE = 1e-8
"""Actions that lose less than this are equally good; beliefs are merged to 1e-10."""
_ROUNDING = 1e-6
"""Gains in single precision that differ by less are equal (as in ``choice.best_legal``)."""
_LABEL_TRIAL = 1
"""The trial whose luck a teacher draws from, so that its labels do not depend on what is taken."""


class Teacher(Protocol):
    """Follows students who are taught by anybody, and says what each action would lose."""

    def begin_trial(self, students: Tensor) -> None:
        """Meet new students, int64 ``(n,)`` indices."""
        ...

    def losses(self, observation: Observation) -> Tensor:
        """What each action now loses against the best one, ``(n, A)``, 0 for the best.

        Infinite for an illegal action.
        """
        ...

    def observe(self, action: Tensor, observation: Observation) -> None:
        """What came of ``action``, a legal one, whoever chose it."""
        ...


class ActionValues:
    """Optimal action values at every belief of a finite family.

    Attributes:
        planning_s: CPU-seconds that planning took.
    """

    def __init__(self, planner: ExactPlanner) -> None:
        """Plan, and keep the values that the backward recursion passes through.

        Raises:
            ValueError: the family is too big.
        """
        started_s = time.process_time()
        self._graph: BeliefGraph = planner.graph
        future = policies.last_future(self._graph)
        self._values: list[Tensor] = []

        def keep_best(_: int, q: Tensor) -> Tensor:
            self._values.append(q.amax(1))
            return self._values[-1]

        policies.backward(self._graph.levels, future, keep_best)
        self._values.reverse()
        self.planning_s = time.process_time() - started_s

    @property
    def n_beliefs(self) -> int:
        """Beliefs held, the last step's left out where it is read from the step before."""
        return self._graph.n_nodes

    def at(self, step: int, place: Tensor) -> Tensor:
        """``(n, A)`` optimal expected gains to come; minus infinity for illegal actions.

        Args:
            step: of the trial.
            place: int64 ``(n,)``, of ``begin`` or ``after``.
        """
        levels = self._graph.levels
        if step == len(levels):
            return self._last(place)
        level = levels[step]
        q = level.reward[place]
        if level.legal is not None:
            q.masked_fill_(~level.legal[place], -torch.inf)
        if level.child is not None:
            assert level.p_response is not None
            reached = self._values[step + 1][level.child[place].long()]
            return q + (reached * level.p_response[place]).view(*q.shape, -1).sum(-1)
        if self._has_tail:
            q += self._graph.last_values(place).amax(-1).view(*q.shape, -1).sum(-1)
        return q

    def after(self, step: int, place: Tensor, action: Tensor, response: Tensor) -> Tensor:
        """The places one step on, int64 ``(n,)``; all arguments ``(n,)``."""
        branch = action * self._graph.types[0].n_outcomes + response
        level = self._graph.levels[min(step, len(self._graph.levels) - 1)]
        if level.child is not None:
            return level.child[place, branch].long()
        # Before a step that is left to a tail: the belief is named by the one before and a branch.
        return place * self._n_branches(level) + branch

    @property
    def _has_tail(self) -> bool:
        return self._graph.types[0].tail is not None

    def _n_branches(self, level: BeliefLevel) -> int:
        return level.n_actions * self._graph.types[0].n_outcomes

    def _last(self, place: Tensor) -> Tensor:
        """Gains of the last action; the branch has a probability, by which they are divided."""
        n_branches = self._n_branches(self._graph.levels[-1])
        node, branch = place // n_branches, place % n_branches
        row = torch.arange(len(place))
        mass = torch.stack(self._graph.last_mass(node)).sum(0)[row, branch]
        gains = self._graph.last_values(node)[row, branch]
        return gains / mass.clamp(min=torch.finfo(mass.dtype).tiny).unsqueeze(1)


class BayesTeacher:
    """Values of the exact planner; knows what a tutor can know, and no more."""

    def __init__(self, values: ActionValues) -> None:
        """Share the values of a family; see :func:`planned_values`."""
        self._values = values

    @property
    def planning_s(self) -> float:
        """CPU-seconds that planning took, whoever did it."""
        return self._values.planning_s

    def begin_trial(self, students: Tensor) -> None:
        """The prior."""
        self._place = torch.zeros(len(students), dtype=torch.int64)
        self._step = 0

    def losses(self, observation: Observation) -> Tensor:
        """Best value less value, in units of the score."""
        q = self._values.at(self._step, self._place)
        return (q.amax(1, keepdim=True) - q).to(observation.action.device)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Move to the next belief."""
        response = observation.response.cpu()
        self._place = self._values.after(self._step, self._place, action.cpu(), response)
        self._step += 1


@runtime_checkable
class Greedy(Tutor, Protocol):
    """A tutor that takes the action with the largest gain, and can say all gains."""

    def gains(self) -> Tensor:
        """The gain of every action now, ``(n, A)``."""
        ...


class ScriptedTeacher:
    """A scripted tutor's actions as labels.

    What an action loses is the best legal gain less its own, where the tutor can say its gains, so
    that equally good actions are all right; otherwise any other action loses 1.
    """

    def __init__(self, tutor: Tutor, classroom: Classroom) -> None:
        """Follow students of this classroom; an oracle reads its truth."""
        self._tutor, self._classroom = tutor, classroom
        if isinstance(tutor, Oracle):
            tutor.inform(classroom)

    def begin_trial(self, students: Tensor) -> None:
        """Meet new students."""
        self._tutor.begin_trial(Trial(students, self._classroom.seed, _LABEL_TRIAL))

    def losses(self, observation: Observation) -> Tensor:
        """0 for the tutor's action and its equals, more for every other, infinite for illegal."""
        if isinstance(self._tutor, Greedy):
            gains = self._tutor.gains().double()
            if observation.legal is not None:
                gains = gains.masked_fill(~observation.legal, -torch.inf)
            lost = gains.amax(-1, keepdim=True) - gains
            return lost.masked_fill(lost < _ROUNDING, 0.0)
        action = self._tutor.act(observation).unsqueeze(-1)
        n_actions = self._classroom.model.n_actions
        losses = torch.ones(len(action), n_actions, dtype=torch.float64, device=action.device)
        losses.scatter_(-1, action, 0.0)
        if observation.legal is not None:
            losses.masked_fill_(~observation.legal, torch.inf)
        return losses

    def observe(self, action: Tensor, observation: Observation) -> None:
        """The tutor learns from what others did."""
        self._tutor.observe(action, observation)


def check_teacher(name: TeacherName, population: Population, task: TeachingTask) -> None:
    """Refuse a teacher who cannot teach this population, before anything is computed.

    Raises:
        ValueError: the student model can only be simulated, or the exact planner cannot plan.
    """
    check_can_teach(name, population)
    if name != "bayes":
        return
    if not population.is_finite:
        raise ValueError(
            f"`teacher: bayes` plans exactly and needs a finite population; `{population.name}` "
            "has continuous latents. Take `teacher: oracle`, `myopic` or `thompson`."
        )
    ExactPlanner.of(population, task)


def make_teacher(name: TeacherName, classroom: Classroom, task: TeachingTask) -> Teacher:
    """A teacher for the students of a classroom; what it has to compute first, it computes now.

    Args:
        name: of the teacher.
        classroom: where the students are taught; an oracle reads its truth.
        task: what is taught for.

    Raises:
        ValueError: see ``check_teacher``; or the family is too big to plan for.
    """
    population = classroom.population
    check_teacher(name, population, task)
    if name == "bayes":
        return BayesTeacher(planned_values(population, task))
    tutor = make_tutor(name, population, task, seed=classroom.seed, device=classroom.device)
    return ScriptedTeacher(tutor, classroom)


def planned_values(population: Population, task: TeachingTask) -> ActionValues:
    """The optimal action values of a family; the last family's are kept for whoever asks next.

    So the seeds of an experiment that are trained one after the other share one plan.
    """
    key = population.model_dump_json(), task.model_dump_json()
    if key not in _kept:
        _kept.clear()
        _kept[key] = ActionValues(ExactPlanner.of(population, task))
    return _kept[key]


_kept: dict[tuple[str, str], ActionValues] = {}
