"""RL²: a recurrent tutor that learns, by PPO across a population, to adapt to each new student."""

from __future__ import annotations

from tutor_agents.rl2.config import RL2Config
from tutor_agents.rl2.learner import RL2Learner
from tutor_agents.rl2.tutor import POLICY_FILE, WEIGHTS_FILE, RL2Tutor, load_tutor

__all__ = ["POLICY_FILE", "WEIGHTS_FILE", "RL2Config", "RL2Learner", "RL2Tutor", "load_tutor"]
