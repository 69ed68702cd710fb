"""The average student, for a planner that does not infer the student's type."""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.planning.kernel import ModelKernel, expanded, score
from tutor_envs.population import FiniteTypes
from tutor_envs.student import Belief, StudentModel
from tutor_envs.task import TeachingTask


class AverageKernel(ModelKernel):
    """A student who answers with the mean probability of all types in the same knowledge state.

    For models whose state is known and moves alike in every type (memory): the probability of each
    response and the score of each state are averaged over the prior. That is the best prediction of
    a stranger's answers and score, kept whatever the answers say of the type. It is not the student
    with the mean half-lives, whose forgetting curve differs from the mean curve.
    """

    def __init__(self, model: StudentModel, types: FiniteTypes, task: TeachingTask) -> None:
        """The average of these types.

        Args:
            model: the student model.
            types: the family.
            task: says what is scored.
        """
        self._all = [
            {name: value[z : z + 1] for name, value in types.latents.items()}
            for z in range(len(types.prior))
        ]
        self._prior: list[float] = types.prior.tolist()
        super().__init__(model, self._all[0], task)

    def _score(self, belief: Belief) -> Tensor:
        n = len(next(iter(belief.values())))
        scores = (score(self.model, self.task, expanded(one, n), belief) for one in self._all)
        return torch.stack([p * s for p, s in zip(self._prior, scores, strict=True)]).sum(0)

    def outlook(self, belief: Belief) -> tuple[Tensor, Tensor, Tensor | None]:
        """Means over the types, of responses and of what follows from them."""
        before = self._score(belief)
        n = len(before)
        p = torch.zeros((n, self.n_actions, self.n_outcomes), dtype=torch.float64)
        changes = torch.zeros((n, self.n_actions), dtype=torch.float64)
        for a in range(self.n_actions):
            action = torch.full((n,), a)
            for weight, one in zip(self._prior, self._all, strict=True):
                p[:, a] += weight * self.model.predict(expanded(one, n), belief, action)
            for r in range(self.n_outcomes):
                changes[:, a] += p[:, a, r] * (self._score(self.successor(belief, a, r)) - before)
        legal = self.model.legal_actions(belief)
        if legal is not None:
            p.masked_fill_(~legal.unsqueeze(-1), 0.0)
        return changes, p.flatten(1), legal
