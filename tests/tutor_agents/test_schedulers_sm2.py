"""SM-2: its published program step by step, and the order of cards by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from card_games import cards, play, play_one
from tutor_agents.schedulers.sm2 import SM2Tutor, review
from tutor_envs.student import CORRECT, WRONG

MODEL = cards().student_model
NOTHING = 2


class Record:
    """A card as in the program of SuperMemo 2, one number at a time."""

    def __init__(self) -> None:
        self.repetition, self.interval, self.ease = 0, 0, 2.5

    def grade(self, q: int) -> int:
        if q >= 3:
            if self.repetition == 0:
                self.interval, self.repetition = 1, 1
            elif self.repetition == 1:
                self.interval, self.repetition = 6, 2
            else:
                self.interval = round(self.interval * self.ease)
                self.repetition += 1
        else:
            self.repetition, self.interval = 0, 1
        self.ease += 0.1 - (5 - q) * (0.08 + (5 - q) * 0.02)
        self.ease = max(self.ease, 1.3)
        return self.interval


def reviews(grades: list[int]) -> list[tuple[int, float, float]]:
    passes, interval, ease = (
        torch.tensor([0]),
        torch.zeros(1).double(),
        torch.tensor([2.5]).double(),
    )
    history = []
    for grade in grades:
        passes, interval, ease = review(passes, interval, ease, torch.tensor([grade]))
        history.append((passes.item(), interval.item(), ease.item()))
    return history


def test_intervals_and_ease_by_hand():
    # ease 2.6, 2.7, 2.8 after three perfect answers; the third interval is 6 * 2.7 = 16.2
    history = reviews([5, 5, 5, 2, 4, 4, 4])
    assert [interval for _, interval, _ in history] == [1, 6, 16, 1, 1, 6, 15]  # 6 * 2.48 = 14.9
    assert [passes for passes, _, _ in history] == [1, 2, 3, 0, 1, 2, 3]
    eases = [2.6, 2.7, 2.8, 2.48, 2.48, 2.48, 2.48]  # 2 takes 3 * (.08 + .06) - .1 = .32
    assert [ease for _, _, ease in history] == pytest.approx(eases)


@settings(max_examples=50, deadline=None)
@given(grades=st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_it_follows_the_published_program(grades):
    record = Record()
    for grade, (passes, interval, ease) in zip(grades, reviews(grades), strict=True):
        assert interval == record.grade(grade)
        assert (passes, ease) == (record.repetition, pytest.approx(record.ease))
        assert ease >= 1.3
        assert (passes == 0) == (grade < 3)


def test_the_order_of_cards_by_hand():
    # Card 0 is due after 1 and, passed again, after 6 days; meanwhile 1 and 2 are introduced. On
    # day 6 nothing is due: 0 is next (day 7), then 1 (day 9) and 2 (day 11), then 0 (6 + 15).
    assert play_one(SM2Tutor(MODEL), MODEL, [CORRECT] * 10) == [0, 0, 1, 1, 2, 2, 0, 1, 2, 0]
    # A card that was failed is due the next day, and crowds out the new ones.
    assert play_one(SM2Tutor(MODEL), MODEL, [WRONG] * 4) == [0, 0, 0, 0]


def test_the_most_overdue_card_comes_first():
    # Two days a step. Card 0 on days 0 and 2 (due on 2 + 6), card 1 on days 4 and 6 (due on 6 + 6),
    # card 0 on day 8, card 2 on day 10 (due on 11). On day 12 it goes before card 1.
    model = cards(model={"step_s": 2 * 86400.0}).student_model
    tutor = SM2Tutor(model, unit_days=1)
    assert play_one(tutor, model, [CORRECT] * 7) == [0, 0, 1, 1, 0, 2, 2]


@settings(max_examples=20, deadline=None)
@given(
    answers=st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=25)
)
def test_a_batch_is_scheduled_as_the_cards_of_each_student(answers):
    """Against records of single cards; 2 is no answer, which leaves a card as it was."""
    actions = play(SM2Tutor(MODEL, wrong=1, right=5), MODEL, answers)
    for student, taken in enumerate(actions):
        records, due = [Record() for _ in range(3)], {}
        for day, action in enumerate(taken):
            ready = [card for card in due if due[card] <= day]
            new = [card for card in range(3) if card not in due]
            pool = ready or new or list(due)
            assert action == min(pool, key=lambda card: (due.get(card, 0), card))
            if answers[day][student] != NOTHING:
                due[action] = day + records[action].grade((1, 5)[answers[day][student]])


def test_a_new_lesson_has_new_cards():
    assert play_one(SM2Tutor(MODEL), MODEL, [CORRECT] * 8, n_steps=4) == [0, 0, 1, 1] * 2
