"""What a learned tutor remembers and foretells, read from outside."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor

from small_students import locked_bkt
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.rl2 import RL2Config, RL2Learner
from tutor_agents.sb3 import SB3Learner, SB3PPOConfig, SB3RecurrentPPOConfig
from tutor_agents.tutor import Predicts, Remembers, Trial
from tutor_agents.varibad import VariBADConfig, VariBADLearner
from tutor_envs.classroom import Classroom
from tutor_envs.population import Split, student_indices
from tutor_envs.task import TeachingTask

PEOPLE = locked_bkt()
TASK = TeachingTask(n_lessons=2, n_steps=3)
SMALL: dict[str, Any] = {"n_trials": 8, "minibatches": 2, "hidden_size": 8, "total_steps": 96}


def taught(tutor: Remembers) -> tuple[list[Any], list[Tensor], list[Tensor | None]]:
    """Encoded observations, memory and foretold answers at each action of a trial with 5."""
    room, students = Classroom(PEOPLE, TASK, seed=0), student_indices(Split.TEST, 5)
    observation = room.begin_trial(students)
    tutor.begin_trial(Trial(students, 0, 0))
    observations, memories, foretold = [], [], []
    for _ in range(TASK.n_trial_steps):
        action = tutor.act(observation)
        observations.append(observation)
        memories.append(tutor.memory().clone())
        foretold.append(tutor.p_responses() if isinstance(tutor, Predicts) else None)
        observation = room.step(action).observation
        tutor.observe(action, observation)
    return observations, memories, foretold


@pytest.mark.parametrize("settings", [
    {}, {"memory": "lstm"}, {"memory": "transformer"}, {"memory": "min_gru"}, {"memory": "snail"},
    {"network": "per_skill"},
], ids=str)  # fmt: skip
def test_a_memory_tutor_shows_what_its_policy_reads(settings: dict[str, Any]) -> None:
    """Step by step it is what a whole trial at once gives; the belief head reads it, too."""
    learner = RL2Learner(RL2Config(**SMALL, **settings), PEOPLE, TASK)
    learner.update()
    tutor = learner.tutor()
    observations, memories, foretold = taught(tutor)
    inputs = [tutor.actor.encode(o) for o in observations]
    stacked = inputs[0]._replace(token=torch.stack([one.token for one in inputs]))
    with torch.no_grad():
        hidden, _ = tutor.actor.sequence(stacked)
        _, _, logits = learner._networks.belief(hidden)
    width = hidden.shape[-1]
    assert torch.allclose(torch.stack(memories)[..., :width], hidden, atol=1e-5)
    p = torch.stack([one for one in foretold if one is not None])
    assert torch.allclose(p, logits.softmax(-1), atol=1e-5)
    assert p.shape == (6, 5, PEOPLE.student_model.n_actions, 2)
    # Of a network that treats skills alike, two skill memories of 4 units are shown as well.
    assert memories[0].shape[-1] == width + (8 if settings.get("network") else 0)


def test_a_head_that_is_not_trained_tells_nothing() -> None:
    tutor = RL2Learner(RL2Config(**SMALL, belief_weight=0), PEOPLE, TASK).tutor()
    assert all(p is None for p in taught(tutor)[2])
    taken_away = MemoryTutor(tutor.actor, "rl2")
    assert taken_away.p_responses() is None


def test_varibad_shows_its_belief() -> None:
    tutor = VariBADLearner(VariBADConfig(**SMALL, belief_size=3), PEOPLE, TASK).tutor()
    assert isinstance(tutor, Remembers)
    observations, memories, _ = taught(tutor)
    inputs = [tutor.policy.encode(o) for o in observations]  # type: ignore[attr-defined]
    stacked = inputs[0]._replace(token=torch.stack([one.token for one in inputs]))
    with torch.no_grad():
        beliefs = tutor.policy.beliefs(stacked)  # type: ignore[attr-defined]
    assert torch.allclose(torch.stack(memories), beliefs, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="needs sb3-contrib")
def test_recurrent_ppo_shows_its_lstm() -> None:
    config = SB3RecurrentPPOConfig(n_trials=8, hidden_size=8, total_steps=48)
    tutor = SB3Learner(config, PEOPLE, TASK).tutor()
    _, memories, _ = taught(tutor)
    assert [m.shape for m in memories] == [(5, 16)] * 6
    assert not torch.equal(memories[0], memories[1])


def test_tutors_without_memory_say_so() -> None:
    tutor = SB3Learner(
        SB3PPOConfig(n_trials=8, hidden_size=8, total_steps=48), PEOPLE, TASK
    ).tutor()
    with pytest.raises(ValueError, match="tutor `sb3_ppo` carries no memory through a trial"):
        tutor.memory()
    assert not isinstance(RandomTutor(PEOPLE.student_model), Remembers)
