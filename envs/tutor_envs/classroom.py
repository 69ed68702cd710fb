"""The classroom: a batch of students taught in lock-step through whole trials.

This is the one engine under the Gymnasium faces, training and evaluation. All students share the
clock, so nothing is masked or reset inside a step; inner lesson boundaries are handled here, in
the same call as the lesson's last action, and lose nothing: the observation that opens the next
lesson carries the last action and response of the one before.

Students may leave (:meth:`tutor_envs.student.StudentModel.present`). Who has left stays away for
the rest of the trial: actions have no effect, no response, no cost and no reward. The lesson is
scored, and paid for, when the student leaves; lessons that never took place score 0. The clock goes
on for the others.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_envs.doors.watch import Place, watched
from tutor_envs.population import Population
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents, State, StudentModel
from tutor_envs.task import TeachingTask

SIGNAL_LIMIT = 10.0
"""Signals are clipped to this size: bounds for a Gymnasium space, and no input explodes."""
_MAX_DRAWN = 2**18
"""Uniforms drawn ahead at most (1 MiB, which a cache holds); more steps are several draws."""


class Observation(NamedTuple):
    """What a tutor may use, and nothing else; ``n`` students, ``A`` actions, ``R`` responses.

    Whom an action does not reach (an illegal one, or a student who has left) gives no response.

    Attributes:
        action: int64 ``(n,)``, the previous action; A at the start of a trial.
        response: int64 ``(n,)``, the response to it; R for none (trial start, illegal action).
        legal: bool ``(n, A)``, actions allowed now; None where all are, always. All true for a
            student whom no action reaches.
        score: ``(n,)``, score of the lesson that just ended, else 0; None if not observable.
        step: teaching actions taken in the current lesson.
        lesson: lessons finished in the current trial.
        signals: ``(n, S)`` in [-10, 10], what the model shows beside the response; zeros where the
            action reached nobody; None without signals.
        present: bool ``(n,)``, who has not left the trial; None where nobody ever leaves.
    """

    action: Tensor
    response: Tensor
    legal: Tensor | None
    score: Tensor | None
    step: int
    lesson: int
    signals: Tensor | None = None
    present: Tensor | None = None


class Truth:
    """Privileged: hidden from tutors; for rewards, evaluation and oracles only.

    What follows from the state is computed when it is first asked for.

    Attributes:
        latents: of the n students.
        state: their knowledge state.
    """

    def __init__(
        self, model: StudentModel, latents: Latents, state: State, attends: Tensor | None
    ) -> None:
        """``attends``: bool ``(n,)``, who attends this lesson; None: all."""
        self._model, self._attends = model, attends
        self.latents, self.state = latents, state

    @cached_property
    def mastery(self) -> Tensor:
        """``(n, K)`` in [0, 1]; 0 in lessons that the student no longer attends."""
        mastery = self._model.mastery(self.latents, self.state)
        return mastery if self._attends is None else mastery * self._attends.unsqueeze(-1)

    @cached_property
    def mean_mastery(self) -> Tensor:
        """Over the skills, ``(n,)``."""
        return self.mastery.mean(-1)

    @cached_property
    def post_test(self) -> Tensor:
        """Expected post-test score now, ``(n,)``; 0 in such lessons."""
        score = self._model.post_test(self.latents, self.state)
        return score if self._attends is None else score * self._attends


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
            ValueError: the student model cannot be taught for as long as the task says, or not
                be paid for as it says.
        """
        self.population = population
        self.model = population.student_model
        self._taught = watched(self.model, lambda: Place(self._students, self._lesson, self._step))
        self.task = task
        self.seed = seed
        self.dtype = dtype
        self._state: State
        self._truth: Truth
        self._counted: Truth | None
        self._lesson_score: Tensor
        self.device = torch.device(device)
        longest = self.model.max_lesson_steps
        if longest is not None and task.n_steps > longest:
            raise ValueError(
                f"`task.n_steps` must be <= {longest} for student model `{self.model.name}` "
                f"as configured, got {task.n_steps}"
            )
        if task.reward.expected and not self.model.has_expected_gain:
            raise ValueError(
                f"`task.reward.expected` must be false for student model `{self.model.name}`: "
                f"it has no exact expected gain, got true"
            )
        costs = self.model.action_costs
        self._costs = None if costs is None else torch.tensor(costs, dtype=dtype, device=device)

    # -- the trial ----------------------------------------------------------------------------
    def begin_trial(self, students: Tensor, trial: int = 0, *, n_copies: int = 1) -> Observation:
        """Seat these students and open the first lesson.

        Args:
            students: int64 ``(n,)`` indices; see :func:`tutor_envs.population.student_indices`.
            trial: which trial with these students; another trial is other luck.
            n_copies: seat the students this often, with the same latents and luck, as rows
                ``copy * n + student``: to teach them in several ways at the cost of one draw.

        Raises:
            ValueError: students may leave, and the task's score makes no sense then.
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
        self._present: Tensor | None = None
        self._begin_lesson()
        self._present = self._taught.present(self._state)
        if self._present is not None and self.task.reward.score == "time_to_mastery":
            raise ValueError(
                "`task.reward.score` must not be 'time_to_mastery' where students may leave: "
                "it would be best if they left at once"
            )
        self._see_signals(None)
        return self._observe()

    def step(self, action: Tensor) -> Outcome:
        """Teach one action to every student.

        Args:
            action: int64 ``(n,)`` in ``[0, A)``. An illegal action (see ``Observation.legal``)
                takes its time but reaches no student, costs nothing and gets no response.

        Raises:
            RuntimeError: the trial has ended.
        """
        if self._lesson == self.task.n_lessons:
            raise RuntimeError("the trial has ended: call `begin_trial` before the next step")
        model, latents, state = self._taught, self._latents, self._state
        action = action.to(self.device)
        reached = self._reached(action)
        after, response = model.step(latents, state, action, self._uniforms())
        gain = model.expected_gain(latents, state, action) if self.task.reward.expected else None
        cost = None if self._costs is None else self._costs[action]
        if reached is not None:
            after = {name: _where(reached, value, state[name]) for name, value in after.items()}
            response = torch.where(reached, response, model.n_responses)
            gain = None if gain is None else gain * reached
            cost = None if cost is None else cost * reached
        before = self._truth
        self._state, self._action, self._response = after, action, response
        self._see_signals(reached)
        self._see_truth()
        was_present = self._present
        self._see_who_left()
        reward = self._reward(before, gain, cost, was_present)
        truth = self._truth
        self._step += 1
        lesson_ended = self._step == self.task.n_steps
        if lesson_ended:
            self._score = self._lesson_score
            self._lesson, self._step = self._lesson + 1, 0
            if self._lesson < self.task.n_lessons:
                self._begin_lesson()
        else:
            self._score = torch.zeros_like(self._lesson_score)
        trial_ended = self._lesson == self.task.n_lessons
        return Outcome(self._observe(), reward, lesson_ended, trial_ended, truth)

    def _reached(self, action: Tensor) -> Tensor | None:
        """Bool ``(n,)``: whom the action reaches; None: everybody."""
        legal, reachable = self._taught.legal_actions(self._state), self._reachable()
        if legal is None:
            return reachable
        allowed = legal.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return allowed if reachable is None else allowed & reachable

    def _reachable(self) -> Tensor | None:
        reachable = self._taught.reachable(self._state)
        if reachable is None or self._present is None:
            return reachable
        return reachable & self._present

    def _reward(
        self, before: Truth, gain: Tensor | None, cost: Tensor | None, was_present: Tensor | None
    ) -> Tensor:
        """What the last action is paid, at the scale of the task; adds to the lesson's score."""
        part = self._score_part(before)
        if cost is not None:
            part = part - cost
        if was_present is not None:
            part = part * was_present
        self._lesson_score = self._lesson_score + part
        if gain is not None:
            part = gain + before.post_test if self._step == 0 else gain
            part = part if cost is None else part - cost
        if self.task.reward.when == "end":
            part = self._due(was_present)
        return self.task.reward.scale * part

    def _due(self, was_present: Tensor | None) -> Tensor:
        """The lesson's score where the lesson is over with this action, else 0."""
        last = self._step == self.task.n_steps - 1
        if was_present is None or self._present is None:
            return self._lesson_score if last else torch.zeros_like(self._lesson_score)
        return self._lesson_score * (was_present if last else was_present & ~self._present)

    def _score_part(self, before: Truth) -> Tensor:
        """What the last action added to the lesson's score; see :mod:`tutor_envs.task`."""
        reward, now = self.task.reward, self._truth
        if reward.score == "mean_recall":
            return now.mean_mastery / self.task.n_steps
        if reward.score == "time_to_mastery":
            below = before.mean_mastery < reward.mastery_threshold
            return -below.to(self.dtype) / self.task.n_steps
        # What is left is a difference since it was last counted, which need not be at every step.
        is_last = self._step == self.task.n_steps - 1
        if reward.when == "end" and self._present is None and not is_last:
            return torch.zeros_like(self._lesson_score)
        counted, self._counted = self._counted, now
        if reward.score == "post_test":
            return now.post_test if counted is None else now.post_test - counted.post_test
        assert counted is not None
        return now.mean_mastery - counted.mean_mastery

    @property
    def truth(self) -> Truth:
        """The hidden truth now."""
        return self._truth

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
        self._state = self._taught.begin_lesson(self._latents, self._copy(u))
        self._attends = self._present
        self._see_truth()
        # Up to where differences were added to the score: a post-test counts from 0 on.
        is_gain = self.task.reward.score == "mastery_gain"
        self._counted = self._truth if is_gain else None
        self._lesson_score = torch.zeros(self._action.shape, device=self.device, dtype=self.dtype)
        self._drawn_from = self._drawn_to = 0

    def _see_truth(self) -> None:
        self._truth = Truth(self._taught, self._latents, self._state, self._attends)
        if self._taught is not self.model:
            # A custom model is asked at once: its faults are told with the place they happen at.
            _ = self._truth.mastery, self._truth.post_test

    def _see_signals(self, reached: Tensor | None) -> None:
        signals = self._taught.signals(self._latents, self._state)
        if signals is not None:
            signals = signals.clamp(-SIGNAL_LIMIT, SIGNAL_LIMIT)
            signals = signals if reached is None else signals * reached.unsqueeze(-1)
        self._signals = signals

    def _see_who_left(self) -> None:
        if self._present is not None:
            there = self._taught.present(self._state)
            assert there is not None
            self._present = self._present & there

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
        return Observation(
            self._action,
            self._response,
            self._legal(),
            self._score if self.task.show_score else None,
            self._step,
            self._lesson,
            self._signals,
            self._present,
        )

    def _legal(self) -> Tensor | None:
        if self._lesson == self.task.n_lessons:
            return None
        legal, reachable = self._taught.legal_actions(self._state), self._reachable()
        return legal if legal is None or reachable is None else legal | ~reachable.unsqueeze(-1)
