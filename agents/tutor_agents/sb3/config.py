"""What a user can choose about Stable-Baselines3's algorithms; `docs/sb3.md` has SB3's names."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SB3Config(BaseModel):
    """Settings that all of SB3's algorithms share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_steps: int = Field(1_000_000, ge=1, description="teaching actions to train on")
    n_trials: int = Field(256, ge=2, description="students taught per update, one trial each")
    hidden_size: int = Field(64, ge=1, description="width of both hidden layers, and of the LSTM")
    learning_rate: float = Field(2e-3, gt=0, description="annealed linearly to zero")
    discount: float = Field(1.0, gt=0, le=1, description="per teaching action, across lessons")
    max_grad_norm: float = Field(0.5, gt=0, description="gradients are clipped to this norm")
    step_rewards: bool = Field(
        True, description="train on the lesson's score paid as it arises (`when: step`)"
    )
    expected_rewards: bool = Field(
        True, description="train on expected instead of drawn gains, where the score is post_test"
    )


class _OnPolicyConfig(SB3Config):
    gae_lambda: float = Field(
        0.9, ge=0, le=1, description="low for noisy immediate reward, high for late reward"
    )
    entropy_weight: float = Field(0.01, ge=0, description="of the entropy bonus; constant")
    value_weight: float = Field(0.5, ge=0, description="of the critic's loss")


class SB3A2CConfig(_OnPolicyConfig):
    """Hyper-parameters of SB3's A2C: one step down the gradient for each batch of trials."""

    algorithm: Literal["sb3_a2c"] = "sb3_a2c"


class _ClippedConfig(_OnPolicyConfig):
    clip: float = Field(0.2, gt=0, description="PPO clip range of the importance ratio")
    epochs: int = Field(4, ge=1, description="passes over each batch of trials")
    minibatches: int = Field(4, ge=1, description="minibatches of teaching actions per pass")

    @model_validator(mode="after")
    def _check_minibatches(self) -> _ClippedConfig:
        if self.n_trials % self.minibatches or self.n_trials < 2 * self.minibatches:
            raise ValueError(
                "`n_trials` must be a multiple of `minibatches` and at least twice as many, "
                f"got {self.n_trials} and {self.minibatches}"
            )
        return self


class SB3PPOConfig(_ClippedConfig):
    """Hyper-parameters of SB3's PPO."""

    algorithm: Literal["sb3_ppo"] = "sb3_ppo"


class SB3RecurrentPPOConfig(_ClippedConfig):
    """Hyper-parameters of sb3-contrib's recurrent PPO."""

    algorithm: Literal["sb3_recurrent_ppo"] = "sb3_recurrent_ppo"


class SB3DQNConfig(SB3Config):
    """Hyper-parameters of SB3's DQN."""

    algorithm: Literal["sb3_dqn"] = "sb3_dqn"
    n_trials: int = Field(32, ge=2, description="students taught per update, one trial each")
    max_grad_norm: float = Field(10.0, gt=0, description="gradients are clipped to this norm")
    buffer_size: int = Field(
        20_000, ge=1, description="transitions kept for replay; they are part of every checkpoint"
    )
    learning_starts: int = Field(
        1000, ge=0, description="teaching actions at random before the first gradient step"
    )
    batch_size: int = Field(128, ge=1, description="transitions of one gradient step")
    gradient_steps: int = Field(32, ge=1, description="gradient steps of one update")
    target_update_interval: int = Field(
        2000, ge=1, description="teaching actions between two copies to the target network"
    )
    exploration_fraction: float = Field(
        0.5, gt=0, le=1, description="share of the training over which exploration goes down"
    )
    exploration_initial_eps: float = Field(1.0, ge=0, le=1, description="exploration at first")
    exploration_final_eps: float = Field(0.05, ge=0, le=1, description="exploration at last")

    @model_validator(mode="after")
    def _check_batches(self) -> SB3DQNConfig:
        for name in ("buffer_size", "target_update_interval"):
            if getattr(self, name) < self.n_trials:
                raise ValueError(
                    f"`{name}` must be at least `n_trials`, "
                    f"got {getattr(self, name)} and {self.n_trials}"
                )
        return self
