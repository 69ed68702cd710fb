"""What the peers share: the constants of the benchmarks' family, and the settings of training.

The constants are those of ../large_family/ten_skills.py, written again: a peer shares no code.
"""

from __future__ import annotations

from typing import NamedTuple

K, M = 10, 4
"""Skills and modalities."""
P_INIT, DIFFICULTY_SD, P_SLIP, P_GUESS, P_FORGET = 0.15, 0.5, 0.1, 0.2, 0.005


class Settings(NamedTuple):
    """Of whole trials of new students, and of the passes of PPO over them."""

    n_students: int
    n_lessons: int
    n_steps: int
    hidden_size: int
    epochs: int
    minibatches: int
    learning_rate: float
    discount: float
    gae_lambda: float
    entropy_weight: float

    @property
    def n_trial_steps(self) -> int:
        """Actions of a trial."""
        return self.n_lessons * self.n_steps
