"""Peer: sb3-contrib's RecurrentPPO on a ``DummyVecEnv`` of plain-Python students.

Its networks have the sizes of ours: an LSTM of 128, one hidden layer each for the policy and the
value. :class:`Train` has one LSTM for both, as ours have; :class:`TrainSeparate` has what
RecurrentPPO has by default, an LSTM for each. Actions and answers are given to it as one one-hot pair, as ours are: with two
separate inputs it hardly learns.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from family import Settings
from sb3_contrib import RecurrentPPO
from single_student import SingleStudent
from stable_baselines3.common.vec_env import DummyVecEnv

from tutor_sim.bench.job import Work


class Train:
    """Updates: a batch of whole trials, then all passes over it."""

    _shares_memory = True

    def __init__(self, **settings: Any) -> None:
        torch.manual_seed(0)
        self._settings = s = Settings(**settings)
        envs = DummyVecEnv([partial(SingleStudent, s.n_lessons, s.n_steps, True)] * s.n_students)
        self._model = RecurrentPPO(
            "MlpLstmPolicy",
            envs,
            n_steps=s.n_trial_steps,
            batch_size=s.n_trial_steps * s.n_students // s.minibatches,
            n_epochs=s.epochs,
            learning_rate=s.learning_rate,
            gamma=s.discount,
            gae_lambda=s.gae_lambda,
            ent_coef=s.entropy_weight,
            policy_kwargs={
                "lstm_hidden_size": s.hidden_size,
                "shared_lstm": self._shares_memory,
                "enable_critic_lstm": not self._shares_memory,
                "net_arch": [s.hidden_size],
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
        n_students, n_lessons = self._settings.n_students, self._settings.n_lessons
        steps = self._settings.n_trial_steps * n_students
        self._model.learn(steps, reset_num_timesteps=not self._begun)
        self._begun = True
        rewards = self._model.rollout_buffer.rewards  # swapped and flattened by then, or (T, N)
        return Work(steps, float(np.sum(rewards)) / n_students / n_lessons, None)


class TrainSeparate(Train):
    """The policy and the value each have an LSTM."""

    _shares_memory = False
