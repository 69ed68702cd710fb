"""Ornstein-Uhlenbeck student: noisy skills that are pulled to a level which teaching raises.

The state is a hidden logit ``x_k`` for each skill, and the exposure ``N_k``: how often the skill
was practised, each time counted as ``style`` (:func:`tutor_envs.student.style_multiplier`).

* answer: ``P(correct) = sigmoid(x_k)``;
* practice: ``x_k += growth * (log1p(N_k + style) - log1p(N_k))``, then ``N_k += style``;
* time: ``dx_k = reversion (mu_k - x_k) dt + volatility dB`` pulls the skill to the level
  ``mu_k = ability_on_level * ability + skill_offset_k + retained * growth * log1p(N_k)
  + transfer * mean of x_q over the prerequisites q of k``.

So a share ``retained`` of what practice adds lasts, the rest fades at ``reversion`` per day, and a
skill settles higher on strong prerequisites and lower on weak ones. Over ``dt`` days the process is
sampled exactly, for the ``mu_k`` of the interval's start (Uhlenbeck & Ornstein 1930): with
``e = exp(-reversion dt)`` and a standard normal z,
``x' = mu + (x - mu) e + volatility sqrt((1 - e**2) / (2 reversion)) z``.
A lesson starts with nothing practised, at rest without prerequisites:
``x_k ~ N(mu_k, volatility**2 / (2 reversion))``. Levels that depend on other skills are those of
graph-OU (Zhou, Bamler, Wu & Tejero-Cantero 2024, PSI-KT, ICLR); the practice term is our choice.

The belief is Gaussian: an observer who knows the latents keeps the mean and covariance of x.
Between answers they follow the linear process exactly (Kalman 1960); an answer changes the moments
of the answered skill as Bayes' rule does, by Gauss-Hermite quadrature, and those of the others by
regression on it (assumed-density filtering: Opper 1998). It is no particle filter: nothing is
sampled, and the belief of a student who was asked nothing is exact.

A step is a day by default: noise and forgetting need days to show.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.student import (
    CORRECT,
    SECONDS_PER_DAY,
    Belief,
    Latents,
    LatentSpec,
    State,
    StudentModel,
    TeachingAction,
    skill_modality_actions,
    style_multiplier,
)

_HALF_STEP = 2.0**-25
"""Half the distance of neighbouring uniforms: keeps normal quantiles finite."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
"""Quadrature for a standard normal; 15 nodes give E[sigmoid] to 1e-5 up to a variance of 4."""


class OU(StudentModel):
    """Ornstein-Uhlenbeck student; see the module's text for the equations."""

    name: ClassVar[str] = "ou"

    step_s: float = Field(
        SECONDS_PER_DAY, gt=0, description="seconds that one teaching action takes"
    )
    n_skills: int = Field(4, ge=1)
    prerequisites: dict[int, tuple[int, ...]] = Field(
        default_factory=lambda: {2: (0,), 3: (1, 2)},
        description="skill index -> indices of the skills it builds on",
    )
    transfer: float = Field(
        0.3, ge=0, le=1, description="logits of a skill's level per mean logit of prerequisites"
    )
    ability_on_level: float = Field(1.0, ge=0, description="logits of the level per SD of ability")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for skill, needed in self.prerequisites.items():
            if not all(0 <= q < k < self.n_skills for k in (skill,) for q in needed):
                raise ValueError(
                    f"`prerequisites` must name skills of smaller index, in [0, "
                    f"{self.n_skills - 1}], got {skill}: {list(needed)}"
                )
        return self

    @cached_property
    def skills(self) -> tuple[str, ...]:
        """``skill_0`` .. ``skill_{K-1}``."""
        return tuple(f"skill_{k}" for k in range(self.n_skills))

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice of a skill in a modality, at index ``skill * M + modality``."""
        return skill_modality_actions("practice", self.skills, self.modalities)

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, levels (logits), growth, and the process (per day)."""
        return self._common_latents() | {
            "skill_offset": LatentSpec(
                (self.n_skills,), -10, 10, 0.0, "level of each skill, less the part of ability"
            ),
            "growth": LatentSpec((), 0, 10, 1.0, "logits per log1p(exposures)"),
            "retained": LatentSpec((), 0, 1, 0.6, "share of what practice adds that lasts"),
            "reversion": LatentSpec((), 1e-3, 1e3, 0.3, "pull to the level, per day"),
            "volatility": LatentSpec((), 0, 10, 0.4, "noise, in logits per square root of a day"),
        }

    @cached_property
    def _builds_on(self) -> Tensor:
        """``(K, K)``: row k holds the weight of each skill in the mean of k's prerequisites."""
        weight = torch.zeros(self.n_skills, self.n_skills, dtype=torch.float64)
        for skill, needed in self.prerequisites.items():
            for q in needed:
                weight[skill, q] += 1 / len(needed)
        return weight

    def _level(self, latents: Latents) -> Tensor:
        """``(n, K)`` level without practice and prerequisites."""
        return self.ability_on_level * latents["ability"].unsqueeze(-1) + latents["skill_offset"]

    @staticmethod
    def _normal(uniforms: Tensor) -> Tensor:
        normal: Tensor = torch.special.ndtri(uniforms.clamp(_HALF_STEP, 1 - 2 * _HALF_STEP))
        return normal

    # -- simulation ---------------------------------------------------------------------------
    @property
    def n_start_uniforms(self) -> int:
        """One for each skill."""
        return self.n_skills

    @property
    def n_step_uniforms(self) -> int:
        """The answer, then the noise of each skill over the step."""
        return 1 + self.n_skills

    @property
    def n_wait_uniforms(self) -> int:
        """The noise of each skill over the wait."""
        return self.n_skills

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``x`` (logits) at rest and ``exposure`` 0, ``(n, K)`` each."""
        level = self._level(latents)
        noise = self._rest_sd(latents) * self._normal(uniforms.to(level.dtype))
        return {"x": level + noise, "exposure": torch.zeros_like(level)}

    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """P(wrong), P(correct)."""
        p = torch.sigmoid(self._of_skill(state["x"], action))
        return torch.stack([1 - p, p], dim=-1)

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Answer, practice, then the time that both took."""
        response = (uniforms[:, 0] < self.answer(latents, state, action)[:, CORRECT]).long()
        gained, exposure = self._practice(latents, state["exposure"], action)
        days = torch.full_like(gained[:, 0], self.step_days)
        after = {"x": state["x"] + gained, "exposure": exposure}
        return self.wait(latents, after, days, uniforms[:, 1:]), response

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """The process runs, towards the levels of the interval's start."""
        x, kept, sd = state["x"], *self._interval(latents, days)
        mu = self._level_now(latents, x, state["exposure"])
        noise = sd * self._normal(uniforms.to(x.dtype))
        return {**state, "x": mu + (x - mu) * kept + noise}

    # -- parts of the equations ---------------------------------------------------------------
    def _of_skill(self, x: Tensor, action: Tensor) -> Tensor:
        """The practised skill's entry of ``(n, K)``."""
        return x.gather(-1, self._skill(action).unsqueeze(-1)).squeeze(-1)

    def _skill(self, action: Tensor) -> Tensor:
        return action.div(len(self.modalities), rounding_mode="floor")

    def _practice(
        self, latents: Latents, exposure: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What practice adds to x, and the exposure after it, ``(n, K)`` each."""
        style = style_multiplier(latents, action.remainder(len(self.modalities)))
        skills = torch.arange(self.n_skills, device=action.device)
        after = exposure + (self._skill(action).unsqueeze(-1) == skills) * style.unsqueeze(-1)
        more = torch.log1p(after) - torch.log1p(exposure)
        return latents["growth"].unsqueeze(-1) * more, after

    def _level_now(self, latents: Latents, x: Tensor, exposure: Tensor) -> Tensor:
        """``mu`` ``(n, K)``."""
        lasting = (latents["retained"] * latents["growth"]).unsqueeze(-1) * torch.log1p(exposure)
        return self._level(latents) + lasting + self.transfer * (x @ self._builds_on.to(x).T)

    def _rest_sd(self, latents: Latents) -> Tensor:
        """Standard deviation of a skill at rest, ``(n, 1)``."""
        return (latents["volatility"] / torch.sqrt(2 * latents["reversion"])).unsqueeze(-1)

    def _interval(self, latents: Latents, days: Tensor) -> tuple[Tensor, Tensor]:
        """Over ``days`` ``(n,)``: the share of a distance that is left, and the noise's SD."""
        pull = latents["reversion"] * days
        share = torch.sqrt(-torch.expm1(-2 * pull)).unsqueeze(-1)
        return torch.exp(-pull).unsqueeze(-1), self._rest_sd(latents) * share

    # -- truth --------------------------------------------------------------------------------
    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Probability of a correct answer on each skill now."""
        return torch.sigmoid(state["x"])

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """Mean probability of a correct answer over the skills."""
        return self.mastery(latents, state).mean(-1)

    @property
    def belief_is_exact(self) -> bool:
        """It is Gaussian, which an answer makes the posterior only nearly."""
        return False

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Over the noise of the step; exact up to the quadrature."""
        sure = torch.zeros_like(state["x"]).diag_embed()
        known = {"mean": state["x"], "covariance": sure, "exposure": state["exposure"]}
        return self.belief_gain(latents, known, action)

    # -- belief of an observer who knows the latents ------------------------------------------
    def begin_belief(self, latents: Latents) -> Belief:
        """``mean`` ``(n, K)``, ``covariance`` ``(n, K, K)`` and ``exposure`` ``(n, K)``."""
        level = self._level(latents)
        variance = (self._rest_sd(latents) ** 2).expand_as(level)
        return {
            "mean": level,
            "covariance": variance.diag_embed(),
            "exposure": torch.zeros_like(level),
        }

    @staticmethod
    def _nodes(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``(..., Q)`` of a normal variable, and their probabilities ``(Q,)``."""
        z = torch.as_tensor(_NODES, dtype=mean.dtype, device=mean.device)
        weight = torch.as_tensor(_WEIGHTS / _WEIGHTS.sum(), dtype=mean.dtype, device=mean.device)
        sd = variance.clamp(min=0).sqrt()
        return mean.unsqueeze(-1) + sd.unsqueeze(-1) * z, weight

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(wrong), P(correct), by quadrature."""
        variance = belief["covariance"].diagonal(dim1=-2, dim2=-1)
        x, weight = self._nodes(
            self._of_skill(belief["mean"], action), self._of_skill(variance, action)
        )
        p = torch.sigmoid(x) @ weight
        return torch.stack([1 - p, p], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Condition on the answer, then practice, then the time that both took."""
        return self._after_practice(latents, self._condition(belief, action, response), action)

    def _condition(self, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        mean, covariance = belief["mean"], belief["covariance"]
        column = self._skill(action).view(-1, 1, 1).expand(-1, self.n_skills, 1)
        with_skill = covariance.gather(-1, column).squeeze(-1)  # (n, K)
        m, v = self._of_skill(mean, action), self._of_skill(with_skill, action)
        x, weight = self._nodes(m, v)
        sign = torch.where(response == CORRECT, 1, -1).unsqueeze(-1)
        logp = torch.nn.functional.logsigmoid(sign * x)
        posterior = torch.softmax(torch.log(weight) + logp, dim=-1)
        m_after = (posterior * x).sum(-1)
        v_after = (posterior * (x - m_after.unsqueeze(-1)) ** 2).sum(-1)
        # a skill that is known for sure (v = 0) is not moved by an answer
        slope = with_skill / v.clamp(min=torch.finfo(v.dtype).tiny).unsqueeze(-1)
        outer = slope.unsqueeze(-1) * slope.unsqueeze(-2)
        return {
            "mean": mean + slope * (m_after - m).unsqueeze(-1),
            "covariance": covariance + outer * (v_after - v).view(-1, 1, 1),
            "exposure": belief["exposure"],
        }

    def _after_practice(self, latents: Latents, belief: Belief, action: Tensor) -> Belief:
        gained, exposure = self._practice(latents, belief["exposure"], action)
        after = {**belief, "mean": belief["mean"] + gained, "exposure": exposure}
        return self.belief_wait(latents, after, torch.full_like(gained[:, 0], self.step_days))

    def belief_wait(self, latents: Latents, belief: Belief, days: Tensor) -> Belief:
        """The moments of the linear process."""
        mean, kept, sd = belief["mean"], *self._interval(latents, days)
        mu = self._level_now(latents, mean, belief["exposure"])
        pull = (1 - kept).unsqueeze(-1) * self.transfer * self._builds_on.to(mean)
        flow = (kept.expand_as(mean)).diag_embed() + pull
        noise = (sd**2).expand_as(mean).diag_embed()
        covariance = flow @ belief["covariance"] @ flow.mT + noise
        return {**belief, "mean": mu + (mean - mu) * kept, "covariance": covariance}

    def belief_mastery(self, latents: Latents, belief: Belief) -> Tensor:
        """Expected probability of a correct answer on each skill, by quadrature."""
        variance = belief["covariance"].diagonal(dim1=-2, dim2=-1)
        x, weight = self._nodes(belief["mean"], variance)
        return torch.sigmoid(x) @ weight

    def belief_post_test(self, latents: Latents, belief: Belief) -> Tensor:
        """Mean of ``belief_mastery`` over the skills."""
        return self.belief_mastery(latents, belief).mean(-1)

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """What is learned does not depend on the answer: no need to condition on it."""
        after = self._after_practice(latents, belief, action)
        return self.belief_post_test(latents, after) - self.belief_post_test(latents, belief)
