"""Posterior sampling of the type: its exact value.

At every step a type is drawn from the posterior, and the action is taken that is optimal for a
student known to be of that type, given what that type's belief now is (Strens 2000, ICML; with a new
draw at each step). So the action is a mixture over types, and its value follows exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.planning import policies
from tutor_agents.planning.belief_graph import BeliefGraph
from tutor_agents.planning.level import row_chunks
from tutor_agents.planning.type_graph import TypeGraph


def _last_actions(graph: TypeGraph) -> Tensor:
    """int8 ``(n, B)``: the best last action after each branch for the known type."""
    level = graph.levels[-1]
    parts = []
    for rows in row_chunks(level.n_nodes, 2 * level.n_actions**2):
        nodes = torch.arange(level.n_nodes)[rows]
        p_outcome = graph.last.p_outcome(nodes).unsqueeze(2)
        tiny = torch.finfo(p_outcome.dtype).tiny
        parts.append(
            policies.first_best(graph.last_values(rows) / p_outcome.clamp(min=tiny)).to(torch.int8)
        )
    return torch.cat(parts)


def thompson_value(graph: BeliefGraph) -> Tensor:
    """Expected return of posterior sampling, ``(1,)``."""
    plans = [
        policies.optimal(known.levels, policies.last_future(known))[1] for known in graph.types
    ]
    n_lesson_levels = len(graph.types[0].levels)

    def probabilities(t: int) -> Tensor:
        level = graph.levels[t]
        p = torch.zeros_like(level.reward)
        for z, plan in enumerate(plans):
            wanted = plan[t % n_lesson_levels].index_select(0, level.nodes[z])
            p.scatter_add_(1, wanted.unsqueeze(1), level.weights[z].unsqueeze(1))
        return p

    if graph.types[0].tail is None:
        return policies.value_of_mixture(graph.levels, None, probabilities)
    last = [_last_actions(known) for known in graph.types]

    def last_gain(rows: slice, gains: Tensor) -> Tensor:
        masses = graph.last_mass(rows)
        total = torch.stack(masses).sum(0).clamp(min=torch.finfo(gains.dtype).tiny)
        value = torch.zeros_like(total)
        for z, mass in enumerate(masses):
            wanted = last[z].index_select(0, graph.levels[-1].nodes[z, rows]).long().unsqueeze(2)
            gained = gains.gather(2, wanted).squeeze(2)
            value += torch.where(mass > 0, mass / total * gained, 0.0)
        return value

    return policies.value_of_mixture(
        graph.levels, policies.last_future(graph, last_gain), probabilities
    )
