"""Quantiles and moments against scipy's own distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tutor_envs.distributions import dump_distribution, parse_distribution

RANKS = np.linspace(0.001, 0.999, 999)
AS_IN_SCIPY = [
    ({"normal": {"mean": -1, "sd": 2}}, stats.norm(-1, 2)),
    # truncated to [-1, 2]: in standard deviations (-1 - .5) / 1.5 = -1 and (2 - .5) / 1.5 = 1
    ({"normal": {"mean": 0.5, "sd": 1.5, "low": -1, "high": 2}}, stats.truncnorm(-1, 1, 0.5, 1.5)),
    ({"lognormal": {"mean": 0.3, "sd": 0.7}}, stats.lognorm(0.7, scale=np.exp(0.3))),
    ({"uniform": {"low": -2, "high": 3}}, stats.uniform(-2, 5)),
    # a = mean * concentration = .2 * 15 = 3, b = .8 * 15 = 12
    ({"beta": {"mean": 0.2, "concentration": 15}}, stats.beta(3, 12)),
]


@pytest.mark.parametrize(("written", "scipy"), AS_IN_SCIPY)
def test_quantiles_are_scipys(written, scipy):
    np.testing.assert_allclose(
        parse_distribution(written).quantile(RANKS), scipy.ppf(RANKS), rtol=1e-9, atol=1e-9
    )


def test_a_truncated_lognormal_is_a_truncated_normal_on_the_log_scale():
    written = {"lognormal": {"mean": 1, "sd": 0.5, "low": 2, "high": 5}}
    on_log_scale = stats.truncnorm((np.log(2) - 1) / 0.5, (np.log(5) - 1) / 0.5, 1, 0.5)
    np.testing.assert_allclose(
        np.log(parse_distribution(written).quantile(RANKS)), on_log_scale.ppf(RANKS), rtol=1e-9
    )


def test_dirichlet_has_the_moments_of_a_dirichlet():
    concentration = [0.5, 1.0, 2.5]
    u = np.random.default_rng(0).random((200_000, 3))
    drawn = parse_distribution({"dirichlet": {"concentration": concentration}}).quantile(u)
    np.testing.assert_allclose(drawn.sum(-1), 1, rtol=1e-12)
    expected = stats.dirichlet(concentration)
    # standard errors are below .3 / sqrt(200,000) = .0007
    np.testing.assert_allclose(drawn.mean(0), expected.mean(), atol=0.004)
    np.testing.assert_allclose(drawn.var(0), expected.var(), atol=0.004)


def test_a_tiny_dirichlet_concentration_gives_corners_not_nans():
    u = np.random.default_rng(0).random((1000, 3))
    drawn = parse_distribution({"dirichlet": {"concentration": 0.01}}).quantile(u)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn.sum(-1), 1)


def test_categorical_takes_the_first_value_whose_cumulative_probability_covers_the_rank():
    written = {"categorical": {"values": [10, 20, 30], "probabilities": [0.2, 0.5, 0.3]}}
    ranks = np.array([0.0, 0.199, 0.201, 0.699, 0.701, 0.999])
    drawn = parse_distribution(written).quantile(ranks)
    assert drawn.tolist() == [10, 10, 20, 20, 30, 30]


def test_a_categorical_row_fills_every_row_of_a_square_latent_as_fixed_does():
    # K = M = 2: [1, 2] is one value for each modality (last axis), the same for both skills
    u = np.full((1, 2, 2), 0.5)
    fixed = parse_distribution([1, 2]).quantile(u)
    categorical = parse_distribution({"categorical": {"values": [[1, 2]]}}).quantile(u)
    assert fixed.tolist() == [[[1, 2], [1, 2]]]
    assert categorical.tolist() == fixed.tolist()


@settings(max_examples=25, deadline=None)
@given(
    written=st.sampled_from([written for written, _ in AS_IN_SCIPY]),
    low=st.floats(0.001, 0.999),
    high=st.floats(0.001, 0.999),
)
def test_quantiles_are_monotone_and_within_the_support(written, low, high):
    distribution = parse_distribution(written)
    at = distribution.quantile(np.array(sorted((low, high))))
    assert at[0] <= at[1]
    smallest, largest = distribution.support()
    assert smallest <= at[0]
    assert at[1] <= largest


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"normal": {"sd": 0}}, "greater than 0"),
        ({"normal": {"sd": -1}}, "greater than 0"),
        ({"normal": {"low": 2, "high": 1}}, "`low` must be < `high`, got 2.0 and 1.0"),
        ({"uniform": {"low": 1, "high": 1}}, "`low` must be < `high`, got 1.0 and 1.0"),
        ({"lognormal": {"low": -1}}, "greater than or equal to 0"),
        ({"beta": {"mean": 1.2, "concentration": 3}}, "less than 1"),
        ({"beta": {"mean": 0.2}}, "concentration"),
        ({"dirichlet": {"concentration": [1, 0]}}, "greater than 0"),
        (
            {"categorical": {"values": [1, 2], "probabilities": [1]}},
            "`probabilities` must have 2 numbers, got 1",
        ),
        (
            {"categorical": {"values": [1, 2], "probabilities": [0.5, 0.6]}},
            "`probabilities` must sum to 1, got 1.1",
        ),
        ({"gaussian": {}}, "one of normal, lognormal, uniform, beta, dirichlet"),
        ({"normal": {}, "beta": {}}, "a distribution is a number, a list, or one of"),
        ({"normal": {"variance": 1}}, "variance"),
        ("high", "a fixed value is a number or nested lists of numbers, got 'high'"),
    ],
)
def test_mistakes_are_named(written, message):
    with pytest.raises(ValueError, match=message):
        parse_distribution(written)


@pytest.mark.parametrize(
    "written",
    [
        *(written for written, _ in AS_IN_SCIPY),
        0.25,
        [[1, 2], [3, 4]],
        {"dirichlet": {"concentration": [1, 2]}},
        {"categorical": {"values": [1, 2], "probabilities": [0.25, 0.75]}},
    ],
)
def test_what_is_written_reads_back_equal(written):
    distribution = parse_distribution(written)
    assert parse_distribution(dump_distribution(distribution)) == distribution
