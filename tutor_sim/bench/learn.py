"""Training in stretches, to see how many CPU-seconds a tutor needs until it teaches well."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tutor_agents.distill.teacher import ActionValues
from tutor_agents.planner import ExactPlanner
from tutor_sim.bench.job import Work
from tutor_sim.learners import Learner, begin_learner
from tutor_sim.limit import selected_cases
from tutor_sim.regret import regrets

N_STUDENTS = 10_000
"""Who measure the tutor, all with the same luck every time."""
_GROWTH = 0.15
"""A stretch is as long as this share of all before, so that times are known to as much."""


class Learn:
    """One training on one case.

    A round's score is that of the tutor *before* the round's stretch, as a share of the optimum;
    measuring it is no part of the work. The first round, which is not counted, is of another
    learner with another population (the same under another name), so that nothing which is kept
    for whoever learns next, such as an exact plan, comes for free. A round without steps says that
    the training is over.
    """

    def __init__(self, cases: str, case: str, learner: dict[str, Any], seed: int) -> None:
        """``learner`` is its section of an experiment; ``case`` one of the file ``cases``."""
        (self._case,) = selected_cases(Path(cases), case)
        self._population, self._task = self._case.population(), self._case.task()
        # The measure's own plan.
        self._values = ActionValues(ExactPlanner.of(self._population, self._task))
        self._settings, self._seed = learner, seed
        self._score: float | None = None

    def prepare(self, round_: int) -> None:
        """Begin anew in the first two rounds, then see how good the tutor is."""
        if round_ <= 1:
            self._learner, self._spent_s = self._begin(is_counted=round_ > 0), 0.0
        if round_ > 0:
            self._score = self._share_of_optimum()

    def work(self) -> Work:
        """Some updates."""
        learner, started_s = self._learner, time.process_time()
        steps = 0
        while learner.updates_done < learner.n_updates:
            learner.update()
            steps += learner.steps_per_update
            if time.process_time() - started_s >= _GROWTH * self._spent_s:
                break
        self._spent_s += time.process_time() - started_s
        return Work(steps, self._score)

    def _begin(self, *, is_counted: bool) -> Learner:
        population = self._population
        if not is_counted:
            population = population.model_copy(update={"name": "warm-up"})
        return begin_learner(self._settings, population, self._task, seed=self._seed)

    def _share_of_optimum(self) -> float:
        """0: as random actions, 1: as the exact optimum."""
        lost = regrets(
            self._learner.tutor(),
            self._population,
            self._task,
            n_students=N_STUDENTS,
            values=self._values,
        )
        random, bayes = (float(self._case.values[name]) for name in ("random", "bayes"))
        return 1 - float(lost.mean()) / (bayes - random)
