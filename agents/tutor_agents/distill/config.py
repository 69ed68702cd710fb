"""What a user can choose about distillation; see the package's text for the algorithm."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tutor_agents.engine.networks import Network
from tutor_agents.memories import NamedMemory
from tutor_agents.memories.config import GRUConfig

TeacherName = Literal["bayes", "oracle", "myopic", "thompson"]


class Behaviour(BaseModel):
    """Who teaches the trials that are learned from: shares, each trial has one of the three."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    student: float = Field(0.8, ge=0, description="the policy that learns, actions drawn from it")
    teacher: float = Field(0.1, ge=0, description="the teacher, ties decided by chance")
    random: float = Field(0.1, ge=0, description="legal actions, all equally likely")

    @model_validator(mode="after")
    def _check(self) -> Behaviour:
        total = self.student + self.teacher + self.random
        if abs(total - 1) > 1e-6:
            raise ValueError(f"`behaviour` must have shares that sum to 1, got {total:g}")
        return self


class Distillation(BaseModel):
    """How a policy is brought to do as a teacher does."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    teacher: TeacherName = Field(
        "bayes", description="bayes: exact, for small finite populations; oracle: sees the truth"
    )
    behaviour: Behaviour = Field(
        default_factory=Behaviour, description="who teaches the trials that are learned from"
    )
    total_steps: int = Field(300_000, ge=1, description="teaching actions to learn from")
    learning_rate: float = Field(3e-3, gt=0, description="Adam; annealed linearly to zero")
    epochs: int = Field(4, ge=1, description="passes over each batch of trials")
    minibatches: int = Field(4, ge=1, description="minibatches per pass, over whole trials")
    max_grad_norm: float = Field(0.5, gt=0)

    def check_divides(self, n_trials: int, where: str = "") -> None:
        """Refuse a batch of trials that cannot be cut into equal minibatches.

        Raises:
            ValueError: it cannot.
        """
        if n_trials % self.minibatches:
            raise ValueError(
                f"`n_trials` must be a multiple of `{where}minibatches`, "
                f"got {n_trials} and {self.minibatches}"
            )


class DistillConfig(Distillation):
    """Hyper-parameters of a tutor that is distilled and nothing else."""

    algorithm: Literal["distill"] = "distill"
    n_trials: int = Field(512, ge=1, description="students taught per update, one trial each")
    hidden_size: int = Field(64, ge=1, description="width of the memory and of the heads")
    network: Network = Field(
        "joint",
        description="joint: each action for itself; per_skill: what is learned of one skill holds "
        "for all",
    )
    memory: NamedMemory = Field(default_factory=GRUConfig, description="what it remembers with")

    @model_validator(mode="after")
    def _check_minibatches(self) -> DistillConfig:
        self.check_divides(self.n_trials)
        return self


class WarmStart(Distillation):
    """Distillation before PPO; network and batch are those of PPO."""

    ppo_scale: float = Field(
        0.1, gt=0, le=1, description="factor on PPO's learning rate and entropy weight afterwards"
    )

    @model_validator(mode="after")
    def _check_student(self) -> WarmStart:
        if self.behaviour.student == 0:
            raise ValueError(
                "`behaviour.student` must be > 0: the critic learns from the student's returns, "
                "got 0"
            )
        return self
