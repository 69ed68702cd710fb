"""The lower bound of VariBAD against hand arithmetic and torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from tutor_agents.varibad.elbo import (
    answer_log_likelihood,
    elbo,
    kl_diagonal,
    kl_of_steps,
    reward_log_likelihood,
    standard_normal,
)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_divergence_by_hand():
    zero = torch.zeros(1)
    # N(1, 1) from N(0, 1): half the squared distance
    assert kl_diagonal(zero + 1, zero, zero, zero) == pytest.approx(0.5)
    # N(0, 4) from N(0, 1): (4 - 1 - ln 4) / 2 = 0.8069
    assert kl_diagonal(zero, zero + math.log(4), zero, zero) == pytest.approx(0.80685, abs=1e-5)
    # N(0, 1) from N(2, 4): (ln 4 - 1 + 1/4 + 4/4) / 2 = 0.8181
    assert kl_diagonal(zero, zero, zero + 2, zero + math.log(4)) == pytest.approx(0.81815, abs=1e-5)


def test_divergence_is_that_of_torch():
    mean_q, logvar_q, mean_p, logvar_p = numbers(4, 5, 6, 3)
    q = Independent(Normal(mean_q, (0.5 * logvar_q).exp()), 1)
    p = Independent(Normal(mean_p, (0.5 * logvar_p).exp()), 1)
    torch.testing.assert_close(kl_diagonal(mean_q, logvar_q, mean_p, logvar_p), kl_divergence(q, p))


@given(*[st.floats(-3, 3)] * 4)
def test_divergence_is_never_negative_and_zero_from_itself(mean_q, logvar_q, mean_p, logvar_p):
    values = torch.tensor([[mean_q], [logvar_q], [mean_p], [logvar_p]], dtype=torch.float64)
    assert kl_diagonal(*values) >= -1e-12
    assert kl_diagonal(values[0], values[1], values[0], values[1]).abs() < 1e-12


def test_every_belief_is_compared_with_the_one_before_and_the_first_with_the_prior():
    mean = torch.tensor([1.0, 1.0, 3.0]).view(3, 1, 1)
    kl = kl_of_steps(mean, torch.zeros_like(mean))
    # N(1, 1) from N(0, 1); the same again; N(3, 1) from N(1, 1): 2^2 / 2
    assert kl.flatten().tolist() == pytest.approx([0.5, 0.0, 2.0])


def test_answers_are_scored_under_every_belief_and_no_answer_counts_nothing():
    logits = numbers(3, 4, 2, 2)  # three beliefs, four steps, two students, two responses
    response = torch.tensor([[0, 1], [1, 2], [2, 2], [1, 0]])  # 2: none
    found = answer_log_likelihood(logits, response)
    assert found.shape == (3, 4, 2)
    for t, n in [(0, 0), (0, 1), (1, 0), (3, 0), (3, 1)]:
        torch.testing.assert_close(
            found[:, t, n], Categorical(logits=logits[:, t, n]).log_prob(response[t, n])
        )
    assert (found[:, [1, 2, 2], [1, 0, 1]] == 0).all()


def test_rewards_are_scored_by_a_normal_density_less_its_constant():
    decoded, reward = numbers(3, 4, 2), numbers(4, 2, seed=1)
    constant = 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(
        reward_log_likelihood(decoded, reward), Normal(decoded, 1.0).log_prob(reward) + constant
    )


def test_the_bound_by_hand():
    # Two beliefs (T = 1), two trials: log-likelihoods of the one step, and divergences.
    log_likelihood = torch.tensor([[[-1.0, -2.0]], [[-0.5, -0.5]]])
    kl = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    # ELBO_0 = (-1 - 2) / 2 = -1.5; ELBO_1 = (-0.5 - 0.5) / 2 - 0.1 (1 + 3) / 2 = -0.7
    assert elbo(log_likelihood, kl, 0.1).item() == pytest.approx((-1.5 - 0.7) / 2)
    # All steps of a trial add up: twice the steps, twice the likelihood.
    twice = log_likelihood.repeat(1, 2, 1)
    assert elbo(twice, kl, 0.0).item() == pytest.approx(2 * elbo(log_likelihood, kl, 0.0).item())


def test_some_beliefs_estimate_the_bound_without_bias():
    log_likelihood, kl = -numbers(5, 4, 3).square(), numbers(5, 3).square()
    whole = elbo(log_likelihood, kl, 0.3)
    pairs = [elbo(log_likelihood[[i, j]], kl, 0.3) for i in range(5) for j in range(5) if i != j]
    torch.testing.assert_close(torch.stack(pairs).mean(), whole)


def test_normal_numbers_are_finite_and_have_the_right_quantiles():
    lowest, highest = 0.0, 1 - 2.0**-24
    ends = standard_normal(torch.tensor([lowest, highest]))
    assert ends.isfinite().all()
    assert ends[0] == -ends[1]
    grid = (torch.arange(2**12) / 2**12).float()
    normal = standard_normal(grid)
    assert normal.mean().abs() < 1e-2
    assert normal.std() == pytest.approx(1.0, abs=1e-2)
    assert (normal < 1.6449).float().mean() == pytest.approx(0.95, abs=1e-3)
