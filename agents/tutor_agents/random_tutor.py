"""Random: every legal action is equally likely. The floor that every tutor must beat."""

from __future__ import annotations

from torch import Tensor

from tutor_agents.choice import tutor_uniforms, uniform_legal
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel


class RandomTutor:
    """Uniform over the legal actions; a draw depends on seed, student, trial, lesson and step."""

    name = "random"

    def __init__(self, model: StudentModel) -> None:
        """Teach students of this model."""
        self._n_actions = model.n_actions

    def begin_trial(self, trial: Trial) -> None:
        """Keep the address of the draws."""
        self._trial = trial

    def act(self, observation: Observation) -> Tensor:
        """One legal action for each student, int64 ``(n,)``."""
        u = tutor_uniforms(
            self._trial, n_lanes=1, lesson=observation.lesson, step=observation.step
        ).squeeze(-1)
        return uniform_legal(u.to(observation.action.device), observation.legal, self._n_actions)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing is learned."""
