"""The condition of a student: fatigue, engagement, errors in a row, time used, and who has left.

It follows from latents and observable history (but for the mastery in engagement's second term), so
every particle of a belief moves it by the same code as a simulated student.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tutor_envs.components import equations
from tutor_envs.components.config import Components
from tutor_envs.components.minds import Choice, of_skill
from tutor_envs.student import CORRECT, WRONG, Latents, LatentSpec, State


@dataclass
class Condition:
    """The equations of these components for a base model with ``n_skills`` skills."""

    components: Components
    n_skills: int

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """What is fixed for a student."""
        has, inf = self.components, math.inf
        specs = {
            "endurance": LatentSpec((), -inf, inf, 0.0, "log of how little an action tires"),
            "engagement_start": LatentSpec((), 0, 1, 1.0, "engagement when a lesson begins"),
            "lapse": LatentSpec((), 0, 1, 0.05, "P(not attending to an action)"),
            "dropout_tendency": LatentSpec((), -inf, inf, 0.0, "logit shift of leaving"),
            "pace": LatentSpec((), -inf, inf, 0.0, "shift of the log response time"),
        }
        given = (has.fatigue, has.engagement, has.lapses, has.dropout, has.response_time)
        return {
            name: spec
            for (name, spec), part in zip(specs.items(), given, strict=True)
            if part is not None
        }

    def begin(self, latents: Latents) -> State:
        """At the start of a lesson."""
        has, ability = self.components, latents["ability"]
        zero = torch.zeros_like(ability)
        condition = {}
        if has.fatigue is not None:
            condition["fatigue"] = zero
        if has.engagement is not None:
            condition["engagement"] = latents["engagement_start"]
        if has.dropout is not None:
            condition |= {"wrong_in_a_row": zero, "left": torch.zeros_like(zero, dtype=torch.bool)}
        if has.schedule is not None:
            condition |= {"n_actions": zero, "used_s": zero}
        if has.response_time is not None:
            condition["log_seconds"] = zero
        if has.prerequisites is not None:
            condition["n_correct"] = ability.new_zeros((len(ability), self.n_skills))
        return condition

    def attention(self, latents: Latents, condition: State) -> Tensor:
        """``E (1 - lapse)``: probability of attending to the next action, ``(n,)``."""
        attention = condition.get("engagement", torch.ones_like(latents["ability"]))
        return attention if self.components.lapses is None else attention * (1 - latents["lapse"])

    def hazard(self, latents: Latents, condition: State) -> Tensor:
        """Probability of leaving instead of the next action, ``(n,)``."""
        dropout, zero = self.components.dropout, torch.zeros_like(latents["ability"])
        if dropout is None:
            return zero
        return equations.leaving_hazard(
            dropout.hazard,
            latents["dropout_tendency"],
            dropout.per_fatigue * condition.get("fatigue", zero),
            dropout.per_disengagement * (1 - condition.get("engagement", zero + 1)),
            dropout.per_wrong * condition["wrong_in_a_row"].clamp(max=dropout.max_streak),
        )

    def after(
        self, latents: Latents, before: State, choice: Choice, response: Tensor, mastery: Tensor
    ) -> State:
        """The condition after an action, the student being there.

        Args:
            latents: of n students.
            before: condition before the action.
            choice: what was taught.
            response: to it.
            mastery: ``(n, K)`` before the action.
        """
        has, after = self.components, dict(before)
        correct, wrong = (choice.answered & (response == kind) for kind in (CORRECT, WRONG))
        if has.schedule is not None:
            after["n_actions"] = before["n_actions"] + 1
            after["used_s"] = before["used_s"] + choice.seconds
        if has.fatigue is not None:
            after["fatigue"] = self._fatigue(latents, after, choice)
        if has.engagement is not None:
            skill = of_skill(mastery, choice.skill)
            after["engagement"] = self._engagement(after, choice, correct, wrong, skill)
        if has.dropout is not None:
            streak = before["wrong_in_a_row"]
            after["wrong_in_a_row"] = torch.where(wrong, streak + 1, streak * ~correct)
        if has.prerequisites is not None:
            skills = torch.arange(self.n_skills, device=correct.device)
            solved = correct.unsqueeze(-1) & (choice.skill.unsqueeze(-1) == skills)
            count = before["n_correct"] + solved
            after["n_correct"] = count.clamp(max=has.prerequisites.n_correct)
        return after

    def _fatigue(self, latents: Latents, condition: State, choice: Choice) -> Tensor:
        k = self.components.fatigue
        assert k is not None
        load = k.effort * choice.effort * torch.exp(-latents["endurance"])
        load = load - k.rest * ~choice.taught
        tired = equations.fatigue_after(condition["fatigue"], k.carry, load)
        return torch.where(self.session_ends(condition), 0.0, tired) if self.has_gaps else tired

    def _engagement(
        self, condition: State, choice: Choice, correct: Tensor, wrong: Tensor, skill: Tensor
    ) -> Tensor:
        k, before = self.components.engagement, condition["engagement"]
        assert k is not None
        return equations.engagement_after(
            before,
            k.on_answer * (correct * (1 - k.expected) - wrong * k.expected),
            -k.when_hard * choice.answered * (k.hard_below - skill).clamp(min=0),
            -k.per_fatigue * condition.get("fatigue", torch.zeros_like(before)),
            choice.uplift,
        )

    def log_seconds(self, latents: Latents, choice: Choice, response: Tensor, u: Tensor) -> Tensor:
        """Log response time ``(n,)``; 0 where no answer is asked for."""
        time = self.components.response_time
        assert time is not None
        shift = latents["pace"] + time.wrong_minus_correct * (response == WRONG)
        seconds = equations.log_seconds(time.log_mean, time.log_sd, shift, u)
        return torch.where(choice.answered, seconds, 0.0)

    def gone(self, state: State) -> State:
        """The same state of a student who leaves."""
        after = {**state, "left": torch.ones_like(state["left"])}
        if self.components.response_time is not None:
            after["log_seconds"] = torch.zeros_like(state["log_seconds"])
        return after

    # -- sessions -----------------------------------------------------------------------------
    @property
    def has_gaps(self) -> bool:
        """There are sessions with time between them."""
        schedule = self.components.schedule
        return schedule is not None and bool(schedule.steps_per_session and schedule.gap_days)

    def session_ends(self, condition: State) -> Tensor:
        """Bool ``(n,)``: the action that led here was the last of a session; with ``has_gaps``."""
        schedule = self.components.schedule
        assert schedule is not None
        assert schedule.steps_per_session is not None
        return condition["n_actions"].remainder(schedule.steps_per_session) == 0

    def gap_days(self, like: Tensor) -> Tensor:
        """Days between sessions, ``(n,)``; with ``has_gaps``."""
        assert self.components.schedule is not None
        return torch.full_like(like, self.components.schedule.gap_days)
