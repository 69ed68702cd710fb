"""The training of Stable-Baselines3's algorithms: whole trials with new students, as SB3 learns."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq
from torch import Tensor

from tutor_agents.engine.config import PPOConfig
from tutor_agents.engine.saved_state import restore_state, state_tensors
from tutor_agents.engine.update import training_task, updates_for
from tutor_agents.sb3.adapter import NativeVecEnv
from tutor_agents.sb3.algorithms import make_dqn, make_on_policy
from tutor_agents.sb3.config import (
    SB3A2CConfig,
    SB3DQNConfig,
    SB3PPOConfig,
    SB3RecurrentPPOConfig,
)
from tutor_agents.sb3.randomness import lent_generators
from tutor_agents.sb3.tutor import PolicyShape, SB3Tutor
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask
from tutor_envs.vector_env import TutoringVectorEnv

_REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones")


class TrainingStudents(NativeVecEnv):
    """The students of any update: update u teaches the training students ``[u N, (u + 1) N)``."""

    def begin_update(self, updates_done: int) -> NDArray[np.float32]:
        """Begin a trial with the students of the next update; their first observations."""
        self._batch = updates_done
        indices = student_indices(Split.TRAIN, self.num_envs, updates_done * self.num_envs)
        self.set_options({"students": indices.numpy()})
        return self.reset()

    def _next_trial(self) -> NDArray[np.float32]:
        return self.begin_update(self._batch + 1)


class SB3Learner:
    """Trains a tutor by PPO, A2C, DQN or recurrent PPO; see the docs page of SB3."""

    def __init__(
        self,
        config: SB3PPOConfig | SB3A2CConfig | SB3DQNConfig | SB3RecurrentPPOConfig,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build SB3's algorithm; everything random follows from ``seed``.

        Args:
            config: names the algorithm.
            population: whom it learns to teach.
            task: what the tutor will be scored by.
            seed: of weights, students and exploration.
            device: of the networks; the students are computed on the CPU.

        Raises:
            ValueError: sb3-contrib is needed and not installed.
        """
        self.config = config
        self.population = population
        self.task = task
        self.seed = seed
        self.device = torch.device(device)
        self.steps_per_update = config.n_trials * task.n_trial_steps
        self.n_updates = updates_for(config.total_steps, self.steps_per_update)
        self.updates_done = 0
        model = population.student_model
        self._shape = PolicyShape.of(config.algorithm, config.hidden_size, model, task)
        rewards = PPOConfig(
            step_rewards=config.step_rewards, expected_rewards=config.expected_rewards
        )
        self._students = TrainingStudents(
            TutoringVectorEnv(
                config.n_trials,
                population=population,
                task=training_task(task, rewards, model),
                seed=seed,
            )
        )
        self._sb3 = self._make()

    def _make(self) -> OnPolicyAlgorithm | DQN:
        config, n_steps = self.config, self.task.n_trial_steps
        sb3: OnPolicyAlgorithm | DQN
        with lent_generators(self.seed, 0, self.device):
            if isinstance(config, SB3DQNConfig):
                sb3 = make_dqn(config, self._students, n_steps, self.device)
            else:
                sb3 = make_on_policy(config, self._students, n_steps, self.device)
        sb3.set_logger(Logger(None, []))
        _, self._callback = sb3._setup_learn(self.n_updates * self.steps_per_update)
        return sb3

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> SB3Tutor:
        """The greedy tutor with the current weights (a live view)."""
        return SB3Tutor(
            self.config.algorithm, self._sb3.policy, self._shape, self.population.student_model
        )

    def tensors(self) -> dict[str, Tensor]:
        """Weights, optimiser state and, for DQN, what is replayed, by name."""
        policy = self._sb3.policy
        replayed = {
            f"replay.{name}": torch.from_numpy(rows) for name, rows in self._replayed().items()
        }
        return state_tensors(policy, {"optimizer": policy.optimizer}) | replayed

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        return {"updates_done": self.updates_done, "sb3_n_updates": self._sb3._n_updates}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken.

        Raises:
            ValueError: they belong to another network.
        """
        policy = self._sb3.policy
        restore_state(policy, {"optimizer": policy.optimizer}, tensors)
        self.updates_done = counters["updates_done"]
        self._sb3._n_updates = counters["sb3_n_updates"]
        self._sb3.num_timesteps = self.updates_done * self.steps_per_update
        if isinstance(self._sb3, DQN):
            self._sb3._n_calls = self.updates_done * self.task.n_trial_steps
            self._set_replay_position(self._sb3)
            for name, rows in self._replayed().items():
                rows[:] = tensors[f"replay.{name}"].numpy()

    def update(self) -> dict[str, float]:
        """Teach one batch of new students and learn from it; returns what to log."""
        started_s = time.perf_counter()
        sb3, n_trials = self._sb3, self.config.n_trials
        with lent_generators(self.seed, self.updates_done + 1, self.device):
            self._set_progress(self.updates_done)
            sb3._last_obs = self._students.begin_update(self.updates_done)
            sb3._last_episode_starts = np.ones(n_trials, dtype=np.bool_)
            if isinstance(sb3, DQN):
                self._learn_off_policy(sb3)
            else:
                self._learn_on_policy(sb3)
        self.updates_done += 1
        assert sb3.ep_info_buffer is not None
        logs = {
            "train/return": float(np.mean([trial["r"] for trial in sb3.ep_info_buffer])),
            **{f"sb3/{name}": float(x) for name, x in sb3.logger.name_to_value.items()},
            "perf/steps_per_s": self.steps_per_update / (time.perf_counter() - started_s),
        }
        sb3.logger.dump()
        return logs

    # -- inside: what SB3's `learn` does between two trials ------------------------------------
    def _set_progress(self, updates_done: int) -> None:
        """Where SB3's schedules stand: 1 at the first update, so that the last is not idle."""
        self._sb3._update_current_progress_remaining(updates_done, self.n_updates)

    def _learn_on_policy(self, sb3: OnPolicyAlgorithm) -> None:
        sb3.collect_rollouts(self._students, self._callback, sb3.rollout_buffer, sb3.n_steps)
        sb3.train()

    def _learn_off_policy(self, sb3: DQN) -> None:
        assert isinstance(sb3.train_freq, TrainFreq)
        assert sb3.replay_buffer is not None
        sb3.action_space.seed(int(np.random.randint(2**31)))  # noqa: NPY002
        sb3.exploration_rate = sb3.exploration_schedule(sb3._current_progress_remaining)
        sb3.collect_rollouts(
            self._students,
            self._callback,
            sb3.train_freq,
            sb3.replay_buffer,
            learning_starts=sb3.learning_starts,
        )
        self._set_progress(self.updates_done)
        if sb3.num_timesteps > sb3.learning_starts:
            sb3.train(sb3.gradient_steps, sb3.batch_size)

    def _set_replay_position(self, sb3: DQN) -> None:
        """Every step of a batch has written one row."""
        buffer = sb3.replay_buffer
        assert buffer is not None
        buffer.pos = sb3._n_calls % buffer.buffer_size
        buffer.full = sb3._n_calls >= buffer.buffer_size

    def _replayed(self) -> dict[str, NDArray[Any]]:
        """The rows of the replay buffer that are in use (views), by name; none without a buffer."""
        buffer = self._sb3.replay_buffer if isinstance(self._sb3, DQN) else None
        if not isinstance(buffer, ReplayBuffer):
            return {}
        return {name: getattr(buffer, name)[: buffer.size()] for name in _REPLAYED}
