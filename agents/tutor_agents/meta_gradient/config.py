"""What a user can choose about meta-gradient RL; see the package's text for the algorithm."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tutor_agents.engine.config import MemoryPPOConfig
from tutor_agents.meta_gradient.parameters import TunedName


class MetaGradientConfig(MemoryPPOConfig):
    """Hyper-parameters of RL² with PPO, some of them only the start of what is tuned online."""

    algorithm: Literal["meta_gradient"] = "meta_gradient"
    tuned: tuple[TunedName, ...] = Field(
        ("discount", "gae_lambda", "entropy_weight"),
        min_length=1,
        description="settings that start as configured and are then tuned by meta-gradients",
    )
    meta_learning_rate: float = Field(
        0.1, gt=0, description="Adam's, of the logits (softplus inverse) of what is tuned"
    )
    inner_learning_rate: float = Field(
        0.1, gt=0, description="of the one plain gradient step that is differentiated through"
    )
    outer_discount: float = Field(1.0, gt=0, le=1, description="of the objective of the tuning")
    outer_gae_lambda: float = Field(
        1.0, ge=0, le=1, description="of the objective of the tuning; 1: no bias from the critic"
    )

    @model_validator(mode="after")
    def _check_tuned(self) -> MetaGradientConfig:
        if len(set(self.tuned)) < len(self.tuned):
            raise ValueError(f"`tuned` must name each setting once, got {list(self.tuned)}")
        if "entropy_weight" in self.tuned and self.entropy_weight == 0:
            raise ValueError("`entropy_weight` must be > 0 where it is tuned, got 0")
        if self.n_trials < 2:
            raise ValueError(
                f"`n_trials` must be >= 2 (one half is learned from, the other judges), "
                f"got {self.n_trials}"
            )
        return self
