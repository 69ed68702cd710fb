"""What a user can choose about training by PPO on whole trials."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tutor_agents.memories import NamedMemory
from tutor_agents.memories.config import GRUConfig


class PPOConfig(BaseModel):
    """Hyper-parameters that all tutors trained by PPO share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_steps: int = Field(1_000_000, ge=1, description="teaching actions to train on")
    n_trials: int = Field(256, ge=1, description="students taught per update, one trial each")
    hidden_size: int = Field(64, ge=1, description="width of the memory and of the heads")
    learning_rate: float = Field(2e-3, gt=0, description="Adam; annealed linearly to zero")
    discount: float = Field(1.0, gt=0, le=1, description="per teaching action, across lessons")
    gae_lambda: float = Field(
        0.9, ge=0, le=1, description="low for noisy immediate reward, high for late reward"
    )
    clip: float = Field(0.2, gt=0, description="PPO clip range of the importance ratio")
    epochs: int = Field(4, ge=1, description="passes over each batch of trials")
    minibatches: int = Field(4, ge=1, description="minibatches per pass, over whole trials")
    entropy_weight: float = Field(0.01, ge=0, description="annealed linearly to zero")
    value_weight: float = Field(0.5, ge=0)
    max_grad_norm: float = Field(0.5, gt=0)
    critic: Literal["privileged", "shared"] = Field(
        "privileged",
        description="privileged: the critic also sees latents and state (never the actor)",
    )
    step_rewards: bool = Field(
        True, description="train on the lesson's score paid as it arises (`when: step`)"
    )
    expected_rewards: bool = Field(
        True, description="train on expected instead of drawn gains, where the score is post_test"
    )

    @model_validator(mode="after")
    def _check_minibatches(self) -> PPOConfig:
        if self.n_trials % self.minibatches:
            raise ValueError(
                f"`n_trials` must be a multiple of `minibatches`, "
                f"got {self.n_trials} and {self.minibatches}"
            )
        return self


class MemoryPPOConfig(PPOConfig):
    """Of tutors whose memory is trained by PPO, with a belief head beside it."""

    memory: NamedMemory = Field(default_factory=GRUConfig, description="what it remembers with")
    belief_weight: float = Field(
        0.5, ge=0, description="auxiliary head: predict latents and the next response from memory"
    )
