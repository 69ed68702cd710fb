"""Rules on predicted recall: threshold recall, and MEMORIZE.

Both predict the probability ``p_i`` of a right answer to every review i now, by the posterior over
student types (:mod:`tutor_agents.type_posterior`): they know the population and what this student
answered, not the student.

* **Threshold recall** (Reddy, Levine & Dragan 2017, ``deeptutor``; there it knows the student's
  true parameters): the review with the smallest ``|p_i - z|``. With z = 0 it is the card with the
  lowest recall.
* **MEMORIZE** (Tabibian, Upadhyay, De, Zarezade, Schölkopf & Gomez-Rodriguez 2019, PNAS 116(10)):
  each card is reviewed at random times with the optimal intensity ``q**-0.5 (1 - p_i)``. Here every
  step holds one review. Given that some review comes, it is of card i with a probability in
  proportion to the intensity, so ``1 - p_i`` is all that counts, and q cancels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import planned_or_next, tutor_uniforms
from tutor_agents.schedulers.deck import Deck
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes
from tutor_envs.student import StudentModel

_LEAST_INTENSITY = 1e-9
"""So that something is drawn even where everything is known for sure."""


class ThresholdRecallTutor:
    """The review whose predicted recall is nearest to z; see the module's text."""

    name = "threshold_recall"

    def __init__(
        self,
        model: StudentModel,
        types: FiniteTypes,
        *,
        z: float = 0.3,
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model who may be of these types.

        Args:
            model: how students learn.
            types: whom to believe in.
            z: predicted recall to aim at, in [0, 1].
            device: where to compute.

        Raises:
            ValueError: no action says what it teaches.
        """
        self._deck = Deck(model, self.name, device=device)
        self._posterior = TypePosterior(model, types, device=device)
        self._z = z

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        n = len(trial.students)
        self._deck.ways.begin(n)
        self._posterior.begin_trial(n)

    def act(self, observation: Observation) -> Tensor:
        """The review nearest to the threshold, int64 ``(n,)``."""
        distance = (self._posterior.p_correct() - self._z).abs()
        return self._deck.ways.best(-distance, observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Update the posterior."""
        self._deck.ways.count(action)
        self._posterior.observe(action, observation)


class MemorizeTutor:
    """Reviews at random, the more likely the less is remembered; see the module's text."""

    name = "memorize"

    def __init__(
        self, model: StudentModel, types: FiniteTypes, *, device: torch.device | str = "cpu"
    ) -> None:
        """Teach students of this model who may be of these types.

        Raises:
            ValueError: no action says what it teaches.
        """
        self._ways = Deck(model, self.name, device=device).ways
        self._posterior = TypePosterior(model, types, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """Start from the prior."""
        self._trial = trial
        self._posterior.begin_trial(len(trial.students))

    def act(self, observation: Observation) -> Tensor:
        """A review drawn by its intensity, int64 ``(n,)``."""
        lesson, step = observation.lesson, observation.step
        luck = tutor_uniforms(self._trial, n_lanes=1, lesson=lesson, step=step)
        intensity = (1 - self._posterior.p_correct().double()).clamp(min=_LEAST_INTENSITY)
        may = self._ways.teaches.any(-1)
        if observation.legal is not None:
            may = may & observation.legal
        passed = (intensity * may).cumsum(-1)
        drawn = ((passed > luck.to(passed) * passed[:, -1:]) & may).to(torch.int8).argmax(-1)
        return planned_or_next(drawn, observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Update the posterior."""
        self._posterior.observe(action, observation)
