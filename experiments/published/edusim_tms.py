"""EduSim's TMS-binary, ours beside theirs: exact values, simulations, and learned tutors.

    python experiments/published/edusim_tms.py              # under a minute
    python experiments/published/edusim_tms.py --seeds 0    # without training: some seconds

The transition-matrix student of Tang et al. (2019) as EduSim ships it: skill 1 builds on skill 0,
the two materials teach with probabilities .6 and .7, students begin with nothing or with skill 0,
equally often; two steps; the reward is the number of skills gained.

Theirs: EduSim's stored notebook gives the random policy, .5966 over 10,000 episodes; the other
values were recomputed from its tables by others. In EduSim a tutor may see the knowledge state
itself; ours sees answers, so between the two stand the optimum over beliefs with clean answers, and
with answers through DINA items. EduSim draws slip and guess of each item from U(.1, .3); here both
are .2, which is the same: with two steps only the first answer can be used, its probability is
linear in slip and guess, and so their means are all that matters.

Values of learned tutors are exact but for which beliefs come up (tutor_sim/regret.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from selected import TEST_SEED, train

from tutor_agents.oracle import OracleTutor
from tutor_agents.planner import BayesTutor
from tutor_agents.planning.exact import ExactPlanner
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Tutor
from tutor_sim.config import Experiment
from tutor_sim.evaluation import evaluate
from tutor_sim.experiment_files import load_experiments
from tutor_sim.regret import regrets
from tutor_sim.statistics import Estimate, Reference, fraction, mean_interval

FILE = Path(__file__).parent / "edusim_tms.yaml"
EPISODES_PUBLISHED = 10_000
CLEAN = {"p_slip": 0, "p_guess": 0}
MOST = 1.5
"""Skills that are missing at the start: two or one, equally often."""


class Row(NamedTuple):
    """One value.

    Attributes:
        name: whose.
        exact: by dynamic programming; None: only estimated.
        estimate: simulated, or by losses against the optimum.
        theirs: None: not published.
        note: what differs, or how it was come by.
    """

    name: str
    exact: float | None
    estimate: Estimate | None
    theirs: float | None
    note: str

    def __str__(self) -> str:
        """Columns as in :data:`HEADER`."""
        exact = "-" if self.exact is None else f"{self.exact:.5f}"
        estimate = "-"
        if self.estimate is not None:
            e = self.estimate
            estimate = f"{e.value:.4f} [{e.low:.4f}, {e.high:.4f}]"
        ours = self.exact if self.exact is not None else getattr(self.estimate, "value", np.nan)
        theirs = "-" if self.theirs is None else f"{self.theirs:.4f}"
        less = "-" if self.theirs is None else f"{ours - self.theirs:+.4f}"
        return f"{self.name:<26}{exact:>9}  {estimate:<24}{theirs:>7}{less:>9}  {self.note}"


HEADER = (
    f"{'':<26}{'exact':>9}  {'estimated, 95 % interval':<24}{'theirs':>7}{'ours -':>9}  remarks"
)


def simulated(tutor: Tutor, experiment: Experiment, n_students: int) -> Estimate:
    """Skills gained by test students."""
    taught = experiment.population, experiment.task
    played = evaluate(tutor, *taught, n_students=n_students, seed=TEST_SEED)
    return mean_interval(played.student_scores)


def reference_rows(experiment: Experiment, n_students: int) -> list[Row]:
    """What needs no training."""
    population, task = experiment.population, experiment.task
    clean = experiment.model_copy(update={"population": population.with_latents(**CLEAN)})
    planner = ExactPlanner.of(population, task)
    of_clean = ExactPlanner.of(clean.population, task)

    def seen(one: Experiment, tutor: Tutor) -> Estimate:
        return simulated(tutor, one, n_students)

    return [
        Row(
            "random",
            planner.random(),
            seen(experiment, RandomTutor(population.student_model)),
            0.5966,
            f"theirs: {EPISODES_PUBLISHED:,} episodes, SE .006",
        ),
        Row(
            "optimum, state seen",
            planner.full_information(),
            seen(experiment, OracleTutor()),
            1.0850,
            "theirs recomputed; estimate: the oracle",
        ),
        Row("most there is", MOST, None, 1.5, "skills missing at the start"),
        Row(
            "optimum, clean answers",
            of_clean.bayes(),
            seen(clean, BayesTutor.following(of_clean)),
            None,
            "the start is hidden",
        ),
        Row(
            "optimum, DINA items",
            planner.bayes(),
            seen(experiment, BayesTutor.following(planner)),
            None,
            "slip and guess .2",
        ),
        Row(
            "best fixed sequence",
            planner.best_sequence()[0],
            None,
            None,
            "as good: one answer through DINA items is not worth acting on",
        ),
    ]


def learned_rows(experiment: Experiment, n_seeds: int, n_students: int) -> list[Row]:
    """RL² and distillation, with clean answers and with DINA items."""
    rows = []
    for answers, latents in (("clean answers", CLEAN), ("DINA items", {})):
        population = experiment.population.with_latents(**latents)
        of_kind = experiment.model_copy(update={"population": population})
        planner = ExactPlanner.of(population, experiment.task)
        optimum, random = planner.bayes(), planner.random()
        for name in experiment.learned:
            values = np.stack(
                [
                    optimum
                    - regrets(
                        train(of_kind.part(name, seed)),
                        population,
                        experiment.task,
                        n_students=n_students,
                        seed=TEST_SEED,
                    )
                    for seed in range(n_seeds)
                ]
            )
            values = values if n_seeds > 1 else values[0]
            share = fraction(values, Reference(random), Reference(optimum))
            note = f"fraction of the optimum {share}, {n_seeds} seeds"
            rows.append(Row(f"{name}, {answers}", None, mean_interval(values), None, note))
    return rows


def main(
    seeds: Annotated[int, typer.Option(min=0, help="trainings of each learner")] = 3,
    students: Annotated[int, typer.Option(min=2, help="test students")] = 100_000,
    short: Annotated[bool, typer.Option("--short", help="train in seconds")] = False,
) -> None:
    """Print each value beside the published one."""
    torch.set_num_threads(1)
    experiment = load_experiments(FILE, short=short)[0]
    typer.echo(HEADER)
    for row in reference_rows(experiment, students):
        typer.echo(str(row))
    if seeds:
        for row in learned_rows(experiment, seeds, students):
            typer.echo(str(row))


if __name__ == "__main__":
    typer.run(main)
