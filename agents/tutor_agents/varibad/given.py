"""What is believed of the students, handed to the policy instead of being learnt: the ablations.

Both sources hold what an exact observer knows: who the student is (the true latents, or the
posterior over types), and how much such a student is expected to know by now.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from tutor_agents.engine.networks import ActorShape, Inputs
from tutor_agents.engine.privileged import Privileged
from tutor_agents.memories import MemoryState
from tutor_agents.type_posterior import TypePosterior, types_of
from tutor_agents.varibad.networks import BeliefActor
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population
from tutor_envs.student import Belief, Latents, StudentModel

_N_SAMPLED_TYPES = 128


class BeliefSource(Protocol):
    """Tells what is believed, step by step, of a batch of students."""

    @property
    def n_belief(self) -> int:
        """B, how many numbers say what is believed."""
        ...

    def begin(self, n_students: int) -> None:
        """Meet new students."""
        ...

    def believe(self, observation: Observation) -> Tensor:
        """``(n, B)`` after one more observation; called once for each, in order."""
        ...


class PosteriorSource:
    """The exact posterior over types, and the expected mastery; from answers alone."""

    def __init__(self, population: Population, seed: int, device: torch.device) -> None:
        """A continuous population is represented by a sample of its students."""
        self._model = population.student_model
        types = types_of(population, seed, _N_SAMPLED_TYPES)
        self._posterior = TypePosterior(self._model, types, device=device)
        self.n_belief = self._posterior.n_types + len(self._model.skills)

    def begin(self, n_students: int) -> None:
        """The prior."""
        self._posterior.begin_trial(n_students)
        self._has_begun = False

    def believe(self, observation: Observation) -> Tensor:
        """Weights of the types, expected mastery of each skill."""
        if self._has_begun:
            self._posterior.observe(observation.action, observation)
        self._has_begun = True
        mastery = self._posterior.mastery()
        return torch.cat([self._posterior.weights.to(mastery), mastery], dim=-1).float()


class LatentsSource:
    """The true latents, and the expected mastery given them: an oracle of who, not of how much."""

    def __init__(self, privileged: Privileged, classroom: Classroom) -> None:
        """``classroom`` is where the truth is read."""
        self._privileged, self.classroom = privileged, classroom
        model = classroom.model
        self.n_belief = privileged.n_latents + privileged.n_types + len(model.skills)

    def begin(self, n_students: int) -> None:
        """Nothing is known of what they know before the first observation."""

    def believe(self, observation: Observation) -> Tensor:
        """Standardised latents, type, expected mastery of each skill."""
        truth, model = self.classroom.truth, self.classroom.model
        latents = truth.latents
        if observation.step == 0:
            self._belief = model.begin_belief(latents)
        else:
            self._belief = _after(model, latents, self._belief, observation)
        kind = nn.functional.one_hot(latents["type"], self._privileged.n_types)
        known = [self._privileged.latents(truth), kind, model.belief_mastery(latents, self._belief)]
        return torch.cat([value.float() for value in known], dim=-1)


def _after(
    model: StudentModel, latents: Latents, belief: Belief, observation: Observation
) -> Belief:
    """The belief after an answer; where there was none, the one before."""
    answered = observation.response < model.n_responses
    response = observation.response.clamp(max=model.n_responses - 1)
    after = model.update(latents, belief, observation.action, response)
    return {
        name: torch.where(answered.view(-1, *[1] * (value.dim() - 1)), value, belief[name])
        for name, value in after.items()
    }


class GivenBeliefPolicy:
    """The actor of VariBAD on a belief from elsewhere; a policy of the engine.

    The belief travels behind the signals of the inputs, so that training sees what acting saw.
    """

    def __init__(self, shape: ActorShape, actor: BeliefActor, source: BeliefSource) -> None:
        """``actor`` takes ``source.n_belief`` numbers."""
        self.shape, self.actor, self.source = shape, actor, source

    def encode(self, observation: Observation) -> Inputs:
        """The inputs of one step, with what is believed now."""
        inputs = self.actor.inputs.encode(observation)
        belief = self.source.believe(observation)
        if inputs.signals is not None:
            belief = torch.cat([inputs.signals.to(belief), belief], dim=-1)
        return inputs._replace(signals=belief)

    def begin(self, n_students: int) -> MemoryState:
        """Empty grade books; the source meets new students."""
        self.source.begin(n_students)
        return {"book": self.actor.begin(n_students)}

    def step(
        self, inputs: Inputs, t: int, state: MemoryState
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step of acting."""
        belief = self.beliefs(inputs)
        hidden, logits, book = self.actor.step(self.observed(inputs), t, state["book"], belief)
        return hidden, logits, {"book": book}

    def sequence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """A whole trial at once."""
        return self.actor.sequence(self.observed(inputs), self.beliefs(inputs))

    def beliefs(self, inputs: Inputs) -> Tensor:
        """What was believed before each action, ``(..., B)``."""
        assert inputs.signals is not None
        return inputs.signals[..., self.shape.n_signals :]

    def observed(self, inputs: Inputs) -> Inputs:
        """The inputs without the belief."""
        assert inputs.signals is not None
        n_signals = self.shape.n_signals
        return inputs._replace(signals=inputs.signals[..., :n_signals] if n_signals else None)
