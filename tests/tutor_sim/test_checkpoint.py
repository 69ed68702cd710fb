"""Checkpoints are whole, unchanged and of this experiment, or refused; saving never half-writes."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tutor_sim.checkpoint import (
    Best,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from tutor_sim.files import SaveError, atomic_write

TENSORS = {
    "weight": torch.tensor([[1.0, -2.5], [float("nan"), 3e-40]]),
    "adam.step": torch.tensor(7.0),
    "counts": torch.arange(3),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "flag": torch.tensor([True]),
}


def save(folder: Path, updates_done: int = 20, **changes: Any) -> None:
    what: dict[str, Any] = {
        "algorithm": "rl2",
        "fingerprint": "f",
        "tensors": TENSORS,
        "counters": {"updates_done": updates_done, "optimizer_steps": 16 * updates_done},
        "best": Best(updates_done=20, score=0.5),
        "elapsed_s": 1.5,
    }
    save_checkpoint(folder, **(what | changes))


def load(folder: Path, updates_done: int = 20) -> Any:
    return load_checkpoint(folder, updates_done, algorithm="rl2", fingerprint="f")


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.contiguous().flatten().view(torch.uint8).tolist()


def test_what_is_saved_reads_back_to_the_bit(tmp_path: Path) -> None:
    save(tmp_path)
    manifest, tensors = load(tmp_path)
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert bits(tensors[name]) == bits(tensor)
    assert manifest.counters == {"updates_done": 20, "optimizer_steps": 320}
    assert manifest.best == Best(updates_done=20, score=0.5)
    assert manifest.versions["torch"] == torch.__version__


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for updates_done in (0, 20, 40, 60, 80):
        save(tmp_path, updates_done)
    (tmp_path / ".update-00000090.json.17.tmp").write_text("left by a killed run")
    (tmp_path / "update-00000090.safetensors").write_text("left by a killed run")
    (tmp_path / "notes.txt").write_text("not ours")
    prune_checkpoints(tmp_path, keep=2, best=Best(updates_done=20, score=0.5))
    assert list_checkpoints(tmp_path) == [20, 60, 80]
    assert len(list(tmp_path.iterdir())) == 2 * 3 + 1


def test_tensors_without_a_manifest_are_no_checkpoint(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "update-00000020.json").unlink()
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        ("safetensors", lambda data: data[:-1], r"it has \d+ bytes and must have \d+"),
        ("safetensors", lambda data: b"", "it has 0 bytes"),
        ("safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "it was changed after it"),
        ("json", lambda data: data[: len(data) // 2], "it is no JSON"),
        ("json", lambda data: data.replace(b": 320", b": 321"), "it was changed after it was"),
        ("json", lambda data: data.replace(b'"best"', b'"b"'), "it was changed after it was"),
        ("json", lambda data: b"[]", "it has no `format`"),
        ("json", lambda data: data.replace(b'"format": 1', b'"format": 2'), "must be 1 .*got 2"),
    ],
)
def test_damage_is_refused(tmp_path: Path, suffix: str, damage: Any, message: str) -> None:
    save(tmp_path)
    path = tmp_path / f"update-00000020.{suffix}"
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    save(tmp_path)
    torch.save(TENSORS, tmp_path / "update-00000020.safetensors")
    with pytest.raises(ValueError, match="cannot be used"):
        load(tmp_path)


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path: Path) -> None:
    for changes in ({"fingerprint": "g"}, {"algorithm": "other"}):
        save(tmp_path, **changes)
        with pytest.raises(ValueError, match="belongs to another experiment"):
            load(tmp_path)


def test_a_manifest_is_readable(tmp_path: Path) -> None:
    save(tmp_path)
    content = json.loads((tmp_path / "update-00000020.json").read_text())
    assert content["tensors"]["weight"] == {"dtype": "float32", "shape": [2, 2]}
    assert set(content["counters"]) == {"updates_done", "optimizer_steps"}


# -- disks -----------------------------------------------------------------------------------------
def fill_disk(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """From now on the disk is full, noticed at one of the moments when one can."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = Path.open

    def open_full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real(self, mode, *args, **kwargs)
        return FullFile(file) if "w" in mode else file

    if moment == "write":
        monkeypatch.setattr(Path, "open", open_full)
    elif moment == "flush":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)


class FullFile:
    """Takes half of what is written."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


MOMENTS = pytest.mark.parametrize("moment", ["write", "flush", "rename"])


@MOMENTS
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "results"
    atomic_write(path, b"old")
    fill_disk(monkeypatch, moment)
    with pytest.raises(SaveError, match=r"cannot write .*results: No space left on device"):
        atomic_write(path, b"something new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@MOMENTS
def test_a_full_disk_leaves_the_checkpoints_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    save(tmp_path, 20)
    fill_disk(monkeypatch, moment)
    with pytest.raises(SaveError, match="No space left on device"):
        save(tmp_path, 40)
    assert list_checkpoints(tmp_path) == [20]
    assert load(tmp_path, 20).manifest.counters["updates_done"] == 20
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # A file where a folder should be: refused to root, too, who may write anywhere.
    (tmp_path / "file").touch()
    with pytest.raises(SaveError, match=r"cannot write .*file/results: Not a directory"):
        atomic_write(tmp_path / "file" / "results", b"x")
