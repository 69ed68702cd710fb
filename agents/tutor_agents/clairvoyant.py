"""Clairvoyant: knows latents, knowledge state *and the luck to come*; no tutor can score more.

It takes, for every student, the actions with the largest score there is under the very luck that
the classroom will draw. As any tutor meets the same luck, its score is at most this one, student by
student; so the mean is an upper bound of the expected score of *every* tutor, learned or planned,
and of the Bayes optimum itself: the perfect-information relaxation without penalty of Brown, Smith
& Sun (2010), "Information relaxations and duality in stochastic dynamic programs", Operations
Research 58(4).

Given the luck nothing is left to chance, and the problem is solved exactly: all states that some
actions lead to, equal ones merged, then backward recursion
(:mod:`tutor_agents.planning.reachable`). A search that left states out would give a lower bound of
this bound, which bounds nothing: where there are too many states the tutor refuses. Serves any
student model made of tensor operations whose students do not leave.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.planning.plan_table import PlanStep
from tutor_agents.planning.reachable import Branches, Rows, TooManyStates, best_plan
from tutor_agents.tutor import CannotTeach, Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents
from tutor_envs.task import TeachingTask
from tutor_envs.teaching_step import Lesson, counts_from_zero, legal_actions, measured, teach

_COUNTED = "__counted"
"""Beside the state: what was counted of the score when it was reached."""
_CHUNK_STUDENTS = 256
_CHUNK_STATES = 2**17
_ROWS = 2**15
"""(state, action) rows taught at once."""


class ClairvoyantTutor:
    """The best actions for luck that is known; implements :class:`tutor_agents.tutor.Oracle`."""

    name = "clairvoyant"

    def __init__(self, *, max_states: int = _CHUNK_STATES) -> None:
        """It knows nothing until it is informed.

        Args:
            max_states: refuse a student who can be in more states at one step.
        """
        self._max_states = max_states
        self._classroom: Classroom | None = None

    def inform(self, classroom: Classroom) -> None:
        """The classroom whose truth and luck are known.

        Raises:
            CannotTeach: its students cannot be taught in thought, or may leave.
        """
        model, state = classroom.model, classroom.truth.state
        if not model.is_functional or model.present(state) is not None:
            reason = "students may leave" if model.is_functional else "it can only be simulated"
            raise CannotTeach(f"`clairvoyant` cannot teach student model `{model.name}`: {reason}")
        self._classroom = classroom

    def begin_trial(self, trial: Trial) -> None:
        """Meet new students.

        Raises:
            RuntimeError: ``inform`` was not called.
        """
        if self._classroom is None:
            raise RuntimeError("an oracle needs `inform(classroom)` before `begin_trial`")
        self._trial = trial

    def act(self, observation: Observation) -> Tensor:
        """The planned action, int64 ``(n,)``; a lesson is planned for when it begins.

        Raises:
            ValueError: a student can be in too many states.
        """
        if observation.step == 0:
            students = torch.split(torch.arange(len(self._trial.students)), _CHUNK_STUDENTS)
            plans = [self._planned(part, observation) for part in students]
            self._plan = torch.cat(plans, dim=1).to(observation.action.device)
        return self._plan[observation.step]

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing to learn."""

    def _planned(self, students: Tensor, observation: Observation) -> Tensor:
        """The actions of a lesson with some of the students, int64 ``(T, n)``."""
        assert self._classroom is not None
        lesson = _KnownLesson(self._classroom, self._trial, students, observation.lesson)
        most = self._max_states if len(students) == 1 else min(self._max_states, _CHUNK_STATES)
        try:
            plan = best_plan(
                lesson.start, lesson.expand, lesson.n_steps, most, matters=lesson.varying
            )
            return _followed(plan)
        except TooManyStates as error:
            if len(students) > 1:
                halves = torch.split(students, -(-len(students) // 2))
                return torch.cat([self._planned(half, observation) for half in halves], dim=1)
            raise CannotTeach(
                "`clairvoyant` is exact or nothing, and this family is too big for it: "
                f"{error} of one student, more than `max_states` = {self._max_states:,}"
            ) from None


class _KnownLesson:
    """A lesson of some students in which nothing is left to chance."""

    def __init__(self, classroom: Classroom, trial: Trial, students: Tensor, lesson: int) -> None:
        truth, task = classroom.truth, classroom.task
        self.n_steps = task.n_steps
        # Paid as it arises, and as drawn: the sum is the lesson's score.
        reward = task.reward.model_copy(update={"when": "step", "expected": False})
        self._task: TeachingTask = task.model_copy(update={"reward": reward})
        self._model = classroom.model
        self._latents: Latents = {k: v.cpu()[students] for k, v in truth.latents.items()}
        state = {name: value.cpu()[students] for name, value in truth.state.items()}
        costs = self._model.action_costs
        self._costs = None if costs is None else torch.tensor(costs, dtype=classroom.dtype)
        self._luck = uniforms(
            classroom.seed,
            trial.students.cpu()[students],
            purpose=Purpose.STUDENT_STEP,
            n_lanes=self._model.n_step_uniforms,
            trial=trial.trial,
            lesson=lesson,
            step=torch.arange(self.n_steps).unsqueeze(-1),
        )
        counted = measured(self._model, self._task, self._latents, state, None)
        if counts_from_zero(self._task):
            counted = torch.zeros_like(counted)
        self.start: Rows = {**state, _COUNTED: counted}
        self._varies: set[str] = set()

    def expand(self, step: int, owner: Tensor, rows: Rows) -> Branches:
        """Teach every action in every state; see :data:`tutor_agents.planning.reachable.Expand`."""
        n_actions = self._model.n_actions
        parts = []
        for part in torch.split(torch.arange(len(owner)), max(1, _ROWS // n_actions)):
            some = {name: value[part] for name, value in rows.items()}
            parts.append(self._taught(step, owner[part], some))
        after = {name: torch.cat([part.after[name] for part in parts]) for name in rows}
        return Branches(torch.cat([part.reward for part in parts]), None, after)

    def varying(self, rows: Rows) -> Rows:
        """What may differ between the states of one student; the rest of each is as at the start.

        What was counted follows from the state.
        """
        return {name: value for name, value in rows.items() if name in self._varies}

    def _taught(self, step: int, owner: Tensor, rows: Rows) -> Branches:
        model, n_actions = self._model, self._model.n_actions
        action = torch.arange(n_actions).repeat(len(owner))
        each = owner.repeat_interleave(n_actions)
        latents = {name: value[each] for name, value in self._latents.items()}
        rows = {name: value.repeat_interleave(n_actions, dim=0) for name, value in rows.items()}
        counted = rows.pop(_COUNTED)
        legal = legal_actions(model, rows, None)
        now = Lesson(
            rows, torch.zeros_like(counted), counted, None, legal, None, torch.zeros_like(each)
        )
        after, reward = teach(
            model,
            self._task,
            self._costs,
            latents,
            now,
            None,
            action,
            self._luck[step][each],
            opens=False,
            ends=False,
        )
        self._varies |= {name for name in rows if after.state[name] is not rows[name]}
        if legal is not None:
            allowed = legal.gather(-1, action.unsqueeze(-1)).squeeze(-1)
            reward = reward.masked_fill(~allowed, -torch.inf)
        return Branches(
            reward.double().view(-1, n_actions), None, {**after.state, _COUNTED: after.counted}
        )


def _followed(plan: list[PlanStep]) -> Tensor:
    """The one way through a plan in which nothing is left to chance, int64 ``(T, n)``."""
    here = torch.arange(len(plan[0].action))
    actions = []
    for step in plan:
        actions.append(step.action[here])
        here = step.child[here, 0]
    return torch.stack(actions)
