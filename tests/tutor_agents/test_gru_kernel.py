"""The compiled GRU against ``torch.nn.GRU``, its reference."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from tutor_agents.memories.gru_kernel import gru_packed, gru_sequence, gru_step
from tutor_agents.plain import plain_operations
from tutor_sim.precision import matmul_precision

FORWARD_TOLERANCE = 8e-7
GRADIENT_TOLERANCE = 4e-6
"""Of the largest part of a gradient, which sums over steps and students."""


def gru(width: int, seed: int = 0, scale: float = 1.0) -> nn.GRU:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.GRU(width, width)
    for parameter in network.parameters():
        parameter.data *= scale
    return network


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outputs_and_gradients(network: nn.GRU, x: Tensor, weight: Tensor, compiled: bool):
    x = x.clone().requires_grad_()
    out = gru_sequence(network, x) if compiled else network(x)[0]
    return out.detach(), torch.autograd.grad((out * weight).sum(), [x, *network.parameters()])


@given(
    n_steps=st.integers(1, 12),
    n_students=st.integers(1, 9),
    width=st.integers(1, 40),
    scale=st.sampled_from([0.3, 1.0, 5.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_outputs_and_all_gradients_are_those_of_torch(n_steps, n_students, width, scale, seed):
    network = gru(width, seed, scale)
    x, weight = normal(n_steps, n_students, width, seed=seed), normal(n_steps, n_students, width)
    expected, their_gradients = outputs_and_gradients(network, x, weight, compiled=False)
    found, gradients = outputs_and_gradients(network, x, weight, compiled=True)
    # A float's last bit of a sum of `width` products, carried on for `n_steps`.
    rounding = max(1.0, scale**2)
    torch.testing.assert_close(found, expected, rtol=0, atol=FORWARD_TOLERANCE * rounding)
    for one, other in zip(gradients, their_gradients, strict=True):
        largest = float(other.abs().max()) * rounding
        torch.testing.assert_close(one, other, rtol=0, atol=GRADIENT_TOLERANCE * largest + 1e-6)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=7), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_sequences_of_different_lengths_have_torchs_outputs_and_gradients(lengths, seed):
    network = gru(6, seed)
    xs = [normal(length, 6, seed=seed + i).requires_grad_() for i, length in enumerate(lengths)]

    def run(compiled: bool):
        packed = pack_sequence(xs, enforce_sorted=False)
        out = gru_packed(network, packed) if compiled else network(packed)[0]
        padded, found = pad_packed_sequence(out)
        assert found.tolist() == lengths
        weight = normal(*padded.shape, seed=seed)
        return padded, torch.autograd.grad((padded * weight).sum(), [*xs, *network.parameters()])

    (expected, their_gradients), (found, gradients) = run(compiled=False), run(compiled=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=FORWARD_TOLERANCE)
    for one, other in zip(gradients, their_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_they_agree_over_a_long_trial():
    network, x, weight = gru(64), normal(256, 8, 64), normal(256, 8, 64, seed=1)
    expected, their_gradients = outputs_and_gradients(network, x, weight, compiled=False)
    found, gradients = outputs_and_gradients(network, x, weight, compiled=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=FORWARD_TOLERANCE)
    for one, other in zip(gradients, their_gradients, strict=True):
        largest = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=GRADIENT_TOLERANCE * largest)


@given(
    n_steps=st.integers(1, 12),
    n_students=st.integers(1, 35),
    width=st.sampled_from([20, 32, 70, 96]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_products_may_be_of_numbers_with_8_bits(n_steps, n_students, width, seed):
    # bfloat16 where the processor has it, else nothing changes: 2**-9 of each factor is lost.
    network = gru(width, seed)
    x, weight = normal(n_steps, n_students, width, seed=seed), normal(n_steps, n_students, width)
    expected, exact = outputs_and_gradients(network, x, weight, compiled=False)
    with matmul_precision("medium"):
        found, gradients = outputs_and_gradients(network, x, weight, compiled=True)
        with torch.no_grad():
            step = gru_step(network, x[0], torch.zeros(n_students, width))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)
    torch.testing.assert_close(step, expected[0], rtol=0, atol=2e-2)
    for one, other in zip(gradients, exact, strict=True):
        assert (one - other).norm() <= 0.03 * other.norm() + 1e-6


def test_acting_is_one_step_of_the_same():
    network, x = gru(17), normal(6, 5, 17)
    hidden, steps = torch.zeros(5, 17), []
    with torch.no_grad():
        for x_t in x:
            hidden = gru_step(network, x_t, hidden)
            steps.append(hidden)
        expected = network(x)[0]
        torch.testing.assert_close(torch.stack(steps), expected, rtol=0, atol=FORWARD_TOLERANCE)
        turned = x[1].t().contiguous().t()  # the same numbers, laid out by columns
        again = gru_step(network, turned, steps[0])
        torch.testing.assert_close(again, steps[1], rtol=0, atol=FORWARD_TOLERANCE)


@pytest.mark.parametrize("huge", [30.0, 1e3, 1e30, float("inf")])
def test_gates_far_out_are_shut_or_open_as_they_should_be(huge):
    network = gru(8)
    x = normal(3, 2, 8).sign() * huge
    if huge == float("inf"):  # a product with inf is NaN at once; the biases carry it instead
        x = torch.zeros(3, 2, 8)
        network.bias_ih_l0.data[:] = huge
    with torch.no_grad():
        found, expected = gru_sequence(network, x), network(x)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=FORWARD_TOLERANCE)


def test_what_is_not_a_number_does_not_go_unseen():
    x = normal(3, 2, 8)
    x[1, 0, 0] = float("nan")
    out = gru_sequence(gru(8), x)
    assert out[1:, 0].isnan().all()
    assert not out[0].isnan().any()
    assert not out[:, 1].isnan().any()


def test_second_derivatives_are_refused_and_to_be_had_from_plain_operations():
    network, x = gru(5), normal(4, 3, 5).requires_grad_()
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(gru_sequence(network, x).sum(), x, create_graph=True)
    with plain_operations():
        out = gru_sequence(network, x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_in_other_precisions_torch_computes():
    network, x = gru(5), normal(4, 3, 5)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gru_sequence(network, x), network(x)[0])
    with torch.no_grad():
        network, x = network.double(), x.double()
        assert torch.equal(gru_sequence(network, x), network(x)[0])
        assert torch.equal(gru_step(network, x[0], x[1]), network(x[:1], x[1:2])[1][0])


def test_a_backward_pass_can_be_repeated():
    network, x = gru(5), normal(4, 3, 5).requires_grad_()
    loss = gru_sequence(network, x).square().sum()
    (once,) = torch.autograd.grad(loss, x, retain_graph=True)
    (twice,) = torch.autograd.grad(loss, x)
    assert torch.equal(once, twice)


PROGRAM = """
import torch
from torch import nn
from tutor_agents.memories.gru_kernel import gru_sequence
torch.manual_seed(0)
network, x = nn.GRU(4, 4), torch.randn(3, 2, 4)
for _ in range(2):
    assert torch.allclose(gru_sequence(network, x), network(x)[0], atol=1e-6)
"""


def said_by_a_new_process(**environment: str) -> str:
    """What it writes to standard error; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_it_is_compiled_once_and_kept(tmp_path):
    assert said_by_a_new_process(XDG_CACHE_HOME=str(tmp_path)) == ""
    (library,) = (tmp_path / "tutor-sim").iterdir()
    written = library.stat().st_mtime_ns
    assert said_by_a_new_process(XDG_CACHE_HOME=str(tmp_path)) == ""
    assert library.stat().st_mtime_ns == written


@pytest.mark.parametrize("compiler", ["/nowhere/cc", "false"])
def test_without_a_compiler_torch_takes_over_and_one_line_says_so(tmp_path, compiler):
    said = said_by_a_new_process(XDG_CACHE_HOME=str(tmp_path), CC=compiler)
    assert said.count("\n") == 1
    assert said.startswith("no compiled GRU")
    assert not list((tmp_path / "tutor-sim").iterdir())
