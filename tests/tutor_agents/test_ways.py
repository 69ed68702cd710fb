"""Ways to teach a skill take turns; ties, legality, and what teaches nothing."""

from __future__ import annotations

import torch

from tutor_agents.ways import WaysInTurn

NOTHING = -1
# skill 0 has two ways, skill 1 three; action 2 teaches nothing
TAUGHT = [0, 1, NOTHING, 1, 0, 1]


def ways() -> WaysInTurn:
    result = WaysInTurn(TAUGHT, 2)
    result.begin(1)
    return result


def best(of: WaysInTurn, by_skill: list[float], legal: list[int] | None = None) -> int:
    mask = None if legal is None else torch.tensor([[a in legal for a in range(6)]])
    return int(of.best(of.of_actions(torch.tensor([by_skill])), mask))


def test_the_ways_of_the_best_skill_take_turns():
    of, actions = ways(), []
    for _ in range(5):
        actions.append(best(of, [0.0, 1.0]))
        of.count(torch.tensor(actions[-1:]))
    assert actions == [1, 3, 5, 1, 3]
    assert best(of, [1.0, 0.0]) == 0
    assert of.practices.tolist() == [[0, 5]]


def test_of_equal_skills_the_first_is_taken_and_of_equal_ways_the_one_in_turn():
    of = ways()
    assert best(of, [1.0, 1.0]) == 0
    of.count(torch.tensor([0]))
    assert best(of, [1.0, 1.0]) == 4
    score = torch.tensor([[0.0, 0.0, 9.0, 1.0, 0.0, 1.0]])
    assert int(of.best(score, None)) == 3  # 1 would be in turn, but 3 and 5 are better


def test_only_legal_actions_and_what_teaches_nothing_last():
    of = ways()
    assert best(of, [0.0, 1.0], legal=[0, 2, 5]) == 5
    assert best(of, [0.0, 1.0], legal=[2, 4]) == 4
    assert best(of, [0.0, 1.0], legal=[2]) == 2
    assert best(of, [-torch.inf, -torch.inf], legal=[2, 3]) == 3
    legal = torch.tensor([[False, False, True, True, False, False]])
    assert of.available(legal).tolist() == [[False, True]]
    assert of.available(None).tolist() == [[True, True]]
