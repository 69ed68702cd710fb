"""Loaded DiCE against the exact expectation: every trajectory of a tiny MDP, in float64."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tutor_agents.maml.dice import loaded_dice, score_surrogate

N_STEPS, DISCOUNT = 3, 0.9
REWARD = torch.tensor([[1.0, -0.5], [0.3, 2.0]], dtype=torch.float64)  # (state, action)
P_NEXT_1 = torch.tensor([[0.2, 0.7], [0.6, 0.1]], dtype=torch.float64)  # P(next state is 1)
THETA = torch.tensor([[0.3, -0.4], [-0.2, 0.5]], dtype=torch.float64)  # logits (state, action)


class Trajectories(NamedTuple):
    """All (2 x 2)^3 = 64 trajectories from state 0, time-major."""

    states: Tensor
    actions: Tensor
    rewards: Tensor
    p_world: Tensor  # probability of the transitions alone


def enumerate_all() -> Trajectories:
    states, actions, rewards, worlds = [], [], [], []
    for steps in itertools.product(itertools.product((0, 1), (0, 1)), repeat=N_STEPS):
        state, world, s, a, r = 0, 1.0, [], [], []
        for action, after in steps:
            s.append(state)
            a.append(action)
            r.append(REWARD[state, action].item())
            p = P_NEXT_1[state, action].item()
            world *= p if after else 1 - p
            state = after
        states.append(s)
        actions.append(a)
        rewards.append(r)
        worlds.append(world)
    double = torch.float64
    return Trajectories(
        torch.tensor(states).T,
        torch.tensor(actions).T,
        torch.tensor(rewards, dtype=double).T,
        torch.tensor(worlds, dtype=double),
    )


ALL = enumerate_all()


def logp(theta: Tensor) -> Tensor:
    """``(T, 64)`` log-probabilities of the actions."""
    return torch.log_softmax(theta, -1)[ALL.states, ALL.actions]


def probability(theta: Tensor) -> Tensor:
    return logp(theta).sum(0).exp() * ALL.p_world


def expected_return(theta: Tensor) -> Tensor:
    """By dynamic programming over the two states: no trajectory, no estimator."""
    policy, value = torch.softmax(theta, -1), torch.zeros(2, dtype=theta.dtype)
    for _ in range(N_STEPS):
        q = REWARD + DISCOUNT * ((1 - P_NEXT_1) * value[0] + P_NEXT_1 * value[1])
        value = (policy * q).sum(-1)
    return value[0]


def returns_to_go() -> Tensor:
    out, following = torch.zeros_like(ALL.rewards), torch.zeros(64, dtype=torch.float64)
    for t in reversed(range(N_STEPS)):
        following = ALL.rewards[t] + DISCOUNT * following
        out[t] = following
    return out


def advantages() -> Tensor:
    """Sampled returns less a baseline that depends on state and time."""
    baseline = torch.tensor([[0.4, 1.1], [0.2, 0.9], [-0.3, 0.6]], dtype=torch.float64)
    time = torch.arange(N_STEPS).unsqueeze(-1)
    return returns_to_go() - baseline[time, ALL.states]


def surrogate(theta: Tensor, dice_lambda: float) -> Tensor:
    """Its expectation over all trajectories; their probabilities are held fixed."""
    values = loaded_dice(logp(theta), advantages(), DISCOUNT, dice_lambda)
    return (probability(THETA) * values).sum()


def second(function):
    """Second derivatives by two reverse passes (forward mode warns in this torch)."""
    return torch.func.jacrev(torch.func.jacrev(function))


def hessian(function, theta: Tensor = THETA) -> Tensor:
    return second(function)(theta).reshape(4, 4)


def test_the_enumeration_is_a_distribution_and_gives_the_exact_return():
    assert probability(THETA).sum().item() == pytest.approx(1.0, abs=1e-14)
    mean = (probability(THETA) * returns_to_go()[0]).sum()
    torch.testing.assert_close(mean, expected_return(THETA), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dice_lambda", [0.0, 0.3, 0.7, 1.0])
def test_the_gradient_is_exact_for_every_lambda(dice_lambda):
    exact = torch.func.grad(expected_return)(THETA)
    found = torch.func.grad(surrogate)(THETA, dice_lambda)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)
    assert surrogate(THETA, dice_lambda) == 0


def test_the_score_surrogate_has_the_same_gradient():
    def expected(theta: Tensor) -> Tensor:
        return (probability(THETA) * score_surrogate(logp(theta), advantages(), DISCOUNT)).sum()

    exact = torch.func.grad(expected_return)(THETA)
    torch.testing.assert_close(torch.func.grad(expected)(THETA), exact, rtol=0, atol=1e-12)


def test_the_hessian_is_exact_at_lambda_one():
    exact = hessian(expected_return)
    found = hessian(lambda theta: surrogate(theta, 1.0))
    assert exact.abs().max() > 0.1
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)


def test_the_hessian_at_lambda_zero_is_the_low_variance_one():
    """Sum over steps of E[gamma^t A_t (grad logp grad logp^T + hess logp)], written out."""
    expected = torch.zeros(4, 4, dtype=torch.float64)
    p, worth = probability(THETA), advantages()
    for i, t in itertools.product(range(64), range(N_STEPS)):

        def one(theta: Tensor, i: int = i, t: int = t) -> Tensor:
            return torch.log_softmax(theta, -1)[ALL.states[t, i], ALL.actions[t, i]]

        slope = torch.func.grad(one)(THETA).flatten()
        curvature = torch.outer(slope, slope) + hessian(one)
        expected += p[i] * DISCOUNT**t * worth[t, i] * curvature
    found = hessian(lambda theta: surrogate(theta, 0.0))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_lambda_trades_bias_of_the_hessian_for_variance():
    p, exact = probability(THETA), hessian(expected_return)

    def each(theta: Tensor, dice_lambda: float) -> Tensor:
        return loaded_dice(logp(theta), advantages(), DISCOUNT, dice_lambda)

    biases, variances = [], []
    for dice_lambda in (0.0, 0.5, 1.0):
        of_each = second(each)(THETA, dice_lambda).reshape(64, 4, 4)
        mean = torch.einsum("i,ijk->jk", p, of_each)
        biases.append((mean - exact).norm().item())
        spread = (of_each - mean).square().sum((1, 2))
        variances.append((p * spread).sum().item())
    assert biases[0] > biases[1] > biases[2]
    assert biases[2] < 1e-12
    # the low end need not be the quietest in three steps; the high end is by far the noisiest
    assert variances[2] > 2 * max(variances[:2])


def test_steps_after_a_student_has_left_count_for_nothing():
    generator = torch.Generator().manual_seed(0)
    short = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    worth = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    padding = torch.full((3, 5), 7.0, dtype=torch.float64)
    there = torch.cat([torch.ones(3, 5), torch.zeros(3, 5)]).bool()

    def padded(logp_t: Tensor) -> Tensor:
        both = torch.cat([logp_t, padding]), torch.cat([worth, padding])
        return loaded_dice(*both, DISCOUNT, 1.0, there).sum()

    def plain(logp_t: Tensor) -> Tensor:
        return loaded_dice(logp_t, worth, DISCOUNT, 1.0).sum()

    torch.testing.assert_close(torch.func.grad(padded)(short), torch.func.grad(plain)(short))
    torch.testing.assert_close(second(padded)(short), second(plain)(short))
