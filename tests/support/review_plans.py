"""Histories of reviews for the tests of memory students: three items, two ways, breaks of days."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from tutor_envs.practice import SkillPractice

Plan = list[tuple[int, int, int, float]]
"""Item, modality, answer, and days of break after each review."""
NONE = torch.empty(1, 0)
STYLE = {"style_strength": 0.5, "responsiveness": [0.8, 0.2]}
"""The first modality counts 1.3, the second 0.7."""


def days(number: float) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def random_plan(seed: int, n: int = 12) -> Plan:
    luck = np.random.default_rng(seed)
    return [
        (*(int(luck.integers(size)) for size in (3, 2, 2)), float(luck.exponential(2)))
        for _ in range(n)
    ]


class Reviews(NamedTuple):
    """Lets one student of a model live through a plan."""

    model: SkillPractice

    def student(self, **latents) -> dict[str, torch.Tensor]:
        """One student in float64; what is not given has the model's default."""
        specs = self.model.latent_specs
        values = {name: spec.default for name, spec in specs.items()} | latents
        return {
            name: torch.as_tensor(values[name], dtype=torch.float64).expand(1, *spec.shape).clone()
            for name, spec in specs.items()
        }

    def play(self, latents: dict[str, torch.Tensor], plan: Plan) -> dict[str, torch.Tensor]:
        """The state after the plan."""
        state = self.model.begin_lesson(latents, NONE)
        for item, modality, correct, gap in plan:
            action, response = torch.tensor([2 * item + modality]), torch.tensor([correct])
            state = self.model.update(latents, state, action, response)
            state = self.model.wait(latents, state, days(gap), NONE)
        return state

    def p_correct(self, latents: dict[str, torch.Tensor], plan: Plan) -> list[float]:
        """P(correct) on each item after the plan."""
        return self.model.p_correct(latents, self.play(latents, plan))[0].tolist()

    def past(self, plan: Plan, item: int) -> list[tuple[float, float, int]]:
        """Lag, style (see ``STYLE``) and answer of each review of an item."""
        now, reviews = 0.0, []
        for reviewed, modality, correct, gap in plan:
            if reviewed == item:
                reviews.append((now, (1.3, 0.7)[modality], correct))
            now += self.model.step_days + gap
        return [(now - time, style, correct) for time, style, correct in reviews]
