"""``tutor-sim bench time-to-tutor``: CPU-seconds of training until a tutor is near the optimum."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from tutor_envs.cases import Case
from tutor_sim.bench.job import Subject
from tutor_sim.bench.peers import FOLDER, check_repository
from tutor_sim.bench.report import GATE_SE, make_folder, plain_table, write_results
from tutor_sim.bench.rounds import Sample, Worker
from tutor_sim.limit import selected_cases

CASES = FOLDER.parent / "families.json"
"""Families with exact optima."""
LEVELS = (0.95, 0.99)
_IN_A_ROW = 2
"""Measurements in a row that must reach a level, so that luck does not."""

# Those of PPO were chosen by experiments/benchmarks/tune.py, with the same effort for each.
OURS: dict[str, dict[str, Any]] = {
    "distill": {"algorithm": "distill", "total_steps": 600_000},
    "rl2": {
        "algorithm": "rl2",
        "learning_rate": 3e-3,
        "n_trials": 512,
        "minibatches": 2,
        "epochs": 4,
        "gae_lambda": 0.9,
        "discount": 1.0,
        "entropy_weight": 0.003,
        "total_steps": 500_000,
    },
}
"""Our ways to a tutor: from the planner of sampled students, and by reward alone."""
# The same was best for both.
_OF_PEERS: dict[str, Any] = {
    "learning_rate": 1e-2,
    "n_trials": 512,
    "minibatches": 2,
    "epochs": 4,
    "gae_lambda": 0.8,
    "discount": 0.95,
    "entropy_weight": 0.01,
    "total_steps": 1_000_000,
}
PEERS: dict[str, dict[str, Any]] = {
    "RecurrentPPO": {"algorithm": "sb3_recurrent_ppo", **_OF_PEERS},
    "JAX": {"algorithm": str(FOLDER / "jax_learner.py:JaxLearner"), **_OF_PEERS},
}
"""sb3-contrib's, on our batched students, and PureJaxRL's manner, on its own; with our rewards."""
JAX_STUDENTS = str(FOLDER / "jax_cases.py:Play")
_PLAYED = ("random", "round_robin")
_N_PLAYED = 100_000


class Curve(NamedTuple):
    """How good one training's tutor was.

    Attributes:
        case: what was taught.
        name: who was trained.
        seed: of the training.
        points: CPU-seconds trained, share of the optimum; ascending.
    """

    case: str
    name: str
    seed: int
    points: list[tuple[float, float]]

    def reached(self, level: float) -> float | None:
        """CPU-seconds at which the tutor was this good, and stayed so for a while; None: never."""
        for i in range(len(self.points) - _IN_A_ROW + 1):
            if all(share >= level for _, share in self.points[i : i + _IN_A_ROW]):
                return self.points[i][0]
        return None


def bench_time_to_tutor(
    case: str | None,
    *,
    n_seeds: int,
    budget_s: float,
    with_peers: bool,
    as_json: bool,
    output: Path | None,
    console: Console,
    log: Console,
) -> None:
    """Train everybody on each case until its tutor is near the optimum, or the budget is spent.

    Args:
        case: only this one; None: all.
        n_seeds: trainings of each contestant on each case.
        budget_s: CPU-seconds after which a training is given up.
        with_peers: others', too.
        as_json: print JSON instead of tables.
        output: folder for a picture of the curves and the JSON; None: nothing is written.
        console: for results.
        log: for progress.

    Raises:
        ValueError: no such case, a training failed, a peer's students are not ours, or this is no
            clone of the repository.
        SaveError: something could not be written.
    """
    check_repository()
    if output is not None:
        make_folder(output)
    contestants = OURS | PEERS if with_peers else OURS
    curves = []
    for one in selected_cases(CASES, case):
        if with_peers:
            log.print(f"{one.name}: are JAX's students ours?")
            check_students(one, JAX_STUDENTS)
        for seed in range(n_seeds):
            for name, learner in contestants.items():
                log.print(f"{one.name}, seed {seed}: {name}")
                curves.append(train(one, name, learner, seed, budget_s))
        if not as_json:
            console.print(table([c for c in curves if c.case == one.name]))
    figures = {"budget_s": budget_s, "curves": [curve._asdict() for curve in curves]}
    if as_json:
        console.print_json(json.dumps(figures, allow_nan=False))
    if output is not None:
        from tutor_sim.bench.figures import curves_figure

        write_results(output, "time_to_tutor", curves_figure(curves, LEVELS), figures, log)


def check_students(case: Case, make: str) -> None:
    """See that a peer's students are those of the case: tutors score with them as they exactly do.

    Args:
        case: has the exact values.
        make: a job that plays with the peer's students, a round for each of ``_PLAYED``.

    Raises:
        ValueError: they are others; a comparison would mean nothing.
    """
    settings = {"cases": str(CASES), "case": case.name, "n_students": _N_PLAYED}
    with Worker(Subject("a peer's students", make, settings)) as worker:
        for tutor in _PLAYED:
            sample, exact = Sample(**worker.round()), float(case.values[tutor])
            assert sample.score is not None
            assert sample.score_se is not None
            if abs(sample.score - exact) > GATE_SE * sample.score_se:
                raise ValueError(
                    f"`{make}` does not simulate the students of `{case.name}`: `{tutor}` scores "
                    f"{sample.score:.4f} (standard error {sample.score_se:.4f}) there, and exactly "
                    f"{exact:.4f}"
                )


def train(
    case: Case,
    name: str,
    learner: dict[str, Any],
    seed: int,
    budget_s: float,
    until: float = max(LEVELS),
) -> Curve:
    """One training, until its tutor is that good or so many CPU-seconds are spent.

    Raises:
        ValueError: it failed.
    """
    settings = {"cases": str(CASES), "case": case.name, "learner": learner, "seed": seed}
    samples: list[Sample] = []
    with Worker(Subject(name, "tutor_sim.bench.learn:Learn", settings)) as worker:
        while True:
            samples.append(Sample(**worker.round()))
            curve = Curve(case.name, name, seed, _points(samples))
            # A tutor whose training is over is measured as often as the others.
            over = not any(sample.steps for sample in samples[-_IN_A_ROW:])
            if over or curve.points[-1][0] >= budget_s or curve.reached(until) is not None:
                return curve


def _points(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """A round's score is of the tutor before it."""
    points, spent_s = [], 0.0
    for sample in samples:
        assert sample.score is not None
        points.append((spent_s, sample.score))
        spent_s += sample.cpu_s
    return points


def table(curves: Sequence[Curve]) -> Table:
    """One line for each contestant on one case; each seed, and medians over them by the first's."""
    names = list(dict.fromkeys(curve.name for curve in curves))
    table = plain_table(f"{curves[0].case}: CPU-seconds to a share of the optimum")
    table.add_column("", no_wrap=True)
    for level in LEVELS:
        table.add_column(f"to {level}", justify="right")
        table.add_column(f"by {names[0]}'s", justify="right")
    table.add_column("best share", justify="right")
    first = [curve for curve in curves if curve.name == names[0]]
    for name in names:
        theirs = [curve for curve in curves if curve.name == name]
        cells = []
        for level in LEVELS:
            reached = (curve.reached(level) for curve in theirs)
            cells.append(" ".join("never" if s is None else f"{s:.1f}" for s in reached))
            cells.append(_times(theirs, first, level))
        best = (max(share for _, share in curve.points) for curve in theirs)
        table.add_row(name, *cells, " ".join(f"{share:.3f}" for share in best))
    return table


def _times(theirs: Sequence[Curve], ours: Sequence[Curve], level: float) -> str:
    """Of the medians over the seeds; who never gets there needs more than it had."""
    if any(curve.reached(level) is None for curve in ours):
        return "–"
    sign = "> " if any(curve.reached(level) is None for curve in theirs) else ""
    return f"{sign}{_median_s(theirs, level) / _median_s(ours, level):.1f}"


def _median_s(curves: Sequence[Curve], level: float) -> float:
    reached = [(curve.reached(level), curve.points[-1][0]) for curve in curves]
    return statistics.median([spent if s is None else s for s, spent in reached])
