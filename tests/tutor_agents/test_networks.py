"""The parts that networks are made of."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tutor_agents.engine.networks import linear_of_parts


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
