"""Learned tutors against known optima: train on a family, select on validation students, test.

One seed of one case is one job of one thread; jobs run side by side in processes. Checkpoints are
selected by drawn scores, as anybody could who does not know the optimum; the selected one is
measured by what its actions lose against it (:mod:`tutor_sim.regret`). The intervals printed are
over the test students of a seed; the spread between seeds is in the rows themselves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from tutor_envs.cases import Case
from tutor_envs.population import Population, Split
from tutor_envs.task import TeachingTask
from tutor_sim.evaluation import Role, evaluate
from tutor_sim.learners import Learner, begin_learner
from tutor_sim.regret import regrets
from tutor_sim.statistics import Estimate, Reference, fraction, mean_band, mean_interval

_RL2: dict[str, Any] = {
    "algorithm": "rl2",
    "total_steps": 4_000_000,
    "n_trials": 2048,
    "minibatches": 8,
    "learning_rate": 3e-3,
    "gae_lambda": 0.8,
    "entropy_weight": 0.03,
}
_DISTILL_STEPS = 600_000
TRAININGS: dict[str, dict[str, Any]] = {
    "rl2": _RL2,
    "distill": {"algorithm": "distill", "total_steps": _DISTILL_STEPS},
    "rl2-warm": _RL2
    | {
        "total_steps": 400_000,
        "n_trials": 512,
        "entropy_weight": 0.005,
        "warm_start": {"total_steps": _DISTILL_STEPS, "ppo_scale": 0.03},
    },
    "varibad": {
        "algorithm": "varibad",
        "total_steps": 2_400_000,
        "n_trials": 1024,
        "minibatches": 8,
        "learning_rate": 3e-3,
        "gae_lambda": 0.8,
        "entropy_weight": 0.015,
    },
}
"""What can be trained, by name: one set of hyper-parameters for every family.

Those of RL² were chosen among some thirty settings of batch, passes, learning rate, lambda, entropy
and network tried on two public cases (bkt-types-a and memory-b, one or two seeds each, see
docs/limit.md): on those cases it is tuned, on the others it is not. The steps of distillation,
batch and PPO's step of the warm start were chosen on memory-a; steps, passes and defaults
of VariBAD among eight settings on bkt-types-a and memory-b.
"""
N_VALIDATION_STUDENTS = 20_000
N_TEST_STUDENTS = 100_000
N_VALIDATIONS = 20
"""Checkpoints among which the validation students choose, evenly spaced over the run."""
_EVALUATION_SEED = 1_000_003
"""Luck of validation and test students; training uses the run's own seed."""


class CurvePoint(NamedTuple):
    """One validation: teaching actions trained on, CPU-seconds spent, fraction of optimal."""

    train_steps: int
    cpu_s: float
    fraction: float


class TrainedCase(NamedTuple):
    """What one seed of RL² reached on one case.

    Attributes:
        case: its name.
        seed: of training.
        score: expected return by its regrets on the test students, with its 95 % interval.
        fraction_of_optimal: (V - V_random) / (V_bayes - V_random).
        fraction_of_adaptivity: (V - V_openloop) / (V_bayes - V_openloop).
        selected_steps: teaching actions trained on by the selected checkpoint.
        cpu_s: CPU-seconds of training and validation.
        curve: validations in order.
    """

    case: str
    seed: int
    score: Estimate
    fraction_of_optimal: Estimate
    fraction_of_adaptivity: Estimate
    selected_steps: int
    cpu_s: float
    curve: tuple[CurvePoint, ...]

    def to_json(self) -> dict[str, object]:
        """Plain numbers and lists."""
        return {
            **self._asdict(),
            "score": self.score._asdict(),
            "fraction_of_optimal": self.fraction_of_optimal._asdict(),
            "fraction_of_adaptivity": self.fraction_of_adaptivity._asdict(),
            "curve": [point._asdict() for point in self.curve],
        }


class Job(NamedTuple):
    """One seed of one case, with the exact values that it is measured by."""

    case: Case
    seed: int
    random: float
    bayes: float
    openloop: float


def train_on_case(job: Job, training: str = "rl2", device: str = "cpu") -> TrainedCase:
    """Train one seed on one case and score the checkpoint that validation selects.

    Raises:
        KeyError: ``training`` is not one of ``TRAININGS``.
    """
    torch.set_num_threads(1)
    population, task = job.case.population(), job.case.task()
    learner = begin_learner(TRAININGS[training], population, task, seed=job.seed, device=device)
    every = max(1, learner.n_updates // N_VALIDATIONS)
    started_s = time.process_time()
    curve: list[CurvePoint] = []
    best: NDArray[np.float64] | None = None
    kept: dict[str, torch.Tensor] = {}
    counters: dict[str, int] = {}
    selected_steps = 0

    for update in range(1, learner.n_updates + 1):
        learner.update()
        if update % every and update != learner.n_updates:
            continue
        scores = validation_scores(learner, population, task, N_VALIDATION_STUDENTS, device)
        steps = update * learner.steps_per_update
        share = (float(scores.mean()) - job.random) / (job.bayes - job.random)
        curve.append(CurvePoint(steps, time.process_time() - started_s, share))
        if best is None or _not_worse(scores, best):
            kept = {name: tensor.clone() for name, tensor in learner.tensors().items()}
            counters, selected_steps = dict(learner.counters()), steps
        if best is None or scores.mean() > best.mean():
            best = scores
    cpu_s = time.process_time() - started_s
    learner.restore(kept, counters)
    lost = regrets(
        learner.tutor(),
        population,
        task,
        n_students=N_TEST_STUDENTS,
        seed=_EVALUATION_SEED,
        device=device,
    )
    values = job.bayes - lost
    random, bayes, openloop = (Reference(v) for v in (job.random, job.bayes, job.openloop))
    return TrainedCase(
        case=job.case.name,
        seed=job.seed,
        score=mean_interval(values),
        fraction_of_optimal=fraction(values, random, bayes),
        fraction_of_adaptivity=fraction(values, openloop, bayes),
        selected_steps=selected_steps,
        cpu_s=cpu_s,
        curve=tuple(curve),
    )


def validation_scores(
    learner: Learner,
    population: Population,
    task: TeachingTask,
    n_students: int,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Of its tutor as it is now, one for each validation student; always the same luck."""
    return evaluate(
        learner.tutor(),
        population,
        task,
        n_students=n_students,
        seed=_EVALUATION_SEED,
        split=Split.VALIDATION,
        role=Role.LEARNED,
        device=device,
    ).student_scores


def _not_worse(scores: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    """Within one standard error of the best so far, of the same students.

    Among checkpoints that validation cannot tell apart the last is taken (the rule of one standard
    error, Breiman et al. 1984, "Classification and regression trees", section 3.4.3): the highest
    of many noisy scores would often be an early one that was lucky.
    """
    shortfall = best - scores
    return bool(shortfall.mean() <= shortfall.std(ddof=1) / len(shortfall) ** 0.5)


def train_on_cases(
    jobs: Sequence[Job], training: str, *, device: str = "cpu", processes: int = 1
) -> Iterator[TrainedCase]:
    """Run the jobs, ``processes`` at a time, and yield each result as it is ready."""
    if processes == 1:
        for job in jobs:
            yield train_on_case(job, training, device)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(train_on_case, job, training, device) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def training_table(results: Sequence[TrainedCase], training: str) -> Table:
    """One line for each case: what its seeds reached, and their mean with its 95 % interval."""
    table = Table(
        title=f"{training}, trained on each case",
        caption=(
            "Fraction of optimal of each seed on fresh test students, checkpoint selected on "
            "validation students; mean over seeds with its 95 % t-interval; adaptivity: 0 best "
            "fixed sequence, 1 Bayes-optimal; CPU: the slowest seed, validation included; "
            "to 0.95: CPU-seconds until validation first reached it."
        ),
    )
    table.add_column("case", overflow="fold")
    for column in ("each seed", "fraction of optimal", "adaptivity", "CPU s", "to 0.95"):
        table.add_column(column, justify="right")
    for name in dict.fromkeys(result.case for result in results):
        rows = sorted((r for r in results if r.case == name), key=lambda r: r.seed)
        reached = [_first_cpu_s(row, 0.95) for row in rows]
        table.add_row(
            name,
            " ".join(of_seed(row.fraction_of_optimal) for row in rows),
            over_seeds([row.fraction_of_optimal for row in rows]),
            over_seeds([row.fraction_of_adaptivity for row in rows]),
            f"{max(row.cpu_s for row in rows):.0f}",
            " ".join("-" if s is None else f"{s:.0f}" for s in reached),
        )
    return table


def _first_cpu_s(result: TrainedCase, level: float) -> float | None:
    return next((point.cpu_s for point in result.curve if point.fraction >= level), None)


def of_seed(estimate: Estimate) -> str:
    """A fraction above 1 is luck of the draw, which its interval must show."""
    return f"{estimate.value:.3f}" if round(estimate.value, 3) <= 1 else str(estimate)


def over_seeds(estimates: Sequence[Estimate]) -> str:
    """Mean and interval over seeds; of one seed, its interval over test students."""
    if len(estimates) == 1:
        return str(estimates[0])
    mean, low, high = mean_band([estimate.value for estimate in estimates])
    return str(Estimate(float(mean), float(low), float(high)))
