"""Features of the hidden truth, standardised, for the critic and as targets of the belief head."""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.choice import uniform_legal
from tutor_envs.classroom import Classroom, Truth
from tutor_envs.population import Split, student_indices
from tutor_envs.rng import Purpose, uniforms

_N_REFERENCE_STUDENTS = 512
_MIN_SD = 1e-6


def _flat(values: dict[str, Tensor]) -> Tensor:
    """All tensors of a dictionary side by side, float ``(n, ...)``."""
    parts = [values[name].reshape(len(values[name]), -1).float() for name in sorted(values)]
    return torch.cat(parts, dim=-1)


class Privileged:
    """Turns truth into numbers near unit scale.

    Mean and spread come from one random trial with the first training students, so that they are
    a function of the population, the task and the seed.
    """

    def __init__(self, classroom: Classroom) -> None:
        """Measure the scale of every latent and state variable of the classroom's population."""
        self.n_types = len(classroom.population.type_names)
        students = student_indices(Split.TRAIN, _N_REFERENCE_STUDENTS).to(classroom.device)
        observation = classroom.begin_trial(students)
        latents, situations = self._raw_latents(classroom.truth), []
        for t in range(classroom.task.n_trial_steps):
            situations.append(self._raw_situation(classroom.truth))
            u = uniforms(classroom.seed, students, purpose=Purpose.TRAINING, n_lanes=1, step=t)
            action = uniform_legal(u.squeeze(-1), observation.legal, classroom.model.n_actions)
            observation = classroom.step(action).observation
        mean, sd = latents.mean(0), latents.std(0)
        self._varies = sd > _MIN_SD
        self._latent_mean, self._latent_sd = mean[self._varies], sd[self._varies]
        situation = torch.cat(situations)
        self._mean, self._sd = situation.mean(0), situation.std(0).clamp(min=_MIN_SD)
        self._sd[situation.std(0) < _MIN_SD] = 1.0

    @staticmethod
    def _raw_latents(truth: Truth) -> Tensor:
        return _flat({k: v for k, v in truth.latents.items() if k != "type"})

    @staticmethod
    def _raw_situation(truth: Truth) -> Tensor:
        score = truth.post_test.float().unsqueeze(-1)
        return torch.cat([_flat(truth.state), truth.mastery.float(), score], dim=-1)

    @property
    def n_latents(self) -> int:
        """Numbers in ``latents``."""
        return len(self._latent_mean)

    @property
    def n_features(self) -> int:
        """Numbers in ``features``."""
        return self.n_latents + self.n_types + len(self._mean)

    def latents(self, truth: Truth) -> Tensor:
        """The latents that vary in the population, standardised, ``(n, n_latents)``."""
        return (self._raw_latents(truth)[:, self._varies] - self._latent_mean) / self._latent_sd

    def unstandardise(self, latents: Tensor) -> Tensor:
        """The inverse of the standardisation of ``latents``."""
        return latents * self._latent_sd + self._latent_mean

    def features(self, truth: Truth) -> Tensor:
        """Latents, type and knowledge state, ``(n, n_features)``."""
        situation = (self._raw_situation(truth) - self._mean) / self._sd
        kind = torch.nn.functional.one_hot(truth.latents["type"], self.n_types)
        return torch.cat([self.latents(truth), kind.to(situation.dtype), situation], dim=-1)
