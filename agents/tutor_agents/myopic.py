"""Myopic: the largest expected gain of the post-test by the very next action.

``argmax_a sum_z w_z gain(z, b_z, a)``, the posterior mean over student types z with weights ``w_z``
and beliefs ``b_z`` (:mod:`tutor_agents.type_posterior`). It exploits all that is known and never
pays for information.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import best_legal
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import StudentModel


class MyopicTutor:
    """One-step lookahead on the exact belief; see the module's text."""

    name = "myopic"

    def __init__(
        self, model: StudentModel, types: FiniteTypes, *, device: torch.device | str = "cpu"
    ) -> None:
        """Teach students of this model who may be of these types."""
        self._posterior = TypePosterior(model, types, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        self._posterior.begin_trial(len(trial.students))

    def act(self, observation: Observation) -> Tensor:
        """The legal action with the largest expected gain, int64 ``(n,)``."""
        return best_legal(self.gains(), observation.legal)

    def gains(self) -> Tensor:
        """The expected gain of every action now, ``(n, A)``."""
        return self._posterior.gains()

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Update the posterior."""
        self._posterior.observe(action, observation)
