"""Counter-based randomness: the published vectors, and no pattern in any direction."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tutor_envs.rng import MAX_STUDENT_INDEX, Purpose, philox4x32, uniforms

# Random123's known-answer tests for philox4x32 with 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
ALPHA = 1e-7
"""False alarms of one statistical check; each test makes at most ten."""


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_vectors(counter, key, expected):
    words = philox4x32(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(word.item() for word in words) == expected


def test_an_address_fills_the_counter_as_documented():
    seed, student, trial, lesson, step = 5 * 2**32 + 7, 11, 13, 17, 19
    drawn = uniforms(
        seed,
        torch.tensor([student]),
        purpose=Purpose.STUDENT_STEP,
        n_lanes=6,
        trial=trial,
        lesson=lesson,
        step=step,
    )
    for block in range(2):
        counter = (student, trial, lesson * 2**16 + step, Purpose.STUDENT_STEP * 2**16 + block)
        words = philox4x32(tuple(torch.tensor([word]) for word in counter), (7, 5))
        # the upper 24 of 32 bits, as a share of 2**24
        expected = [(word.item() >> 8) / 2**24 for word in words]
        assert drawn[0, 4 * block : 4 * block + 4].tolist() == expected[: 6 - 4 * block]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**64 - 1), n_lanes=st.integers(0, 11))
def test_every_draw_is_philox_of_its_address(data, seed, n_lanes):
    def words(most, *shape):
        n = math.prod(shape)
        drawn = data.draw(st.lists(st.integers(0, most), min_size=n, max_size=n))
        return torch.tensor(drawn, dtype=torch.int64).view(shape)

    n_steps, n = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 37))
    student, trial = words(MAX_STUDENT_INDEX, n), words(2**32 - 1, n)
    lesson, step = words(2**16 - 1, 1), words(2**16 - 1, n_steps, 1)
    purpose = data.draw(st.sampled_from(Purpose))
    drawn = uniforms(
        seed, student, purpose=purpose, n_lanes=n_lanes, trial=trial, lesson=lesson, step=step
    )
    assert drawn.shape == (n_steps, n, n_lanes)
    for lane in range(n_lanes):
        block = torch.tensor(purpose * 2**16 + lane // 4)
        counter = (student, trial, lesson * 2**16 + step, block)
        word = philox4x32(counter, (seed % 2**32, seed // 2**32))[lane % 4]
        assert torch.equal(drawn[..., lane], (word >> 8).double().mul(2.0**-24).float())


DRAW = """
import torch
from tutor_envs.rng import Purpose, uniforms
steps = torch.arange(3).unsqueeze(-1)
drawn = uniforms(2**40 + 3, torch.arange(50), purpose=Purpose.BELIEF, n_lanes=6, step=steps)
print(drawn.flatten().tolist())
"""


def test_without_a_compiler_the_numbers_are_the_same_and_one_line_says_so(tmp_path):
    def new_process(**environment: str) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", DRAW],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)} | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, done.stderr

    numbers, said = new_process(CC="false")
    assert said.startswith("no compiled random numbers")
    assert said.count("\n") == 1
    assert new_process() == (numbers, "")


def grid(n_students: int = 64, n_steps: int = 64, n_lanes: int = 64) -> np.ndarray:
    """Uniforms (steps, students, lanes) of one lesson."""
    return uniforms(
        3,
        torch.arange(n_students),
        purpose=Purpose.STUDENT_STEP,
        n_lanes=n_lanes,
        step=torch.arange(n_steps).unsqueeze(-1),
    ).numpy()


def test_numbers_are_uniform():
    u = grid().ravel().astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > ALPHA
    counts = np.bincount((u * 1024).astype(int), minlength=1024)
    assert stats.chisquare(counts).pvalue > ALPHA


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["steps", "students", "lanes"])
@pytest.mark.parametrize("lag", [1, 2, 4])
def test_neighbours_do_not_correlate(axis, lag):
    u = grid() - 0.5
    n = u.shape[axis]
    here, there = u.take(range(n - lag), axis), u.take(range(lag, n), axis)
    # the product of two independent uniforms on [-.5, .5] has mean 0 and variance 1/12 * 1/12
    z = (here * there).sum() / (math.sqrt(here.size) / 12)
    assert abs(z) < stats.norm.isf(ALPHA / 2)


@pytest.mark.parametrize("what", ["seed", "high half of the seed", "trial", "lesson", "purpose"])
def test_neighbouring_addresses_do_not_correlate(what):
    students = torch.arange(2**16)
    address = {"seed": 6, "trial": 4, "lesson": 2, "purpose": Purpose.LATENTS}
    other = {
        "seed": address | {"seed": 7},
        "high half of the seed": address | {"seed": 6 + 2**32},
        "trial": address | {"trial": 5},
        "lesson": address | {"lesson": 3},
        "purpose": address | {"purpose": Purpose.LESSON_START},
    }[what]

    def draw(at):
        seed = at["seed"]
        rest = {name: value for name, value in at.items() if name != "seed"}
        return uniforms(seed, students, n_lanes=4, **rest).double() - 0.5

    here, there = draw(address), draw(other)
    z = float((here * there).sum() / (math.sqrt(here.numel()) / 12))
    assert abs(z) < stats.norm.isf(ALPHA / 2)
    assert not bool((here == there).all(-1).any())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    students=st.lists(st.integers(0, MAX_STUDENT_INDEX), min_size=1, max_size=20),
    trial=st.integers(0, 2**32 - 1),
    step=st.integers(0, 2**16 - 1),
    n_lanes=st.integers(1, 9),
)
def test_a_draw_depends_on_its_address_alone(seed, students, trial, step, n_lanes):
    def draw(students, n_lanes, step):
        return uniforms(
            seed,
            torch.tensor(students),
            purpose=Purpose.TUTOR,
            n_lanes=n_lanes,
            trial=trial,
            step=step,
        )

    together = draw(students, n_lanes, step)
    assert together.shape == (len(students), n_lanes)
    assert together.dtype == torch.float32
    for row, student in enumerate(students):
        assert torch.equal(draw([student], n_lanes, step)[0], together[row])
    more_lanes = draw(students, n_lanes + 5, step)
    assert torch.equal(more_lanes[:, :n_lanes], together)
    whole_lesson = draw(students, n_lanes, torch.tensor([[step], [0]]))
    assert torch.equal(whole_lesson[0], together)


def test_no_lanes_are_an_empty_row_of_the_right_shape():
    steps = torch.arange(3).unsqueeze(-1)
    drawn = uniforms(0, torch.arange(5), purpose=Purpose.TUTOR, n_lanes=0, step=steps)
    assert drawn.shape == (3, 5, 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_beyond_64_bits_is_refused(seed):
    with pytest.raises(ValueError, match=r"`seed` must be in \[0, 2\*\*64\), got"):
        uniforms(seed, torch.arange(2), purpose=Purpose.TUTOR, n_lanes=1)


def test_the_global_generators_are_neither_read_nor_moved():
    def draw():
        return uniforms(1, torch.arange(9), purpose=Purpose.TUTOR, n_lanes=3)

    before = torch.get_rng_state()
    first = draw()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(draw(), first)


@pytest.mark.slow
# torch's own compiler imports a module that torch deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_draw_is_the_same_draw():
    students = torch.arange(1000)

    def draw(step):
        return uniforms(9, students, purpose=Purpose.STUDENT_STEP, n_lanes=5, step=step)

    compiled = torch.compile(draw, fullgraph=True)
    step = torch.tensor(3)
    assert torch.equal(compiled(step), draw(step))
