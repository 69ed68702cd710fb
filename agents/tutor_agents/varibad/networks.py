"""The networks of VariBAD: encoder, decoder, profile head, and the policy on the belief.

Encoder, decoder and profile head are trained together; the policy reads the belief as numbers, so
that no gradient of reinforcement learning reaches the encoder. Deployed are encoder, policy and
profile head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutor_agents.engine.networks import ActorShape, InputEncoder, Inputs, initialise_head
from tutor_agents.memories import MemoryState, make_memory
from tutor_envs.classroom import Observation

_LOGVAR_RANGE = 8.0
"""Log-variances of a belief stay within this of 0: exp(-8) is certainty enough."""


def grade_book(inputs: Inputs, shape: ActorShape, book: Tensor, t: int) -> Tensor:
    """How often each action got each response in the lesson so far, one step further.

    Args:
        inputs: of step t.
        shape: of the actor.
        book: ``(N, A R)``, before step t.
        t: teaching actions of the trial so far.

    Returns:
        ``(N, A R)``, at index ``action * R + response``; zeros at a lesson's start.
    """
    if t % shape.n_steps == 0:
        return torch.zeros_like(book)
    return book + _last_entry(inputs.token, shape)


def grade_book_of_trial(inputs: Inputs, shape: ActorShape) -> Tensor:
    """The same for steps 0 to T - 1 at once, ``(T, N, A R)``."""
    book = _last_entry(inputs.token, shape).cumsum(0)
    t = torch.arange(len(book), device=book.device)
    return book - book[t - t % shape.n_steps]


def _last_entry(token: Tensor, shape: ActorShape) -> Tensor:
    """One-hot of the last action and its response; zeros at a trial's start or without one."""
    one_hot = nn.functional.one_hot(token, shape.n_actions * (shape.n_responses + 1) + 1)
    answered = one_hot[..., :-1].reshape(*token.shape, shape.n_actions, -1)[..., :-1]
    return answered.flatten(-2).float()


class Encoder(nn.Module):
    """The belief ``q_t(m)`` from the history: a memory over observations.

    It sees the trial's T + 1 observations, also the one after the last action.
    """

    def __init__(self, shape: ActorShape, belief_size: int) -> None:
        """``belief_size`` is L, the dimensions of m."""
        super().__init__()
        self.belief_size = belief_size
        moments = shape.n_trial_steps + 1
        width = shape.hidden_size
        self.inputs = InputEncoder(shape.model_copy(update={"n_lessons": 1, "n_steps": moments}))
        self.memory = make_memory(shape.memory, width, moments)
        self.head = nn.Linear(width, 2 * belief_size)

    def initialise(self) -> None:
        """Draw the initial weights; the first belief of everybody is near the prior."""
        self.inputs.initialise()
        self.memory.initialise()
        nn.init.orthogonal_(self.head.weight, gain=0.1)
        nn.init.zeros_(self.head.bias)

    def begin(self, n_students: int) -> MemoryState:
        """Empty memories."""
        return self.memory.begin(n_students)

    def step(self, inputs: Inputs, t: int, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """The belief ``(N, 2 L)`` after one more observation, and the memory that goes with it."""
        x = self.inputs(inputs, self.inputs.clock.weight[t]).dense()
        hidden, state = self.memory.step(x, state)
        return self._belief(hidden), state

    def sequence(self, inputs: Inputs) -> Tensor:
        """Beliefs ``(T', N, 2 L)`` after each of T' <= T + 1 observations: mean, log-variance."""
        clock = self.inputs.clock.weight[: len(inputs.token)].unsqueeze(1)
        return self._belief(self.memory.sequence_of(self.inputs(inputs, clock)))

    def _belief(self, hidden: Tensor) -> Tensor:
        mean, logvar = self.head(hidden).chunk(2, dim=-1)
        return torch.cat([mean, _LOGVAR_RANGE * torch.tanh(logvar / _LOGVAR_RANGE)], dim=-1)


class Decoder(nn.Module):
    """Answer and reward of every step of a trial, from samples of m.

    A step is known by its action, the clock, and how often each action was answered in the lesson
    before: a tutor that plays a lesson in its mind knows all three. It is not told what the
    answers were: that is for m to hold.
    """

    def __init__(self, shape: ActorShape, belief_size: int) -> None:
        """``belief_size`` is L, the dimensions of m."""
        super().__init__()
        self.shape = shape
        width = shape.hidden_size
        self.clock = nn.Embedding(shape.n_trial_steps, width)
        self.action = nn.Embedding(shape.n_actions, width)
        self.practice = nn.Linear(shape.n_actions, width, bias=False)
        self.sample = nn.Linear(belief_size, width)
        self.out = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.heads = nn.Parameter(torch.empty(shape.n_actions, width, shape.n_responses + 1))
        self.bias = nn.Parameter(torch.zeros(shape.n_actions, shape.n_responses + 1))

    def initialise(self) -> None:
        """Draw the initial weights."""
        nn.init.normal_(self.clock.weight, std=0.1)
        nn.init.normal_(self.action.weight, std=0.5)
        nn.init.normal_(self.heads, std=self.shape.hidden_size**-0.5)

    def forward(self, samples: Tensor, action: Tensor, book: Tensor) -> tuple[Tensor, Tensor]:
        """Decode whole trials.

        Args:
            samples: ``(S, N, L)`` of m.
            action: int64 ``(T, N)``.
            book: ``(T, N, A R)`` before each action; only its sums over responses are used.

        Returns:
            Logits of the answer ``(S, T, N, R)`` and standardised mean reward ``(S, T, N)``.
        """
        clock = self.clock.weight[: len(action)].unsqueeze(1)
        counts = book.reshape(*book.shape[:-1], self.shape.n_actions, -1).sum(-1)
        step = self.action(action) + clock + self.practice(counts.log1p())
        hidden = self.out(torch.tanh(self.sample(samples).unsqueeze(1) + step))
        out = torch.einsum("stnh,tnhr->stnr", hidden, self.heads[action]) + self.bias[action]
        return out[..., :-1], out[..., -1]


class ProfileHead(nn.Module):
    """The belief in the words of the student model: latents with their spread, and types.

    Attributes:
        mean: ``(n_latents,)`` of the latents in the population, to undo their standardisation.
        sd: ``(n_latents,)`` of the same.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, belief_size: int, n_types: int, mean: Tensor, sd: Tensor) -> None:
        """``mean`` and ``sd`` are those of the latents that vary, ``(n_latents,)`` each."""
        super().__init__()
        width = 64
        self.n_latents, self.n_types = len(mean), n_types
        self.body = nn.Sequential(nn.Linear(2 * belief_size + 1, width), nn.Tanh())
        self.out = nn.Linear(width, 2 * self.n_latents + n_types)
        self.register_buffer("mean", mean)
        self.register_buffer("sd", sd)

    def forward(self, belief: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised latents, mean and log-variance ``(..., n_latents)``, and type logits.

        Args:
            belief: ``(..., 2 L)``.
            elapsed: ``(..., 1)`` or what broadcasts to it: the share of the trial that is over.
        """
        elapsed = elapsed.expand(*belief.shape[:-1], 1)
        out = self.out(self.body(torch.cat([belief, elapsed], dim=-1)))
        n = self.n_latents
        return out[..., :n], out[..., n : 2 * n].clamp(-10, 10), out[..., 2 * n :]


class BeliefActor(nn.Module):
    """The policy, from the observation, this lesson's grade book, and the belief as numbers."""

    def __init__(self, shape: ActorShape, n_belief: int) -> None:
        """``n_belief`` numbers say what is believed."""
        super().__init__()
        self.shape = shape
        width = shape.hidden_size
        self.inputs = InputEncoder(shape)
        self.trunk = nn.Sequential(
            nn.Linear(width + shape.n_actions * shape.n_responses + n_belief, 2 * width),
            nn.Tanh(),
            nn.Linear(2 * width, width),
        )
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(width, shape.n_actions))

    def initialise(self) -> None:
        """Draw the initial weights; the policy starts near uniform."""
        self.inputs.initialise()
        initialise_head(self.trunk, gain=2**0.5)
        initialise_head(self.head, gain=0.01)

    def step(
        self, inputs: Inputs, t: int, book: Tensor, belief: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features ``(N, W)`` and action logits ``(N, A)`` of step t, and the new grade book."""
        book = grade_book(inputs, self.shape, book, t)
        return *self._act(inputs, self.inputs.clock.weight[t], book, belief), book

    def begin(self, n_students: int) -> Tensor:
        """Empty grade books."""
        n_entries = self.shape.n_actions * self.shape.n_responses
        return self.inputs.token.weight.new_zeros(n_students, n_entries)

    def sequence(self, inputs: Inputs, belief: Tensor) -> tuple[Tensor, Tensor]:
        """The same for a whole trial at once, ``(T, N, W)`` and ``(T, N, A)``."""
        clock = self.inputs.clock.weight[: len(inputs.token)].unsqueeze(1)
        return self._act(inputs, clock, grade_book_of_trial(inputs, self.shape), belief)

    def _act(
        self, inputs: Inputs, clock: Tensor, book: Tensor, belief: Tensor
    ) -> tuple[Tensor, Tensor]:
        """No gradient goes to the belief."""
        seen = self.inputs(inputs, clock).dense()
        hidden: Tensor = self.trunk(torch.cat([seen, book.log1p(), belief.detach()], dim=-1))
        return hidden, self.head(hidden)


class BeliefPolicy(nn.Module):
    """Encoder and actor as one :class:`tutor_agents.engine.networks.Policy`."""

    def __init__(self, shape: ActorShape, belief_size: int) -> None:
        """Build the networks; see ``initialise`` for their weights."""
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape, belief_size)
        self.actor = BeliefActor(shape, 2 * belief_size)

    def initialise(self) -> None:
        """Draw the initial weights from torch's generator (seed it first)."""
        self.encoder.initialise()
        self.actor.initialise()

    def encode(self, observation: Observation) -> Inputs:
        """The inputs of one step."""
        return self.actor.inputs.encode(observation)

    def begin(self, n_students: int) -> MemoryState:
        """Empty memories and grade books."""
        return self.encoder.begin(n_students) | {"book": self.actor.begin(n_students)}

    def step(
        self, inputs: Inputs, t: int, state: MemoryState
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step of acting; the belief ``(N, 2 L)`` is part of the state."""
        state = self.believe(inputs, t, state)
        hidden, logits, book = self.actor.step(inputs, t, state["book"], state["belief"])
        return hidden, logits, state | {"book": book}

    def believe(self, inputs: Inputs, t: int, state: MemoryState) -> MemoryState:
        """The state after step t's observation is taken in, with the belief that follows."""
        memory = {k: v for k, v in state.items() if k not in ("book", "belief")}
        belief, memory = self.encoder.step(inputs, t, memory)
        return memory | {"book": state["book"], "belief": belief}

    def sequence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """A whole trial at once."""
        return self.actor.sequence(inputs, self.beliefs(inputs))

    def beliefs(self, inputs: Inputs) -> Tensor:
        """What is believed before each action, ``(T, N, 2 L)``."""
        return self.encoder.sequence(inputs)

    def observed(self, inputs: Inputs) -> Inputs:
        """The inputs without the belief, which comes from the encoder."""
        return inputs
