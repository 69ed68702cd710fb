"""The training of Stable-Baselines3's algorithms: whole trials with new students, as SB3 learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq
from torch import Tensor, nn

from tutor_agents.engine.config import PPOConfig
from tutor_agents.engine.saved_state import Optimizers
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_agents.engine.update import training_task
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
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_envs.vector_env import TutoringVectorEnv

_REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones")


class TrainingStudents(NativeVecEnv):
    """The students of any update, who are followed by those of the next."""

    def begin_update(self, students: Tensor) -> NDArray[np.float32]:
        """Begin a trial with these students, int64 ``(N,)``; their first observations."""
        self._taught = students.cpu()
        self.set_options({"students": self._taught.numpy()})
        return self.reset()

    def _next_trial(self) -> NDArray[np.float32]:
        return self.begin_update(self._taught + self.num_envs)


class SB3Learner(TrialLearner):
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
        super().__init__(config, population, task, seed=seed, device=device)
        self.config = config
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
        replayed = {
            f"replay.{name}": torch.from_numpy(rows) for name, rows in self._replayed().items()
        }
        return super().tensors() | replayed

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        return {"updates_done": self.updates_done, "sb3_n_updates": self._sb3._n_updates}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken.

        Raises:
            ValueError: they belong to another network.
        """
        super().restore(tensors, counters)
        self._sb3._n_updates = counters["sb3_n_updates"]
        self._sb3.num_timesteps = self.updates_done * self.steps_per_update
        if isinstance(self._sb3, DQN):
            self._sb3._n_calls = self.updates_done * self.task.n_trial_steps
            self._set_replay_position(self._sb3)
            for name, rows in self._replayed().items():
                rows[:] = tensors[f"replay.{name}"].numpy()

    def _saved(self) -> tuple[nn.Module, Optimizers]:
        return self._sb3.policy, {"optimizer": self._sb3.policy.optimizer}

    # -- one update ---------------------------------------------------------------------------
    def _learn_from(self, students: Tensor) -> dict[str, float]:
        sb3, n_trials = self._sb3, self.config.n_trials
        with lent_generators(self.seed, self.updates_done + 1, self.device):
            self._set_progress(self.updates_done)
            sb3._last_obs = self._students.begin_update(students)
            sb3._last_episode_starts = np.ones(n_trials, dtype=np.bool_)
            if isinstance(sb3, DQN):
                self._learn_off_policy(sb3)
            else:
                self._learn_on_policy(sb3)
        assert sb3.ep_info_buffer is not None
        logs = {
            "train/return": float(np.mean([trial["r"] for trial in sb3.ep_info_buffer])),
            **{f"sb3/{name}": float(x) for name, x in sb3.logger.name_to_value.items()},
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
