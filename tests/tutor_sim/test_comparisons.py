"""Tests, probabilities, profiles and aggregates: scipy, rliable, hand-worked numbers, coverage."""

from __future__ import annotations

import math
from collections.abc import Callable

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutor_sim.aggregates import Aggregate, aggregate, linearised, normalised, ranks
from tutor_sim.comparisons import difference, holm, probability_of_improvement, profile
from tutor_sim.statistics import MAX_BOOTSTRAPPED, Array, Estimate

# Runs x tasks, and what rliable 1.2.0 makes of them: metrics.aggregate_mean, aggregate_iqm and
# probability_of_improvement.
X = np.array([[0.1, 0.9, 0.4], [0.3, 0.7, 0.5], [0.2, 0.8, 0.9], [0.6, 0.5, 0.1]])
Y = np.array([[0.2, 0.6, 0.4], [0.1, 0.9, 0.3], [0.3, 0.4, 0.2], [0.2, 0.8, 0.7]])
RLIABLE_MEAN_X, RLIABLE_IQM_X, RLIABLE_IQM_Y, RLIABLE_IMPROVEMENT = 0.5, 0.5, 0.36666667, 0.59375
ZERO, ONE = np.zeros((1, 5)), np.ones((1, 5))

small = arrays.arrays(np.float64, (2, 6), elements=st.integers(0, 4).map(float))


def runs(matrix: Array) -> list[Array]:
    """Runs x tasks as seeds x students by population: a run's students all score the same."""
    return [np.repeat(column[:, None], 5, axis=1) for column in matrix.T]


def crossed(rng: np.random.Generator, n_seeds: int, n: int, seed_sd: float, sd: float) -> Array:
    """Seeds' own levels and noise around 0."""
    levels: Array = seed_sd * rng.normal(size=(n_seeds, 1)) + sd * rng.normal(size=(n_seeds, n))
    return levels


class TestDifference:
    def test_with_one_seed_each_it_is_the_paired_t_test(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=40)
        y = x + 0.2 + 0.5 * rng.normal(size=40)
        found, theirs = difference([x[None]], [y[None]]), stats.ttest_rel(x, y)
        assert found.p == pytest.approx(theirs.pvalue)
        interval = theirs.confidence_interval()
        assert (found.estimate.low, found.estimate.high) == pytest.approx(tuple(interval))

    def test_where_only_seeds_differ_it_is_welchs_t_test(self) -> None:
        x, y = np.array([1.0, 2.0, 4.0]), np.array([1.5, 1.0, 1.2, 0.9])
        found = difference([np.repeat(x[:, None], 7, 1)], [np.repeat(y[:, None], 7, 1)])
        theirs = stats.ttest_ind(x, y, equal_var=False)
        assert found.p == pytest.approx(theirs.pvalue)
        assert float(found.spread.freedom) == pytest.approx(theirs.df)

    def test_populations_are_weighted_alike(self) -> None:
        # two populations, differences 1 and 3 of 2 and of 8 students; variances of the means
        # 0.5 / 2 and 8 * 0.25 / 7 / 8: of the mean over populations a quarter of their sum
        x = [np.array([[0.5, 1.5]]), np.array([[2.5, 3.5] * 4])]
        found = difference(x, [np.zeros((1, 2)), np.zeros((1, 8))])
        first, second = 0.5 / 2, 0.25 / 7
        assert found.estimate.value == pytest.approx(2)
        assert float(found.spread.variance) == pytest.approx((first + second) / 4)
        freedom = (first + second) ** 2 / (first**2 / 1 + second**2 / 7)
        assert float(found.spread.freedom) == pytest.approx(freedom)

    def test_equal_scores_are_no_difference(self) -> None:
        scores = np.random.default_rng(0).normal(size=(1, 9))
        assert difference([scores], [scores]).p == 1
        assert difference([scores], [scores]).estimate == Estimate(0, 0, 0)

    def test_other_students_are_refused(self) -> None:
        with pytest.raises(ValueError, match="same students"):
            difference([np.ones((1, 3))], [np.ones((1, 4))])
        with pytest.raises(ValueError, match="two students at least"):
            difference([np.ones((1, 1))], [np.ones((1, 1))])


class TestProbabilityOfImprovement:
    def test_a_case_by_hand(self) -> None:
        # won, lost, tied, won: 2.5 of 4; sample variance of (1, 0, .5, 1) is 0.22917
        x, y = np.array([[2.0, 0, 1, 3]]), np.array([[1.0, 1, 1, 1]])
        found = probability_of_improvement([x], [y])
        assert found.value == pytest.approx(0.625)
        half = stats.t.ppf(0.975, 3) * math.sqrt(0.2291667 / 4)
        assert found.low == pytest.approx(max(0, 0.625 - half))
        assert found.high == 1  # 0.625 + 0.76, cut off

    def test_over_runs_it_is_the_mann_whitney_statistic(self) -> None:
        found = probability_of_improvement(runs(X), runs(Y))
        by_task = [stats.mannwhitneyu(x, y).statistic / 16 for x, y in zip(X.T, Y.T, strict=True)]
        assert found.value == pytest.approx(np.mean(by_task))
        assert found.value == pytest.approx(RLIABLE_IMPROVEMENT)

    @given(x=small, y=small)
    def test_the_other_way_round_it_is_the_rest(self, x: Array, y: Array) -> None:
        one, other = probability_of_improvement([x], [y]), probability_of_improvement([y], [x])
        assert one.value + other.value == pytest.approx(1)
        assert one.low + other.high == pytest.approx(1)

    def test_rounding_is_no_improvement(self) -> None:
        x = np.array([[0.1 + 0.2, 1.0]])
        assert probability_of_improvement([x], [np.array([[0.3, 1.0]])]).value == 0.5


class TestProfile:
    def test_it_is_the_share_that_reaches_tau(self) -> None:
        scores = [np.array([[0.0, 1, 2, 3]]), np.array([[1.0, 1, 1, 1]])]
        share, low, high = profile(scores, [-1, 0.5, 1, 1.5, 9])
        assert share == pytest.approx([1, 0.875, 0.875, 0.25, 0])
        assert ((low <= share) & (share <= high) & (low >= 0) & (high <= 1)).all()

    def test_it_is_one_less_the_empirical_distribution(self) -> None:
        scores, taus = np.random.default_rng(0).normal(size=(1, 50)), np.linspace(-3, 3, 31)
        cdf = stats.ecdf(scores[0]).cdf.evaluate(taus)
        assert profile([scores], taus)[0] == pytest.approx(1 - cdf)


class TestHolm:
    def test_the_steps_by_hand(self) -> None:
        # sorted 0.01 0.02 0.03 0.04: times 4 3 2 1 is 0.04 0.06 0.06 0.04, then running maxima
        assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
        assert holm([0.6, 0.9]) == pytest.approx([1, 1])

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_it_rejects_what_the_steps_reject(self, p: list[float]) -> None:
        adjusted, left = holm(p), sorted(range(len(p)), key=lambda k: p[k])
        rejected = set()
        for done, k in enumerate(left):
            if p[k] * (len(p) - done) >= 0.05:
                break
            rejected.add(k)
        assert {k for k, value in enumerate(adjusted) if value < 0.05} == rejected


class TestAggregate:
    def test_the_values_are_those_of_rliable(self) -> None:
        ends = [ZERO] * 3, [ONE] * 3
        found = aggregate({"x": runs(X), "y": runs(Y)}, *ends, n_resamples=50)
        assert found["x"].mean.value == pytest.approx(RLIABLE_MEAN_X)
        assert found["x"].iqm.value == pytest.approx(RLIABLE_IQM_X)
        assert found["y"].iqm.value == pytest.approx(RLIABLE_IQM_Y)

    def test_the_references_are_0_and_1(self) -> None:
        rng = np.random.default_rng(0)
        low, high = rng.normal(5, 1, size=(1, 30)), rng.normal(9, 1, size=(1, 30))
        found = aggregate({"low": [low], "high": [high]}, [low], [high])
        assert found["low"].mean == pytest.approx((0, 0, 0, ""), abs=1e-12)
        assert found["high"].iqm == pytest.approx((1, 1, 1, ""))

    def test_other_units_change_nothing(self) -> None:
        rng = np.random.default_rng(0)
        x, low, high = (rng.normal(k, 1, size=(2, 60)) for k in (1, 0, 2))
        one = aggregate({"x": [x]}, [low], [high])["x"].mean
        other = aggregate({"x": [3 - 10 * x]}, [3 - 10 * low], [3 - 10 * high])["x"].mean
        assert other == pytest.approx(one)

    def test_the_width_is_that_of_the_delta_method(self) -> None:
        # z = mean(x) / mean(high): the variance of mean(x - z high) over students, in the unit
        rng = np.random.default_rng(0)
        n = 400
        x, high = rng.normal(1, 1, size=(1, n)), rng.normal(2, 1, size=(1, n))
        found = aggregate({"x": [x]}, [np.zeros((1, n))], [high])["x"].mean
        z = x.mean() / high.mean()
        error = (x - z * high).std(ddof=1) / high.mean() / math.sqrt(n)
        assert found.high - z == pytest.approx(1.966 * error, rel=0.05)

    def test_where_only_seeds_differ_it_is_their_t_interval(self) -> None:
        # seeds 0, 1, 2 in both populations: mean 1; its variance is (1/3 + 1/3) / 4, with 4
        # degrees of freedom
        x = np.repeat([[0.0], [1], [2]], 5, axis=1)
        found = aggregate({"x": [x, x]}, [ZERO] * 2, [ONE] * 2, n_resamples=20_000)["x"].mean
        half = stats.t.ppf(0.975, 4) * math.sqrt(1 / 6)
        assert (found.value, found.high) == (1, pytest.approx(1 + half, rel=0.02))

    def test_many_students_are_drawn_from_the_limit(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2, MAX_BOOTSTRAPPED + 1))
        ends = [np.zeros((1, x.shape[1]))], [np.ones((1, x.shape[1]))]
        many = aggregate({"x": [x]}, *ends)["x"].mean
        few = aggregate({"x": [x[:, :-1]]}, *(([e[0][:, :-1]]) for e in ends))["x"].mean
        assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.1)

    def test_rows_keep_their_means(self) -> None:
        rng = np.random.default_rng(0)
        x, low, high = (rng.normal(k, 1, size=(2, 60)) for k in (1, 0, 2))
        means = linearised(x, low, high).mean(axis=1)
        assert means == pytest.approx(normalised(x, low, high).mean(axis=1))


class TestRanks:
    def test_clear_orders_are_certain_and_ties_are_shared(self) -> None:
        base = np.random.default_rng(0).normal(size=(1, 40))
        found = ranks({"a": [base + 9], "b": [base], "c": [base]}, n_resamples=200)
        assert found["a"].expected == Estimate(1, 1, 1)
        assert found["a"].p_best == 1
        assert found["b"].expected == found["c"].expected == Estimate(2.5, 2.5, 2.5)

    def test_ranks_sum_up_and_somebody_is_best(self) -> None:
        rng = np.random.default_rng(0)
        found = ranks({name: [rng.normal(size=(3, 30))] * 2 for name in "abcd"}, n_resamples=300)
        assert sum(rank.expected.value for rank in found.values()) == pytest.approx(10)
        assert sum(rank.p_best for rank in found.values()) == pytest.approx(1)


# -- coverage --------------------------------------------------------------------------------------
N_REPEATS = 400


def improvement_interval(rng: np.random.Generator) -> tuple[Estimate, float]:
    """Three seeds against one; X - Y is normal with mean 0.5 and known variance."""
    x = [crossed(rng, 3, 60, 0.3, 1.0) + 0.5 for _ in range(2)]
    y = [crossed(rng, 1, 60, 0.0, 1.0) for _ in range(2)]
    truth = stats.norm.cdf(0.5 / math.sqrt(0.3**2 + 2))
    return probability_of_improvement(x, y), float(truth)


def difference_interval(rng: np.random.Generator) -> tuple[Estimate, float]:
    x = [crossed(rng, 4, 50, 0.5, 1.0) + 0.5 for _ in range(3)]
    y = [crossed(rng, 3, 50, 0.2, 1.0) for _ in range(3)]
    return difference(x, y).estimate, 0.5


def mean_of_populations(rng: np.random.Generator) -> tuple[Estimate, float]:
    """References that are drawn, too: the truth is the ratio of expectations."""
    found = aggregate_of(rng)
    return found["x"].mean, 0.5


def iqm_of_populations(rng: np.random.Generator) -> tuple[Estimate, float]:
    """Of symmetric runs, whose trimmed mean is their mean."""
    found = aggregate_of(rng)
    return found["x"].iqm, 0.5


def aggregate_of(rng: np.random.Generator) -> dict[str, Aggregate]:
    students = [rng.normal(size=(1, 80)) for _ in range(3)]
    x = [s + 1 + crossed(rng, 5, 80, 0.4, 1.0) for s in students]
    low = [s + rng.normal(size=(1, 80)) for s in students]
    high = [s + 2 + rng.normal(size=(1, 80)) for s in students]
    return aggregate({"x": x}, low, high, n_resamples=400, seed=int(rng.integers(2**31)))


def profile_interval(rng: np.random.Generator) -> tuple[Estimate, float]:
    scores = [crossed(rng, 4, 50, 0.5, 1.0) for _ in range(2)]
    share, low, high = profile(scores, [0.7])
    truth = stats.norm.sf(0.7 / math.sqrt(0.5**2 + 1))
    return Estimate(float(share[0]), float(low[0]), float(high[0])), float(truth)


@pytest.mark.slow
@pytest.mark.parametrize(
    "interval",
    [
        improvement_interval,
        difference_interval,
        mean_of_populations,
        iqm_of_populations,
        profile_interval,
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(
    interval: Callable[[np.random.Generator], tuple[Estimate, float]],
) -> None:
    """Too seldom would be a false claim; they may be a little too wide (Owen 2007).

    Intervals that cover in 95 % would fail in one of 10^6 such tests.
    """
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(N_REPEATS):
        estimate, truth = interval(rng)
        covered += estimate.low <= truth <= estimate.high
    assert covered >= stats.binom.ppf(1e-6, N_REPEATS, 0.95), covered / N_REPEATS


@pytest.mark.slow
def test_holm_keeps_its_word_over_all_pairs() -> None:
    """Five tutors without a difference: somebody is told apart in 5 % of the studies at most.

    A method that errs in 5 % would fail in one of 10^6 such tests.
    """
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(N_REPEATS):
        tutors = [crossed(rng, 3, 40, 0.3, 1.0) for _ in range(5)]
        p = [difference([a], [b]).p for k, a in enumerate(tutors) for b in tutors[:k]]
        wrong += bool((holm(p) < 0.05).any())
    assert wrong <= stats.binom.ppf(1 - 1e-6, N_REPEATS, 0.05), wrong / N_REPEATS
