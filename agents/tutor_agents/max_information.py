"""Maximum information: the item that tells most about the student (adaptive testing).

A tutor that tests and never minds the teaching: how much of teaching is knowing? Two measures of
what an answer y to the action a would tell:

* ``information: types``, for every student model with a belief: the expected fall of the entropy of
  the posterior over student types, which is the mutual information of the type and the answer
  (Lindley 1956, Annals of Mathematical Statistics 27(4)), in nats, with weights ``w_z``::

      I(a) = H(sum_z w_z P(. | a, z)) - sum_z w_z H(P(. | a, z)),   H(p) = -sum_y p_y log p_y

* ``information: fisher``, for models whose knowledge is an ability ``theta`` in logits (``irt``,
  ``mirt``, ``zpd`` and their like): Fisher's information about it, averaged over the posterior (the
  criterion of maximum posterior-weighted information, van der Linden 1998, Psychometrika 63(2))::

      I(a) = sum_z w_z |d P(correct | a, theta_z) / d theta|^2 / (P (1 - P))

  which is ``a^2 P (1 - P)`` for a two-parameter item (Birnbaum 1968), and for several traits the
  trace of the information matrix.

Of actions that tell equally much (a modality does not change the answer in most models), the one
used least with this student is taken.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tutor_agents.choice import best_least_used, legal_among
from tutor_agents.teaching_actions import Items
from tutor_agents.tutor import CannotTeach, Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_agents.zpd import answer_probabilities
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import CORRECT, Belief, Latents, StudentModel

Information = Literal["types", "fisher"]


def fisher_information(model: StudentModel, latents: Latents, belief: Belief) -> Tensor:
    """``(rows, A)`` information of an answer to each action about ``belief["theta"]``."""
    with torch.enable_grad():
        theta = belief["theta"].detach().requires_grad_()
        p = answer_probabilities(model, latents, {**belief, "theta": theta})[..., CORRECT]
        slopes = [
            torch.autograd.grad(column.sum(), theta, retain_graph=True)[0].square().sum(-1)
            for column in p.unbind(1)
        ]
    p = p.detach()
    return torch.stack(slopes, -1) / (p * (1 - p)).clamp(min=torch.finfo(p.dtype).tiny)


class MaxInformationTutor:
    """Adaptive testing; see the module's text."""

    name = "max_information"

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        *,
        information: Information = "types",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model who may be of these types.

        Raises:
            CannotTeach: Fisher's information is asked for, and the model has no ability ``theta``.
        """
        if information == "fisher" and "theta" not in model.begin_belief(types.latents):
            raise CannotTeach(
                "`tutors.max_information.information` must be 'types' for student model "
                f"`{model.name}`, got 'fisher': its knowledge is not an ability `theta` (that of "
                "`irt`, `mirt` and `zpd` is)"
            )
        self._model, self._information = model, information
        self._posterior = TypePosterior(model, types, device=device)
        every = torch.ones(model.n_actions, dtype=torch.bool, device=self._posterior.device)
        asks = Items(model, self.name, self._posterior.device).asks
        self._possible = asks if information == "fisher" else every

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        n, n_actions = len(trial.students), self._model.n_actions
        self._posterior.begin_trial(n)
        self._uses = torch.zeros((n, n_actions), dtype=torch.int64, device=self._posterior.device)

    def act(self, observation: Observation) -> Tensor:
        """The action that tells most about each student, int64 ``(n,)``."""
        possible = legal_among(self._possible, observation.legal)
        return best_least_used(self.information(), self._uses, possible)

    def information(self) -> Tensor:
        """What an answer to each action is expected to tell now, ``(n, A)``."""
        if self._information == "fisher":
            return self._posterior.expected(self._fisher)
        both = self._posterior.expected(self._answers_and_entropies)
        n_actions = self._model.n_actions
        p, entropy = both[:, :-n_actions], both[:, -n_actions:]
        return _entropy(p.reshape(len(p), n_actions, -1)) - entropy

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Count the use and update the posterior."""
        self._uses.scatter_add_(-1, action.unsqueeze(-1), torch.ones_like(action).unsqueeze(-1))
        self._posterior.observe(action, observation)

    def _fisher(self, latents: Latents, belief: Belief) -> Tensor:
        return fisher_information(self._model, latents, belief)

    def _answers_and_entropies(self, latents: Latents, belief: Belief) -> Tensor:
        p = answer_probabilities(self._model, latents, belief)
        return torch.cat([p.flatten(1), _entropy(p)], dim=-1)


def _entropy(p: Tensor) -> Tensor:
    """In nats, over the last axis."""
    entropy: Tensor = torch.special.entr(p).sum(-1)
    return entropy
