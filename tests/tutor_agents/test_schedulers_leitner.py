"""Leitner: the queue network's moves and odds, and the boxes by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from card_games import cards, play, play_one, seen
from tutor_agents.schedulers.leitner import (
    LeitnerBoxesTutor,
    LeitnerQueuesTutor,
    heads,
    next_box,
    next_queue,
)
from tutor_agents.tutor import Trial
from tutor_envs.student import CORRECT, WRONG

MODEL = cards(n=4).student_model
N = 20_000


# -- queues ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("queue", "answer", "then"), [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 2), (5, 0, 4), (5, 1, 6)]
)
def test_moves_between_queues_by_hand(queue: int, answer: int, then: int):
    assert next_queue(torch.tensor(queue), torch.tensor(answer == CORRECT)).item() == then


cards_in_queues = st.lists(
    st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=9
).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(range(1, len(rows) + 1))))


@settings(max_examples=60, deadline=None)
@given(case=cards_in_queues)
def test_heads_are_those_who_came_first(case):
    rows, since = case
    queue, waiting = ([row[i] for row in rows] for i in range(2))
    expected = [
        waiting[k] and not any(
            waiting[j] and queue[j] == queue[k] and since[j] < since[k] for j in range(len(rows))
        )
        for k in range(len(rows))
    ]  # fmt: skip
    found = heads(torch.tensor([queue]), torch.tensor([since]), torch.tensor([waiting]))
    assert found[0].tolist() == expected


def shares(tutor: LeitnerQueuesTutor, history: list[tuple[int, int]]) -> list[float]:
    """How often each card comes after this history of (card, answer), over many students."""
    tutor.begin_trial(Trial(torch.arange(N), 0, 0))
    observation = seen([4] * N, [2] * N, 0)
    for step, (card, answer) in enumerate(history, start=1):
        observation = seen([card] * N, [answer] * N, step)
        tutor.observe(torch.full((N,), card), observation)
    return (torch.bincount(tutor.act(observation), minlength=4) / N).tolist()


def test_queues_are_drawn_by_one_over_the_root():
    # Card 0 in queue 3; cards 1 and then 2 in queue 1, where 1 waits for longer; 3 is new.
    history = [(0, CORRECT), (0, CORRECT), (1, CORRECT), (0, CORRECT), (2, WRONG)]
    others = 1 + 3**-0.5
    expected = [0.7 * 3**-0.5 / others, 0.7 / others, 0, 0.3]
    found = shares(LeitnerQueuesTutor(MODEL, arrival=0.3), history)
    for share, p in zip(found, expected, strict=True):
        # five standard errors: fails by chance with a probability of 6e-7
        assert abs(share - p) <= 5 * math.sqrt(p * (1 - p) / N)


def test_without_a_choice_new_or_old_cards_come_for_sure():
    nobody_new = LeitnerQueuesTutor(MODEL, arrival=0.0)
    assert shares(nobody_new, []) == [1, 0, 0, 0]
    assert shares(nobody_new, [(0, WRONG)]) == [1, 0, 0, 0]
    all_new = LeitnerQueuesTutor(MODEL, arrival=1.0)
    assert shares(all_new, [(0, CORRECT)]) == [0, 1, 0, 0]
    assert shares(all_new, [(k, CORRECT) for k in range(4)]) == [1, 0, 0, 0]


def test_an_answer_sends_a_card_to_the_end_of_its_queue():
    tutor = LeitnerQueuesTutor(MODEL, arrival=0.0)
    history = [(0, CORRECT), (1, CORRECT), (0, WRONG)]  # 0 is in queue 1 again, but behind 1
    assert shares(tutor, history) == [0, 1, 0, 0]
    # No answer (2): the card keeps its place.
    assert shares(tutor, [*history[:2], (0, 2)]) == [1, 0, 0, 0]


def test_queues_are_emptied_for_a_new_lesson():
    tutor = LeitnerQueuesTutor(MODEL, arrival=1.0)
    assert play_one(tutor, MODEL, [CORRECT] * 6, n_steps=3) == [0, 1, 2] * 2


# -- boxes -----------------------------------------------------------------------------------------
@settings(max_examples=50, deadline=None)
@given(box=st.integers(0, 5), correct=st.booleans())
def test_moves_between_boxes(box: int, correct: bool):
    after = next_box(torch.tensor(box), torch.tensor(correct), 5).item()
    assert after == (min(box + 1, 5) if correct else 1)


def test_boxes_by_hand():
    # Right: card 0 on days 0 and 1 (box 2: due on 3); 1 is new on day 2 (due 3). Day 3: both are
    # due, 0 goes first (box 3: due on 7). Day 4: 1 (box 2: due on 6). Day 5: 2 is new (due on 6).
    # Day 6: 1 and 2 are due, 1 first (box 3: due on 10). Day 7: 2, due since day 6, before 0.
    tutor = LeitnerBoxesTutor(MODEL)
    assert play_one(tutor, MODEL, [CORRECT] * 8) == [0, 0, 1, 0, 1, 2, 1, 2]
    # A wrong answer on day 3 puts card 0 back into box 1, due on day 4 (after 1, due since 3).
    answers = [CORRECT, CORRECT, CORRECT, WRONG, CORRECT, CORRECT]
    assert play_one(tutor, MODEL, answers) == [0, 0, 1, 0, 1, 0]


answers = st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=25)


@settings(max_examples=20, deadline=None)
@given(answers=answers, intervals=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_boxes_of_a_batch_are_those_of_each_student(answers, intervals):
    actions = play(LeitnerBoxesTutor(MODEL, intervals=intervals), MODEL, answers)
    for student, taken in enumerate(actions):
        box, due = {}, {}
        for day, action in enumerate(taken):
            ready = [card for card in due if due[card] <= day]
            new = [card for card in range(4) if card not in due]
            pool = ready or new or list(due)
            assert action == min(pool, key=lambda card: (due.get(card, 0), card))
            right = answers[day][student] == CORRECT
            box[action] = min(box.get(action, 0) + 1, len(intervals)) if right else 1
            due[action] = day + intervals[box[action] - 1]
