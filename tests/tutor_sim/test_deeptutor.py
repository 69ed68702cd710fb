"""The deeptutor protocol: published numbers, within three joint standard errors."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
import typer
from typer.testing import CliRunner

from published import load_published


@pytest.fixture(scope="module")
def deeptutor() -> ModuleType:
    return load_published("deeptutor")


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


def test_what_is_tuned_is_reproduced(deeptutor):
    """HLR, where what Threshold knows of the next delay is worth a fifth of its gain."""
    rewards = {
        tutor: deeptutor.play("HLR", tutor, n_students=10, n_episodes=2, seed=0)
        for tutor in ("random", "leitner", "threshold")
    }
    for name in ("L", "LL"):
        for tutor in rewards:
            published = deeptutor.PUBLISHED["HLR", name][tutor]
            row = deeptutor.compare(rewards[tutor][name], rewards["random"][name], published)
            assert abs(row.difference) < 3, (name, tutor, row)
            assert abs(row.gain_difference) < 3, (name, tutor, row)


def test_leitner_goes_by_its_queues(deeptutor):
    tutor = deeptutor.Leitner(torch.tensor([0.5]), 4)
    recall = torch.zeros(1, 4, dtype=torch.float64)

    def review(u: float, correct: bool) -> int:
        item = tutor.choose(recall, torch.tensor([[u, 0.0]]))
        tutor.see(item, torch.tensor([correct]), torch.zeros(1, 2))
        return item.item()

    # the reset shows item 2, wrongly answered: never below queue 1
    tutor.see(torch.tensor([2]), torch.tensor([False]), torch.zeros(1, 2))
    assert review(0.4, True) == 0  # u < .5: new, to queue 1
    assert review(0.6, True) == 2  # queue 1, first come: to queue 2
    assert review(0.4, False) == 1  # new, to queue 1, behind item 0
    # queues 1 and 2 by 1 : 1 / sqrt(2), so queue 1 up to u = .5 + .5 * .5858 = .7929
    assert review(0.80, True) == 2  # queue 2: to queue 3
    # queues 1 and 3 by 1 : 1 / sqrt(3): queue 1 up to .5 + .5 * .634 = .817
    assert review(0.81, True) == 0  # to queue 2
    assert review(0.4, True) == 3  # the last new one
    # nothing is new: queues 1, 2 and 3 by 1 : .7071 : .5774, up to .4377, .7473 and 1
    assert review(0.43, True) == 1
    assert review(0.76, True) == 2


def test_threshold_reviews_the_nearest(deeptutor):
    tutor = deeptutor.Threshold(torch.tensor([0.5, 0.95]))
    recall = torch.tensor([[0.1, 0.45, 0.6], [0.1, 0.45, 0.6]])
    assert tutor.choose(recall, torch.zeros(2, 2)).tolist() == [1, 2]


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
    tutors = ("random", "leitner", "supermnemo", "threshold", "lowest_recall")
    assert rows == [[cell, tutor] for cell in cells for tutor in tutors]
