"""What a student had done before each answer: small tables worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutor_sim.calibration.features import (
    SECONDS_PER_DAY,
    counts_before,
    rare_skills,
    step_seconds,
    window_counts,
)
from tutor_sim.logs.log import InteractionLog


def log_of(
    student: list[int], skill: list[int], correct: list[float], days: list[float] | None = None
) -> InteractionLog:
    n = len(student)
    names = tuple(map(str, range(max(skill) + 1)))
    return InteractionLog(
        student=np.array(student),
        item=np.array(skill),
        skill=np.array(skill),
        more_skills={},
        correct=np.array(correct, dtype=float),
        time_s=np.full(n, np.nan) if days is None else np.array(days) * SECONDS_PER_DAY,
        response_time_s=np.full(n, np.nan),
        rating=np.zeros(n, dtype=np.int64),
        line=np.arange(n) + 2,
        student_names=tuple(map(str, range(max(student) + 1))),
        item_names=names,
        skill_names=names,
    )


def test_counts_are_of_the_same_student_and_skill_before_the_row() -> None:
    """A study trial (NaN) is an exposure, and neither a success nor a failure."""
    log = log_of([0, 0, 0, 0, 0, 1, 1], [0, 1, 0, 0, 0, 0, 0], [1, 0, math.nan, 0, 1, 0, 1])
    counts = counts_before(log)
    assert counts.exposures.tolist() == [0, 0, 1, 2, 3, 0, 1]
    assert counts.successes.tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert counts.failures.tolist() == [0, 0, 0, 0, 1, 0, 1]


def test_windows_hold_the_reviews_that_are_not_older() -> None:
    """Days 0, .02, 1, 3, 20 (right, wrong, right, right, wrong): a lag on the edge counts."""
    log = log_of([0] * 5, [0] * 5, [1, 0, 1, 1, 0], days=[0, 0.02, 1, 3, 20])
    windows, successes, reviews = window_counts(log)
    assert windows == pytest.approx((1 / 24, 1.0, 7.0, math.inf))
    # row:        0  1  2  3  4
    expected = [
        [0, 1, 0, 0, 0],  # an hour
        [0, 1, 2, 0, 0],  # a day: row 2 sees row 0 (lag 1) and row 1 (lag .98)
        [0, 1, 2, 3, 0],  # a week
        [0, 1, 2, 3, 4],  # ever
    ]
    assert reviews.T.tolist() == expected
    assert successes.T.tolist() == [
        [0, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 1, 1, 2, 0],
        [0, 1, 1, 2, 3],
    ]


def test_windows_that_the_log_cannot_tell_apart_are_left_out() -> None:
    log = log_of([0] * 3, [0] * 3, [1, 0, 1], days=[0, 0.001, 0.002])
    assert window_counts(log)[0] == (math.inf,)


def test_a_step_is_the_median_gap_within_a_session() -> None:
    """Gaps 10, 30, 20 s and a day; another student's start is no gap."""
    seconds = np.array([0, 10, 40, 60, 90000, 0]) / SECONDS_PER_DAY
    log = log_of([0, 0, 0, 0, 0, 1], [0] * 6, [1] * 6, days=seconds.tolist())
    assert step_seconds(log) == pytest.approx(20)
    assert step_seconds(log_of([0, 0], [0, 0], [1, 0])) is None


def test_rare_skills_are_counted_by_graded_answers() -> None:
    log = log_of([0] * 41, [0] * 20 + [1] * 21, [1.0] * 20 + [math.nan] * 2 + [1.0] * 19)
    assert rare_skills(log) == 1
