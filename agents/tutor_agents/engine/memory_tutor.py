"""A trained memory and policy as a tutor, deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tutor_agents.engine.frozen import frozen
from tutor_agents.engine.networks import Actor, ActorShape, BeliefHead
from tutor_agents.engine.ppo import masked_logits
from tutor_agents.engine.skill_actor import SkillActor, make_actor
from tutor_agents.exported import describe
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel

KIND = "memory"
"""Of the exported tutor."""


class MemoryTutor:
    """Teaches greedily by what its memory holds of the student."""

    def __init__(
        self,
        actor: Actor | SkillActor,
        name: str,
        model: StudentModel | None = None,
        *,
        belief: BeliefHead | None = None,
    ) -> None:
        """A live view of ``actor``.

        Args:
            actor: what was trained.
            name: of the tutor.
            model: only lends the names of actions and responses.
            belief: the head that was trained beside the actor, if any; not taken away.
        """
        self.name = name
        self.actor = actor
        self._model = model
        self._belief = belief

    def begin_trial(self, trial: Trial) -> None:
        """Forget everything."""
        self._acting = frozen(self.actor)
        self._memory = self.actor.begin(len(trial.students))

    @torch.no_grad()
    def act(self, observation: Observation) -> Tensor:
        """Take in what came of the last action, then choose the best next one."""
        inputs = self.actor.encode(observation)
        t = self.actor.shape.clock(observation)
        self._hidden, logits, self._memory = self._acting.step(inputs, t, self._memory)
        return masked_logits(logits, observation.legal).argmax(-1)

    def memory(self) -> Tensor:
        """What the policy reads: the memory's output, and that of each skill where there are such.

        Returns:
            ``(n, H)``; after ``act``, of all answers so far.
        """
        skills = self._memory.get("skills")
        own = [] if skills is None else [skills.flatten(1)]
        return torch.cat([self._hidden, *own], dim=-1)

    @torch.no_grad()
    def p_responses(self) -> Tensor | None:
        """``(n, A, R)``, what the belief head expects of every action; None: there is none."""
        if self._belief is None:
            return None
        _, _, logits = self._belief(self._hidden)
        p: Tensor = logits.softmax(-1)
        return p

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing: the outcome enters the memory with the next observation."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tutor to take away; see :func:`tutor_agents.exported.describe`."""
        description = describe(KIND, self.name, self._model)
        description["shape"] = self.actor.shape.model_dump()
        weights = {k: v.detach().cpu().contiguous() for k, v in self.actor.state_dict().items()}
        return weights, description


def rebuild(
    description: Mapping[str, Any], weights: dict[str, Tensor], device: torch.device | str
) -> MemoryTutor:
    """The tutor that ``MemoryTutor.export`` wrote.

    Raises:
        ValueError: the description is wrong.
        RuntimeError: the weights do not fit it.
    """
    actor = make_actor(ActorShape.model_validate(description.get("shape")))
    actor.load_state_dict(weights)
    return MemoryTutor(actor.to(device), str(description.get("tutor")))
