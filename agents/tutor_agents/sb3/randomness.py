"""Stable-Baselines3 draws from global generators; here they are lent to it and given back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def lent_generators(seed: int, stream: int, device: torch.device) -> Iterator[None]:
    """The global generators of torch and NumPy, seeded inside and as they were afterwards.

    SB3 samples actions and minibatches, explores and replays with them. Seeded anew for every
    update, they need no place in a checkpoint.

    Args:
        seed: of the run, in [0, 2**64).
        stream: which draws of the run: 0 for the first weights, u + 1 for update u.
        device: of the networks; its generator is lent too.
    """
    words = np.random.SeedSequence([seed, stream])
    of_numpy = np.random.get_state()  # noqa: NPY002
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(words.generate_state(1, np.uint64)[0]))
        np.random.seed(words.generate_state(4))  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(of_numpy)  # noqa: NPY002
