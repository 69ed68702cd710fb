"""POMCP: plans ahead by simulation, for families that are too big to be solved.

At every action a tree over what may happen next is searched by simulation
(:mod:`tutor_agents.planning.tree_search`, after Silver & Veness 2010, "Monte-Carlo planning in
large POMDPs", NIPS 23), from what is believed of the student now. With more simulations the action
tends to the best one of the next ``horizon`` actions, for the types reckoned with.

Where the posterior is over more types than ``n_particles``, that many are drawn from it for a plan
(systematic resampling: Kitagawa 1996, JCGS 5(1)); else all are there with their exact weights.

The simulations' luck is the tutor's own (``Purpose.TUTOR``), addressed by lesson, step and
simulation, never the students'. It is the same for all students, so that students with the same
history get the same plan, and are planned for once.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from tutor_agents.choice import best_legal
from tutor_agents.planning.mixture import Histories, Mixtures
from tutor_agents.planning.tree_search import SearchSettings, search
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask

_CHUNK_NUMBERS = 2**26
"""Numbers that the trees of several students hold at once (512 MiB)."""


class PomcpTutor:
    """Tree search on the belief; see the module's text."""

    name = "pomcp"

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        task: TeachingTask,
        *,
        n_simulations: int = 200,
        n_rollouts: int = 32,
        horizon: int = 16,
        n_particles: int = 16,
        exploration: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model who may be of these types.

        Args:
            model: how students learn and answer.
            types: who may come.
            task: what is scored, and how long a trial is.
            n_simulations: expansions of the tree for one action of one student.
            n_rollouts: simulated lessons that value a new node.
            horizon: actions looked ahead, at least 1; 1 is the myopic tutor.
            n_particles: types reckoned with in a plan.
            exploration: weight of the confidence bound, in units of the spread of the gains.
            device: where it computes.
        """
        self._task, self._horizon, self._exploration = task, horizon, exploration
        self._n_rollouts = n_rollouts
        self._n_simulations, self._n_particles = n_simulations, n_particles
        self._posterior = TypePosterior(model, types, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        self._trial = trial
        n, posterior = len(trial.students), self._posterior
        posterior.begin_trial(n)
        self._histories = Histories(n, posterior.model, posterior.device)

    def act(self, observation: Observation) -> Tensor:
        """The legal action that the search values most, int64 ``(n,)``."""
        first, inverse = self._histories.distinct()
        values = [
            self._searched(students, observation)
            for students in torch.split(first, self._chunk_size)
        ]
        return best_legal(torch.cat(values)[inverse], observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Update the posterior."""
        self._posterior.observe(action, observation)
        self._histories.observe(action, observation.response)

    # -- inside ------------------------------------------------------------------------------------
    def _searched(self, students: Tensor, observation: Observation) -> Tensor:
        """``(m, A)`` action values for some of the students."""
        step = observation.lesson * self._task.n_steps + observation.step
        horizon = min(self._horizon, self._task.n_trial_steps - step)
        luck = functools.partial(self._luck, observation, horizon)
        n = self._n_simulations
        kinds, weights = self._particles(students, luck(n)[0])
        roots = Mixtures.of(self._posterior, self._task, students, kinds, weights)
        legal = None if observation.legal is None else observation.legal[students]
        settings = SearchSettings(n if horizon > 1 else 0, horizon, self._exploration)
        # A Latin hypercube: at each step the rollouts' numbers lie one in each of equal parts.
        u = torch.stack([luck(n + 1 + i) for i in range(self._n_rollouts)])
        scenarios = (u.argsort(0).argsort(0) + u) / self._n_rollouts
        return search(roots, step, legal, settings, luck, scenarios)

    def _particles(self, students: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Which types are reckoned with, and their weights; ``(m, H)`` each."""
        weights, device = self._posterior.weights[students], students.device
        n_types, n_particles = self._posterior.n_types, self._n_particles
        if n_types <= n_particles:
            return torch.arange(n_types, device=device).expand_as(weights), weights
        place = (torch.arange(n_particles, device=device) + uniform) / n_particles
        edges = weights.cumsum(-1)[:, :-1].contiguous()
        place = place.double().expand(len(weights), -1).contiguous()
        kinds = torch.searchsorted(edges, place, right=True)
        return kinds, torch.full_like(place, 1 / n_particles)

    def _luck(self, observation: Observation, horizon: int, simulation: int) -> Tensor:
        """Uniforms of a simulation, ``(horizon,)``; see ``tree_search.Luck``."""
        return uniforms(
            self._trial.seed,
            torch.tensor([simulation], device=self._posterior.device),
            purpose=Purpose.TUTOR,
            n_lanes=horizon,
            trial=self._trial.trial,
            lesson=observation.lesson,
            step=observation.step,
        )[0]

    @functools.cached_property
    def _chunk_size(self) -> int:
        """Students whose trees are grown at once."""
        model = self._posterior.model
        one = sum(value[0, 0].numel() + 1 for value in self._posterior.belief.values())
        node = one * min(self._n_particles, self._posterior.n_types)
        node += model.n_actions * (4 + model.n_responses)
        tree = node * (1 + self._n_simulations * model.n_responses)
        return max(1, _CHUNK_NUMBERS // tree)
