"""How fast tutors adapt: hand arithmetic, and intervals that say what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_sim.adaptation import (
    actions_to_reach,
    cumulative_regret,
    lesson_fractions,
    regret_points,
    way_to_last_lesson,
)
from tutor_sim.adaptation_table import lessons_shown, speed_columns
from tutor_sim.evaluation import Role
from tutor_sim.statistics import Array, Estimate, undefined
from tutor_sim.summary import Summary, TutorSummary

# two students, three lessons: students differ by 1 under every tutor
RANDOM = np.array([[0.0, 0, 0], [1, 1, 1]])
OPTIMUM = RANDOM + np.array([2, 4, 8])
TUTOR = RANDOM + np.array([1, 3, 8])


def exact(*values: float) -> list[Estimate]:
    return [Estimate(value, value, value) for value in values]


def test_fractions_have_the_scale_of_their_lesson() -> None:
    found = lesson_fractions(TUTOR, RANDOM, OPTIMUM)
    assert [estimate.value for estimate in found] == [1 / 2, 3 / 4, 1]
    assert [e.value for e in lesson_fractions(OPTIMUM, RANDOM, OPTIMUM)] == [1, 1, 1]
    assert [e.value for e in lesson_fractions(RANDOM, RANDOM, OPTIMUM)] == [0, 0, 0]


def test_the_way_has_the_scale_of_the_last_lesson() -> None:
    found = way_to_last_lesson(TUTOR, RANDOM, OPTIMUM)
    assert [estimate.value for estimate in found] == [1 / 8, 3 / 8, 1]


def test_seeds_are_averaged() -> None:
    seeds = np.stack([TUTOR, RANDOM])
    found = lesson_fractions(seeds, RANDOM, OPTIMUM)
    assert [estimate.value for estimate in found] == [1 / 4, 3 / 8, 1 / 2]
    # the seeds differ by 1/2 in lesson 1: t(0.975, 1 degree of freedom) * |1/2| / 2
    assert found[0].high - found[0].value == pytest.approx(12.7062 * 0.25, rel=0.15)


def test_actions_are_those_of_the_lessons_before() -> None:
    way = exact(0.1, 0.5, 0.79, 0.96)
    assert actions_to_reach(way, 0.5, 6) == Estimate(6, 6, 6)
    assert actions_to_reach(way, 0.8, 6) == Estimate(18, 18, 18)
    assert actions_to_reach(way, 0.05, 6) == Estimate(0, 0, 0)
    never = actions_to_reach(way, 0.97, 6)
    assert never == Estimate(math.inf, math.inf, math.inf, "not reached in 4 lessons")


def test_the_interval_is_where_the_band_passes() -> None:
    way = [Estimate(0.2, 0.1, 0.5), Estimate(0.6, 0.4, 0.8), Estimate(0.8, 0.6, 1.0)]
    assert actions_to_reach(way, 0.5, 4) == Estimate(4, 0, 8)
    assert actions_to_reach(way, 0.7, 4) == Estimate(8, 4, math.inf)
    assert actions_to_reach(way, 0.9, 4)[:3] == (math.inf, 8, math.inf)


def test_what_is_unknown_stays_unknown() -> None:
    assert actions_to_reach([undefined("no scale")], 0.5, 4).reason == "no scale"
    one_student = [Estimate(0.6, math.nan, math.nan, "one student")]
    found = actions_to_reach(one_student, 0.5, 4)
    assert found.value == 0
    assert math.isnan(found.low)


BANDS = st.lists(
    st.tuples(st.floats(-1, 2), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8
)


@settings(max_examples=50, deadline=None)
@given(BANDS, st.floats(0, 1))
def test_the_interval_holds_the_value_and_higher_levels_cost_more(
    bands: list[tuple[float, float, float]], level: float
) -> None:
    way = [Estimate(value, value - down, value + up) for value, down, up in bands]
    found, higher = (actions_to_reach(way, at, 3) for at in (level, level + 0.1))
    assert found.low <= found.value <= found.high
    assert higher.value >= found.value
    assert higher.high >= found.high


def test_the_interval_covers_the_true_lesson() -> None:
    rng = np.random.default_rng(0)
    rise = np.array([0.1, 0.35, 0.48, 0.62, 0.8])  # passes 0.5 in the fourth lesson
    hits = 0
    n_cases = 100
    for _ in range(n_cases):
        luck: Array = rng.normal(size=(60, 1))
        low, high, own = (
            level + luck + 0.6 * rng.normal(size=(60, 5)) for level in (0.0, np.ones(5), rise)
        )
        found = actions_to_reach(way_to_last_lesson(own, low, high), 0.5, 10)
        hits += found.low <= 30 <= found.high
    assert hits >= 0.93 * n_cases


@pytest.mark.parametrize(
    ("n_lessons", "shown"),
    [(1, [0]), (4, [0, 1, 2, 3]), (6, [0, 1, 2, 3, 4, 5]), (20, [0, 1, 2, 3, 5, 19])],
)
def test_which_lessons_have_a_column(n_lessons: int, shown: list[int]) -> None:
    assert lessons_shown(n_lessons) == shown


def test_regret_adds_up_over_lessons() -> None:
    # one student, two lessons of two actions; the pre-test (0.1) is nobody's merit
    own = np.array([[0.1, 0.2, 0.3], [0.1, 0.1, 0.5]])[..., None]
    best = np.array([[0.1, 0.4, 0.6], [0.1, 0.6, 0.7]])[..., None]
    found = cumulative_regret(own, best)[..., 0]
    np.testing.assert_allclose(found, [[0, 0.2, 0.3], [0.3, 0.8, 0.5]])
    assert found[-1, -1] == pytest.approx((best - own)[:, -1].sum())  # the trial's regret
    assert not cumulative_regret(best, best).any()


@pytest.mark.parametrize(
    ("n_actions", "points"),
    [(1, [1]), (2, [1, 2]), (24, [1, 2, 5, 10, 20, 24]), (500, [5, 10, 20, 50, 100, 200, 500])],
)
def test_regret_is_told_early_and_at_the_end(n_actions: int, points: list[int]) -> None:
    assert regret_points(n_actions) == points


def test_a_fraction_above_1_is_never_without_its_interval() -> None:
    score = Estimate(0.5, 0.4, 0.6)
    line = TutorSummary(
        *("rl2", Role.LEARNED, 10, score, score, score),
        *((score, score), score, score, score, score, score, score, 1.0),
        lesson_fractions=(Estimate(0.97, 0.9, 1.04), Estimate(1.05, 0.98, 1.12)),
        actions_to_reach={},
    )
    summary = Summary((line,), None, None, {}, 6, "bayes")
    cells = [column.cell(line) for column in speed_columns(summary, intervals=False)[1:3]]
    assert cells == ["0.97", "1.05 [0.98, 1.12]"]
