"""``tutor-sim bench train``: teaching actions per CPU-second of RL² trained by PPO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from tutor_sim.bench.job import Subject
from tutor_sim.bench.peers import FAMILY, TRIAL, check_repository, peer
from tutor_sim.bench.report import figures_table, print_json, ratio_table, shares_table
from tutor_sim.bench.rounds import Measured, measure

_N_ACTIONS = 40
_WIDTH, _EPOCHS = 128, 4
_PPO = {
    "hidden_size": _WIDTH,
    "epochs": _EPOCHS,
    "minibatches": 4,
    "learning_rate": 1e-3,
    "discount": 0.95,
    "gae_lambda": 0.8,
    "entropy_weight": 0.003,
}
"""The same for all."""
_PRECISIONS = {"highest": "float32", "medium": "bfloat16"}
"""How we multiply (torch's word) -> the type of the factors."""
_BACKWARD = 2
"""Times the operations of the forward pass."""


def bench_train(
    trials: list[int],
    *,
    n_rounds: int,
    with_peers: bool,
    as_json: bool,
    console: Console,
    log: Console,
) -> None:
    """Measure whole updates, for each number of trials in a batch.

    Raises:
        ValueError: a subject failed, or this is no clone of the repository.
    """
    check_repository()
    everything = []
    for n in trials:
        ours = [our_training(n, precision) for precision in _PRECISIONS]
        passes = [_passes(subject) for subject in ours]
        limits = [*passes, *map(_products, _PRECISIONS.values())]
        peers = _peers(n) if with_peers else []
        measured = measure([*ours, *peers, *limits], n_rounds, log.print)
        everything += measured
        mine, theirs = measured[: len(ours)], measured[len(ours) : -len(limits)]
        if not as_json:
            if peers:
                console.print(ratio_table(mine, theirs))
            title = f"Updates of {n:,} trials of 256 actions"
            console.print(figures_table(title, [*mine, *theirs]))
            alone, products = measured[-len(limits) : -len(ours)], measured[-len(ours) :]
            console.print(shares_table(_shares(mine, alone, products)))
    if as_json:
        print_json(everything, console)


def our_training(
    n_trials: int,
    precision: str = "highest",
    *,
    n_lessons: int = TRIAL["n_lessons"],
    width: int = _WIDTH,
) -> Subject:
    """Updates of RL² with as many trials, of so many lessons, by networks of this width."""
    learner = {
        "algorithm": "rl2",
        "n_trials": n_trials,
        "total_steps": 10**9,
        # What the peers do, too, and no more.
        "critic": "shared",
        "belief_weight": 0,
        "expected_rewards": False,
        **_PPO,
        "hidden_size": width,
    }
    settings = {
        "population": str(FAMILY),
        "learner": learner,
        "precision": precision,
        "executor": "compile",
        **TRIAL,
        "n_lessons": n_lessons,
    }
    return Subject(f"ours, {_PRECISIONS[precision]}", "tutor_sim.bench.ours:Train", settings)


def _passes(ours: Subject) -> Subject:
    return Subject(f"passes of {ours.name}", "tutor_sim.bench.ours:Passes", ours.settings)


def _products(dtype: str) -> Subject:
    return Subject(f"products, {dtype}", "tutor_sim.bench.limits:Products", {"dtype": dtype})


def _peers(n_trials: int) -> list[Subject]:
    settings: dict[str, Any] = {"n_students": n_trials, **TRIAL, **_PPO}
    return [
        peer("JAX", "jax_trainer.py:Train", settings),
        peer("sb3-contrib, one LSTM", "sb3_trainer.py:Train", settings),
        peer("sb3-contrib, two LSTMs", "sb3_trainer.py:TrainSeparate", settings),
    ]


def _shares(
    ours: Sequence[Measured], passes: Sequence[Measured], products: Sequence[Measured]
) -> dict[str, tuple[float, float]]:
    """What our networks cost alone, and their products at the rate of large ones."""
    flop = flop_per_step(_WIDTH, _N_ACTIONS, _EPOCHS)
    shares = {}
    for mine, alone, limit in zip(ours, passes, products, strict=True):
        dtype, rate = limit.subject.settings["dtype"], mine.rate.median
        passing, most = alone.rate.median, limit.rate.median / flop
        shares[f"our networks forward and back, {dtype}"] = passing, rate / passing
        shares[f"{flop / 1e6:.2f} MFLOP of products, {dtype}"] = most, rate / most
    return shares


def flop_per_step(width: int, n_actions: int, epochs: int) -> int:
    """Floating-point operations of the products of matrices, for one action that is trained on.

    A GRU and a policy with one hidden layer act and are trained; a value with one hidden layer is
    computed once before and is trained. Inputs and the clock are looked up in tables.
    """
    memory = 3 * width**2
    policy = width**2 + width * n_actions
    value = width**2 + width
    acting, all_of_it = memory + policy, memory + policy + value
    passes = epochs * (1 + _BACKWARD)
    return 2 * (acting + all_of_it * (1 + passes))
