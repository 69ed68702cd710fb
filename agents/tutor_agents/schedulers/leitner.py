"""Leitner: cards in boxes; a right answer moves a card on, a wrong one back.

Two systems go by this name:

* ``queues``, the queue network of Reddy, Labutov, Banerjee & Joachims 2016 (KDD, "Unbounded human
  learning") as ``deeptutor`` runs it (Reddy, Levine & Dragan 2017; code read). New cards wait in
  queue 0, in their order. With probability ``arrival`` (rho) the next one is introduced; otherwise
  a queue q >= 1 is drawn among those that hold cards, in proportion to ``1 / sqrt(q)``, and the
  card that waited longest there is reviewed. Right: to the end of queue q + 1; wrong: of
  ``max(1, q - 1)``; a new card: of queue 1 by either answer. There is no last queue. Where there
  are no new cards, or no others, the draw of ``arrival`` has no choice.
* ``boxes``, the box of cards (Leitner 1972, "So lernt man lernen") with a fixed interval for each
  box: a card in box b is due ``intervals[b - 1]`` units after its last review. Right: to the next
  box (the last one keeps its cards); wrong: back to box 1; a new card: to box 1 by either answer.
  The card that has been due for longest comes first; where none is due, a new one; else the one
  that is due next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tutor_agents.choice import tutor_uniforms
from tutor_agents.schedulers.deck import Deck
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel

_CLOCK_BITS = 32
"""Of the key that sorts by queue, then by time: queues and times stay below 2**31."""


def next_queue(queue: Tensor, correct: Tensor) -> Tensor:
    """Where a card goes from queue q: q + 1, or ``max(1, q - 1)``; int64 as ``queue``."""
    return torch.where(correct, queue + 1, queue - 1).clamp(min=1)


def next_box(box: Tensor, correct: Tensor, n_boxes: int) -> Tensor:
    """Where a card goes from a box in [0, n_boxes] (0: new): the next one, or box 1."""
    return torch.where(correct, (box + 1).clamp(max=n_boxes), 1)


def heads(queue: Tensor, since: Tensor, waiting: Tensor) -> Tensor:
    """The cards that waited longest in their queues, bool ``(n, K)``.

    Args:
        queue: int64 ``(n, K)``, >= 1 where the card is waiting.
        since: int64 ``(n, K)``, when it came; no two waiting cards of a student came together.
        waiting: bool ``(n, K)``; the others are in no queue.
    """
    queue = torch.where(waiting, queue, 0)
    order = ((queue << _CLOCK_BITS) + since).argsort(-1)
    in_order = queue.gather(-1, order)
    first = torch.ones_like(waiting)
    first[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    return torch.zeros_like(waiting).scatter(-1, order, first) & waiting


class LeitnerQueuesTutor:
    """The queue network; see the module's text."""

    name = "leitner"

    def __init__(
        self, model: StudentModel, *, arrival: float = 0.7, device: torch.device | str = "cpu"
    ) -> None:
        """Teach students of this model.

        Args:
            model: how students learn.
            arrival: rho, probability of a new card, in [0, 1].
            device: where to compute.

        Raises:
            ValueError: no action says what it teaches.
        """
        self._deck = Deck(model, self.name, device=device)
        self._arrival = arrival

    def begin_trial(self, trial: Trial) -> None:
        """New students, and new cards."""
        self._trial = trial
        self._deck.ways.begin(len(trial.students))
        self._begin_lesson()

    def _begin_lesson(self) -> None:
        self._queue = torch.zeros_like(self._deck.ways.practices)
        self._since = torch.zeros_like(self._queue)

    def act(self, observation: Observation) -> Tensor:
        """Draw a queue, and review the card at its head; int64 ``(n,)``."""
        lesson, step = observation.lesson, observation.step
        luck = tutor_uniforms(self._trial, n_lanes=2, lesson=lesson, step=step).double()
        luck = luck.to(self._queue.device)
        available = self._deck.ways.available(observation.legal)
        new, old = ((self._queue == 0) & available, (self._queue > 0) & available)
        rate = heads(self._queue, self._since, old) * self._queue.clamp(min=1).double().rsqrt()
        passed = rate.cumsum(-1)
        drawn = (passed > luck[:, 1:] * passed[:, -1:]) & (rate > 0)
        introduces = (luck[:, :1] < self._arrival) | ~old.any(-1, keepdim=True)
        card = torch.where(introduces & new.any(-1, keepdim=True), new, drawn)
        # Of the cards that remain the one with the lowest index is the next new, or the drawn one.
        return self._deck.deal(torch.where(card, 0.0, -torch.inf), observation)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Move the card that was answered."""
        answer = self._deck.answer(action, observation)
        moved = next_queue(self._queue, answer.correct)
        self._queue = torch.where(answer.reviewed, moved, self._queue)
        self._since = torch.where(answer.reviewed, observation.step, self._since)
        if observation.step == 0:
            self._begin_lesson()


class LeitnerBoxesTutor:
    """The boxes with fixed intervals; see the module's text."""

    name = "leitner"

    def __init__(
        self,
        model: StudentModel,
        *,
        intervals: Sequence[float] = (1, 2, 4, 8, 16),
        unit_days: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: how students learn.
            intervals: of each box, in units, > 0.
            unit_days: days in a unit; None: those of one teaching action.
            device: where to compute.

        Raises:
            ValueError: no action says what it teaches.
        """
        self._deck = Deck(model, self.name, unit_days=unit_days, device=device)
        # Box 0 holds the new cards.
        self._intervals = torch.tensor([0.0, *intervals], dtype=torch.float64, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """New students, and new cards."""
        self._deck.ways.begin(len(trial.students))
        self._begin_lesson()

    def _begin_lesson(self) -> None:
        self._box = torch.zeros_like(self._deck.ways.practices)
        self._due = self._deck.empty()

    def act(self, observation: Observation) -> Tensor:
        """The most overdue card, else a new one, else the next; int64 ``(n,)``."""
        seen = self._box > 0
        due = seen & (self._due <= self._deck.now(observation.step))
        up = self._deck.up(due, ~seen, observation)
        return self._deck.deal((-self._due).masked_fill(~up, -torch.inf), observation)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Move the card that was answered."""
        answer = self._deck.answer(action, observation)
        box = next_box(self._box, answer.correct, len(self._intervals) - 1)
        self._box = torch.where(answer.reviewed, box, self._box)
        due = answer.time + self._intervals[box]
        self._due = torch.where(answer.reviewed, due, self._due)
        if observation.step == 0:
            self._begin_lesson()
