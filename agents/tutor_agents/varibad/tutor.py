"""A trained belief and policy as tutors, deployed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tutor_agents.engine.networks import ActorShape
from tutor_agents.engine.ppo import masked_logits
from tutor_agents.exported import describe
from tutor_agents.tutor import Trial
from tutor_agents.varibad.given import GivenBeliefPolicy, LatentsSource
from tutor_agents.varibad.networks import BeliefPolicy, ProfileHead
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.student import StudentModel

KIND = "varibad"
"""Of the exported tutor."""


class Profile(NamedTuple):
    """Who the students are, as far as the tutor can tell; n students.

    Attributes:
        names: of the L latents that vary in the population, ``responsiveness[1]`` for a part.
        mean: ``(n, L)``, in the units of the student model.
        sd: ``(n, L)``, how uncertain that is (one standard deviation).
        p_type: ``(n, types)``, probability of each type of the population.
    """

    names: tuple[str, ...]
    mean: Tensor
    sd: Tensor
    p_type: Tensor


class VariBADTutor:
    """Teaches greedily on its belief, and tells what it believes."""

    def __init__(
        self,
        policy: BeliefPolicy,
        profile: ProfileHead,
        latent_names: Sequence[str],
        model: StudentModel | None = None,
    ) -> None:
        """A live view of the networks; ``model`` only lends the names of actions and responses."""
        self.name = "varibad"
        self.policy, self.profile_head = policy, profile
        self._names, self._model = tuple(latent_names), model

    def begin_trial(self, trial: Trial) -> None:
        """Forget everything."""
        self._state = self.policy.begin(len(trial.students))

    @torch.no_grad()
    def act(self, observation: Observation) -> Tensor:
        """Take in what came of the last action, then choose the best next one."""
        inputs = self.policy.encode(observation)
        self._t = self.policy.shape.clock(observation)
        _, logits, self._state = self.policy.step(inputs, self._t, self._state)
        return masked_logits(logits, observation.legal).argmax(-1)

    @torch.no_grad()
    def observe(self, action: Tensor, observation: Observation) -> None:
        """Take in the trial's last outcome; any other enters the belief with the next action."""
        shape = self.policy.shape
        if observation.lesson == shape.n_lessons:
            inputs = self.policy.encode(observation)
            self._t = shape.n_trial_steps
            self._state = self.policy.believe(inputs, self._t, self._state)

    def memory(self) -> Tensor:
        """Mean and log-variance of the belief, ``(n, 2 L)``; after ``act``, of all answers."""
        return self._state["belief"]

    @torch.no_grad()
    def profile(self) -> Profile:
        """Who the students are, from all that was taken in so far in this trial.

        Raises:
            RuntimeError: nothing was taken in yet.
        """
        if "belief" not in getattr(self, "_state", {}):
            raise RuntimeError("`profile` needs an observation: call `act` first")
        head = self.profile_head
        belief = self._state["belief"]
        elapsed = belief.new_tensor([self._t / self.policy.shape.n_trial_steps])
        mean, logvar, type_logits = head(belief, elapsed)
        return Profile(
            names=self._names,
            mean=mean * head.sd + head.mean,
            sd=(0.5 * logvar).exp() * head.sd,
            p_type=type_logits.softmax(-1),
        )

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tutor to take away; see :func:`tutor_agents.exported.describe`."""
        description = describe(KIND, self.name, self._model) | {
            "belief": "learned",
            "shape": self.policy.shape.model_dump(),
            "belief_size": self.policy.encoder.belief_size,
            "n_types": self.profile_head.n_types,
            "latents": list(self._names),
        }
        return _weights(nn.ModuleDict({"policy": self.policy, "profile": self.profile_head})), (
            description
        )


class PosteriorTutor:
    """An ablation: the policy reads the exact posterior over types, computed from the answers."""

    def __init__(self, policy: GivenBeliefPolicy, name: str, model: StudentModel) -> None:
        """A live view of the policy's networks; its source is this tutor's own."""
        self.name = name
        self.policy, self._model = policy, model

    def begin_trial(self, trial: Trial) -> None:
        """Forget everything."""
        self._state = self.policy.begin(len(trial.students))

    @torch.no_grad()
    def act(self, observation: Observation) -> Tensor:
        """Take in what came of the last action, then choose the best next one."""
        inputs = self.policy.encode(observation)
        t = self.policy.shape.clock(observation)
        _, logits, self._state = self.policy.step(inputs, t, self._state)
        return masked_logits(logits, observation.legal).argmax(-1)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing: the outcome enters the belief with the next observation."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The weights, for the record: ``rebuild`` refuses, since the belief is not among them."""
        return _weights(self.policy.actor), describe(KIND, self.name, self._model) | {
            "belief": self.name
        }


class LatentsTutor(PosteriorTutor):
    """An oracle: the policy reads the true latents of the classroom that it is informed of."""

    def inform(self, classroom: Classroom) -> None:
        """The classroom whose ``truth`` will be read."""
        source = self.policy.source
        assert isinstance(source, LatentsSource)
        source.classroom = classroom


def _weights(networks: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in networks.state_dict().items()}


def rebuild(
    description: Mapping[str, Any], weights: dict[str, Tensor], device: torch.device | str
) -> VariBADTutor:
    """The tutor that ``VariBADTutor.export`` wrote.

    Raises:
        ValueError: the description is wrong, or of an ablation, which is more than its weights.
        RuntimeError: the weights do not fit it.
    """
    if description.get("belief") != "learned":
        raise ValueError(
            "only a learned belief can be taken away: "
            f"`belief` must be 'learned', got {description.get('belief')!r}"
        )
    names = tuple(str(name) for name in description.get("latents", ()))
    size, n_types = int(description.get("belief_size", 0)), int(description.get("n_types", 0))
    policy = BeliefPolicy(ActorShape.model_validate(description.get("shape")), size)
    zeros = torch.zeros(len(names))
    profile = ProfileHead(size, n_types, zeros, zeros.clone())
    networks = nn.ModuleDict({"policy": policy, "profile": profile})
    networks.load_state_dict(weights)
    networks.to(device)
    return VariBADTutor(policy, profile, names)
