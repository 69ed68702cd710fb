"""``tutor-sim calibrate``: simulated students in, a population with their parameters out."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import load_population
from tutor_envs.task import TeachingTask
from tutor_sim.calibration.result import Estimate
from tutor_sim.cli import app
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.simulate import simulate_log
from tutor_sim.logs.write import write_log

IRT = {
    "name": "truth",
    "student": "irt",
    "model": {
        "n_skills": 4,
        "skill_names": ["add", "divide", "multiply", "subtract"],
        "modalities": ["practice"],
        "growth_law": "practice",
        "difficulties": [0.0],
        "discrimination": 1.0,
        "target_difficulty": 0.0,
        "ability_on_start": 1.0,
    },
    "latents": {
        "ability": {"normal": {"mean": 0, "sd": 1}},
        "skill_offset": [0.3, -1.6, -0.8, 0.0],
        "growth": {"normal": {"mean": 0.9, "sd": 0.3, "low": 0, "high": 10}},
    },
    "correlations": [{"between": ["ability", "growth"], "r": 0.4}],
}
PFA = {
    "name": "truth",
    "student": "pfa",
    "model": {
        "n_skills": 3,
        "modalities": ["practice"],
        "log_counts": True,
        "ability_on_start": 0.8,
    },
    "latents": {
        "ability": {"normal": {"mean": 0, "sd": 1}},
        "easiness": [-1.0, 0.0, 0.5],
        "success_slope": [0.9, 0.7, 0.5],
        "failure_slope": [0.3, 0.2, 0.1],
    },
}
DASH = {
    "name": "truth",
    "student": "dash",
    "model": {
        "n_skills": 3,
        "modalities": ["practice"],
        "windows_days": [1.0, math.inf],
        "ability_on_logit": 0.7,
        "step_s": 30000,
        "max_reviews": 40,
    },
    "latents": {
        "ability": {"normal": {"mean": 0, "sd": 1}},
        "difficulty": [0.5, 0.0, 1.0],
        "correct_weight": [0.6, 0.4],
        "attempt_weight": [0.2, 0.1],
    },
}
BKT = {
    "name": "truth",
    "student": "bkt",
    "model": {
        "n_skills": 4,
        "modalities": ["practice"],
        "ability_on_learn": 0.8,
        "ability_on_init": 0.9,
    },
    "latents": {
        "ability": {"normal": {"mean": 0, "sd": 1}},
        "p_init": [0.2, 0.3, 0.25, 0.15],
        "p_learn": [[0.12], [0.2], [0.15], [0.25]],
        "p_slip": {"beta": {"mean": 0.12, "concentration": 40}},
        "p_guess": 0.2,
    },
    "correlations": [{"between": ["ability", "p_slip"], "r": -0.95}],
}


def tutor_sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference predictors have tests of their own."""
    for module in ("logistic_models", "bkt_model", "fsrs_model"):
        monkeypatch.setattr(
            f"tutor_sim.calibration.{module}.enough_students", lambda log: False, raising=False
        )


def write(
    population: dict[str, Any], *, n_students: int, n_steps: int, seed: int = 1
) -> InteractionLog:
    truth = Population.model_validate(population)
    log = simulate_log(truth, n_students=n_students, n_steps=n_steps, seed=seed)
    write_log(log, Path("log.csv"))
    return log


def fit(model: str, *more: object) -> Result:
    return tutor_sim("calibrate", "log.csv", "--model", model, "-o", "fitted.yaml", *more)


def latents(n_students: int = 2000) -> tuple[Population, dict[str, torch.Tensor]]:
    population = load_population("fitted.yaml")
    return population, population.sample(0, student_indices(Split.TEST, n_students))


# -- recovery, through the command ---------------------------------------------------------------
@pytest.mark.usefixtures("no_reference")
def test_irt_students_are_recovered() -> None:
    write(IRT, n_students=250, n_steps=40)
    result = fit("irt")
    assert result.exit_code == 0, result.output
    population, drawn = latents()
    model: Any = population.student_model
    assert model.skills == ("add", "divide", "multiply", "subtract")
    assert model.ability_on_start == pytest.approx(1.0, abs=0.15)
    growth = drawn["growth"]
    assert growth.mean() == pytest.approx(0.9, abs=0.1)
    assert growth.std() == pytest.approx(0.3, abs=0.12)
    assert drawn["skill_offset"][0].tolist() == pytest.approx([0.3, -1.6, -0.8, 0.0], abs=0.25)
    assert (drawn["style_strength"] == 0).all()
    together = torch.corrcoef(torch.stack([drawn["ability"], growth]))[0, 1]
    assert together == pytest.approx(0.4, abs=0.35)


@pytest.mark.usefixtures("no_reference")
def test_pfa_students_are_recovered() -> None:
    write(PFA, n_students=400, n_steps=40)
    result = fit("pfa")
    assert result.exit_code == 0, result.output
    population, drawn = latents(1)
    model: Any = population.student_model
    assert model.log_counts
    assert model.ability_on_start == pytest.approx(0.8, abs=0.2)
    assert drawn["easiness"][0].tolist() == pytest.approx([-1.0, 0.0, 0.5], abs=0.25)
    assert drawn["success_slope"].mean() == pytest.approx(0.7, abs=0.2)
    assert drawn["failure_slope"].mean() == pytest.approx(0.2, abs=0.2)


@pytest.mark.usefixtures("no_reference")
def test_dash_students_are_recovered() -> None:
    write(DASH, n_students=200, n_steps=40)
    result = fit("dash")
    assert result.exit_code == 0, result.output
    population, drawn = latents(1)
    model: Any = population.student_model
    # What matters is the sum of the windows that the log cannot tell apart.
    assert math.isinf(model.windows_days[-1])
    assert model.ability_on_logit == pytest.approx(0.7, abs=0.15)
    assert drawn["difficulty"][0].tolist() == pytest.approx([0.5, 0.0, 1.0], abs=0.25)
    assert drawn["correct_weight"].sum() == pytest.approx(1.0, abs=0.25)
    assert drawn["attempt_weight"].sum() == pytest.approx(0.3, abs=0.25)


@pytest.mark.slow
@pytest.mark.usefixtures("no_reference")
def test_bkt_students_are_recovered() -> None:
    write(BKT, n_students=200, n_steps=28)
    result = fit("bkt")
    assert result.exit_code == 0, result.output
    population, drawn = latents()
    model: Any = population.student_model
    assert model.ability_on_learn == pytest.approx(0.8, abs=0.45)
    assert model.ability_on_init == pytest.approx(0.9, abs=0.45)
    assert drawn["p_init"][0].tolist() == pytest.approx([0.2, 0.3, 0.25, 0.15], abs=0.12)
    assert drawn["p_learn"][0, :, 0].tolist() == pytest.approx([0.12, 0.2, 0.15, 0.25], abs=0.13)
    assert drawn["p_slip"].mean() == pytest.approx(0.12, abs=0.05)
    assert drawn["p_guess"].mean() == pytest.approx(0.2, abs=0.06)
    # Beta(mean .12, concentration 40): SD .051.
    assert drawn["p_slip"].std() == pytest.approx(0.051, abs=0.05)
    assert torch.corrcoef(torch.stack([drawn["ability"], drawn["p_slip"]]))[0, 1] < -0.5


@pytest.mark.usefixtures("no_reference")
def test_one_learner_of_fsrs_centres_the_published_spread() -> None:
    population = {
        "name": "truth",
        "student": "fsrs",
        "model": {"n_skills": 12, "modalities": ["practice"], "step_s": 50000},
        "latents": {"ability": 0.0, "w2": 6.0, "p_known": 0.3},
    }
    write(population, n_students=1, n_steps=160)
    result = fit("fsrs")
    assert result.exit_code == 0, result.output
    assert "One student: the spread over students cannot be estimated" in result.stdout
    drawn = latents()[1]
    # The published SD of log w2 is 1.37; ability carries a part of it, w2 the rest.
    stability = drawn["w2"].log() + 1.37 * 0.8**0.5 * drawn["ability"]
    assert stability.std() == pytest.approx(1.37, abs=0.25)
    assert drawn["w2"].median() == pytest.approx(6.0, rel=0.5)
    assert drawn["p_known"].mean() == pytest.approx(0.3, abs=0.2)


@pytest.mark.slow
def test_neural_students_come_with_a_file_of_weights() -> None:
    """Ability is N(0, 1), and the simulated share correct is the log's."""
    log = write(IRT, n_students=40, n_steps=12)
    result = fit("neural", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "written: fitted.yaml\nwritten: fitted.safetensors\n" in result.stdout
    population, _ = latents(1)
    assert population.student_model.skills == ("add", "divide", "multiply", "subtract")
    again = simulate_log(population, n_students=200, n_steps=12)
    result = fit("neural", "--force")
    assert result.exit_code == 0, result.output
    Path("fitted.yaml").unlink()
    assert "fitted.safetensors exists; `--force` replaces it" in fit("neural").stderr
    assert again.correct.mean() == pytest.approx(log.correct.mean(), abs=0.1)


# -- the file ------------------------------------------------------------------------------------
def test_the_file_says_where_its_numbers_come_from() -> None:
    write(IRT, n_students=30, n_steps=20)
    result = fit("irt", "--seed", 7)
    assert result.exit_code == 0, result.output
    text = Path("fitted.yaml").read_text()
    assert text.startswith("# tutor-sim calibrate log.csv --model irt --kc skill --seed 7\n")
    for part in (
        "# Data: log.csv, 600 rows (0 left out), 600 graded answers",
        "#   learning slope, SD over students: ",
        "# Held-out answers (5-fold by student",
        "#   irt, this fit: AUC 0.",
        "#   Rasch, no growth: AUC 0.",
    ):
        assert part in text, text
    for part in ("learning slope, mean", "irt, this fit", "written: fitted.yaml", "600 rows"):
        assert part in result.stdout
    assert "fitting\n" in result.stderr


def test_held_out_scores_are_those_of_the_true_model_at_best() -> None:
    log = write(BKT, n_students=40, n_steps=16)
    assert fit("bkt").exit_code == 0
    lines = Path("fitted.yaml").read_text().splitlines()
    scores = {
        name: float(next(line for line in lines if name in line).split("AUC ")[1][:5])
        for name in ("bkt, this fit", "BKT, no ability")
    }
    assert 0.6 < scores["BKT, no ability"] < scores["bkt, this fit"] < 0.95
    assert len(log) == 40 * 16


def test_an_existing_file_is_kept_unless_forced() -> None:
    write(IRT, n_students=4, n_steps=10)
    Path("fitted.yaml").write_text("mine")
    result = fit("irt")
    assert result.exit_code == 2
    assert result.stderr == "error: fitted.yaml exists; `--force` replaces it\n"
    assert Path("fitted.yaml").read_text() == "mine"
    assert fit("irt", "--force").exit_code == 0
    assert load_population("fitted.yaml").student == "irt"


# -- what a log cannot tell ----------------------------------------------------------------------
def changed(log: InteractionLog, **columns: Any) -> None:
    write_log(dataclasses.replace(log, **columns), Path("log.csv"))


def test_without_repeats_learning_is_not_estimated() -> None:
    log = write(IRT, n_students=40, n_steps=12)
    first = np.unique(log.student * 10 + log.skill, return_index=True)[1]
    write_log(log.rows(np.sort(first)), Path("log.csv"))
    result = fit("irt")
    assert result.exit_code == 0, result.output
    assert "note: Nobody meets a skill twice" in result.stdout
    assert (latents(10)[1]["growth"] == 0).all()


@pytest.mark.parametrize("model", ["irt", "pfa", "bkt"])
def test_one_student_has_no_spread(model: str) -> None:
    write(IRT, n_students=1, n_steps=60)
    result = fit(model)
    assert result.exit_code == 0, result.output
    assert "One student" in result.stdout
    population, _ = latents(1)
    settings = population.student_model.model_dump()
    assert all(
        settings.get(name, 0) == 0
        for name in ("ability_on_start", "ability_on_learn", "ability_on_init")
    )


def test_rare_skills_are_reported() -> None:
    write(IRT, n_students=12, n_steps=5)
    result = fit("irt")
    assert "4 of 4 skills have fewer than 20 graded answers" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "irtt"], "unknown `--model` 'irtt'; allowed: bkt, dash, fsrs, irt"),
        (["--model", "irt", "--kc", "topic"], "'topic' is not one of 'skill', 'item'"),
        (["--model", "irt", "--map", "student"], "`--map` must be FIELD=COLUMN"),
        (["--model", "dash"], "`--model dash` needs the time of every row"),
        (["--model", "fsrs"], "`--model fsrs` needs the time of every row"),
        (["--model", "irt", "-o", "none/a.yaml"], "must be a file in an existing folder"),
        (["--model", "irt", "-o", "fitted.json"], "must end in .yaml"),
    ],
)
def test_bad_input_gets_one_message(arguments: list[str], message: str) -> None:
    log = write(IRT, n_students=4, n_steps=10)
    changed(log, time_s=np.full(len(log), np.nan))
    result = tutor_sim("calibrate", "log.csv", "-o", "fitted.yaml", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not Path("fitted.yaml").exists()


def test_answers_of_one_kind_are_refused() -> None:
    log = write(IRT, n_students=4, n_steps=10)
    changed(log, correct=np.ones(len(log)))
    result = fit("irt")
    assert result.exit_code == 2
    assert "needs right and wrong answers, got correct ones only" in result.stderr


def test_intervals() -> None:
    """1.96 SE to each side; SDs on the log scale, correlations on Fisher's."""
    assert Estimate.of("x", 2.0, 0.5)[2:] == pytest.approx((1.02, 2.98), abs=1e-3)
    low, high = Estimate.of_sd("x", 0.4, 0.1)[2:]
    assert low * high == pytest.approx(0.16)
    assert high == pytest.approx(0.4 * math.exp(1.96 * 0.25), rel=1e-4)
    low, high = Estimate.of_correlation("x", 0.6, 0.1)[2:]
    assert math.atanh(high) - math.atanh(0.6) == pytest.approx(1.96 * 0.1 / 0.64, rel=1e-4)
    assert -1 < low < 0.6 < high < 1
    assert Estimate.of_sd("x", 0.4, math.inf).text() == "0.4"


def test_lessons_are_not_needed() -> None:
    """A log of several lessons names its skills by lesson; the population has them all."""
    truth = Population.model_validate(IRT)
    task = TeachingTask(n_lessons=2, n_steps=8)
    write_log(simulate_log(truth, n_students=10, task=task), Path("log.csv"))
    assert fit("irt").exit_code == 0
    assert load_population("fitted.yaml").student_model.skills[-1].startswith("subtract")
