"""A room of students who are Python objects, one for each row of a batch; imports no torch.

The same room serves in this process and in a worker. A student object cannot be set back, so that a
row that is taught from an earlier moment (a step that reached nobody, say) is begun anew and lives
through its history again: with its own random generator it comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tutor_envs.doors.loading import describe

Rows = NDArray[np.int64]
Looks = NDArray[np.float64]
"""One row a student: response, present (0 or 1), post-test score, mastery of K skills, signals."""

RESPONSE, PRESENT, POST_TEST, MASTERY = 0, 1, 2, 3
"""Columns of looks; mastery takes K, the signals follow."""


class Start(NamedTuple):
    """What a lesson with one student begins from.

    Attributes:
        latents: name -> number or nested list of numbers.
        luck: integers below 2**24 that seed the student's random generator.
        lesson: of the trial, from 0.
    """

    latents: dict[str, Any]
    luck: tuple[int, ...]
    lesson: int


class Door(Protocol):
    """What the objects are and how they are taught."""

    def open(self, start: Start, used: Any) -> Any:
        """A student at the start of a lesson; ``used`` is one of earlier, or None."""
        ...

    def teach(self, student: Any, action: int) -> int:
        """The response, an index."""
        ...

    def wait(self, student: Any, days: float) -> None:
        """Time passes."""
        ...

    def look(self, student: Any, response: int) -> list[float]:
        """A row of :data:`Looks`."""
        ...


class RowError(Exception):
    """One student of a room failed.

    Attributes:
        row: of the batch.
        what: one line for the author.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(row, what)
        self.row = row
        self.what = what


class Refusal(Exception):
    """A student broke the rules of its door; the text says which and what to change."""


class _Seat:
    """One student, and what it has lived through in this lesson."""

    def __init__(self, door: Door, start: Start, used: Any) -> None:
        self.start = start
        self.student = door.open(start, used)
        self.history: list[int | float] = []

    def live(self, door: Door, event: int | float) -> int:
        """An action (int), or days of waiting (float)."""
        response = 0
        if isinstance(event, int):
            response = door.teach(self.student, event)
        else:
            door.wait(self.student, event)
        self.history.append(event)
        return response

    def go_back(self, door: Door, clock: int) -> None:
        """To the moment after ``clock`` events."""
        history, self.history = self.history[:clock], []
        self.student = door.open(self.start, self.student)
        for event in history:
            self.live(door, event)


class Room:
    """Cohorts of students; a cohort is a batch in one lesson."""

    def __init__(self, door: Door, report: Callable[[int], None] = lambda row: None) -> None:
        """Begin empty; ``report`` is told each row before it is worked on, and -1 after all."""
        self._door = door
        self._report = report
        self._cohorts: dict[int, list[_Seat]] = {}
        self._used: list[Any] = []

    def begin(self, cohort: int, starts: Sequence[Start]) -> Looks:
        """Seat students for a lesson."""
        self.drop([cohort])
        seats: list[_Seat] = []
        self._cohorts[cohort] = seats

        def begin_one(row: int) -> list[float]:
            seats.append(_Seat(self._door, starts[row], self._used.pop() if self._used else None))
            return self._door.look(seats[row].student, 0)

        return self._each(range(len(starts)), begin_one)

    def live(self, cohort: int, rows: Rows, clocks: Rows, events: Sequence[int | float]) -> Looks:
        """Teach (int) or let wait (float) these rows, each from the moment that its clock says."""
        seats = self._cohorts[cohort]

        def live_one(i: int) -> list[float]:
            seat = seats[rows[i]]
            if clocks[i] != len(seat.history):
                seat.go_back(self._door, int(clocks[i]))
            response = seat.live(self._door, events[i])
            return self._door.look(seat.student, response)

        return self._each(rows.tolist(), live_one)

    def drop(self, cohorts: Sequence[int]) -> None:
        """Students of these cohorts have left; the next ones may use what they used."""
        for cohort in cohorts:
            self._used += [seat.student for seat in self._cohorts.pop(cohort, [])]

    def _each(self, rows: Sequence[int], work: Callable[[int], list[float]]) -> Looks:
        looks = []
        for i, row in enumerate(rows):
            self._report(row)
            try:
                looks.append(work(i))
            except Refusal as refusal:
                raise RowError(row, str(refusal)) from None
            except Exception as error:
                raise RowError(row, f"raised {describe(error)}") from error
        self._report(-1)
        return np.array(looks, dtype=np.float64)
