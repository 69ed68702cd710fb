"""``tutor-sim new student`` and ``check-student``: what is written works at once."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tutor_sim.cli import app
from tutor_sim.experiment_files import load_experiment
from tutor_sim.runs import Run


def tutor_sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("door", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_written_works_at_once(door: int, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tutor_sim("new", "student", "quick_one", "--door", door)
    assert result.exit_code == 0, result.output
    assert "tutor-sim check-student quick_one.py:QuickOne" in result.stdout
    names = {"quick_one.py", "quick_one.yaml", "test_quick_one.py", "quick_one_experiment.yaml"}
    assert {path.name for path in Path().iterdir()} == names
    assert len(Path("quick_one.py").read_text().splitlines()) < 60
    tests = runpy.run_path("test_quick_one.py")
    tests["test_it_keeps_all_rules"]()
    tests["test_practice_helps"]()
    load_experiment(Path("quick_one_experiment.yaml"))
    monkeypatch.setattr("tutor_sim.compare.pictures", lambda *what: [])
    monkeypatch.setattr("tutor_sim.training.N_PICTURES", 1)
    small = [
        "short.learner.total_steps=1_000",
        "short.evaluation.n_students=10",
        "learner.n_trials=8",
    ]
    settings = [word for text in small for word in ("--set", text.removeprefix("short."))]
    tutors = ["--set", "tutors=[random]", "--set", "evaluation.validation_students=10"]
    done = tutor_sim("compare", "quick_one_experiment.yaml", *settings, *tutors)
    assert done.exit_code == 0, done.output
    run = Run.open(Path("runs/quick_one-0-001"))  # reads what was resolved
    assert run.experiment.population.student == f"{Path.cwd().resolve()}/quick_one.py:QuickOne"


def test_nothing_is_overwritten() -> None:
    Path("mine.yaml").write_text("precious")
    result = tutor_sim("new", "student", "mine")
    assert result.exit_code == 2
    assert "mine.yaml exists already; nothing was written" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["mine.yaml"]
    assert Path("mine.yaml").read_text() == "precious"


@pytest.mark.parametrize("name", ["Mine", "my-student", "class", "1st", ""])
def test_names_must_be_pythons(name: str) -> None:
    result = tutor_sim("new", "student", name)
    assert result.exit_code == 2
    assert "`NAME` must be a Python name in lower case" in result.stderr
    assert not list(Path().iterdir())


BROKEN = """
class Broken:
    skills = ("a",)
    def __init__(self, latents, rng): pass
    def teach(self, action): return 7
    def mastery(self): return 0.5
"""


def test_the_checkers_exit_code_says_how_it_went() -> None:
    Path("mine.py").write_text(BROKEN)
    problems = tutor_sim("check-student", "mine.py:Broken", "--students", 4)
    assert problems.exit_code == 1, problems.output
    assert "types and shapes" in problems.stdout
    assert "2 problems" in " ".join(problems.stdout.split()) or "1 problem" in problems.stdout
    missing = tutor_sim("check-student", "mine.py:Brokn")
    assert missing.exit_code == 2
    assert "did you mean 'Broken'?" in missing.stderr


def test_a_student_that_fails_in_a_run_gets_one_message() -> None:
    Path("mine.py").write_text(BROKEN)
    Path("mine.yaml").write_text(
        "name: mine\npopulation: {name: mine, student: 'mine.py:Broken'}\ntutors: [random]\n"
        "evaluation: {n_students: 4}\n"
    )
    result = tutor_sim("compare", "mine.yaml")
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"error: custom student `{Path.cwd().resolve()}/mine.py:Broken`: teach(")
    assert last.endswith("[student 3221225472, lesson 0, step 0]")
    assert "Traceback" not in result.output


def test_tutors_that_cannot_teach_it_are_refused_before_the_run() -> None:
    Path("mine.py").write_text(BROKEN)
    Path("mine.yaml").write_text(
        "name: mine\npopulation: {name: mine, student: 'mine.py:Broken'}\ntutors: [thompson]\n"
    )
    result = tutor_sim("compare", "mine.yaml")
    assert result.exit_code == 2
    assert "tutor `thompson` predicts what a student will do" in result.stderr
    assert not Path("runs").exists()
