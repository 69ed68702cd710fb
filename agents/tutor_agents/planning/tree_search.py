"""Tree search over histories by simulation, many trees at once in tensors.

For each of m roots a tree grows by one expansion in every simulation, all roots in lock-step. A
node is a history of (action, response) pairs after the root and holds the belief that follows from
it. A simulation descends from the root: at each node an action by UCB, then a response drawn from
its probability. The first action that is met for the first time is expanded: all its responses
become nodes, each worth at first what the myopic tutor gains from there in a few simulated lessons
(the rollouts). Values are then backed up along the path.

Upper confidence bounds applied to trees, with the bonus ``sqrt(log n / n_a)``, are by Kocsis &
Szepesvari (2006), ECML; over histories, POMCP, by Silver & Veness (2010), NIPS 23. What differs
here makes it less noisy, and is possible because a belief about finitely many types can be
computed, where POMCP has to sample it:

* a node holds the belief itself, a mixture over types, and no bag of particles;
* an action is worth its expected gain plus the mean over responses *by their probability* of the
  nodes they lead to, and a node is worth its best tried action: the full Bellman backup (MaxUCT and
  DP-UCT of Keller & Helmert 2013, ICAPS, "Trial-based heuristic tree search for finite horizon
  MDPs"), where POMCP takes the mean of simulated returns. With enough simulations the tree is the
  whole problem, and its values are exact;
* all rollouts of a search meet the same luck (scenarios, as in DESPOT: Somani, Ye, Hsu & Lee 2013,
  NIPS 26), so that what luck adds to two nodes is alike and cancels where they are compared. The
  scenarios are a Latin hypercube sample (McKay, Beckman & Conover 1979, Technometrics 21(2));
* an action not tried yet counts as much as the rollouts of the node, less what it gains now less
  than the myopic action (first-play urgency), so that not every action is tried at every node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tutor_agents.choice import best_legal
from tutor_agents.planning.mixture import Mixtures

Luck = Callable[[int], Tensor]
"""Simulation -> uniforms ``(horizon,)`` in [0, 1)."""


@dataclass(frozen=True)
class SearchSettings:
    """What a search may do.

    Attributes:
        n_simulations: expansions in each tree.
        horizon: actions looked ahead, at least 1.
        exploration: weight of the confidence bound, in units of the spread of the actions' gains.
    """

    n_simulations: int
    horizon: int
    exploration: float


def search(
    roots: Mixtures,
    step: int,
    legal: Tensor | None,
    at: SearchSettings,
    luck: Luck,
    scenarios: Tensor,
) -> Tensor:
    """Action values of every root after a search.

    Args:
        roots: what is believed now, ``m`` mixtures.
        step: of the trial, from 0.
        legal: bool ``(m, A)``, what may be done now; None: everything.
        at: settings.
        luck: of the simulations' descents; the same for all roots.
        scenarios: ``(S, horizon)`` in [0, 1), luck of the rollouts; the same for all roots.

    Returns:
        ``(m, A)`` expected gain to come by action; minus infinity for illegal ones.
    """
    forest = _Forest(roots, step, legal, at, scenarios)
    for simulation in range(at.n_simulations):
        forest.simulate(luck(simulation))
    return forest.values()


def _drawn(p: Tensor, luck: Tensor) -> Tensor:
    """A response for each row of probabilities ``(m, R)``; ``luck`` in [0, 1)."""
    edges = p.cumsum(-1)
    return (luck * edges[:, -1:] >= edges[:, :-1]).sum(-1)


class _Forest:
    """Trees, m of them; node c of tree i is row ``i * capacity + c`` of every table."""

    def __init__(
        self,
        roots: Mixtures,
        step: int,
        legal: Tensor | None,
        at: SearchSettings,
        scenarios: Tensor,
    ) -> None:
        self._roots, self._step, self._at, self._scenarios = roots, step, at, scenarios
        model = roots.model
        m, self._n_types = roots.weights.shape
        self._n_actions, self._n_responses = model.n_actions, model.n_responses
        self._capacity = 1 + at.n_simulations * self._n_responses
        n, device = m * self._capacity, roots.weights.device

        def table(*shape: int) -> Tensor:
            return torch.zeros(n, *shape, dtype=torch.float64, device=device)

        self._weights = table(self._n_types)
        self._belief = {
            name: value.new_zeros((n, self._n_types, *value.shape[1:]))
            for name, value in roots.belief.items()
        }
        self._gains = table(self._n_actions)
        self._p = table(self._n_actions, self._n_responses)
        self._child = torch.full((n, self._n_actions), -1, dtype=torch.int64, device=device)
        self._visits = table(self._n_actions)
        self._q = table(self._n_actions)
        self._value = table()
        self._is_legal: Tensor | None = None
        self._tree = torch.arange(m, device=device)
        self._size = torch.ones_like(self._tree)
        """Nodes of each tree."""
        self._root = self._tree * self._capacity
        self._add(self._root, roots, 0)
        if legal is not None and self._is_legal is not None:
            self._is_legal[self._root] = legal
        gains = self._gains[self._root]
        self._scale = at.exploration * (gains.amax(-1) - gains.amin(-1)).clamp(min=1e-9)
        self._begin(self._root, self._rolled_out(roots, self._root, 0))

    def values(self) -> Tensor:
        """``(m, A)`` of the roots' actions."""
        q = self._q[self._root]
        tried = self._child[self._root] >= 0
        any_tried = tried.any(-1, keepdim=True)
        q = q.masked_fill(any_tried & ~tried, -torch.inf)
        if self._is_legal is not None:
            q = q.masked_fill(~self._is_legal[self._root], -torch.inf)
        return q

    # -- one simulation ----------------------------------------------------------------------------
    def simulate(self, luck: Tensor) -> None:
        """Descend, expand, roll out and back up in every tree; ``luck`` as in :data:`Luck`."""
        path: list[tuple[Tensor, Tensor]] = []
        node, tree = self._root, self._tree
        for depth in range(self._at.horizon - 1):
            action = self._chosen(node, tree)
            path.append((node, action))
            child = self._child[node, action]
            new = child < 0
            if bool(new.any()):
                self._expand(tree[new], node[new], action[new], depth + 1)
            drawn = _drawn(self._p[node[~new], action[~new]], luck[depth])
            node, tree = child[~new] + drawn, tree[~new]
            if not len(tree):
                break
        for node, action in reversed(path):
            self._back_up(node, action)

    def _chosen(self, node: Tensor, tree: Tensor) -> Tensor:
        visits, q = self._visits[node], self._q[node]
        total = visits.sum(-1, keepdim=True)
        bonus = ((total + 1).log() / (visits + 1)).sqrt() * self._scale[tree].unsqueeze(-1)
        legal = None if self._is_legal is None else self._is_legal[node]
        return best_legal(q + bonus, legal)

    def _expand(self, tree: Tensor, node: Tensor, action: Tensor, depth: int) -> None:
        """All responses to an action become nodes, each with a rollout."""
        n_responses = self._n_responses
        first = tree * self._capacity + self._size[tree]
        self._size[tree] += n_responses
        self._child[node, action] = first
        response = torch.arange(n_responses, device=node.device)
        rows = (first.unsqueeze(-1) + response).flatten()
        possible = self._p[node, action].flatten() > 0
        tree, node, action = (
            x.repeat_interleave(n_responses)[possible] for x in (tree, node, action)
        )
        step = self._step + depth
        after = self._mixtures(tree, node).after(
            action,
            response.repeat(len(possible) // n_responses)[possible],
            lesson_ends=step % self._roots.task.n_steps == 0,
        )
        rows = rows[possible]
        self._add(rows, after, depth)
        self._begin(rows, self._rolled_out(after, rows, depth))

    def _begin(self, rows: Tensor, later: Tensor) -> None:
        """Nodes are worth their best gain now and what a rollout gained ``later``."""
        gains = self._gains[rows]
        best = self._best(rows, gains)
        self._value[rows] = best + later
        self._q[rows] = gains + later.unsqueeze(-1)

    def _rolled_out(self, now: Mixtures, rows: Tensor, depth: int) -> Tensor:
        """What the myopic tutor gains after its first action, mean over the scenarios."""
        n_scenarios, n_steps = len(self._scenarios), self._roots.task.n_steps
        index = torch.arange(len(rows), device=rows.device)
        legal = None if self._is_legal is None else self._is_legal[rows]
        action = best_legal(self._gains[rows], legal)
        p = self._p[rows, action].repeat_interleave(n_scenarios, dim=0)
        action = action.repeat_interleave(n_scenarios)
        now = now.rows(index.repeat_interleave(n_scenarios))
        total = torch.zeros_like(p[:, 0])
        for ahead in range(depth + 1, self._at.horizon):
            luck = self._scenarios[:, ahead].repeat(len(rows)).unsqueeze(-1)
            response = _drawn(p, luck)
            step = self._step + ahead
            now = now.after(action, response, lesson_ends=step % n_steps == 0)
            gains = now.gains(step % n_steps).double()
            action = best_legal(gains, now.legal())
            total += gains.gather(-1, action.unsqueeze(-1)).squeeze(-1)
            if ahead + 1 < self._at.horizon:
                p = (now.weights.unsqueeze(-1) * now.predict(action)).sum(1)
        return total.view(len(rows), n_scenarios).mean(-1)

    def _back_up(self, node: Tensor, action: Tensor) -> None:
        response = torch.arange(self._n_responses, device=node.device)
        child = self._child[node, action].unsqueeze(-1) + response
        future = (self._p[node, action] * self._value[child]).sum(-1)
        self._q[node, action] = self._gains[node, action] + future
        self._visits[node, action] += 1
        tried = torch.where(self._child[node] >= 0, self._q[node], -torch.inf)
        self._value[node] = tried.amax(-1)

    # -- nodes -------------------------------------------------------------------------------------
    def _add(self, rows: Tensor, mixtures: Mixtures, depth: int) -> None:
        """Write what follows from the belief."""
        self._weights[rows] = mixtures.weights
        for name, value in mixtures.belief.items():
            self._belief[name][rows] = value.view(len(rows), self._n_types, *value.shape[1:])
        step = self._step + depth
        gains = mixtures.gains(step % self._roots.task.n_steps).double()
        self._gains[rows] = gains
        if depth + 1 < self._at.horizon:
            self._p[rows] = mixtures.outcomes().double()
        legal = mixtures.legal()
        if legal is not None:
            if self._is_legal is None:
                self._is_legal = torch.ones(self._gains.shape, dtype=torch.bool, device=rows.device)
            self._is_legal[rows] = legal

    def _best(self, rows: Tensor, gains: Tensor) -> Tensor:
        if self._is_legal is not None:
            gains = gains.masked_fill(~self._is_legal[rows], -torch.inf)
        return gains.amax(-1)

    def _mixtures(self, tree: Tensor, node: Tensor) -> Mixtures:
        each = torch.arange(self._n_types, device=tree.device)
        of_root = (tree.unsqueeze(-1) * self._n_types + each).flatten()
        return replace(
            self._roots,
            weights=self._weights[node],
            latents={name: value[of_root] for name, value in self._roots.latents.items()},
            belief={name: value[node].flatten(0, 1) for name, value in self._belief.items()},
        )
