"""Door 3: a Gymnasium environment is taught like any student, its rewards are paid as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tutor_agents.rl2 import RL2Config, RL2Learner
from tutor_envs.classroom import Classroom
from tutor_envs.errors import StudentError
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

BANDIT = Path(__file__).parents[2] / "experiments" / "custom_students" / "bandit_env.py"
OWN_REWARDS = {"score": "post_test", "when": "step"}


class Counter(gymnasium.Env):
    """Shows its seed, lesson and number of steps; pays the action; ends after ``length`` steps."""

    action_names = ("zero", "one", "two")
    made: ClassVar[int] = 0

    def __init__(self, length: int = 3, told: str = "", fault: Any = None) -> None:
        type(self).made += 1
        self.action_space = gymnasium.spaces.Discrete(3)
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (3, 1))
        self.length, self.told, self.fault = length, told, fault

    def _observe(self) -> np.ndarray:
        return np.array([[self.drawn], [self.lesson], [self.done]])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.drawn, self.lesson, self.done = seed % 7, options["lesson"], 0
        return self._observe(), {}

    def step(self, action):
        self.done += 1
        info = {"correct": action > 0} if self.told else {}
        reward = float(action) if self.fault is None else self.fault
        return self._observe(), reward, self.done == self.length, False, info


def population(**fields: Any) -> Population:
    return Population.model_validate({"name": "gym", **fields})


def counter(**kwargs: Any) -> Population:
    return population(student=f"{__file__}:Counter", model={"kwargs": kwargs})


def test_rewards_signals_and_ends_are_the_environments_own() -> None:
    task = TeachingTask.model_validate({"n_lessons": 2, "n_steps": 4, "reward": OWN_REWARDS})
    mine = counter(length=3)
    assert [str(action) for action in mine.student_model.actions] == ["zero", "one", "two"]
    students = student_indices(Split.TRAIN, 3)
    drawn = mine.sample(0, students)["env_seed"].long() % 7
    assert len(drawn.unique()) > 1  # by default the students differ
    room = Classroom(mine, task)
    first = room.begin_trial(students)
    assert first.signals is not None
    assert first.signals[:, 0].tolist() == drawn.tolist()
    action = torch.tensor([0, 1, 2])
    rewards = []
    for lesson in range(2):
        for step in range(4):
            outcome = room.step(action)
            rewards.append(outcome.reward)
            shown = outcome.observation
            assert shown.signals is not None
            if step < 3:
                assert shown.response.tolist() == [0, 0, 0]  # the one response, "seen"
                assert shown.signals[:, 0].tolist() == drawn.tolist()
                assert shown.signals[:, 1:].tolist() == [[lesson, step + 1]] * 3
            else:  # the episode was over: the action reached nobody
                assert shown.response.tolist() == [1, 1, 1]
                assert not shown.signals.any()
    paid = torch.stack(rewards).view(2, 4, 3)
    for lesson in paid:
        assert lesson.tolist() == [[0, 1, 2]] * 3 + [[0, 0, 0]]


def test_what_an_environment_tells_of_answers_is_the_response() -> None:
    room = Classroom(counter(length=9, told="correct"), TeachingTask(n_steps=1))
    assert room.model.responses == ("wrong", "correct")
    room.begin_trial(student_indices(Split.TRAIN, 3))
    assert room.step(torch.tensor([0, 1, 2])).observation.response.tolist() == [0, 1, 1]


def test_mastery_is_the_return_between_two_bounds_or_on_a_curve() -> None:
    students = student_indices(Split.TRAIN, 3)
    mine = counter(length=9)
    scaled = population(student=mine.student, model={"return_range": [0, 4]})
    for taught, expected in (
        (mine, [0.5, 0.5 + 0.5 * 2 / 3, 0.5 + 0.5 * 4 / 5]),  # 1/2 + r / (2 (1 + r))
        (scaled, [0.0, 0.5, 1.0]),  # r / 4
    ):
        room = Classroom(taught, TeachingTask(n_steps=2))
        room.begin_trial(students)
        for _ in range(2):
            mastery = room.step(torch.tensor([0, 1, 2])).truth.mastery
        torch.testing.assert_close(mastery[:, 0], torch.tensor(expected))


def test_a_student_is_the_same_alone_and_in_a_crowd_and_environments_are_used_again() -> None:
    mine = population(student=f"{BANDIT}:Bandit")
    task = TeachingTask.model_validate({"n_lessons": 2, "n_steps": 10, "reward": OWN_REWARDS})

    def returns(students: torch.Tensor) -> torch.Tensor:
        room = Classroom(mine, task)
        room.begin_trial(students)
        steps = [room.step(torch.full((len(students),), t % 5)).reward for t in range(20)]
        return torch.stack(steps)

    crowd = returns(student_indices(Split.TRAIN, 8))
    assert torch.equal(returns(torch.tensor([5, 2])), crowd[:, [5, 2]])
    assert not torch.equal(crowd[:10], crowd[10:])  # the same arms, other luck


@pytest.mark.parametrize(
    ("env", "n_actions", "n_signals"), [("CartPole-v1", 2, 4), ("FrozenLake-v1", 4, 0)]
)
def test_environments_by_id(env: str, n_actions: int, n_signals: int) -> None:
    mine = population(student="gym", model={"id": env})
    assert Population.model_validate(mine.model_dump(mode="json")) == mine
    model = mine.student_model
    assert (model.n_actions, len(model.signal_names)) == (n_actions, n_signals)
    task = TeachingTask.model_validate({"n_steps": 30, "reward": OWN_REWARDS})
    room = Classroom(mine, task)
    room.begin_trial(student_indices(Split.TRAIN, 5))
    rewards = torch.stack([room.step(torch.zeros(5).long()).reward for _ in range(30)])
    truth = room.truth
    torch.testing.assert_close(rewards.sum(0), truth.post_test)
    if env == "CartPole-v1":  # pushed to one side, the pole falls after 8 to 11 steps
        assert bool(((rewards.sum(0) >= 8) & (rewards.sum(0) <= 11)).all())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"student": "gym"}, "`id` must be the id of an environment"),
        (
            {"student": "gym", "model": {"id": "None-v0"}},
            "`None-v0`: making the environment raised .*NameNotF",
        ),
        ({"student": "gym", "model": {"id": "Pendulum-v1"}}, "`action_space` must be Discrete"),
        ({"student": "gym", "model": {"id": "Blackjack-v1"}}, "`observation_space` must be Disc"),
        (
            {"student": "gym", "model": {"id": "CartPole-v1", "return_range": [1, 0]}},
            r"`return_range` must be \[low, high\]",
        ),
    ],
)
def test_what_cannot_be_adapted_is_explained(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        population(**fields)


def test_an_environment_that_fails_is_named() -> None:
    room = Classroom(counter(fault=float("nan")), TeachingTask())
    room.begin_trial(student_indices(Split.TRAIN, 2))
    with pytest.raises(
        StudentError, match=r"step\(1\) paid nan; .*\[student 0, lesson 0, step 0\]"
    ):
        room.step(torch.tensor([1, 1]))


def test_rl2_trains_through_the_door() -> None:
    config = RL2Config(total_steps=160, n_trials=8, hidden_size=8)
    mine = population(student="gym", model={"id": "CartPole-v1", "workers": 0})
    learner = RL2Learner(config, mine, TeachingTask(n_steps=10, reward=OWN_REWARDS))
    for _ in range(2):
        logs = learner.update()
        assert all(np.isfinite(value) for value in logs.values())
        assert logs["train/first_ratio_error"] < 1e-5


@pytest.mark.slow
def test_rl2_learns_a_bandit_through_the_door() -> None:
    # Two arms, one of which always pays and one never: 10 pulls are worth 9.5 to whoever adapts.
    mine = population(student=f"{__file__}:SureThing", model={"workers": 0})
    task = TeachingTask.model_validate({"n_steps": 10, "reward": OWN_REWARDS})
    config = RL2Config(total_steps=19_200, n_trials=64, learning_rate=5e-3, hidden_size=32)
    learner = RL2Learner(config, mine, task)
    returns = [learner.update()["train/return"] for _ in range(learner.n_updates)]
    assert 4 < returns[0] < 6
    assert np.mean(returns[-3:]) > 7.5


class SureThing(gymnasium.Env):
    """Two arms; the seed says which one pays."""

    def __init__(self) -> None:
        self.action_space = gymnasium.spaces.Discrete(2)
        self.observation_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.best = int(self.np_random.integers(2))
        return 0, {}

    def step(self, action):
        paid = int(action == self.best)
        return paid, float(paid), False, False, {}
