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

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_envs.doors.watch import Place, watched
from tutor_envs.executors import chosen_executor, executed
from tutor_envs.population import Population
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents, State, StudentModel
from tutor_envs.task import TeachingTask
from tutor_envs.teaching_step import (
    Lesson,
    counts_from_zero,
    is_counted,
    legal_actions,
    open_lesson,
    quantity,
    signals,
    teach,
)

_MAX_DRAWN, _MAX_DRAWN_ON_DEVICE = 2**20, 2**24
"""Uniforms drawn ahead at most: 4 MiB, which a processor's caches hold, or 64 MiB elsewhere."""


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
        self,
        model: StudentModel,
        latents: Latents,
        state: State,
        attends: Tensor | None,
        known: Mapping[str, Tensor],
    ) -> None:
        """Keep what it follows from.

        Args:
            model: how the students learn.
            latents: of the students.
            state: of the students.
            attends: bool ``(n,)``, who attends this lesson; None: all.
            known: attributes that were computed already.
        """
        self._model, self._attends = model, attends
        self.latents, self.state = latents, state
        self.__dict__.update(known)

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
        return self._attended(self._model.post_test(self.latents, self.state))

    def post_test_after(self, days: float, uniforms: Tensor) -> Tensor:
        """Expected post-test score after a time without teaching; nobody is changed by asking.

        Args:
            days: that pass, >= 0.
            uniforms: ``(n, n_wait_uniforms)`` in [0, 1).

        Returns:
            ``(n,)``; 0 in such lessons.
        """
        pause = torch.full_like(self.latents["ability"], days)
        waited = self._model.wait(self.latents, self.state, pause, uniforms)
        return self._attended(self._model.post_test(self.latents, waited))

    def _attended(self, score: Tensor) -> Tensor:
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

        How steps are run is said by :func:`tutor_envs.executors.executing`. Custom student models
        are watched while they are taught, except when compiled.

        Raises:
            ValueError: the student model cannot be taught for as long as the task says, or not
                be paid for as it says, or the chosen executor cannot run it.
        """
        self.population = population
        self.model = population.student_model
        self.task = task
        self.seed = seed
        self.dtype = dtype
        self._now: Lesson
        self._truth: Truth
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
        priced = self.model.action_costs
        self._costs = None if priced is None else torch.tensor(priced, dtype=dtype, device=device)
        executor = chosen_executor(self.device)
        if executor == "eager":
            self._taught = watched(self.model, self._place)
        elif not self.model.is_functional:
            raise ValueError(
                f"`executor` must be 'eager' for student model `{self.model.name}`, which is not "
                f"made of tensor operations, got {executor!r}"
            )
        else:
            self._taught = self.model
        self._open, self._teach = executed(open_lesson, executor), executed(teach, executor)
        # On CPUs a C loop draws.
        self._draw = uniforms if self.device.type == "cpu" else executed(uniforms, executor)

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
        nobody = torch.full((n,), self.model.n_responses, device=self.device)
        self._begin_lesson(nobody, None)
        present = self._taught.present(self._now.state)
        if present is not None and self.task.reward.score == "time_to_mastery":
            raise ValueError(
                "`task.reward.score` must not be 'time_to_mastery' where students may leave: "
                "it would be best if they left at once"
            )
        legal = legal_actions(self._taught, self._now.state, present)
        shown = signals(self._taught, self._latents, self._now.state, None)
        self._now = self._now._replace(present=present, legal=legal, signals=shown)
        self._score = torch.zeros_like(self._now.score)
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
        action = action.to(self.device)
        last = self._step == self.task.n_steps - 1
        # Only where it matters, for each combination is another function to compile.
        opens = self._step == 0 and self.task.reward.expected
        ends = last and self.task.reward.when == "end"
        self._now, reward = self._teach(
            self._taught,
            self.task,
            self._costs,
            self._latents,
            self._now,
            self._attends,
            action,
            self._uniforms(),
            opens=opens,
            ends=ends,
        )
        self._action = action
        self._see_truth(is_counted(self.task, self._now.present, ends=ends))
        truth = self._truth
        self._step += 1
        if last:
            self._score = self._now.score
            self._lesson, self._step = self._lesson + 1, 0
            if self._lesson < self.task.n_lessons:
                self._begin_lesson(self._now.response, self._now.present)
        elif self._step == 1:
            self._score = torch.zeros_like(self._score)
        trial_ended = self._lesson == self.task.n_lessons
        return Outcome(self._observe(), reward, last, trial_ended, truth)

    @property
    def truth(self) -> Truth:
        """The hidden truth now."""
        return self._truth

    # -- inside -------------------------------------------------------------------------------
    def _place(self) -> Place:
        return Place(self._students, self._lesson, self._step)

    def _begin_lesson(self, response: Tensor, present: Tensor | None) -> None:
        """On a new topic, for those who are present; ``response`` is to the last action."""
        u = uniforms(
            self.seed,
            self._students,
            purpose=Purpose.LESSON_START,
            n_lanes=self.model.n_start_uniforms,
            trial=self._trial,
            lesson=self._lesson,
        )
        state, counted, legal = self._open(
            self._taught, self.task, self._latents, present, self._copy(u)
        )
        self._attends = present
        zero = torch.zeros(response.shape, device=self.device, dtype=self.dtype)
        shown = self._now.signals if self._lesson else None
        self._now = Lesson(state, zero, counted, present, legal, shown, response)
        self._see_truth(not counts_from_zero(self.task))
        self._drawn_from = self._drawn_to = 0

    def _see_truth(self, counted: bool) -> None:
        """``counted``: the score's quantity has been, now."""
        now = self._now
        known = {quantity(self.task): now.counted} if counted else {}
        self._truth = Truth(self._taught, self._latents, now.state, self._attends, known)
        if self._taught is not self.model:
            # A custom model is asked at once: its faults are told with the place they happen at.
            _ = self._truth.post_test

    def _uniforms(self) -> Tensor:
        """Uniforms of the current step; a block of steps is drawn at once."""
        n_lanes = self.model.n_step_uniforms
        if self._step >= self._drawn_to:
            most = _MAX_DRAWN if self.device.type == "cpu" else _MAX_DRAWN_ON_DEVICE
            size = max(1, most // max(1, len(self._students) * n_lanes))
            self._drawn_from, self._drawn_to = self._step, min(self._step + size, self.task.n_steps)
            steps = torch.arange(self._drawn_from, self._drawn_to, device=self.device)
            self._block = self._draw(
                self.seed,
                self._students,
                purpose=Purpose.STUDENT_STEP,
                n_lanes=n_lanes,
                # Tensors, for numbers would be constants of a compiled draw.
                trial=torch.tensor(self._trial, device=self.device),
                lesson=torch.tensor(self._lesson, device=self.device),
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
        now = self._now
        return Observation(
            self._action,
            now.response,
            None if self._lesson == self.task.n_lessons else now.legal,
            self._score if self.task.show_score else None,
            self._step,
            self._lesson,
            now.signals,
            now.present,
        )
