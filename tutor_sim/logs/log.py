"""An interaction log: who worked on what, when, and whether the answer was correct."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class InteractionLog:
    """Rows sorted by student, then by order; columns of equal length ``n``.

    Attributes:
        student: code of the student, ``0 .. len(student_names) - 1``, non-decreasing.
        item: code of the item, an index into ``item_names``.
        skill: code of the (first) skill, an index into ``skill_names``.
        more_skills: row -> all skill codes of the row, for rows with several skills only.
        correct: 1 or 0; NaN for a study trial without a graded answer.
        time_s: seconds since the student's first event; NaN where only the order is known.
        response_time_s: seconds taken to answer; NaN where unknown.
        rating: 1 again, 2 hard, 3 good, 4 easy; 0 where there is none.
        line: line of the row in its file, counted from 1.
        student_names: of the codes; hashed when the log came from a file.
        item_names: of the codes.
        skill_names: of the codes.
    """

    student: Ints
    item: Ints
    skill: Ints
    more_skills: dict[int, tuple[int, ...]]
    correct: Floats
    time_s: Floats
    response_time_s: Floats
    rating: Ints
    line: Ints
    student_names: tuple[str, ...]
    item_names: tuple[str, ...]
    skill_names: tuple[str, ...]

    def __len__(self) -> int:
        """Rows."""
        return len(self.student)

    @property
    def n_students(self) -> int:
        """Students, those without a row included."""
        return len(self.student_names)

    @cached_property
    def graded(self) -> NDArray[np.bool_]:
        """Rows that have a graded answer."""
        return ~np.isnan(self.correct)

    def of_students(self, students: Ints) -> InteractionLog:
        """The rows of these students (codes and names stay as they are)."""
        keep = np.flatnonzero(np.isin(self.student, students))
        return self.rows(keep)

    def rows(self, index: Ints) -> InteractionLog:
        """The rows with these (increasing) indices (codes and names stay as they are)."""
        new_row = {int(old): new for new, old in enumerate(index)}
        columns = ("student", "item", "skill", "correct", "time_s", "response_time_s")
        return dataclasses.replace(
            self,
            more_skills={new_row[r]: s for r, s in self.more_skills.items() if r in new_row},
            **{name: getattr(self, name)[index] for name in (*columns, "rating", "line")},
        )


def folds(n_students: int, n_folds: int = 5, seed: int = 0) -> Ints:
    """Fold of each student for cross-validation by student, ``(n_students,)`` in [0, n_folds).

    Students in the order of their codes are permuted with ``numpy.random.default_rng(seed)``; a
    student's fold is the position there modulo ``n_folds``.
    """
    fold = np.empty(n_students, dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(n_students)] = np.arange(n_students) % n_folds
    return fold
