"""Tutors without training against known optima: by what each of their actions loses.

For planners and rules, on families that can be planned for exactly (:mod:`tutor_sim.regret`). Each
seed is another draw of the students' luck, and of what a tutor draws itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from rich.table import Table

from tutor_agents.registry import TUTORS, make_tutor, tutor_parameters
from tutor_agents.tutor import CannotTeach
from tutor_envs.yaml_loading import parse_yaml
from tutor_sim.limit_training import Job, of_seed, over_seeds
from tutor_sim.regret import regrets
from tutor_sim.statistics import Estimate, Reference, fraction, undefined


class MeasuredTutor(NamedTuple):
    """What one tutor reaches on one case, with one seed.

    Attributes:
        tutor: as it was given.
        case: its name.
        seed: of students, their luck, and the tutor's.
        fraction_of_optimal: (V - V_random) / (V_bayes - V_random), with its 95 % interval over
            students; undefined where the tutor cannot teach the case.
        cpu_s: CPU-seconds, those of the exact plan not counted if another tutor made it.
    """

    tutor: str
    case: str
    seed: int
    fraction_of_optimal: Estimate
    cpu_s: float

    def to_json(self) -> dict[str, object]:
        """Plain numbers and texts."""
        return {**self._asdict(), "fraction_of_optimal": self.fraction_of_optimal._asdict()}


def read_tutor(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of ``myopic``, or of ``pomcp: {n_simulations: 50}``.

    Raises:
        ValueError: no such tutor, an oracle, or options that it does not have.
    """
    given = parse_yaml(text, "`--tutor`").data
    name, options = given, dict[str, Any]()
    if isinstance(given, dict) and len(given) == 1:
        ((name, options),) = given.items()
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError(f"`--tutor` must be a name, or one name with its options, got {text!r}")
    tutor_parameters(name, options)
    if TUTORS[name].informed:
        raise ValueError(f"`--tutor` must be a tutor that reads nothing hidden, got {name!r}")
    return name, options


def measure_on_case(job: Job, tutor: str, n_students: int, device: str = "cpu") -> MeasuredTutor:
    """One tutor, as :func:`read_tutor` reads it, on one case with one seed."""
    torch.set_num_threads(1)
    name, options = read_tutor(tutor)
    population, task = job.case.population(), job.case.task()
    started_s = time.process_time()
    try:
        made = make_tutor(name, population, task, seed=job.seed, device=device, **options)
        lost = regrets(made, population, task, n_students=n_students, seed=job.seed, device=device)
        reached = fraction(job.bayes - lost, Reference(job.random), Reference(job.bayes))
    except CannotTeach as error:
        reached = undefined(str(error))
    return MeasuredTutor(tutor, job.case.name, job.seed, reached, time.process_time() - started_s)


def measured_table(results: Sequence[MeasuredTutor], n_students: int) -> Table:
    """A line for each case and tutor: each seed, and their mean with its 95 % interval."""
    table = Table(
        title="tutors without training",
        caption=(
            f"Fraction of optimal by what each action loses; {n_students:,} students for each "
            "seed; mean over seeds with its 95 % t-interval (of one seed: over students)."
        ),
    )
    table.add_column("case", overflow="fold")
    table.add_column("tutor", overflow="fold")
    for column in ("each seed", "fraction of optimal", "CPU s"):
        table.add_column(column, justify="right")
    for case, tutor in dict.fromkeys((result.case, result.tutor) for result in results):
        rows = [r for r in results if (r.case, r.tutor) == (case, tutor)]
        found = [row.fraction_of_optimal for row in rows]
        known = all(estimate.known for estimate in found)
        table.add_row(
            case,
            tutor,
            " ".join(map(of_seed, found)) if known else "–",
            over_seeds(found) if known else found[0].reason,
            f"{sum(row.cpu_s for row in rows) / len(rows):.1f}",
        )
    return table
