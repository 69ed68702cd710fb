"""The style bandit: one skill, M modalities, and the question which one this student learns by.

A practice in modality m produces a learning event with probability
``p_m = clip(p_event * exp(ability_on_event * ability) * style)``, where ``style`` is
:func:`tutor_envs.student.style_multiplier`. A quiz follows: the answer is right with
``1 - p_slip`` if the event happened and with ``p_guess`` if not. Nothing else is hidden or
remembered, so the family is a Bernoulli bandit seen through a noisy quiz.

With ``questionnaire_accuracy`` set, one more action asks the student's learning style: it teaches
nothing, and the answer is the true label with that probability, else one of the other labels
uniformly. The label is the modality with the largest responsiveness, unless the population sets
``style_label``, which it must where there are fewer labels than modalities.

Mastery is the share of the topic's ``n_units`` learning units that have happened.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tutor_envs.student import (
    CORRECT,
    Belief,
    Latents,
    LatentSpec,
    State,
    StudentModel,
    TeachingAction,
    skill_modality_actions,
    style_multiplier,
)

_N_QUIZ_RESPONSES = 2


class StyleBandit(StudentModel):
    """One skill, M modalities; see the module's text for the equations."""

    name: ClassVar[str] = "style_bandit"

    n_units: int = Field(15, ge=1, description="learning events that make up the topic")
    questionnaire_accuracy: float | None = Field(
        None, ge=0, le=1, description="P(true label); None: there is no questionnaire"
    )
    n_labels: int | None = Field(
        None, ge=2, description="questionnaire labels; default: modalities"
    )
    ability_on_event: float = Field(
        0.3, ge=0, description="log rate per SD of ability (our choice)"
    )

    @model_validator(mode="after")
    def _check(self) -> StyleBandit:
        if self.questionnaire_accuracy is not None and self._n_labels < 2:
            raise ValueError(f"`n_labels` must be >= 2 for a questionnaire, got {self._n_labels}")
        return self

    @property
    def skills(self) -> tuple[str, ...]:
        """The only skill."""
        return ("topic",)

    @cached_property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Practice in each modality; last, if any, the questionnaire."""
        practice = skill_modality_actions("practice", self.skills, self.modalities)
        if self.questionnaire_accuracy is None:
            return practice
        return (*practice, TeachingAction("questionnaire", "", ""))

    @property
    def _n_labels(self) -> int:
        return len(self.modalities) if self.n_labels is None else self.n_labels

    @cached_property
    def responses(self) -> tuple[str, ...]:
        """Quiz answers; then, if there is a questionnaire, its labels."""
        if self.questionnaire_accuracy is None:
            return ("wrong", "correct")
        return ("wrong", "correct", *(f"label_{i}" for i in range(self._n_labels)))

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, the event rate, and slip and guess of the quiz."""
        specs = self._common_latents() | {
            "p_event": LatentSpec((), 0, 1, 0.4, "mean P(learning event) over the modalities"),
            "p_slip": LatentSpec((), 0, 1, 0.1, "P(wrong answer) after a learning event"),
            "p_guess": LatentSpec((), 0, 1, 0.2, "P(correct answer) without one"),
        }
        if self.questionnaire_accuracy is not None:
            lowest = -1 if self._n_labels >= len(self.modalities) else 0
            specs["style_label"] = LatentSpec(
                (), lowest, self._n_labels - 1, -1, "the true label; -1: the best modality"
            )
        return specs

    @property
    def n_step_uniforms(self) -> int:
        """Learning event, answer."""
        return 2

    @property
    def max_lesson_steps(self) -> int | None:
        """A lesson may not hold more events than the topic has units."""
        return self.n_units

    def _asks(self, action: Tensor) -> Tensor:
        return action == len(self.modalities)

    def _p_event(self, latents: Latents, action: Tensor) -> Tensor:
        """``(n,)`` probability of a learning event; 0 for the questionnaire."""
        modality = action.clamp(max=len(self.modalities) - 1)
        rate = latents["p_event"] * torch.exp(self.ability_on_event * latents["ability"])
        p = (rate * style_multiplier(latents, modality)).clamp(0, 1)
        return torch.where(self._asks(action), 0.0, p)

    def _p_label(self, latents: Latents) -> Tensor:
        """``(n, n_labels)`` probability of each answer to the questionnaire."""
        accuracy = self.questionnaire_accuracy or 0.0
        best = latents["responsiveness"].argmax(-1)
        label = torch.where(latents["style_label"] < 0, best, latents["style_label"].long())
        true = label.unsqueeze(-1) == torch.arange(self._n_labels, device=label.device)
        other = (1 - accuracy) / (self._n_labels - 1)
        return other + true.to(latents["ability"].dtype) * (accuracy - other)

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """``n_events`` ``(n,)``: learning events so far."""
        return {"n_events": torch.zeros_like(latents["ability"])}

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Draw the learning event, then the quiz answer (or the questionnaire's)."""
        event = uniforms[:, 0] < self._p_event(latents, action)
        p_correct = torch.where(event, 1 - latents["p_slip"], latents["p_guess"])
        response = (uniforms[:, 1] < p_correct).long()
        if self.questionnaire_accuracy is not None:
            edges = self._p_label(latents).cumsum(-1)[:, :-1]
            label = (uniforms[:, 1:] >= edges).sum(-1)
            response = torch.where(self._asks(action), label + _N_QUIZ_RESPONSES, response)
        return {"n_events": state["n_events"] + event}, response

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """Share of the topic's units that have been learned."""
        return (state["n_events"] / self.n_units).unsqueeze(-1)

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """As ``mastery``."""
        return state["n_events"] / self.n_units

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """P(learning event) in units of the topic."""
        return self._p_event(latents, action) / self.n_units

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Probability of each quiz answer, and of each label if there is a questionnaire."""
        p_event = self._p_event(latents, action)
        p_correct = p_event * (1 - latents["p_slip"]) + (1 - p_event) * latents["p_guess"]
        quiz = torch.stack([1 - p_correct, p_correct], dim=-1)
        if self.questionnaire_accuracy is None:
            return quiz
        asks = self._asks(action).unsqueeze(-1)
        return torch.cat([quiz * ~asks, self._p_label(latents) * asks], dim=-1)

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Add the probability that this practice produced an event, given the answer."""
        p_event = self._p_event(latents, action)
        slip, guess = latents["p_slip"], latents["p_guess"]
        correct = response == CORRECT
        if_event = p_event * torch.where(correct, 1 - slip, slip)
        if_none = (1 - p_event) * torch.where(correct, guess, 1 - guess)
        tiny = torch.finfo(p_event.dtype).tiny
        posterior = if_event / (if_event + if_none).clamp(min=tiny)
        return {"n_events": belief["n_events"] + posterior}

    def planning_belief(self, belief: Belief) -> Belief:
        """Nothing: past events change neither answers nor later gains."""
        return {}
