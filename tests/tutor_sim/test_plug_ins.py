"""Tutors and learners of third parties: by file, by module, and from a package of their own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tutor_agents.registry import make_tutor
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.cli import app
from tutor_sim.compare import check_plug_ins
from tutor_sim.experiment_files import load_experiment
from tutor_sim.learners import learner_kind
from tutor_sim.listing import agents
from tutor_sim.runs import Run

PACKAGE = Path(__file__).parents[1] / "plugin_package"
TUTORS = "src/example_students/tutors.py"
BKT = Population.model_validate({"name": "p", "student": "bkt", "model": {"n_skills": 2}})

GOOD = """
import torch
class Mine:
    name = "mine"
    def __init__(self, population, task, *, seed, device, action=0):
        self.action = action
    def begin_trial(self, trial):
        self.n = len(trial.students)
    def act(self, observation):
        return torch.full((self.n,), self.action)
    def observe(self, action, observation):
        pass
NOT_A_CLASS = 3
class Nobody:
    pass
"""


@pytest.fixture
def folder(tmp_path: Path, experiment_file: Path) -> Path:
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "tutors.py").write_bytes((PACKAGE / TUTORS).read_bytes())
    return tmp_path


def experiment(folder: Path, tutors: str = "[random]", learner: str = "null") -> Path:
    text = (folder / "tiny.yaml").read_text()
    path = folder / "with_plug_in.yaml"
    old = "{algorithm: tally, total_steps: 1_000, learning_rate: 1e-1}"
    text = text.replace(old, learner).replace("[random, tally]", tutors)
    path.write_text(text.replace("short: {learner.total_steps: 200,", "short: {"))
    return path


# -- found -----------------------------------------------------------------------------------------
def test_a_tutor_is_made_by_file_and_options(folder: Path) -> None:
    tutor = make_tutor(f"{folder}/mine.py:Mine", BKT, TeachingTask(), action=3)
    assert tutor.name == "mine"
    assert vars(tutor)["action"] == 3


def test_paths_count_from_the_experiment(folder: Path) -> None:
    path = experiment(
        folder,
        "[random, {mine.py:Mine: {action: 1}}]",
        "{algorithm: tutors.py:BanditLearner, total_steps: 50}",
    )
    found = load_experiment(path)
    assert found.tutors[1].name == f"{folder.resolve()}/mine.py:Mine"
    assert found.algorithm == f"{folder.resolve()}/tutors.py:BanditLearner"
    path.write_text(found.to_yaml())
    assert load_experiment(path) == found


def test_a_tutor_and_a_learner_in_an_experiment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    path = experiment(
        folder,
        "[random, mine.py:Mine, tutors.py:WinStayLoseShift]",
        "{algorithm: tutors.py:BanditLearner, total_steps: 50}",
    )
    done = CliRunner().invoke(app, ["compare", str(path), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    run = Run.open(folder / "runs" / "tiny-3-001")
    tutors = {
        line["tutor"]: line
        for line in json.loads((run.folder / "summary.json").read_text())["tutors"]
    }
    assert set(tutors) == {"random", "mine", "win_stay", "bandit"}
    assert tutors["bandit"]["role"] == "learned"
    assert tutors["mine"]["role"] == "baseline"
    assert json.loads((run.tutor / "policy.json").read_text())["kind"] == "example_bandit"


def test_a_separate_package_is_used_by_name(folder: Path) -> None:
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools to build the package")
    source, target = folder / "source", folder / "installed"
    for path in PACKAGE.rglob("*"):
        if path.is_file() and path.suffix in {".py", ".toml"}:
            copy = source / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    path = experiment(
        folder, "[random, example_switch]", "{algorithm: example_bandit, total_steps: 50}"
    )
    code = f"""
import sys
sys.path.append({str(target)!r})
from tutor_sim.cli import app
from tutor_sim.listing import agents
found = agents()
assert found["example_switch"].startswith("Repeats a teaching action"), found
assert found["example_bandit"].startswith("learned: Counts which"), found
assert "cannot be used: `tutor` 'example_missing': importing" in found["example_missing"], found
app(["compare", {str(path)!r}, "--runs", {str(folder)!r}, "--device", "cpu"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "tiny-3-001" / "summary.json").read_text())
    assert {line["tutor"] for line in summary["tutors"]} == {"random", "win_stay", "bandit"}


def test_our_own_are_listed_without_being_imported() -> None:
    found = agents()
    assert {"rl2", "maml", "varibad", "sb3_recurrent_ppo", "random", "bayes"} <= set(found)
    assert all("\n" not in text for text in found.values())


# -- mistakes --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("tutor", "message"),
    [
        ("no_such_module:Tutor", "`tutor` 'no_such_module:Tutor': there is no module"),
        ("none.py:Mine", r"there is no file .*none\.py"),
        ("mine.py:Mien", r"unknown `.*mine.py:` 'Mien'.*did you mean 'Mine'\?"),
        ("mine.py:NOT_A_CLASS", "must be a class, got int"),
        ("mine.py:Nobody", "is not a tutor: it must define begin_trial, act, observe"),
        ("tutors.py:BanditLearner", "is a learner .*train it as `learner: {algorithm:"),
        (
            "exmple",
            r"unknown `tutors` 'exmple'; allowed: .*; a tutor of your own is `module:Class`",
        ),
    ],
)
def test_a_tutor_that_cannot_be_found_is_explained(folder: Path, tutor: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"with_plug_in\.yaml:12: .*{message}"):
        load_experiment(experiment(folder, f"[random, {tutor}]"))


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        ("mine.py:Mine", "must have a `Config`, a pydantic model"),
        ("none.py:Mine", r"there is no file"),
        ("bandit", "unknown `learner.algorithm` 'bandit'; allowed: .*; a learner of your own is"),
        ("other.py:NoModel", "its `Config` must be a pydantic model with a field `algorithm: str`"),
        ("other.py:NoMethods", "is not a learner: it must define update, tutor, tensors"),
    ],
)
def test_a_learner_that_cannot_be_found_is_explained(
    folder: Path, learner: str, message: str
) -> None:
    (folder / "other.py").write_text(
        "from pydantic import BaseModel\n"
        "class Settings(BaseModel):\n    algorithm: str\n"
        "class NoModel:\n    Config = 3\n"
        "class NoMethods:\n    Config = Settings\n"
    )
    with pytest.raises(ValueError, match=message):
        load_experiment(experiment(folder, learner=f"{{algorithm: {learner}}}"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "self.action = action",
            "raise KeyError('x')",
            r"constructor raised KeyError: 'x' \(at mi",
        ),
        ("action=0", "other=0", "constructor raised TypeError: .*unexpected keyword .*'action'"),
        ("name =", "title =", 'must have a name: `name = "Mine"`'),
        (
            "(self.n,)",
            "(self.n, 2)",
            r"`mine` must act with int64 of shape \(2,\), got torch.int64",
        ),
        ("self.action)", "99)", r"tutor `mine` must act in \[0, 6\), got 99"),
        ('"mine"', '"random"', "different names, and .*mine.py:Mine` is called 'random' like an"),
    ],
)
def test_a_tutor_that_cannot_teach_is_found_before_anything_is_trained(
    folder: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    (folder / "mine.py").write_text(GOOD.replace(old, new))
    path = experiment(folder, "[random, {mine.py:Mine: {action: 1}}]")
    with pytest.raises(ValueError, match=message):
        check_plug_ins(load_experiment(path), "cpu")


def test_a_learner_that_cannot_be_built_is_named(folder: Path) -> None:
    text = (PACKAGE / TUTORS).read_text()
    (folder / "tutors.py").write_text(text.replace("self.seed = seed", "raise KeyError(seed)"))
    reference = f"{folder}/tutors.py:BanditLearner"
    kind = learner_kind(reference)
    settings = kind.config.model_validate({"algorithm": reference})
    with pytest.raises(ValueError, match="BanditLearner': its constructor raised KeyError: 7"):
        kind.make(settings, BKT, TeachingTask(), seed=7, device="cpu")


def test_on_the_command_line_a_mistake_is_one_message(folder: Path) -> None:
    path = experiment(folder, "[random, mine.py:Nobody]")
    done = CliRunner().invoke(app, ["compare", str(path)])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
