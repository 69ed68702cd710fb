"""Posterior sampling of the type: its exact value.

At every step a type is drawn from the posterior, and the action is taken that is optimal for a
student known to be of that type, given what that type's belief now is (Strens 2000, ICML; here with
a new draw at each step). So the action is a mixture over types, and its value follows exactly.
"""

from __future__ import annotations

import enum

import torch
from torch import Tensor

from tutor_agents.planning import policies
from tutor_agents.planning.belief_graph import BeliefGraph
from tutor_agents.planning.level import row_chunks
from tutor_agents.planning.type_graph import TypeGraph

_TINY = torch.finfo(torch.float64).tiny


class Ties(enum.Enum):
    """Which of several actions that are optimal for the drawn type is taken."""

    FIRST = "first"
    WORST = "worst"
    BEST = "best"


def _choice(q: Tensor, ties: Ties) -> Tensor:
    """The optimal actions: index of the first, int16 ``(..., 1)``, or all, bool ``(..., A)``."""
    if ties is Ties.FIRST:
        return policies.first_best(q).to(torch.int16).unsqueeze(-1)
    return policies.tied(q)


def _taken(q: Tensor, choice: Tensor, ties: Ties) -> Tensor:
    """``(...)`` value of the choice, from values ``(..., A)`` of all actions."""
    if ties is Ties.FIRST:
        return q.gather(-1, choice.long()).squeeze(-1)
    if ties is Ties.WORST:
        return q.masked_fill(~choice, torch.inf).amin(-1)
    return q.masked_fill(~choice, -torch.inf).amax(-1)


def _type_choices(graph: TypeGraph, ties: Ties) -> list[Tensor]:
    """For each level the choices when the type is known."""
    choices: list[Tensor] = []
    after = policies.last_future(graph)
    for level in reversed(graph.levels):
        q = level.values(after)
        choices.append(_choice(q, ties))
        after = q.amax(1)
    return choices[::-1]


def _last_type_choices(graph: TypeGraph, ties: Ties) -> Tensor:
    """The last choice after each branch when the type is known, ``(n, B, ...)``."""
    level = graph.levels[-1]
    parts = []
    for rows in row_chunks(level.n_nodes, 2 * level.n_actions**2):
        p_outcome = graph.last.p_outcome(torch.arange(level.n_nodes)[rows])
        normalised = graph.last_values(rows) / p_outcome.clamp(min=_TINY).unsqueeze(2)
        parts.append(_choice(normalised, ties))
    return torch.cat(parts)


def _last_future(graph: BeliefGraph, ties: Ties) -> Tensor | None:
    """What the last step adds to each action before it."""
    if graph.types[0].tail is None:
        return None
    choices = [_last_type_choices(known, ties) for known in graph.types]

    def value(rows: slice, gains: Tensor) -> Tensor:
        masses = graph.last_mass(rows)
        total = torch.stack(masses).sum(0).clamp_(min=_TINY)
        mixed = torch.zeros_like(total)
        for z, mass in enumerate(masses):
            taken = _taken(gains, choices[z].index_select(0, graph.levels[-1].nodes[z, rows]), ties)
            mixed += torch.where(mass > 0, mass / total * taken, 0.0)
        return mixed

    return policies.last_future(graph, value)


def thompson_value(graph: BeliefGraph, ties: Ties = Ties.FIRST) -> Tensor:
    """Expected gains of posterior sampling, ``(1,)``."""
    choices = [_type_choices(known, ties) for known in graph.types]
    n_lesson_levels = len(graph.types[0].levels)

    def choose(t: int, q: Tensor) -> Tensor:
        level = graph.levels[t]
        mixed = torch.zeros(level.n_nodes, dtype=torch.float64)
        for z, plan in enumerate(choices):
            taken = _taken(q, plan[t % n_lesson_levels].index_select(0, level.nodes[z]), ties)
            mixed += torch.where(level.weights[z] > 0, level.weights[z] * taken, 0.0)
        return mixed

    return policies.backward(graph.levels, _last_future(graph, ties), choose)
