"""Mixed behaviour: each trial is taught by the student policy, by its teacher, or at random.

The student's own trials show it the situations that its own mistakes lead to (DAgger: Ross, Gordon
& Bagnell 2011, AISTATS); the teacher's, those of a good lesson from the first update on; random
ones, everything else. The labels are the teacher's in all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.distill.config import Behaviour
from tutor_agents.distill.teacher import TIE, Teacher
from tutor_agents.engine.frozen import frozen
from tutor_agents.engine.networks import Inputs, Policy
from tutor_agents.memories import MemoryState
from tutor_envs.classroom import Observation
from tutor_envs.rng import Purpose, uniforms

STUDENT, TEACHER, RANDOM = 0, 1, 2
_DRAW_LESSON = 2
"""The address of the draw of who teaches; lesson 1 of this purpose shuffles minibatches."""


def who_teaches(seed: int, students: Tensor, behaviour: Behaviour) -> Tensor:
    """``STUDENT``, ``TEACHER`` or ``RANDOM`` for each trial, int64 ``(n,)``, drawn by the seed."""
    u = uniforms(seed, students, purpose=Purpose.TRAINING, n_lanes=1, lesson=_DRAW_LESSON)
    shares = torch.tensor([behaviour.student, behaviour.teacher], device=u.device)
    return (u >= shares.cumsum(0)).sum(-1)


class MixedBehaviour:
    """What acts in a rollout, a :class:`tutor_agents.engine.networks.Policy`; asks for labels.

    For one rollout: the teacher follows what is taught, one call of ``encode`` after the other.
    """

    def __init__(self, actor: Policy, teacher: Teacher, who: Tensor, students: Tensor) -> None:
        """Teach trials with these students.

        Args:
            actor: the student policy.
            teacher: labels, and teaches its share.
            who: int64 ``(n,)``, see ``who_teaches``.
            students: int64 ``(n,)`` indices.
        """
        self._actor, self._teacher, self._who = frozen(actor), teacher, who.unsqueeze(-1)
        self.shape = actor.shape
        self._losses: list[Tensor] = []
        teacher.begin_trial(students)

    @property
    def losses(self) -> Tensor:
        """``(T, N, A)`` what each action loses by the teacher; see :class:`.teacher.Teacher`."""
        return torch.stack(self._losses)

    def encode(self, observation: Observation) -> Inputs:
        """The actor's inputs of one step, and the teacher's word on it."""
        if self._losses:
            self._teacher.observe(observation.action, observation)
        self._losses.append(self._teacher.losses(observation))
        return self._actor.encode(observation)

    def begin(self, n_students: int) -> MemoryState:
        """Empty memories of the actor."""
        return self._actor.begin(n_students)

    def step(
        self, inputs: Inputs, t: int, state: MemoryState
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """As the actor's, with the logits of whoever teaches the trial."""
        hidden, logits, state = self._actor.step(inputs, t, state)
        best = torch.where(self._losses[t] < TIE, 0.0, -1e9).to(logits.dtype)
        logits = torch.where(self._who == TEACHER, best, logits)
        logits = torch.where(self._who == RANDOM, torch.zeros_like(logits), logits)
        return hidden, logits, state

    def sequence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The actor's own answers for whole trials."""
        return self._actor.sequence(inputs)
