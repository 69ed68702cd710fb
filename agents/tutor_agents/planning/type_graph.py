"""Every belief that an observer who knows the student's type can come to in a lesson.

The tutor's own beliefs are mixtures of these nodes over types (:mod:`.belief_graph`).

Half or more of all beliefs arise just before the last action. They need not be told apart: what the
last action will gain is read from the beliefs one step earlier, by a :class:`Tail`. A graph that is
built ``whole`` has every level instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tutor_agents.planning.kernel import Kernel, MatrixKernel
from tutor_agents.planning.level import Level, check_size, fill_impossible, row_chunks
from tutor_agents.planning.merge import MAX_NODES, distinct
from tutor_agents.tutor import CannotTeach
from tutor_envs.student import Belief

IMPOSSIBLE = 1e-14
"""Branches less probable than this are not followed."""
_WORKING_BYTES = 40
"""Bytes for each branch of a level while its children are merged."""


class Tail(Protocol):
    """The last action, seen from the beliefs before the last but one; B = A * O branches."""

    legal: Tensor | None
    """bool ``(n, B, A)``, legal last actions after each branch; None where all are."""
    n_bytes: int
    """What the tail holds."""

    def p_outcome(self, nodes: Tensor) -> Tensor:
        """``(m, B)`` probability of each branch from these nodes."""
        ...

    def add_gains(self, total: Tensor, weights: Tensor, nodes: Tensor) -> None:
        """Add ``weights`` times branch probability times gain of each last action.

        Args:
            total: ``(m, B * A)``, changed in place.
            weights: ``(m,)``.
            nodes: ``(m,)``.
        """
        ...


class TableTail:
    """A tail that is stored for every node."""

    def __init__(self, kernel: Kernel, belief: Belief, weight: float, max_bytes: float) -> None:
        """Look one step ahead from every belief.

        Args:
            kernel: moves the beliefs.
            belief: of ``n`` nodes.
            weight: what a gain of the last action counts.
            max_bytes: refuse a table that needs more.
        """
        n, n_actions = len(next(iter(belief.values()))), kernel.n_actions
        n_branches = n_actions * kernel.n_outcomes
        check_size(f"the last step of {n:,} beliefs", 9 * n * n_branches * n_actions, max_bytes)
        self._p = kernel.outlook(belief)[1]
        self._gains = torch.empty((n, n_branches, n_actions), dtype=torch.float64)
        self.legal: Tensor | None = None
        for branch in range(n_branches):
            after = kernel.successor(belief, *divmod(branch, kernel.n_outcomes))
            gains, _, legal = kernel.outlook(after)
            self._gains[:, branch] = weight * gains * self._p[:, branch : branch + 1]
            if legal is not None:
                if self.legal is None:
                    self.legal = torch.empty(self._gains.shape, dtype=torch.bool)
                self.legal[:, branch] = legal
        self.n_bytes = self._p.nbytes + self._gains.nbytes

    def p_outcome(self, nodes: Tensor) -> Tensor:
        """Looked up."""
        return self._p.index_select(0, nodes)

    def add_gains(self, total: Tensor, weights: Tensor, nodes: Tensor) -> None:
        """Looked up."""
        total.addcmul_(self._gains.flatten(1).index_select(0, nodes), weights.unsqueeze(1))


class LinearTail:
    """A tail that is linear in the belief: two matrices serve every node."""

    def __init__(self, kernel: MatrixKernel, belief: Belief, weight: float) -> None:
        """Fold the last gain into matrices.

        Args:
            kernel: moves the beliefs.
            belief: of ``n`` nodes.
            weight: what a gain of the last action counts.
        """
        self.legal: Tensor | None = None
        self._belief = belief["p"]
        moves = kernel.states.moves.flatten(0, 1)
        self._p = moves.sum(-1).T.contiguous()
        self._gains = weight * (moves @ kernel.states.gains).transpose(0, 1).flatten(1)
        self.n_bytes = self._belief.nbytes

    def p_outcome(self, nodes: Tensor) -> Tensor:
        """One product of matrices."""
        return self._belief.index_select(0, nodes) @ self._p

    def add_gains(self, total: Tensor, weights: Tensor, nodes: Tensor) -> None:
        """One product of matrices."""
        total.addmm_(self._belief.index_select(0, nodes).mul_(weights.unsqueeze(1)), self._gains)


@dataclass
class TypeGraph:
    """The decision graph of one type of students over one lesson.

    Attributes:
        levels: one for each step, the first with one node; the last step is left to a tail, if any.
        tail: the last step; None where the levels are whole.
        n_outcomes: outcomes of each action.
    """

    levels: list[Level]
    tail: Tail | None
    n_outcomes: int

    @property
    def last(self) -> Tail:
        """The tail of a graph that has one."""
        assert self.tail is not None
        return self.tail

    def last_values(self, rows: slice) -> Tensor:
        """``(m, B, A)`` gain of each last action after each branch, times the branch's probability.

        Minus infinity where the action is illegal.
        """
        level = self.levels[-1]
        nodes = torch.arange(level.n_nodes)[rows]
        n_branches = level.n_actions * self.n_outcomes
        total = torch.zeros((len(nodes), n_branches * level.n_actions), dtype=torch.float64)
        self.last.add_gains(total, torch.ones(len(nodes), dtype=torch.float64), nodes)
        total = total.view(-1, n_branches, level.n_actions)
        if self.last.legal is None:
            return total
        return total.masked_fill_(~self.last.legal[rows], -torch.inf)

    @property
    def n_nodes(self) -> int:
        """Nodes of all levels."""
        return sum(level.n_nodes for level in self.levels)

    @property
    def n_bytes(self) -> int:
        """What the graph holds."""
        return sum(level.n_bytes for level in self.levels) + (self.tail.n_bytes if self.tail else 0)


def _rows(belief: Belief, index: Tensor | slice) -> Belief:
    return {name: value[index] for name, value in belief.items()}


def _width(belief: Belief) -> int:
    return max(1, sum(math.prod(value.shape[1:]) for value in belief.values()))


def _grow(kernel: Kernel, belief: Belief, level: Level) -> Belief:
    """Set ``level.child`` and return the distinct beliefs of the next level."""
    assert level.p_response is not None
    n, n_branches = level.p_response.shape
    keys = torch.empty((n, n_branches), dtype=torch.int64)
    for rows in row_chunks(n, 4 * _width(belief)):
        part = _rows(belief, rows)
        for branch in range(n_branches):
            after = kernel.successor(part, *divmod(branch, kernel.n_outcomes))
            keys[rows, branch] = kernel.fingerprint(after)
    possible = (level.p_response.flatten() > 0).nonzero().squeeze(1)
    first, inverse = distinct(keys.flatten()[possible])
    del keys
    if len(first) > MAX_NODES:
        raise CannotTeach(f"a lesson step has {len(first):,} beliefs, more than {MAX_NODES:,}")
    child = torch.zeros(n * n_branches, dtype=torch.int32)
    child[possible] = inverse
    level.child = fill_impossible(child.view(n, n_branches), level.p_response, level.n_actions)
    first = possible[first]
    parent, branches = first.div(n_branches, rounding_mode="floor"), first.remainder(n_branches)
    grown: Belief = {}
    for branch in range(n_branches):
        here = (branches == branch).nonzero().squeeze(1)
        after = kernel.successor(_rows(belief, parent[here]), *divmod(branch, kernel.n_outcomes))
        for name, value in after.items():
            if name not in grown:
                grown[name] = value.new_empty((len(first), *value.shape[1:]))
            grown[name][here] = value
    return grown


def build_type_graph(
    kernel: Kernel, gain_weights: list[float], *, whole: bool, max_bytes: float
) -> TypeGraph:
    """Every belief of an observer who knows the type, over one lesson.

    Args:
        kernel: moves the beliefs of one type.
        gain_weights: what a gain counts at each step of the lesson.
        whole: build the last step too, instead of a tail. A lesson of one step is always whole.
        max_bytes: refuse a graph that needs more.

    Raises:
        ValueError: the graph is too big.
    """
    n_steps = len(gain_weights)
    whole = whole or n_steps == 1
    n_levels = n_steps if whole else n_steps - 1
    branching = kernel.n_actions * kernel.n_outcomes
    belief = kernel.begin()
    levels: list[Level] = []
    held = 0.0
    for step in range(n_levels):
        n = len(next(iter(belief.values())))
        last = step + 1 == n_levels
        held += n * (8 * kernel.n_actions + 12 * branching)
        needed = held + 16 * n * _width(belief) + (0 if last else _WORKING_BYTES * n * branching)
        check_size(f"step {step + 1} of {n_steps} ({n:,} beliefs of one type)", needed, max_bytes)
        gains, p_outcome, legal = kernel.outlook(belief)
        p_outcome.masked_fill_(p_outcome < IMPOSSIBLE, 0.0)
        level = Level(gains * gain_weights[step], legal, p_outcome)
        levels.append(level)
        if not last:
            belief = _grow(kernel, belief, level)
    if whole:
        return TypeGraph(levels, None, kernel.n_outcomes)
    levels[-1].p_response = None
    tail: Tail
    if isinstance(kernel, MatrixKernel):
        tail = LinearTail(kernel, belief, gain_weights[-1])
    else:
        tail = TableTail(kernel, belief, gain_weights[-1], max_bytes)
    return TypeGraph(levels, tail, kernel.n_outcomes)
