"""RL²: a recurrent tutor that learns, by PPO across a population, to adapt to each new student."""

from __future__ import annotations

from tutor_agents.rl2.config import RL2Config
from tutor_agents.rl2.learner import RL2Learner

__all__ = ["RL2Config", "RL2Learner"]
