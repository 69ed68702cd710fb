"""A Bernoulli bandit as any Gymnasium environment: door 3. It knows nothing of this project.

``reset(seed=...)`` draws the hidden success probability of each arm; the same seed is the same
bandit again. The observation is the outcome of the last pull.
"""

import gymnasium
import numpy as np


class Bandit(gymnasium.Env):
    """Arms with hidden success probabilities, uniform on [0, 1]; a success pays 1."""

    def __init__(self, n_arms: int = 5, n_pulls: int = 10) -> None:
        self.action_space = gymnasium.spaces.Discrete(n_arms)
        self.observation_space = gymnasium.spaces.Discrete(2)
        self.action_names = [f"arm_{i}" for i in range(n_arms)]
        self.n_pulls = n_pulls

    def reset(self, *, seed=None, options=None):
        """Draw the arms."""
        super().reset(seed=seed)
        self.p_success = self.np_random.random(self.action_space.n)
        # The bandit is a function of the seed; its luck is that of the lesson.
        lesson = (options or {}).get("lesson", 0)
        self.luck = np.random.default_rng([1 + lesson, seed or 0])
        self.n_done = 0
        return 0, {}

    def step(self, action):
        """Pull an arm."""
        success = int(self.luck.random() < self.p_success[action])
        self.n_done += 1
        return success, float(success), self.n_done >= self.n_pulls, False, {}
