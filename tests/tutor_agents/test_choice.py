"""Ties, masks and the tutor's own luck."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tutor_agents.choice import (
    best_least_used,
    best_legal,
    drawn,
    first_legal,
    legal_among,
    planned_or_next,
    random_order,
    uniform_legal,
)
from tutor_agents.tutor import Trial


def test_the_lowest_index_wins_a_tie() -> None:
    score = torch.tensor([[0.1, 0.3, 0.3 + 1e-12], [0.3, 0.1, 0.3]], dtype=torch.float64)
    assert best_legal(score, None).tolist() == [1, 0]
    assert best_legal(score.float(), None).tolist() == [1, 0]


def test_illegal_actions_are_never_best() -> None:
    score = torch.tensor([[0.9, -0.3, -0.1]])
    assert best_legal(score, torch.tensor([[False, True, True]])).tolist() == [2]
    assert first_legal(torch.tensor([[2, 0, 1]]), torch.tensor([[True, False, True]])).tolist() == [
        2
    ]


def test_a_plan_that_is_not_legal_goes_on_to_the_next_index() -> None:
    legal = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    assert planned_or_next(torch.tensor([1, 2, 2]), legal).tolist() == [0, 0, 2]
    assert planned_or_next(torch.tensor([1, 2, 2]), None).tolist() == [1, 2, 2]


@given(st.lists(st.booleans(), min_size=1, max_size=6).filter(any))
def test_uniform_over_the_legal_actions(legal: list[bool]) -> None:
    n_legal, each = sum(legal), 20
    # A grid of uniforms, `each` for every legal action.
    u = (torch.arange(n_legal * each) + 0.5) / (n_legal * each)
    mask = torch.tensor(legal).expand(len(u), -1)
    counts = uniform_legal(u, mask, len(legal)).bincount(minlength=len(legal))
    assert counts.tolist() == [each * is_legal for is_legal in legal]


def test_uniform_without_a_mask_reaches_both_ends() -> None:
    u = torch.tensor([0.0, 1 - 2**-24])
    assert uniform_legal(u, None, 5).tolist() == [0, 4]
    assert uniform_legal(u, torch.ones(2, 5, dtype=torch.bool), 5).tolist() == [0, 4]


def test_of_equals_the_one_used_least_is_best() -> None:
    score = torch.tensor([[0.3, 0.3, 0.1], [0.3, 0.3, 0.3], [0.2, 0.1, 0.1]])
    uses = torch.tensor([[2, 1, 0], [1, 0, 0], [9, 0, 0]])
    assert best_least_used(score, uses, None).tolist() == [1, 1, 0]
    legal = torch.tensor([[True, False, True]]).expand(3, -1)
    assert best_least_used(score, uses, legal).tolist() == [0, 2, 0]


def test_what_is_wanted_gives_way_to_what_is_legal() -> None:
    wanted = torch.tensor([True, False, False])
    legal = torch.tensor([[True, True, False], [False, True, True]])
    expected = [[True, False, False], [False, True, True]]
    assert legal_among(wanted, legal).tolist() == expected
    assert legal_among(wanted, None).tolist() == [True, False, False]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any))
def test_drawn_in_proportion_to_the_weights(weights: list[int]) -> None:
    each, total = 16, sum(weights)
    u = (torch.arange(total * each) + 0.5) / (total * each)
    weight = torch.tensor(weights).double().expand(len(u), -1)
    counts = drawn(weight, u.double()).bincount(minlength=len(weights))
    assert counts.tolist() == [each * w for w in weights]


def test_a_random_order_is_a_permutation_of_each_students_own() -> None:
    order = random_order(Trial(torch.arange(500), 0, 0), 4)
    assert torch.equal(order.sort(-1).values, torch.arange(4).expand(500, -1))
    # Every action comes first as often: 125 of 500, five standard errors are 49.
    assert ((order == 0).sum(0) - 125).abs().max() < 49
