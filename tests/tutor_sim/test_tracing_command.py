"""The command ``trace``: a table of scores, from a file to the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tutor_envs.population_files import default_population
from tutor_sim.cli import app
from tutor_sim.logs.read import read_log
from tutor_sim.logs.simulate import simulate_log
from tutor_sim.logs.write import write_log
from tutor_sim.tracing import MEMORY_PREDICTORS, PREDICTORS, cross_validate


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "log.csv"
    write_log(simulate_log(default_population("bkt"), n_students=20, n_steps=10), path)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["trace", *map(str, arguments)], env={"COLUMNS": "100"})
    return result.exit_code, result.output


def test_named_predictors_are_scored_as_by_cross_validate(log_file: Path) -> None:
    code, text = run(log_file, "rasch", "bkt", "--folds", 4, "--seed", 2)
    scores = cross_validate(read_log(log_file)[0], "rasch", n_folds=4, seed=2)
    row = next(line for line in text.splitlines() if "rasch" in line and "200" in line)
    assert code == 0
    assert f"{scores.auc:.3f}" in row
    assert f"{scores.log_loss:.3f}" in row
    assert "elo" not in text


def test_by_default_all_that_apply_but_dkt(log_file: Path) -> None:
    code, text = run(log_file)
    assert code == 0
    assert [name for name in PREDICTORS | MEMORY_PREDICTORS if name not in text] == ["dkt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best_rl"], "unknown `predictor` 'best_rl'"),
        (["bkt", "--kc", "topic"], "'topic' is not one of 'skill', 'item'"),
        (["bkt", "--folds", "50"], "got 20 students"),
    ],
)
def test_bad_input_is_one_message(log_file: Path, arguments: list[str], message: str) -> None:
    code, text = run(log_file, *arguments)
    assert code == 2
    assert message in text
    assert "Traceback" not in text
