"""How the belief of an observer who knows a student's type moves, in two forms of one interface.

* :class:`ModelKernel` asks the student model; it serves every model.
* :class:`MatrixKernel` is for models whose belief is a distribution over S hidden states (BKT).
  Bayes' rule and the transition are then one linear map for each action and response, the filter
  of a hidden Markov model: ``b' ~ b M[a, r]`` with ``M[a, r, s, s'] = P(r | s, a) P(s' | s, a, r)``
  (Rabiner 1989, Proceedings of the IEEE 77(2)), and the expected gain is linear in the belief.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tutor_agents.planning.level import check_size
from tutor_agents.planning.merge import rows_fingerprint
from tutor_agents.tutor import CannotTeach
from tutor_envs.student import Belief, Latents, StudentModel
from tutor_envs.task import TeachingTask

_FLOAT_BYTES = 8


def expanded(latents: Latents, n: int) -> dict[str, Tensor]:
    """The latents of one type, for ``n`` rows."""
    return {name: value.expand(n, *value.shape[1:]) for name, value in latents.items()}


def score(model: StudentModel, task: TeachingTask, latents: Latents, belief: Belief) -> Tensor:
    """``(n,)`` expected value of what the task scores, now.

    Raises:
        CannotTeach: the task's score is not a sum of expected gains.
    """
    if task.reward.score == "post_test":
        return model.belief_post_test(latents, belief)
    if task.reward.score in ("mastery_gain", "mean_recall"):
        return model.belief_mastery(latents, belief).mean(-1)
    raise CannotTeach(f"the exact planner cannot plan for `task.reward.score: {task.reward.score}`")


def start_score(model: StudentModel, task: TeachingTask, latents: Latents) -> Tensor:
    """``(n,)`` expected score of a lesson in which nothing is learned or forgotten."""
    now = score(model, task, latents, model.begin_belief(latents))
    return torch.zeros_like(now) if task.reward.score == "mastery_gain" else now


def gains(model: StudentModel, task: TeachingTask, latents: Latents, belief: Belief) -> Tensor:
    """``(n, A)`` expected change of what the task scores, by each action."""
    if task.reward.score == "post_test":
        return model.belief_gains(latents, belief)
    before = score(model, task, latents, belief)
    changes = before.new_zeros((len(before), model.n_actions))
    for a in range(model.n_actions):
        action = torch.full((len(before),), a, device=before.device)
        p_response = model.predict(latents, belief, action)
        for r in range(model.n_responses):
            after = model.update(latents, belief, action, torch.full_like(action, r))
            changes[:, a] += p_response[:, r] * (score(model, task, latents, after) - before)
    return changes


def gain_weight(task: TeachingTask, step: int) -> float:
    """What a gain at ``step`` counts: a mean over the lesson sees it in the steps that are left."""
    if task.reward.score == "mean_recall":
        return (task.n_steps - step) / task.n_steps
    return 1.0


class Kernel(Protocol):
    """The beliefs of one type of students; A actions, O outcomes of each."""

    n_actions: int
    n_outcomes: int

    def begin(self) -> Belief:
        """The belief at the start of a lesson, one row."""
        ...

    def outlook(self, belief: Belief) -> tuple[Tensor, Tensor, Tensor | None]:
        """What each action does.

        Returns:
            Expected gains ``(n, A)``; probabilities of the outcomes ``(n, A * O)``, zero for an
            illegal action; legal actions, bool ``(n, A)`` or None where all are.
        """
        ...

    def successor(self, belief: Belief, action: int, outcome: int) -> Belief:
        """The belief after one action and outcome, the same for all rows."""
        ...

    def fingerprint(self, belief: Belief) -> Tensor:
        """int64 ``(n,)``, equal for beliefs that planning need not tell apart."""
        ...


class ModelKernel:
    """Beliefs moved by the student model itself; the outcomes are the responses."""

    def __init__(self, model: StudentModel, latents: Latents, task: TeachingTask) -> None:
        """Beliefs about students with these latents.

        Args:
            model: the student model.
            latents: of one type, ``(1, ...)`` each.
            task: says what is scored.
        """
        self.model, self.latents, self.task = model, latents, task
        self.n_actions, self.n_outcomes = model.n_actions, model.n_responses

    def begin(self) -> Belief:
        """The model's first belief."""
        return self.model.begin_belief(self.latents)

    def outlook(self, belief: Belief) -> tuple[Tensor, Tensor, Tensor | None]:
        """One call of the model for each action."""
        n = len(next(iter(belief.values())))
        latents = expanded(self.latents, n)
        p = torch.empty((n, self.n_actions, self.n_outcomes), dtype=torch.float64)
        for a in range(self.n_actions):
            p[:, a] = self.model.predict(latents, belief, torch.full((n,), a))
        legal = self.model.legal_actions(belief)
        if legal is not None:
            p.masked_fill_(~legal.unsqueeze(-1), 0.0)
        return gains(self.model, self.task, latents, belief), p.flatten(1), legal

    def successor(self, belief: Belief, action: int, outcome: int) -> Belief:
        """One call of the model."""
        n = len(next(iter(belief.values())))
        actions, responses = torch.full((n,), action), torch.full((n,), outcome)
        return self.model.update(expanded(self.latents, n), belief, actions, responses)

    def fingerprint(self, belief: Belief) -> Tensor:
        """Of the planning part of the belief; one for all where that is empty."""
        n = len(next(iter(belief.values())))
        columns = [
            value.reshape(n, -1).double() for value in self.model.planning_belief(belief).values()
        ]
        return rows_fingerprint(
            torch.cat([torch.zeros(n, 1, dtype=torch.float64), *columns], dim=1)
        )


@dataclass
class HiddenStates:
    """One type of students as a hidden Markov model with S states.

    Attributes:
        start: ``(1, S)`` probabilities at the start of a lesson.
        moves: ``(A, R, S, S)``, ``P(r | s, a) P(s' | s, a, r)``.
        gains: ``(S, A)`` expected gain of each action in each state.
    """

    start: Tensor
    moves: Tensor
    gains: Tensor

    @classmethod
    def of(
        cls, model: StudentModel, task: TeachingTask, latents: Latents, max_bytes: float
    ) -> HiddenStates:
        """Read the matrices off a model whose belief is a distribution.

        Raises:
            ValueError: the matrices need more than ``max_bytes``.
        """
        ((name, start),) = model.begin_belief(latents).items()
        n_states, n_actions, n_responses = start.shape[1], model.n_actions, model.n_responses
        n_bytes = _FLOAT_BYTES * n_actions * n_responses * n_states**2
        check_size(f"the transition matrix of {n_states:,} hidden states", 2 * n_bytes, max_bytes)
        known = {name: torch.eye(n_states, dtype=start.dtype)}
        rows = expanded(latents, n_states)
        moves = torch.empty((n_actions, n_responses, n_states, n_states), dtype=start.dtype)
        for a in range(n_actions):
            action = torch.full((n_states,), a)
            p_response = model.predict(rows, known, action)
            for r in range(n_responses):
                after = model.update(rows, known, action, torch.full((n_states,), r))[name]
                moves[a, r] = p_response[:, r : r + 1] * after
        return cls(start, moves, gains(model, task, rows, known))

    def unseen(self) -> HiddenStates:
        """The same students, watched by nobody: one outcome of every action."""
        return HiddenStates(self.start, self.moves.sum(1, keepdim=True), self.gains)


class MatrixKernel:
    """Beliefs that are distributions over hidden states, moved by matrices."""

    def __init__(self, states: HiddenStates) -> None:
        """Beliefs about these students."""
        self.states = states
        self.n_actions, self.n_outcomes = states.moves.shape[:2]
        self._p_outcome = states.moves.sum(-1).permute(2, 0, 1).flatten(1).contiguous()

    def begin(self) -> Belief:
        """The distribution at the start."""
        return {"p": self.states.start}

    def outlook(self, belief: Belief) -> tuple[Tensor, Tensor, Tensor | None]:
        """Two products of matrices; every action is legal."""
        return belief["p"] @ self.states.gains, belief["p"] @ self._p_outcome, None

    def successor(self, belief: Belief, action: int, outcome: int) -> Belief:
        """One product, normalised."""
        joint = belief["p"] @ self.states.moves[action, outcome]
        total = joint.sum(1, keepdim=True)
        return {"p": joint / total.clamp(min=torch.finfo(joint.dtype).tiny)}

    def fingerprint(self, belief: Belief) -> Tensor:
        """Of the distribution."""
        return rows_fingerprint(belief["p"])
