"""Training in stretches, to see how many CPU-seconds a tutor needs until it teaches well."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tutor_envs.population import Split
from tutor_sim.bench.job import Work
from tutor_sim.evaluation import Role, evaluate
from tutor_sim.learners import Learner, learner_kind
from tutor_sim.limit import selected_cases
from tutor_sim.precision import MatmulPrecision, matmul_precision

N_STUDENTS = 10_000
"""Who measure the tutor, all with the same luck every time."""
_EVALUATION_SEED = 1_000_003
_GROWTH = 0.15
"""A stretch is as long as this share of all before, so that times are known to as much."""


class Learn:
    """One training on one case.

    A round's score is that of the tutor *before* the round's stretch, as a share of the optimum;
    measuring it is no part of the work. The first round, which is not counted, is of another
    learner. A round without steps says that the training is over.
    """

    def __init__(
        self,
        cases: str,
        case: str,
        learner: dict[str, Any],
        seed: int,
        precision: MatmulPrecision = "highest",
    ) -> None:
        """``learner`` is its section of an experiment; ``case`` one of the file ``cases``."""
        (self._case,) = selected_cases(Path(cases), case)
        self._settings, self._seed, self._precision = learner, seed, precision
        self._population, self._task = self._case.population(), self._case.task()
        self._score: float | None = None

    def prepare(self, round_: int) -> None:
        """Begin anew in the first two rounds, then see how good the tutor is."""
        if round_ <= 1:
            self._learner, self._spent_s = self._begin(), 0.0
        if round_ > 0:
            self._score = self._share_of_optimum()

    def work(self) -> Work:
        """Some updates."""
        learner, started_s = self._learner, time.process_time()
        steps = 0
        with matmul_precision(self._precision):
            while learner.updates_done < learner.n_updates:
                learner.update()
                steps += learner.steps_per_update
                if time.process_time() - started_s >= _GROWTH * self._spent_s:
                    break
        self._spent_s += time.process_time() - started_s
        return Work(steps, self._score)

    def _begin(self) -> Learner:
        kind = learner_kind(self._settings["algorithm"])
        config = kind.config.model_validate(self._settings)
        return kind.make(config, self._population, self._task, seed=self._seed, device="cpu")

    def _share_of_optimum(self) -> float:
        """0: as random actions, 1: as the exact optimum."""
        scores = evaluate(
            self._learner.tutor(),
            self._population,
            self._task,
            n_students=N_STUDENTS,
            seed=_EVALUATION_SEED,
            split=Split.VALIDATION,
            role=Role.LEARNED,
            device="cpu",
        ).student_scores
        random, bayes = (float(self._case.values[name]) for name in ("random", "bayes"))
        return (float(scores.mean()) - random) / (bayes - random)
