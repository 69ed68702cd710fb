"""Thompson sampling: act as if the student were of a type drawn from the posterior.

Thompson (1933), Biometrika 25(3/4). A new type is drawn at *every* step (not once a lesson), and
the action is the one with the largest expected gain of the post-test for that type, given what a
student of that type would know by now: one step ahead, no planning.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import best_legal, tutor_uniforms
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import StudentModel


class ThompsonTutor:
    """Posterior sampling over student types; see the module's text."""

    name = "thompson"

    def __init__(
        self, model: StudentModel, types: FiniteTypes, *, device: torch.device | str = "cpu"
    ) -> None:
        """Teach students of this model who may be of these types."""
        self._posterior = TypePosterior(model, types, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        self._trial = trial
        self._posterior.begin_trial(len(trial.students))

    def act(self, observation: Observation) -> Tensor:
        """The best action for a type drawn from the posterior, int64 ``(n,)``."""
        u = tutor_uniforms(
            self._trial, n_lanes=1, lesson=observation.lesson, step=observation.step
        ).squeeze(-1)
        kind = self._posterior.draw(u)
        return best_legal(self._posterior.gains_of(kind), observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Update the posterior."""
        self._posterior.observe(action, observation)
