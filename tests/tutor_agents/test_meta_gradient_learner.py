"""The learner of meta-gradient RL: the traps of recurrent meta-RL, exactness, and learning."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from small_students import bandit, locked_bkt, score
from tutor_agents.engine.rollout import Rollout
from tutor_agents.exported import load_tutor
from tutor_agents.meta_gradient import MetaGradientConfig, MetaGradientLearner
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask

SMALL = {"n_trials": 32, "hidden_size": 16, "total_steps": 100_000}
TUNED = ("discount", "gae_lambda", "entropy_weight")


def learner(
    population: Population, task: TeachingTask, seed: int = 0, **config: object
) -> MetaGradientLearner:
    return MetaGradientLearner(MetaGradientConfig(**(SMALL | config)), population, task, seed=seed)


def in_doubles(rollout: Rollout) -> Rollout:
    floats = {
        field.name: value.double()
        for field in dataclasses.fields(rollout)
        if isinstance(value := getattr(rollout, field.name), torch.Tensor)
        and value.is_floating_point()
    }
    return dataclasses.replace(rollout, **floats)


@pytest.mark.parametrize(
    ("critic", "memory"),
    [
        ("privileged", "gru"),
        ("shared", "gru"),
        ("shared", "lstm"),
        ("shared", "min_gru"),
        ("shared", "transformer"),
        ("shared", "snail"),
    ],
)
def test_meta_gradients_through_the_memory_equal_finite_differences(critic, memory):
    population, task = locked_bkt(), TeachingTask(n_steps=3)
    run = learner(population, task, critic=critic, memory=memory, n_trials=16, discount=0.9)
    run._networks.double()
    run.meta_parameters.double()
    rollout = in_doubles(run._networks.roll_out(student_indices(Split.TRAIN, 16)))
    run._set_meta_gradient(rollout, 1.0)
    gradients = {name: raw.grad.item() for name, raw in run.meta_parameters.raw.items()}
    assert set(gradients) == set(TUNED)

    def loss(name: str, shift: float) -> float:
        raw = run.meta_parameters.raw[name].data
        raw += shift
        value = run._set_meta_gradient(rollout, 1.0)["meta/outer_loss"].item()
        raw -= shift
        return value

    for name, gradient in gradients.items():
        step = 1e-3
        by_differences = (loss(name, step) - loss(name, -step)) / (2 * step)
        assert gradient == pytest.approx(by_differences, rel=1e-4)


@pytest.mark.parametrize("critic", ["privileged", "shared"])
@pytest.mark.parametrize("population", [bandit([[0.8, 0.2], [0.2, 0.8]]), locked_bkt()])
def test_the_importance_ratio_of_the_first_minibatch_is_one(population, critic):
    run = learner(population, TeachingTask(n_lessons=2, n_steps=4, show_score=True), critic=critic)
    for _ in range(3):
        assert run.update()["train/first_ratio_error"] < 1e-5


def test_it_logs_what_it_tunes_and_moves_nothing_else():
    population, task = bandit([[0.8, 0.2], [0.2, 0.8]]), TeachingTask(n_steps=4)
    run = learner(population, task, tuned=["gae_lambda"], discount=0.9)
    first, second = run.update(), run.update()
    assert first["meta/gae_lambda"] == pytest.approx(0.9)
    assert second["meta/gae_lambda"] != first["meta/gae_lambda"]
    assert first["meta/discount"] == second["meta/discount"] == 0.9
    # An untuned entropy weight is annealed: (1 - 1 / 782 updates) of .01
    assert run.n_updates == 782
    assert second["meta/entropy_weight"] == pytest.approx(0.01 * (1 - 1 / 782))
    assert [k for k in first if k.startswith("meta/gradient")] == ["meta/gradient_gae_lambda"]


def test_the_meta_gradient_moves_eta_only_and_before_any_weight_moved():
    """PPO alone moves the weights: with a vanishing meta step they go where RL² would take them."""
    from tutor_agents.rl2 import RL2Config, RL2Learner

    population, task = locked_bkt(), TeachingTask(n_steps=5)
    run = learner(population, task, tuned=["gae_lambda"], meta_learning_rate=1e-30)
    plain = RL2Learner(RL2Config(**SMALL), population, task)
    for _ in range(2):
        run.update()
        plain.update()
    for name, weight in plain.tensors().items():
        torch.testing.assert_close(run.tensors()[name], weight, rtol=1e-4, atol=1e-6)


def test_same_seed_same_run_and_global_random_state_is_not_touched():
    population, task = locked_bkt(), TeachingTask(n_steps=5)

    def weights(seed: int) -> dict[str, torch.Tensor]:
        run = learner(population, task, seed=seed)
        for _ in range(2):
            run.update()
        return {k: v.clone() for k, v in run.tensors().items()}

    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = weights(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = weights(0), weights(1)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_restored_run_equals_the_straight_one_to_the_bit():
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    straight = learner(population, task)
    for _ in range(2):
        straight.update()
    saved = {k: v.clone() for k, v in straight.tensors().items()}, straight.counters()
    for name in TUNED:
        assert saved[0][f"meta_adam.meta.raw.{name}.step"] == 2
    resumed = learner(population, task)
    resumed.restore(*saved)
    for _ in range(3):
        logs_straight, logs_resumed = straight.update(), resumed.update()
        logs_straight.pop("perf/steps_per_s"), logs_resumed.pop("perf/steps_per_s")
        assert logs_straight == logs_resumed
    # 4 epochs of 4 minibatches in each of 5 updates
    assert straight.counters() == {"updates_done": 5, "optimizer_steps": 80} == resumed.counters()
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


@pytest.mark.parametrize("other", [{"hidden_size": 8}, {"tuned": ["discount"]}])
def test_a_checkpoint_of_another_learner_is_refused(other):
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    tensors = learner(population, task, **other).tensors()
    with pytest.raises(ValueError, match="another network"):
        learner(population, task).restore(tensors, {"updates_done": 0})


def test_a_tutor_sees_observable_signals_only():
    """Other students with other latents: with the same observations, the same actions."""
    task = TeachingTask(n_lessons=2, n_steps=3)
    run = learner(bandit([[0.8, 0.2], [0.2, 0.8]]), task)
    run.update()
    tutor, students = run.tutor(), student_indices(Split.TEST, 16)
    room = Classroom(bandit([[0.9, 0.1], [0.5, 0.5]]), task, seed=5)
    observations = [room.begin_trial(students)]
    for _ in range(5):
        observations.append(room.step(torch.zeros(16, dtype=torch.int64)).observation)

    def actions(of: torch.Tensor) -> list[torch.Tensor]:
        tutor.begin_trial(Trial(of, 0, 0))
        return [tutor.act(observation) for observation in observations]

    for one, other in zip(actions(students), actions(students + 1000), strict=True):
        assert torch.equal(one, other)
    assert len(actions(students)[0].unique()) == 1


def test_an_exported_tutor_teaches_as_the_original(tmp_path):
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    run = learner(population, task)
    run.update()
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    loaded = load_tutor(tmp_path)
    assert loaded.name == "meta_gradient"
    assert score(loaded, population, task) == score(run.tutor(), population, task)


@pytest.mark.slow
def test_it_learns_the_style_bandit_from_a_poor_lambda_and_lowers_it():
    """Two types, T = 6: only the immediate reward matters. The optimum is that of RL²'s test."""
    n_steps, best, random = 6, 3.84314, 3.0
    population = bandit([[0.8, 0.2], [0.2, 0.8]], n_units=n_steps, p_slip=0.1, p_guess=0.2)
    task = TeachingTask(n_steps=n_steps, reward=Reward(scale=n_steps))
    run = learner(
        population, task, n_trials=256, hidden_size=64, gae_lambda=0.95, total_steps=60_000
    )
    for _ in range(run.n_updates):
        logs = run.update()
    reached = score(run.tutor(), population, task, n_students=40_000)
    assert (reached - random) / (best - random) > 0.95
    assert logs["meta/gae_lambda"] < 0.93


@pytest.mark.slow
def test_it_does_not_lower_lambda_where_the_reward_comes_late():
    """The lesson's score is paid at its end, and the critic does not see the state."""
    population = bandit([[0.8, 0.2], [0.2, 0.8]], n_units=6, p_slip=0.1, p_guess=0.2)
    run = learner(
        population,
        TeachingTask(n_steps=6),
        n_trials=256,
        critic="shared",
        step_rewards=False,
        gae_lambda=0.5,
        tuned=["gae_lambda"],
        total_steps=256 * 6 * 15,
    )
    for _ in range(run.n_updates):
        logs = run.update()
    assert logs["meta/gae_lambda"] > 0.55
