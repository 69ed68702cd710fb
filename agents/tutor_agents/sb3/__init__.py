"""Stable-Baselines3 as tutors: its PPO, A2C and DQN, and sb3-contrib's recurrent PPO."""

from __future__ import annotations

from tutor_agents.sb3.adapter import NativeVecEnv
from tutor_agents.sb3.config import (
    SB3A2CConfig,
    SB3DQNConfig,
    SB3PPOConfig,
    SB3RecurrentPPOConfig,
)
from tutor_agents.sb3.learner import SB3Learner

__all__ = [
    "NativeVecEnv",
    "SB3A2CConfig",
    "SB3DQNConfig",
    "SB3Learner",
    "SB3PPOConfig",
    "SB3RecurrentPPOConfig",
]
