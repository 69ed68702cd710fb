"""A run killed with -9 at any moment and resumed ends with the weights of one never killed."""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console

from tutor_sim import training
from tutor_sim.checkpoint import list_checkpoints, load_checkpoint
from tutor_sim.experiment_files import load_experiment
from tutor_sim.metrics import read_metrics
from tutor_sim.runs import Run
from tutor_sim.training import train

EXPERIMENT = """\
name: killed
population:
  name: p
  student: bkt
  model: {n_skills: 2}
  latents: {style_strength: 0.8, responsiveness: {dirichlet: {concentration: 0.5}}}
task: {n_lessons: 2, n_steps: 3}
learner:
  {algorithm: rl2, total_steps: 2304, n_trials: 16, hidden_size: 8, epochs: 1, minibatches: 2}
evaluation: {validation_students: 20, every_updates: 8}
checkpoint: {every_updates: 5, keep: 2}
"""
N_UPDATES = 24  # 2304 actions / (16 trials * 2 lessons * 3 actions)
LONGEST_S = 120


def state_of(run: Run) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    _, tensors = load_checkpoint(
        run.checkpoints, N_UPDATES, algorithm="rl2", fingerprint=run.experiment.fingerprint
    )
    rows = read_metrics(run.metrics)
    return tensors, [{k: v for k, v in r.items() if not k.startswith("perf/")} for r in rows]


def start(run: Run) -> subprocess.Popen[bytes]:
    code = f"from tutor_sim.cli import app; app(['resume', {str(run.folder)!r}, '--device', 'cpu'])"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_when(run: Run, n_rows: int, delay_s: float = 0.0) -> None:
    """Resume the run in another process, and kill that when so many rows are written."""
    process = start(run)
    until = time.monotonic() + LONGEST_S
    while len(read_metrics(run.metrics)) < n_rows and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def check(tmp_path: Path, kills: list[tuple[int, float]]) -> None:
    path = tmp_path / "killed.yaml"
    path.write_text(EXPERIMENT)
    experiment = load_experiment(path)
    straight, killed = (Run.create(tmp_path, experiment, "train", 1) for _ in range(2))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(straight, device="cpu", console=Console(file=io.StringIO()))
        for n_rows, delay_s in kills:
            kill_when(killed, n_rows, delay_s)
            done = list_checkpoints(killed.checkpoints)
            assert not done or done[-1] < N_UPDATES
        train(killed, device="cpu", console=Console(file=io.StringIO()))
    finally:
        torch.set_num_threads(threads)
    tensors, rows = state_of(straight)
    resumed_tensors, resumed_rows = state_of(killed)
    assert tensors.keys() == resumed_tensors.keys()
    assert any(name.startswith("adam.") for name in tensors)
    for name, tensor in tensors.items():
        assert torch.equal(tensor, resumed_tensors[name]), name
    assert rows == resumed_rows


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small a run."""
    for name in ("adaptation_curve", "action_heatmap"):
        monkeypatch.setattr(training, name, lambda *what: Figure(figsize=(1, 1)))


def test_killed_between_two_checkpoints(tmp_path: Path) -> None:
    check(tmp_path, [(13, 0.0)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_at_random_moments(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    rows = sorted(moments.sample(range(0, N_UPDATES - 6), 4))
    check(tmp_path, [(n, moments.uniform(0, 0.05)) for n in rows])
