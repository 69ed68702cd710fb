"""The bandit table of RL² (Duan et al. 2016), ours beside theirs, and beside the optimum.

    python experiments/published/bandits.py                        # all: ten minutes
    python experiments/published/bandits.py --seeds 0              # without training: a minute
    python experiments/published/bandits.py --setup 5x10           # one part: three minutes

K arms succeed with probabilities drawn from a uniform prior; n pulls; the score is the number of
successes. The optimum of ten pulls is computed exactly, and so is what every heuristic gets. Of a
hundred pulls the optimum is out of reach: there are the finite-horizon Gittins index (which is
optimal to the last digit with ten pulls, but need not be), a bound that no tutor exceeds, and
heuristics on fresh bandits, the same for all.

RL² is trained as ``bandit_KxN.yaml`` says (``tutor-sim compare`` runs the same files). The
checkpoint is selected on validation bandits, and scored on fresh ones; of ten pulls by what each of
its actions loses against the exact optimum (the performance difference lemma, see
tutor_sim/regret.py).

Theirs: table 1 of the paper as the README of the reimplementation lucaslingle/pytorch_rl2 repeats
it; intervals are not given there, nor how their Gittins index, UCB1 and greedy were computed and
tuned (from memory: an approximation of the discounted index, and the best of several settings).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from bandit_values import (
    TIE,
    Bandit,
    Calibration,
    Counts,
    Index,
    Thompson,
    by_index,
    calibrate,
    gittins,
    greedy,
    prior_ucb,
    random_arm,
    relaxation_bound,
    ucb1,
)
from numpy.typing import NDArray
from selected import TEST_SEED, train
from torch import Tensor

from tutor_agents.choice import tutor_uniforms, uniform_legal
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Observation
from tutor_envs.population import Population, Split
from tutor_envs.task import TeachingTask
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Evaluation, evaluate
from tutor_sim.experiment_files import load_experiments
from tutor_sim.statistics import Estimate, mean_interval

HERE = Path(__file__).parent
EXACT_PULLS = 10
"""Up to here the optimum is computed."""
GRID = np.linspace(0, 1, 501)
"""Known arms of the calibration: indices are right to about 1e-5."""
WIDTHS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
"""Widths of the tuned UCB; the best is chosen exactly, or on validation bandits."""
TRAINED = {(5, 10), (10, 100)}
LEARNERS = ("rl2", "plain")


class Published(NamedTuple):
    """One row of the table: mean successes; no intervals were published."""

    random: float
    gittins: float
    thompson: float
    ucb: float
    greedy: float
    rl2: float


PUBLISHED = {  # (arms, pulls)
    (5, 10): Published(5.0, 6.6, 5.7, 6.7, 6.6, 6.7),
    (10, 10): Published(5.0, 6.6, 5.5, 6.7, 6.6, 6.7),
    (50, 10): Published(5.1, 6.5, 5.2, 6.6, 6.5, 6.8),
    (5, 100): Published(49.9, 78.3, 74.7, 78.0, 74.8, 78.7),
    (10, 100): Published(49.9, 82.8, 76.7, 82.4, 77.1, 83.5),
    (50, 100): Published(49.8, 85.2, 64.5, 84.3, 78.0, 84.9),
}


class Row(NamedTuple):
    """One tutor on one setup.

    Attributes:
        tutor: its name.
        ours: mean successes; an interval where it was not computed exactly.
        theirs: mean successes; None: not published.
        note: what differs, or how it was come by.
    """

    tutor: str
    ours: float | Estimate
    theirs: float | None = None
    note: str = ""

    def __str__(self) -> str:
        """Columns as in :data:`HEADER`."""
        value = self.ours.value if isinstance(self.ours, Estimate) else self.ours
        interval = (
            f"[{self.ours.low:.3f}, {self.ours.high:.3f}]"
            if isinstance(self.ours, Estimate)
            else "exact"
        )
        theirs = "-" if self.theirs is None else f"{self.theirs:.1f}"
        less = "-" if self.theirs is None else f"{value - self.theirs:+.2f}"
        return f"  {self.tutor:<14}{value:>8.3f}  {interval:<18}{theirs:>6}{less:>8}  {self.note}"


HEADER = f"  {'tutor':<14}{'ours':>8}  {'95 % interval':<18}{'theirs':>6}{'ours -':>8}  remarks"


# -- tutors on simulated bandits --------------------------------------------------------------
class Counting:
    """Counts each arm's outcomes and pulls the arm of the largest index, equals by chance."""

    def __init__(self, name: str, setup: Setup, index: Index) -> None:
        """A tutor called ``name`` that follows ``index``."""
        self.name, self._index = name, index
        self._n_arms, self._n_pulls = setup.n_arms, setup.n_pulls

    def begin_trial(self, trial: Trial) -> None:
        """Nothing pulled yet."""
        self._trial = trial
        self._counts = np.zeros((2, len(trial.students), self._n_arms), dtype=np.int64)

    def act(self, observation: Observation) -> Tensor:
        """The arm of the largest index."""
        failures, successes = self._counts
        score = self._index(successes, failures, observation.step, self._n_pulls - observation.step)
        best = torch.from_numpy(score >= score.max(axis=-1, keepdims=True) - TIE)
        luck = tutor_uniforms(self._trial, n_lanes=1, step=observation.step)
        return uniform_legal(luck[:, 0], best, self._n_arms)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Count."""
        rows = np.arange(len(action))
        self._counts[observation.response.numpy(), rows, action.numpy()] += 1


def thompson_index(seed: int) -> Index:
    """A draw from each arm's posterior.

    By numpy's generator, because quantiles of the Beta distribution would take minutes: its luck
    depends on the batches in which bandits are taught.
    """
    rng = np.random.default_rng(seed)

    def index(s: Counts, f: Counts, done: int, left: int) -> NDArray[np.float64]:
        return rng.beta(s + 1, f + 1)

    return index


class Setup:
    """One row of the published table."""

    def __init__(self, n_arms: int, n_pulls: int, n_bandits: int) -> None:
        """Bandits of ``n_arms`` arms and ``n_pulls`` pulls; ``n_bandits`` test bandits."""
        self.n_arms, self.n_pulls, self.n_bandits = n_arms, n_pulls, n_bandits
        self.published = PUBLISHED[n_arms, n_pulls]
        self.population = Population.model_validate(
            {
                "name": "bandit",
                "student": f"{HERE / 'bernoulli_bandit.py'}:BernoulliBandit",
                "model": {"n_skills": n_arms, "n_pulls": n_pulls},
                "latents": {"p_success": {"uniform": {"low": 0, "high": 1}}},
            }
        )
        reward = {"score": "post_test", "when": "step", "scale": n_pulls}
        self.task = TeachingTask.model_validate({"n_steps": n_pulls, "reward": reward})

    def play(self, tutor: Tutor, split: Split = Split.TEST, n_bandits: int = 0) -> Evaluation:
        """Whole trials with fresh bandits."""
        return evaluate(
            tutor,
            self.population,
            self.task,
            n_students=n_bandits or self.n_bandits,
            seed=TEST_SEED,
            split=split,
        )


def exact_rows(setup: Setup, calibration: Calibration) -> list[Row]:
    """Of a bandit whose optimum is computed."""
    bandit = Bandit(setup.n_arms, setup.n_pulls)
    index = gittins(calibration)
    widths = {width: bandit.value_of(by_index(prior_ucb(width))) for width in WIDTHS}
    width = max(widths, key=lambda w: widths[w])
    theirs = setup.published
    return [
        Row("optimum", bandit.optimum(), None, "dynamic programming"),
        Row(
            "gittins",
            bandit.value_of(by_index(index)),
            theirs.gittins,
            "finite horizon; theirs not said",
        ),
        Row(
            "ucb, tuned", widths[width], theirs.ucb, f"ours from the posterior mean, width {width}"
        ),
        Row("ucb1", bandit.value_of(by_index(ucb1)), None, "as first defined"),
        Row("greedy", bandit.value_of(by_index(greedy)), theirs.greedy, "posterior mean"),
        Row(
            "thompson",
            bandit.value_of(Thompson(setup.n_arms, setup.n_pulls)),
            theirs.thompson,
            "by quadrature",
        ),
        Row("random", bandit.value_of(random_arm), theirs.random),
    ]


def simulated_rows(setup: Setup, calibration: Calibration) -> list[Row]:
    """Of a bandit whose optimum is out of reach; all tutors on the same fresh bandits."""
    theirs = setup.published

    def validated(width: float) -> float:
        tutor = Counting("ucb", setup, prior_ucb(width))
        return setup.play(tutor, Split.VALIDATION).score

    width = max(WIDTHS, key=validated)
    rows: list[tuple[Tutor, float | None, str]] = [
        (
            Counting("gittins", setup, gittins(calibration)),
            theirs.gittins,
            "finite horizon; theirs not said",
        ),
        (
            Counting("ucb, tuned", setup, prior_ucb(width)),
            theirs.ucb,
            f"ours from the posterior mean, width {width} (validation)",
        ),
        (Counting("ucb1", setup, ucb1), None, "as first defined"),
        (Counting("greedy", setup, greedy), theirs.greedy, "posterior mean"),
        (Counting("thompson", setup, thompson_index(TEST_SEED)), theirs.thompson, ""),
        (RandomTutor(setup.population.student_model), theirs.random, ""),
    ]
    bound = relaxation_bound(setup.n_arms, setup.n_pulls, calibration)
    return [Row("bound", bound, None, "no tutor exceeds it (Lagrangian relaxation)")] + [
        Row(tutor.name, mean_interval(setup.play(tutor).student_scores), their, note)
        for tutor, their, note in rows
    ]


# -- RL² --------------------------------------------------------------------------------------
def experiment_of(setup: Setup, *, short: bool) -> Experiment:
    """What ``bandit_KxN.yaml`` says."""
    path = HERE / f"bandit_{setup.n_arms}x{setup.n_pulls}.yaml"
    return load_experiments(path, short=short)[0]


def losses(bandit: Bandit, evaluation: Evaluation) -> NDArray[np.float64]:
    """What a tutor's pulls of each bandit lose against the exact optimum, ``(n,)``."""
    actions, responses = evaluation.actions[0], evaluation.responses[0]
    rows = np.arange(actions.shape[1])
    code = np.zeros((len(rows), bandit.n_arms), dtype=np.int64)  # successes * base + failures
    base, lost = bandit.n_pulls + 1, np.zeros(len(rows))
    for action, response in zip(actions, responses, strict=True):
        pulled = code[rows, action]
        cases, case = np.unique(
            np.column_stack([np.sort(code, axis=1), pulled]), axis=0, return_inverse=True
        )
        lost += np.array([_loss(bandit, row, base) for row in cases.tolist()])[case.ravel()]
        code[rows, action] += np.where(response == 1, base, 1)
    return lost


def _loss(bandit: Bandit, codes: list[int], base: int) -> float:
    """Of pulling the arm of the last code where the arms have the codes before it."""
    *arms, pulled = (divmod(code, base) for code in codes)
    values = bandit.action_values(tuple(sorted(arm for arm in arms if arm != (0, 0))))
    return max(values.values()) - values[pulled]


def learned_rows(setup: Setup, calibration: Calibration, n_seeds: int, *, short: bool) -> list[Row]:
    """RL², with the simulator's help in training and without."""
    experiment = experiment_of(setup, short=short)
    remarks = {
        "rl2": "trained on expected rewards, by a critic that sees the arms",
        "plain": "trained on drawn rewards alone, as theirs; PPO, theirs TRPO",
    }
    rows = []
    for name in LEARNERS:
        started_s = time.process_time()
        tutors = [train(experiment.part(name, seed)) for seed in range(n_seeds)]
        cpu_s = (time.process_time() - started_s) / n_seeds
        played = [setup.play(tutor) for tutor in tutors]
        note = remarks[name]
        if setup.n_pulls <= EXACT_PULLS:
            bandit = Bandit(setup.n_arms, setup.n_pulls)
            scores = np.stack([bandit.optimum() - losses(bandit, game) for game in played])
        else:
            scores = np.stack([game.student_scores for game in played])
            index = setup.play(Counting("gittins", setup, gittins(calibration)))
            note += f"; less gittins, paired: {_interval(scores - index.student_scores)}"
        each = " ".join(f"{score:.3f}" for score in scores.mean(axis=1))
        note += f"; each seed: {each}; {cpu_s:.0f} CPU-s a seed"
        value = _interval(scores)
        rows.append(Row(f"RL² {name}", value, setup.published.rl2, note))
    return rows


def _interval(scores: NDArray[np.float64]) -> Estimate:
    """Of ``(seeds, bandits)``; of one seed over its bandits alone."""
    return mean_interval(scores if len(scores) > 1 else scores[0])


def main(
    setup: Annotated[
        list[str] | None, typer.Option(help="arms x pulls, such as 5x10; default: all of the table")
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, help="trainings of RL² (5x10 and 10x100)")] = 3,
    bandits: Annotated[int, typer.Option(min=2, help="fresh test bandits")] = 40_000,
    short: Annotated[
        bool, typer.Option("--short", help="train in seconds; RL² is not yet good")
    ] = False,
) -> None:
    """Print what every tutor gets, beside the published table."""
    torch.set_num_threads(1)
    sizes = {f"{arms}x{pulls}": (arms, pulls) for arms, pulls in PUBLISHED}
    for name in setup or sizes:
        if name not in sizes:
            raise typer.BadParameter(f"`setup` must be one of {', '.join(sizes)}, got {name!r}")
    for name in setup or sizes:
        arms, pulls = sizes[name]
        chosen = Setup(arms, pulls, bandits)
        typer.echo(f"{arms} arms, {pulls} pulls\n{HEADER}")
        calibration = calibrate(pulls, GRID)
        rows = (exact_rows if pulls <= EXACT_PULLS else simulated_rows)(chosen, calibration)
        if seeds and (arms, pulls) in TRAINED:
            rows += learned_rows(chosen, calibration, seeds, short=short)
        for row in rows:
            typer.echo(str(row))


if __name__ == "__main__":
    typer.run(main)
