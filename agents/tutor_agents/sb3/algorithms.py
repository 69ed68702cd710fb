"""The four algorithms: SB3's classes for them, and what our settings are called there."""

from __future__ import annotations

import importlib
from typing import Any, Literal

import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy

from tutor_agents.sb3.config import (
    SB3A2CConfig,
    SB3DQNConfig,
    SB3PPOConfig,
    SB3RecurrentPPOConfig,
)

Algorithm = Literal["sb3_ppo", "sb3_a2c", "sb3_dqn", "sb3_recurrent_ppo"]


def sb3_contrib() -> Any:
    """The package sb3-contrib.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module("sb3_contrib")
    except ModuleNotFoundError as error:
        raise ValueError(
            "`sb3_recurrent_ppo` needs the package sb3-contrib, which is not installed: "
            "pip install 'tutor-sim[sb3-contrib]'"
        ) from error


def policy_class(algorithm: Algorithm) -> type[BasePolicy]:
    """SB3's network for flat observations."""
    if algorithm == "sb3_recurrent_ppo":
        found: type[BasePolicy] = sb3_contrib().RecurrentPPO.policy_aliases["MlpLstmPolicy"]
        return found
    return DQNPolicy if algorithm == "sb3_dqn" else ActorCriticPolicy


def policy_sizes(algorithm: Algorithm, hidden_size: int) -> dict[str, Any]:
    """Two hidden layers of this width, and an LSTM of it before them where there is one."""
    memory = {"lstm_hidden_size": hidden_size} if algorithm == "sb3_recurrent_ppo" else {}
    return {"net_arch": [hidden_size, hidden_size], **memory}


def make_on_policy(
    config: SB3PPOConfig | SB3A2CConfig | SB3RecurrentPPOConfig,
    students: VecEnv,
    n_trial_steps: int,
    device: torch.device,
) -> OnPolicyAlgorithm:
    """PPO, A2C or recurrent PPO; one rollout is one whole trial with every student."""
    settings = _shared(config, students, device) | {
        "n_steps": n_trial_steps,
        "gae_lambda": config.gae_lambda,
        "ent_coef": config.entropy_weight,
        "vf_coef": config.value_weight,
    }
    if isinstance(config, SB3A2CConfig):
        return A2C(**settings)
    settings |= {
        "batch_size": config.n_trials * n_trial_steps // config.minibatches,
        "n_epochs": config.epochs,
        "clip_range": config.clip,
    }
    if isinstance(config, SB3PPOConfig):
        return PPO(**settings)
    recurrent: OnPolicyAlgorithm = sb3_contrib().RecurrentPPO(**settings)
    return recurrent


def make_dqn(
    config: SB3DQNConfig, students: VecEnv, n_trial_steps: int, device: torch.device
) -> DQN:
    """DQN; it collects one whole trial with every student between two trainings."""
    return DQN(
        **_shared(config, students, device),
        buffer_size=config.buffer_size,
        learning_starts=config.learning_starts,
        batch_size=config.batch_size,
        train_freq=(n_trial_steps, "step"),
        gradient_steps=config.gradient_steps,
        target_update_interval=config.target_update_interval,
        exploration_fraction=config.exploration_fraction,
        exploration_initial_eps=config.exploration_initial_eps,
        exploration_final_eps=config.exploration_final_eps,
    )


def _shared(config: Any, students: VecEnv, device: torch.device) -> dict[str, Any]:
    sizes = policy_sizes(config.algorithm, config.hidden_size)
    return {
        "policy": policy_class(config.algorithm),
        "env": students,
        "learning_rate": lambda remaining: config.learning_rate * remaining,
        "gamma": config.discount,
        "max_grad_norm": config.max_grad_norm,
        "policy_kwargs": sizes,
        "stats_window_size": config.n_trials,
        "device": device,
    }
