"""SM-2: the intervals of a card grow by its ease, which errors lower.

The algorithm of SuperMemo 2 (Wozniak 1990, "Optimization of learning", section 3.2). After the n-th
pass in a row the next interval is ``I(1) = 1``, ``I(2) = 6`` and ``I(n) = round(I(n-1) * EF)``; a
grade q below 3 starts again at n = 0 with an interval of 1. Then, after every review,
``EF <- max(1.3, EF + 0.1 - (5 - q) (0.08 + (5 - q) 0.02))``, from 2.5 at first.

This is the order of Wozniak's own program (``sm2.pas``), and so are the rounding and the ease that
changes after failures too. His prose differs in both: it rounds up, and restarts "without changing
the E-Factor". With it, and grades of 2 and 4, no card's ease would ever change.

An answer is graded ``right`` or ``wrong``. The most overdue card comes first; where none is due, a
new one; else the one that is due next. What the prose adds for humans, to repeat what was graded
below 4 at the end of a day, is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.schedulers.deck import Deck
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import StudentModel

FIRST_EASE, LEAST_EASE = 2.5, 1.3
FIRST_INTERVAL, SECOND_INTERVAL = 1.0, 6.0
PASS_GRADE = 3


def review(
    passes: Tensor, interval: Tensor, ease: Tensor, grade: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Passes in a row, interval (units) and ease of a card after a review.

    Args:
        passes: int64, passes in a row before it.
        interval: units, before it.
        ease: before it, >= 1.3.
        grade: 0 to 5.
    """
    passed = grade >= PASS_GRADE
    later = torch.where(passes == 1, SECOND_INTERVAL, (interval * ease).round())
    grown = torch.where(passes == 0, FIRST_INTERVAL, later)
    short = 5 - grade
    return (
        torch.where(passed, passes + 1, 0),
        torch.where(passed, grown, FIRST_INTERVAL),
        (ease + 0.1 - short * (0.08 + short * 0.02)).clamp(min=LEAST_EASE),
    )


class SM2Tutor:
    """SM-2 on binary answers; see the module's text."""

    name = "sm2"

    def __init__(
        self,
        model: StudentModel,
        *,
        wrong: int = 2,
        right: int = 4,
        unit_days: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: how students learn.
            wrong: grade of a wrong answer, 0 to 2.
            right: grade of a right answer, 3 to 5.
            unit_days: days in a unit of intervals; None: those of one teaching action.
            device: where to compute.

        Raises:
            ValueError: no action says what it teaches.
        """
        self._deck = Deck(model, self.name, unit_days=unit_days, device=device)
        self._wrong, self._right = wrong, right

    def begin_trial(self, trial: Trial) -> None:
        """New students, and new cards."""
        self._deck.ways.begin(len(trial.students))
        self._begin_lesson()

    def _begin_lesson(self) -> None:
        self._seen = torch.zeros_like(self._deck.ways.practices, dtype=torch.bool)
        self._passes = torch.zeros_like(self._deck.ways.practices)
        self._interval, self._due = self._deck.empty(), self._deck.empty()
        self._ease = self._deck.empty(FIRST_EASE)

    def act(self, observation: Observation) -> Tensor:
        """The most overdue card, else a new one, else the next; int64 ``(n,)``."""
        due = self._seen & (self._due <= self._deck.now(observation.step))
        up = self._deck.up(due, ~self._seen, observation)
        return self._deck.deal((-self._due).masked_fill(~up, -torch.inf), observation)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Grade the answer, and schedule the card."""
        answer = self._deck.answer(action, observation)
        grade = torch.where(answer.correct, self._right, self._wrong)
        passes, interval, ease = review(self._passes, self._interval, self._ease, grade)
        self._passes = torch.where(answer.reviewed, passes, self._passes)
        self._interval = torch.where(answer.reviewed, interval, self._interval)
        self._ease = torch.where(answer.reviewed, ease, self._ease)
        self._due = torch.where(answer.reviewed, answer.time + interval, self._due)
        self._seen = self._seen | answer.reviewed
        if observation.step == 0:
            self._begin_lesson()
