"""Oracle: knows the latents and the knowledge state, and takes the largest expected gain.

An *informed* reference, never a fair competitor: it reads the classroom's ``truth`` before every
action. It is greedy, so a tutor that plans could beat it where a step must be sacrificed; where
gains only build up (BKT without prerequisites, the style bandit) greedy with full knowledge is
as good as it gets. Where a student model has no exact expected gain, the gain is the mean over the
same 16 draws of luck for every action and student.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import best_legal
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation, Truth
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import StudentModel

_N_DRAWS = 16


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
        return best_legal(self.gains(), observation.legal)

    def gains(self) -> Tensor:
        """The true expected gain of every action now, ``(n, A)``."""
        assert self._classroom is not None
        model, truth = self._classroom.model, self._classroom.truth
        gain = _expected_gain if model.has_expected_gain else _mean_gain
        n = len(truth.post_test)
        actions = torch.arange(model.n_actions, device=truth.post_test.device)
        return torch.stack([gain(model, truth, action.expand(n)) for action in actions], dim=-1)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing to learn."""


def _expected_gain(model: StudentModel, truth: Truth, action: Tensor) -> Tensor:
    return model.expected_gain(truth.latents, truth.state, action)


def _mean_gain(model: StudentModel, truth: Truth, action: Tensor) -> Tensor:
    draws = torch.arange(_N_DRAWS, device=action.device)
    luck = uniforms(0, draws, purpose=Purpose.TUTOR, n_lanes=model.n_step_uniforms)
    score = torch.zeros_like(truth.post_test)
    for u in luck.to(score.dtype):
        state, _ = model.step(truth.latents, truth.state, action, u.expand(len(action), -1))
        score = score + model.post_test(truth.latents, state)
    return score / _N_DRAWS - truth.post_test
