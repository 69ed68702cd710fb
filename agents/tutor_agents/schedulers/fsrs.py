"""FSRS-6 as a scheduler: reviews a card when its recall has fallen to the desired retention.

The memory of a card, its stability and difficulty, follows the answers by the equations of
:mod:`tutor_envs.students.fsrs` with the default weights of py-fsrs 6.3.2: a right answer is rated
Good, a wrong one Again. Its next review is due after the whole number of days, from 1 to 36500,
that is nearest to the time when recall is ``desired_retention`` (py-fsrs ``Scheduler``, without
fuzzing and learning steps; the intervals agree with it). Of the cards that are due, the one with
the lowest recall comes first; where none is due, a new one; else the one with the lowest recall.

A day is a unit of time here (see :mod:`tutor_agents.schedulers.deck`). Where units are such that
reviews come in fractions of a day, recall follows the fraction, while the package counts whole
days; two reviews less than a day apart are a same-day review in both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.schedulers.deck import Deck
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel
from tutor_envs.students.fsrs import (
    AGAIN,
    DEFAULT_WEIGHTS,
    GOOD,
    days_until,
    first_memory,
    next_memory,
    retrievability,
)

MAX_INTERVAL = 36500


def next_interval(weights: Tensor, stability: Tensor, desired_retention: float) -> Tensor:
    """Days until a card is due, a whole number from 1 to 36500.

    Args:
        weights: ``(..., 21)``; its leading axes broadcast with those of ``stability``.
        stability: days, > 0.
        desired_retention: in (0, 1).
    """
    return days_until(weights, stability, desired_retention).round().clamp(1, MAX_INTERVAL)


class FSRSTutor:
    """FSRS-6 on binary answers; see the module's text."""

    name = "fsrs"

    def __init__(
        self,
        model: StudentModel,
        *,
        desired_retention: float = 0.9,
        unit_days: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: how students learn.
            desired_retention: recall at which a card is due, in (0, 1).
            unit_days: days of the population's clock in a day of FSRS; None: those of one teaching
                action.
            device: where to compute.

        Raises:
            ValueError: no action says what it teaches.
        """
        self._deck = Deck(model, self.name, unit_days=unit_days, device=device)
        self._weights = torch.tensor(DEFAULT_WEIGHTS, dtype=torch.float64, device=device)
        self._retention = desired_retention

    def begin_trial(self, trial: Trial) -> None:
        """New students, and new cards."""
        self._deck.ways.begin(len(trial.students))
        self._begin_lesson()

    def _begin_lesson(self) -> None:
        self._seen = torch.zeros_like(self._deck.ways.practices, dtype=torch.bool)
        self._last, self._difficulty = self._deck.empty(), self._deck.empty(1.0)
        self._stability = self._deck.empty(1.0)

    def act(self, observation: Observation) -> Tensor:
        """The card with the lowest recall of those that are up; int64 ``(n,)``."""
        days = self._deck.now(observation.step) - self._last
        interval = next_interval(self._weights, self._stability, self._retention)
        up = self._deck.up(self._seen & (days >= interval), ~self._seen, observation)
        recall = retrievability(self._weights, self._stability, days)
        return self._deck.deal((-recall).masked_fill(~up, -torch.inf), observation)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Move the memory of the card that was answered."""
        answer = self._deck.answer(action, observation)
        rating = torch.where(answer.correct, GOOD, AGAIN)
        days = answer.time - self._last
        first = first_memory(self._weights, rating)
        later = next_memory(self._weights, self._stability, self._difficulty, rating, days)
        stability, difficulty = (
            torch.where(answer.reviewed, torch.where(self._seen, again, new), held)
            for again, new, held in zip(
                later, first, (self._stability, self._difficulty), strict=True
            )
        )
        self._stability, self._difficulty = stability, difficulty
        self._last = torch.where(answer.reviewed, answer.time, self._last)
        self._seen = self._seen | answer.reviewed
        if observation.step == 0:
            self._begin_lesson()
