"""Every belief of a tutor who does not know the student's type, level by level.

A node is a mixture: the probability of each type, and for each type a node of that type's graph. A
response multiplies the weights by its probability under each type (Bayes' rule) and moves each
type's node; the student model itself is not evaluated again. Equal mixtures are merged.

At a lesson boundary every type's node goes back to its start and the weights stay: what a tutor
carries from lesson to lesson is what it knows of the student's type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tutor_agents.planning.level import Level, check_size, fill_impossible, row_chunks
from tutor_agents.planning.merge import MAX_NODES, component_fingerprint, distinct
from tutor_agents.planning.type_graph import IMPOSSIBLE, TypeGraph
from tutor_agents.tutor import CannotTeach

_WORKING_BYTES = 40
"""Bytes for each branch of a level while its children are merged."""


@dataclass
class BeliefLevel(Level):
    """A level of the belief graph.

    Attributes:
        weights: ``(H, n)`` probability of each type.
        nodes: int32 ``(H, n)`` node of each type in its graph's level.
    """

    weights: Tensor = field(default_factory=lambda: torch.empty(0))
    nodes: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass
class BeliefGraph:
    """The belief graph over a whole trial.

    Attributes:
        types: the graph of each type over one lesson.
        levels: one for each step of the trial, the first with one node; if the types' graphs have a
            tail, the last step is left out.
        n_branches: branches (belief, action, response) met in all.
    """

    types: list[TypeGraph]
    levels: list[BeliefLevel]
    n_branches: int

    @property
    def n_nodes(self) -> int:
        """Nodes of all levels."""
        return sum(level.n_nodes for level in self.levels)

    def last_mass(self, rows: slice | Tensor) -> list[Tensor]:
        """For each type ``(m, B)``: probability of type and branch from nodes of the last level."""
        level = self.levels[-1]
        return [
            graph.last.p_outcome(level.nodes[z, rows]).mul_(level.weights[z, rows].unsqueeze(1))
            for z, graph in enumerate(self.types)
        ]

    def last_values(self, rows: slice | Tensor) -> Tensor:
        """``(m, B, A)`` expected gain of each last action after each branch, times its probability.

        Minus infinity where the action is illegal.
        """
        level = self.levels[-1]
        n_actions, n_branches = level.n_actions, level.n_actions * self.types[0].n_outcomes
        total = torch.zeros((len(level.reward[rows]), n_branches * n_actions), dtype=torch.float64)
        for z, graph in enumerate(self.types):
            graph.last.add_gains(total, level.weights[z, rows], level.nodes[z, rows])
        total = total.view(-1, n_branches, n_actions)
        legal = self._last_legal(rows)
        return total if legal is None else total.masked_fill_(~legal, -torch.inf)

    def _last_legal(self, rows: slice | Tensor) -> Tensor | None:
        """``(m, B, A)``: legal for a type still possible; all after an impossible branch."""
        if self.types[0].last.legal is None:
            return None
        legal = torch.zeros(0)
        for z, (graph, mass) in enumerate(zip(self.types, self.last_mass(rows), strict=True)):
            assert graph.last.legal is not None
            live = graph.last.legal[self.levels[-1].nodes[z, rows].long()]
            live = live & (mass > IMPOSSIBLE).unsqueeze(2)
            legal = live if z == 0 else legal | live
        return legal | ~legal.any(-1, keepdim=True)


def _fill(types: list[Level], weights: Tensor, nodes: Tensor, *, expand: bool) -> BeliefLevel:
    """Rewards, legality and branch probabilities of the beliefs."""
    n, n_actions = weights.shape[1], types[0].n_actions
    level = BeliefLevel(
        torch.zeros((n, n_actions), dtype=torch.float64), weights=weights, nodes=nodes
    )
    for z, known in enumerate(types):
        level.reward += weights[z].unsqueeze(1) * known.reward.index_select(0, nodes[z])
        if known.legal is not None:
            live = known.legal.index_select(0, nodes[z]) & (weights[z] > IMPOSSIBLE).unsqueeze(1)
            level.legal = live if level.legal is None else level.legal | live
    if expand:
        assert types[0].p_response is not None
        p = torch.zeros((n, types[0].p_response.shape[1]), dtype=torch.float64)
        for z, known in enumerate(types):
            assert known.p_response is not None
            p += weights[z].unsqueeze(1) * known.p_response.index_select(0, nodes[z])
        level.p_response = p.masked_fill_(p < IMPOSSIBLE, 0.0)
    return level


def _keys(level: BeliefLevel, types: list[Level]) -> Tensor:
    """Fingerprint of the mixture after every branch, ``(n, A * R)``."""
    assert level.p_response is not None
    keys = torch.zeros(level.p_response.shape, dtype=torch.int64)
    tiny = torch.finfo(level.p_response.dtype).tiny
    for rows in row_chunks(level.n_nodes, 4 * level.p_response.shape[1]):
        total = level.p_response[rows].clamp(min=tiny)
        for z, known in enumerate(types):
            assert known.p_response is not None
            nodes = level.nodes[z, rows]
            weights = known.p_response.index_select(0, nodes)
            weights.mul_(level.weights[z, rows].unsqueeze(1)).div_(total)
            after = 0 if known.child is None else known.child.index_select(0, nodes)
            keys[rows] += component_fingerprint(z, weights, after)
    return keys


def _grow(level: BeliefLevel, types: list[Level]) -> tuple[Tensor, Tensor]:
    """Set ``level.child`` and return the next level's weights and nodes.

    Where the types' levels have no children a lesson ends, and every type goes back to its start.
    """
    assert level.p_response is not None
    n, n_branches = level.p_response.shape
    keys = _keys(level, types).flatten()
    possible = (level.p_response.flatten() > 0).nonzero().squeeze(1)
    if len(possible) < len(keys):
        first, inverse = distinct(keys[possible])
        first = possible[first]
        child = torch.zeros(len(keys), dtype=torch.int32)
        child[possible] = inverse
    else:
        first, child = distinct(keys)
    del keys, possible
    level.child = fill_impossible(child.view(n, n_branches), level.p_response, level.n_actions)
    parent, branch = first.div(n_branches, rounding_mode="floor"), first.remainder(n_branches)
    weights = torch.empty((len(types), len(first)), dtype=torch.float64)
    nodes = torch.zeros((len(types), len(first)), dtype=torch.int32)
    for z, known in enumerate(types):
        assert known.p_response is not None
        place = level.nodes[z, parent].long() * n_branches + branch
        weights[z] = level.weights[z, parent] * known.p_response.view(-1).index_select(0, place)
        if known.child is not None:
            nodes[z] = known.child.view(-1).index_select(0, place)
    return weights.div_(weights.sum(0)), nodes


def build_belief_graph(
    prior: Tensor,
    types: list[TypeGraph],
    n_lessons: int,
    *,
    max_bytes: float,
    progress: Callable[[str], None] | None = None,
) -> BeliefGraph:
    """Every belief that a tutor can come to in a trial.

    Args:
        prior: ``(H,)`` probability of each type.
        types: the graph of each type over one lesson.
        n_lessons: lessons in a trial; more than one needs whole type graphs.
        max_bytes: refuse a graph that needs more.
        progress: told a line about each level.

    Raises:
        CannotTeach: the graph is too big.
    """
    n_types, n_lesson_levels = len(types), len(types[0].levels)
    n_steps = n_lessons * n_lesson_levels
    n_tail_steps = 0 if types[0].tail is None else 1
    weights = prior.to(torch.float64).unsqueeze(1)
    nodes = torch.zeros((n_types, 1), dtype=torch.int32)
    levels: list[BeliefLevel] = []
    n_branches, held = 0, 0.0
    for step in range(n_steps):
        known = [graph.levels[step % n_lesson_levels] for graph in types]
        expand = step + 1 < n_steps
        n = weights.shape[1]
        branches = n * known[0].n_actions * types[0].n_outcomes
        what = f"step {step + 1} of {n_steps + n_tail_steps} ({n:,} beliefs)"
        held += n * (12 * n_types + 24 * known[0].n_actions) + (12 * branches if expand else 0)
        check_size(what, held + (_WORKING_BYTES * branches if expand else 0), max_bytes)
        if n > MAX_NODES:
            raise CannotTeach(f"{what} has more than {MAX_NODES:,} beliefs")
        if progress is not None:
            progress(what)
        level = _fill(known, weights, nodes, expand=expand)
        if expand:
            weights, nodes = _grow(level, known)
        n_branches += branches
        levels.append(level)
    return BeliefGraph(types, levels, n_branches)
