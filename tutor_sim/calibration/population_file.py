"""Writes a fitted population: a YAML file that says in its comments where its numbers come from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutor_envs.population import Population
from tutor_envs.yaml_loading import dump_yaml
from tutor_sim.calibration.result import Calibration
from tutor_sim.files import atomic_write

_WIDTH = 98


def refuse_to_overwrite(path: Path, force: bool) -> None:
    """Complain early about a place where nothing can be written.

    Raises:
        ValueError: the file exists and may not be replaced, or its folder does not exist.
    """
    if path.suffix not in {".yaml", ".yml"}:
        raise ValueError(f"`--output` must end in .yaml, got {path}")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"`--output` must be a file in an existing folder, got {path}")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; `--force` replaces it")


def write_population(path: Path, calibration: Calibration, origin: Sequence[str]) -> list[Path]:
    """Write the population and its tensors, whole or not at all.

    Args:
        path: of the YAML file; tensors go beside it.
        calibration: what was fitted.
        origin: lines that say what was fitted to which data.

    Returns:
        The files written.

    Raises:
        SaveError: a file cannot be written.
    """
    written = []
    for name, tensors in calibration.tensors.items():
        from safetensors.torch import save

        atomic_write(path.parent / name, save(tensors))
        written.append(path.parent / name)
    if not calibration.tensors:
        Population.model_validate(calibration.population)
    text = "".join(f"{line}\n" for line in _header(calibration, origin))
    atomic_write(path, (text + dump_yaml(calibration.population)).encode())
    return [path, *written]


def _header(calibration: Calibration, origin: Sequence[str]) -> Iterator[str]:
    for line in origin:
        yield from _comment(line)
    yield from _comment("Estimates [95 % interval]:")
    for estimate in calibration.estimates:
        yield from _comment(f"{estimate.name}: {estimate.text()}", "  ")
    if calibration.held_out:
        yield from _comment(f"Held-out answers ({calibration.held_out_how}):")
        for score in calibration.held_out:
            yield from _comment(f"{score.name}: {score.text()}", "  ")
    if calibration.warnings:
        yield from _comment("What to know:")
        for warning in calibration.warnings:
            yield from _comment(warning, "  ")
    yield from _comment("A log without teaching modalities tells nothing of styles: strength 0.")


def _comment(text: str, indent: str = "") -> list[str]:
    """Comment lines; control characters, which YAML does not allow even here, are left out."""
    clean = "".join(sign for sign in text if sign.isprintable())
    return textwrap.wrap(
        clean, _WIDTH, initial_indent=f"# {indent}", subsequent_indent=f"# {indent}  "
    )
