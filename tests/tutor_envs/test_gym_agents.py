"""Code that knows nothing of us runs on every id."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import tutor_envs

every_id = pytest.mark.parametrize("env_id", tutor_envs.ENVIRONMENTS)


@every_id
def test_a_random_agent_runs_through_trials(env_id):
    env = gymnasium.make(env_id)
    env.action_space.seed(0)
    for trial in range(2):
        _, _ = env.reset(seed=0 if trial == 0 else None)
        total, n_steps, terminated = 0.0, 0, False
        while not terminated:
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert not truncated
            total, n_steps = total + reward, n_steps + 1
        assert n_steps == 45
        assert 0 <= total <= 3  # three post-tests, each in [0, 1]
    env.close()


@every_id
def test_stable_baselines_ppo_learns_through_gymnasium_make(env_id):
    env = make_vec_env(env_id, n_envs=2, seed=0, env_kwargs={"task": {"n_steps": 8}})
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=2, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(128)
    after = list(model.policy.parameters())
    assert all(bool(parameter.isfinite().all()) for parameter in after)
    assert any(not torch.equal(one, two) for one, two in zip(before, after, strict=True))
    action, _ = model.predict(env.reset())
    assert np.isin(action, np.arange(env.action_space.n)).all()


@pytest.mark.slow
def test_stable_baselines_ppo_learns_which_modality_teaches():
    # one modality teaches everyone: the first of two; always choosing it earns .8 a step of 10
    population = {
        "name": "easy",
        "student": "style_bandit",
        "model": {"modalities": ["good", "bad"], "n_units": 10},
        "latents": {"p_event": 0.45, "style_strength": 1.0, "responsiveness": [0.89, 0.11]},
    }
    task = {"n_steps": 10, "reward": {"when": "step"}}
    env = make_vec_env(
        "tutor_sim/StyleBandit-v0",
        n_envs=8,
        seed=0,
        env_kwargs={"population": population, "task": task},
    )
    model = PPO(
        "MlpPolicy", env, n_steps=40, batch_size=80, learning_rate=3e-3, seed=0, device="cpu"
    )
    model.learn(6_000)
    envs = gymnasium.make_vec(
        "tutor_sim/StyleBandit-v0", num_envs=500, population=population, task=task, split="test"
    )
    observations, _ = envs.reset(seed=1)
    total = np.zeros(500)
    for _ in range(10):
        action, _ = model.predict(observations, deterministic=True)
        observations, rewards, *_ = envs.step(action)
        total += rewards
    # .45 * 2 * .89 = .80 events a step; at random .45
    assert total.mean() > 0.75
