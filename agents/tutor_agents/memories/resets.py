"""Trials that begin inside a sequence, at other steps for other students; for any memory."""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.memories.memory import Memory, MemoryState


def begin_where(memory: Memory, state: MemoryState, begins: Tensor) -> MemoryState:
    """An empty memory for the students whose trial begins; the others keep theirs.

    Args:
        memory: whose state it is.
        state: of N students; not changed.
        begins: bool ``(N,)``.
    """
    empty = memory.begin(len(begins))
    return {
        name: torch.where(begins.view(-1, *[1] * (kept.ndim - 1)), empty[name], kept)
        for name, kept in state.items()
    }


def sequence_with_resets(memory: Memory, x: Tensor, begins: Tensor) -> Tensor:
    """The outputs of a memory that is emptied wherever a trial begins.

    The trials of all students are laid side by side as rows, each from its first step on::

        student 0   a a a b b        a a a
        student 1   c d d d d   ->   b b .
                                     c . .
                                     d d d d

    What fills a row behind its trial's end is harmless, because a memory is causal.

    Args:
        memory: any.
        x: ``(T, N, W)``; no trial may be longer than the memory's ``n_steps``.
        begins: bool ``(T, N)``, the step is the first of a trial; the first row counts as true.

    Returns:
        ``(T, N, W)``.
    """
    n_steps, n_students, width = x.shape
    begins = begins.clone()
    begins[0] = True
    starts = begins.T.flatten()  # student after student
    trial = starts.cumsum(0) - 1
    (first,) = starts.nonzero(as_tuple=True)
    step = torch.arange(len(starts), device=x.device) - first[trial]
    rows = x.new_zeros(int(step.max()) + 1, len(first), width)
    rows[step, trial] = x.transpose(0, 1).flatten(0, 1)
    out = memory.sequence(rows)[step, trial]
    return out.view(n_students, n_steps, width).transpose(0, 1)
