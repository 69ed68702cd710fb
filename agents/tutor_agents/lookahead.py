"""Lookahead: the largest expected gain of the next d actions, by expectimax on the belief.

``Q_1(b, a) = gain(b, a)`` and
``Q_d(b, a) = gain(b, a) + sum_y P(y | b, a) max_a' Q_{d-1}(b_ay, a')``,

where b is the posterior over student types with the belief about the knowledge state given each
(:mod:`tutor_agents.type_posterior`), and ``b_ay`` the same after response y to action a: the
depth-limited tree search of Ross, Pineau, Paquet & Chaib-draa (2008), "Online planning algorithms
for POMDPs", JAIR 32, section 3. Depth 1 is the myopic tutor; a depth that reaches the end of the
trial is the Bayes-optimal one. At the end of a lesson the belief about the state restarts.

The tree has ``(A * R)**(d - 1)`` leaves: depth 2 or 3 is what can be had for most students.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import best_legal
from tutor_agents.planning.mixture import Histories, Mixtures
from tutor_agents.tutor import CannotTeach, Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask

_ROWS = 2**16
"""(belief, type) rows worked on at once."""


class LookaheadTutor:
    """Depth-limited expectimax on the belief; see the module's text."""

    name = "lookahead"

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        task: TeachingTask,
        *,
        depth: int = 2,
        max_beliefs: int = 1_000_000,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model who may be of these types.

        Args:
            model: how students learn and answer.
            types: who may come.
            task: what is scored, and how long a trial is.
            depth: actions looked ahead, at least 1.
            max_beliefs: refuse a depth that looks at more beliefs for one action of one student.
            device: where it computes.

        Raises:
            CannotTeach: the tree is too big.
        """
        n_branches = model.n_actions * model.n_responses
        depth = min(depth, task.n_trial_steps)
        n_beliefs = len(types.prior) * n_branches ** (depth - 1)
        if n_beliefs > max_beliefs:
            raise CannotTeach(
                f"`tutors.lookahead.depth` = {depth} looks at {len(types.prior)} types x "
                f"({model.n_actions} actions x {model.n_responses} responses)^{depth - 1} = "
                f"{n_beliefs:,} beliefs for one action of one student, more than `max_beliefs` = "
                f"{max_beliefs:,}: take a smaller `depth` or fewer `n_types`"
            )
        self._task, self._depth = task, depth
        self._posterior = TypePosterior(model, types, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        n, posterior = len(trial.students), self._posterior
        posterior.begin_trial(n)
        self._histories = Histories(n, posterior.model, posterior.device)

    def act(self, observation: Observation) -> Tensor:
        """The legal action with the largest expected gain to come, int64 ``(n,)``."""
        return best_legal(self.values(observation), observation.legal)

    def values(self, observation: Observation) -> Tensor:
        """The expected gain of the next ``depth`` actions by the first of them, ``(n, A)``."""
        posterior = self._posterior
        first, inverse = self._histories.distinct()
        kinds = torch.arange(posterior.n_types, device=first.device).expand(len(first), -1)
        mixtures = Mixtures.of(posterior, self._task, first, kinds, posterior.weights[first])
        step = observation.lesson * self._task.n_steps + observation.step
        depth = min(self._depth, self._task.n_trial_steps - step)
        return self._values(mixtures, step, depth)[inverse]

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Update the posterior."""
        self._posterior.observe(action, observation)
        self._histories.observe(action, observation.response)

    def _values(self, mixtures: Mixtures, step: int, depth: int) -> Tensor:
        """``(m, A)`` from a step of the trial on; minus infinity for illegal later actions."""
        model, n_steps = mixtures.model, self._task.n_steps
        if depth == 1:
            return mixtures.gains(step % n_steps)
        n_branches = model.n_actions * model.n_responses
        m, at_once = len(mixtures), max(1, _ROWS // (mixtures.weights.shape[1] * n_branches))
        index = torch.arange(m, device=mixtures.weights.device)
        if m > at_once:
            parts = [mixtures.rows(part) for part in torch.split(index, at_once)]
            return torch.cat([self._values(part, step, depth) for part in parts])
        branch = torch.arange(n_branches, device=index.device).repeat(m)
        after = mixtures.rows(index.repeat_interleave(n_branches)).after(
            branch // model.n_responses,
            branch % model.n_responses,
            lesson_ends=(step + 1) % n_steps == 0,
        )
        values, legal = self._values(after, step + 1, depth - 1), after.legal()
        if legal is not None:
            values = values.masked_fill(~legal, -torch.inf)
        best = values.amax(-1).view(m, model.n_actions, -1)
        future = (mixtures.outcomes() * best).sum(-1)
        return mixtures.gains(step % n_steps) + future
