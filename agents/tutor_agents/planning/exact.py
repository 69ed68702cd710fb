"""The exact Bayes-optimal planner for finite families of students, and its reference tutors.

A family is finitely many types of students with a prior
(:class:`tutor_envs.population.FiniteTypes`). What a tutor can know of a student is a distribution
over types and, within each type, a belief over the knowledge state. Because rewards telescope (a
post-test is the start plus the expected gain of each action), dynamic programming over these
beliefs gives the largest expected return of any tutor: it solves the Bayes-adaptive decision
process (Duff 2002, "Optimal learning", University of Massachusetts). All is float64; beliefs that
agree to 1e-10 are merged, level by level.

:class:`ExactPlanner` computes values and plans; :class:`tutor_agents.planner.BayesTutor` teaches by
one. How it works:

=================  ===========================================================================
``kernel``         how the belief about a student of known type moves
``type_graph``     all such beliefs, level by level
``belief_graph``   all beliefs about a student of unknown type: mixtures of the former
``policies``       backward recursion on either graph: optimal, random, lookahead
``thompson``       posterior sampling on the belief graph
``sequences``      the best fixed sequence of actions
``plan_table``     a policy as a table to follow, and its value for other students
=================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.planning import policies
from tutor_agents.planning.average import AverageKernel
from tutor_agents.planning.belief_graph import BeliefGraph, build_belief_graph
from tutor_agents.planning.kernel import (
    HiddenStates,
    Kernel,
    MatrixKernel,
    ModelKernel,
    gain_weight,
    start_score,
)
from tutor_agents.planning.level import DEFAULT_MAX_BYTES
from tutor_agents.planning.plan_table import PlanStep, fixed_plan, plan_table, taught_value
from tutor_agents.planning.sequences import best_particle_sequence
from tutor_agents.planning.thompson import Ties, thompson_value
from tutor_agents.planning.type_graph import TypeGraph, build_type_graph
from tutor_agents.tutor import CannotTeach
from tutor_envs.population import FiniteTypes, Population
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask

Progress = Callable[[str], None]


class TiedValue(NamedTuple):
    """The value of a greedy tutor whose best actions may tie.

    Attributes:
        value: when ties go to the lowest action index.
        low: when every tie is decided for the worst.
        high: when every tie is decided for the best.
    """

    value: float
    low: float
    high: float


class SearchSize(NamedTuple):
    """How large the exact search was.

    Attributes:
        type_nodes: distinct beliefs of observers who know the type, the last step left out.
        belief_nodes: distinct beliefs of the tutor, the last step left out.
        branches: branches (belief, action, response) met.
    """

    type_nodes: int
    belief_nodes: int
    branches: int


def _check_model(model: StudentModel, types: FiniteTypes) -> None:
    belief = model.begin_belief(types.latents)
    reasons = {
        "its belief is a sample": not model.belief_is_exact,
        "its actions have costs": model.action_costs is not None,
        "students may leave or run out of time": model.reachable(belief) is not None,
        "it shows signals beside the response": bool(model.signal_names),
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise CannotTeach(
            f"the exact planner cannot plan for student model `{model.name}` as configured: "
            f"{'; '.join(found)}"
        )


class ExactPlanner:
    """Exact values of tutors for a finite family; each is computed when first asked for.

    All values are expected undiscounted returns of a trial, in the task's units (``reward.scale``).
    """

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        task: TeachingTask,
        *,
        max_bytes: float = DEFAULT_MAX_BYTES,
        progress: Progress | None = None,
    ) -> None:
        """Prepare to plan; nothing large is computed yet.

        Args:
            model: how students learn and answer.
            types: the family.
            task: lessons, steps and score. A shown score is not planned for.
            max_bytes: refuse a family whose search would hold more.
            progress: told a line about each step of the search.

        Raises:
            ValueError: the task's score is no sum of expected gains, or is shown to the tutor; or
                the student model does something that this planner does not reckon with.
        """
        _check_model(model, types)
        if task.show_score and task.n_lessons > 1:
            raise ValueError("the exact planner does not learn from `task.show_score`: unset it")
        self.model, self.task = model, task
        latents = {name: value.to("cpu", torch.float64) for name, value in types.latents.items()}
        self.types = FiniteTypes(types.prior.to("cpu", torch.float64), latents, types.exact)
        self._max_bytes = max_bytes
        self._progress = progress
        self._gain_weights = [gain_weight(task, step) for step in range(task.n_steps)]
        self._start = float(self.types.prior @ start_score(model, task, latents))

    @classmethod
    def of(
        cls,
        population: Population,
        task: TeachingTask,
        *,
        max_bytes: float = DEFAULT_MAX_BYTES,
        progress: Progress | None = None,
    ) -> ExactPlanner:
        """The planner of a population that is a finite family; arguments as of the constructor.

        Raises:
            ValueError: it is not finite; see also the constructor.
        """
        types = population.types_exact()
        return cls(population.student_model, types, task, max_bytes=max_bytes, progress=progress)

    # -- the graphs ------------------------------------------------------------------------------
    def _kernel(self, z: int) -> Kernel:
        latents = {name: value[z : z + 1] for name, value in self.types.latents.items()}
        if self.model.belief_is_distribution:
            states = HiddenStates.of(self.model, self.task, latents, self._max_bytes)
            return MatrixKernel(states)
        return ModelKernel(self.model, latents, self.task)

    @cached_property
    def _kernels(self) -> list[Kernel]:
        return [self._kernel(z) for z in range(len(self.types.prior))]

    def _graphs(self, kernels: Sequence[Kernel], *, whole: bool) -> list[TypeGraph]:
        graphs: list[TypeGraph] = []
        left = self._max_bytes
        for kernel in kernels:
            graphs.append(build_type_graph(kernel, self._gain_weights, whole=whole, max_bytes=left))
            left -= graphs[-1].n_bytes
        return graphs

    def _beliefs(
        self,
        prior: Tensor,
        graphs: list[TypeGraph],
        n_lessons: int,
        progress: Progress | None = None,
    ) -> BeliefGraph:
        left = self._max_bytes - sum(graph.n_bytes for graph in graphs)
        return build_belief_graph(prior, graphs, n_lessons, max_bytes=left, progress=progress)

    @cached_property
    def _type_graphs(self) -> list[TypeGraph]:
        self._tell("beliefs about each type")
        return self._graphs(self._kernels, whole=self.task.n_lessons > 1)

    @cached_property
    def graph(self) -> BeliefGraph:
        """All beliefs that can arise in a trial, level by level."""
        n_lessons = self.task.n_lessons
        return self._beliefs(self.types.prior, self._type_graphs, n_lessons, self._progress)

    @cached_property
    def _future(self) -> Tensor | None:
        return policies.last_future(self.graph)

    def _tell(self, line: str) -> None:
        if self._progress is not None:
            self._progress(line)

    def _in_task_units(self, gains: float | Tensor, *, n_lessons: int = 1) -> float:
        """Gains of ``n_lessons`` equal parts of the trial as a return."""
        start = self.task.n_lessons * self._start
        return self.task.reward.scale * (start + n_lessons * float(gains))

    # -- what adapts -------------------------------------------------------------------------------
    @cached_property
    def _optimum(self) -> tuple[float, policies.Policy]:
        value, policy = policies.optimal(self.graph.levels, self._future)
        return self._in_task_units(value), policy

    def bayes(self) -> float:
        """The largest expected return of any tutor.

        Raises:
            ValueError: the family is too big.
        """
        return self._optimum[0]

    def plan(self) -> list[PlanStep]:
        """The Bayes-optimal plan, one step for each step of the trial."""
        return plan_table(self.graph, self._optimum[1])

    def lookahead(self, depth: int) -> TiedValue:
        """A tutor who at each step maximises the expected reward of the next ``depth`` steps.

        Depth 1 is the myopic tutor. Beliefs are exact; near the end of the trial it looks as far as
        the end.

        Raises:
            ValueError: the family is too big, or ``depth`` is less than 1.
        """
        if depth < 1:
            raise ValueError(f"`depth` must be >= 1, got {depth}")
        levels = self.graph.levels
        q = policies.lookahead(levels, self._future, depth)
        value = policies.value_of(levels, self._future, [policies.first_best(x) for x in q])
        choices = [policies.tied(x) for x in q]
        low, high = value, value
        if any(bool((choice.sum(1) > 1).any()) for choice in choices):
            low, high = policies.value_range(levels, self._future, choices)
        return TiedValue(*(self._in_task_units(x) for x in (value, low, high)))

    def thompson(self) -> float:
        """Posterior sampling of the type, anew at every step; ties to the lowest action index."""
        return self._in_task_units(thompson_value(self.graph))

    def thompson_range(self) -> tuple[float, float]:
        """As ``thompson``, with every tie decided for the worst, and for the best."""
        worst, best = (thompson_value(self.graph, ties) for ties in (Ties.WORST, Ties.BEST))
        return self._in_task_units(worst), self._in_task_units(best)

    def size(self) -> SearchSize:
        """How large the search was."""
        graph = self.graph
        return SearchSize(sum(g.n_nodes for g in graph.types), graph.n_nodes, graph.n_branches)

    # -- what knows more ---------------------------------------------------------------------------
    def oracle_per_type(self) -> list[float]:
        """The best tutor who knows the type and sees the responses, for each type."""
        values = []
        starts = start_score(self.model, self.task, self.types.latents)
        for graph, start in zip(self._type_graphs, starts, strict=True):
            gains, _ = policies.optimal(graph.levels, policies.last_future(graph))
            values.append(self.task.reward.scale * self.task.n_lessons * float(start + gains))
        return values

    def oracle(self) -> float:
        """The mean of ``oracle_per_type`` over the prior."""
        return float(self.types.prior @ torch.tensor(self.oracle_per_type(), dtype=torch.float64))

    def full_information(self) -> float:
        """The best tutor who knows the type and at every step the knowledge state.

        For a model whose belief is not a distribution over hidden states the state is taken to be
        known to who knows the type: then this is ``oracle``.
        """
        if not self.model.belief_is_distribution:
            return self.oracle()
        total = 0.0
        for prior, kernel in zip(self.types.prior.tolist(), self._kernels, strict=True):
            assert isinstance(kernel, MatrixKernel)
            moves, gains = kernel.states.moves.sum(1), kernel.states.gains
            value = torch.zeros(len(gains), dtype=torch.float64)
            for weight in reversed(self._gain_weights):
                value = (weight * gains + (moves @ value).T).amax(1)
            total += prior * float(kernel.states.start @ value)
        return self._in_task_units(total, n_lessons=self.task.n_lessons)

    # -- what does not look ------------------------------------------------------------------------
    def random(self) -> float:
        """Legal actions drawn uniformly."""
        total = 0.0
        for prior, graph in zip(self.types.prior.tolist(), self._type_graphs, strict=True):
            future = policies.last_future(graph, policies.uniform_gain)
            total += prior * float(policies.value_of_random(graph.levels, future))
        return self._in_task_units(total, n_lessons=self.task.n_lessons)

    def _blind_kernels(self) -> list[Kernel]:
        """The kernels, not seeing responses where the belief allows that."""
        return [
            MatrixKernel(kernel.states.unseen()) if isinstance(kernel, MatrixKernel) else kernel
            for kernel in self._kernels
        ]

    def sequence(self, actions: Sequence[int]) -> float:
        """The same lesson for everybody.

        Args:
            actions: one for each step of a lesson.

        Raises:
            ValueError: not one legal action index for each step.
        """
        n_actions, n_steps = self.model.n_actions, self.task.n_steps
        if len(actions) != n_steps or not all(0 <= a < n_actions for a in actions):
            raise ValueError(
                f"`actions` must be {n_steps} indices in [0, {n_actions - 1}], got {list(actions)}"
            )
        self._check_all_legal()
        total = 0.0
        for prior, kernel in zip(self.types.prior.tolist(), self._blind_kernels(), strict=True):
            plan = fixed_plan(actions, kernel.n_outcomes)
            total += prior * taught_value(kernel, self._gain_weights, plan)
        return self._in_task_units(total, n_lessons=self.task.n_lessons)

    def best_sequence(self) -> tuple[float, list[int]]:
        """The best lesson that is the same for everybody, and its value.

        Raises:
            ValueError: the family is too big for the search, or some actions are not always legal.
        """
        self._check_all_legal()
        self._tell("fixed sequences")
        prior, kernels = self.types.prior, self._blind_kernels()
        if not self.model.belief_is_distribution:
            gains, actions = best_particle_sequence(prior, self._graphs(kernels, whole=True))
            return self._in_task_units(gains, n_lessons=self.task.n_lessons), actions
        graphs = self._graphs(kernels, whole=False)
        graph = self._beliefs(prior, graphs, 1)
        value, policy = policies.optimal(graph.levels, policies.last_future(graph))
        actions = [int(step.action[0]) for step in plan_table(graph, policy)]
        return self._in_task_units(value, n_lessons=self.task.n_lessons), actions

    def _check_all_legal(self) -> None:
        if self.model.legal_actions(self.model.begin_belief(self.types.latents)) is not None:
            raise CannotTeach(
                "a fixed sequence of actions needs a student model whose actions are always legal"
            )

    # -- what assumes too much ---------------------------------------------------------------------
    def taught_by(self, plan: Sequence[PlanStep]) -> float:
        """The return when these students are taught by a plan that was made for others."""
        total = sum(
            prior * taught_value(kernel, self._gain_weights, plan)
            for prior, kernel in zip(self.types.prior.tolist(), self._kernels, strict=True)
        )
        return self._in_task_units(total)

    def plan_for_average_responses(self) -> list[PlanStep]:
        """The optimal plan for a student who answers as these types do on average; no inference."""
        kernel = AverageKernel(self.model, self.types, self.task)
        graphs = self._graphs([kernel], whole=self.task.n_lessons > 1)
        one = torch.ones(1, dtype=torch.float64)
        graph = self._beliefs(one, graphs, self.task.n_lessons)
        _, policy = policies.optimal(graph.levels, policies.last_future(graph))
        return plan_table(graph, policy)
