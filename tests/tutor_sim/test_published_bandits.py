"""The published bandit table: exact values against brute force and printed numbers."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import typer
from scipy import integrate, stats
from typer.testing import CliRunner

from published import FOLDER, load_published
from tutor_envs.testing import check_student

values = load_published("bandit_values")
bandits = load_published("bandits")


def mean(arm: tuple[int, int]) -> Fraction:
    return Fraction(arm[0] + 1, sum(arm) + 2)


def brute_force(arms: list[tuple[int, int]], left: int, best) -> Fraction:
    """Every history of a bandit whose arms keep their names; ``best`` of the arms' values."""
    if left == 0:
        return Fraction(0)
    worth = []
    for i, (s, f) in enumerate(arms):
        won, lost = ([*arms[:i], arm, *arms[i + 1 :]] for arm in ((s + 1, f), (s, f + 1)))
        p = mean((s, f))
        later = p * (1 + brute_force(won, left - 1, best))
        worth.append(later + (1 - p) * brute_force(lost, left - 1, best))
    return best(arms, worth)


def largest(arms, worth):
    return max(worth)


def any_of_them(arms, worth):
    return sum(worth) / len(worth)


def of_largest_mean(arms, worth):
    top = max(map(mean, arms))
    return any_of_them(arms, [w for arm, w in zip(arms, worth, strict=True) if mean(arm) == top])


@pytest.mark.parametrize(("n_arms", "n_pulls"), [(2, 4), (3, 3), (4, 2)])
def test_values_are_those_of_every_history(n_arms, n_pulls):
    bandit, fresh = values.Bandit(n_arms, n_pulls), [(0, 0)] * n_arms
    assert bandit.optimum() == pytest.approx(float(brute_force(fresh, n_pulls, largest)))
    for choose, best in (
        (values.random_arm, any_of_them),
        (values.by_index(values.greedy), of_largest_mean),
    ):
        expected = float(brute_force(fresh, n_pulls, best))
        assert bandit.value_of(choose) == pytest.approx(expected)


def test_the_classic_values():
    """Known: 6.660 is optimal. In ten pulls 50 arms are as good as ten, and no tutor gets 6.8."""
    assert values.Bandit(5, 10).optimum() == pytest.approx(6.660, abs=5e-4)
    assert values.Bandit(5, 10).value_of(values.random_arm) == pytest.approx(5)
    assert values.Bandit(50, 10).optimum() == pytest.approx(values.Bandit(10, 10).optimum())
    assert values.Bandit(50, 10).optimum() < 6.72


def test_thompson_by_hand():
    # After a success Beta(2, 1) beats a uniform draw with 2/3: 2/3 * 2/3 + 1/3 * 1/2 = 11/18.
    # After a failure Beta(1, 2) does with 1/3: 1/3 * 1/3 + 2/3 * 1/2 = 8/18.
    expected = 1 / 2 + (11 / 18 + 8 / 18) / 2
    assert values.Bandit(2, 2).value_of(values.Thompson(2, 2)) == pytest.approx(expected)


def test_thompson_chances_are_integrals():
    chances = values.Thompson(5, 10)([(2, 1), (0, 3), (0, 0)], [1, 1, 3], 4)
    first, second, fresh = stats.beta(3, 2), stats.beta(1, 4), stats.uniform()
    expected = [
        integrate.quad(lambda x: first.pdf(x) * second.cdf(x) * x**3, 0, 1)[0],
        integrate.quad(lambda x: second.pdf(x) * first.cdf(x) * x**3, 0, 1)[0],
        integrate.quad(lambda x: 3 * fresh.pdf(x) * first.cdf(x) * second.cdf(x) * x**2, 0, 1)[0],
    ]
    assert chances == pytest.approx(expected)
    assert sum(chances) == pytest.approx(1)


def test_discounted_gittins_indices_are_the_printed_ones():
    """Gittins 1989, "Multi-armed bandit allocation indices", discount .9, Beta(1, 1): .7029."""
    index = values.calibrate(120, np.linspace(0.69, 0.715, 26), 0.9).index
    assert index[120, 0, 0] == pytest.approx(0.7029, abs=5e-5)


@pytest.mark.parametrize("arm", [(0, 0), (1, 0), (0, 2)])
def test_finite_horizon_indices_are_the_best_rates(arm):
    """With h pulls the index is the largest E[successes] / E[pulls] of a rule when to stop.

    The rules are all sets of (s, f) from which to go on, up to two pulls after the first.
    """
    s, f = arm
    later = [(s + i, f + j) for i in range(3) for j in range(3) if 1 <= i + j <= 2]

    def totals(at, left, going):
        """E[successes], E[pulls] from a pull of the arm on."""
        p = float(mean(at))
        successes, pulls = p, 1.0
        for chance, after in ((p, (at[0] + 1, at[1])), (1 - p, (at[0], at[1] + 1))):
            if left > 1 and after in going:
                more = totals(after, left - 1, going)
                successes, pulls = successes + chance * more[0], pulls + chance * more[1]
        return successes, pulls

    calibration = values.calibrate(3 + s + f, np.linspace(0, 1, 2001))
    for horizon in (1, 2, 3):
        rates = []
        for n in range(len(later) + 1):
            for going in itertools.combinations(later, n):
                successes, pulls = totals(arm, horizon, going)
                rates.append(successes / pulls)
        assert calibration.index[horizon, s, f] == pytest.approx(max(rates), abs=1e-6)


def test_index_optimum_and_bound_are_in_order():
    bandit, calibration = values.Bandit(5, 8), values.calibrate(8, bandits.GRID)
    index = bandit.value_of(values.by_index(values.gittins(calibration)))
    assert index <= bandit.optimum() + 1e-12
    assert index > 0.999 * bandit.optimum()
    assert bandit.optimum() < values.relaxation_bound(5, 8, calibration) < 8


def test_simulated_bandits_and_losses_agree_with_exact_values():
    """Within five standard errors (one in a million)."""
    setup = bandits.Setup(5, 10, 2000)
    bandit = values.Bandit(5, 10)
    for name, index in (("greedy", values.greedy), ("ucb1", values.ucb1)):
        played = setup.play(bandits.Counting(name, setup, index))
        exact = bandit.value_of(values.by_index(index))
        for scores in (
            played.student_scores,
            bandit.optimum() - bandits.losses(bandit, played),
        ):
            error = scores.std() / len(scores) ** 0.5
            assert scores.mean() == pytest.approx(exact, abs=5 * error)


def test_the_optimal_policy_loses_nothing():
    setup = bandits.Setup(5, 10, 200)
    index = values.gittins(values.calibrate(10, bandits.GRID))
    played = setup.play(bandits.Counting("gittins", setup, index))
    assert bandits.losses(values.Bandit(5, 10), played) == pytest.approx(0, abs=1e-9)


def test_the_student_keeps_the_contract():
    student = f"{FOLDER / 'bernoulli_bandit.py'}:BernoulliBandit"
    report = check_student(student, n_students=16, n_steps=4, with_speed=False)
    assert not report.findings, report


def test_the_program_prints_every_row():
    app = typer.Typer()
    app.command()(bandits.main)
    arguments = ["--setup", "5x10", "--seeds", "1", "--bandits", "50", "--short"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "5 arms, 10 pulls"
    names = [line.strip().split("  ")[0] for line in lines[2:]]
    assert names == [
        *("optimum", "gittins", "ucb, tuned", "ucb1", "greedy", "thompson", "random"),
        *("RL² rl2", "RL² plain"),
    ]
    result = CliRunner().invoke(app, ["--setup", "3x3"])
    assert result.exit_code == 2
    assert "must be one of 5x10" in result.output


@pytest.mark.parametrize(("n_arms", "n_pulls"), sorted(bandits.TRAINED))
def test_the_experiments_are_what_the_program_scores(n_arms, n_pulls):
    setup = bandits.Setup(n_arms, n_pulls, 10)
    experiment = bandits.experiment_of(setup, short=False)
    assert tuple(experiment.learners) == bandits.LEARNERS
    assert experiment.task == setup.task
    assert experiment.population.latents == setup.population.latents
    assert experiment.population.model == setup.population.model
