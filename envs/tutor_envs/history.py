"""The last reviews of a student, for models that need the time of each.

A history is a set of columns with the newest review first. ``lag`` ``(n, H)`` holds the days since
each review; other columns ``(n, H, ...)`` hold what the review added, and are zero in slots not
used yet. Adding a review shifts every column by one, so the review before the last H drops out:
a model that keeps a history declares H as its longest lesson.

A column of amounts ``(n, H, K)`` is zero but at the reviewed item, so sums over reviews of an item
are matrix products, and empty slots count for nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor


def empty_column(like: Tensor, capacity: int, *shape: int) -> Tensor:
    """A column of an empty history, zeros ``(n, capacity, *shape)``.

    Args:
        like: ``(n, ...)``; gives the number of students, the dtype and the device.
        capacity: H, how many reviews are kept.
        shape: of one review's entry.
    """
    return like.new_zeros((like.shape[0], capacity, *shape))


def push(column: Tensor, newest: Tensor) -> Tensor:
    """The column ``(n, H, ...)`` with a review's entry ``(n, ...)`` in front, without its oldest.

    ::

        newest = d    [c, b, a]  ->  [d, c, b]
    """
    return torch.cat([newest.unsqueeze(1), column[:, :-1]], 1)


def within(lag: Tensor, windows: Tensor) -> Tensor:
    """Which reviews lie in which window: ``(n, H, W)`` of 0 and 1, weights for :func:`totals`.

    Args:
        lag: ``(n, H)``, days since each review.
        windows: ``(W,)``, in days; infinity holds all. Windows are nested: a review of today is in
            each, and one that is as old as the window still is.
    """
    return (lag.unsqueeze(-1) <= windows).to(lag.dtype)


def totals(amount: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of each item's amounts, ``(n, K, W)``.

    Args:
        amount: ``(n, H, K)``, what each review added to each item.
        weights: ``(n, H, W)``, W weights of each review.
    """
    return amount.transpose(1, 2) @ weights


def total(amount: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of each item's amounts, ``(n, K)``; ``weight`` ``(n, H)`` of each review."""
    return totals(amount, weight.unsqueeze(-1)).squeeze(-1)
