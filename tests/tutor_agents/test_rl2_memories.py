"""RL² with each memory: the traps of recurrent meta-RL, and learning itself."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from small_students import locked_bkt
from tutor_agents.exported import load_tutor
from tutor_agents.rl2 import RL2Config, RL2Learner
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask

every_kind = pytest.mark.parametrize("kind", ["gru", "lstm", "transformer", "snail", "min_gru"])
TASK = TeachingTask(n_lessons=2, n_steps=4)


def learner(kind: object, task: TeachingTask = TASK, **config: object) -> RL2Learner:
    small = {"n_trials": 32, "hidden_size": 16, "total_steps": 100_000, "memory": kind}
    return RL2Learner(RL2Config(**(small | config)), locked_bkt(), task)


def numbers(logs: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in logs.items() if name != "perf/steps_per_s"}


@every_kind
@pytest.mark.parametrize("show_score", [False, True])
def test_the_importance_ratio_of_the_first_minibatch_is_one(kind, show_score):
    run = learner(kind, TeachingTask(n_lessons=2, n_steps=12, show_score=show_score))
    for _ in range(3):
        assert run.update()["train/first_ratio_error"] < 1e-5


@every_kind
def test_restored_run_equals_the_straight_one_to_the_bit(kind):
    straight = learner(kind)
    straight.update()
    saved = {k: v.clone() for k, v in straight.tensors().items()}, straight.counters()
    torch.manual_seed(5)  # a learner follows its own seed, whatever the global state
    resumed = learner(kind)
    resumed.restore(*saved)
    for _ in range(2):
        assert numbers(straight.update()) == numbers(resumed.update())
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


@every_kind
def test_an_exported_tutor_teaches_as_the_original(kind, tmp_path, teach):
    run = learner(kind)
    for _ in range(2):
        run.update()
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    loaded, straight = (
        teach(tutor, locked_bkt(), TASK, students=200)
        for tutor in (load_tutor(tmp_path), run.tutor())
    )
    assert torch.equal(loaded.actions, straight.actions)
    assert description["shape"]["memory"]["kind"] == kind


@every_kind
def test_a_tutor_begins_every_trial_with_an_empty_memory(kind, teach):
    tutor = learner(kind).tutor()
    first = teach(tutor, locked_bkt(), TASK, students=50).actions
    teach(tutor, locked_bkt(), TASK, students=70)
    room = Classroom(locked_bkt(), TASK, seed=3)
    students = student_indices(Split.TEST, 50)
    tutor.begin_trial(Trial(students, 3, 0))
    tutor.act(room.begin_trial(students))  # a trial that is never finished
    assert torch.equal(teach(tutor, locked_bkt(), TASK, students=50).actions, first)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"`hidden_size` must be a multiple of `n_heads`"):
        learner("transformer", hidden_size=18)


def optimum(p: list[list[float]], slip: float, guess: float, weight: float, steps: int) -> float:
    """Events to come under the best tutor when P(type 0) = weight; over all histories."""
    if steps == 0:
        return 0.0
    values = []
    for modality in (0, 1):
        events = [p[kind][modality] for kind in (0, 1)]
        right = [e * (1 - slip) + (1 - e) * guess for e in events]
        value = weight * events[0] + (1 - weight) * events[1]
        for answer in (right, [1 - r for r in right]):
            total = weight * answer[0] + (1 - weight) * answer[1]
            after = weight * answer[0] / total
            value += total * optimum(p, slip, guess, after, steps - 1)
        values.append(value)
    return max(values)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "transformer", "snail", "min_gru"])
def test_every_memory_learns_the_style_bandit_to_its_bayes_optimum(kind, teach):
    """Two types, T = 6; as for the GRU in ``test_rl2_learner.py``."""
    p, slip, guess, n_steps = [[0.8, 0.2], [0.2, 0.8]], 0.1, 0.2, 6
    population = Population.model_validate(
        {
            "name": "bandit",
            "student": "style_bandit",
            "model": {"modalities": ["m0", "m1"], "n_units": n_steps},
            "types": {
                f"type_{i}": {
                    "weight": 1,
                    "latents": {
                        "p_event": 0.5,
                        "responsiveness": row,
                        "style_strength": 1.0,
                        "p_slip": slip,
                        "p_guess": guess,
                    },
                }
                for i, row in enumerate(p)
            },
        }
    )
    task = TeachingTask(n_steps=n_steps, reward=Reward(scale=n_steps))
    config = RL2Config(
        memory=kind,
        n_trials=256,
        hidden_size=16,
        gae_lambda=0.3,
        learning_rate=5e-4 if kind in ("transformer", "snail") else 2e-3,
        total_steps=100_000,
    )
    run = RL2Learner(config, population, task)
    for _ in range(run.n_updates):
        run.update()
    best, random = optimum(p, slip, guess, 0.5, n_steps), 0.5 * n_steps
    reached = teach(run.tutor(), population, task, students=40_000).returns.mean().item()
    assert (reached - random) / (best - random) > 0.95
