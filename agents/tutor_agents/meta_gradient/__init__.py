"""Meta-gradient RL: RL² whose discount, GAE lambda and entropy weight are tuned while it learns."""

from __future__ import annotations

from tutor_agents.meta_gradient.config import MetaGradientConfig
from tutor_agents.meta_gradient.learner import MetaGradientLearner

__all__ = ["MetaGradientConfig", "MetaGradientLearner"]
