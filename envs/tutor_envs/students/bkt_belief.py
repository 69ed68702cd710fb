"""What an observer knows of which skills are mastered: two exact forms of the same belief.

Where skills depend on each other (prerequisites, listed initial states) the belief is over the
``2**K`` joint states; where they do not, it is the product of K marginals, and K may be large.
Both forms know the same verbs, on a tensor ``p`` with n rows.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class MasteryBelief(Protocol):
    """A belief ``p`` about the mastery of K skills; ``skill`` is int64 ``(n,)``."""

    def begin(self, p_init: Tensor) -> Tensor:
        """Skills mastered independently with ``p_init`` ``(n, K)``."""
        ...

    def known(self, p: Tensor, skill: Tensor) -> Tensor:
        """Probability that the skill is mastered, ``(n,)``."""
        ...

    def weigh(self, p: Tensor, skill: Tensor, if_known: Tensor, if_not: Tensor) -> Tensor:
        """Bayes' rule with the likelihoods ``(n,)`` of the answer in both cases."""
        ...

    def learn(self, p: Tensor, skill: Tensor, p_learn: Tensor) -> Tensor:
        """The skill is learned with ``p_learn`` ``(n,)`` times the readiness for it."""
        ...

    def lose(self, p: Tensor, p_lost: Tensor) -> Tensor:
        """Each mastered skill is lost independently with ``p_lost`` ``(n, K)``."""
        ...

    def mastery(self, p: Tensor) -> Tensor:
        """Marginal probability that each skill is mastered, ``(n, K)``."""
        ...

    def teachable(self, p: Tensor) -> Tensor:
        """Expected readiness to learn each skill, zero once it is mastered, ``(n, K)``."""
        ...


class FactoredBelief:
    """Independent skills: ``p`` ``(n, K)`` holds the marginals."""

    def begin(self, p_init: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return p_init

    def known(self, p: Tensor, skill: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return p.gather(-1, skill.unsqueeze(-1)).squeeze(-1)

    def weigh(self, p: Tensor, skill: Tensor, if_known: Tensor, if_not: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        known = self.known(p, skill)
        joint = known * if_known
        total = joint + (1 - known) * if_not
        posterior = joint / total.clamp(min=torch.finfo(p.dtype).tiny)
        return p.scatter(-1, skill.unsqueeze(-1), posterior.unsqueeze(-1))

    def learn(self, p: Tensor, skill: Tensor, p_learn: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        known = self.known(p, skill)
        after = known + (1 - known) * p_learn
        return p.scatter(-1, skill.unsqueeze(-1), after.unsqueeze(-1))

    def lose(self, p: Tensor, p_lost: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return p * (1 - p_lost)

    def mastery(self, p: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return p

    def teachable(self, p: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return 1 - p


class JointBelief:
    """Dependent skills: ``p`` ``(n, 2**K)``; bit k of a state's index says whether k is mastered.

    Args:
        requires: bool ``(K, K)``; row k marks the prerequisites of skill k.
        factor: readiness for a skill while a prerequisite is missing.
    """

    def __init__(self, requires: Tensor, factor: float) -> None:
        self._requires = requires
        self._factor = factor

    @cached_property
    def bits(self) -> Tensor:
        """``(2**K, K)`` bool: which skills the joint state with this index masters."""
        n_skills = len(self._requires)
        index = torch.arange(2**n_skills)
        return (index.unsqueeze(-1) >> torch.arange(n_skills)) % 2 == 1

    @cached_property
    def _readiness(self) -> Tensor:
        """``(2**K, K)``: factor on learning skill k in each joint state; 0 where it is mastered."""
        missing = (self._requires & ~self.bits.unsqueeze(1)).any(-1)
        return (1 - missing.double() * (1 - self._factor)) * ~self.bits

    def _knows(self, skill: Tensor) -> Tensor:
        return self.bits.to(skill.device).T[skill]

    def begin(self, p_init: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        bits, p_init = self.bits.to(p_init.device), p_init.unsqueeze(1)
        return torch.where(bits, p_init, 1 - p_init).prod(-1)

    def known(self, p: Tensor, skill: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return (p * self._knows(skill)).sum(-1)

    def weigh(self, p: Tensor, skill: Tensor, if_known: Tensor, if_not: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        likelihood = torch.where(self._knows(skill), if_known.unsqueeze(-1), if_not.unsqueeze(-1))
        joint = p * likelihood
        return joint / joint.sum(-1, keepdim=True).clamp(min=torch.finfo(joint.dtype).tiny)

    def learn(self, p: Tensor, skill: Tensor, p_learn: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        index = torch.arange(p.shape[-1], device=p.device)
        moved = p * p_learn.unsqueeze(-1) * self._readiness.to(p).T[skill]
        return p - moved + moved.gather(-1, index ^ (1 << skill).unsqueeze(-1))

    def lose(self, p: Tensor, p_lost: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        n_skills = p_lost.shape[-1]
        for k in range(n_skills):
            # Bit k of the joint state as a dimension of its own: not mastered, mastered.
            not_yet, mastered = p.view(-1, 2 ** (n_skills - 1 - k), 2, 2**k).unbind(2)
            lost = mastered * p_lost[:, k].view(-1, 1, 1)
            p = torch.stack([not_yet + lost, mastered - lost], dim=2).flatten(1)
        return p

    def mastery(self, p: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return p @ self.bits.to(p)

    def teachable(self, p: Tensor) -> Tensor:
        """See :class:`MasteryBelief`."""
        return p @ self._readiness.to(p)
