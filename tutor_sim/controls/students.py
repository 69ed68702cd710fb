"""Students for null controls: all the same, or untouched by teaching."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from tutor_envs.population import Population, Split, student_indices
from tutor_envs.student import Latents, State, StudentModel

_N_CANDIDATES = 256
"""Training students of whom the most ordinary one is taken."""


def all_the_same(population: Population) -> Population:
    """Everybody has the latents of the most ordinary student.

    That is the training student with the smallest sum of squared distances from the mean, each in
    standard deviations of the latent: a student whom the population really has, whatever its
    latents mean.
    """
    students = student_indices(Split.TRAIN, _N_CANDIDATES)
    latents = population.sample(0, students, dtype=torch.float64)
    latents.pop("type")
    away = torch.zeros(len(students), dtype=torch.float64)
    for values in latents.values():
        flat = values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)
        spread = flat.std(0)
        z = torch.where(spread > 0, (flat - flat.mean(0)) / spread, 0.0)
        away += z.square().sum(1)
    ordinary = int(away.argmin())
    return population.with_latents(
        **{name: values[ordinary].tolist() for name, values in latents.items()}
    )


def untouched(population: Population) -> Population:
    """Teaching does nothing: students answer as ever, and their knowledge stays what it was.

    Raises:
        ValueError: the students' knowledge is no value that could be kept.
    """
    model = population.student_model
    if not model.is_functional:
        raise ValueError(
            f"student model `{population.student}` can only be simulated: what an action did "
            "cannot be undone"
        )
    fields = {name: getattr(population, name) for name in Population.model_fields}
    changes = {"name": f"{population.name}, untouched", "model": _still(model), "components": None}
    return Population.model_validate(fields | changes | {"variants": {}})


def _still(model: StudentModel) -> StudentModel:
    """The model with actions that change nothing and cost nothing."""
    kind: Any = type(model)

    class Still(kind):  # type: ignore[misc]
        def step(
            self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
        ) -> tuple[State, Tensor]:
            """The response of the student as is."""
            _, response = super().step(latents, state, action, uniforms)
            return state, response

        @property
        def action_costs(self) -> None:
            """Nothing costs."""

    configured = {name: getattr(model, name) for name in kind.model_fields}
    return cast(StudentModel, Still.model_construct(**configured))
