"""Stay until correct: practise one skill until an answer is right, then go on to the next.

The skills come in their order, over and over. The modality is drawn at random, or by Thompson
sampling (Thompson 1933, Biometrika 25(3/4)) over modalities: modality m has the posterior
``Beta(1 + right_m, 1 + wrong_m)`` of the answers that it gets credit for with this student, through
all lessons of the trial; at every step one rate is drawn for each modality, and the largest wins.
Most students answer from what they knew before the practice: then an answer is to the credit of the
practice of the same skill one step before (``credit: previous``). Where the answer shows what the
practice itself did, it is to its own credit (``credit: same``).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tutor_agents.choice import beta_variates, planned_or_next, tutor_uniforms
from tutor_agents.tutor import CannotTeach, Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import CORRECT, StudentModel

Modality = Literal["random", "thompson"]
Credit = Literal["previous", "same"]


class StayUntilCorrectTutor:
    """One skill at a time; see the module's text."""

    name = "stay_until_correct"

    def __init__(
        self,
        model: StudentModel,
        *,
        modality: Modality = "thompson",
        credit: Credit = "previous",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Raises:
            CannotTeach: the actions are not the practice of each skill in each modality.
        """
        self._n_skills, self._n_modalities = len(model.skills), len(model.modalities)
        practices = [(action.skill, action.modality) for action in model.actions]
        wanted = [(skill, m) for skill in model.skills for m in model.modalities]
        if practices != wanted:
            raise CannotTeach(
                "tutor `stay_until_correct` needs one practice of each skill in each modality, "
                f"got other teaching actions with student model `{model.name}`"
            )
        self._modality, self._credit = modality, credit
        self._device = torch.device(device)

    def begin_trial(self, trial: Trial) -> None:
        """The first skill, no answers yet."""
        self._trial = trial
        self._before: Tensor | None = None
        n = len(trial.students)
        self._skill = torch.zeros(n, dtype=torch.int64, device=self._device)
        self._right = torch.zeros(n, self._n_modalities, device=self._device)
        self._wrong = torch.zeros_like(self._right)

    def act(self, observation: Observation) -> Tensor:
        """The current skill in the drawn modality, int64 ``(n,)``."""
        if observation.step == 0:
            self._skill, self._before = torch.zeros_like(self._skill), None
        u = tutor_uniforms(
            self._trial,
            n_lanes=self._n_modalities,
            lesson=observation.lesson,
            step=observation.step,
        )
        rate = (
            u if self._modality == "random" else beta_variates(1 + self._right, 1 + self._wrong, u)
        )
        planned = self._skill * self._n_modalities + rate.argmax(-1)
        return planned_or_next(planned, observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Count the answer, and go on after a right one."""
        right = observation.response == CORRECT
        answered = observation.response < 2
        skill = action.div(self._n_modalities, rounding_mode="floor")
        credited = action if self._credit == "same" else self._before
        if credited is not None:
            same_skill = credited.div(self._n_modalities, rounding_mode="floor") == skill
            modality = torch.nn.functional.one_hot(
                credited % self._n_modalities, self._n_modalities
            )
            self._right += modality * (same_skill & right).unsqueeze(-1)
            self._wrong += modality * (same_skill & answered & ~right).unsqueeze(-1)
        self._before = action
        self._skill = torch.where(right, (skill + 1) % self._n_skills, skill)
