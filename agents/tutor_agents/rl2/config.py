"""What a user can choose about RL²; see the package's text for the algorithm."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tutor_agents.distill.config import WarmStart
from tutor_agents.engine.config import MemoryPPOConfig
from tutor_agents.engine.networks import Network


class RL2Config(MemoryPPOConfig):
    """Hyper-parameters of RL² with PPO."""

    algorithm: Literal["rl2"] = "rl2"
    network: Network = Field(
        "joint",
        description="joint: each action for itself; per_skill: what is learned of one skill holds "
        "for all",
    )
    warm_start: WarmStart | None = Field(
        None, description="distil a teacher first, then continue with PPO; {} for the defaults"
    )

    @model_validator(mode="after")
    def _check_warm_start(self) -> RL2Config:
        if self.warm_start is not None:
            self.warm_start.check_divides(self.n_trials, where="warm_start.")
        return self
