"""Elo matching: rate the student and the items from answers alone, ask what is as hard as wished.

The Elo rating system of adaptive practice (Pelanek 2016, Computers & Education 98): a student has a
rating ``theta``, an item a difficulty ``d``; an item is a teaching action less its modality. After
an answer ``y`` (1 right, 0 wrong), with ``p = sigmoid(theta - d)`` before it::

    theta <- theta + U(n) (y - p)        d <- d - U(m) (y - p)        U(n) = step / (1 + decay n)

n and m being the answers of this student, and to this item, so far; step 1 and decay 0.05 are
Pelanek's. The next item is the one whose ``p`` is nearest to ``target``: 0.75 is what Math Garden
aims at (Klinkenberg, Straatemeier & van der Maas 2011, Computers & Education 57(2)). No student
model is needed. Of items equally near, and of an item's modalities, the one used least is taken.

Difficulties are kept for each student apart: a student never depends on who else is taught. They
start at 0 (``warm_start: false``), or where ``n_students`` simulated training students, taught at
random, have put them (``warm_start: true``): in each step of their trial an item moves by the mean
of ``U(m) (y - p)`` over those who answer it, m being the steps in which it moved.

A new lesson is a new topic: the student's rating stays, the difficulties are again those of the
start.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import best_least_used, legal_among
from tutor_agents.teaching_actions import Items
from tutor_agents.tutor import Trial
from tutor_agents.warm_start import watch_training_students
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.student import CORRECT, StudentModel
from tutor_envs.task import TeachingTask


class EloMatchedTutor:
    """Items of matching Elo difficulty; see the module's text.

    Attributes:
        rating: ``(n,)``, theta of each student, in logits.
        difficulty: ``(n, G)``, d of each item for each student, in logits.
    """

    name = "elo_matched"

    def __init__(
        self,
        model: StudentModel,
        *,
        target: float = 0.75,
        step: float = 1.0,
        decay: float = 0.05,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: what can be taught.
            target: rate of success to aim at, in (0, 1).
            step: logits that the first answer moves a rating by at most.
            decay: how fast steps shrink, >= 0.
            device: where to compute.
        """
        self._target, self._step, self._decay = target, step, decay
        self._device = torch.device(device)
        self._items = Items(model, self.name, self._device)
        self._n_actions = model.n_actions
        n_items = len(self._items.labels)
        self._first_difficulty = torch.zeros(n_items, dtype=torch.float64, device=self._device)
        self._first_answers = torch.zeros_like(self._first_difficulty)
        self._watching = False

    def warm_start(
        self, population: Population, task: TeachingTask, *, seed: int, n_students: int
    ) -> None:
        """Rate the items by simulated training students, all at once."""
        self._watching = True
        watch_training_students(
            self, population, task, seed=seed, n_students=n_students, device=self._device
        )
        self._watching = False
        self._first_difficulty = self.difficulty[0]
        self._first_answers = self._item_answers[0]

    def begin_trial(self, trial: Trial) -> None:
        """Unknown students: rating 0."""
        n = len(trial.students)
        self.rating = torch.zeros(n, dtype=torch.float64, device=self._device)
        self._n_answers = torch.zeros_like(self.rating)
        self._uses = torch.zeros((n, self._n_actions), dtype=torch.int64, device=self._device)
        self._begin_lesson(n)

    def _begin_lesson(self, n: int) -> None:
        self.difficulty = self._first_difficulty.expand(n, -1).clone()
        self._item_answers = self._first_answers.expand(n, -1).clone()

    def act(self, observation: Observation) -> Tensor:
        """The action of the best matching item for each student, int64 ``(n,)``."""
        p = torch.sigmoid(self.rating.unsqueeze(-1) - self.difficulty)[:, self._items.item]
        possible = legal_among(self._items.asks, observation.legal)
        return best_least_used(-(p - self._target).abs(), self._uses, possible)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Count the use and move the ratings; a new lesson starts with the first difficulties."""
        self._uses.scatter_add_(-1, action.unsqueeze(-1), torch.ones_like(action).unsqueeze(-1))
        item = self._items.item[action].unsqueeze(-1)
        answered = ((observation.response <= CORRECT) & self._items.asks[action]).double()
        p = torch.sigmoid(self.rating - self.difficulty.gather(-1, item).squeeze(-1))
        surprise = ((observation.response == CORRECT).double() - p) * answered
        none = torch.zeros_like(self.difficulty)
        asked = none.scatter(-1, item, answered.unsqueeze(-1))
        moved = -self._size(self._item_answers) * none.scatter(-1, item, surprise.unsqueeze(-1))
        if self._watching:
            n_asked = asked.sum(0)
            moved = moved.sum(0) / n_asked.clamp(min=1)
            asked = (n_asked > 0).double()
        self.rating = self.rating + self._size(self._n_answers) * surprise
        self.difficulty = self.difficulty + moved
        self._item_answers = self._item_answers + asked
        self._n_answers = self._n_answers + answered
        if observation.step == 0 and not self._watching:
            self._begin_lesson(len(action))

    def _size(self, n_answers: Tensor) -> Tensor:
        """U(n), the size of a step."""
        return self._step / (1 + self._decay * n_answers)
