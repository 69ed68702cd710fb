"""Zone of proximal development: the item whose predicted success is nearest to a target.

``argmin_a |P(correct | a) - target|`` over the actions on skills that are not yet believed mastered
(believed mastery below ``threshold``), under the tutor's belief. The default target is the 85 %
rule (Wilson, Shenhav, Straccia & Cohen 2019, Nature Communications 10:4646: the rate of success at
which gradient descent on a binary task learns fastest, 0.8413). In adaptive testing 0.6 to 0.7
costs little precision and spares the student (Eggen & Verschoor 2006, Applied Psychological
Measurement 30(5)).

Threshold rules of spaced repetition also take the item nearest to a target, but of all items at all
times, to catch a memory before it fades. This one is a rule of mastery learning: it chooses among
what is still to be learned, and how hard to make it, and leaves a skill once it is believed
mastered. Where all are, it chooses among all.

P(correct) is given that an answer is asked for and given. Of actions equally near (a modality does
not change the answer in most models), the one used least with this student is taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import best_least_used, legal_among
from tutor_agents.teaching_actions import Items
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import CORRECT, WRONG, Belief, Latents, StudentModel


def answer_probabilities(model: StudentModel, latents: Latents, belief: Belief) -> Tensor:
    """``(rows, A, R)`` probability of each response to each action."""
    some = next(iter(latents.values()))
    actions = torch.arange(model.n_actions, device=some.device)
    return torch.stack(
        [model.predict(latents, belief, action.expand(len(some))) for action in actions], dim=1
    )


class ZpdTutor:
    """A target rate of success on what is to be learned; see the module's text."""

    name = "zpd"

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        *,
        target: float = 0.85,
        threshold: float = 0.95,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: how students learn.
            types: whom to believe in: the population's types, or its average student as one type.
            target: rate of success to aim at, in (0, 1).
            threshold: believed mastery at which a skill is left, in (0, 1].
            device: where to compute.
        """
        self._model = model
        self._posterior = TypePosterior(model, types, device=device)
        self._target, self._threshold = target, threshold
        self._items = Items(model, self.name, self._posterior.device)
        skills = torch.zeros(model.n_actions, len(model.skills), dtype=torch.bool)
        for a, action in enumerate(model.actions):
            for k, name in enumerate(model.skills):
                skills[a, k] = name in (action.skill, *action.skill.split("+"))
        self._skills = skills.to(self._posterior.device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        self._posterior.begin_trial(len(trial.students))
        self._uses = torch.zeros(
            (len(trial.students), self._model.n_actions),
            dtype=torch.int64,
            device=self._posterior.device,
        )

    def act(self, observation: Observation) -> Tensor:
        """The action nearest to the target for each student, int64 ``(n,)``."""
        unmastered = self._posterior.mastery() < self._threshold
        to_learn = (unmastered.unsqueeze(1) & self._skills).any(-1)
        possible = legal_among(self._items.asks, observation.legal)
        gap = (self.success() - self._target).abs()
        return best_least_used(-gap, self._uses, legal_among(to_learn, possible))

    def success(self) -> Tensor:
        """``(n, A)`` predicted rate of success of the answers to each action."""
        right, given = self._posterior.expected(self._right_and_given).chunk(2, dim=-1)
        return right / given.clamp(min=torch.finfo(given.dtype).tiny)

    def _right_and_given(self, latents: Latents, belief: Belief) -> Tensor:
        """``(rows, 2 A)``: P(right answer), and P(any answer), to each action."""
        p = answer_probabilities(self._model, latents, belief)
        return torch.cat([p[..., CORRECT], p[..., WRONG] + p[..., CORRECT]], dim=-1)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Count the use and update the belief."""
        self._uses.scatter_add_(-1, action.unsqueeze(-1), torch.ones_like(action).unsqueeze(-1))
        self._posterior.observe(action, observation)
