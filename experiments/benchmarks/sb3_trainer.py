"""Peer: sb3-contrib's RecurrentPPO on a ``DummyVecEnv`` of plain-Python students.

Its networks have the sizes of ours: an LSTM, one hidden layer for the policy, two for the value;
one LSTM serves both. Actions and answers are given to it as one one-hot pair, as ours are: with two
separate inputs it hardly learns.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from single_student import SingleStudent
from stable_baselines3.common.vec_env import DummyVecEnv

from tutor_sim.bench.job import Work


class Train:
    """Updates: a batch of whole trials, then all passes over it."""

    def __init__(
        self,
        n_students: int,
        n_lessons: int,
        n_steps: int,
        hidden_size: int,
        epochs: int,
        minibatches: int,
    ) -> None:
        torch.manual_seed(0)
        self._trial, self._n_students, self._n_lessons = n_lessons * n_steps, n_students, n_lessons
        envs = DummyVecEnv([partial(SingleStudent, n_lessons, n_steps, True)] * n_students)
        self._model = RecurrentPPO(
            "MlpLstmPolicy",
            envs,
            n_steps=self._trial,
            batch_size=self._trial * n_students // minibatches,
            n_epochs=epochs,
            learning_rate=1e-3,
            gamma=0.95,
            gae_lambda=0.8,
            ent_coef=0.003,
            policy_kwargs={
                "lstm_hidden_size": hidden_size,
                "shared_lstm": True,
                "enable_critic_lstm": False,
                "net_arch": {"pi": [hidden_size], "vf": [2 * hidden_size, hidden_size]},
                "activation_fn": torch.nn.Tanh,
            },
            seed=0,
            device="cpu",
        )
        self._begun = False

    def prepare(self, round_: int) -> None:
        """Nothing."""

    def work(self) -> Work:
        """One update."""
        steps = self._trial * self._n_students
        self._model.learn(steps, reset_num_timesteps=not self._begun)
        self._begun = True
        rewards = self._model.rollout_buffer.rewards  # swapped and flattened by then, or (T, N)
        return Work(steps, float(np.sum(rewards)) / self._n_students / self._n_lessons, None)
