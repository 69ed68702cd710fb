"""The command line: instant help, one message for a mistake, and every command end to end."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tutor_sim.cli import app
from tutor_sim.learners import LEARNERS
from tutor_sim.runs import Run

COMMANDS = [
    "train",
    "evaluate",
    "adapt",
    "compare",
    "study",
    "resume",
    "robustness",
    "limit",
    "list",
    "schema",
    "simulate",
    "trace",
    "calibrate",
    "check-realism",
    "check-student",
    "new",
    "insight",
    "lesson",
    "class",
]
HEAVY = ["torch", "gymnasium", "matplotlib", "numpy", "scipy", "pyarrow", "yaml"]


def tutor_sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from typer.testing import CliRunner
from tutor_sim.cli import app
for command in {[[], *([c] for c in COMMANDS)]!r}:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0 and "Usage:" in result.output, (command, result.output)
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small a run."""
    monkeypatch.setattr("tutor_sim.compare.pictures", lambda *what: [])
    monkeypatch.setattr("tutor_sim.training.N_PICTURES", 1)


def test_version() -> None:
    assert tutor_sim("--version").output == f"tutor-sim {importlib.metadata.version('tutor-sim')}\n"


def test_compare_trains_evaluates_and_says_where_everything_is(experiment_file: Path) -> None:
    result = tutor_sim("compare", experiment_file, "--device", "cpu", "--seed", 5)
    assert result.exit_code == 0, result.output
    folder = Path("runs/tiny-5-001")
    for text in ("tally", "random", "report: runs/tiny-5-001/report.html"):
        assert text in result.stdout
    assert "TensorBoard: tensorboard --logdir runs\n" in result.stdout
    assert "update 20/20" in result.stderr
    for name in ("results.parquet", "summary.json", "report.html", "tutor/policy.safetensors"):
        assert (folder / name).stat().st_size > 0
    assert Run.open(folder).experiment.seed == 5


@pytest.mark.usefixtures("no_pictures")
def test_the_short_form_is_short(experiment_file: Path) -> None:
    result = tutor_sim("compare", experiment_file, "--short", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "update 4/4" in result.stderr  # 200 actions / 50 an update
    assert "8 unseen students" in result.stdout


@pytest.mark.usefixtures("no_pictures")
def test_train_then_evaluate_with_other_students(experiment_file: Path) -> None:
    text = experiment_file.read_text()
    variants = "  variants:\n    weak: {latents: {ability: -1}}\ntask:"
    experiment_file.write_text(text.replace("task:", variants))
    assert tutor_sim("train", experiment_file, "--set", "learner.total_steps=200").exit_code == 0
    result = tutor_sim("evaluate", "runs/tiny-3-001", "--population", "weak", "--students", 12)
    assert result.exit_code == 0, result.output
    assert "12 unseen students" in result.stdout
    assert Path("runs/tiny-3-001/evaluations/two-skills-weak-12/report.html").is_file()
    result = tutor_sim("evaluate", "runs/tiny-3-001", "--population", "strong")
    assert result.exit_code == 2
    assert "must be a variant of the run's population (weak)" in result.stderr


@pytest.mark.usefixtures("no_pictures")
def test_ctrl_c_saves_and_says_how_to_go_on(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = LEARNERS["tally"].make
    update = learner.update  # type: ignore[attr-defined]

    def interrupted(self: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return update(self)

    monkeypatch.setattr(learner, "update", interrupted)
    result = tutor_sim("train", experiment_file)
    assert result.exit_code == 130
    assert "Stopped after update 1 of 20; a checkpoint was written." in result.stderr
    assert "Go on with: tutor-sim resume runs/tiny-3-001" in result.stderr
    monkeypatch.setattr(learner, "update", update)
    result = tutor_sim("resume", "runs/tiny-3-001")
    assert result.exit_code == 0, result.output
    assert "report: runs/tiny-3-001/report.html" in result.stdout


@pytest.mark.parametrize("what", ["envs", "agents", "students", "populations"])
def test_lists(what: str) -> None:
    result = tutor_sim("list", what)
    assert result.exit_code == 0
    expected = {
        "envs": "tutor_sim/BKT-v0",
        "agents": "mastery_threshold",
        "students": "bkt",
        "populations": "cloze_course",
    }
    assert expected[what] in result.stdout


@pytest.mark.parametrize(
    ("what", "name", "shown"),
    [
        ("agents", "zpd", "target default 0.85, > 0, < 1: rate of success to aim at"),
        ("agents", "rl2", "total_steps default 1000000, ≥ 1"),
        ("agents", "random", "uniform"),
        ("students", "bkt", "p_slip default 0.1, in [0, 1]: P(wrong answer) when mastered"),
        ("envs", "tutor_sim/BKT-v0", "n_skills default 3, ≥ 1"),
        ("populations", "style_effect", "name: style_effect"),
    ],
)
def test_lists_what_can_be_set(what: str, name: str, shown: str) -> None:
    result = tutor_sim("list", what, name)
    assert result.exit_code == 0, result.output
    assert shown in " ".join(result.stdout.split())


def test_schema_is_json() -> None:
    assert "$defs" in json.loads(tutor_sim("schema").stdout)


# -- mistakes ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "none.yaml"], 2, "error: none.yaml: No such file or directory\n"),
        (["resume", "none"], 2, "error: none: there is no such run folder\n"),
        (["evaluate", "."], 2, "error: .: not a run folder: it has no config.yaml\n"),
        (["train", "tiny.yaml", "--set", "sede=1"], 2, "error: --set sede: unknown key `sede`; "),
        (["train", "tiny.yaml", "--set", "learner=~", "--set", "tutors=[]"], 2, "`learner` is m"),
        (["train", "tiny.yaml", "--device", "gpu"], 2, "`--device` must be auto, cpu, cuda or"),
        (["train", "tiny.yaml", "--device", "cuda:99"], 2, "`--device` cuda:99: PyTorch finds "),
        (["train", "tiny.yaml", "--runs", "tiny.yaml/x"], 1, "error: cannot write tiny.yaml/x: No"),
        (["train"], 2, "Missing argument"),
        (["list", "things"], 2, "'things'"),
        (["list", "agents", "zdp"], 2, "error: unknown `agents` 'zdp'; allowed: "),
    ],
)
def test_bad_input_gets_one_message(
    experiment_file: Path, arguments: list[str], code: int, message: str
) -> None:
    result = tutor_sim(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert not Path("runs").exists()


@pytest.mark.usefixtures("no_pictures")
def test_unexpected_errors_keep_their_traceback(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any) -> Any:
        return int("this is a mistake in the program")

    monkeypatch.setattr(LEARNERS["tally"].make, "update", broken)
    result = tutor_sim("train", experiment_file)
    # Raised in a module that is not ours, as it would be by a library.
    assert isinstance(result.exception, ValueError)
    assert "this is a mistake" in str(result.exception)
