"""RL² as a tutor: the trained actor, deployed."""

from __future__ import annotations

import torch
from torch import Tensor
from tutor_envs.classroom import Observation

from tutor_agents.rl2.networks import Actor
from tutor_agents.rl2.ppo import masked_logits
from tutor_agents.tutor import Trial


class RL2Tutor:
    """Teaches greedily by what its memory holds of the student."""

    name = "rl2"

    def __init__(self, actor: Actor) -> None:
        """A live view: later changes of the actor's weights are seen."""
        self._actor = actor

    def begin_trial(self, trial: Trial) -> None:
        """Forget everything."""
        device = next(self._actor.parameters()).device
        self._memory = torch.zeros(1, len(trial.students), self._actor.hidden_size, device=device)

    @torch.no_grad()
    def act(self, observation: Observation) -> Tensor:
        """Take in what came of the last action, then choose the best next one."""
        token = self._actor.encode(observation).unsqueeze(0)
        index = self._actor.clock_index(observation.lesson, observation.step)
        clock = torch.tensor([index], device=token.device)
        score = None if observation.score is None else observation.score.unsqueeze(0)
        hidden, self._memory = self._actor.remember(token, clock, score, self._memory)
        logits = self._actor.logits(hidden, clock)[0]
        return masked_logits(logits, observation.legal).argmax(-1)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing: the outcome enters the memory with the next observation."""
