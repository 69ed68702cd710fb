"""Trained tutors that were taken away: ``policy.json`` and ``policy.safetensors`` in a folder."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tutor_agents.tutor import Tutor
from tutor_envs.errors import unknown_name
from tutor_envs.student import StudentModel

POLICY_FORMAT = 2
POLICY_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
KINDS = {
    "memory": "tutor_agents.engine.memory_tutor",
    "gradient": "tutor_agents.maml.tutor",
    "varibad": "tutor_agents.varibad.tutor",
    "sb3": "tutor_agents.sb3.tutor",
}
"""Kind of exported tutor -> module whose ``rebuild(description, weights, device)`` reads it."""


def describe(kind: str, tutor: str, model: StudentModel | None) -> dict[str, Any]:
    """What every ``policy.json`` holds: what it is, and what its indices mean.

    Args:
        kind: one of ``KINDS``.
        tutor: its name.
        model: whose teaching actions, responses and signals it knows, by index; None: unknown.
    """
    description: dict[str, Any] = {"format": POLICY_FORMAT, "kind": kind, "tutor": tutor}
    if model is not None:
        description["actions"] = [action._asdict() for action in model.actions]
        description["responses"] = list(model.responses)
        description["signals"] = list(model.signal_names)
    return description


def load_tutor(folder: Path, device: torch.device | str = "cpu") -> Tutor:
    """An exported tutor from a folder that holds ``policy.json`` and ``policy.safetensors``.

    Raises:
        ValueError: a file is missing, damaged, or of another format (the text says which).
    """
    try:
        description = json.loads((folder / POLICY_FILE).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS_FILE, device=str(device))
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder} holds no exported tutor: {error.filename} is missing"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise ValueError(f"{folder}: the exported tutor is damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != POLICY_FORMAT:
        raise ValueError(f"{folder / POLICY_FILE}: `format` must be {POLICY_FORMAT}")
    kind = str(description.get("kind"))
    if kind not in KINDS:
        raise ValueError(f"{folder / POLICY_FILE}: {unknown_name('kind', kind, KINDS)}")
    module = importlib.import_module(KINDS[kind])
    try:
        tutor: Tutor = module.rebuild(description, weights, device)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{folder}: weights and description do not fit: {error}") from error
    return tutor
