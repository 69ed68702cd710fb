"""Every memory: what the interface promises, and each kind against an independent calculation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.nn.functional import conv1d
from torch.utils.flop_counter import FlopCounterMode

from tutor_agents.memories import (
    Embedded,
    Memory,
    MemoryConfig,
    MemoryState,
    NamedMemory,
    make_memory,
)
from tutor_agents.memories.min_gru import linear_recurrence
from tutor_agents.memories.resets import begin_where, sequence_with_resets

KINDS = ["gru", "lstm", "transformer", "snail", "min_gru"]
every_kind = pytest.mark.parametrize("kind", KINDS)
ADAPTER: TypeAdapter[MemoryConfig] = TypeAdapter(NamedMemory)


def fresh(kind: object, width: int = 8, n_steps: int = 11, seed: int = 0) -> Memory:
    """A memory as training begins with it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        memory = make_memory(ADAPTER.validate_python(kind), width, n_steps)
        memory.initialise()
    return memory


def trained(kind: object, width: int = 8, n_steps: int = 11) -> Memory:
    """A memory with weights that are nowhere near zero, in float64."""
    memory = fresh(kind, width, n_steps).double()
    for i, parameter in enumerate(memory.parameters()):
        parameter.data += 0.5 * normal(*parameter.shape, seed=i) / parameter.shape[-1] ** 0.5
    return memory


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def stepped(memory: Memory, x: Tensor, begins: Tensor | None = None) -> Tensor:
    """The outputs for ``(T, N, W)`` one step after the other; new trials where ``begins``."""
    state, outputs = memory.begin(x.shape[1]), []
    for t, x_t in enumerate(x):
        if begins is not None:
            state = begin_where(memory, state, begins[t])
        out, state = memory.step(x_t, state)
        outputs.append(out)
    return torch.stack(outputs)


# -- the interface ------------------------------------------------------------------------------
@every_kind
@pytest.mark.parametrize("n_steps", [1, 2, 7, 11])
def test_acting_step_by_step_and_a_whole_trial_at_once_agree(kind, n_steps):
    memory, x = trained(kind), normal(n_steps, 5, 8)
    torch.testing.assert_close(stepped(memory, x), memory.sequence(x), rtol=0, atol=1e-12)


@every_kind
def test_they_agree_in_single_precision_over_a_long_trial(kind):
    memory, x = trained(kind, 16, 200).float(), normal(200, 3, 16).float()
    with torch.no_grad():
        torch.testing.assert_close(stepped(memory, x), memory.sequence(x), rtol=0, atol=1e-5)


@every_kind
def test_they_have_the_same_gradients(kind):
    memory, x, weight = trained(kind), normal(11, 3, 8), normal(11, 3, 8, seed=1)

    def gradients(outputs: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((outputs * weight).sum(), list(memory.parameters()))

    for one, other in zip(
        gradients(stepped(memory, x)), gradients(memory.sequence(x)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def embedded(
    n_rows: int, n_steps: int, n_students: int, width: int = 8, *, more: bool = False
) -> Embedded:
    """A sum of embeddings whose parts all have gradients."""
    parts = [(n_rows, width), (n_steps, 1, width), (n_steps, n_students, width)]
    table, clock, rest = (normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(parts))
    drawn = torch.Generator().manual_seed(3)
    token = torch.randint(n_rows, (n_steps, n_students), generator=drawn)
    return Embedded(table, token, clock, rest if more else None)


def tensors(x: Embedded) -> list[Tensor]:
    return [part for part in x if part is not None and part.requires_grad]


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("n_rows", [7, 70])  # fewer and more than there are vectors
def test_a_sum_of_embeddings_is_remembered_like_the_vectors_that_it_is(kind, dtype, more, n_rows):
    memory, weight = trained(kind).to(dtype), normal(11, 5, 8, seed=1).to(dtype)
    parts = embedded(n_rows, 11, 5, more=more)
    x = Embedded(
        *(None if p is None else p.to(dtype) if p.is_floating_point() else p for p in parts)
    )
    out, expected = memory.sequence_of(x), memory.sequence(x.dense())
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(out, expected, rtol=0, atol=tolerance)
    of = [*memory.parameters(), *tensors(x)]
    found, right = (torch.autograd.grad((o * weight).sum(), of) for o in (out, expected))
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * 10 * other.abs().max())


@every_kind
@pytest.mark.parametrize("wrong", [-1, 7])
def test_a_row_that_the_table_does_not_have_is_refused(kind, wrong):
    x = embedded(7, 11, 5)
    x.token[4, 2] = wrong
    with pytest.raises(IndexError):
        trained(kind).float().sequence_of(Embedded(x.table.float(), x.token, x.clock.float()))


@given(n_rows=st.integers(1, 60), n_students=st.integers(1, 12), more=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_linear_map_of_a_sum_of_embeddings_is_that_of_its_vectors(n_rows, n_students, more):
    x = embedded(n_rows, 4, n_students, more=more)
    weight, bias = normal(5, 8, seed=4), normal(5, seed=5)
    out, expected = x.linear(weight, bias), nn.functional.linear(x.dense(), weight, bias)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    loss = normal(*out.shape, seed=6)
    found, right = (torch.autograd.grad((o * loss).sum(), tensors(x)) for o in (out, expected))
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_a_linear_map_multiplies_the_rows_of_a_table_and_not_every_vector():
    x = embedded(7, 50, 60)
    with FlopCounterMode(display=False) as counter:
        x.linear(normal(5, 8, seed=4), normal(5, seed=5))
    assert counter.get_total_flops() == 2 * (7 + 50) * 8 * 5


@every_kind
def test_a_memory_is_causal_and_reaches_back_to_the_first_step(kind):
    memory, x = trained(kind), normal(11, 2, 8)
    out = memory.sequence(x)
    for t in range(11):
        other = x.clone()
        other[t:] = normal(11 - t, 2, 8, seed=1)
        torch.testing.assert_close(memory.sequence(other)[:t], out[:t], rtol=0, atol=1e-12)
    other = x.clone()
    other[0] = -x[0]
    assert ((memory.sequence(other) - out).abs().amax((1, 2)) > 1e-6).all()


@every_kind
def test_students_and_trials_know_nothing_of_each_other(kind):
    memory, x = trained(kind), normal(11, 4, 8)
    together = memory.sequence(x)
    for n in range(4):
        alone = memory.sequence(x[:, n : n + 1])
        torch.testing.assert_close(alone, together[:, n : n + 1], rtol=0, atol=1e-12)
    first = stepped(memory, x)
    stepped(memory, normal(11, 4, 8, seed=1))  # another trial with the same memory
    assert torch.equal(stepped(memory, x), first)


@every_kind
def test_students_lead_every_tensor_of_a_state_and_a_step_does_not_change_it(kind):
    memory, x = trained(kind), normal(4, 5, 8)
    state = memory.begin(5)
    for x_t in x[:3]:
        _, state = memory.step(x_t, state)
    assert {tensor.shape[0] for tensor in state.values()} == {5}
    before: MemoryState = {name: tensor.clone() for name, tensor in state.items()}
    out, after = memory.step(x[3], state)
    assert all(torch.equal(state[name], before[name]) for name in state)
    assert state.keys() == after.keys()
    some = torch.tensor([4, 1])
    part, _ = memory.step(x[3, some], {name: tensor[some] for name, tensor in state.items()})
    torch.testing.assert_close(part, out[some], rtol=0, atol=1e-12)


@every_kind
def test_initial_weights_follow_from_torchs_generator_at_the_call(kind):
    one, other = fresh(kind, seed=0), fresh(kind, seed=1)
    assert any(
        not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )
    for memory in (one, other):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            memory.initialise()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# -- trials that begin inside a sequence --------------------------------------------------------
@every_kind
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_resets_inside_a_sequence_are_separate_trials(kind, data):
    n_steps, n_students = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    row = st.lists(st.booleans(), min_size=n_students, max_size=n_students)
    begins = torch.tensor(data.draw(st.lists(row, min_size=n_steps, max_size=n_steps)))
    memory, x = trained(kind), normal(n_steps, n_students, 8)
    out = sequence_with_resets(memory, x, begins)
    torch.testing.assert_close(out, stepped(memory, x, begins), rtol=0, atol=1e-12)
    for n in range(n_students):
        first = [0, *(t for t in range(1, n_steps) if begins[t, n]), n_steps]
        for start, end in itertools.pairwise(first):
            trial = memory.sequence(x[start:end, n : n + 1])
            torch.testing.assert_close(out[start:end, n : n + 1], trial, rtol=0, atol=1e-12)


@every_kind
def test_what_came_before_a_reset_is_not_felt_after_it(kind):
    memory, x = trained(kind), normal(9, 3, 8)
    begins = torch.zeros(9, 3, dtype=torch.bool)
    begins[4, 1] = True
    other = x.clone()
    other[:4] = normal(4, 3, 8, seed=1)
    out, changed = (sequence_with_resets(memory, given, begins) for given in (x, other))
    torch.testing.assert_close(changed[4:, 1], out[4:, 1], rtol=0, atol=1e-12)
    assert (changed[4:, [0, 2]] - out[4:, [0, 2]]).abs().amax(-1).min() > 1e-6


@every_kind
def test_gradients_do_not_cross_a_reset(kind):
    memory, x = trained(kind), normal(9, 2, 8).requires_grad_()
    begins = torch.zeros(9, 2, dtype=torch.bool)
    begins[5] = True
    weight = normal(4, 2, 8, seed=1)
    (sequence_with_resets(memory, x, begins)[5:] * weight).sum().backward()
    assert x.grad is not None
    assert (x.grad[:5] == 0).all()
    assert (x.grad[5:].abs().amax(-1) > 0).all()


# -- each kind against an independent calculation -----------------------------------------------
def test_lstm_is_torchs_cell_and_holds_what_it_was_told():
    memory, x = trained("lstm"), normal(11, 3, 8)
    cell = nn.LSTMCell(8, 8).double()
    lstm = memory.lstm
    cell.load_state_dict(
        {
            "weight_ih": lstm.weight_ih_l0,
            "weight_hh": lstm.weight_hh_l0,
            "bias_ih": lstm.bias_ih_l0,
            "bias_hh": lstm.bias_hh_l0,
        }
    )
    hidden = content = torch.zeros(3, 8, dtype=torch.float64)
    for x_t, out in zip(x, memory.sequence(x), strict=True):
        hidden, content = cell(x_t, (hidden, content))
        torch.testing.assert_close(out, hidden, rtol=0, atol=1e-12)
    begun = fresh("lstm").lstm
    biases = begun.bias_ih_l0 + begun.bias_hh_l0  # of the gates i, f, c, o
    assert biases.tolist() == [0] * 8 + [1] * 8 + [0] * 16


def test_transformer_is_torchs_encoder_plus_positions():
    memory, x = trained({"kind": "transformer", "n_layers": 3, "n_heads": 2}), normal(11, 3, 8)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", norm_first=True)
    encoder = nn.TransformerEncoder(layer, 3, nn.LayerNorm(8), enable_nested_tensor=False)
    encoder = encoder.double()
    names = {
        "norm_attention": "norm1",
        "attention.project": "self_attn.in_proj",
        "out": "self_attn.out_proj",
        "norm_perceptron": "norm2",
        "perceptron.inner": "linear1",
        "perceptron.outer": "linear2",
    }
    weights = {"norm.weight": memory.norm.weight, "norm.bias": memory.norm.bias}
    for i, block in enumerate(memory.blocks):
        for name, parameter in block.named_parameters():
            ours, kind = name.rsplit(".", 1)
            joint = "_" if ours == "attention.project" else "."
            weights[f"layers.{i}.{names[ours]}{joint}{kind}"] = parameter
    encoder.load_state_dict(weights)
    mask = nn.Transformer.generate_square_subsequent_mask(11, dtype=torch.float64)
    expected = encoder(x + memory.position.unsqueeze(1), mask=mask, is_causal=True)
    torch.testing.assert_close(memory.sequence(x), expected, rtol=0, atol=1e-12)


def test_a_transformer_begins_as_its_input():
    memory, x = fresh("transformer"), normal(11, 3, 8).float()
    near = nn.functional.layer_norm(x, (8,))
    assert (memory.sequence(x) - near).square().mean().sqrt() < 0.25


def test_min_gru_by_hand():
    """One number, one layer, no norms, no perceptron: the output is x_t + h_t."""
    memory = fresh({"kind": "min_gru", "n_layers": 1}, width=1, n_steps=3).double()
    (layer,) = memory.layers
    memory.norm = layer.norm_recurrence = layer.norm_perceptron = nn.Identity()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(layer.gate.weight)  # z_t = sigmoid(x_t)
    nn.init.constant_(layer.candidate.weight, 2.0)  # 2 x_t + 1
    nn.init.ones_(layer.candidate.bias)
    x = torch.tensor([math.log(3), 0, -math.log(3)], dtype=torch.float64)  # z = 3/4, 1/2, 1/4
    h_1 = 3 / 4 * (2 * math.log(3) + 1)
    h_2 = 1 / 2 * h_1 + 1 / 2 * 1
    h_3 = 3 / 4 * h_2 + 1 / 4 * (1 - 2 * math.log(3))
    expected = x + torch.tensor([h_1, h_2, h_3], dtype=torch.float64)
    torch.testing.assert_close(memory.sequence(x.view(3, 1, 1)).flatten(), expected)
    torch.testing.assert_close(stepped(memory, x.view(3, 1, 1)).flatten(), expected)


def test_min_gru_begins_with_memories_of_two_steps_to_a_trial():
    memory = fresh("min_gru", width=256, n_steps=100)
    for layer in memory.layers:
        lasts = 1 / torch.sigmoid(layer.gate.bias)
        assert 2 <= lasts.min() < 10
        assert 90 < lasts.max() <= 100.01


@given(n_steps=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_scan_and_a_loop_have_the_same_values_and_gradients(n_steps, seed):
    decay = torch.sigmoid(normal(n_steps, 3, seed=seed)).requires_grad_()
    drive = normal(n_steps, 3, seed=seed + 1).requires_grad_()
    hidden, hiddens = torch.zeros(3, dtype=torch.float64), []
    for t in range(n_steps):
        hidden = decay[t] * hidden + drive[t]
        hiddens.append(hidden)
    loop, scan = torch.stack(hiddens), linear_recurrence(decay, drive)
    torch.testing.assert_close(scan, loop, rtol=0, atol=1e-13)
    weight = normal(n_steps, 3, seed=seed + 2)
    for one, other in zip(
        torch.autograd.grad((scan * weight).sum(), (decay, drive), materialize_grads=True),
        torch.autograd.grad((loop * weight).sum(), (decay, drive), materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_scan_has_the_gradients_that_finite_differences_give():
    decay = torch.sigmoid(normal(7, 2)).requires_grad_()
    drive = normal(7, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(linear_recurrence, (decay, drive))
    assert torch.autograd.gradgradcheck(linear_recurrence, (decay, drive))


def test_snail_is_dilated_convolutions_and_a_softmax_over_the_past():
    memory, x = trained({"kind": "snail", "n_filters": 3}), normal(11, 2, 8)
    features = x.permute(1, 2, 0)  # (N, C, T), as torch convolves
    dilations = [1, 2, 4, 8] * 2  # 2^4 >= 11
    assert len(memory.convolutions) == len(dilations)
    for layer, dilation in zip(memory.convolutions, dilations, strict=True):
        kernel = torch.stack([layer.before.weight, layer.now.weight], dim=-1)  # [t - d, t]
        padded = nn.functional.pad(features, (dilation, 0))
        feature, gate = conv1d(padded, kernel, layer.now.bias, dilation=dilation).chunk(2, dim=1)
        features = torch.cat([features, torch.tanh(feature) * torch.sigmoid(gate)], dim=1)
    for n in range(2):
        seen = features[n].T
        query, key, value = memory.attention.project(seen).chunk(3, dim=-1)
        for t in range(11):
            weight = torch.softmax(key[: t + 1] @ query[t] / math.sqrt(3), dim=0)
            expected = memory.out(torch.cat([seen[t], weight @ value[: t + 1]]))
            torch.testing.assert_close(memory.sequence(x)[t, n], expected, rtol=0, atol=1e-12)


# -- configuration ------------------------------------------------------------------------------
@every_kind
def test_a_memory_is_named_or_described(kind):
    named, described = (ADAPTER.validate_python(given) for given in (kind, {"kind": kind}))
    assert named == described
    assert ADAPTER.validate_python(named.model_dump()) == named


def test_settings_reach_the_memory():
    assert len(fresh({"kind": "transformer", "n_layers": 3}).blocks) == 3
    assert len(fresh({"kind": "min_gru", "n_layers": 3}).layers) == 3
    assert fresh({"kind": "transformer", "n_heads": 2}).blocks[0].attention.n_heads == 2
    assert fresh({"kind": "snail", "n_filters": 5}).attention.head_width == 5


@pytest.mark.parametrize(
    "wrong",
    ["elephant", {"kind": "gru", "n_layers": 2}, {"kind": "transformer", "n_layers": 0}],
)
def test_a_memory_that_does_not_exist_is_refused(wrong):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(wrong)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"`hidden_size` must be a multiple of `n_heads`, got 10"):
        fresh("transformer", width=10)


def test_one_step_trials_work():
    for kind in KINDS:
        memory, x = trained(kind, n_steps=1), normal(1, 2, 8)
        torch.testing.assert_close(stepped(memory, x), memory.sequence(x), rtol=0, atol=1e-12)
