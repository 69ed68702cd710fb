"""What answers alone tell of students: a posterior over types, followed along what was seen.

The tracker knows how the population is made up, as a tutor may, and sees actions and answers. For a
population of finitely many students it is the exact posterior, which no reader of the same answers
can beat; for a continuous one it is that of a sample (:mod:`tutor_agents.type_posterior`).
"""

from __future__ import annotations

import copy
import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.type_posterior import TypePosterior, types_of
from tutor_envs.population import Population
from tutor_envs.student import CORRECT, Latents
from tutor_sim.insight.trace import Seen

GROUPS = ("best modality", "type")
"""Traits that are groups of students; the others are numbers."""
MAX_NAMED_TYPES = 8
"""A population of at most so many different students has a name for each of them."""


class Believed(NamedTuple):
    """What is believed of n students at each of T actions.

    Attributes:
        mastery_before: ``(T, n, K)``, expected mastery before the action.
        mastery_after: ``(T, n, K)``, after its answer.
        p_correct: ``(T, n)``, of the action that was taken.
        traits: name -> ``(T, n, C)``, expected latents before the action; ``best modality`` and
            ``type`` are probabilities.
    """

    mastery_before: Tensor
    mastery_after: Tensor
    p_correct: Tensor
    traits: dict[str, Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Tracker:
    """Follows students by what a tutor sees of them.

    Attributes:
        name: what kind of belief it is, in words.
        is_exact: the population has these types and no others.
        posterior: over the types.
        traits: name -> ``(H, C)``, what each type is like.
    """

    name: str
    is_exact: bool
    posterior: TypePosterior
    traits: dict[str, Tensor]

    @classmethod
    def of(cls, population: Population, *, seed: int, n_sampled: int) -> Tracker:
        """A tracker that knows the population.

        Args:
            population: which students may come.
            seed: of the sample that stands for a continuous population.
            n_sampled: its size, training students.

        Raises:
            ValueError: the student model can only be simulated: it has no belief.
        """
        model = population.student_model
        if not model.is_functional:
            raise ValueError(
                f"student model `{population.student}` can only be simulated: it has no belief, "
                "so nobody can say what answers tell of its students"
            )
        types = types_of(population, seed, n_sampled)
        n = len(types.prior)
        words = (
            f"the exact posterior over the {n} kinds of student"
            if types.exact
            else f"the posterior over {n:,} sampled students, an approximation"
        )
        posterior = TypePosterior(model, types)
        traits = traits_of(types.latents)
        if types.exact and 1 < n <= MAX_NAMED_TYPES:
            traits["type"] = torch.eye(n)
        return cls(words, types.exact, posterior, traits)

    def follow(self, seen: Seen) -> Believed:
        """Go along what was seen; the posterior is then that after the last answer."""
        posterior = self.posterior
        posterior.begin_trial(seen.n_students)
        before, after, p_correct = [], [], []
        traits: dict[str, list[Tensor]] = {name: [] for name in self.traits}
        for t, (action, response) in enumerate(zip(seen.actions, seen.responses, strict=True)):
            if t and t % seen.task.n_steps == 0:
                posterior.begin_lesson()
            before.append(posterior.mastery())
            weights = posterior.weights
            for name, value in self.traits.items():
                traits[name].append(weights @ value.to(weights))
            p_correct.append(posterior.predict(action)[:, CORRECT])
            posterior.update(action, response)
            after.append(posterior.mastery())
        return Believed(
            torch.stack(before),
            torch.stack(after),
            torch.stack(p_correct),
            {name: torch.stack(values) for name, values in traits.items()},
        )

    def mastery_after_practice(self, action: Tensor) -> Tensor:
        """``(n, K)``, mastery expected after one more action, over what may be answered.

        Args:
            action: int64 ``(n,)``.
        """
        p_response = self.posterior.predict(action)
        total = torch.zeros_like(self.posterior.mastery())
        for response in range(self.posterior.model.n_responses):
            branch = copy.deepcopy(self.posterior)
            branch.update(action, torch.full_like(action, response))
            total += p_response[:, response, None] * branch.mastery()
        return total


def traits_of(latents: Latents) -> dict[str, Tensor]:
    """What can be said of students with these latents: name -> ``(n, C)``, what varies alone.

    ``best modality`` is 1 for the modality with the largest responsiveness, where there is any
    difference.
    """
    traits: dict[str, Tensor] = {}
    for name, value in latents.items():
        flat = value.reshape(len(value), -1).double()
        if name != "type" and varies(flat):
            traits[name] = flat
    if "responsiveness" in traits:
        best = traits["responsiveness"].argmax(-1)
        n_modalities = traits["responsiveness"].shape[-1]
        traits["best modality"] = torch.nn.functional.one_hot(best, n_modalities).double()
    return traits


def varies(values: Tensor) -> bool:
    """Some number is not the same for all students, ``(n, C)``."""
    return bool((values.max(0).values - values.min(0).values).max() > 1e-6)
