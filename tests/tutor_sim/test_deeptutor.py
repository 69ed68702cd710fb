"""The deeptutor protocol: published numbers, within three joint standard errors."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import typer
from typer.testing import CliRunner

SCRIPT = Path(__file__).parents[2] / "experiments" / "deeptutor.py"


@pytest.fixture(scope="module")
def deeptutor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deeptutor", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["deeptutor"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("env", ["EFC", "HLR"])
def test_random_and_lowest_recall_are_reproduced(deeptutor, env):
    rewards = {
        tutor: deeptutor.play(env, tutor, n_students=200, n_episodes=2, seed=0)
        for tutor in ("random", "lowest_recall")
    }
    for name in ("L", "LL"):
        for tutor in rewards:
            published = deeptutor.PUBLISHED[env, name][tutor]
            row = deeptutor.compare(rewards[tutor][name], rewards["random"][name], published)
            assert abs(row.difference) < 3, (env, name, tutor, row)
            assert abs(row.gain_difference) < 3, (env, name, tutor, row)


def test_a_comparison_by_hand(deeptutor):
    ours, random = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 1.0])
    row = deeptutor.compare(ours, random, deeptutor.Published(4.0, 1.0, 50.0))
    # SD 1, so SE 3**-.5; joint with 1: (4 / 3)**.5. Gains 0, 100, 200: SD 100, against 10 students
    assert row.mean == pytest.approx(2)
    assert row.difference == pytest.approx(-2 / (4 / 3) ** 0.5)
    assert row.gain == pytest.approx(100)
    assert row.gain_difference == pytest.approx(50 / (100 * (1 / 3 + 1 / 10) ** 0.5))


def test_supermnemo_goes_round_by_long_intervals(deeptutor):
    tutor = deeptutor.SuperMnemo(1, 3)
    no_extra_day, recall = torch.tensor([[0.0, 0.9]]), torch.zeros(1, 3)

    def review(answers: str) -> list[int]:
        items = []
        for answer in answers:
            item = tutor.choose(recall, no_extra_day)
            tutor.see(item, torch.tensor([answer == "+"]), no_extra_day)
            items.append(item.item())
        return items

    # all intervals 0: in order of the items. Then 1 day for items 0 and 2, none for item 1
    assert review("+-+") == [0, 1, 2]
    # item 2 succeeds again: 6 days; item 0 fails: 0; item 1 succeeds: 1
    assert review("-++") == [0, 2, 1]
    assert review("+++") == [2, 1, 0]


def test_the_script_prints_every_cell(deeptutor):
    app = typer.Typer()
    app.command()(deeptutor.main)
    result = CliRunner().invoke(app, ["--students", "2", "--episodes", "1"])
    assert result.exit_code == 0, result.output
    rows = [line.split()[:2] for line in result.output.splitlines()[1:]]
    cells = [f"{env}-{name}" for env in ("EFC", "HLR") for name in ("L", "LL")]
    tutors = ("random", "supermnemo", "lowest_recall")
    assert rows == [[cell, tutor] for cell in cells for tutor in tutors]
