"""Prerequisites first: practise only what the student is ready for.

The *outer fringe* of what is known holds the skills that are not mastered although all their
prerequisites are: the student is ready to learn them (Falmagne & Doignon 2011, Learning Spaces; it
is how ALEKS chooses). A skill counts as mastered where believed mastery reaches ``threshold``. The
tutor practises the first skill of the fringe in topological order; after ``max_attempts`` practices
without mastery the next skill of the fringe has its turn, and so on in a circle, anew in every
lesson. What builds on a skill that is not mastered is never practised while anything else can be:
there ``mastery_threshold``, which leaves a skill behind for good at the cap, goes on with it.

Without prerequisites every skill is on the fringe until it is mastered: skill by skill in index
order. Where all is mastered, the skill of the lowest believed mastery is reviewed; where no skill
of the fringe can be taught (its actions are not legal), the first in order that is not mastered.

A skill's actions take turns, so that no modality is preferred. Beliefs follow the average student
or the posterior over types, as in :mod:`tutor_agents.mastery_threshold`.
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

_NOT_READY, _REVIEW = 2**20, 2**21
"""Larger than any count of practices times skills; beside it masteries can still be told apart."""


class PrerequisitesFirstTutor:
    """Practice on the outer fringe; see the module's text."""

    name = "prerequisites_first"

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
            model: how students learn; what builds on what is read from
                :func:`tutor_agents.teaching_actions.prerequisites_of`.
            types: whom to believe in: the population's types, or its average student as one type.
            threshold: believed mastery that counts as mastered, in (0, 1].
            max_attempts: practices of a skill in one lesson before another has its turn.
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
        """The next practice on the fringe for each student, int64 ``(n,)``."""
        curriculum, mastery = self._curriculum, self._posterior.mastery()
        mastered, n_skills = mastery >= self._threshold, len(curriculum.place)
        ready = ~(curriculum.requires & ~mastered.unsqueeze(1)).any(-1)
        # The fringe in a circle, by turns of `max_attempts` and within a turn by the curriculum;
        # then what is not ready, by the curriculum; then reviews, the least mastered first.
        turn = curriculum.practices.div(self._max_attempts, rounding_mode="floor")
        unmastered = torch.where(ready, turn * n_skills, _NOT_READY) + curriculum.place
        key = torch.where(mastered, _REVIEW + mastery.double(), unmastered.double())
        return curriculum.best(curriculum.of_actions(-key), observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Count the practice and update the belief; a new lesson starts the count anew."""
        self._curriculum.count(action)
        if observation.step == 0:
            self._curriculum.begin(self._n_students)
        self._posterior.observe(action, observation)
