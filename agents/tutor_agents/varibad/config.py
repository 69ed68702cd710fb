"""What a user can choose about VariBAD; see the package's text for the algorithm."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tutor_agents.engine.config import PPOConfig
from tutor_agents.memories import NamedMemory
from tutor_agents.memories.config import GRUConfig


class VariBADConfig(PPOConfig):
    """Hyper-parameters of VariBAD with PPO."""

    algorithm: Literal["varibad"] = "varibad"
    belief: Literal["learned", "latents", "posterior"] = Field(
        "learned",
        description="what the policy is told of the student: the learned belief, or, to see what "
        "that costs, the true latents (an oracle) or the exact posterior over types",
    )
    memory: NamedMemory = Field(
        default_factory=GRUConfig, description="what the belief is computed with"
    )
    belief_size: int = Field(16, ge=1, description="dimensions of the latent variable m")
    kl_weight: float = Field(
        0.01, ge=0, description="weight of KL(q_t || q_{t-1}); 1 is the exact lower bound"
    )
    reward_weight: float = Field(
        1.0, ge=0, description="weight of the decoded rewards beside the decoded answers"
    )
    vae_learning_rate: float = Field(
        3e-3, gt=0, description="Adam, of encoder and decoder; annealed linearly to zero"
    )
    vae_epochs: int = Field(2, ge=1, description="passes of encoder and decoder over each batch")
    elbo_terms: int = Field(
        2,
        ge=1,
        description="beliefs of a trial, drawn anew in every pass, that the whole trial is "
        "decoded from",
    )
