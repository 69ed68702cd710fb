"""FSRS as a scheduler: against the package ``fsrs``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from card_games import cards, play, play_one
from tutor_agents.schedulers.fsrs import FSRSTutor, next_interval
from tutor_envs.student import CORRECT, WRONG
from tutor_envs.students.fsrs import (
    DEFAULT_WEIGHTS,
    days_until,
    first_memory,
    next_memory,
    retrievability,
)

fsrs = pytest.importorskip("fsrs")
START = datetime(2025, 1, 1, tzinfo=UTC)
WEIGHTS = torch.tensor(DEFAULT_WEIGHTS, dtype=torch.float64)
MODEL = cards().student_model
retentions = st.floats(0.7, 0.97)


def scheduler(retention: float) -> fsrs.Scheduler:
    return fsrs.Scheduler(
        desired_retention=retention, learning_steps=(), relearning_steps=(), enable_fuzzing=False
    )


# rating, and days until the review: on the day, or up to a year later
history = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 365)), min_size=1, max_size=15)


@settings(max_examples=40, deadline=None)
@given(history=history, retention=retentions)
def test_intervals_agree_with_the_package(history, retention):
    package, card, now = scheduler(retention), fsrs.Card(), START
    memory = None
    for rating, days in history:
        now += timedelta(days=days)
        card, _ = package.review_card(card, fsrs.Rating(rating), now)
        graded = torch.tensor(rating)
        if memory is None:
            memory = first_memory(WEIGHTS, graded)
        else:
            elapsed = torch.tensor(float(days), dtype=torch.float64)
            memory = next_memory(WEIGHTS, *memory, graded, elapsed)
        interval = next_interval(WEIGHTS, memory[0], retention)
        assert timedelta(days=interval.item()) == card.due - now


def test_intervals_by_hand():
    # At the retention of 90 % the interval is the stability, by the meaning of stability.
    stability = torch.tensor([0.2, 2.3065, 2.7, 1e6], dtype=torch.float64)
    assert next_interval(WEIGHTS, stability, 0.9).tolist() == [1, 2, 3, 36500]
    days = days_until(WEIGHTS, stability, 0.8)
    assert retrievability(WEIGHTS, stability, days).tolist() == pytest.approx([0.8] * 4)


answers = st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None)
@given(answers=answers, retention=retentions)
def test_it_reviews_what_the_package_says_is_due_lowest_recall_first(answers, retention):
    """A review a day; the decks of two students are kept with the package."""
    package = scheduler(retention)
    actions = play(FSRSTutor(MODEL, desired_retention=retention), MODEL, answers)
    for student, taken in enumerate(actions):
        deck: dict[int, fsrs.Card] = {}
        for day, action in enumerate(taken):
            now = START + timedelta(days=day)
            recall = {k: package.get_card_retrievability(c, now) for k, c in deck.items()}
            due = [card for card in deck if deck[card].due <= now]
            new = [card for card in range(3) if card not in deck]
            pool = due or new[:1] or list(deck)
            lowest = min(recall.get(card, 0) for card in pool)
            assert action in pool
            assert recall.get(action, 0) == pytest.approx(lowest, abs=1e-9)
            rating = fsrs.Rating.Good if answers[day][student] == CORRECT else fsrs.Rating.Again
            held = deck.get(action, fsrs.Card(card_id=action))
            deck[action], _ = package.review_card(held, rating, now)


def test_a_day_of_fsrs_is_an_action_or_a_real_day():
    # Ten minutes a step. By actions, a card that was failed is due at the next step, one that was
    # passed two or three later; by real days nothing is due, and after the new cards come those
    # with the lowest recall.
    model = cards(model={"step_s": 600.0}).student_model
    by_action = play_one(FSRSTutor(model), model, [WRONG, CORRECT, CORRECT, CORRECT])
    assert by_action[:2] == [0, 0]
    by_day = play_one(FSRSTutor(model, unit_days=1), model, [WRONG, CORRECT, CORRECT, CORRECT])
    assert by_day == [0, 1, 2, 0]


def test_a_new_lesson_has_new_cards():
    tutor = FSRSTutor(MODEL, desired_retention=0.7)
    assert play_one(tutor, MODEL, [CORRECT] * 6, n_steps=3) == [0, 1, 2] * 2
