"""LinUCB: a bandit that sees the state of each topic, and shares what it learns between arms.

Li, Chu, Langford & Schapire 2010, WWW, with one regression for all arms as in Chu, Li, Reyzin &
Schapire 2011, AISTATS (an arm of its own for each would never be learned in a lesson). For each
student, with features ``x_a`` of every action a::

    A = ridge I + sum x x^T      b = sum r x      theta = A^-1 b
    choose the largest   theta . x_a + alpha sqrt(x_a^T A^-1 x_a)

``A^-1`` is kept, and updated by Sherman & Morrison (1950). Rewards are those of
:mod:`tutor_agents.bandits`; under ``progress`` a reward belongs to the features that the action had
when it was taken.

The d = M + 6 features are seen by any observer: which of M modalities (or none); of the topic in
this lesson, whether its last answer was wrong, right or is still to come, the share of right
answers ``(right + 1) / (practices + 2)``, and ``1 / (1 + practices)``, practices being those that
were answered. No feature grows with practice: a topic that is much practised must not look
uncertain for the length of its features alone. Equals come in a random order of each student's own.

``warm_start: true`` adds to A and b the outer products and rewarded features of ``n_students``
training students who are taught at random, as the mean of a reward, times ``prior_weight``
and the number of arms (so that all bandits weigh the population alike).
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.bandits import RewardKind, Rewards
from tutor_agents.choice import best_first, legal_among, random_order
from tutor_agents.teaching_actions import Items
from tutor_agents.tutor import Trial
from tutor_agents.warm_start import watch_training_students
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.student import CORRECT, WRONG, StudentModel
from tutor_envs.task import TeachingTask

_NONE = -1


class LinUcbTutor:
    """Linear upper confidence bounds; see the module's text.

    Attributes:
        inverse: float64 ``(n, d, d)``, A^-1 of each student.
        moment: float64 ``(n, d)``, b of each student.
    """

    name = "linucb"

    def __init__(
        self,
        model: StudentModel,
        *,
        alpha: float = 1.0,
        ridge: float = 1.0,
        reward: RewardKind = "progress",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: what can be taught.
            alpha: weight of the uncertainty, >= 0.
            ridge: of the regression, > 0.
            reward: what pays an action.
            device: where to compute.
        """
        self.device = torch.device(device)
        self._alpha = alpha
        self._items = Items(model, self.name, self.device)
        self._rewards = Rewards(reward, self._items)
        self._modality = torch.nn.functional.one_hot(
            self._items.modality, len(model.modalities) + 1
        ).double()
        self.n_features = self._modality.shape[-1] + 5
        eye = torch.eye(self.n_features, dtype=torch.float64, device=self.device)
        self._first_matrix, self._first_moment = ridge * eye, torch.zeros_like(eye[0])
        self._answers = torch.tensor([WRONG, CORRECT, _NONE], device=self.device)
        self._watching = False

    def warm_start(
        self,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        n_students: int,
        prior_weight: float,
    ) -> None:
        """Begin with the regression of training students who are taught at random."""
        d = self.n_features
        self._seen = torch.zeros(d, d + 1, dtype=torch.float64, device=self.device)
        self._n_seen, self._watching = 0.0, True
        watch_training_students(
            self, population, task, seed=seed, n_students=n_students, device=self.device
        )
        self._watching = False
        weight = prior_weight * int(self._items.asks.sum()) / max(1.0, self._n_seen)
        self._first_matrix = self._first_matrix + weight * self._seen[:, :d]
        self._first_moment = self._first_moment + weight * self._seen[:, d]

    def begin_trial(self, trial: Trial) -> None:
        """The regression as it is at first."""
        n, n_topics = len(trial.students), len(self._items.topics) + 1
        self._rewards.begin_trial(n)
        self._order = random_order(trial, len(self._items.asks)).to(self.device)
        self.inverse = torch.linalg.inv(self._first_matrix).expand(n, -1, -1).clone()
        self.moment = self._first_moment.expand(n, -1).clone()
        self._taken = torch.zeros(
            (n, n_topics, self.n_features), dtype=torch.float64, device=self.device
        )
        self._begin_lesson(n, n_topics)

    def _begin_lesson(self, n: int, n_topics: int) -> None:
        self._practices = torch.zeros((n, n_topics), dtype=torch.float64, device=self.device)
        self._right = torch.zeros_like(self._practices)
        self._last = torch.full((n, n_topics), _NONE, device=self.device)

    def features(self) -> Tensor:
        """``(n, A, d)``: x of every action now."""
        state = torch.stack(
            [
                *(self._last.unsqueeze(-1) == self._answers).unbind(-1),
                (self._right + 1) / (self._practices + 2),
                1 / (1 + self._practices),
            ],
            dim=-1,
        )[:, self._items.topic]
        return torch.cat([self._modality.expand(len(state), -1, -1), state], dim=-1)

    def index(self) -> Tensor:
        """``(n, A)`` upper confidence bounds."""
        x = self.features()
        theta = (self.inverse * self.moment.unsqueeze(1)).sum(-1)
        spread: Tensor = (torch.einsum("nai,nij->naj", x, self.inverse) * x).sum(-1)
        mean: Tensor = (x * theta.unsqueeze(1)).sum(-1)
        return mean + self._alpha * spread.clamp(min=0).sqrt()

    def act(self, observation: Observation) -> Tensor:
        """The largest upper confidence bound, int64 ``(n,)``."""
        possible = legal_among(self._items.asks, observation.legal)
        return best_first(self.index(), self._order, possible)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Add what came in, and what the answer says of its topic; a new lesson starts anew."""
        row = torch.arange(len(action), device=self.device)
        topic = self._items.topic[action]
        x = self.features()[row, action]
        _, reward, paid = self._rewards.observe(action, observation)
        # An action that is paid by the next answer has waited under the same topic.
        at_once = self._rewards.kind == "answer"
        self._learn(x if at_once else self._taken[row, topic], reward, paid)
        answered = (observation.response <= CORRECT) & self._items.asks[action]
        correct = observation.response == CORRECT
        taken = torch.where(answered.unsqueeze(-1), x, self._taken[row, topic])
        self._taken[row, topic] = taken
        self._practices[row, topic] += answered
        self._right[row, topic] += answered & correct
        self._last[row, topic] = torch.where(answered, observation.response, self._last[row, topic])
        if observation.step == 0:
            self._begin_lesson(*self._practices.shape)

    def _learn(self, x: Tensor, reward: Tensor, paid: Tensor) -> None:
        """One more reward for each student who is paid."""
        x = x * paid.unsqueeze(-1)
        if self._watching:
            both = torch.cat([x, (reward * paid).unsqueeze(-1)], dim=-1)
            self._seen += x.T @ both
            self._n_seen += float(paid.sum())
            return
        self.inverse = sherman_morrison(self.inverse, x)
        self.moment = self.moment + reward.unsqueeze(-1) * x


def sherman_morrison(inverse: Tensor, x: Tensor) -> Tensor:
    """``(A + x x^T)^-1`` from ``A^-1`` ``(n, d, d)``, symmetric, and x ``(n, d)``."""
    ax = (inverse * x.unsqueeze(1)).sum(-1)
    return inverse - ax.unsqueeze(-1) * ax.unsqueeze(1) / (1 + (x * ax).sum(-1)[:, None, None])
