"""Acting with weights that stay as they are: what depends on them alone is computed once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tutor_agents.engine.networks import Actor, ActorShape, Inputs, Policy
from tutor_agents.memories import MemoryState
from tutor_agents.memories.gru import GRUMemory
from tutor_agents.memories.gru_kernel import FrozenGRU
from tutor_envs.classroom import Observation


def frozen(policy: Policy) -> Policy:
    """A policy that acts as this one does now, and faster where there is a way; no gradients."""
    return FrozenActor(policy) if isinstance(policy, Actor) else policy


class FrozenActor:
    """An actor, step by step; see :class:`tutor_agents.engine.networks.Policy`."""

    @torch.no_grad()
    def __init__(self, actor: Actor) -> None:
        """The actor must not be trained as long as this one acts for it."""
        self.shape: ActorShape = actor.shape
        self._actor = actor
        hidden_layer, self._out = actor.head[0], actor.head[-1]
        assert isinstance(hidden_layer, nn.Linear)
        table, clock = actor.inputs.token.weight, actor.inputs.clock.weight
        of_hidden, of_clock = hidden_layer.weight.chunk(2, dim=1)
        self._of_hidden = of_hidden.t()
        self._of_clock = linear(clock, of_clock, hidden_layer.bias)
        is_lookup = actor.inputs.score is None and actor.inputs.signals is None
        self._gru: FrozenGRU | None = None
        if is_lookup and isinstance(actor.memory, GRUMemory):
            self._gru = FrozenGRU.of(actor.memory.gru, table, clock)

    def encode(self, observation: Observation) -> Inputs:
        """The inputs of one step."""
        return self._actor.encode(observation)

    def begin(self, n_students: int) -> MemoryState:
        """Empty memories."""
        return self._actor.begin(n_students)

    @torch.no_grad()
    def step(
        self, inputs: Inputs, t: int, state: MemoryState
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step of acting."""
        if self._gru is None:
            x = self._actor.inputs(inputs, self._actor.inputs.clock.weight[t]).dense()
            hidden, state = self._actor.memory.step(x, state)
        else:
            hidden = self._gru.step(inputs.token, t, state["hidden"])
            state = {"hidden": hidden}
        mixed = torch.addmm(self._of_clock[t], hidden, self._of_hidden).tanh_()
        return hidden, self._out(mixed), state

    def sequence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """A whole trial at once."""
        return self._actor.sequence(inputs)
