"""Watches a custom student model while it is taught: no silent NaN, no fault without a name.

Built-in models are tested and are not watched, so they pay nothing.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, cast

import torch
from torch import Tensor

from tutor_envs.doors.hosted import HostedStudent
from tutor_envs.doors.loading import describe
from tutor_envs.errors import StudentError
from tutor_envs.student import Latents, State, StudentModel
from tutor_envs.student_registry import innermost, is_plug_in

_MOST_ROWS_TRIED = 512
_FINITE = -sys.float_info.max, sys.float_info.max


class Place(NamedTuple):
    """Where a classroom is.

    Attributes:
        students: int64 ``(n,)`` indices; a batch may hold several copies of them in turn.
        lesson: of the trial.
        step: of the lesson.
    """

    students: Tensor
    lesson: int
    step: int


def watched(model: StudentModel, place: Callable[[], Place]) -> StudentModel:
    """The model itself if it is built in, else one that checks what the model returns.

    Args:
        model: as configured.
        place: tells where the classroom is.
    """
    return cast(StudentModel, _Watched(model, place)) if is_plug_in(model) else model


class _Watched:
    """Stands in for a student model; every other attribute is the model's own."""

    def __init__(self, model: StudentModel, place: Callable[[], Place]) -> None:
        self._model = model
        self._place = place

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        return functools.partial(self._call, name, value) if callable(value) else value

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        inner = innermost(self._model)
        if isinstance(inner, HostedStudent):
            inner.opens_lesson(self._place().lesson)
        return cast(State, self._call("begin_lesson", self._model.begin_lesson, latents, uniforms))

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        after, response = self._call("step", self._model.step, latents, state, action, uniforms)
        self._expect(response, "response", (len(action),))
        if response.dtype != torch.int64:
            self._fail(f"`step` must return an int64 response, got {response.dtype}")
        last = self._model.n_responses - 1
        wanted = f"an index in [0, {last + 1})"
        self._within(response, 0, last, f"`step` returned a response that is not {wanted}")
        return after, response

    def mastery(self, latents: Latents, state: State) -> Tensor:
        mastery: Tensor = self._call("mastery", self._model.mastery, latents, state)
        n = len(latents["ability"])
        self._expect(mastery, "mastery", (n, len(self._model.skills)))
        self._within(mastery, 0, 1, "`mastery` must be in [0, 1]")
        return mastery

    def post_test(self, latents: Latents, state: State) -> Tensor:
        self.mastery(latents, state)  # first, for a score that follows from it would take the blame
        score: Tensor = self._call("post_test", self._model.post_test, latents, state)
        self._expect(score, "post_test", (len(latents["ability"]),))
        self._within(score, *_FINITE, "`post_test` must be finite")
        return score

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        model = self._model
        gain: Tensor = self._call("expected_gain", model.expected_gain, latents, state, action)
        self._expect(gain, "expected_gain", (len(action),))
        self._within(gain, *_FINITE, "`expected_gain` must be finite")
        return gain

    # -- faults -------------------------------------------------------------------------------
    def _call(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except StudentError as error:
            raise self._located(error, error.row) from error.__cause__
        except Exception as error:
            row = self._first_row_that_raises(method, arguments)
            what = f"`{name}` raised {describe(error)}"
            raise self._located(StudentError(innermost(self._model).name, what), row) from error

    def _first_row_that_raises(
        self, method: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> int | None:
        """Which student it is; None if it is not one alone."""
        n = len(arguments[0]["ability"])
        if n == 1:
            return 0
        for row in range(min(n, _MOST_ROWS_TRIED)):
            try:
                method(*(_row(argument, row) for argument in arguments))
            except Exception:
                if row == 0 and self._raises_everywhere(method, arguments, n):
                    return None
                return row
        return None

    @staticmethod
    def _raises_everywhere(method: Callable[..., Any], arguments: tuple[Any, ...], n: int) -> bool:
        try:
            method(*(_row(argument, n - 1) for argument in arguments))
        except Exception:
            return True
        return False

    def _expect(self, value: Any, name: str, shape: tuple[int, ...]) -> None:
        if not isinstance(value, Tensor) or tuple(value.shape) != shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            self._fail(f"`{name}` must be a tensor of shape {shape}, got {got}")

    def _within(self, values: Tensor, low: float, high: float, rule: str) -> None:
        smallest, largest = (x.item() for x in values.aminmax())  # NaN if any is
        if not (smallest >= low and largest <= high):
            ok = (values >= low) & (values <= high)
            row = int((~ok).nonzero()[0, 0])
            self._fail(f"{rule}, got {values[row].tolist()}", row)

    def _fail(self, what: str, row: int | None = None) -> NoReturn:
        raise self._located(StudentError(innermost(self._model).name, what), row)

    def _located(self, error: StudentError, row: int | None) -> StudentError:
        students, error.lesson, error.step = self._place()
        error.row = row
        if row is not None:
            error.student = int(students[row % len(students)])
        return error


def _row(argument: Any, row: int) -> Any:
    """The same argument for one student alone."""
    if isinstance(argument, Tensor):
        return argument[row : row + 1]
    if isinstance(argument, dict):
        return {name: value[row : row + 1] for name, value in argument.items()}
    return argument
