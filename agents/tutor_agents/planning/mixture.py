"""Beliefs about many students at once, each a mixture over types, moved by the student model.

For planners that look ahead from where they are (:mod:`tutor_agents.lookahead`,
:mod:`tutor_agents.pomcp`); the exact planner builds graphs instead (:mod:`.belief_graph`). A
mixture is the probability of each of H types and, given each type, the model's belief about the
knowledge state. A response moves it by Bayes' rule, as in :mod:`tutor_agents.type_posterior`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tutor_agents.planning.kernel import gain_weight, gains
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.student import Belief, StudentModel
from tutor_envs.task import TeachingTask


@dataclass(frozen=True)
class Mixtures:
    """``m`` mixtures of H types each; rows of latents and beliefs are ``mixture * H + type``.

    Attributes:
        model: how students learn and answer.
        task: what is scored, and how long lessons are.
        weights: float64 ``(m, H)``, probability of each type; rows sum to one.
        latents: name -> ``(m * H, ...)``.
        belief: name -> ``(m * H, ...)``.
    """

    model: StudentModel
    task: TeachingTask
    weights: Tensor
    latents: dict[str, Tensor]
    belief: Belief

    @classmethod
    def of(
        cls,
        posterior: TypePosterior,
        task: TeachingTask,
        students: Tensor,
        kinds: Tensor,
        weights: Tensor,
    ) -> Mixtures:
        """What is believed about some of the students.

        Args:
            posterior: about all students.
            task: what is scored.
            students: int64 ``(m,)``, which ones.
            kinds: int64 ``(m, H)``, which types are reckoned with.
            weights: ``(m, H)``, of these types.
        """
        belief = {
            name: value[students.unsqueeze(-1), kinds].flatten(0, 1)
            for name, value in posterior.belief.items()
        }
        return cls(posterior.model, task, weights, posterior.latents_of(kinds.flatten()), belief)

    def __len__(self) -> int:
        """How many mixtures."""
        return len(self.weights)

    def gains(self, step: Tensor | int) -> Tensor:
        """``(m, A)`` expected gain of what is scored by each action, less the action's costs.

        Args:
            step: of the lesson, from 0; of each mixture ``(m,)``, or the same for all.
        """
        values = gains(self.model, self.task, self.latents, self.belief)
        mean = self._mean(values)
        if self.task.reward.score == "mean_recall":
            weight = [gain_weight(self.task, t) for t in range(self.task.n_steps)]
            mean = mean * mean.new_tensor(weight)[step].view(-1, 1)
        costs = self.model.action_costs
        return mean if costs is None else mean - mean.new_tensor(costs)

    def legal(self) -> Tensor | None:
        """Bool ``(m, A)``; None where all actions are legal.

        It follows from the observable history, so that it is the same for every type.
        """
        legal = self.model.legal_actions(self.belief)
        return None if legal is None else legal[:: self.weights.shape[1]]

    def predict(self, action: Tensor) -> Tensor:
        """``(m, H, R)`` probability of each response given each type; ``action`` int64 ``(m,)``."""
        n_types = self.weights.shape[1]
        p = self.model.predict(self.latents, self.belief, action.repeat_interleave(n_types))
        return p.view(-1, n_types, p.shape[-1])

    def outcomes(self) -> Tensor:
        """``(m, A, R)`` probability of each response to each action."""
        m, n_actions = len(self), self.model.n_actions
        action = torch.arange(n_actions, device=self.weights.device)
        every = self.rows(torch.arange(m, device=action.device).repeat_interleave(n_actions))
        p = every.predict(action.repeat(m))
        return (every.weights.to(p).unsqueeze(-1) * p).sum(1).view(m, n_actions, -1)

    def after(self, action: Tensor, response: Tensor, *, lesson_ends: Tensor | bool) -> Mixtures:
        """The mixtures after a response, int64 ``(m,)`` each.

        A response of probability zero leaves finite numbers. Where ``lesson_ends``, bool ``(m,)``
        or the same for all, a new lesson begins.
        """
        n_types = self.weights.shape[1]
        p = self.predict(action)
        index = response.view(-1, 1, 1).expand(-1, n_types, 1)
        joint = self.weights * p.gather(-1, index).squeeze(-1)
        total = joint.sum(-1, keepdim=True)
        weights = torch.where(total > 0, joint / total.clamp(min=1e-300), self.weights)
        belief = self.model.update(
            self.latents,
            self.belief,
            action.repeat_interleave(n_types),
            response.repeat_interleave(n_types),
        )
        ends = torch.as_tensor(lesson_ends, device=weights.device)
        if bool(ends.any()):
            # A new topic: what is known of the knowledge state is lost, what of the type is kept.
            start = self.model.begin_belief(self.latents)
            where = ends.expand(len(weights)).repeat_interleave(n_types)
            belief = {
                name: torch.where(where.view(-1, *[1] * (value.dim() - 1)), start[name], value)
                for name, value in belief.items()
            }
        return replace(self, weights=weights, belief=belief)

    def rows(self, index: Tensor) -> Mixtures:
        """These mixtures, int64 ``(m',)``; one may come several times."""
        n_types = self.weights.shape[1]
        each = torch.arange(n_types, device=index.device)
        each = (index.unsqueeze(-1) * n_types + each).flatten()
        return replace(
            self,
            weights=self.weights[index],
            latents={name: value[each] for name, value in self.latents.items()},
            belief={name: value[each] for name, value in self.belief.items()},
        )

    def _mean(self, values: Tensor) -> Tensor:
        values = values.view(len(self), -1, values.shape[-1])
        return (self.weights.to(values).unsqueeze(-1) * values).sum(1)


class Histories:
    """Which students of a trial have the same history, so that one plan serves them all."""

    def __init__(self, n_students: int, model: StudentModel, device: torch.device) -> None:
        """Nothing has happened: all are alike."""
        self._group = torch.zeros(n_students, dtype=torch.int64, device=device)
        self._n_actions, self._n_responses = model.n_actions + 1, model.n_responses + 1

    def observe(self, action: Tensor, response: Tensor) -> None:
        """Tell apart whose action or response differ, int64 ``(n,)`` each."""
        code = (self._group * self._n_actions + action) * self._n_responses + response
        self._group = torch.unique(code, return_inverse=True)[1]

    def distinct(self) -> tuple[Tensor, Tensor]:
        """``first`` ``(m,)``, a student with each history, and ``inverse`` ``(n,)`` into it."""
        n = len(self._group)
        m = int(self._group.max()) + 1 if n else 0
        student = torch.arange(n, device=self._group.device)
        first = torch.full((m,), n, device=student.device)
        return first.scatter_reduce(0, self._group, student, "amin"), self._group
