"""Statistics: hand arithmetic, closed forms, and intervals that cover what they should."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_sim.statistics import (
    MAX_BOOTSTRAPPED,
    Array,
    Estimate,
    Reference,
    fraction,
    iqm_interval,
    mean_band,
    mean_interval,
    paired_difference,
    regret,
    without_shared_luck,
    worst_decile_interval,
)

LISTS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


def draws(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=n)


class TestOneTutor:
    def test_known_means(self) -> None:
        scores = [9.0, 1, 2, 3, 4, 5, 6, 100]
        assert mean_interval(scores).value == 130 / 8
        # floor(8 / 4) = 2 left out on each side: (3 + 4 + 5 + 6) / 4
        assert iqm_interval(scores).value == 18 / 4
        # ceil(0.1 * 8) = 1: the lowest
        assert worst_decile_interval(scores).value == 1.0
        # ceil(0.1 * 20) = 2: (0 + 1) / 2
        assert worst_decile_interval(np.arange(20)[::-1]).value == 0.5

    @pytest.mark.parametrize("interval", [mean_interval, iqm_interval, worst_decile_interval])
    def test_equal_scores_have_no_spread(self, interval: Callable[..., Estimate]) -> None:
        assert interval([0.3] * 7) == Estimate(0.3, 0.3, 0.3)

    @pytest.mark.parametrize("interval", [mean_interval, iqm_interval, worst_decile_interval])
    def test_one_student_has_a_value_and_a_reason_for_no_interval(
        self, interval: Callable[..., Estimate]
    ) -> None:
        found = interval([0.3])
        assert found.value == 0.3
        assert math.isnan(found.low)
        assert "one student" in found.reason

    def test_no_students(self) -> None:
        with pytest.raises(ValueError, match="at least one student"):
            mean_interval([])

    def test_the_same_scores_give_the_same_interval(self) -> None:
        assert mean_interval(draws(50)) == mean_interval(draws(50))
        assert mean_interval(draws(50)) != mean_interval(draws(50), seed=1)

    @settings(max_examples=20, deadline=None)
    @given(LISTS)
    def test_an_interval_holds_its_value_and_stays_among_the_scores(
        self, scores: list[float]
    ) -> None:
        for interval in (mean_interval, iqm_interval):
            found = interval(scores, n_resamples=100)
            slack = 1e-9 * (1 + max(map(abs, scores)))
            assert min(scores) - slack <= found.low <= found.high <= max(scores) + slack

    @pytest.mark.parametrize("n", [MAX_BOOTSTRAPPED, MAX_BOOTSTRAPPED + 1])
    def test_the_interval_of_a_mean_is_1_96_standard_errors_either_side(self, n: int) -> None:
        scores = draws(n)
        found = mean_interval(scores)
        half = 1.96 * scores.std(ddof=1) / math.sqrt(n)
        assert found.high - found.value == pytest.approx(half, rel=0.1)
        assert found.value - found.low == pytest.approx(half, rel=0.1)

    @pytest.mark.parametrize("interval", [mean_interval, iqm_interval, worst_decile_interval])
    def test_many_and_few_students_agree_on_the_interval(
        self, interval: Callable[[Array], Estimate]
    ) -> None:
        scores = np.exp(draws(MAX_BOOTSTRAPPED + 1))
        few, many = interval(scores[:-1]), interval(scores)
        assert many.value == pytest.approx(few.value, rel=1e-3)
        assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.1)

    def test_intervals_cover_the_truth_in_about_95_of_100_cases(self) -> None:
        rng = np.random.default_rng(1)
        # exponential scores: mean 1; the interquartile mean is that of the middle half
        quantiles = -np.log1p(-np.linspace(0.25, 0.75, 100_001))
        truth = {mean_interval: 1.0, iqm_interval: float(quantiles.mean())}
        hits = dict.fromkeys(truth, 0)
        n_cases = 300
        for _ in range(n_cases):
            scores = rng.exponential(size=100)
            for interval, value in truth.items():
                found = interval(scores, n_resamples=200)
                hits[interval] += found.low <= value <= found.high
        for hit in hits.values():
            assert 0.90 <= hit / n_cases <= 0.98

    def test_a_band_is_the_t_interval(self) -> None:
        mean, low, high = mean_band([[1.0, 2, 3], [5, 5, 5]])
        assert mean.tolist() == [2, 5]
        half = 4.302652729911275 / math.sqrt(3)  # t(0.975, 2 degrees of freedom) * sd / sqrt(n)
        np.testing.assert_allclose(low, [2 - half, 5])
        np.testing.assert_allclose(high, [2 + half, 5])

    def test_a_band_of_one_student_is_unknown(self) -> None:
        mean, low, high = mean_band([[1.0], [2]])
        assert mean.tolist() == [1, 2]
        assert np.isnan(low).all()
        assert np.isnan(high).all()


class TestTwoTutors:
    def test_the_difference_is_paired(self) -> None:
        luck = 100 * draws(40)
        found = paired_difference(luck + 0.5, luck)
        assert found == Estimate(*[pytest.approx(0.5)] * 3)

    def test_a_tutor_and_itself_differ_by_exactly_nothing(self) -> None:
        assert paired_difference(draws(40), draws(40)) == Estimate(0, 0, 0)

    def test_other_students_cannot_be_paired(self) -> None:
        with pytest.raises(ValueError, match="same students"):
            paired_difference([1.0, 2], [1.0])

    def test_regret_is_what_the_reference_has_more(self) -> None:
        mean, low, high = regret([[1.0, 2], [3, 4]], [[2.0, 3], [3, 4]])
        assert mean.tolist() == low.tolist() == high.tolist() == [1, 0]


class TestFraction:
    def test_between_exact_references(self) -> None:
        scores = [2.0, 4, 3, 3]  # mean 3
        found = fraction(scores, Reference(1), Reference(5))
        assert found.value == (3 - 1) / (5 - 1)
        mean = mean_interval(scores)
        assert found.low == pytest.approx((mean.low - 1) / 4)
        assert found.high == pytest.approx((mean.high - 1) / 4)

    def test_between_references_on_the_same_students(self) -> None:
        low, high = np.array([0.0, 1, 2, 1]), np.array([4.0, 5, 6, 5])
        found = fraction(low + 3, Reference(scores=low), Reference(scores=high))
        assert found == Estimate(0.75, 0.75, 0.75)  # every student: 3 of 4

    @pytest.mark.parametrize("n", [400, MAX_BOOTSTRAPPED + 1])
    def test_the_references_are_zero_and_one(self, n: int) -> None:
        low, high = draws(n, 1), draws(n, 2) + 2
        ends = [Reference(scores=low), Reference(scores=high)]
        np.testing.assert_allclose(fraction(low, *ends)[:3], 0, atol=1e-12)
        np.testing.assert_allclose(fraction(high, *ends)[:3], 1, atol=1e-12)

    def test_many_and_few_students_agree_on_the_width(self) -> None:
        n = MAX_BOOTSTRAPPED
        low, high, own = draws(n + 1, 1), draws(n + 1, 2) + 2, draws(n + 1, 3) + 1
        few = fraction(own[:n], Reference(scores=low[:n]), Reference(scores=high[:n]))
        many = fraction(own, Reference(scores=low), Reference(scores=high))
        assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.1)
        assert many.value == pytest.approx(few.value, abs=0.001)

    @pytest.mark.parametrize(
        ("low", "high", "reason"),
        [
            (Reference(2), Reference(2), "no scale: 2 to 2"),
            (Reference(2), Reference(1), "no scale: 2 to 1"),
            (Reference(), Reference(1), "unknown"),
            (Reference(1), Reference(), "unknown"),
            (Reference(scores=draws(30)), Reference(scores=draws(30)), "not told apart"),
            (Reference(scores=draws(30, 1)), Reference(scores=draws(30, 2)), "not told apart"),
        ],
    )
    def test_without_a_scale_there_is_a_reason(
        self, low: Reference, high: Reference, reason: str
    ) -> None:
        found = fraction(draws(30), low, high)
        assert not found.known
        assert reason in found.reason

    def test_intervals_cover_the_truth_in_about_95_of_100_cases(self) -> None:
        rng = np.random.default_rng(2)
        hits = {"evaluated": 0, "exact": 0, "with luck": 0}
        n_cases = 300
        for _ in range(n_cases):
            # expected scores 0, 1.5 and 2: the truth is 0.75
            shared, low = rng.normal(size=200), rng.normal(size=200)
            high = 2 + shared + 0.5 * rng.normal(size=200)
            own = 1.5 + shared + 0.5 * rng.normal(size=200)
            found = {
                "evaluated": fraction(
                    own, Reference(scores=low), Reference(scores=high), n_resamples=200
                ),
                "exact": fraction(own, Reference(0), Reference(2), n_resamples=200),
                "with luck": fraction(
                    own, Reference(0), Reference(2), luck=[low, high - 2], n_resamples=200
                ),
            }
            for name, estimate in found.items():
                hits[name] += estimate.low <= 0.75 <= estimate.high
        for hit in hits.values():
            assert 0.90 <= hit / n_cases <= 0.985


class TestSharedLuck:
    def test_all_of_it_is_taken_out(self) -> None:
        luck = draws(50)
        # 3 + 2 c: what is left is 3 for everyone, though this sample's luck is not zero
        np.testing.assert_allclose(without_shared_luck(3 + 2 * luck, [luck]), 3)
        assert abs(luck.mean()) > 0.01

    def test_without_controls_nothing_happens(self) -> None:
        assert without_shared_luck([1.0, 2], []).tolist() == [1, 2]

    def test_the_same_luck_twice_is_once(self) -> None:
        luck, scores = draws(50), draws(50, 1)
        once, twice = (without_shared_luck(scores, [luck] * n) for n in (1, 2))
        np.testing.assert_allclose(once, twice)

    def test_the_spread_never_grows(self) -> None:
        luck, scores = draws(50), draws(50, 1)
        assert without_shared_luck(scores, [luck]).std() <= scores.std()
