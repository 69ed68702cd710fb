"""A lesson's opening and one teaching action as pure functions: what every executor runs.

They hold no clock, no seat and no random number: those are the classroom's, and reach them as
arguments. So they can be run operation by operation or be compiled as a whole.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tutor_envs.student import Latents, State, StudentModel
from tutor_envs.task import TeachingTask

SIGNAL_LIMIT = 10.0
"""Signals are clipped to this size: bounds for a Gymnasium space, and no input explodes."""


class Lesson(NamedTuple):
    """Where n students are in a lesson.

    Attributes:
        state: their knowledge state.
        score: ``(n,)``, what the lesson's score is so far.
        counted: ``(n,)``, the :func:`measured` quantity where it was last counted.
        present: bool ``(n,)``, who has not left the trial; None where nobody ever leaves.
        legal: bool ``(n, A)``, actions allowed now; None where all are. All true for a student
            whom no action reaches.
        signals: ``(n, S)`` within the limit; None without signals.
        response: int64 ``(n,)`` to the last action; R for none.
    """

    state: State
    score: Tensor
    counted: Tensor
    present: Tensor | None
    legal: Tensor | None
    signals: Tensor | None
    response: Tensor


def quantity(task: TeachingTask) -> str:
    """What the score of a lesson is made of, an attribute of the classroom's truth."""
    is_post_test = task.reward.score == "post_test"
    return "post_test" if is_post_test else "mean_mastery"


def open_lesson(
    model: StudentModel,
    task: TeachingTask,
    latents: Latents,
    present: Tensor | None,
    uniforms: Tensor,
) -> tuple[State, Tensor, Tensor | None]:
    """A lesson on a new topic.

    Args:
        model: how they learn.
        task: what is paid for.
        latents: of the students.
        present: bool ``(n,)``, who has not left the trial; None where nobody ever leaves.
        uniforms: ``(n, n_start_uniforms)``.

    Returns:
        ``state``, ``counted`` and ``legal`` of a :class:`Lesson`.
    """
    state = model.begin_lesson(latents, uniforms)
    if counts_from_zero(task):
        counted = torch.zeros_like(latents["ability"])
    else:
        counted = measured(model, task, latents, state, present)
    return state, counted, legal_actions(model, state, present)


def counts_from_zero(task: TeachingTask) -> bool:
    """The score is the quantity itself, not what became of it in the lesson."""
    return task.reward.score == "post_test"


def measured(
    model: StudentModel,
    task: TeachingTask,
    latents: Latents,
    state: State,
    attends: Tensor | None,
) -> Tensor:
    """The :func:`quantity` now, ``(n,)``; 0 for those who do not attend this lesson."""
    if quantity(task) == "post_test":
        value = model.post_test(latents, state)
    else:
        value = model.mastery(latents, state).mean(-1)
    return value if attends is None else value * attends


def is_counted(task: TeachingTask, present: Tensor | None, *, ends: bool) -> bool:
    """The quantity is needed after this action.

    It need not be if its change over the whole lesson is paid at the end; unless somebody leaves.
    """
    is_change = task.reward.score in ("post_test", "mastery_gain")
    return ends or task.reward.when == "step" or not is_change or present is not None


def legal_actions(model: StudentModel, state: State, present: Tensor | None) -> Tensor | None:
    """See :class:`Lesson`."""
    legal, reachable = model.legal_actions(state), _reachable(model, state, present)
    return legal if legal is None or reachable is None else legal | ~reachable.unsqueeze(-1)


def signals(
    model: StudentModel, latents: Latents, state: State, reached: Tensor | None
) -> Tensor | None:
    """What the students show beside the response; zeros where the action did not reach."""
    shown = model.signals(latents, state)
    if shown is not None:
        shown = shown.clamp(-SIGNAL_LIMIT, SIGNAL_LIMIT)
        shown = shown if reached is None else shown * reached.unsqueeze(-1)
    return shown


def teach(
    model: StudentModel,
    task: TeachingTask,
    costs: Tensor | None,
    latents: Latents,
    lesson: Lesson,
    attends: Tensor | None,
    action: Tensor,
    uniforms: Tensor,
    *,
    opens: bool,
    ends: bool,
) -> tuple[Lesson, Tensor]:
    """One teaching action to every student.

    Args:
        model: how they learn.
        task: what is paid for.
        costs: of the actions, ``(A,)``; None: nothing.
        latents: of the students.
        lesson: before the action.
        attends: bool ``(n,)``, who attends this lesson; None: all.
        action: int64 ``(n,)`` in ``[0, A)``.
        uniforms: ``(n, n_step_uniforms)``.
        opens: it is the lesson's first action.
        ends: it is the lesson's last action.

    Returns:
        The lesson after it, and the reward ``(n,)``.
    """
    before, reward = lesson.state, task.reward
    reached = _reached(model, lesson, action)
    state, response = model.step(latents, before, action, uniforms)
    gain = model.expected_gain(latents, before, action) if reward.expected else None
    cost = None if costs is None else costs[action]
    if reached is not None:
        state = {name: _where(reached, value, before[name]) for name, value in state.items()}
        response = torch.where(reached, response, model.n_responses)
        gain = None if gain is None else gain * reached
        cost = None if cost is None else cost * reached
    present = lesson.present
    if present is not None:
        there = model.present(state)
        assert there is not None
        present = present & there

    if is_counted(task, present, ends=ends):
        counted = measured(model, task, latents, state, attends)
        part = _part(task, lesson.counted, counted)
    else:
        counted, part = lesson.counted, torch.zeros_like(lesson.score)
    if cost is not None:
        part = part - cost
    if lesson.present is not None:
        part = part * lesson.present
    score = lesson.score + part
    if gain is not None:
        part = gain + measured(model, task, latents, before, attends) if opens else gain
        part = part if cost is None else part - cost
    if reward.when == "end":
        part = _due(score, lesson.present, present, ends)
    after = Lesson(
        state,
        score,
        counted,
        present,
        legal_actions(model, state, present),
        signals(model, latents, state, reached),
        response,
    )
    return after, reward.scale * part


def _part(task: TeachingTask, before: Tensor, now: Tensor) -> Tensor:
    """What an action added to the lesson's score; see :mod:`tutor_envs.task`."""
    if task.reward.score == "mean_recall":
        return now / task.n_steps
    if task.reward.score == "time_to_mastery":
        return -(before < task.reward.mastery_threshold).to(now.dtype) / task.n_steps
    return now - before


def _due(score: Tensor, was_present: Tensor | None, present: Tensor | None, ends: bool) -> Tensor:
    """The lesson's score where the lesson is over with this action, else 0."""
    if was_present is None or present is None:
        return score if ends else torch.zeros_like(score)
    return score * (was_present if ends else was_present & ~present)


def _reached(model: StudentModel, lesson: Lesson, action: Tensor) -> Tensor | None:
    """Bool ``(n,)``: whom the action reaches; None: everybody."""
    reachable = _reachable(model, lesson.state, lesson.present)
    if lesson.legal is None:
        return reachable
    allowed = lesson.legal.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    return allowed if reachable is None else allowed & reachable


def _reachable(model: StudentModel, state: State, present: Tensor | None) -> Tensor | None:
    reachable = model.reachable(state)
    return reachable if reachable is None or present is None else reachable & present


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``torch.where`` with a condition for each student, whatever the shape of the values."""
    return torch.where(condition.reshape(-1, *[1] * (yes.dim() - 1)), yes, no)
