"""One student of the benchmarks' family as an ordinary Gymnasium environment, in plain Python.

Written as a user of Gymnasium would: floats and lists, no tensors, which is the fastest way for
one student. The equations are those of ../large_family/ten_skills.py. An observation is the one-hot
last action (or pair of action and answer, ``joint``), the last answer, and the share of the lesson
that is over; a lesson's end is an observation like any other, a trial is an episode.
"""

from __future__ import annotations

import math
import random
from typing import Any

import gymnasium
import numpy as np
from family import DIFFICULTY_SD, P_FORGET, P_GUESS, P_INIT, P_SLIP, K, M
from numpy.typing import NDArray


class SingleStudent(gymnasium.Env[NDArray[np.float32], int]):
    """A trial with one student."""

    def __init__(self, n_lessons: int = 4, n_steps: int = 64, joint: bool = False) -> None:
        self._n_lessons, self._n_steps, self._joint = n_lessons, n_steps, joint
        self._width = K * M * (2 if joint else 1) + 2
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (self._width,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(K * M)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """A new student."""
        super().reset(seed=seed)
        if seed is not None or not hasattr(self, "_random"):
            self._random = random.Random(int(self.np_random.integers(2**31)))
        gauss = self._random.gauss
        taste = [math.exp(2 * gauss(0.0, 1.0)) for _ in range(M)]
        ability, total = gauss(0.0, 1.0), sum(taste)
        self._logit = [-3 + 0.8 * ability + 1.2 * (M * w / total - 1) for w in taste]
        self._lesson = 0
        self._begin_lesson()
        return np.zeros(self._width, np.float32), {}

    def _begin_lesson(self) -> None:
        draw = self._random.random
        self._mastered = [draw() < P_INIT for _ in range(K)]
        self._difficulty = [self._random.gauss(0.0, DIFFICULTY_SD) for _ in range(K)]
        self._step = 0

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One teaching action."""
        draw, mastered = self._random.random, self._mastered
        skill, modality = divmod(int(action), M)
        before = sum(mastered)
        if not mastered[skill]:
            p_learn = 1 / (1 + math.exp(self._difficulty[skill] - self._logit[modality]))
            mastered[skill] = draw() < p_learn
        correct = draw() < (1 - P_SLIP if mastered[skill] else P_GUESS)
        for k in range(K):
            if k != skill and mastered[k] and draw() < P_FORGET:
                mastered[k] = False
        reward = (sum(mastered) - before) / K
        self._step += 1
        if self._step == self._n_steps:
            self._lesson += 1
            self._begin_lesson()
        observation = np.zeros(self._width, np.float32)
        observation[int(action) * 2 + correct if self._joint else int(action)] = 1.0
        observation[-2], observation[-1] = correct, self._step / self._n_steps
        return observation, reward, self._lesson == self._n_lessons, False, {}
