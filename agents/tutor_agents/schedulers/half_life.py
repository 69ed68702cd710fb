"""Half-life-greedy: the review that is expected to make a card's memory last the longest.

The half-life of a card is how long from now, without a further review, until the predicted
probability p of a right answer is 1/2 (right after a review, for ``p = 2**(-lag / h)``, it is the h
of half-life regression: Settles & Meeder 2016, ACL). No model has to offer one: it follows from
what a belief predicts now, ``p_0``, and after a wait of w days, ``p_w``, on the exponential curve
through both::

    half-life = w log2(2 p_0) / log2(p_0 / p_w), within [0, 36500] days

where w is as long as a lesson. This is exact where forgetting is exponential (``hlr``, ``efc``,
``memory``). A power law flattens out, so that half-lives far beyond a lesson come out too short,
their order unchanged for the most part.

A card that was not reviewed in this lesson has a half-life of 0: what is answered right there is
known from elsewhere or guessed, and a model that says for how long gives it a memory of its own
only by the first review. For a review a and a student type z, with the answer y as the type would
give it, the growth is counted in doublings::

    gain_z(a) = sum_y P(y | a, z) L(belief_z after a and y) - L(belief_z)
    L = log2(1 + half-life / duration of one teaching action)

and the review with the largest posterior mean of the gain is taken. In days instead of doublings,
the card that lasts longest would be reviewed for ever: a success that doubles every half-life adds
most days to the longest. The "1 +" gives a forgotten card, whose half-life is 0, a finite value:
bringing it back is worth the ``L`` that it will have. So fading cards compete with growing ones.

Where nothing is forgotten, all this rule can do is to bring every card above 1/2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.schedulers.deck import Deck
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import CORRECT, Belief, Latents, StudentModel

_LONGEST_DAYS = 36500.0


def half_life(p_now: Tensor, p_later: Tensor, wait_days: float) -> Tensor:
    """Days until p is 1/2, on the exponential through p now and after a wait; at most 36500."""
    tiny = torch.finfo(p_now.dtype).tiny
    p_now, p_later = p_now.clamp(min=tiny), p_later.clamp(min=tiny)
    slope = torch.log2(p_now / p_later).clamp(min=tiny)
    return (wait_days * torch.log2(2 * p_now) / slope).clamp(0, _LONGEST_DAYS)


class HalfLifeGreedyTutor:
    """The largest expected growth of a half-life; see the module's text."""

    name = "half_life_greedy"

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        *,
        n_steps: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model who may be of these types.

        Args:
            model: how students learn.
            types: whom to believe in.
            n_steps: teaching actions in a lesson.
            device: where to compute.

        Raises:
            ValueError: no action says what it teaches.
        """
        self._deck = Deck(model, self.name, device=device)
        self._model = model
        self._wait_days = model.lesson_days(n_steps)
        self._posterior = TypePosterior(model, types, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior, with new cards."""
        n = len(trial.students)
        self._deck.ways.begin(n)
        self._posterior.begin_trial(n)
        self._begin_lesson()

    def _begin_lesson(self) -> None:
        self._seen = torch.zeros_like(self._deck.ways.practices, dtype=torch.bool)

    def act(self, observation: Observation) -> Tensor:
        """The review with the largest expected growth, int64 ``(n,)``."""
        now, after = self._posterior.expected(self._each_doublings).chunk(2, -1)
        gain = after - torch.where(self._deck.ways.of_actions(self._seen), now, 0)
        return self._deck.ways.best(gain, observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Update the posterior."""
        self._seen = self._seen | self._deck.answer(action, observation).reviewed
        self._posterior.observe(action, observation)
        if observation.step == 0:
            self._begin_lesson()

    def _each_doublings(self, latents: Latents, belief: Belief) -> Tensor:
        """L now and, expected, after each action: ``(rows, 2 A)``."""
        rows, device = len(latents["ability"]), latents["ability"].device
        actions = [a.expand(rows) for a in torch.arange(self._model.n_actions, device=device)]
        now = [self._doublings(latents, belief, a) for a in actions]
        return torch.stack(now + [self._doublings_after(latents, belief, a) for a in actions], -1)

    def _doublings_after(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        p_response = self._model.predict(latents, belief, action)
        expected = torch.zeros_like(p_response[:, 0])
        for response in range(self._model.n_responses):
            y = torch.full_like(action, response)
            after = self._model.update(latents, belief, action, y)
            expected += p_response[:, response] * self._doublings(latents, after, action)
        return expected

    def _doublings(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """L of the card that ``action`` reviews, ``(rows,)``."""
        model, days = self._model, torch.full_like(latents["ability"], self._wait_days)
        p_now, p_later = (
            model.predict(latents, held, action)[:, CORRECT]
            for held in (belief, model.belief_wait(latents, belief, days))
        )
        return torch.log2(1 + half_life(p_now, p_later, self._wait_days) / model.step_days)
