"""The classroom: a batch of students taught in lock-step through whole trials.

This is the one engine under the Gymnasium faces, training and evaluation. All students share the
clock, so nothing is masked or reset inside a step; inner lesson boundaries are handled here, in
the same call as the lesson's last action, and lose nothing: the observation that opens the next
lesson carries the last action and response of the one before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tutor_envs.population import Population
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents, State
from tutor_envs.task import TeachingTask

_MAX_DRAWN = 2**24
"""Uniforms drawn ahead at most (64 MiB); a lesson's draws are split into blocks of this size."""


class Observation(NamedTuple):
    """What a tutor may use, and nothing else; ``n`` students, ``A`` actions, ``R`` responses.

    Attributes:
        action: int64 ``(n,)``, the previous action; A at the start of a trial.
        response: int64 ``(n,)``, the response to it; R for none (trial start, illegal action).
        legal: bool ``(n, A)``, actions allowed now; None where all are, always.
        score: ``(n,)``, score of the lesson that just ended, else 0; None if not observable.
        step: teaching actions taken in the current lesson.
        lesson: lessons finished in the current trial.
    """

    action: Tensor
    response: Tensor
    legal: Tensor | None
    score: Tensor | None
    step: int
    lesson: int


class Truth(NamedTuple):
    """Privileged: hidden from tutors; for rewards, evaluation and oracles only.

    Attributes:
        latents: of the n students.
        state: their knowledge state.
        mastery: ``(n, K)`` in [0, 1].
        post_test: expected post-test score now, ``(n,)``.
    """

    latents: Latents
    state: State
    mastery: Tensor
    post_test: Tensor


class Outcome(NamedTuple):
    """Result of one step.

    Attributes:
        observation: what the tutor sees next.
        reward: ``(n,)``.
        lesson_ended: this was the last action of a lesson.
        trial_ended: this was the last action of the trial, which terminates (the budget of
            teaching actions is the real horizon, so nothing is bootstrapped).
        truth: right after the action, before the next lesson begins.
    """

    observation: Observation
    reward: Tensor
    lesson_ended: bool
    trial_ended: bool
    truth: Truth


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``torch.where`` with a condition for each student, whatever the shape of the values."""
    return torch.where(condition.reshape(-1, *[1] * (yes.dim() - 1)), yes, no)


class Classroom:
    """A batch of students in lock-step; privileged attributes are named ``truth``."""

    def __init__(
        self,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Set up a classroom without students; ``begin_trial`` seats them.

        Raises:
            ValueError: the student model cannot be taught for as long as the task says.
        """
        self.population = population
        self.model = population.student_model
        self.task = task
        self.seed = seed
        self.dtype = dtype
        self._state: State
        self._mastery: Tensor
        self._post_test: Tensor
        self._lesson_score: Tensor
        self.device = torch.device(device)
        longest = self.model.max_lesson_steps
        if longest is not None and task.n_steps > longest:
            raise ValueError(
                f"`task.n_steps` must be <= {longest} for student model `{self.model.name}` "
                f"as configured, got {task.n_steps}"
            )

    # -- the trial ----------------------------------------------------------------------------
    def begin_trial(self, students: Tensor, trial: int = 0, *, n_copies: int = 1) -> Observation:
        """Seat these students and open the first lesson.

        Args:
            students: int64 ``(n,)`` indices; see :func:`tutor_envs.population.student_indices`.
            trial: which trial with these students; another trial is other luck.
            n_copies: seat the students this often, with the same latents and luck, as rows
                ``copy * n + student``: to teach them in several ways at the cost of one draw.
        """
        self._students = students.to(self.device)
        self._trial = trial
        self._n_copies = n_copies
        self._lesson = self._step = 0
        latents = self.population.sample(self.seed, self._students, dtype=self.dtype)
        self._latents: Latents = {name: self._copy(value) for name, value in latents.items()}
        n = len(students) * n_copies
        self._action = torch.full((n,), self.model.n_actions, device=self.device)
        self._response = torch.full((n,), self.model.n_responses, device=self.device)
        self._score = torch.zeros(n, device=self.device, dtype=self.dtype)
        self._begin_lesson()
        return self._observe()

    def step(self, action: Tensor) -> Outcome:
        """Teach one action to every student.

        Args:
            action: int64 ``(n,)`` in ``[0, A)``. An illegal action (see ``Observation.legal``)
                takes its time but reaches no student and gets no response.

        Raises:
            RuntimeError: the trial has ended.
        """
        if self._lesson == self.task.n_lessons:
            raise RuntimeError("the trial has ended: call `begin_trial` before the next step")
        model, latents, state = self.model, self._latents, self._state
        action = action.to(self.device)
        legal = model.legal_actions(state)
        after, response = model.step(latents, state, action, self._uniforms())
        gain = model.expected_gain(latents, state, action) if self.task.reward.expected else None
        if legal is not None:
            allowed = legal.gather(-1, action.unsqueeze(-1)).squeeze(-1)
            after = {name: _where(allowed, value, state[name]) for name, value in after.items()}
            response = torch.where(allowed, response, model.n_responses)
            gain = None if gain is None else gain * allowed
        before = self.truth
        self._state, self._action, self._response = after, action, response
        self._see_truth()
        part = self._score_part(before)
        self._lesson_score = self._lesson_score + part
        if gain is not None:
            part = gain + before.post_test if self._step == 0 else gain
        self._step += 1
        lesson_ended = self._step == self.task.n_steps
        if self.task.reward.when == "end":
            part = self._lesson_score if lesson_ended else torch.zeros_like(part)
        truth = self.truth
        self._score = self._lesson_score if lesson_ended else torch.zeros_like(self._lesson_score)
        if lesson_ended:
            self._lesson, self._step = self._lesson + 1, 0
            if self._lesson < self.task.n_lessons:
                self._begin_lesson()
        trial_ended = self._lesson == self.task.n_lessons
        reward = self.task.reward.scale * part
        return Outcome(self._observe(), reward, lesson_ended, trial_ended, truth)

    def _score_part(self, before: Truth) -> Tensor:
        """What the last action added to the lesson's score; see :mod:`tutor_envs.task`."""
        reward = self.task.reward
        if reward.score == "post_test":
            gain = self._post_test - before.post_test
            return gain + before.post_test if self._step == 0 else gain
        if reward.score == "mastery_gain":
            return (self._mastery - before.mastery).mean(-1)
        if reward.score == "mean_recall":
            return self._mastery.mean(-1) / self.task.n_steps
        below = before.mastery.mean(-1) < reward.mastery_threshold
        return -below.to(self.dtype) / self.task.n_steps

    @property
    def truth(self) -> Truth:
        """The hidden truth now."""
        return Truth(self._latents, self._state, self._mastery, self._post_test)

    # -- inside -------------------------------------------------------------------------------
    def _begin_lesson(self) -> None:
        u = uniforms(
            self.seed,
            self._students,
            purpose=Purpose.LESSON_START,
            n_lanes=self.model.n_start_uniforms,
            trial=self._trial,
            lesson=self._lesson,
        )
        self._state = self.model.begin_lesson(self._latents, self._copy(u))
        self._see_truth()
        self._lesson_score = torch.zeros_like(self._post_test)
        self._drawn_from = self._drawn_to = 0

    def _see_truth(self) -> None:
        self._mastery = self.model.mastery(self._latents, self._state)
        self._post_test = self.model.post_test(self._latents, self._state)

    def _uniforms(self) -> Tensor:
        """Uniforms of the current step; a block of steps is drawn at once."""
        n_lanes = self.model.n_step_uniforms
        if self._step >= self._drawn_to:
            size = max(1, _MAX_DRAWN // max(1, len(self._students) * n_lanes))
            self._drawn_from, self._drawn_to = self._step, min(self._step + size, self.task.n_steps)
            steps = torch.arange(self._drawn_from, self._drawn_to, device=self.device)
            self._block = uniforms(
                self.seed,
                self._students,
                purpose=Purpose.STUDENT_STEP,
                n_lanes=n_lanes,
                trial=self._trial,
                lesson=self._lesson,
                step=steps.unsqueeze(-1),
            )
        return self._copy(self._block[self._step - self._drawn_from])

    def _copy(self, values: Tensor) -> Tensor:
        """One row for each copy of each student."""
        return (
            values
            if self._n_copies == 1
            else values.repeat(self._n_copies, *[1] * (values.dim() - 1))
        )

    def _observe(self) -> Observation:
        ended = self._lesson == self.task.n_lessons
        return Observation(
            self._action,
            self._response,
            None if ended else self.model.legal_actions(self._state),
            self._score if self.task.show_score else None,
            self._step,
            self._lesson,
        )
