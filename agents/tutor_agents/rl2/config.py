"""What a user can choose about RL²; see the package's text for the algorithm."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tutor_agents.engine.config import PPOConfig
from tutor_agents.memories import NamedMemory
from tutor_agents.memories.config import GRUConfig


class RL2Config(PPOConfig):
    """Hyper-parameters of RL² with PPO."""

    algorithm: Literal["rl2"] = "rl2"
    memory: NamedMemory = Field(default_factory=GRUConfig, description="what it remembers with")
    belief_weight: float = Field(
        0.5, ge=0, description="auxiliary head: predict latents and the next response from memory"
    )
