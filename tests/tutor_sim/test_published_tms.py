"""EduSim's TMS-binary: the published values, and what the program says of answers that err."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from published import load_published
from tutor_agents.planning.exact import ExactPlanner
from tutor_sim.experiment_files import load_experiment

tms = load_published("edusim_tms")


@pytest.fixture(scope="module")
def rows():
    return {row.name: row for row in tms.reference_rows(load_experiment(tms.FILE), 4000)}


def test_values_are_the_published_ones(rows):
    # Random: from nothing .3 (1 + .35) + .7 * .3 = .615, from skill 0 .35 + .65 * .35 = .5775.
    # State seen: 1.26 and .91. Clean answers: .98 (worked in tests/tutor_envs/test_student_tms.py).
    assert rows["random"].exact == pytest.approx((0.615 + 0.5775) / 2)
    assert rows["optimum, state seen"].exact == pytest.approx((1.26 + 0.91) / 2)
    assert rows["optimum, clean answers"].exact == pytest.approx(0.98)


def test_one_dina_item_is_not_worth_acting_on(rows):
    # Material 0, then 1, whatever the answer: from nothing .6 + .6 * .7 = 1.02, from skill 0 .7.
    # After a wrong answer, material 0 again would gain .6 where nothing was learned (half of the
    # students * .4 who did not learn * .8 wrong = .16), material 1 gains .7 where skill 0 is known
    # ((.5 * .6 + .5) * .2 slips = .16): .16 * .6 < .16 * .7.
    assert rows["best fixed sequence"].exact == pytest.approx((1.02 + 0.7) / 2)
    assert rows["optimum, DINA items"].exact == pytest.approx((1.02 + 0.7) / 2)


def test_simulations_agree(rows):
    """A t-interval of 95 % is 1.96 standard errors; five of them are one in a million."""
    for row in rows.values():
        if row.estimate is not None:
            width = (row.estimate.high - row.estimate.low) / 2
            assert row.estimate.value == pytest.approx(row.exact, abs=5 / 1.9 * width)


def test_only_the_means_of_slip_and_guess_matter():
    """As the program claims of EduSim's uniform ones; with slips small enough to act on answers."""
    experiment = load_experiment(tms.FILE)

    def optimum(**latents):
        population = experiment.population.with_latents(**latents)
        return ExactPlanner.of(population, experiment.task).bayes()

    spread = {"categorical": {"values": [0.02, 0.1, 0.18]}}
    expected = optimum(p_slip=0.1, p_guess=0.1)
    assert expected > 0.86
    assert optimum(p_slip=spread, p_guess=spread) == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_the_program_prints_every_row():
    app = typer.Typer()
    app.command()(tms.main)
    result = CliRunner().invoke(app, ["--seeds", "1", "--students", "200", "--short"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[1].split()[:2] == ["random", "0.59625"]
    assert len(lines) == 1 + 6 + 4
