"""Policies on a decision graph and their exact values, by backward recursion over the levels.

Every function works on the belief graph (a tutor who does not know the type) and on a type graph
(one who does). ``future`` is what the step after the last level adds to each of its actions,
``(n, A)``, or None where the levels are all; see :func:`last_future`. Ties go to the lowest action
index; values closer than ``TIE`` are tied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tutor_agents.planning.belief_graph import BeliefGraph
from tutor_agents.planning.level import Level, row_chunks
from tutor_agents.planning.type_graph import TypeGraph

TIE = 1e-10

Levels = Sequence[Level]
Policy = list[Tensor]
"""For each level int64 ``(n,)``: the action at each node."""


def tied(q: Tensor) -> Tensor:
    """bool: which of the values along the last dimension are within ``TIE`` of the best."""
    return q >= q.max(dim=-1, keepdim=True).values - TIE


def first_best(q: Tensor) -> Tensor:
    """The first of the best along the last dimension, int64."""
    return tied(q).to(torch.int8).argmax(dim=-1)


def last_future(
    graph: BeliefGraph | TypeGraph, value: Callable[[slice, Tensor], Tensor] | None = None
) -> Tensor | None:
    """What the last step adds to each action before it, ``(n, A)``; None where the levels are all.

    Args:
        graph: of one type or of beliefs.
        value: ``(rows, gains (m, B, A)) -> (m, B)``, what the last action is worth after each
            branch, times the branch's probability; by default the best action is taken.
    """
    if (graph.types[0] if isinstance(graph, BeliefGraph) else graph).tail is None:
        return None
    level = graph.levels[-1]
    future = torch.empty_like(level.reward)
    for rows in row_chunks(level.n_nodes, 2 * level.n_actions**2):
        gains = graph.last_values(rows)
        chosen = gains.amax(-1) if value is None else value(rows, gains)
        future[rows] = chosen.view(len(gains), level.n_actions, -1).sum(-1)
    return future


def uniform_gain(_: slice, gains: Tensor) -> Tensor:
    """The last action drawn uniformly from the legal ones, for :func:`last_future`."""
    legal = gains > -torch.inf
    return torch.where(legal, gains, 0.0).sum(-1) / legal.sum(-1).clamp(min=1)


def backward(
    levels: Levels, future: Tensor | None, choose: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """Value of each node of the first level.

    Args:
        levels: of the graph.
        future: see the module's text.
        choose: (level, action values ``(n, A)``) -> node values ``(n,)``.
    """
    after = future
    for t in range(len(levels) - 1, -1, -1):
        after = choose(t, levels[t].values(after))
    assert after is not None
    return after


def optimal(levels: Levels, future: Tensor | None) -> tuple[Tensor, Policy]:
    """Largest expected return from each node of the first level, and the policy that earns it."""
    actions: Policy = []

    def choose(_: int, q: Tensor) -> Tensor:
        actions.append(first_best(q))
        return q.max(dim=1).values

    value = backward(levels, future, choose)
    return value, actions[::-1]


def value_of(levels: Levels, future: Tensor | None, policy: Policy) -> Tensor:
    """Expected return of a policy from each node of the first level."""
    return backward(levels, future, lambda t, q: q.gather(1, policy[t].unsqueeze(1)).squeeze(1))


def value_range(
    levels: Levels, future: Tensor | None, choices: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Smallest and largest return over all policies that stay within the given choices.

    Args:
        levels: of the graph.
        future: see the module's text.
        choices: level -> bool ``(n, A)``, with at least one choice in each row.
    """
    low = backward(levels, future, lambda t, q: q.masked_fill(~choices[t], torch.inf).min(1).values)
    high = backward(
        levels, future, lambda t, q: q.masked_fill(~choices[t], -torch.inf).max(1).values
    )
    return low, high


def value_of_random(levels: Levels, future: Tensor | None) -> Tensor:
    """Expected return when legal actions are drawn uniformly; ``future`` by ``uniform_gain``."""

    def choose(_: int, q: Tensor) -> Tensor:
        legal = q > -torch.inf
        return torch.where(legal, q, 0.0).sum(1) / legal.sum(1)

    return backward(levels, future, choose)


def lookahead(levels: Levels, future: Tensor | None, depth: int) -> list[Tensor]:
    """Action values for a tutor who maximises the expected reward of the next ``depth`` steps.

    Args:
        levels: of the graph.
        future: see the module's text.
        depth: at least 1; 1 is the myopic tutor.

    Returns:
        For each level ``(n, A)``: best expected reward of the next ``depth`` steps by first action.
    """
    seen: list[Tensor] = []
    horizons: list[Tensor] = []
    for t in range(len(levels) - 1, -1, -1):
        level = levels[t]
        nearest = level.immediate()
        if level.child is None:
            q = [nearest] + [level.values(future)] * (depth - 1)
        else:
            q = [nearest, *(level.values(after) for after in horizons[: depth - 1])]
        seen.append(q[-1])
        horizons = [values.max(dim=1).values for values in q]
    return seen[::-1]
