"""The pure functions of PPO against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutor_agents.engine.ppo import (
    clipped_surrogate_loss,
    entropy,
    generalised_advantages,
    masked_logits,
)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).unsqueeze(-1)


def test_advantages_by_hand_with_termination():
    # gamma = 1, lambda = 0.5, rewards 1, 0, 2, values 0.5, 1, 1.5, trial ends: v_3 does not count.
    #   delta_2 = 2 + 0*9 - 1.5          = 0.5
    #   delta_1 = 0 + 1*1.5 - 1          = 0.5
    #   delta_0 = 1 + 1*1.0 - 0.5        = 1.5
    #   A_2 = 0.5;  A_1 = 0.5 + 0.5*0.5 = 0.75;  A_0 = 1.5 + 0.5*0.75 = 1.875
    advantages = generalised_advantages(
        column(1, 0, 2), column(1, 1, 0), column(0.5, 1, 1.5), column(1, 1.5, 9), 0.5
    )
    torch.testing.assert_close(advantages, column(1.875, 0.75, 0.5))


def test_truncation_bootstraps_from_the_value_of_the_final_observation():
    # As above, but the last discount is 0.9 and the final observation is worth 9:
    #   delta_2 = 2 + 0.9*9 - 1.5 = 8.6;  A_1 = 0.5 + 0.5*8.6 = 4.8;  A_0 = 1.5 + 0.5*4.8 = 3.9
    advantages = generalised_advantages(
        column(1, 0, 2), column(1, 1, 0.9), column(0.5, 1, 1.5), column(1, 1.5, 9), 0.5
    )
    torch.testing.assert_close(advantages, column(3.9, 4.8, 8.6))


def test_a_termination_inside_the_sequence_cuts_the_return_and_a_lesson_boundary_does_not():
    rewards, values = column(0, 0, 0, 1), column(0, 0, 0, 0)
    through = generalised_advantages(rewards, column(1, 1, 1, 0), values, values, 1.0)
    cut = generalised_advantages(rewards, column(1, 0, 1, 0), values, values, 1.0)
    torch.testing.assert_close(through, column(1, 1, 1, 1))
    torch.testing.assert_close(cut, column(0, 0, 1, 1))


@given(
    rewards=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    gamma=st.floats(0.5, 1.0),
    values=st.lists(st.floats(-5, 5), min_size=9, max_size=9),
)
def test_lambda_one_gives_the_discounted_return_less_the_value(rewards, gamma, values):
    n = len(rewards)
    v = column(*values[: n + 1])
    discounts = torch.full((n, 1), gamma, dtype=torch.float64)
    discounts[-1] = 0
    advantages = generalised_advantages(column(*rewards), discounts, v[:-1], v[1:], 1.0)
    expected = sum(r * gamma**k for k, r in enumerate(rewards)) - values[0]
    assert advantages[0].item() == pytest.approx(expected, abs=1e-9)


def test_surrogate_by_hand():
    # rho = 1.5, A = 1: min(1.5, 1.2) = 1.2;  rho = 0.5, A = -1: min(-0.5, -0.8) = -0.8
    # rho = 0.5, A = 1: min(0.5, 0.8) = 0.5;  mean = (1.2 - 0.8 + 0.5) / 3 = 0.3
    ratio = torch.tensor([1.5, 0.5, 0.5], dtype=torch.float64)
    loss = clipped_surrogate_loss(
        ratio.log(), torch.zeros(3), torch.tensor([1.0, -1.0, 1.0]), clip=0.2
    )
    assert loss.item() == pytest.approx(-0.3)


def test_masked_actions_have_no_probability_and_no_entropy():
    logits = torch.zeros(1, 4)
    legal = torch.tensor([[True, False, True, False]])
    log_p = torch.log_softmax(masked_logits(logits, legal), dim=-1)
    assert log_p.exp().tolist() == [[0.5, 0.0, 0.5, 0.0]]
    assert entropy(log_p).item() == pytest.approx(math.log(2))
