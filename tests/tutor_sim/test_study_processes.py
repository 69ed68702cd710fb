"""A study that is killed, or run by several processes, ends with the numbers of one that is not."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from study_cells import N_CELLS, N_UPDATES, finish, kill, start, write_study
from tutor_sim import training
from tutor_sim.metrics import read_metrics
from tutor_sim.study.command import study_file

pytestmark = pytest.mark.slow
LONGEST_S = 120
SETTINGS = "total_steps: 2304, n_trials: 16, hidden_size: 8, epochs: 1, minibatches: 2"


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small a run."""
    for name in ("adaptation_curve", "action_heatmap"):
        monkeypatch.setattr(training, name, lambda *what: Figure(figsize=(1, 1)))


def run_here(path: Path, *overrides: str) -> Path:
    """Run a study in this process; its folder."""
    quiet = Console(file=io.StringIO())
    study_file(
        path,
        overrides=overrides,
        short=False,
        out=path.with_name("out"),
        n_workers=1,
        on_ray=False,
        console=quiet,
        log=quiet,
    )
    return path.with_name("out")


def content(folder: Path) -> dict[str, bytes]:
    """All rows, and the weights of every trained tutor."""
    files = [folder / "results.parquet", *folder.glob("cells/*/*/tutor/policy.safetensors")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_killed_in_a_learners_cell(tmp_path: Path) -> None:
    without = "tutors=[random]", "learners={steady: {algorithm: rl2, " + SETTINGS + "}}"
    straight = run_here(write_study(tmp_path / "straight"), *without)
    path = write_study(tmp_path / "killed")
    process = start(path, *(word for change in without for word in ("--set", change)))
    cell = path.with_name("out") / "cells" / "two" / "steady-1"
    until = time.monotonic() + LONGEST_S
    while len(read_metrics(cell / "metrics.jsonl")) < 13 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    kill(process)
    assert len(read_metrics(cell / "metrics.jsonl")) < N_UPDATES
    finished = {file: file.stat().st_mtime_ns for file in cell.parent.glob("*-0/**/*")}
    names = {file.parent.name for file in finished if file.name == "evaluation.safetensors"}
    assert names == {"steady-0", "random-0"}
    assert content(run_here(path, *without)) == content(straight)
    assert finished == {file: file.stat().st_mtime_ns for file in finished}


def test_several_workers_find_the_same_and_a_lost_one_is_told(tmp_path: Path) -> None:
    straight = run_here(write_study(tmp_path / "straight", immortal=True))
    path = write_study(tmp_path / "lost")
    for code in (-9, 0):  # each of the two learners takes its worker along: killed, and asked to go
        status, output = finish(path, "--workers", "2")
        assert status == 1
        assert f"has ended early, exit code {code}. " in output
        assert f" of {N_CELLS} cells are finished. The same command goes on from here." in output
        assert "Traceback" not in output
    status, output = finish(path, "--workers", "2")
    assert status == 0, output
    assert content(path.with_name("out")) == content(straight)


def test_the_study_that_ships_runs_in_its_short_form(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "experiments" / "study.yaml"
    study_file(
        shipped,
        overrides=(),
        short=True,
        out=tmp_path / "out",
        n_workers=1,
        on_ray=False,
        console=Console(file=io.StringIO()),
        log=Console(file=io.StringIO()),
    )
    assert (tmp_path / "out" / "results.parquet").is_file()
