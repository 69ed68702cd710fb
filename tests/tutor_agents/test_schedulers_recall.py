"""Rules on predicted recall: on students about whom everything is known, so that we can reckon too.

In ``efc`` recall is ``exp(-rate * lag / (1 + attempts))`` and does not depend on the answers. In
``hlr`` it is ``2**(-lag / h)``, ``log2 h = bias + a sqrt(right) + b sqrt(wrong)``.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from card_games import cards, play_one, seen
from tutor_agents.registry import make_tutor
from tutor_agents.schedulers.half_life import half_life
from tutor_agents.tutor import Trial
from tutor_envs.student import CORRECT
from tutor_envs.task import TeachingTask

TASK = TeachingTask(n_steps=20)
RATES = [0.3, 0.1, 0.05]
EFC = cards("efc", 3, latents={"decay_rate": RATES, "initial_lag": [1, 2, 3]})
BIAS, RIGHT, WRONG = [1.0, 2.0, 3.0], 2.0, -0.5
HLR = cards(
    "hlr",
    3,
    model={"min_half_life": 0.0, "max_half_life": 1e6},
    latents={"bias": BIAS, "right_weight": RIGHT, "wrong_weight": WRONG, "initial_lag": 1.0},
)


@pytest.mark.parametrize("z", [0.0, 0.5, 0.8, 1.0])
def test_the_review_nearest_to_the_threshold_is_taken(z: float):
    tutor = make_tutor("threshold_recall", EFC, TASK, z=z)
    taken = play_one(tutor, EFC.student_model, [CORRECT] * 15)
    attempts, lag = [0, 0, 0], [1, 2, 3]
    for action in taken:
        p = [math.exp(-RATES[k] * lag[k] / (1 + attempts[k])) for k in range(3)]
        assert abs(p[action] - z) == pytest.approx(min(abs(x - z) for x in p), abs=1e-9)
        attempts[action] += 1
        lag = [1 if k == action else lag[k] + 1 for k in range(3)]


def test_the_modalities_of_a_card_take_turns():
    two_ways = cards("efc", 2, ("read", "say"))
    for name in ("threshold_recall", "half_life_greedy"):
        taken = play_one(make_tutor(name, two_ways, TASK), two_ways.student_model, [CORRECT] * 8)
        for card in range(2):
            ways = [action % 2 for action in taken if action // 2 == card]
            assert ways == [i % 2 for i in range(len(ways))]


def test_memorize_reviews_in_proportion_to_what_is_forgotten():
    n, tutor = 20_000, make_tutor("memorize", EFC, TASK)
    tutor.begin_trial(Trial(torch.arange(n), 0, 0))
    start = seen([3] * n, [2] * n, 0)
    forgotten = [1 - math.exp(-RATES[k] * (k + 1)) for k in range(3)]
    shares = torch.bincount(tutor.act(start), minlength=3) / n
    for share, part in zip(shares.tolist(), forgotten, strict=True):
        p = part / sum(forgotten)
        assert abs(share - p) <= 5 * math.sqrt(p * (1 - p) / n)
    legal = torch.tensor([[True, False, True]]).expand(n, -1)
    counts = torch.bincount(tutor.act(start._replace(legal=legal)), minlength=3)
    p = forgotten[0] / (forgotten[0] + forgotten[2])
    assert counts[1] == 0
    assert abs(counts[0] / n - p) <= 5 * math.sqrt(p * (1 - p) / n)


def test_a_half_life_is_exact_for_exponential_forgetting():
    h, lag, wait = 10.0, torch.tensor([0.0, 4.0, 9.0, 12.0], dtype=torch.float64), 3.0
    found = half_life(2 ** (-lag / h), 2 ** (-(lag + wait) / h), wait)
    assert found.tolist() == pytest.approx([10, 6, 1, 0])
    sure, never = torch.tensor([0.9, 0.4, 0.0]), torch.tensor([0.9, 0.4, 0.0])
    assert half_life(sure, never, wait).tolist() == [36500, 0, 0]


def doublings(h: float, lag: float) -> float:
    return math.log2(1 + max(h - lag, 0))


@settings(max_examples=15, deadline=None)
@given(answers=st.lists(st.integers(0, 1), min_size=1, max_size=12))
def test_the_half_life_that_is_expected_to_grow_most_is_taken(answers):
    """Growth in doublings; a card that was not reviewed yet has none."""
    taken = play_one(make_tutor("half_life_greedy", HLR, TASK), HLR.student_model, answers)
    right, wrong, lag, known = [0] * 3, [0] * 3, [1] * 3, [False] * 3

    def h(k: int, more_right: int = 0, more_wrong: int = 0) -> float:
        a, b = right[k] + more_right, wrong[k] + more_wrong
        return 2 ** (BIAS[k] + RIGHT * math.sqrt(a) + WRONG * math.sqrt(b))

    for action, answer in zip(taken, answers, strict=True):
        gains = []
        for k in range(3):
            p = 2 ** (-lag[k] / h(k))
            after = p * doublings(h(k, 1), 1) + (1 - p) * doublings(h(k, 0, 1), 1)
            gains.append(after - known[k] * doublings(h(k), lag[k]))
        assert gains[action] == pytest.approx(max(gains), abs=1e-6)
        right[action] += answer == CORRECT
        wrong[action] += answer != CORRECT
        lag = [1 if k == action else lag[k] + 1 for k in range(3)]
        known[action] = True
