"""The parts that networks are made of."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tutor_agents.engine.head import head_of_parts
from tutor_agents.engine.networks import linear_of_parts
from tutor_agents.plain import plain_operations


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


@given(
    first=st.integers(1, 5),
    others=st.lists(st.integers(0, 5), max_size=3),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_linear_layer_of_parts_is_that_of_their_concatenation(first, others, seed):
    widths = [first, *others]
    shapes = [(4, 3), (4, 1), (1, 3), (1, 1)]  # the first is full, the others broadcast to it
    parts = [normal(*shapes[i], w, seed=seed + i) for i, w in enumerate(widths)]
    layer = nn.Linear(sum(widths), 6).double()
    together = torch.cat([part.expand(4, 3, -1) for part in parts], dim=-1)
    out, expected = linear_of_parts(layer, *parts), layer(together)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    weight, of = normal(4, 3, 6, seed=seed).detach(), [*parts, *layer.parameters()]
    found, right = (
        torch.autograd.grad((o * weight).sum(), of, materialize_grads=True) for o in (out, expected)
    )
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_what_is_the_same_for_all_is_multiplied_once():
    layer = nn.Linear(3 + 2, 6).double()
    with FlopCounterMode(display=False) as counter:
        linear_of_parts(layer, normal(50, 70, 3), normal(50, 1, 2))
    assert counter.get_total_flops() == 2 * 6 * (50 * 70 * 3 + 50 * 2)


@given(
    n_steps=st.integers(1, 7),
    n_students=st.sampled_from([1, 3, 100, 600]),  # many steps in a chunk, some, one
    n_features=st.integers(0, 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_a_head_is_its_layers_on_everything_side_by_side(n_steps, n_students, n_features, seed):
    hidden, clock = normal(n_steps, n_students, 4, seed=seed), normal(n_steps, 1, 3, seed=seed + 1)
    features = normal(n_steps, n_students, n_features, seed=seed + 2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Linear(4 + 3 + n_features, 5), nn.Tanh(), nn.Linear(5, 2)
    head = nn.Sequential(*layers).double()
    parts = [hidden, clock.expand(-1, n_students, -1), features]
    out, expected = head_of_parts(head, hidden, clock, features), head(torch.cat(parts, dim=-1))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    weight = normal(n_steps, n_students, 2, seed=seed + 3).detach()
    of = [hidden, clock, *[features] * (n_features > 0), *head.parameters()]
    found, right = (torch.autograd.grad((o * weight).sum(), of) for o in (out, expected))
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_head_has_second_derivatives_among_plain_operations():
    head = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    hidden, clock = normal(6, 3, 2), normal(6, 1, 2)

    def gradient() -> Tensor:
        loss = head_of_parts(head, hidden, clock).square().sum()
        return torch.autograd.grad(loss, hidden, create_graph=True)[0]

    with pytest.raises(RuntimeError, match=r"compute inside plain_operations\(\)"):
        gradient()
    with plain_operations():
        assert torch.autograd.grad(gradient().sum(), head[0].weight)[0].abs().max() > 0
