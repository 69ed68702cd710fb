"""RL² as a tutor: the trained actor, deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tutor_agents.rl2.networks import Actor, ActorShape
from tutor_agents.rl2.ppo import masked_logits
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel

POLICY_FORMAT = 1
POLICY_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"


class RL2Tutor:
    """Teaches greedily by what its memory holds of the student."""

    name = "rl2"

    def __init__(self, actor: Actor, model: StudentModel | None = None) -> None:
        """A live view of ``actor``; ``model`` only lends the names of actions and responses."""
        self._actor = actor
        self._model = model

    def begin_trial(self, trial: Trial) -> None:
        """Forget everything."""
        device = next(self._actor.parameters()).device
        self._memory = torch.zeros(
            1, len(trial.students), self._actor.shape.hidden_size, device=device
        )

    @torch.no_grad()
    def act(self, observation: Observation) -> Tensor:
        """Take in what came of the last action, then choose the best next one."""
        token = self._actor.encode(observation).unsqueeze(0)
        index = self._actor.clock_index(observation.lesson, observation.step)
        clock = torch.tensor([index], device=token.device)
        score = None if observation.score is None else observation.score.unsqueeze(0)
        signals = None if observation.signals is None else observation.signals.unsqueeze(0)
        hidden, self._memory = self._actor.remember(token, clock, score, self._memory, signals)
        logits = self._actor.logits(hidden, clock)[0]
        return masked_logits(logits, observation.legal).argmax(-1)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing: the outcome enters the memory with the next observation."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tutor to take away: its weights, and what a program needs to use it.

        Returns:
            Tensors for ``policy.safetensors`` and a JSON object for ``policy.json`` with the
            network's shape and the names of the teaching actions, responses and signals, by index.
        """
        description: dict[str, Any] = {
            "format": POLICY_FORMAT,
            "kind": self.name,
            "shape": self._actor.shape.model_dump(),
        }
        if self._model is not None:
            description["actions"] = [action._asdict() for action in self._model.actions]
            description["responses"] = list(self._model.responses)
            description["signals"] = list(self._model.signal_names)
        weights = {k: v.detach().cpu().contiguous() for k, v in self._actor.state_dict().items()}
        return weights, description


def load_tutor(folder: Path, device: torch.device | str = "cpu") -> RL2Tutor:
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
    try:
        actor = Actor(ActorShape.model_validate(description.get("shape")))
        actor.load_state_dict(weights)
    except (ValidationError, RuntimeError) as error:
        raise ValueError(f"{folder}: weights and description do not fit: {error}") from error
    return RL2Tutor(actor.to(device))
