"""Training runs: checkpoints, metrics, events; stopped and resumed they are as if never stopped."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tutor_sim import checkpoint, training
from tutor_sim.checkpoint import list_checkpoints, load_checkpoint
from tutor_sim.experiment_files import load_experiment
from tutor_sim.files import SaveError
from tutor_sim.learners import LEARNERS
from tutor_sim.metrics import read_metrics
from tutor_sim.runs import Run
from tutor_sim.stopping import Interrupted
from tutor_sim.training import Trained, load_best, train

STEPS_PER_UPDATE = 50  # 10 trials of 5 actions
N_UPDATES = 20  # 1000 actions in all


def make_run(experiment_file: Path, *overrides: str) -> Run:
    experiment = load_experiment(experiment_file, overrides=overrides)
    return Run.create(experiment_file.parent / "runs", experiment, "train", 1)


def train_quietly(run: Run) -> Trained:
    return train(run, device="cpu", console=Console(file=io.StringIO()))


def tensors_of(run: Run, updates_done: int) -> dict[str, torch.Tensor]:
    return load_checkpoint(
        run.checkpoints, updates_done, algorithm="tally", fingerprint=run.experiment.fingerprint
    ).tensors


def rows_of(run: Run) -> list[dict[str, Any]]:
    rows = read_metrics(run.metrics)
    return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in rows]


def stop_after(monkeypatch: pytest.MonkeyPatch, updates: int, how: BaseException | int) -> None:
    """Let the learner's update with this number end in an exception, or send a signal."""
    learner = LEARNERS["tally"].make
    update = learner.update  # type: ignore[attr-defined]

    def stopping(self: Any) -> Any:
        values = update(self)
        if self.updates_done == updates:
            monkeypatch.setattr(learner, "update", update)
            if isinstance(how, BaseException):
                raise how
            os.kill(os.getpid(), how)
        return values

    monkeypatch.setattr(learner, "update", stopping)


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small a run."""
    for name in ("adaptation_curve", "action_heatmap"):
        monkeypatch.setattr(training, name, lambda *what: Figure(figsize=(1, 1)))


@pytest.fixture
def straight(experiment_file: Path) -> Run:
    """A run that was never stopped."""
    run = make_run(experiment_file)
    train_quietly(run)
    return run


def test_a_run_leaves_what_is_documented(straight: Run) -> None:
    assert straight.folder.name == "tiny-3-001"
    assert Run.open(straight.folder) == straight
    rows = rows_of(straight)
    assert [row["updates_done"] for row in rows] == list(range(N_UPDATES + 1))
    assert all(r["teaching_steps"] == STEPS_PER_UPDATE * r["updates_done"] for r in rows)
    validated = [row["updates_done"] for row in rows if "eval/validation_score" in row]
    assert validated == [0, 4, 8, 12, 16, 20]
    assert json.loads((straight.folder / "versions.json").read_text())["python"]
    assert (straight.tutor / "policy.json").is_file()


def test_the_best_checkpoint_by_validation_is_what_a_run_yields(straight: Run) -> None:
    trained = train_quietly(straight)  # nothing left to train
    scores = {r["updates_done"]: r["eval/validation_score"] for r in rows_of(straight)[::4]}
    assert trained.validation_score == max(scores.values())
    assert scores[trained.updates_done] == trained.validation_score
    best = tensors_of(straight, trained.updates_done)["value"]
    assert torch.equal(trained.tutor.value, best)  # type: ignore[attr-defined]
    assert torch.equal(load_best(straight, "cpu").value, best)  # type: ignore[attr-defined]
    assert [point.score for point in trained.learning_curve] == list(scores.values())
    newest = [n for n in list_checkpoints(straight.checkpoints) if n != trained.updates_done]
    assert newest[-1:] in ([N_UPDATES], [16])
    assert len(newest) <= straight.experiment.checkpoint.keep


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    straight: Run, experiment_file: Path
) -> None:
    same, other = make_run(experiment_file), make_run(experiment_file, "seed=4")
    train_quietly(same)
    train_quietly(other)
    assert (same.folder.name, other.folder.name) == ("tiny-3-002", "tiny-4-001")
    assert rows_of(same) == rows_of(straight)
    assert rows_of(other) != rows_of(straight)


@pytest.mark.parametrize("stops", [[1], [7], [13, 14], [20]])
def test_a_crashed_and_resumed_run_equals_the_straight_one(
    straight: Run, experiment_file: Path, monkeypatch: pytest.MonkeyPatch, stops: list[int]
) -> None:
    run = make_run(experiment_file)
    for updates in stops:
        stop_after(monkeypatch, updates, RuntimeError("crash"))
        with pytest.raises(RuntimeError, match="crash"):
            train_quietly(run)
    trained = train_quietly(Run.open(run.folder))
    assert rows_of(run) == rows_of(straight)
    assert trained.updates_done == train_quietly(straight).updates_done
    assert list_checkpoints(run.checkpoints)[-1] == N_UPDATES
    for name, tensor in tensors_of(straight, N_UPDATES).items():
        assert torch.equal(tensors_of(run, N_UPDATES)[name], tensor)


def test_an_unfinished_line_and_rows_after_the_checkpoint_are_dropped(
    straight: Run, experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(experiment_file)
    stop_after(monkeypatch, 7, RuntimeError("crash"))
    with pytest.raises(RuntimeError):
        train_quietly(run)
    with run.metrics.open("a") as file:
        file.write('{"updates_done": 7, "teaching_st')
    train_quietly(run)
    assert rows_of(run) == rows_of(straight)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_finishes_the_update_and_saves(
    straight: Run,
    experiment_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    run = make_run(experiment_file)
    stop_after(monkeypatch, 7, number)
    with pytest.raises(Interrupted, match="Stopped after update 7 of 20; a checkpoint was writ"):
        train_quietly(run)
    assert list_checkpoints(run.checkpoints)[-1] == 7
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    train_quietly(run)
    assert rows_of(run) == rows_of(straight)


def test_a_full_disk_stops_the_run_and_leaves_it_resumable(
    straight: Run, experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(experiment_file)
    write = checkpoint.atomic_write

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:

        def fill_at_ten(path: Path, data: bytes) -> None:
            if path.name == "update-00000010.safetensors":
                patch.setattr(os, "fsync", full)
            write(path, data)

        patch.setattr(checkpoint, "atomic_write", fill_at_ten)
        with pytest.raises(SaveError, match=r"update-00000010\.safetensors: No space left"):
            train_quietly(run)
    assert list_checkpoints(run.checkpoints)[-1] < 10
    assert not list(run.checkpoints.glob(".*"))
    train_quietly(run)
    assert rows_of(run) == rows_of(straight)


def test_a_changed_configuration_refuses_the_old_checkpoints(straight: Run) -> None:
    config = straight.folder / "config.yaml"
    config.write_text(config.read_text().replace("learning_rate: 0.1", "learning_rate: 0.2"))
    with pytest.raises(ValueError, match="belongs to another experiment"):
        train_quietly(Run.open(straight.folder))


def test_a_damaged_checkpoint_is_refused_until_it_is_deleted(straight: Run) -> None:
    path = straight.checkpoints / "update-00000020.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="delete both files of it to go on from the checkpoint"):
        train_quietly(straight)
    rows = rows_of(straight)
    path.unlink()
    path.with_suffix(".json").unlink()
    train_quietly(straight)
    assert rows_of(straight) == rows


def test_folders_that_are_no_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none: there is no such run folder"):
        Run.open(tmp_path / "none")
    with pytest.raises(ValueError, match=r"not a run folder: it has no config\.yaml"):
        Run.open(tmp_path)


def test_runs_cannot_be_made_below_a_file(experiment_file: Path) -> None:
    experiment = load_experiment(experiment_file)
    with pytest.raises(SaveError, match=r"cannot write .*tiny\.yaml/runs: Not a directory"):
        Run.create(experiment_file / "runs", experiment, "train", 1)


# -- TensorBoard -----------------------------------------------------------------------------------
def events_of(run: Run) -> EventAccumulator:
    events = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def test_tensorboard_has_the_rows_of_the_metrics(straight: Run) -> None:
    events = events_of(straight)
    tags = events.Tags()
    for tag in tags["scalars"]:
        expected = [
            (row["teaching_steps"], row[tag])
            for row in read_metrics(straight.metrics)
            if tag in row
        ]
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected])
    groups = {tag.partition("/")[0] for tag in tags["scalars"]}
    assert groups == {"train", "eval", "adaptation", "perf"}
    assert set(tags["images"]) == {"adaptation/validation_curve", "adaptation/validation_actions"}
    assert len(events.Images("adaptation/validation_curve")) == training.N_PICTURES
    assert tags["tensors"] == ["config/text_summary"]


def test_a_resumed_run_has_no_step_twice(
    straight: Run, experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(experiment_file)
    for updates in (7, 14):
        stop_after(monkeypatch, updates, RuntimeError("crash"))
        with pytest.raises(RuntimeError):
            train_quietly(run)
    train_quietly(run)
    assert len(list(run.tensorboard.iterdir())) == 3
    ours, theirs = events_of(run), events_of(straight)
    assert set(ours.Tags()["scalars"]) == set(theirs.Tags()["scalars"])
    for tag in theirs.Tags()["scalars"]:
        if not tag.startswith("perf/"):
            assert [(e.step, e.value) for e in ours.Scalars(tag)] == [
                (e.step, e.value) for e in theirs.Scalars(tag)
            ]


@pytest.mark.parametrize("has_amx", [True, False])
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_products_have_the_precision_that_the_experiment_says_where_it_pays(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch, precision: str, has_amx: bool
) -> None:
    capabilities = {"architecture": "x86_64", "amx_bf16": has_amx}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    learner, seen = LEARNERS["tally"].make, set()
    update = learner.update  # type: ignore[attr-defined]

    def looking(self: Any) -> Any:
        seen.add(torch.get_float32_matmul_precision())
        return update(self)

    monkeypatch.setattr(learner, "update", looking)
    before = torch.get_float32_matmul_precision()
    train_quietly(make_run(experiment_file, f"matmul_precision={precision}"))
    assert seen == {precision if has_amx else "highest"}
    assert torch.get_float32_matmul_precision() == before
