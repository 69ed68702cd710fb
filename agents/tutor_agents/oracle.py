"""Oracle: knows the latents and the knowledge state, and takes the largest expected gain.

An *informed* reference, never a fair competitor: it reads the classroom's ``truth`` before every
action. It is greedy, so a tutor that plans could beat it where a step must be sacrificed; where
gains only build up (BKT without prerequisites, the style bandit) greedy with full knowledge is
as good as it gets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import best_legal
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation


class OracleTutor:
    """Greedy on the true expected gain; implements :class:`tutor_agents.tutor.Oracle`."""

    name = "oracle"

    def __init__(self) -> None:
        """An oracle knows nothing until it is informed."""
        self._classroom: Classroom | None = None

    def inform(self, classroom: Classroom) -> None:
        """The classroom whose ``truth`` will be read."""
        self._classroom = classroom

    def begin_trial(self, trial: Trial) -> None:
        """Nothing to forget: the truth is read anew before every action.

        Raises:
            RuntimeError: ``inform`` was not called.
        """
        if self._classroom is None:
            raise RuntimeError("an oracle needs `inform(classroom)` before `begin_trial`")

    def act(self, observation: Observation) -> Tensor:
        """The legal action with the largest true expected gain, int64 ``(n,)``."""
        assert self._classroom is not None
        model, truth = self._classroom.model, self._classroom.truth
        gains = [
            model.expected_gain(
                truth.latents, truth.state, torch.full_like(observation.action, action)
            )
            for action in range(model.n_actions)
        ]
        return best_legal(torch.stack(gains, dim=-1), observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing to learn."""
