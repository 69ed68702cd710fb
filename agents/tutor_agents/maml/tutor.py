"""A tutor that adapts to its student by gradient steps, deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tutor_agents.choice import tutor_uniforms
from tutor_agents.engine.rollout import sample_action
from tutor_agents.exported import describe
from tutor_agents.maml.networks import AdaptiveNetworks, GradientShape
from tutor_agents.maml.session import Session
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel

KIND = "gradient"
"""Of the exported tutor."""


class MAMLTutor:
    """After each adapting lesson takes a gradient step for each student.

    A step that was trained on drawn actions needs drawn actions, so a tutor that ``explores`` draws
    them in the lessons to which it will adapt. Elsewhere it takes the most likely one.
    """

    def __init__(
        self,
        networks: AdaptiveNetworks,
        name: str,
        model: StudentModel | None = None,
        *,
        adapts: bool = True,
    ) -> None:
        """A live view of ``networks``.

        Args:
            networks: what was trained.
            name: of the tutor; ``_unadapted`` is added where it does not adapt.
            model: only lends the names of actions and responses.
            adapts: False teaches every lesson with the weights of the first, greedily, to measure
                what adaptation is worth on the same students.
        """
        self.name = name if adapts else f"{name}_unadapted"
        self.networks = networks
        self._model = model
        self._adapts = adapts

    def unadapted(self) -> MAMLTutor:
        """The same tutor, which teaches every lesson as it teaches the first."""
        return MAMLTutor(self.networks, self.name, self._model, adapts=False)

    def begin_trial(self, trial: Trial) -> None:
        """Forget every student; begin with the common weights."""
        self._trial = trial
        self._session = Session(self.networks, len(trial.students), adapts=self._adapts)

    def act(self, observation: Observation) -> Tensor:
        """An action of each student's own policy."""
        shape, logits = self.networks.shape, self._session.logits(observation)
        if not (self._adapts and shape.explores and observation.lesson < shape.n_adapting):
            return logits.argmax(-1)
        u = tutor_uniforms(self._trial, n_lanes=1, lesson=observation.lesson, step=observation.step)
        return sample_action(torch.log_softmax(logits, dim=-1), u)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Keep the step; at the end of an adapting lesson, adapt."""
        self._session.observe(action, observation)

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tutor to take away; see :func:`tutor_agents.exported.describe`."""
        description = describe(KIND, self.name, self._model)
        description["shape"] = self.networks.shape.model_dump()
        weights = self.networks.state_dict()
        return {k: v.detach().cpu().contiguous() for k, v in weights.items()}, description


def rebuild(
    description: Mapping[str, Any], weights: dict[str, Tensor], device: torch.device | str
) -> MAMLTutor:
    """The tutor that ``MAMLTutor.export`` wrote.

    Raises:
        ValueError: the description is wrong.
        RuntimeError: the weights do not fit it.
    """
    networks = AdaptiveNetworks(GradientShape.model_validate(description.get("shape")))
    networks.load_state_dict(weights)
    return MAMLTutor(networks.to(device), str(description.get("tutor")))
