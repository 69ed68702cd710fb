"""Checkpoints: tensors in safetensors, everything else in a JSON manifest; nothing is unpickled.

A checkpoint is two files, ``update-00000020.safetensors`` and ``update-00000020.json``. The
manifest is written last and holds the SHA-256 of the tensors and of itself: without a matching
manifest there is no checkpoint. Checkpoints are taken between updates, where every trial has ended,
and all randomness is addressed by counters: tensors and counters are the whole state of training,
learning-rate schedules and environments included.

The manifest (``format`` 1):

===============  ==============================================================================
``algorithm``    name of the learner
``fingerprint``  SHA-256 of seed, population, task and learner settings (see ``Experiment``)
``counters``     progress; the unit of each is its name (``updates_done``, ...)
``best``         the best checkpoint so far by validation: its ``updates_done`` and ``score``
``elapsed_s``    seconds of training so far
``cpu_s``        CPU-seconds of training so far, all threads together
``versions``     of Python and the libraries that wrote it
``tensors``      name -> dtype and shape
``n_bytes``      size of the tensors' file
``tensors_sha256``, ``manifest_sha256``
===============  ==============================================================================
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from tutor_sim.files import atomic_write
from tutor_sim.versions import versions

FORMAT = 1
_MANIFEST = re.compile(r"^update-(\d{8,})\.json$")
_OURS = re.compile(r"^(\.update-.*\.tmp|update-\d{8,}\.(json|safetensors))$")


class Best(BaseModel):
    """The best checkpoint so far by validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    updates_done: int
    score: float


class TensorInfo(BaseModel):
    """What a tensor in the file must look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    dtype: str
    shape: tuple[int, ...]


class Manifest(BaseModel):
    """Everything of a checkpoint but the tensors; see the module's text."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = FORMAT
    algorithm: str
    fingerprint: str
    counters: dict[str, int]
    best: Best | None
    elapsed_s: float
    cpu_s: float = 0.0
    versions: dict[str, str]
    tensors: dict[str, TensorInfo]
    n_bytes: int
    tensors_sha256: str


class Checkpoint(NamedTuple):
    """A checkpoint read back.

    Attributes:
        manifest: all but the tensors.
        tensors: name -> tensor, on the CPU.
    """

    manifest: Manifest
    tensors: dict[str, Tensor]


def save_checkpoint(
    folder: Path,
    *,
    algorithm: str,
    fingerprint: str,
    tensors: Mapping[str, Tensor],
    counters: Mapping[str, int],
    best: Best | None,
    elapsed_s: float,
    cpu_s: float = 0.0,
) -> None:
    """Write a checkpoint; ``counters["updates_done"]`` names it.

    Raises:
        SaveError: it could not be written; earlier checkpoints are untouched.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(plain)
    manifest = Manifest(
        algorithm=algorithm,
        fingerprint=fingerprint,
        counters=dict(counters),
        best=best,
        elapsed_s=elapsed_s,
        cpu_s=cpu_s,
        versions=versions(),
        tensors={name: _info(tensor) for name, tensor in plain.items()},
        n_bytes=len(data),
        tensors_sha256=hashlib.sha256(data).hexdigest(),
    )
    content = manifest.model_dump(mode="json")
    content["manifest_sha256"] = _digest(content)
    tensors_path, manifest_path = _paths(folder, counters["updates_done"])
    with contextlib.suppress(OSError):
        manifest_path.unlink(missing_ok=True)
    atomic_write(tensors_path, data)
    atomic_write(manifest_path, (json.dumps(content, indent=1) + "\n").encode())


def load_checkpoint(
    folder: Path, updates_done: int, *, algorithm: str, fingerprint: str
) -> Checkpoint:
    """Read a checkpoint and check that it is whole, unchanged, and of this experiment.

    Raises:
        ValueError: it is truncated, changed, of another format or of another experiment.
        OSError: it cannot be read.
    """
    tensors_path, manifest_path = _paths(folder, updates_done)
    manifest = _read_manifest(manifest_path)
    if (manifest.algorithm, manifest.fingerprint) != (algorithm, fingerprint):
        raise ValueError(
            f"{manifest_path}: the checkpoint belongs to another experiment: seed, population, "
            "task or learner are not those of the run's configuration"
        )
    data = tensors_path.read_bytes()
    if len(data) != manifest.n_bytes:
        raise _refused(tensors_path, f"it has {len(data)} bytes and must have {manifest.n_bytes}")
    if hashlib.sha256(data).hexdigest() != manifest.tensors_sha256:
        raise _refused(tensors_path, "it was changed after it was written (SHA-256 differs)")
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise _refused(tensors_path, f"it is no safetensors file: {error}") from error
    if {name: _info(tensor) for name, tensor in tensors.items()} != manifest.tensors:
        raise _refused(tensors_path, "its tensors are not those of the manifest")
    return Checkpoint(manifest, tensors)


def list_checkpoints(folder: Path) -> list[int]:
    """``updates_done`` of all checkpoints in a folder, in increasing order."""
    found = (_MANIFEST.match(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(match[1]) for match in found if match)


def prune_checkpoints(folder: Path, *, keep: int, best: Best | None) -> None:
    """Delete all checkpoints but the newest ``keep`` and the best, and what killed runs left."""
    kept = set(list_checkpoints(folder)[-keep:]) | ({best.updates_done} if best else set())
    names = {path.name for updates in kept for path in _paths(folder, updates)}
    stale = [p for p in folder.iterdir() if _OURS.match(p.name) and p.name not in names]
    for path in sorted(stale, key=lambda p: p.suffix != ".json"):
        with contextlib.suppress(OSError):
            path.unlink()


def _paths(folder: Path, updates_done: int) -> tuple[Path, Path]:
    stem = f"update-{updates_done:08d}"
    return folder / f"{stem}.safetensors", folder / f"{stem}.json"


def _info(tensor: Tensor) -> TensorInfo:
    return TensorInfo(dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape))


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _refused(path: Path, why: str) -> ValueError:
    return ValueError(
        f"{path}: this checkpoint cannot be used: {why}; delete both files of it to go on from the "
        "checkpoint before"
    )


def _read_manifest(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise _refused(path, f"it is no JSON: {error}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise _refused(path, "it has no `format`")
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path}: `format` must be {FORMAT} for this version of tutor-sim, "
            f"got {content['format']!r}"
        )
    expected = content.pop("manifest_sha256", None)
    if _digest(content) != expected:
        raise _refused(path, "it was changed after it was written (SHA-256 differs)")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise _refused(path, f"it is incomplete: {error.errors()[0]['loc']}") from error
