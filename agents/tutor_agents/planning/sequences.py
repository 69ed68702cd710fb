"""The best fixed sequence of actions: what a tutor can do who never looks at the student.

Where the belief is a distribution over hidden states, an unseen response leaves one belief, so the
search is the ordinary belief graph with one outcome for every action. Elsewhere (memory) the
student's state depends on responses that the tutor does not see; then a sequence leaves a *set of
particles*, one for each (type, belief) with its probability, and sequences that leave equal sets
are merged. Large sets of sequences are searched part by part, so that memory stays bounded, and
without those that even a tutor who knew type and responses could not make good (branch and bound).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tutor_agents.planning.merge import component_fingerprint, distinct
from tutor_agents.planning.policies import TIE
from tutor_agents.planning.type_graph import TypeGraph
from tutor_agents.tutor import CannotTeach

_MAX_ROWS = 2**21
"""Particles held at once in one part of the search."""
_MAX_WORK = 2.0**34
"""Particles that a search may meet in all."""


@dataclass
class _Sequences:
    """``S`` sequences of actions so far, and the particles that each leaves.

    Attributes:
        actions: uint8 ``(S, t)``.
        value: ``(S,)`` gains so far.
        owner: for each type int64 ``(m,)``, the sequence that a particle belongs to, ascending.
        node: for each type int64 ``(m,)``, node of the type graph's level.
        mass: for each type ``(m,)``, probability of type and node.
    """

    actions: Tensor
    value: Tensor
    owner: list[Tensor]
    node: list[Tensor]
    mass: list[Tensor]

    @property
    def n_rows(self) -> int:
        return sum(map(len, self.owner))

    def part(self, start: int, stop: int) -> _Sequences:
        """The sequences from ``start`` to ``stop``."""
        ends = torch.tensor([start, stop])
        cut = [slice(*torch.searchsorted(owner, ends).tolist()) for owner in self.owner]
        return _Sequences(
            self.actions[start:stop],
            self.value[start:stop],
            [owner[rows] - start for owner, rows in zip(self.owner, cut, strict=True)],
            [node[rows] for node, rows in zip(self.node, cut, strict=True)],
            [mass[rows] for mass, rows in zip(self.mass, cut, strict=True)],
        )


class _Search:
    """Branch and bound over sequences."""

    def __init__(self, prior: Tensor, graphs: list[TypeGraph]) -> None:
        self.graphs = graphs
        self.n_steps = len(graphs[0].levels)
        self.n_actions, self.n_outcomes = graphs[0].levels[0].n_actions, graphs[0].n_outcomes
        self.bounds = [self._bound(graph) for graph in graphs]
        self.best = -torch.inf
        self.best_actions: list[int] = []
        zero = torch.zeros(1, dtype=torch.int64)
        self.root = _Sequences(
            torch.empty((1, 0), dtype=torch.uint8),
            torch.zeros(1, dtype=torch.float64),
            [zero] * len(graphs),
            [zero] * len(graphs),
            list(prior.to(torch.float64).unsqueeze(1)),
        )
        self.work = 0.0

    @staticmethod
    def _bound(graph: TypeGraph) -> list[Tensor]:
        """For each level ``(n,)``: what an observer who knows the type can still gain."""
        bounds: list[Tensor] = []
        after: Tensor | None = None
        for level in reversed(graph.levels):
            after = level.values(after).amax(1)
            bounds.append(after)
        return bounds[::-1]

    def values(self, s: _Sequences, step: int) -> Tensor:
        """``(S, A)`` gains so far and by the next action."""
        q = s.value.unsqueeze(1).repeat(1, self.n_actions)
        for z, graph in enumerate(self.graphs):
            gains = graph.levels[step].reward.index_select(0, s.node[z]) * s.mass[z].unsqueeze(1)
            q.index_add_(0, s.owner[z], gains)
        return q

    def upper(self, s: _Sequences, step: int) -> Tensor:
        """``(S,)`` no continuation can be worth more."""
        bound = s.value.clone()
        for z in range(len(self.graphs)):
            left = self.bounds[z][step].index_select(0, s.node[z])
            bound.index_add_(0, s.owner[z], left * s.mass[z])
        return bound

    def extended(self, s: _Sequences, step: int) -> _Sequences:
        """Every sequence followed by every action."""
        n, n_actions, n_outcomes = len(s.value), self.n_actions, self.n_outcomes
        actions = torch.arange(n_actions, dtype=torch.uint8).repeat(n).unsqueeze(1)
        grown = _Sequences(
            torch.cat([s.actions.repeat_interleave(n_actions, 0), actions], 1),
            self.values(s, step).flatten(),
            [],
            [],
            [],
        )
        for z, graph in enumerate(self.graphs):
            level = graph.levels[step]
            assert level.child is not None
            assert level.p_response is not None
            mass = level.p_response.index_select(0, s.node[z]) * s.mass[z].unsqueeze(1)
            node = level.child.index_select(0, s.node[z]).long()
            owner = s.owner[z].unsqueeze(1) * n_actions + torch.arange(n_actions)
            owner = owner.repeat_interleave(n_outcomes, 1)
            n_next = graph.levels[step + 1].n_nodes
            keys, inverse = torch.unique((owner * n_next + node).flatten(), return_inverse=True)
            grown.owner.append(keys.div(n_next, rounding_mode="floor"))
            grown.node.append(keys.remainder(n_next))
            grown.mass.append(
                torch.zeros(len(keys), dtype=mass.dtype).index_add_(0, inverse, mass.flatten())
            )
        return grown

    def merged(self, s: _Sequences) -> _Sequences:
        """Of sequences that leave equal particles, the most valuable (the first of equals)."""
        n = len(s.value)
        fingerprint = torch.zeros(n, dtype=torch.int64)
        for z in range(len(self.graphs)):
            terms = component_fingerprint(z, s.mass[z], s.node[z])
            fingerprint.index_add_(0, s.owner[z], terms)
        _, group = distinct(fingerprint)
        group = group.long()
        best = torch.full((int(group.max()) + 1,), -torch.inf, dtype=torch.float64)
        best = best.scatter_reduce(0, group, s.value, "amax")
        candidate = torch.where(s.value >= best[group] - TIE, torch.arange(n), n)
        first = torch.full_like(best, n, dtype=torch.int64)
        first = first.scatter_reduce(0, group, candidate, "amin")
        return self.selected(s, first.sort().values)

    def selected(self, s: _Sequences, keep: Tensor) -> _Sequences:
        """Only the sequences ``keep``, ascending."""
        if len(keep) == len(s.value):
            return s
        place = torch.full((len(s.value),), -1)
        place[keep] = torch.arange(len(keep))
        rows = [place[owner] >= 0 for owner in s.owner]
        return _Sequences(
            s.actions[keep],
            s.value[keep],
            [place[owner[kept]] for owner, kept in zip(s.owner, rows, strict=True)],
            [node[kept] for node, kept in zip(s.node, rows, strict=True)],
            [mass[kept] for mass, kept in zip(s.mass, rows, strict=True)],
        )

    def run(self, s: _Sequences, step: int) -> None:
        """Search all continuations, the most promising part first."""
        while step + 1 < self.n_steps:
            s = self.selected(s, (self.upper(s, step) > self.best + TIE).nonzero().squeeze(1))
            if not len(s.value):
                return
            if len(s.value) > 1 and s.n_rows * self.n_actions * self.n_outcomes > _MAX_ROWS:
                middle = len(s.value) // 2
                self.run(s.part(0, middle), step)
                self.run(s.part(middle, len(s.value)), step)
                return
            self.work += s.n_rows * self.n_actions
            if self.work > _MAX_WORK:
                raise CannotTeach(
                    "the search for the best fixed sequence of actions met more than "
                    f"{_MAX_WORK:.1e} particles: the family is too big for it; use fewer steps or "
                    "actions"
                )
            s = self.merged(self.extended(s, step))
            step += 1
        q = self.values(s, step)
        best = float(q.max())
        if best > self.best + TIE:
            where = int((q >= best - TIE).flatten().to(torch.int8).argmax())
            sequence, action = divmod(where, self.n_actions)
            self.best, self.best_actions = best, [*s.actions[sequence].tolist(), action]

    def beam(self, width: int) -> None:
        """A first good sequence, by keeping the most valuable few at each step."""
        s = self.root
        for step in range(self.n_steps - 1):
            s = self.merged(self.extended(s, step))
            if len(s.value) > width:
                s = self.selected(s, self.upper(s, step + 1).topk(width).indices.sort().values)
        q = self.values(s, self.n_steps - 1)
        self.best = float(q.max()) - 2 * TIE


def best_particle_sequence(prior: Tensor, graphs: list[TypeGraph]) -> tuple[float, list[int]]:
    """The best fixed sequence for a family of students, by search over sets of particles.

    Args:
        prior: ``(H,)`` probability of each type.
        graphs: the whole graph of each type.

    Returns:
        Its expected sum of gains, and its actions; of equals the first found.

    Raises:
        ValueError: the search is too long.
    """
    search = _Search(prior, graphs)
    search.beam(64)
    search.run(search.root, 0)
    return search.best, search.best_actions
