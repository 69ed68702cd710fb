"""Exact values of Bernoulli bandits with a uniform prior: optimum, policies, indices, a bound.

What is known of an arm after s successes and f failures is Beta(1 + s, 1 + f), with mean ``(s + 1)
/ (s + f + 2)``. Arms are alike, so what is known of a bandit is the multiset of the pulled arms'
(s, f) and the number of arms not pulled yet. With ten pulls there are some four thousand such
states whatever the number of arms, and dynamic programming over them is exact. With a hundred there
are too many; there stand the finite-horizon Gittins index, which looks at one arm at a time, and
the bound of the Lagrangian relaxation, above which no tutor can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Arm = tuple[int, int]
"""Successes and failures."""
State = tuple[Arm, ...]
"""The arms that were pulled, sorted."""
Choose = Callable[[list[Arm], list[int], int], Array]
"""Chances of pulling one of the arms of each kind: ``(kinds, how many arms of each, pulls left)``
-> ``(kinds,)``, summing to 1."""
Counts = NDArray[np.int64]
Index = Callable[[Counts, Counts, int, int], Array]
"""``(successes, failures, pulls done, pulls left)`` -> of each arm how much it is worth a pull."""

TIE = 1e-9
"""Indices that differ by less are equal."""
_FRESH: Arm = (0, 0)


def posterior_mean(s: Counts, f: Counts) -> Array:
    """P(success) of the next pull."""
    return np.asarray((s + 1) / (s + f + 2))


class Bandit:
    """A Bernoulli bandit with a uniform prior: exact values by dynamic programming."""

    def __init__(self, n_arms: int, n_pulls: int) -> None:
        """A bandit of ``n_arms`` arms and ``n_pulls`` pulls (a dozen at most in practice)."""
        self.n_arms, self.n_pulls = n_arms, n_pulls
        self._optimal: dict[State, dict[Arm, float]] = {}

    def kinds(self, state: State) -> tuple[list[Arm], list[int]]:
        """The different arms of a state, and how many there are of each."""
        counts = {arm: state.count(arm) for arm in state}
        if len(state) < self.n_arms:
            counts[_FRESH] = self.n_arms - len(state)
        return list(counts), list(counts.values())

    def action_values(self, state: State) -> dict[Arm, float]:
        """Q*: arm -> expected successes from here on if it is pulled next, and the best after it.

        Needs a pull that is left.
        """
        if state not in self._optimal:
            self._optimal[state] = {
                arm: self._after(state, arm, self._best) for arm in self.kinds(state)[0]
            }
        return self._optimal[state]

    def _best(self, state: State) -> float:
        if self._pulls_left(state) == 0:
            return 0.0
        return max(self.action_values(state).values())

    def optimum(self) -> float:
        """The largest expected number of successes of any tutor."""
        return self._best(())

    def value_of(self, choose: Choose) -> float:
        """The expected number of successes of a policy."""
        values: dict[State, float] = {}

        def value(state: State) -> float:
            left = self._pulls_left(state)
            if left == 0:
                return 0.0
            if state not in values:
                kinds, counts = self.kinds(state)
                chances = choose(kinds, counts, left)
                values[state] = sum(
                    float(chance) * self._after(state, arm, value)
                    for arm, chance in zip(kinds, chances, strict=True)
                    if chance > 0
                )
            return values[state]

        return value(())

    def _pulls_left(self, state: State) -> int:
        return self.n_pulls - sum(s + f for s, f in state)

    def _after(self, state: State, arm: Arm, value: Callable[[State], float]) -> float:
        p = (arm[0] + 1) / (sum(arm) + 2)
        others = list(state)
        if arm != _FRESH:
            others.remove(arm)
        success, failure = (
            tuple(sorted([*others, (arm[0] + won, arm[1] + 1 - won)])) for won in (1, 0)
        )
        return p * (1 + value(success)) + (1 - p) * value(failure)


# -- policies ---------------------------------------------------------------------------------
def random_arm(kinds: list[Arm], counts: list[int], left: int) -> Array:
    """Any arm."""
    return np.array(counts) / sum(counts)


def by_index(index: Index) -> Choose:
    """The arm of the largest index; equals by chance."""

    def choose(kinds: list[Arm], counts: list[int], left: int) -> Array:
        n, (s, f) = np.array(counts), np.array(kinds).T
        scores = index(s, f, int((n * (s + f)).sum()), left)
        chances = np.where(scores >= scores.max() - TIE, n, 0.0)
        return np.asarray(chances / chances.sum())

    return choose


def ucb1(s: Counts, f: Counts, done: int, left: int) -> Array:
    """UCB1: mean reward + sqrt(2 ln t / pulls), after one pull of each arm.

    Auer, Cesa-Bianchi & Fischer 2002, "Finite-time analysis of the multiarmed bandit problem",
    Machine Learning 47, figure 1.
    """
    pulls = np.maximum(s + f, 1)
    bonus = np.sqrt(2 * np.log(max(done, 1)) / pulls)
    return np.asarray(np.where(s + f == 0, np.inf, s / pulls + bonus))


def prior_ucb(width: float) -> Index:
    """UCB from the posterior mean: mean + width * sqrt(ln(1 + t) / (1 + pulls)); our choice.

    It needs no pull of each arm first, which costs all of ten pulls where there are ten arms.
    """

    def index(s: Counts, f: Counts, done: int, left: int) -> Array:
        return np.asarray(posterior_mean(s, f) + width * np.sqrt(np.log1p(done) / (1 + s + f)))

    return index


def greedy(s: Counts, f: Counts, done: int, left: int) -> Array:
    """The posterior mean."""
    return posterior_mean(s, f)


class Thompson:
    """Thompson sampling: an arm with the probability that it is the best (Thompson 1933).

    P(arm i is the largest) is the integral of its density times the others' distribution functions,
    a polynomial of degree n_pulls + n_arms - 1, which Gauss-Legendre quadrature integrates exactly.
    """

    def __init__(self, n_arms: int, n_pulls: int) -> None:
        """For bandits up to this size."""
        x, weight = np.polynomial.legendre.leggauss((n_arms + n_pulls) // 2 + 1)
        self._x, self._weight = (x + 1) / 2, weight / 2

    def __call__(self, kinds: list[Arm], counts: list[int], left: int) -> Array:
        """Chances of each kind of arm."""
        shape = np.array(kinds)[:, :, None] + 1
        below = special.betainc(shape[:, 0], shape[:, 1], self._x)
        density = np.exp(
            special.xlogy(shape[:, 0] - 1, self._x)
            + special.xlog1py(shape[:, 1] - 1, -self._x)
            - special.betaln(shape[:, 0], shape[:, 1])
        )
        # of n equal arms one is the largest, the other n - 1 and the other kinds are below
        n = np.array(counts)[:, None]
        all_below = np.prod(below**n, axis=0)
        return np.asarray((n * density * all_below / below) @ self._weight)


# -- one arm at a time ------------------------------------------------------------------------
class Calibration(NamedTuple):
    """One arm against a known one.

    Attributes:
        index: ``[h, s, f]``, the finite-horizon Gittins index with h pulls left; nan where
            ``s + f + h`` exceeds the horizon, and for h = 0.
        start: value of the stopping problem from a fresh arm, for each known arm of the grid.
        grid: success probabilities of the known arm.
    """

    index: Array
    start: Array
    grid: Array


def calibrate(n_pulls: int, grid: Array, discount: float = 1.0) -> Calibration:
    """The finite-horizon Gittins index of every arm, by calibration.

    The index of an arm with h pulls left is the success probability of a known arm for which it is
    all the same to go on with this arm for a pull (and as long as is best) or to change to the
    known arm for good (Gittins 1979, "Bandit processes and dynamic allocation indices", JRSS B 41;
    for a finite horizon: Nino-Mora 2011, "Computing a classic index for finite-horizon bandits",
    INFORMS J. Comput. 23(2)). For every known arm of the grid the stopping problem ::

        V_h(s, f) = max( known (1 + g + ... + g**(h-1)),
                         p (1 + g V_{h-1}(s+1, f)) + (1 - p) g V_{h-1}(s, f+1) )

    is solved exactly; between grid points the advantage of going on is taken to be linear.

    Args:
        n_pulls: horizon n.
        grid: ascending success probabilities, which must enclose the indices.
        discount: g; with g < 1 and a long horizon the index is the classic discounted one.
    """
    size = n_pulls + 1
    index = np.full((size, size, size), np.nan)
    s, f = np.mgrid[:size, :size]
    mean = posterior_mean(s, f)
    value = np.zeros((len(grid), size, size))
    known = np.zeros(len(grid))
    for left in range(1, size):
        n = size - left  # arms of s, f < n are looked at; those with s + f >= n are not reached
        known = grid + discount * known
        p = mean[:n, :n]
        go_on = p * (1 + discount * value[:, 1 : n + 1, :n])
        go_on += (1 - p) * discount * value[:, :n, 1 : n + 1]
        index[left, :n, :n] = _root(go_on - known[:, None, None], grid)
        value = np.maximum(go_on, known[:, None, None])
        index[left, s + f >= n] = np.nan
    return Calibration(index, value[:, 0, 0], grid)


def gittins(calibration: Calibration) -> Index:
    """The finite-horizon Gittins index."""

    def index(s: Counts, f: Counts, done: int, left: int) -> Array:
        return np.asarray(calibration.index[left][s, f])

    return index


def _root(advantage: Array, grid: Array) -> Array:
    """Where a falling function of the grid crosses zero: its values ``(grid, S, F)`` -> ``(S, F)``.

    At the grid's ends where it does not cross.
    """
    after = np.clip((advantage > 0).sum(axis=0), 1, len(grid) - 1)
    above, below = (np.take_along_axis(advantage, i[None], axis=0)[0] for i in (after - 1, after))
    fall = above - below
    share = np.divide(above, fall, out=np.zeros_like(fall), where=fall > 0)
    return np.asarray(grid[after - 1] + np.clip(share, 0, 1) * (grid[after] - grid[after - 1]))


def relaxation_bound(n_arms: int, n_pulls: int, calibration: Calibration) -> float:
    """No tutor can expect more successes than this.

    If it is enough to make n pulls *on average*, each may be charged with a price instead, and the
    arms fall apart: ``min over prices of n price + K (V_n(0, 0) - n price)``, where V is the value
    of the stopping problem with the price as the known arm (the relaxation of Whittle 1988,
    "Restless bandits: activity allocation in a changing world", J. Appl. Probab. 25A).
    """
    cost = n_pulls * calibration.grid
    return float((cost + n_arms * (calibration.start - cost)).min())
