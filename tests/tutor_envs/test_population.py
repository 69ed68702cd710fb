"""Populations: who is in them, who is apart from whom, and what is refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tutor_envs.population import Population, Split, student_indices

N = 30_000
FIVE_SIGMA = 5.3
"""Two-sided false alarm below 1.2e-7."""


def population(**changes) -> Population:
    return Population.model_validate({"name": "class", "student": "bkt"} | changes)


def sample(of: Population, n: int = N, **where) -> dict[str, torch.Tensor]:
    return of.sample(0, student_indices(Split.TRAIN, n), dtype=torch.float64, **where)


# -- who is sampled --------------------------------------------------------------------------------
def test_moments_are_those_of_the_distribution():
    drawn = sample(
        population(
            latents={
                "ability": {"normal": {"mean": 0.5, "sd": 2}},
                "p_slip": {"beta": {"mean": 0.2, "concentration": 9}},
            }
        )
    )
    assert abs(drawn["ability"].mean() - 0.5) < FIVE_SIGMA * 2 / math.sqrt(N)
    # variance of a sample variance of a normal: 2 sd^4 / N
    assert abs(drawn["ability"].var() - 4) < FIVE_SIGMA * 4 * math.sqrt(2 / N)
    assert stats.kstest(drawn["p_slip"].numpy(), stats.beta(1.8, 7.2).cdf).pvalue > 1e-7


def test_latents_of_a_student_are_independent_unless_said():
    drawn = sample(
        population(
            latents={"ability": {"normal": {}}, "p_slip": {"uniform": {"low": 0, "high": 1}}}
        )
    )
    r = np.corrcoef(drawn["ability"], drawn["p_slip"])[0, 1]
    assert abs(r) < FIVE_SIGMA / math.sqrt(N)


def test_correlations_are_recovered_and_margins_kept():
    drawn = sample(
        population(
            latents={
                "ability": {"normal": {}},
                "p_slip": {"beta": {"mean": 0.2, "concentration": 9}},
                "p_guess": {"uniform": {"low": 0, "high": 0.5}},
            },
            correlations=[
                {"between": ["ability", "p_slip"], "r": -0.6},
                {"between": ["p_guess", "ability"], "r": 0.3},
            ],
        )
    )
    pairs = {
        ("ability", "p_slip"): -0.6,
        ("ability", "p_guess"): 0.3,
        ("p_slip", "p_guess"): 0.0,
    }
    for (one, other), r in pairs.items():
        # rank correlation of a Gaussian copula: 6 / pi * asin(r / 2)
        expected = 6 / math.pi * math.asin(r / 2)
        found = stats.spearmanr(drawn[one], drawn[other]).statistic
        assert abs(found - expected) < FIVE_SIGMA / math.sqrt(N)
    assert stats.kstest(drawn["p_slip"].numpy(), stats.beta(1.8, 7.2).cdf).pvalue > 1e-7
    assert stats.kstest(drawn["p_guess"].numpy(), stats.uniform(0, 0.5).cdf).pvalue > 1e-7


def test_a_mixture_has_its_shares_and_each_type_its_own_latents():
    mixed = population(
        latents={"p_guess": 0.3, "p_slip": 0.05},
        types={
            "quick": {"weight": 3, "latents": {"p_slip": 0.1}},
            "slow": {"weight": 1, "latents": {"p_slip": 0.4, "ability": {"normal": {"mean": -2}}}},
        },
    )
    drawn = sample(mixed)
    assert mixed.type_names == ("quick", "slow")
    quick = drawn["type"] == 0
    assert abs(quick.double().mean() - 3 / 4) < FIVE_SIGMA * math.sqrt(3 / 16 / N)
    assert set(drawn["p_slip"][quick].tolist()) == {0.1}
    assert set(drawn["p_slip"][~quick].tolist()) == {0.4}
    assert set(drawn["p_guess"].tolist()) == {0.3}
    assert set(drawn["ability"][quick].tolist()) == {0.0}  # the model's default
    assert abs(drawn["ability"][~quick].mean() + 2) < FIVE_SIGMA / math.sqrt(N / 4)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    students=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=8),
)
def test_a_student_is_the_same_in_every_company(seed, students):
    of = population(
        latents={"ability": {"normal": {}}, "responsiveness": {"dirichlet": {"concentration": 1}}},
        types={"a": {"weight": 1}, "b": {"weight": 1, "latents": {"p_slip": 0.3}}},
    )
    together = of.sample(seed, torch.tensor(students))
    for row, student in enumerate(students):
        alone = of.sample(seed, torch.tensor([student]))
        for name, value in together.items():
            assert torch.equal(alone[name][0], value[row])


def test_truncated_latents_stay_inside():
    of = population(latents={"p_slip": {"normal": {"mean": 0.1, "sd": 0.2, "low": 0, "high": 0.5}}})
    slip = sample(of)["p_slip"]
    assert slip.min() >= 0
    assert slip.max() <= 0.5


def test_the_dtype_is_the_one_asked_for():
    of = population(latents={"ability": {"normal": {}}})
    single = of.sample(0, torch.arange(9))
    double = of.sample(0, torch.arange(9), dtype=torch.float64)
    assert single["ability"].dtype == torch.float32
    assert torch.equal(double["ability"].float(), single["ability"])


# -- splits ----------------------------------------------------------------------------------------
def test_splits_are_disjoint_and_fill_the_32_bit_indices():
    sizes = {Split.TRAIN: 2**31, Split.VALIDATION: 2**30, Split.TEST: 2**30}
    ends = []
    for split, size in sizes.items():
        first = student_indices(split, 1).item()
        last = student_indices(split, 1, start=size - 1).item()
        assert last - first == size - 1
        ends.append((first, last))
    ends.sort()
    assert ends[0][0] == 0
    assert ends[-1][1] == 2**32 - 1
    assert all(here[1] + 1 == there[0] for here, there in itertools.pairwise(ends))


def test_a_split_does_not_hand_out_its_neighbours():
    with pytest.raises(ValueError, match="the validation split holds 1073741824 students"):
        student_indices(Split.VALIDATION, 2, start=2**30 - 1)
    with pytest.raises(ValueError, match="got a request for students -1 to -1"):
        student_indices(Split.TEST, 1, start=-1)


def test_windows_of_a_split_join():
    whole = student_indices(Split.TRAIN, 10)
    parts = [student_indices(Split.TRAIN, 5, start=start) for start in (0, 5)]
    assert torch.equal(torch.cat(parts), whole)


# -- variants --------------------------------------------------------------------------------------
SHIFTED = {
    "latents": {"ability": {"normal": {}}, "p_guess": 0.2},
    "types": {
        "a": {"weight": 1, "latents": {"p_slip": 0.1}},
        "b": {"weight": 1, "latents": {"p_slip": 0.2}},
    },
    "variants": {
        "harder": {"latents": {"ability": {"normal": {"mean": -1, "sd": 0.5}}, "p_slip": 0.3}},
        "more_b": {"type_weights": {"b": 9}},
    },
}


def test_a_variant_shifts_and_keeps_every_students_rank():
    of = population(**SHIFTED)
    here, there = sample(of, 5000), sample(of.variant("harder"), 5000)
    # the same rank u: quantiles are z(u) and -1 + .5 z(u)
    torch.testing.assert_close(there["ability"], -1 + 0.5 * here["ability"])
    assert torch.equal(there["type"], here["type"])
    assert set(there["p_slip"].tolist()) == {0.3}  # in every type
    assert of.variant("harder").name == "class:harder"


def test_a_variant_can_shift_the_mixture():
    of = population(**SHIFTED)
    here, there = sample(of)["type"], sample(of.variant("more_b"))["type"]
    assert abs(there.double().mean() - 0.9) < FIVE_SIGMA * math.sqrt(0.09 / N)
    assert bool((there >= here).all())  # only from a to b


def test_a_variant_is_the_same_before_and_after_the_population_was_used():
    fresh, used = population(**SHIFTED), population(**SHIFTED)
    sample(used, 10)
    assert used.types_sampled(0, 3).prior.tolist() == [1 / 3] * 3
    one, other = sample(fresh.variant("harder"), 50), sample(used.variant("harder"), 50)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_with_latents_replaces_in_every_type():
    changed = population(**SHIFTED).with_latents(p_slip=0.45)
    assert set(sample(changed, 100)["p_slip"].tolist()) == {0.45}
    with pytest.raises(ValueError, match="p_slipp"):
        population(**SHIFTED).with_latents(p_slipp=0.45)


def test_an_unknown_variant_is_named_with_its_neighbour():
    with pytest.raises(ValueError, match=r"unknown `variant` 'hard'.*did you mean 'harder'"):
        population(**SHIFTED).variant("hard")


# -- finite families -------------------------------------------------------------------------------
def test_types_exact_multiplies_types_and_their_values():
    of = population(
        types={
            "a": {"weight": 1, "latents": {"p_slip": 0.1}},
            "b": {
                "weight": 3,
                "latents": {
                    "p_slip": {"categorical": {"values": [0.2, 0.3], "probabilities": [0.4, 0.6]}}
                },
            },
        },
    )
    types = of.types_exact()
    assert types.exact
    # 1/4, 3/4 * .4, 3/4 * .6
    torch.testing.assert_close(types.prior, torch.tensor([0.25, 0.3, 0.45], dtype=torch.float64))
    assert types.latents["p_slip"].tolist() == [0.1, 0.2, 0.3]
    assert types.latents["p_learn"].shape == (3, 3, 3)


def test_types_exact_are_the_students_that_are_sampled():
    of = population(
        model={"n_skills": 2, "modalities": ["a", "b"]},  # K = M: axes could be mixed up
        latents={"p_learn": {"categorical": {"values": [[0.1, 0.2], [0.3, 0.4]]}}},
    )
    possible = of.types_exact(torch.float32).latents["p_learn"]
    drawn = of.sample(0, torch.arange(200))["p_learn"]
    assert {str(row.tolist()) for row in drawn} == {str(row.tolist()) for row in possible}


def test_types_exact_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="population `class` has continuous latents"):
        population(latents={"ability": {"normal": {}}}).types_exact()
    many = {"categorical": {"values": list(np.linspace(0, 1, 17))}}
    with pytest.raises(ValueError, match="more than 4096 types"):  # 17 ** 3 = 4913
        population(latents={"p_slip": many, "p_guess": many, "p_forget": many}).types_exact()


def test_types_sampled_are_training_students():
    of = population(latents={"ability": {"normal": {}}})
    types = of.types_sampled(3, 20)
    students = of.sample(3, student_indices(Split.TRAIN, 20), dtype=torch.float64)
    assert torch.equal(types.latents["ability"], students["ability"])
    assert not types.exact
    assert "type" not in types.latents


# -- what is refused -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": "bkd"}, "unknown `student` 'bkd'; allowed: .*bkt, .*did you mean 'bkt'"),
        ({"model": {"n_skils": 2}}, "n_skils"),
        ({"model": {"n_skills": 0}}, "n_skills"),
        ({"latents": {"p_slipp": 0.1}}, "unknown `latents` 'p_slipp'.*did you mean 'p_slip'"),
        (
            {"latents": {"p_slip": 1.5}},
            r"`latents.p_slip` must stay in \[0, 1\], got .*\[1.5, 1.5\]",
        ),
        ({"latents": {"p_slip": math.nan}}, r"`latents.p_slip` must stay in \[0, 1\]"),
        ({"latents": {"p_slip": {"normal": {}}}}, "truncate it with `low` and `high`"),
        ({"latents": {"p_slip": [0.1, 0.2]}}, r"`latents.p_slip` must fit the shape \[\]"),
        ({"latents": {"p_slip": [0.1]}}, r"`latents.p_slip` must fit the shape \[\]"),
        ({"latents": {"ability": {"normal": {"mean": [0, 1]}}}}, r"must fit the shape \[\]"),
        (
            {"latents": {"p_slip": {"dirichlet": {"concentration": 1}}}},
            r"`latents.p_slip` must fit the shape \[\]",
        ),
        ({"latents": {"p_init": [0.1, 0.2]}}, r"`latents.p_init` must fit the shape \[3\]"),
        (
            {"latents": {"responsiveness": [0.5, 0.5, 0.5]}},
            "`latents.responsiveness` must sum to 1",
        ),
        (
            {
                "model": {"modalities": ["a", "b"]},
                "latents": {"responsiveness": {"uniform": {"low": 0, "high": 1}}},
            },
            "`latents.responsiveness` must sum to 1",
        ),
        (
            {"types": {"a": {"weight": 1, "latents": {"p_slip": 2}}}},
            "`types.a.latents.p_slip` must stay in",
        ),
        ({"types": {"a": {"weight": 0}}}, "greater than 0"),
        (
            {"variants": {"v": {"latents": {"p_slip": -1}}}},
            "`variants.v.latents.p_slip` must stay in",
        ),
        (
            {"variants": {"v": {"type_weights": {"a": 1}}}},
            "unknown `variants.v.type_weights` 'a'",
        ),
        (
            {"types": {"a": {"weight": 1}}, "variants": {"v": {"type_weights": {"a": -1}}}},
            "greater than 0",
        ),
        (
            {"correlations": [{"between": ["ability", "p_init"], "r": 0.5}]},
            "`correlations` need scalar latents, got `p_init`",
        ),
        (
            {"correlations": [{"between": ["ability", "ability"], "r": 0.5}]},
            "`correlations.between` needs two latents",
        ),
        (
            {"correlations": [{"between": ["ability", "speed"], "r": 0.5}]},
            "unknown `correlations.between` 'speed'",
        ),
        (
            {
                "correlations": [
                    {"between": ["ability", "p_slip"], "r": 0.9},
                    {"between": ["p_slip", "p_guess"], "r": 0.9},
                    {"between": ["ability", "p_guess"], "r": -0.9},
                ]
            },
            "contradict each other",
        ),
        ({"latent": {}}, "latent"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        population(**changes)


def test_a_label_must_be_given_where_there_are_fewer_labels_than_modalities():
    written = {
        "name": "class",
        "student": "style_bandit",
        "model": {"questionnaire_accuracy": 0.8, "n_labels": 2},
    }
    with pytest.raises(ValueError, match=r"`latents.style_label` must be given"):
        Population.model_validate(written)
    Population.model_validate(written | {"latents": {"style_label": 1}})


def test_a_population_reads_back_equal():
    of = population(**SHIFTED)
    again = Population.model_validate(of.model_dump(mode="json"))
    one, other = sample(of, 100), sample(again, 100)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert again.variants == of.variants
