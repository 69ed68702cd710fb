"""Meta-gradients as maths: golden numbers, finite differences, and which way they point."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tutor_agents.engine.networks import Inputs
from tutor_agents.engine.ppo import generalised_advantages
from tutor_agents.engine.rollout import Rollout
from tutor_agents.meta_gradient import MetaGradientConfig
from tutor_agents.meta_gradient.maths import (
    Settings,
    inner_loss,
    outer_loss,
    stepped,
)
from tutor_agents.meta_gradient.parameters import MetaParameters, squashed, unsquashed

N_STEPS, N_ACTIONS = 3, 2


def logits_of(theta: Tensor, rollout: Rollout) -> Tensor:
    """A tabular policy: a row of logits for each (step, last action or none)."""
    steps = torch.arange(len(rollout.action)).unsqueeze(1)
    return theta[steps, rollout.inputs.token]


def taught(
    theta: Tensor, n_trials: int, seed: int, *, reward: str = "mixed", leaves: bool = False
) -> Rollout:
    """Trials of a small MDP whose state is the last action; three kinds of reward."""
    draws = torch.Generator().manual_seed(seed)
    last, tokens, actions, logps = torch.full((n_trials,), N_ACTIONS), [], [], []
    for row in theta.detach():
        logp = row[last].log_softmax(-1)
        action = torch.multinomial(logp.exp(), 1, generator=draws).squeeze(-1)
        tokens.append(last)
        actions.append(action)
        logps.append(logp.gather(-1, action.unsqueeze(-1)).squeeze(-1))
        last = action
    action, noise = torch.stack(actions), torch.randn(len(theta), n_trials, generator=draws)
    chosen = action.to(theta.dtype)
    rewards = {
        # every action pays at once; and something at the end that no action moves
        "immediate": torch.cat([chosen[:-1], 10 * noise[-1:]]),
        # only the first action matters, and it pays at the end
        "delayed": torch.cat([torch.zeros_like(chosen[:-1]), chosen[:1]]),
        "mixed": chosen * torch.linspace(1, -0.5, len(theta)).unsqueeze(1) + 0.5 * noise,
    }
    zeros = torch.zeros(n_trials, dtype=torch.int64)
    present = torch.ones(len(theta), n_trials, dtype=torch.bool)
    present[-1, ::3] = False
    return Rollout(
        inputs=Inputs(torch.stack(tokens), None, None),
        legal=None,
        present=present if leaves else None,
        action=action,
        response=action,
        logp=torch.stack(logps),
        reward=rewards[reward].to(theta.dtype),
        features=chosen.new_empty(*action.shape, 0),
        latents=chosen.new_empty(n_trials, 0),
        types=zeros,
    )


def table(seed: int = 0, n_steps: int = N_STEPS) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    theta = 0.5 * torch.randn(
        n_steps, N_ACTIONS + 1, N_ACTIONS, generator=draws, dtype=torch.float64
    )
    return theta.requires_grad_()


def judged(
    theta: Tensor, settings: Settings, tau: Rollout, held_out: Rollout, rate: float = 0.5
) -> Tensor:
    """J(tau', theta - rate d f(tau, theta, eta) / d theta), with a critic that shares theta."""

    def values(parameters: Tensor, rollout: Rollout) -> Tensor:
        return logits_of(parameters, rollout).tanh().mean(-1)

    loss = inner_loss(
        tau, logits_of(theta, tau), values(theta, tau), settings, clip=0.2, value_weight=0.5
    )
    after = stepped(loss, {"theta": theta}, rate)["theta"]
    return outer_loss(
        held_out,
        logits_of(after, held_out),
        values(theta, held_out),
        discount=0.97,
        gae_lambda=0.9,
        clip=0.2,
    )


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("name", Settings._fields)
def test_meta_gradients_equal_finite_differences_on_a_three_step_mdp(name, leaves):
    theta = table()
    tau, held_out = (taught(theta, 40, seed, leaves=leaves) for seed in (1, 2))
    here = Settings(0.9, 0.8, 0.05)

    def loss(value: Tensor | float) -> Tensor:
        return judged(theta, here._replace(**{name: value}), tau, held_out)

    at = torch.tensor(getattr(here, name), dtype=torch.float64, requires_grad=True)
    (by_autograd,) = torch.autograd.grad(loss(at), at)
    step = 1e-5
    by_differences = (loss(at.item() + step) - loss(at.item() - step)).item() / (2 * step)
    assert abs(by_autograd.item()) > 1e-5
    assert by_autograd.item() == pytest.approx(by_differences, rel=1e-4)


def test_eta_acts_through_advantages_and_targets_but_not_through_values():
    """Two steps of one trial, by hand; values do not move with the discount."""
    discount = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    value = torch.full((2, 1), 4.0, dtype=torch.float64)
    reward = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    discount_t = torch.tensor([[1.0], [0.0]], dtype=torch.float64) * discount
    v_t = torch.cat([value[1:], torch.zeros_like(value[:1])])
    advantages = generalised_advantages(reward, discount_t, value, v_t, 0.5)
    # delta_0 = 1 + .5 * 4 - 4 = -1, delta_1 = 2 - 4 = -2; A_0 = -1 + .5 * .5 * -2 = -1.5
    torch.testing.assert_close(advantages, reward.new_tensor([[-1.5], [-2.0]]))
    # d A_0 / d discount = v_1 + lambda A_1 = 4 + .5 * -2 = 3
    (slope,) = torch.autograd.grad(advantages[0].sum(), discount)
    assert slope.item() == pytest.approx(3.0)


@pytest.mark.parametrize("name", ["discount", "gae_lambda"])
@pytest.mark.parametrize(("reward", "direction"), [("immediate", 1), ("delayed", -1)])
def test_they_point_to_short_horizons_for_immediate_and_to_long_ones_for_late_reward(
    name, reward, direction
):
    """The outer loss rises with discount and lambda where only noise comes late."""
    theta = (0 * table()).detach().requires_grad_()
    tau, held_out = (taught(theta, 20_000, seed, reward=reward) for seed in (1, 2))
    settings = dict.fromkeys(("discount", "gae_lambda"), 0.8)
    eta = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in settings.items()}
    loss = inner_loss(
        tau,
        logits_of(theta, tau),
        torch.zeros_like(tau.reward),
        Settings(**eta, entropy_weight=0.0),
        clip=0.2,
        value_weight=0.5,
    )
    after = stepped(loss, {"theta": theta}, 0.1)["theta"]
    outer = outer_loss(
        held_out,
        logits_of(after, held_out),
        torch.zeros_like(held_out.reward),
        discount=1.0,
        gae_lambda=1.0,
        clip=0.2,
    )
    (slope,) = torch.autograd.grad(outer, eta[name])
    assert direction * slope.item() > 0


def test_a_parameter_without_influence_stays_where_it_is():
    theta, idle = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    after = stepped(theta.square().sum(), {"theta": theta, "idle": idle}, 0.25)
    # 1 - .25 * 2 = .5
    assert after["theta"].tolist() == [0.5, 0.5]
    assert after["idle"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "value", "reached"),
    [
        ("discount", 0.97, 0.97),
        ("discount", 1.0, 0.999),  # a sigmoid cannot be 1
        ("gae_lambda", 0.0, 0.001),
        ("entropy_weight", 1e-4, 1e-4),
        ("entropy_weight", 30.0, 30.0),
    ],
)
def test_meta_parameters_start_where_the_configuration_says(name, value, reached):
    raw = torch.tensor(unsquashed(name, value), dtype=torch.float64)
    assert squashed(name, raw).item() == pytest.approx(reached, rel=1e-9)
    assert MetaParameters({name: value})()[name].item() == pytest.approx(reached, rel=1e-4)
    assert math.isfinite(unsquashed(name, value))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"tuned": ["discount", "discount"]}, "`tuned` must name each setting once"),
        ({"tuned": []}, "at least 1 item"),
        ({"tuned": ["clip"]}, "'discount', 'gae_lambda' or 'entropy_weight'"),
        ({"entropy_weight": 0.0}, "`entropy_weight` must be > 0 where it is tuned, got 0"),
        ({"n_trials": 1, "minibatches": 1}, "`n_trials` must be >= 2"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong, text):
    with pytest.raises(ValueError, match=text):
        MetaGradientConfig(**wrong)


def test_no_entropy_bonus_is_fine_where_it_is_not_tuned():
    assert MetaGradientConfig(entropy_weight=0.0, tuned=["gae_lambda"]).entropy_weight == 0
