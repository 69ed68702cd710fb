"""On a Ray cluster a study finds what it finds here, whatever befalls the workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from study_cells import N_CELLS, N_UPDATES, finish, write_study

pytestmark = pytest.mark.slow
ENVIRONMENT = {
    "RAY_ADDRESS": "local",  # a cluster of this test, whatever else runs on the machine
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture(autouse=True)
def ray_is_installed() -> None:
    pytest.importorskip("ray", reason="needs the extra tutor-sim[ray]")


def test_lost_workers_change_nothing(tmp_path: Path) -> None:
    here = write_study(tmp_path / "here", immortal=True)
    assert finish(here)[0] == 0
    there = write_study(tmp_path / "there")
    status, output = finish(there, "--ray", **ENVIRONMENT, HOME=str(tmp_path))
    assert status == 0, output
    assert f"[{N_CELLS}/{N_CELLS}] " in output
    assert there.with_name("died-0").exists()
    assert there.with_name("died-1").exists()
    # Checkpoints are written after every 5 updates, at validations and where a worker is asked to
    # go. The killed training (seed 0) repeats update 10 to 12, the other nothing.
    updates = [int(line) for line in there.with_name("updates.txt").read_text().splitlines()]
    assert len(updates) == 2 * N_UPDATES + 3
    names = ["results.parquet", "results.csv"]
    names += [
        f"cells/two/{name}-{s}/tutor/policy.safetensors"
        for name in ("steady", "mortal")
        for s in (0, 1)
    ]
    for name in names:
        assert (there.with_name("out") / name).read_bytes() == (
            here.with_name("out") / name
        ).read_bytes(), name
    status, output = finish(there, "--ray", **ENVIRONMENT, HOME=str(tmp_path))
    assert f"{N_CELLS} cells, {N_CELLS} of them finished before" in output
    assert "Ray cluster" not in output


def test_a_mistake_is_one_message_and_is_not_tried_again(tmp_path: Path) -> None:
    path = write_study(tmp_path / "mistake", immortal=True)
    # Two students are taught before anything is begun; with more of them it goes wrong.
    path.with_name("mine.py").write_text("""
import torch
from pathlib import Path
class Mine:
    name = "mine"
    def __init__(self, population, task, *, seed, device):
        pass
    def begin_trial(self, trial):
        self.n = len(trial.students)
        with Path(__file__).with_name("trials.txt").open("a") as file:
            file.write(f"{self.n}\\n")
    def act(self, observation):
        return torch.full((self.n,), 0 if self.n == 2 else 99)
    def observe(self, action, observation):
        pass
""")
    changes = ["--set", "learners={}", "--set", f"tutors=[{path.parent}/mine.py:Mine]"]
    changes += ["--set", "seeds=1"]
    status, output = finish(path, "--ray", *changes, **ENVIRONMENT, HOME=str(tmp_path))
    assert status == 2
    assert output.splitlines()[-2:] == [
        "two / Mine / seed 0: failed",
        "error: tutor `mine` must act in [0, 6), got 99.",
    ]
    assert path.with_name("trials.txt").read_text().split() == ["2", "30"]
