"""Choosing an action by what it teaches: the ways to teach a skill take turns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tutor_agents.choice import best_scores, first_legal


class WaysInTurn:
    """The A actions, sorted by which of K skills (or cards) each teaches.

    Between actions on the same skill that are equally good (modalities, and difficulties where a
    model has them), the one in turn is taken: in the order of their indices, one further with every
    practice of the skill, so that no modality is preferred.
    """

    def __init__(
        self, taught: Sequence[int], n_skills: int, *, device: torch.device | str = "cpu"
    ) -> None:
        """Take what each action teaches.

        Args:
            taught: A indices in [0, K), or -1 for nothing that counts here.
            n_skills: K.
            device: where to compute.
        """
        n_actions = len(taught)
        place = [taught[:i].count(skill) for i, skill in enumerate(taught)]
        self._skill = torch.tensor(taught, device=device)
        self._place = torch.tensor(place, device=device)
        self._teaches = self._skill.unsqueeze(-1) == torch.arange(n_skills, device=device)
        self._n_ways = self._teaches.sum(0).clamp(min=1)
        self._in_order = torch.arange(n_actions, device=device)
        self.begin(1)

    @property
    def teaches(self) -> Tensor:
        """Bool ``(A, K)``: which skill each action teaches."""
        return self._teaches

    @property
    def practices(self) -> Tensor:
        """int64 ``(n, K)``: practices of each skill since ``begin``."""
        return self._practices

    def begin(self, n_students: int) -> None:
        """No skill was practised yet."""
        shape = (n_students, self._teaches.shape[-1])
        self._practices = torch.zeros(shape, dtype=torch.int64, device=self._skill.device)

    def count(self, action: Tensor) -> None:
        """``action``, int64 ``(n,)``, was taken."""
        self._practices = self._practices + self._teaches[action]

    def available(self, legal: Tensor | None) -> Tensor:
        """Bool ``(n, K)``: skills that some legal action teaches.

        Args:
            legal: bool ``(n, A)``; None: all are.
        """
        if legal is None:
            return self._teaches.any(0).expand_as(self._practices)
        return (legal.unsqueeze(-1) & self._teaches).any(1)

    def of_actions(self, score: Tensor) -> Tensor:
        """The score of what each action teaches, ``(n, A)`` of ``(n, K)``."""
        return score[:, self._skill]

    def best(self, score: Tensor, legal: Tensor | None) -> Tensor:
        """The legal action with the best score, int64 ``(n,)``.

        Of equal scores (:func:`tutor_agents.choice.best_scores`) the skill with the lowest index
        wins, and of that skill the way in turn. Actions that teach nothing are the last resort.

        Args:
            score: ``(n, A)``, above ``-inf`` where an action may be taken at all.
            legal: bool ``(n, A)``, at least one true in each row; None: all are.
        """
        n_actions, n_skills = self._teaches.shape
        teaches = self._skill >= 0
        turn = (self._place - self.of_actions(self._practices)).remainder(
            self.of_actions(self._n_ways.unsqueeze(0))
        )
        skill = self._skill.remainder(n_skills + 1)  # those that teach nothing come last
        rank = skill * n_actions + torch.where(teaches, turn, self._in_order)
        best = best_scores(score.masked_fill(~teaches, -torch.inf), legal)
        return first_legal(torch.where(best, rank, rank + n_actions * (n_skills + 1)), legal)
