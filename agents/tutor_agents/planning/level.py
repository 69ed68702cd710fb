"""A level of a decision graph: what can be done at one time step, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tutor_agents.tutor import CannotTeach

_GIB = 2**30
DEFAULT_MAX_BYTES = 4 * _GIB
"""What a planner may hold at once, unless told otherwise."""
_CHUNK_NUMBERS = 2**20


@dataclass
class Level:
    """All nodes at one time step; ``n`` nodes, ``A`` actions, ``R`` responses.

    Attributes:
        reward: ``(n, A)`` expected immediate reward.
        legal: bool ``(n, A)``; None where every action is legal.
        p_response: ``(n, A * R)``, zero where the action is illegal; None where nothing follows.
        child: int32 ``(n, A * R)``, node of the next level (a valid one even where the response is
            impossible: then the likeliest response's child); None at the last level.
    """

    reward: Tensor
    legal: Tensor | None = None
    p_response: Tensor | None = None
    child: Tensor | None = None

    @property
    def n_nodes(self) -> int:
        """Nodes of this level."""
        return len(self.reward)

    @property
    def n_bytes(self) -> int:
        """What the level holds."""
        held = (self.reward, self.legal, self.p_response, self.child)
        return sum(tensor.nbytes for tensor in held if tensor is not None)

    @property
    def n_actions(self) -> int:
        """A."""
        return self.reward.shape[1]

    def immediate(self) -> Tensor:
        """``(n, A)`` reward, minus infinity for illegal actions."""
        return (
            self.reward if self.legal is None else self.reward.masked_fill(~self.legal, -torch.inf)
        )

    def values(self, after: Tensor | None) -> Tensor:
        """Immediate reward plus the expected value of what follows, ``(n, A)``.

        Args:
            after: ``(n_next,)`` value of each node of the next level; at the last level ``(n, A)``
                value of what follows each action, or None for nothing.
        """
        q = self.immediate()
        if self.child is None:
            return q if after is None else q + after
        assert after is not None
        assert self.p_response is not None
        future = torch.empty_like(q)
        for rows in row_chunks(self.n_nodes, self.child.shape[1]):
            reached = after.index_select(0, self.child[rows].flatten()).view_as(self.child[rows])
            weighted = reached.mul_(self.p_response[rows])
            future[rows] = weighted.view(len(weighted), self.n_actions, -1).sum(-1)
        return future.add_(q)


def row_chunks(n: int, width: int) -> list[slice]:
    """Slices that cut ``n`` rows of ``width`` numbers into pieces that fit a processor's cache."""
    size = max(1, _CHUNK_NUMBERS // max(1, width))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def fill_impossible(child: Tensor, p_response: Tensor, n_actions: int) -> Tensor:
    """Point impossible responses to the child of the same action's likeliest response.

    Args:
        child: int32 ``(n, A * R)``.
        p_response: ``(n, A * R)``.
        n_actions: A.
    """
    if bool((p_response > 0).all()):
        return child
    shape = (len(child), n_actions, -1)
    likeliest = p_response.view(shape).argmax(-1, keepdim=True)
    fallback = child.view(shape).gather(-1, likeliest).expand(child.view(shape).shape)
    return torch.where(p_response > 0, child, fallback.reshape(child.shape))


def check_size(what: str, n_bytes: float, max_bytes: float) -> None:
    """Refuse what does not fit.

    Raises:
        CannotTeach: ``n_bytes`` is more than ``max_bytes``.
    """
    if n_bytes > max_bytes:
        raise CannotTeach(
            f"{what} needs about {n_bytes / _GIB:.2f} GiB, more than `max_bytes` = "
            f"{max_bytes / _GIB:.2f} GiB: the family is too big for exact planning; use fewer "
            "steps, types, actions or responses"
        )
