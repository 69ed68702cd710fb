"""Oracle with a plan: the best that anybody can do who knows latents and knowledge state.

Unlike :mod:`tutor_agents.oracle`, which is greedy, it plans to the end of the lesson: no tutor has
a larger expected score unless it knows the luck to come (:mod:`tutor_agents.clairvoyant`). A lesson
ends with its score and the next one begins anew, so that the best lesson makes the best trial.

Exact for two kinds of student models, others are refused:

* the belief is a distribution over few hidden states (BKT, TMS): value iteration over the states,
  which it sees, ``V_t(s) = max_a gain(s, a) + sum_s' P(s' | s, a) V_{t+1}(s')``;
* the state follows from latents and answers (memory, IRT, ...), or nothing depends on it (style
  bandit): backward recursion over all states that can be reached
  (:mod:`tutor_agents.planning.reachable`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.planning.kernel import gain_weight, gains
from tutor_agents.planning.mixture import Mixtures
from tutor_agents.planning.policies import first_best
from tutor_agents.planning.reachable import Branches, Rows, TooManyStates, best_plan
from tutor_agents.tutor import CannotTeach, Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask

_CHUNK_KINDS = 256
"""Different students planned for at once."""
_MATRIX_NUMBERS = 2**25
"""Numbers that transition matrices hold at once (256 MiB), if of more than one student."""


def check_plannable(model: StudentModel) -> None:
    """Refuse a student model whose state this oracle cannot plan with.

    Raises:
        CannotTeach: of neither kind, see the module's text.
    """
    if not (model.belief_is_distribution or _follows(model)):
        raise CannotTeach(
            "`oracle_plan` needs a student model whose belief is a distribution over few states "
            "(bkt, tms), or whose state follows from latents and answers (memory, irt, ...); "
            f"`{model.name}` as configured is neither. `oracle` knows as much and is greedy"
        )


def _follows(model: StudentModel) -> bool:
    """The state follows from the answers, or nothing that matters depends on it."""
    if not (model.is_functional and model.belief_is_exact):
        return False
    latents = {
        name: torch.full((1, *spec.shape), spec.default)
        for name, spec in model.latent_specs.items()
    }
    belief = model.begin_belief(latents)
    if model.reachable(belief) is not None:
        return False
    answers_alone = type(model).step is StudentModel.step
    return answers_alone or not model.planning_belief(belief)


class OraclePlanTutor:
    """The informed optimum; implements :class:`tutor_agents.tutor.Oracle`."""

    name = "oracle_plan"

    def __init__(self, *, max_states: int = 2**17) -> None:
        """It knows nothing until it is informed.

        Args:
            max_states: refuse students of whom one can be in more states at one step.
        """
        self._max_states = max_states
        self._classroom: Classroom | None = None

    def inform(self, classroom: Classroom) -> None:
        """The classroom whose truth is known.

        Raises:
            ValueError: a student model that it cannot plan for.
        """
        check_plannable(classroom.model)
        self._classroom = classroom

    def begin_trial(self, trial: Trial) -> None:
        """Meet new students.

        Raises:
            RuntimeError: ``inform`` was not called.
        """
        if self._classroom is None:
            raise RuntimeError("an oracle needs `inform(classroom)` before `begin_trial`")
        self._students = trial.students

    def act(self, observation: Observation) -> Tensor:
        """The planned action, int64 ``(n,)``; a lesson is planned for when it begins.

        Raises:
            ValueError: too many states.
        """
        assert self._classroom is not None
        if observation.step == 0:
            truth = self._classroom.truth
            everybody = torch.arange(len(self._students))
            _, kind = _distinct(
                _doubled(dict(truth.latents), everybody), _doubled(truth.state, everybody)
            )
            kinds = torch.split(torch.arange(int(kind.max()) + 1), _CHUNK_KINDS)
            self._parts = [part for some in kinds for part in self._planned(kind, some)]
        actions = torch.empty(len(self._students), dtype=torch.int64)
        for students, lesson in self._parts:
            actions[students] = lesson.act(students, observation)
        return actions.to(observation.action.device)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Follow the answers, where the state follows from them."""
        for students, lesson in self._parts:
            lesson.observe(students, observation)

    def _planned(self, kind: Tensor, kinds: Tensor) -> list[tuple[Tensor, _SeenStates | _Followed]]:
        """The lesson with the students who are of some kinds, in parts that can be held."""
        assert self._classroom is not None
        students = torch.isin(kind, kinds).nonzero().squeeze(1)
        try:
            if self._classroom.model.belief_is_distribution:
                return [(students, _SeenStates(self._classroom, students, self._max_states))]
            return [(students, _Followed(self._classroom, students, self._max_states))]
        except TooManyStates as error:
            if len(kinds) == 1:
                raise CannotTeach(
                    f"this family is too big for `oracle_plan`: {error} of one student, more than "
                    f"`max_states` = {self._max_states:,}"
                ) from None
            halves = torch.split(kinds, -(-len(kinds) // 2))
            return [part for half in halves for part in self._planned(kind, half)]


def _doubled(values: Rows, rows: Tensor) -> Rows:
    """Some rows, floats in double precision, on the CPU."""
    some = {name: value.cpu()[rows] for name, value in values.items()}
    return {k: v.double() if v.is_floating_point() else v for k, v in some.items()}


def _less_costs(model: StudentModel, gained: Tensor) -> Tensor:
    costs = model.action_costs
    return gained if costs is None else gained - gained.new_tensor(costs)


def _distinct(*tables: Rows) -> tuple[Tensor, Tensor]:
    """``first`` of all students that are alike, and ``inverse``."""
    columns = [
        v.double().flatten(1) if v.dim() > 1 else v.double().unsqueeze(1)
        for table in tables
        for v in table.values()
    ]
    alike, inverse = torch.unique(torch.cat(columns, dim=1), dim=0, return_inverse=True)
    student = torch.arange(len(inverse))
    first = torch.full((len(alike),), len(inverse))
    return first.scatter_reduce(0, inverse, student, "amin"), inverse


class _SeenStates:
    """A lesson of students who are in one of S states, which is seen."""

    def __init__(self, classroom: Classroom, students: Tensor, max_states: int) -> None:
        self._classroom, model = classroom, classroom.model
        latents = _doubled(dict(classroom.truth.latents), students)
        first, self._inverse = _distinct(latents)
        latents = {name: value[first] for name, value in latents.items()}
        ((self._name, start),) = model.begin_belief(latents).items()
        self._n_states = start.shape[1]
        if self._n_states > max_states:
            raise TooManyStates(f"there are {self._n_states:,} states")
        size = model.n_actions * self._n_states**2
        parts = torch.split(torch.arange(len(first)), max(1, _MATRIX_NUMBERS // size))
        plans = [
            self._planned({k: v[part] for k, v in latents.items()}, classroom.task)
            for part in parts
        ]
        self._plan = torch.cat(plans, dim=1)
        """The best action, int64 ``(T, m, S)``."""
        known = self._certain({name: value[:1] for name, value in latents.items()})
        self._mastery = model.belief_mastery(*known)
        if len(torch.unique(self._mastery, dim=0)) < self._n_states:
            raise CannotTeach(
                f"`oracle_plan` cannot tell the states of student model `{model.name}` apart by "
                "what is mastered"
            )

    def _certain(self, latents: Rows) -> tuple[Rows, Rows]:
        """Latents and beliefs of students who are known to be in each state."""
        n, n_states = len(next(iter(latents.values()))), self._n_states
        rows = {name: value.repeat_interleave(n_states, dim=0) for name, value in latents.items()}
        return rows, {self._name: torch.eye(n_states, dtype=torch.float64).repeat(n, 1)}

    def _planned(self, latents: Rows, task: TeachingTask) -> Tensor:
        model, n_states = self._classroom.model, self._n_states
        rows, known = self._certain(latents)
        gained = _less_costs(model, gains(model, task, rows, known)).view(
            -1, n_states, model.n_actions
        )
        moves = []
        for a in range(model.n_actions):
            action = torch.full((len(gained) * n_states,), a)
            p = model.predict(rows, known, action)
            after = torch.zeros_like(known[self._name])
            for r in range(model.n_responses):
                updated = model.update(rows, known, action, torch.full_like(action, r))
                after += p[:, r : r + 1] * updated[self._name]
            moves.append(after.view(-1, n_states, n_states))
        value = torch.zeros(gained.shape[:2], dtype=torch.float64)
        plan = []
        for step in reversed(range(task.n_steps)):
            later = torch.stack([(move @ value.unsqueeze(-1)).squeeze(-1) for move in moves], -1)
            weight = gain_weight(task, step)
            q = weight * gained + later
            plan.append(first_best(q))
            value = q.amax(-1)
        return torch.stack(plan[::-1])

    def act(self, students: Tensor, observation: Observation) -> Tensor:
        truth = self._classroom.truth
        mastery = truth.mastery.cpu()[students].double()
        state = (mastery.unsqueeze(1) - self._mastery).abs().sum(-1).argmin(-1)
        return self._plan[observation.step, self._inverse, state]

    def observe(self, students: Tensor, observation: Observation) -> None:
        """The state is seen."""


class _Followed:
    """A lesson of students whose state follows from what they answer."""

    def __init__(self, classroom: Classroom, students: Tensor, max_states: int) -> None:
        self._model, self._task = classroom.model, classroom.task
        latents = _doubled(dict(classroom.truth.latents), students)
        state = _doubled(classroom.truth.state, students)
        first, inverse = _distinct(latents, state)
        self._latents = {name: value[first] for name, value in latents.items()}
        start = {name: value[first] for name, value in state.items()}
        self._plan = best_plan(
            start,
            self._expand,
            self._task.n_steps,
            max_states,
            matters=self._model.planning_belief,
        )
        self._situation = inverse

    def _expand(self, step: int, owner: Tensor, rows: Rows) -> Branches:
        n_actions, n_responses = self._model.n_actions, self._model.n_responses
        now = Mixtures(
            self._model,
            self._task,
            torch.ones(len(owner), 1, dtype=torch.float64),
            {name: value[owner] for name, value in self._latents.items()},
            rows,
        )
        reward, p, legal = now.gains(step), now.outcomes(), now.legal()
        if legal is not None:
            reward = reward.masked_fill(~legal, -torch.inf)
            p = p * legal.unsqueeze(-1)
        n_branches = n_actions * n_responses
        branch = torch.arange(n_branches).repeat(len(owner))
        after = now.rows(torch.arange(len(owner)).repeat_interleave(n_branches)).after(
            branch // n_responses, branch % n_responses, lesson_ends=False
        )
        return Branches(reward, p, after.belief)

    def act(self, students: Tensor, observation: Observation) -> Tensor:
        self._now = self._plan[observation.step]
        return self._now.action[self._situation]

    def observe(self, students: Tensor, observation: Observation) -> None:
        response = observation.response.cpu()[students]
        self._situation = self._now.child[self._situation, response]
