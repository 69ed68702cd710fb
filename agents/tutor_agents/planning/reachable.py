"""Exact plans for students whose state is known: every state that can be reached, level by level.

For oracles (:mod:`tutor_agents.clairvoyant`, :mod:`tutor_agents.oracle_plan`). Many students are
planned for at once; each *owner* (a student, or all students that are alike) has its own start.
Equal states of one owner are merged (:mod:`.merge`), and backward recursion finds the best action
in each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.planning.merge import distinct, labelled, rows_fingerprint
from tutor_agents.planning.plan_table import PlanStep
from tutor_agents.planning.policies import first_best

Rows = dict[str, Tensor]
"""States: name -> ``(n, ...)``."""


class Branches(NamedTuple):
    """What the actions do in ``n`` states; A actions, B branches of each.

    Attributes:
        reward: float64 ``(n, A)`` expected reward; minus infinity where the action is illegal.
        p: ``(n, A, B)`` probability of each branch, 0 where the action is illegal; None: one
            branch, certain.
        after: the states that follow, ``n * A * B`` rows.
    """

    reward: Tensor
    p: Tensor | None
    after: Rows


Expand = Callable[[int, Tensor, Rows], Branches]
"""(step of the lesson, owner of each row, rows) -> what the actions do there."""


class TooManyStates(ValueError):
    """More states can be reached than may be held."""


def _key(owner: Tensor, rows: Rows) -> Tensor:
    columns = [value.double().reshape(len(owner), -1) for value in rows.values()]
    # Where nothing matters, all states of an owner are one.
    some = torch.cat([torch.zeros(len(owner), 1, dtype=torch.float64), *columns], dim=1)
    return labelled(rows_fingerprint(some), owner)


def best_plan(
    start: Rows,
    expand: Expand,
    n_steps: int,
    max_states: int,
    *,
    matters: Callable[[Rows], Rows] = lambda rows: rows,
) -> list[PlanStep]:
    """The best actions of a lesson.

    Args:
        start: one row for each owner, on the CPU.
        expand: see :data:`Expand`.
        n_steps: of the lesson.
        max_states: of all owners at one step.
        matters: the part of states on which anything later depends; equal parts are equal states.

    Returns:
        A plan for each step; owner i starts in situation i.

    Raises:
        TooManyStates: more than ``max_states``.
    """
    rows = start
    owner = torch.arange(len(next(iter(start.values()))))
    levels: list[tuple[Tensor, Tensor | None, Tensor]] = []
    for step in range(n_steps):
        reward, p, after = expand(step, owner, rows)
        shape = (*reward.shape, 1 if p is None else p.shape[-1])
        child = torch.zeros(shape, dtype=torch.int64)
        if step + 1 < n_steps:
            possible = torch.isfinite(reward).unsqueeze(-1) if p is None else p > 0
            place = possible.expand(shape).flatten().nonzero().squeeze(1)
            owners = owner[place.div(shape[1] * shape[2], rounding_mode="floor")]
            reached = {name: value[place] for name, value in after.items()}
            first, inverse = distinct(_key(owners, matters(reached)))
            if len(first) > max_states:
                raise TooManyStates(
                    f"step {step + 2} of {n_steps} can begin in {len(first):,} states"
                )
            child.view(-1)[place] = inverse.long()
            owner = owners[first]
            rows = {name: value[first] for name, value in reached.items()}
        levels.append((reward, p, child))
    return _backward(levels)


def _backward(levels: list[tuple[Tensor, Tensor | None, Tensor]]) -> list[PlanStep]:
    steps: list[PlanStep] = []
    value: Tensor | None = None
    for reward, p, child in reversed(levels):
        q = reward
        if value is not None:
            later = value[child]
            q = q + (later.squeeze(-1) if p is None else (later * p).sum(-1))
        action = first_best(q)
        value = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        index = torch.arange(len(action))
        steps.append(PlanStep(action, child[index, action]))
    return steps[::-1]
