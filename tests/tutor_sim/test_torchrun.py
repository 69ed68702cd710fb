"""One run trained by several processes: who writes, who speaks, what is left when one dies."""

from __future__ import annotations

import io
import json
import re
import signal
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console
from typer.testing import CliRunner

from torchrun import Ended, torchrun
from tutor_agents.engine import parallel
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_sim import training
from tutor_sim.checkpoint import list_checkpoints, load_checkpoint
from tutor_sim.cli import app
from tutor_sim.commands import resolve_device
from tutor_sim.experiment_files import load_experiment
from tutor_sim.metrics import read_metrics
from tutor_sim.runs import Run
from tutor_sim.stopping import Interrupted
from tutor_sim.training import make_learner, train

EXPERIMENT = """\
name: shared
population:
  name: p
  student: bkt
  model: {n_skills: 2}
  latents: {style_strength: 0.8, responsiveness: {dirichlet: {concentration: 0.5}}}
  components: {dropout: {hazard: 0.1}}
task: {n_lessons: 2, n_steps: 3}
learner:
  {algorithm: rl2, total_steps: 1536, n_trials: 16, hidden_size: 8, epochs: 1, minibatches: 2}
evaluation: {n_students: 20, validation_students: 20, every_updates: 8}
checkpoint: {every_updates: 5, keep: 2}
"""
N_UPDATES = 16  # 1536 actions / (16 trials * 2 lessons * 3 actions)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shared.yaml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small a run."""
    for name in ("adaptation_curve", "action_heatmap"):
        monkeypatch.setattr(training, name, lambda *what: Figure(figsize=(1, 1)))


def train_quietly(run: Run) -> None:
    train(run, device="cpu", console=Console(file=io.StringIO()))


def state_of(run: Run) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    _, tensors = load_checkpoint(
        run.checkpoints, N_UPDATES, algorithm="rl2", fingerprint=run.experiment.fingerprint
    )
    rows = read_metrics(run.metrics)
    return tensors, [{k: v for k, v in r.items() if not k.startswith("perf/")} for r in rows]


def check_same(run: Run, other: Run) -> None:
    (tensors, rows), (other_tensors, other_rows) = state_of(run), state_of(other)
    for name, tensor in tensors.items():
        torch.testing.assert_close(other_tensors[name], tensor, rtol=0, atol=1e-5, msg=name)
    for row, other_row in zip(rows, other_rows, strict=True):
        assert other_row == pytest.approx(row, rel=0, abs=1e-4)


def check_codes(ended: Ended, code: str) -> None:
    """All ended with this exit code, but for one that torchrun ended when it saw another end."""
    codes = set(re.findall(r"exitcode +: (-?\d+)", ended.output))
    assert code in codes
    assert codes <= {code, "-15"}


def disturbed(rank: int, at_update: int, what: str, *arguments: str, folder: Path) -> Ended:
    """``tutor-sim`` in two processes, one of which gets a signal."""
    words = (str(rank), str(at_update), what, *arguments, "--device", "cpu")
    return torchrun("torchrun", *words, folder=folder)


@pytest.mark.slow
def test_begun_alone_continued_by_two_of_which_one_dies_finished_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(path)
    straight, run = (Run.create(tmp_path, experiment, "train", 1) for _ in range(2))
    train_quietly(straight)
    update = TrialLearner.update

    def stopped(self: TrialLearner) -> dict[str, float]:
        if self.updates_done == 2:
            signal.raise_signal(signal.SIGTERM)
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrialLearner, "update", stopped)
        with pytest.raises(Interrupted, match="Stopped after update 3 of 16"):
            train_quietly(run)
    ended = disturbed(1, 12, "SIGKILL", "resume", str(run.folder), folder=tmp_path)
    assert ended.code != 0
    text = (
        "error: lost contact with rank 1 of 2 processes: killed, or failed with the error above. "
        f"Go on from the last checkpoint with: tutor-sim resume {run.folder}\n"
    )
    assert ended.output.count(text) == 1
    assert ended.output.count("lost contact") == 1
    assert list_checkpoints(run.checkpoints)[-1] == 10
    train_quietly(run)
    check_same(straight, run)


@pytest.mark.slow
def test_two_processes_train_one_run(path: Path, tmp_path: Path) -> None:
    straight = Run.create(tmp_path, load_experiment(path), "train", 1)
    train_quietly(straight)
    ended = torchrun("tutor_sim", "train", str(path), "--device", "cpu", folder=tmp_path)
    assert ended.code == 0, ended.output
    assert ended.output.count("run folder: ") == ended.output.count("report: ") == 1
    folder = tmp_path / "runs"
    assert [each.name for each in folder.iterdir()] == ["shared-0-001"]
    run = Run.open(folder / "shared-0-001")
    check_same(straight, run)
    assert json.loads((run.folder / "run.json").read_text())["n_processes"] == 2
    assert (run.report.is_file(), (run.tutor / "policy.json").is_file()) == (True, True)
    assert len(list(run.tensorboard.iterdir())) == 2  # of the training, and of the results


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "what"), [(0, "SIGINT"), (1, "SIGTERM")])
def test_a_stop_asked_of_any_process_stops_all_of_them(
    path: Path, tmp_path: Path, rank: int, what: str
) -> None:
    ended = disturbed(rank, 6, what, "train", str(path), folder=tmp_path)
    assert ended.code != 0
    run = Run.open(tmp_path / "runs" / "shared-0-001")
    text = (
        "Stopped after update 7 of 16; a checkpoint was written. "
        "Go on with: tutor-sim resume runs/shared-0-001\n"
    )
    assert ended.output.count(text) == ended.output.count("Stopped") == 1
    check_codes(ended, "130")
    assert list_checkpoints(run.checkpoints)[-1] == 7
    again = torchrun("tutor_sim", "resume", str(run.folder), "--device", "cpu")
    assert again.code == 0, again.output
    straight = Run.create(tmp_path, load_experiment(path), "train", 1)
    train_quietly(straight)
    check_same(straight, run)


@pytest.mark.slow
def test_the_first_process_dies(path: Path, tmp_path: Path) -> None:
    ended = disturbed(0, 12, "SIGKILL", "train", str(path), folder=tmp_path)
    assert ended.code != 0
    assert ended.output.count("error: lost contact with rank 0 of 2 processes") == 1
    assert list_checkpoints(tmp_path / "runs" / "shared-0-001" / "checkpoints")[-1] == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "shared.yaml"], "`tutor-sim compare` runs in one process"),
        (["train", "shared.yaml", "--set", "learner.algorithm=maml"], "'maml' trains in one"),
        (["train", "missing.yaml"], "missing.yaml"),
    ],
)
def test_what_is_refused_is_said_once(
    path: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    text = EXPERIMENT.replace("hidden_size: 8, ", "") if "maml" in message else EXPERIMENT
    path.write_text(text)
    ended = torchrun("tutor_sim", *arguments, folder=tmp_path)
    assert ended.output.count("error: ") == ended.output.count(message) == 1, ended.output
    check_codes(ended, "2")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("algorithm", ["sb3_ppo", "maml", "tally"])
def test_a_learner_of_one_process_is_refused(
    path: Path, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(
        re.sub(
            r"(?s)learner:.*evaluation",
            f"learner: {{algorithm: {algorithm}}}\nevaluation",
            path.read_text(),
        )
    )
    experiment = load_experiment(path)
    make_learner(experiment, "cpu")
    monkeypatch.setattr(parallel, "size", lambda: 2)
    text = (
        f"`learner.algorithm` '{algorithm}' trains in one process, and torchrun started 2; "
        "those that train in several are rl2, varibad, distill, meta_gradient"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        make_learner(experiment, "cpu")


def test_minibatches_without_equal_shares_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "size", lambda: 3)
    with pytest.raises(ValueError, match="multiple of the number of processes, got 8 and 3"):
        make_learner(load_experiment(path), "cpu")


@pytest.fixture
def started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the environment of the first of two processes, whom the other does not answer."""
    found = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"}
    for name, value in (found | {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(parallel, "say_once", lambda say, by_first: say())


@pytest.mark.usefixtures("started_by_torchrun")
def test_commands_of_one_process_are_refused() -> None:
    result = CliRunner().invoke(app, ["list", "agents"])
    assert result.exit_code == 2
    assert result.stderr == (
        "error: `tutor-sim list` runs in one process, and torchrun started 2; "
        "those that several processes share are train and resume\n"
    )


@pytest.mark.usefixtures("started_by_torchrun")
def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="must be auto, cpu or cuda under torchrun"):
        resolve_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="started 2 processes here, and PyTorch finds 1 CUDA"):
        resolve_device("auto")
