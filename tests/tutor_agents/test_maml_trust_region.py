"""Trust-region steps on quadratics, where the answer is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tutor_agents.maml.trust_region import conjugate_gradient, trust_region_step


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_conjugate_gradients_solve_a_positive_definite_system(seed, size):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(size, dtype=torch.float64)
    b = torch.randn(size, generator=generator, dtype=torch.float64)
    found = conjugate_gradient(lambda v: matrix @ v, b, n_iterations=3 * size, tolerance=1e-24)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, b), rtol=1e-6, atol=1e-8)


def test_the_first_step_of_a_linear_loss_is_the_natural_gradient_at_the_bound():
    """Loss g.x, divergence x.H x / 2: the step is -H^-1 g sqrt(2 delta / g.H^-1 g)."""
    h = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    g = torch.tensor([2.0, 1.0], dtype=torch.float64)
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    step = trust_region_step([x], lambda: (g @ x, x @ h @ x / 2), max_divergence=0.02, damping=0.0)
    # H^-1 g = (.5, 1), g.H^-1 g = 2, sqrt(2 * .02 / 2) = .1414
    expected = -torch.tensor([0.5, 1.0], dtype=torch.float64) * 0.02**0.5
    # the full step lies on the bound, so rounding decides whether it or the next is taken
    torch.testing.assert_close(x.detach(), expected * step.share, rtol=1e-6, atol=0)
    assert step.share in (1.0, 0.8)
    assert step.divergence <= 0.02


def test_a_step_is_shortened_until_the_loss_falls_and_never_harms():
    x = torch.tensor([1.0], requires_grad=True)

    def evaluate() -> tuple[Tensor, Tensor]:
        return (x**2).sum(), 1e-3 * (x - 1).square().sum()

    step = trust_region_step([x], evaluate, max_divergence=0.01)
    # the full step is sqrt(2 * .01 / .002) = 3.16: from 1 to -2.16; .8 of it thrice: to -.62
    assert step.share == pytest.approx(0.8**3)
    assert x.item() == pytest.approx(1 - 0.8**3 * 10**0.5, rel=1e-2)

    y = torch.tensor([0.0], requires_grad=True)
    step = trust_region_step([y], lambda: (y.abs().sum() + y.sum() * 0, (y**2).sum()))
    assert step.share == 0.0
    assert y.item() == 0.0
