"""Shared by the tests of tutor_envs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on a busy machine are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cases_file() -> Path:
    path = SHARED / "cases" / "bayes_limit.json"
    if not path.exists():
        pytest.skip("needs ../shared/cases/bayes_limit.json, which is not part of the project")
    return path
