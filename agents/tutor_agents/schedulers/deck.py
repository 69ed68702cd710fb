"""A deck of cards: what schedulers call the skills or items that a student model teaches.

A card is whatever an action can be about: a skill, an item, a material. Its reviews are the actions
on it that ask and teach; a quiz teaches nothing and a worked example asks nothing, so they count
where a model has nothing else. The reviews of a card take turns (modalities, and difficulties where
a model has them), through all lessons of a trial.

**Time.** Intervals are counted in units. By default a unit is what one teaching action takes, so
that an interval of 6 means "six actions later" whatever the population's clock says. ``unit_days``
gives another one; 1 makes intervals real days of the population's clock. The clock is the public
one (:meth:`tutor_envs.student.StudentModel.lesson_days`): a card reviewed by the lesson's t-th
action was reviewed when t - 1 actions, and the planned breaks between them, had passed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.tutor import CannotTeach
from tutor_agents.ways import WaysInTurn
from tutor_envs.classroom import Observation
from tutor_envs.components.actions import stem
from tutor_envs.student import CORRECT, WRONG, StudentModel

_NOT_A_REVIEW = ("quiz", "worked_example")


class Answer(NamedTuple):
    """What a review showed.

    Attributes:
        reviewed: bool ``(n, K)``, true at the card that was answered; nowhere without an answer.
        correct: bool ``(n, 1)``.
        time: when it was, in units since the lesson began (of no use after a lesson's last action).
    """

    reviewed: Tensor
    correct: Tensor
    time: float


class Deck:
    """The K cards of a student model, their reviews and their clock; see the module's text."""

    def __init__(
        self,
        model: StudentModel,
        tutor: str,
        *,
        unit_days: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Find the cards.

        Args:
            model: how students learn.
            tutor: who asks, for the error.
            unit_days: days in a unit of time; None: those of one teaching action.
            device: where to compute.

        Raises:
            CannotTeach: no action says what it teaches.
        """
        about = [action for action in model.actions if action.skill]
        if not about:
            raise CannotTeach(
                f"tutor `{tutor}` needs teaching actions that name a skill or an item, and "
                f"those of student model `{model.name}` name none"
            )
        reviews = [action for action in about if stem(action.activity) not in _NOT_A_REVIEW]
        reviews = reviews or about
        cards = list(dict.fromkeys(action.skill for action in reviews))
        self.n_cards = len(cards)
        self.ways = WaysInTurn(
            [cards.index(a.skill) if a in reviews else -1 for a in model.actions],
            self.n_cards,
            device=device,
        )
        self._model = model
        self._unit_days = model.step_days if unit_days is None else unit_days

    def now(self, n_actions: int) -> float:
        """Units since the lesson began, after so many teaching actions."""
        return self._model.lesson_days(n_actions) / self._unit_days

    def empty(self, value: float = 0.0) -> Tensor:
        """A number for each card of each student, float64 ``(n, K)``."""
        return torch.full_like(self.ways.practices, value, dtype=torch.float64)

    def answer(self, action: Tensor, observation: Observation) -> Answer:
        """Count a review as taken, and say what it showed.

        Args:
            action: int64 ``(n,)``.
            observation: what came of it.
        """
        self.ways.count(action)
        answered = (observation.response == CORRECT) | (observation.response == WRONG)
        return Answer(
            self.ways.teaches[action] & answered.unsqueeze(-1),
            (observation.response == CORRECT).unsqueeze(-1),
            self.now(max(observation.step - 1, 0)),
        )

    def deal(self, score: Tensor, observation: Observation) -> Tensor:
        """The review in turn of the card with the best score, int64 ``(n,)``.

        Args:
            score: ``(n, K)``; ``-inf`` for cards that are not up.
            observation: says what is legal.
        """
        return self.ways.best(self.ways.of_actions(score), observation.legal)

    def up(self, due: Tensor, new: Tensor, observation: Observation) -> Tensor:
        """Which cards are up: those that are due, else the new ones, else all. Bool ``(n, K)``.

        Cards that have no legal review are passed over.
        """
        available = self.ways.available(observation.legal)
        cards = due & available
        for others in (new & available, available):
            cards = torch.where(cards.any(-1, keepdim=True), cards, others)
        return cards
