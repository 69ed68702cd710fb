"""Mastery threshold: one skill after the other, each until it is mastered.

The classical curriculum of mastery learning (Corbett & Anderson 1995: practise a skill until
P(mastered) >= 0.95). Skills are taken in topological order of the model's prerequisites (a model
without any: in index order). The tutor practises the first skill whose believed mastery is below
``threshold`` and which has had fewer than ``max_attempts`` practices in this lesson; the cap stops
it from spinning its wheels. A skill that falls below the threshold again is taken up again. Where
every skill has passed or hit its cap, the tutor reviews the skill with the lowest believed mastery.

A skill's actions (modalities, and difficulties where a model has them) are cycled through in index
order, one further with every practice of the skill, so that no modality is preferred.

What is believed follows one of two students:

* ``student: average``, the usual practice: one student whose latents are the population's means,
  traced by the answers; who the student is is not inferred;
* ``student: posterior``: the mixture over student types of :mod:`tutor_agents.type_posterior`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.teaching_actions import Curriculum
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import StudentModel


class MasteryThresholdTutor:
    """Curriculum with a mastery criterion; see the module's text."""

    name = "mastery_threshold"

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        *,
        threshold: float = 0.95,
        max_attempts: int = 10,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: how students learn; its ``prerequisites`` (skill index -> indices), if it has
                any, order the curriculum.
            types: whom to believe in: the population's types, or its average student as one type.
            threshold: believed mastery at which a skill is left, in (0, 1].
            max_attempts: practices of a skill in one lesson before it is left anyway.
            device: where to compute.

        Raises:
            ValueError: no action of the model teaches one of its skills.
        """
        self._posterior = TypePosterior(model, types, device=device)
        self._threshold, self._max_attempts = threshold, max_attempts
        self._curriculum = Curriculum(model, self.name, self._posterior.device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior, with no practice yet."""
        self._n_students = len(trial.students)
        self._posterior.begin_trial(self._n_students)
        self._curriculum.begin(self._n_students)

    def act(self, observation: Observation) -> Tensor:
        """The next practice of the skill in hand for each student, int64 ``(n,)``."""
        mastery, curriculum = self._posterior.mastery(), self._curriculum
        in_hand = (mastery < self._threshold) & (curriculum.practices < self._max_attempts)
        # Skills in hand come first, by the curriculum; then reviews, the least mastered first.
        key = torch.where(in_hand, curriculum.place - len(curriculum.place), mastery)
        return curriculum.best(curriculum.of_actions(-key), observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Count the practice and update the belief; a new lesson starts the count anew."""
        self._curriculum.count(action)
        if observation.step == 0:
            self._curriculum.begin(self._n_students)
        self._posterior.observe(action, observation)
