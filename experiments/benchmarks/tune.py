"""Chooses the settings of ``tutor-sim bench time-to-tutor``, with the same effort for everybody.

``python experiments/benchmarks/tune.py`` tries for each contestant the same settings, drawn from
one grid by one seed, and the contestant's own defaults, for the same CPU-seconds on the same cases,
and prints which is soonest near the optimum. It takes half an hour.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from tutor_sim.bench.report import plain_table
from tutor_sim.bench.time_to_tutor import CASES, LEVELS, Curve, train
from tutor_sim.limit import selected_cases

TUNING_CASES = ("style-bandit-a", "bkt-types-a")
LEVEL = min(LEVELS)
"""How good a tutor shall be soon."""
SEED = 100
"""Of the trainings; those that are reported have others."""
BUDGET_S = 25.0
"""CPU-seconds of each training."""
N_DRAWN = 7
"""Settings beside the defaults."""
GRID: dict[str, tuple[float, ...]] = {
    "learning_rate": (1e-3, 3e-3, 1e-2),
    "n_trials": (128, 256, 512, 1024),
    "minibatches": (2, 4, 8),
    "epochs": (2, 4, 8),
    "gae_lambda": (0.8, 0.9, 0.95),
    "discount": (0.95, 0.99, 1.0),
    "entropy_weight": (0.0, 0.003, 0.01, 0.03),
    "total_steps": (250_000, 500_000, 1_000_000, 2_000_000),
}
"""The learning rate falls to zero over ``total_steps``."""
JAX = str(Path(__file__).parent / "jax_learner.py:JaxLearner")
DEFAULTS: dict[str, dict[str, Any]] = {
    # RL2Config's.
    "rl2": {"algorithm": "rl2"},
    # sb3-contrib's, but for the rollout: whole trials, and minibatches of about as many steps.
    "RecurrentPPO": {
        "algorithm": "sb3_recurrent_ppo",
        "learning_rate": 3e-4,
        "n_trials": 64,
        "minibatches": 4,
        "epochs": 10,
        "gae_lambda": 0.95,
        "discount": 0.99,
        "entropy_weight": 0.0,
    },
    # PureJaxRL's, which JaxConfig has.
    "JAX": {"algorithm": JAX},
}


class Candidate(NamedTuple):
    """One setting of one contestant, and what became of it on each tuning case."""

    settings: dict[str, Any]
    curves: list[Curve]

    def rank(self) -> float:
        """Lower is better: the mean logarithm of the CPU-seconds to the level."""
        return sum(math.log(_seconds(curve)) for curve in self.curves) / len(self.curves)


def _seconds(curve: Curve) -> float:
    """Who never gets there needs as many budgets as the shortfall is larger than it may be."""
    reached = curve.reached(LEVEL)
    if reached is not None:
        return reached
    return BUDGET_S * max(1.0, (1 - _best(curve)) / (1 - LEVEL))


def _best(curve: Curve) -> float:
    return max(share for _, share in curve.points)


def drawn_settings() -> list[dict[str, float]]:
    """Of every value of the grid about as many, put together by chance."""
    rng = np.random.default_rng(0)
    columns = {
        name: rng.permutation(np.resize(rng.permutation(values), N_DRAWN)).tolist()
        for name, values in GRID.items()
    }
    return [
        {name: type(GRID[name][-1])(column[i]) for name, column in columns.items()}
        for i in range(N_DRAWN)
    ]


def try_all(name: str, log: Console) -> list[Candidate]:
    """Every setting of one contestant, best first."""
    default = DEFAULTS[name]
    drawn = [{"algorithm": default["algorithm"], **settings} for settings in drawn_settings()]
    candidates = []
    for i, settings in enumerate([default, *drawn]):
        curves = []
        for case in TUNING_CASES:
            log.print(f"{name}, setting {i} of {N_DRAWN}: {case}")
            (found,) = selected_cases(CASES, case)
            curves.append(train(found, name, settings, SEED, BUDGET_S, LEVEL))
        candidates.append(Candidate(settings, curves))
    return sorted(candidates, key=Candidate.rank)


def show(name: str, candidates: Sequence[Candidate], console: Console) -> None:
    """One line a setting, best first."""
    table = plain_table(f"{name}: CPU-seconds to {LEVEL}, best share, settings")
    for heading in TUNING_CASES:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for candidate in candidates:
        cells = []
        for curve in candidate.curves:
            reached = curve.reached(LEVEL)
            seconds = "never" if reached is None else f"{reached:.1f}"
            cells.append(f"{seconds}, {_best(curve):.3f}")
        changed = {k: v for k, v in candidate.settings.items() if k != "algorithm"}
        table.add_row(*cells, " ".join(f"{k}={v}" for k, v in changed.items()) or "defaults")
    console.print(table)


def main() -> None:
    """Everybody."""
    for name in DEFAULTS:
        show(name, try_all(name, Console(file=sys.stderr)), Console(width=200))


if __name__ == "__main__":
    main()
