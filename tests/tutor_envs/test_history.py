"""The history of reviews: numbers worked by hand."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.history import empty_column, push, total, totals, within


def test_a_column_is_empty_at_first_and_follows_dtype_and_batch():
    column = empty_column(torch.ones(3, dtype=torch.float64), 4, 2)
    assert column.shape == (3, 4, 2)
    assert column.dtype == torch.float64
    assert not column.any()


def test_the_newest_comes_first_and_the_oldest_drops_out():
    column = empty_column(torch.zeros(1), 3)
    for number in (1.0, 2.0, 3.0, 4.0):
        before = column.clone()
        pushed = push(column, torch.tensor([number]))
        assert torch.equal(column, before)
        column = pushed
    assert column.tolist() == [[4, 3, 2]]


def test_counts_by_hand():
    lag = torch.tensor([[0.5, 1.0, 3.0, 0.0]])
    # item 0 was reviewed twice, item 1 once; the last slot is empty
    amount = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.7, 0.0], [0.0, 0.0]]])
    counts = totals(amount, within(lag, torch.tensor([0.5, 1.0, math.inf])))
    torch.testing.assert_close(counts, torch.tensor([[[1.0, 1.0, 1.7], [0.0, 1.0, 1.0]]]))


def test_totals_by_hand():
    weight = torch.tensor([[2.0, 3.0, 5.0]])
    amount = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]]])
    # item 0: 2 * 1 + 5 * .5; item 1: 3 * 1
    assert total(amount, weight).tolist() == [[4.5, 3.0]]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 8))
def test_windows_are_nested_and_the_last_counts_all(seed, n):
    luck = torch.Generator().manual_seed(seed)
    like = torch.zeros(5)
    lag, amount = empty_column(like, 8), empty_column(like, 8, 3)
    for _ in range(n):
        item = torch.randint(3, (5,), generator=luck)
        lag = push(lag, torch.zeros(5)) + torch.rand(5, 1, generator=luck)
        amount = push(amount, torch.nn.functional.one_hot(item, 3).float())
    counts = totals(amount, within(lag, torch.tensor([0.5, 2.0, math.inf])))
    assert (counts.diff(dim=-1) >= 0).all()
    assert torch.equal(counts[..., -1].sum(-1), torch.full((5,), float(n)))
