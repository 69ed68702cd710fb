"""Training that is shared out over the processes that ``torchrun`` started.

Every process builds the same learner: whatever is random is addressed by seed and counters. In an
update it teaches its share of the students and is told what the others saw, so that all that is
computed on the whole batch (normalised advantages, orders of minibatches, explained variance) is
what one process computes. The students of a minibatch are shared out again, and the gradients are
averaged before they are clipped::

    students of an update   | 0 1 2 3 | 4 5 6 7 |      taught by process 0 | by process 1
    what was seen           | 0 1 2 3   4 5 6 7 |      known to both
    one minibatch           | 6 1 | 3 4 |              learned from by process 0 | by process 1

Shares are equal (:func:`check_shares`). A loss or number to log that is a mean over trials is
therefore the average of the means over the shares; where students are left out, :func:`mean_count`
is what to divide by.

A process that was started otherwise is alone, and nothing in here does anything. What adds up,
averages, gathers or tells must be called by all processes in the same order.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

_PATIENCE = timedelta(days=1)
"""How long the others wait for the first process while it validates. One that has died is noticed
without that: its connections close, and torchrun ends the others."""
_SETTLING_S, _LONGEST_SETTLING_S = 2.0, 10.0
"""How long is waited for the others to say that they are there, one or several being missing."""
_LETTING_GO_S = 0.2
"""Given to gloo's threads before the interpreter ends: each still holds the tensors of the last
operation for a moment, needs the interpreter to let go of them, and aborts the process (``terminate
called without an active exception``) where it comes too late."""


class LostProcess(Exception):
    """Another process has died; the text says which."""


@dataclasses.dataclass(frozen=True)
class _Group:
    rank: int
    size: int


_group: _Group | None = None


# -- who is there ----------------------------------------------------------------------------------
def launched() -> bool:
    """Whether ``torchrun`` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def join() -> None:
    """Meet the other processes, if ``torchrun`` started this one.

    Tensors on the CPU travel by gloo, those on a GPU by NCCL.
    """
    global _group
    if _group is not None or not launched():
        return
    store, rank, size = _meeting()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    atexit.register(time.sleep, _LETTING_GO_S)
    _group = _Group(rank, size)


def leave() -> None:
    """Be alone from now on; the others go on, or leave, too."""
    global _group
    if _group is not None:
        _group = None
        dist.destroy_process_group()


def size() -> int:
    """Number of processes that train together."""
    return 1 if _group is None else _group.size


def is_first() -> bool:
    """Whether this is the one process that writes and speaks."""
    return _group is None or _group.rank == 0


def check_shares(n_students: int) -> None:
    """Refuse a minibatch of so many students if it has no equal shares.

    Raises:
        ValueError: its size is not a multiple of the number of processes.
    """
    if n_students % size():
        raise ValueError(
            "the students of a minibatch (`n_trials` / `minibatches`) must be a multiple of the "
            f"number of processes, got {n_students} and {size()}"
        )


# -- shares ----------------------------------------------------------------------------------------
def share(students: Tensor) -> Tensor:
    """This process's share of ``(N,)`` students, or of indices of them, in their order."""
    return students if _group is None else students.chunk(_group.size)[_group.rank]


def gathered(mine: Tensor, dim: int = 0) -> Tensor:
    """The shares of all processes, equal in shape, put together along an axis; no gradient."""
    if _group is None:
        return mine
    mine = mine.detach().contiguous()
    parts = [torch.empty_like(mine) for _ in range(_group.size)]
    with _in_touch():
        dist.all_gather(parts, mine)
    return torch.cat(parts, dim)


def average_gradients(networks: nn.Module) -> None:
    """Replace every gradient by its average over the processes."""
    if _group is None:
        return
    gradients = [p.grad for p in networks.parameters() if p.grad is not None]
    flat = _summed(torch.cat([gradient.reshape(-1) for gradient in gradients])) / _group.size
    pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))


def mean_count(n: Tensor) -> Tensor:
    """What a sum over a share is divided by, so that the average over processes is the mean.

    Args:
        n: how many values this process sums, int64 ``()``.

    Returns:
        How many each process sums on average, of at least one in all; ``n``, or 1, if alone.
    """
    if _group is None:
        return n.clamp(min=1)
    return _summed(n.clone()).clamp(min=1) / _group.size


def variance(mine: Tensor) -> Tensor:
    """Of all the values of all processes together; no gradient."""
    return gathered(mine).var()


def largest(mine: Tensor) -> Tensor:
    """The largest ``()`` of all processes."""
    return mine if _group is None else gathered(mine.reshape(1)).max()


def averaged(logs: Mapping[str, float]) -> dict[str, float]:
    """Each number averaged over the processes, which log the same names."""
    if _group is None:
        return dict(logs)
    values = _summed(torch.tensor(list(logs.values()), dtype=torch.float64)) / _group.size
    return dict(zip(logs, values.tolist(), strict=True))


def total(mine: float) -> float:
    """The sum over the processes."""
    return mine if _group is None else _summed(torch.tensor(mine, dtype=torch.float64)).item()


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, told to all."""
    if _group is None:
        return make()
    told: list[T | None] = [make() if is_first() else None]
    with _in_touch():
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    return told[0]  # type: ignore[return-value]


def _summed(mine: Tensor) -> Tensor:
    """In place."""
    with _in_touch():
        dist.all_reduce(mine)
    return mine


# -- losing each other -----------------------------------------------------------------------------
def say_once(say: Callable[[], None], *, by_first: bool = False) -> None:
    """Let one process speak for all, the others wait for it: torchrun ends all when one ends.

    Args:
        say: prints.
        by_first: the first process speaks; else whoever comes first.
    """
    with contextlib.suppress(RuntimeError):
        store, rank, _ = _meeting()
        speaks = rank == 0 if by_first else store.add("speaks", 1) == 1
        if not speaks:
            store.wait(["said"], timedelta(seconds=_LONGEST_SETTLING_S * 2))
            return
    say()
    with contextlib.suppress(RuntimeError):
        _meeting()[0].set("said", "")


@functools.cache
def _meeting() -> tuple[Any, int, int]:
    """The store that torchrun keeps for its processes; rank and number of processes."""
    from torch.distributed.rendezvous import rendezvous  # not in every PyTorch

    store, rank, size = next(rendezvous("env://"))
    return store, rank, size


@contextlib.contextmanager
def _in_touch() -> Iterator[None]:
    """Turn an error of communication into a :class:`LostProcess`."""
    try:
        yield
    except RuntimeError as error:
        missing = _missing()
        if not missing:
            raise
        raise LostProcess(
            f"lost contact with rank {' and '.join(map(str, missing))} of {size()} processes: "
            "killed, or failed with the error above."
        ) from error


def _missing() -> list[int]:
    """The processes that do not say that they are there.

    A moment is waited in any case: torchrun now sends SIGTERM, which only training holds back.
    """
    assert _group is not None
    store = _meeting()[0]
    store.set(f"here/{_group.rank}", "")
    started_s = time.monotonic()
    while True:
        missing = [rank for rank in range(_group.size) if not store.check([f"here/{rank}"])]
        waited_s = time.monotonic() - started_s
        if waited_s > (_SETTLING_S if len(missing) <= 1 else _LONGEST_SETTLING_S):
            return missing
        time.sleep(0.1)
