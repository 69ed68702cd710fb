"""Stable-Baselines3's algorithms as learners: exact resumption, what they see, and learning."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save, save_file

from small_students import bandit, locked_bkt, taught
from tutor_agents import exported
from tutor_agents.sb3 import (
    NativeVecEnv,
    SB3A2CConfig,
    SB3DQNConfig,
    SB3Learner,
    SB3PPOConfig,
    SB3RecurrentPPOConfig,
)
from tutor_agents.sb3.tutor import SB3Tutor, rebuild
from tutor_agents.tutor import Trial
from tutor_envs import TutoringVectorEnv
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask

CONFIGS = {
    "sb3_ppo": SB3PPOConfig,
    "sb3_a2c": SB3A2CConfig,
    "sb3_dqn": SB3DQNConfig,
    "sb3_recurrent_ppo": SB3RecurrentPPOConfig,
}
SMALL = {"n_trials": 16, "hidden_size": 8, "total_steps": 16 * 5 * 12}
SMALL_DQN = {
    "buffer_size": 16 * 12,  # 12 rows: full in the third update of 5 steps
    "learning_starts": 100,
    "batch_size": 8,
    "gradient_steps": 3,
    "target_update_interval": 48,
}
needs_contrib = pytest.mark.skipif(
    importlib.util.find_spec("sb3_contrib") is None, reason="needs the extra sb3-contrib"
)
every_algorithm = pytest.mark.parametrize(
    "algorithm",
    [pytest.param(a, marks=needs_contrib if "recurrent" in a else ()) for a in CONFIGS],
)


LOCKED = locked_bkt()
TASK = TeachingTask(n_steps=5)
TWO_LESSONS = TeachingTask(n_lessons=2, n_steps=3, show_score=True)


def learner(
    algorithm: str,
    population: Population = LOCKED,
    task: TeachingTask = TASK,
    seed: int = 0,
    **config: Any,
) -> SB3Learner:
    settings = SMALL | (SMALL_DQN if algorithm == "sb3_dqn" else {}) | config
    return SB3Learner(CONFIGS[algorithm](**settings), population, task, seed=seed)


def trained(algorithm: str, n_updates: int = 3, **changes: Any) -> SB3Learner:
    run = learner(algorithm, **changes)
    for _ in range(n_updates):
        run.update()
    return run


def clone(tensors: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def same(one: Any, other: Any) -> bool:
    return set(one) == set(other) and all(torch.equal(v, other[k]) for k, v in one.items())


# -- resumption and randomness ---------------------------------------------------------------------
@every_algorithm
@pytest.mark.parametrize("n_before", [0, 2, 4])
def test_restored_run_equals_the_straight_one_to_the_bit(algorithm, n_before):
    straight = trained(algorithm, n_before)
    saved = load(save(clone(straight.tensors()))), straight.counters()
    resumed = learner(algorithm)
    resumed.restore(*saved)
    for _ in range(3):
        logs, logs_resumed = straight.update(), resumed.update()
        logs.pop("perf/steps_per_s"), logs_resumed.pop("perf/steps_per_s")
        np.testing.assert_equal(logs, logs_resumed)
    assert straight.counters() == resumed.counters()
    assert straight.counters()["updates_done"] == n_before + 3
    assert same(straight.tensors(), resumed.tensors())


@every_algorithm
def test_a_run_can_go_back_to_an_earlier_checkpoint(algorithm):
    run = trained(algorithm, 2)
    saved = clone(run.tensors()), run.counters()
    run.update()
    after = clone(run.tensors())
    run.update()
    run.restore(*saved)
    run.update()
    assert same(run.tensors(), after)


@every_algorithm
def test_same_seed_same_run_and_other_seed_another(algorithm):
    one = trained(algorithm).tensors()
    assert same(one, trained(algorithm).tensors())
    other = trained(algorithm, seed=1).tensors()
    assert not same(one, other)


@every_algorithm
def test_global_random_state_is_neither_used_nor_touched(algorithm):
    def run_from(state: int) -> tuple[SB3Learner, tuple[float, ...]]:
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002
        random.seed(state)
        run = trained(algorithm)
        weights, description = run.tutor().export()
        rebuild(description, weights, "cpu")
        drawn = torch.rand(1).item(), np.random.random(), random.random()  # noqa: NPY002
        return run, drawn

    one, drawn = run_from(1)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    assert drawn == (torch.rand(1).item(), np.random.random(), random.random())  # noqa: NPY002
    two, _ = run_from(2)
    assert same(one.tensors(), two.tensors())


@every_algorithm
def test_a_checkpoint_of_another_network_is_refused(algorithm):
    tensors = learner(algorithm, hidden_size=4).tensors()
    with pytest.raises(ValueError, match="another network"):
        learner(algorithm).restore(dict(tensors), {"updates_done": 0, "sb3_n_updates": 0})


# -- what SB3 is given -----------------------------------------------------------------------------
@every_algorithm
def test_update_u_teaches_whole_trials_to_the_students_of_update_u(algorithm, monkeypatch):
    seated: list[list[int]] = []
    original = Classroom.begin_trial

    def noted(self, students, trial=0, **kwargs):
        seated.append(students.tolist())
        return original(self, students, trial, **kwargs)

    run = trained(algorithm, 2)
    monkeypatch.setattr(Classroom, "begin_trial", noted)
    logs = run.update()
    # The students of update 2, and, when their trials end, those whom the next update begins with.
    assert seated == [student_indices(Split.TRAIN, 16, 16 * u).tolist() for u in (2, 3)]
    assert logs["sb3/train/learning_rate"] == pytest.approx(2e-3 * (1 - 2 / 12))
    assert run.n_updates == 12
    assert run.steps_per_update == 16 * 5 == run._sb3.num_timesteps // 3


@every_algorithm
def test_early_ends_of_trials_keep_the_run_exact(algorithm):
    """Everybody leaves after one action: five batches of students in one update."""
    population = Population.model_validate(
        {
            "name": "leavers",
            "student": "bkt",
            "model": {"n_skills": 1, "modalities": ["a", "b"]},
            "components": {"dropout": {}},
            "latents": {"dropout_tendency": 60.0},
        }
    )
    straight = trained(algorithm, 3, population=population)
    resumed = learner(algorithm, population=population)
    half = trained(algorithm, 1, population=population)
    resumed.restore(clone(half.tensors()), half.counters())
    for _ in range(2):
        resumed.update()
    assert same(straight.tensors(), resumed.tensors())


def test_a_rollout_is_whole_trials_paid_as_they_arise(monkeypatch):
    run, rollouts = learner("sb3_ppo", bandit([[0.8, 0.3]], n_units=5), TWO_LESSONS), []
    sb3, train = run._sb3, run._sb3.train

    def noted() -> None:
        buffer = sb3.rollout_buffer
        rollouts.append((buffer.episode_starts.copy(), buffer.actions[..., 0].astype(int)))
        # What is paid is the expected gain, whatever the student's luck: p, of one unit of 5.
        expected = np.array([0.8, 0.3])[rollouts[-1][1]] / 5
        np.testing.assert_allclose(buffer.rewards, expected, rtol=1e-5)
        train()

    monkeypatch.setattr(sb3, "train", noted)
    run.update()
    logs = run.update()
    for starts, actions in rollouts:
        assert starts.T.tolist() == [[1, 0, 0, 0, 0, 0]] * 16
        assert set(actions.flat) == {0, 1}
    paid = np.array([0.8, 0.3])[rollouts[-1][1]] / 5
    assert logs["train/return"] == pytest.approx(paid.sum(0).mean(), rel=1e-5)


@pytest.mark.parametrize(
    "algorithm", ["sb3_ppo", pytest.param("sb3_recurrent_ppo", marks=needs_contrib)]
)
def test_the_importance_ratio_of_the_first_minibatch_is_one(algorithm, monkeypatch):
    run, errors = learner(algorithm, task=TWO_LESSONS), []
    sb3, train = run._sb3, run._sb3.train

    def checked() -> None:
        data = next(iter(sb3.rollout_buffer.get(sb3.batch_size)))
        recurrent = algorithm == "sb3_recurrent_ppo"
        memory = (data.lstm_states, data.episode_starts) if recurrent else ()
        actions = data.actions.long().flatten()
        _, logp, _ = sb3.policy.evaluate_actions(data.observations, actions, *memory)
        there = data.mask > 0.5 if recurrent else slice(None)
        errors.append((torch.exp(logp - data.old_log_prob) - 1)[there].abs().max().item())
        train()

    monkeypatch.setattr(sb3, "train", checked)
    for _ in range(3):
        run.update()
    assert len(errors) == 3
    assert max(errors) < 1e-5


def test_dqn_bootstraps_nothing_at_the_end_of_a_trial_and_replays_its_last_observation():
    run = trained("sb3_dqn", 1, task=TWO_LESSONS)
    buffer = run._sb3.replay_buffer
    assert buffer.dones[:6].T.tolist() == [[0, 0, 0, 0, 0, 1]] * 16
    assert not buffer.timeouts.any()
    layout = run.tutor().shape.observation_layout()
    assert (buffer.next_observations[5][:, layout.lesson] == 1).all()  # both lessons are finished
    np.testing.assert_array_equal(buffer.next_observations[:5], buffer.observations[1:6])


# -- the tutor -------------------------------------------------------------------------------------
@every_algorithm
def test_the_tutor_acts_as_sb3_predicts_from_the_gymnasium_observation(algorithm):
    population = bandit([[0.8, 0.2, 0.4], [0.2, 0.8, 0.4]], n_units=5)
    run = trained(algorithm, population=population, task=TWO_LESSONS, learning_rate=0.05)
    _, actions = taught(run.tutor(), population, TWO_LESSONS, 50)
    envs = NativeVecEnv(
        TutoringVectorEnv(50, population=population, task=TWO_LESSONS, split="test", seed=1)
    )
    seen, memory, starts = envs.reset(), None, np.ones(50)
    for action in actions:
        predicted, memory = run._sb3.policy.predict(seen, memory, starts, deterministic=True)
        np.testing.assert_array_equal(predicted, action)
        seen, *_ = envs.step(predicted)
        starts = np.zeros(50)


@every_algorithm
def test_a_tutor_sees_observable_signals_only(algorithm):
    """Other latents, other luck, other students: with the same observations, the same actions."""
    tutor = trained(algorithm, population=bandit([[0.8, 0.2], [0.2, 0.8]], n_units=5)).tutor()
    students = student_indices(Split.TEST, 16)
    room = Classroom(bandit([[0.9, 0.1], [0.5, 0.5]], n_units=5), TASK, seed=5)
    observations = [room.begin_trial(students)]
    for _ in range(4):
        observations.append(room.step(torch.zeros(16, dtype=torch.int64)).observation)

    def actions(of: torch.Tensor) -> torch.Tensor:
        tutor.begin_trial(Trial(of, 0, 0))
        return torch.stack([tutor.act(observation) for observation in observations])

    assert torch.equal(actions(students), actions(students + 1000))
    assert len(actions(students)[0].unique()) == 1  # at first all students look alike


@every_algorithm
@pytest.mark.parametrize("task", [TASK, TWO_LESSONS])
def test_an_exported_tutor_teaches_as_the_original(algorithm, task, tmp_path):
    run = trained(algorithm, task=task, learning_rate=0.05)
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    loaded = exported.load_tutor(tmp_path)
    assert isinstance(loaded, SB3Tutor)
    assert loaded.name == algorithm
    score, actions = taught(run.tutor(), LOCKED, task, 200)
    loaded_score, loaded_actions = taught(loaded, LOCKED, task, 200)
    assert loaded_score == score
    assert torch.equal(loaded_actions, actions)
    again, same_description = loaded.export()
    assert same(again, weights)
    assert same_description["shape"] == description["shape"]


@pytest.mark.parametrize("damage", ["size", "layout", "algorithm"])
def test_a_damaged_export_is_refused(tmp_path, damage):
    weights, description = learner("sb3_ppo").tutor().export()
    if damage == "size":
        description["shape"]["hidden_size"] = 99
    elif damage == "layout":
        del description["shape"]["layout"]["correct"]
    else:
        description["shape"]["algorithm"] = "sb3_sac"
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=str(tmp_path)):
        exported.load_tutor(tmp_path)


@needs_contrib
def test_memory_is_reset_at_a_trial_start_and_only_there():
    population, students = (
        bandit([[0.8, 0.2], [0.2, 0.8]], n_units=5),
        student_indices(Split.TEST, 8),
    )
    tutor = trained("sb3_recurrent_ppo", population=population, task=TWO_LESSONS).tutor()
    room = Classroom(population, TWO_LESSONS, seed=3)
    actions = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    observations = [room.begin_trial(students)]
    observations += [room.step(actions).observation for _ in range(5)]

    def memory(first: Any) -> torch.Tensor:
        tutor.begin_trial(Trial(students, 3, 0))
        for observation in [first, *observations[1:]]:
            tutor.act(observation)
        return tutor._memory[0].clone()

    straight = memory(observations[0])
    tutor.act(observations[2])  # leave something behind
    assert torch.equal(memory(observations[0]), straight)
    # A different first observation is still felt after the lesson boundary.
    other = observations[0]._replace(action=actions, response=torch.ones_like(actions))
    assert (memory(other) - straight).abs().max() > 1e-6


# -- mistakes --------------------------------------------------------------------------------------
def test_without_sb3_contrib_one_message_names_the_extra(monkeypatch):
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("tutor_agents.sb3.algorithms.importlib.import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'tutor-sim\[sb3-contrib\]'"):
        learner("sb3_recurrent_ppo")


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (SB3PPOConfig, {"n_trials": 10}, "multiple of `minibatches` .* got 10 and 4"),
        (SB3PPOConfig, {"n_trials": 4}, "at least twice as many, got 4 and 4"),
        (SB3RecurrentPPOConfig, {"n_trials": 10}, "multiple of `minibatches`"),
        (SB3DQNConfig, {"buffer_size": 31}, "`buffer_size` must be at least `n_trials`, got 31"),
        (SB3DQNConfig, {"target_update_interval": 5}, "`target_update_interval` must be at least"),
        (SB3A2CConfig, {"clip": 0.1}, "Extra inputs"),
    ],
)
def test_mistakes_in_the_settings_are_named(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


# -- learning --------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("sb3_ppo", {"total_steps": 20_000, "n_trials": 64}),
        ("sb3_a2c", {"total_steps": 40_000, "n_trials": 64, "learning_rate": 5e-3}),
        ("sb3_dqn", {"total_steps": 8_000, "buffer_size": 8_000, "learning_starts": 500}),
    ],
)
def test_where_one_plan_is_best_it_is_learned(algorithm, settings):
    """One type: always the modality with p = 0.7, so 6 * 0.7 = 4.2 events of 6."""
    population = bandit([[0.3, 0.7, 0.2]], n_units=6)
    task = TeachingTask(n_steps=6, reward=Reward(scale=6))
    run = SB3Learner(CONFIGS[algorithm](**settings), population, task)
    for _ in range(run.n_updates):
        run.update()
    score, actions = taught(run.tutor(), population, task, 20_000)
    assert (actions == 1).all()
    assert score == pytest.approx(4.2, abs=0.04)  # 5 standard errors: 5 * sqrt(6 * 0.21 / 20 000)


def test_the_best_memoryless_value_is_what_a_search_over_all_rules_finds():
    """Two steps by hand: first 0.5; then stay if right, else shift.

    P(right) is 0.66 with the good modality and 0.34 with the other. After a right answer the taken
    modality is the good one with probability 0.66, so staying is worth 0.66 * 0.9 + 0.34 * 0.1; by
    symmetry so is shifting after a wrong one: 0.5 + 0.628.
    """
    assert best_memoryless_value(2) == pytest.approx(0.5 + 0.628)


def best_memoryless_value(n_steps: int) -> float:
    """Best expected number of events by a rule from (time, last action, last answer) to an action.

    Each (time, situation) is met at most once in a trial, so the value is linear in what is done
    there, and no random rule is better. All deterministic rules are tried; of those that lead to
    the same joint distribution of type and action, only the best can matter for what follows.
    """
    p = np.array([[0.9, 0.1], [0.1, 0.9]])  # (type, action)
    right = 0.7 * p + 0.3 * (1 - p)
    values, actions = 0.5 * p.sum(0), 0.5 * np.stack([np.eye(2)[[a, a]] for a in (0, 1)])
    for _ in range(1, n_steps):
        # P(type, last action, answer wrong or right) for every rule so far
        situations = np.stack([actions * (1 - right), actions * right], axis=-1)
        rules = [np.array(rule).reshape(2, 2) for rule in itertools.product((0, 1), repeat=4)]
        taken = np.concatenate(
            [np.einsum("rkal,alb->rkb", situations, np.eye(2)[rule]) for rule in rules]
        )
        values = np.tile(values, len(rules)) + (taken * p).sum((1, 2))
        key = np.round(taken[:, :, 0], 10)
        order = np.lexsort((-values, key[:, 1], key[:, 0]))
        first = np.r_[True, (np.diff(key[order], axis=0) != 0).any(1)]
        values, actions = values[order][first], taken[order][first]
    best: float = values.max()
    return best


@pytest.mark.slow
@needs_contrib
def test_recurrent_ppo_beats_every_memoryless_tutor_of_the_two_type_bandit():
    """T = 8: without memory 5.06 at most; the Bayes optimum is 5.33."""
    n_steps = 8
    population = bandit([[0.9, 0.1], [0.1, 0.9]], n_units=n_steps, p_slip=0.3, p_guess=0.3)
    task = TeachingTask(n_steps=n_steps, reward=Reward(scale=n_steps))
    memoryless = best_memoryless_value(n_steps)
    assert memoryless == pytest.approx(5.0604, abs=1e-4)
    config = SB3RecurrentPPOConfig(total_steps=100_000, hidden_size=32, gae_lambda=0.3)
    run = SB3Learner(config, population, task)
    for _ in range(run.n_updates):
        run.update()
    score, _ = taught(run.tutor(), population, task, 40_000)
    assert score > memoryless + 0.5 * (5.3282 - memoryless)
