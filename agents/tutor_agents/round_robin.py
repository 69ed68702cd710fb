"""Round-robin: every practice in turn."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tutor_agents.choice import first_legal, tutor_uniforms
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel


class RoundRobinTutor:
    """Cycles through the actions that teach a skill, and goes on where it was at a new lesson.

    ``order: index`` takes the actions by index (for built-in models: skill by skill, and within a
    skill modality by modality); ``order: random`` draws a permutation for each student and trial.
    An action that is not legal is skipped: the next legal one in the cycle is taken, and the cycle
    goes on from there. Actions without a skill (a questionnaire) are taken only where nothing else
    is legal.
    """

    name = "round_robin"

    def __init__(
        self,
        model: StudentModel,
        *,
        order: Literal["index", "random"] = "index",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model in this order."""
        self._order = order
        taught = torch.tensor([bool(action.skill) for action in model.actions], device=device)
        self._in_cycle = taught if bool(taught.any()) else torch.ones_like(taught)
        self._length = int(self._in_cycle.sum())

    def begin_trial(self, trial: Trial) -> None:
        """Start the cycle, drawing its order if it is random."""
        n_actions, device = len(self._in_cycle), self._in_cycle.device
        if self._order == "random":
            key = tutor_uniforms(trial, n_lanes=n_actions).to(device)
        else:
            key = torch.arange(n_actions, device=device).expand(len(trial.students), -1) / n_actions
        key = torch.where(self._in_cycle, key, 2.0)
        self._place = key.argsort(dim=-1, stable=True).argsort(dim=-1)
        self._next = torch.zeros(len(trial.students), dtype=torch.int64, device=device)

    def act(self, observation: Observation) -> Tensor:
        """The next legal action of the cycle for each student, int64 ``(n,)``."""
        ahead = (self._place - self._next.unsqueeze(-1)).remainder(self._length)
        return first_legal(torch.where(self._in_cycle, ahead, self._place), observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Go on after ``action``."""
        after = self._place.gather(-1, action.unsqueeze(-1)).squeeze(-1) + 1
        self._next = torch.where(self._in_cycle[action], after, self._next)
