"""A plan as a table: what to do and where each response leads, for what the plan can reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.planning.belief_graph import BeliefGraph
from tutor_agents.planning.kernel import Kernel
from tutor_agents.planning.level import fill_impossible
from tutor_agents.planning.merge import distinct, labelled
from tutor_agents.planning.policies import Policy, first_best
from tutor_agents.planning.type_graph import IMPOSSIBLE
from tutor_envs.student import Belief


class PlanStep(NamedTuple):
    """One step of a plan, for ``m`` situations.

    Attributes:
        action: int64 ``(m,)``.
        child: int64 ``(m, R)``, situation of the next step after each response.
    """

    action: Tensor
    child: Tensor


def plan_table(graph: BeliefGraph, policy: Policy) -> list[PlanStep]:
    """What a policy does from the start of a trial, the best last action included.

    Args:
        graph: the belief graph.
        policy: an action for each of its nodes.
    """
    n_responses = graph.types[0].n_outcomes
    responses = torch.arange(n_responses)
    here = torch.zeros(1, dtype=torch.int64)
    table: list[PlanStep] = []
    for level, actions in zip(graph.levels, policy, strict=True):
        action = actions[here]
        if level.child is not None:
            child = level.child[
                here.unsqueeze(1), action.unsqueeze(1) * n_responses + responses
            ].long()
            reached, inverse = torch.unique(child, return_inverse=True)
            table.append(PlanStep(action, inverse))
            here = reached
            continue
        if graph.types[0].tail is None:
            table.append(PlanStep(action, torch.zeros((len(here), n_responses), dtype=torch.int64)))
            continue
        branch = action.unsqueeze(1) * n_responses + responses
        rows = torch.arange(len(here)).unsqueeze(1)
        gains = graph.last_values(here)[rows, branch]
        mass = torch.stack(graph.last_mass(here)).sum(0)[rows, branch]
        last = first_best(gains / mass.clamp(min=torch.finfo(mass.dtype).tiny).unsqueeze(2))
        child = torch.arange(last.numel(), dtype=torch.int32).view(last.shape)
        table.append(PlanStep(action, fill_impossible(child, mass, 1).long()))
        table.append(
            PlanStep(last.flatten(), torch.zeros((last.numel(), n_responses), dtype=torch.int64))
        )
    return table


def fixed_plan(actions: Sequence[int], n_outcomes: int) -> list[PlanStep]:
    """The plan that does the same whatever the responses."""
    here = torch.zeros((1, n_outcomes), dtype=torch.int64)
    return [PlanStep(torch.tensor([action]), here) for action in actions]


def _successors(
    kernel: Kernel, step: PlanStep, belief: Belief, place: Tensor, mass: Tensor, *, restart: bool
) -> tuple[Belief, Tensor, Tensor]:
    """Beliefs, situations and their probabilities after a step; equal ones are made one.

    ``restart``: a new lesson begins after the step.
    """
    _, p_outcome, _ = kernel.outlook(belief)
    action = step.action[place]
    parts: list[tuple[Belief, Tensor, Tensor]] = []
    for a in torch.unique(action).tolist():
        here = (action == a).nonzero().squeeze(1)
        for outcome in range(kernel.n_outcomes):
            p = p_outcome[here, a * kernel.n_outcomes + outcome]
            seen = here[p > IMPOSSIBLE]
            rows = {name: value[seen] for name, value in belief.items()}
            after = kernel.successor(rows, a, outcome)
            parts.append((after, step.child[place[seen], outcome], mass[seen] * p[p > IMPOSSIBLE]))
    place, mass = torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])
    if restart:
        n = len(place)
        belief = {name: row.expand(n, *row.shape[1:]) for name, row in kernel.begin().items()}
    else:
        belief = {name: torch.cat([part[0][name] for part in parts]) for name in belief}
    first, inverse = distinct(labelled(kernel.fingerprint(belief), place))
    merged = torch.zeros(len(first), dtype=mass.dtype).index_add_(0, inverse, mass)
    return {name: value[first] for name, value in belief.items()}, place[first], merged


def taught_value(kernel: Kernel, gain_weights: Sequence[float], plan: Sequence[PlanStep]) -> float:
    """Expected sum of gains of students of one type under a plan, whoever it was made for.

    Args:
        kernel: the students.
        gain_weights: what a gain counts at each step of a lesson.
        plan: one step for each step of the trial; its responses are the kernel's outcomes.
    """
    n_lesson_steps = len(gain_weights)
    belief = kernel.begin()
    place, mass = torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.float64)
    total = 0.0
    for t, step in enumerate(plan):
        gains = kernel.outlook(belief)[0].gather(1, step.action[place].unsqueeze(1)).squeeze(1)
        total += gain_weights[t % n_lesson_steps] * float(mass @ gains)
        if t + 1 < len(plan):
            restart = (t + 1) % n_lesson_steps == 0
            belief, place, mass = _successors(kernel, step, belief, place, mass, restart=restart)
    return total
