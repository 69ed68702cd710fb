"""Bandits: every teaching action is an arm, and an arm's value is what was seen to come of it.

No student model is needed, and none is assumed: these tutors read right and wrong answers, for each
student apart. What an arm is paid decides what they teach:

* ``reward: answer``: 1 for a right answer to the action itself. Right for students whose answer
  shows what the practice did (the style bandit); elsewhere it leads to what is known already.
* ``reward: progress``: what came of the practice by the next answer on the same topic in this
  lesson, ``y' - y`` in {-1, 0, 1}, as ``(1 + y' - y) / 2``. So a practice is paid when its topic is
  next asked for, and not at all if it never is. ``y`` is what the student could do before the
  practice: most student models answer first and learn then.

With N_a rewards of arm a so far, their mean m_a and ``t = sum_a N_a``:

==================  =============================================================================
``epsilon_greedy``  the largest m_a, or with probability ``epsilon`` any arm; an arm without a
                    reward counts 1, an optimistic first value (Sutton & Barto 2018, 2.2 and 2.6)
``ucb1``            an arm without a reward first; then the largest
                    ``m_a + sqrt(exploration * ln t / N_a)`` (Auer, Cesa-Bianchi & Fischer 2002,
                    Machine Learning 47; theirs has ``exploration`` 2)
``thompson_bandit`` the largest of draws from ``Beta(1 + S_a, 1 + N_a - S_a)``, S_a = N_a m_a being
                    the sum of the rewards (Thompson 1933; Chapelle & Li 2011, NIPS). Unlike
                    ``thompson`` it knows no student types
==================  =============================================================================

Equals come in a random order of each student's own: with more arms than steps the order in which
they are tried matters, and that of the index would favour the first skill.

Rewards that have not come in yet are not counted, as in Joulani, Gyorgy & Szepesvari 2013, ICML; so
under ``progress`` UCB1 repeats an arm that was tried and not paid.

``warm_start: true`` begins with what the population has shown: ``n_students`` training students are
taught at random, and each arm that was paid starts with ``prior_weight`` rewards of their mean.

Statistics are kept through all lessons of the trial. Arms that ask for no answer, or are about no
topic, are taken only where nothing else is legal. Contexts are for :mod:`tutor_agents.linucb`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tutor_agents.choice import (
    best_first,
    beta_variates,
    legal_among,
    random_order,
    tutor_uniforms,
    uniform_legal,
)
from tutor_agents.teaching_actions import Items
from tutor_agents.tutor import Trial
from tutor_agents.warm_start import watch_training_students
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.student import CORRECT, StudentModel
from tutor_envs.task import TeachingTask

RewardKind = Literal["answer", "progress"]
_NOBODY = -1
_UNTRIED = 1e6
"""Above every index of an arm that was paid."""


class Payment(NamedTuple):
    """What came in for whom after a step.

    Attributes:
        arm: int64 ``(n,)``, the action that is paid.
        reward: float64 ``(n,)`` in [0, 1].
        paid: bool ``(n,)``; where it is false the others mean nothing.
    """

    arm: Tensor
    reward: Tensor
    paid: Tensor


class Rewards:
    """Turns answers into payments for actions; see the module's text."""

    def __init__(self, kind: RewardKind, items: Items) -> None:
        """Pay for these actions by this kind of reward."""
        self.kind, self._items = kind, items

    def begin_trial(self, n: int) -> None:
        """Nobody waits for a reward."""
        shape = (n, len(self._items.topics) + 1)
        self._waiting = torch.full(shape, _NOBODY, device=self._items.topic.device)
        self._before = torch.zeros(shape, dtype=torch.float64, device=self._items.topic.device)

    def observe(self, action: Tensor, observation: Observation) -> Payment:
        """What came in after this action; a lesson's end leaves those who wait unpaid."""
        answered = (observation.response <= CORRECT) & self._items.asks[action]
        correct = (observation.response == CORRECT).double()
        if self.kind == "answer":
            return Payment(action, correct, answered)
        topic = self._items.topic[action].unsqueeze(-1)
        arm, before = self._waiting.gather(-1, topic), self._before.gather(-1, topic)
        payment = Payment(
            arm.squeeze(-1).clamp(min=0),
            (1 + correct - before.squeeze(-1)) / 2,
            answered & (arm.squeeze(-1) != _NOBODY),
        )
        now = torch.where(answered.unsqueeze(-1), action.unsqueeze(-1), arm)
        shown = torch.where(answered.unsqueeze(-1), correct.unsqueeze(-1), before)
        self._waiting = self._waiting.scatter(-1, topic, now)
        self._before = self._before.scatter(-1, topic, shown)
        if observation.step == 0:
            self._waiting = torch.full_like(self._waiting, _NOBODY)
        return payment


class Bandit(ABC):
    """Counts and sums of the rewards of every arm; how to choose is for the subclasses.

    Attributes:
        count: float64 ``(n, A)``, N_a of each student.
        total: float64 ``(n, A)``, the sum of those rewards.
    """

    name: str

    def __init__(
        self,
        model: StudentModel,
        *,
        reward: RewardKind = "progress",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model, paid by this reward."""
        self.device = torch.device(device)
        items = Items(model, self.name, self.device)
        self._arms = items.asks
        self._rewards = Rewards(reward, items)
        self._first_count = torch.zeros(model.n_actions, dtype=torch.float64, device=self.device)
        self._first_total = torch.zeros_like(self._first_count)

    def warm_start(
        self,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        n_students: int,
        prior_weight: float,
    ) -> None:
        """Begin with the means of training students who are taught at random."""
        watch_training_students(
            self, population, task, seed=seed, n_students=n_students, device=self.device
        )
        count, total = self.count.sum(0), self.total.sum(0)
        self._first_count = prior_weight * (count > 0).double()
        self._first_total = self._first_count * total / count.clamp(min=1)

    def begin_trial(self, trial: Trial) -> None:
        """The arms as they are at first."""
        n = len(trial.students)
        self._trial = trial
        self._rewards.begin_trial(n)
        self._order = random_order(trial, len(self._arms)).to(self.device)
        self.count = self._first_count.expand(n, -1).clone()
        self.total = self._first_total.expand(n, -1).clone()

    @abstractmethod
    def act(self, observation: Observation) -> Tensor:
        """The next arm for each student, int64 ``(n,)``."""

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Add what came in."""
        arm, reward, paid = self._rewards.observe(action, observation)
        arm = arm.unsqueeze(-1)
        self.count.scatter_add_(-1, arm, paid.double().unsqueeze(-1))
        self.total.scatter_add_(-1, arm, (paid * reward).unsqueeze(-1))

    def _mean_or(self, untried: float) -> Tensor:
        """``(n, A)`` mean rewards; ``untried`` where there was none."""
        mean = self.total / torch.where(self.count > 0, self.count, 1.0)
        return torch.where(self.count > 0, mean, untried)

    def _best(self, score: Tensor, observation: Observation) -> Tensor:
        """The arm with the largest score, int64 ``(n,)``."""
        return best_first(score, self._order, self._possible(observation))

    def _possible(self, observation: Observation) -> Tensor:
        """Bool ``(n, A)``: the arms that may be taken."""
        return legal_among(self._arms, observation.legal).expand_as(self.count)

    def _uniforms(self, observation: Observation, n_lanes: int) -> Tensor:
        """``(n, n_lanes)`` float64, the luck of this step."""
        u = tutor_uniforms(
            self._trial, n_lanes=n_lanes, lesson=observation.lesson, step=observation.step
        )
        return u.to(self.device, torch.float64)


class EpsilonGreedyTutor(Bandit):
    """The best mean but for some chance; see the module's text."""

    name = "epsilon_greedy"

    def __init__(
        self,
        model: StudentModel,
        *,
        epsilon: float = 0.1,
        reward: RewardKind = "progress",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model; ``epsilon`` in [0, 1] is the share of exploration."""
        super().__init__(model, reward=reward, device=device)
        self._epsilon = epsilon

    def act(self, observation: Observation) -> Tensor:
        """Explore or exploit."""
        possible, best = self._possible(observation), self._best(self._mean_or(1.0), observation)
        explores, which = self._uniforms(observation, 2).unbind(-1)
        anyone = uniform_legal(which, possible, possible.shape[-1])
        return torch.where(explores < self._epsilon, anyone, best)


class Ucb1Tutor(Bandit):
    """Optimism in the face of uncertainty; see the module's text."""

    name = "ucb1"

    def __init__(
        self,
        model: StudentModel,
        *,
        exploration: float = 2.0,
        reward: RewardKind = "progress",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model; ``exploration`` >= 0 stands under the root."""
        super().__init__(model, reward=reward, device=device)
        self._exploration = exploration

    def act(self, observation: Observation) -> Tensor:
        """The largest upper confidence bound."""
        return self._best(self.index(), observation)

    def index(self) -> Tensor:
        """``(n, A)`` upper confidence bounds."""
        t = self.count.sum(-1, keepdim=True).clamp(min=1)
        bonus = (self._exploration * t.log() / self.count.clamp(min=1e-9)).sqrt()
        return torch.where(self.count > 0, self._mean_or(0.0) + bonus, _UNTRIED)


class ThompsonBanditTutor(Bandit):
    """Posterior sampling of every arm's rate; see the module's text."""

    name = "thompson_bandit"

    def act(self, observation: Observation) -> Tensor:
        """The largest of one draw for each arm."""
        u = self._uniforms(observation, self.count.shape[-1])
        rate = beta_variates(1 + self.total, 1 + self.count - self.total, u)
        return self._best(rate, observation)
