"""The history of reviews: numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.history import (
    decay_,
    dot,
    empty_column,
    empty_index,
    push,
    reviews_of,
    totals,
    window_totals,
)

ITEM = torch.tensor([[0, 1, 0, 0]], dtype=torch.int8)


def test_a_column_is_empty_at_first_and_follows_dtype_and_batch():
    column = empty_column(torch.ones(3, dtype=torch.float64), 4)
    assert column.shape == (3, 4)
    assert column.dtype == torch.float64
    assert not column.any()


@pytest.mark.parametrize(
    ("n_values", "dtype"),
    [(127, torch.int8), (128, torch.int16), (32767, torch.int16), (32768, torch.int32)],
)
def test_an_index_is_as_narrow_as_can_be(n_values, dtype):
    index = empty_index(torch.ones(3, dtype=torch.float64), 4, n_values)
    assert index.shape == (3, 4)
    assert index.dtype == dtype
    assert not index.any()


def test_the_newest_comes_first_and_the_oldest_drops_out():
    column = empty_column(torch.zeros(1), 3)
    for number in (1.0, 2.0, 3.0, 4.0):
        before = column.clone()
        pushed = push(column, torch.tensor([[number]]))
        assert torch.equal(column, before)
        column = pushed
    assert column.tolist() == [[4, 3, 2]]


def test_counts_by_hand():
    lag = torch.tensor([[0.5, 1.0, 3.0, 0.0]])
    # item 0 was reviewed twice, item 1 once; the last slot is empty
    amount = torch.tensor([[1.0, 1.0, 0.7, 0.0]])
    by_age = window_totals(amount, ITEM, lag, (0.5, 1.0, math.inf), 2)
    # by age: item 0 half a day and three days ago, item 1 a day ago
    torch.testing.assert_close(by_age, torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.7, 0.0]]]))
    nested = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [1.7, 1.0]]])
    torch.testing.assert_close(by_age.cumsum(1), nested)


def test_what_is_older_than_every_window_does_not_count():
    lag, amount = torch.tensor([[0.5, 1.0, 3.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.7, 0.0]])
    by_age = window_totals(amount, ITEM, lag, (0.5, 1.0), 2)
    assert by_age.tolist() == [[[1, 0], [0, 1]]]


def test_totals_by_hand():
    amount = torch.tensor([[2.0, 3.0, 2.5, 0.0]])
    # item 0: 2 + 2.5; item 1: 3
    assert totals(amount, ITEM, 2).tolist() == [[4.5, 3.0]]
    for item, sum_of_item in ((0, 4.5), (1, 3.0)):
        mine = reviews_of(torch.tensor([[item]]), ITEM, torch.float32)
        assert dot(amount, mine).tolist() == [[sum_of_item]]


def test_a_decay():
    time = torch.tensor([[0.25, 4.0]], dtype=torch.float64)
    torch.testing.assert_close(decay_(time.clone(), 0.5), time**-0.5)
    torch.testing.assert_close(decay_(time.clone(), torch.tensor([[3.0]])), time**-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 8))
def test_windows_are_nested_and_the_last_counts_all(seed, n):
    luck = torch.Generator().manual_seed(seed)
    like = torch.zeros(5)
    lag, amount, item = empty_column(like, 8), empty_column(like, 8), empty_index(like, 8, 12)
    for _ in range(n):
        item = push(item, torch.randint(3, (5, 1), generator=luck))
        lag = push(lag, torch.zeros(5, 1)) + torch.rand(5, 1, generator=luck)
        amount = push(amount, torch.ones(5, 1))
    counts = window_totals(amount, item, lag, (0.5, 2.0, math.inf), 3).cumsum(1)
    assert (counts.diff(dim=1) >= 0).all()
    assert torch.equal(counts[:, -1], totals(amount, item, 3))
    assert torch.equal(counts[:, -1].sum(-1), torch.full((5,), float(n)))


@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.sampled_from([100, 200, 40_000]),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0, math.inf]), min_size=1, unique=True).map(sorted),
    st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=50)
def test_sums_by_window_are_those_of_torch(n, capacity, n_values, windows, seed):
    luck = torch.Generator().manual_seed(seed)
    lag = torch.randint(10, (n, capacity), generator=luck) / 2.0
    amount = torch.rand(n, capacity, generator=luck) * (
        torch.rand(n, capacity, generator=luck) > 0.3
    )
    index = empty_index(lag, capacity, n_values * (len(windows) + 1))
    index = index + torch.randint(n_values, (n, capacity), generator=luck).to(index.dtype)
    # 32 bits are summed by a loop of our own, 64 by torch, in the same order.
    ours = window_totals(amount, index, lag, windows, n_values)
    by_torch = window_totals(amount.double(), index, lag.double(), windows, n_values)
    torch.testing.assert_close(ours.double(), by_torch, rtol=1e-6, atol=1e-7)
