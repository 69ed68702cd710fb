"""Our vector environment behind Stable-Baselines3's `VecEnv`: every array, at every step."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecMonitor,
    VecNormalize,
)

from tutor_agents.sb3 import NativeVecEnv
from tutor_envs import TutoringEnv, TutoringVectorEnv
from tutor_envs.classroom import Classroom

LOCKED = {
    "name": "locked",
    "student": "bkt",
    "model": {"n_skills": 3, "prerequisites": {1: [0], 2: [1]}, "unlock_after": 1},
    "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}},
}
LEAVERS = {
    "name": "leavers",
    "student": "bkt",
    "model": {"n_skills": 1, "modalities": ["text"]},
    "components": {"dropout": {}},
    "latents": {"dropout_tendency": 60.0},
}
SHORT = {"n_lessons": 2, "n_steps": 3, "show_score": True, "reward": {"when": "step"}}
MODES = ["NextStep", "SameStep", "Disabled"]
N, T = 5, 6


def native(mode: str = "NextStep", n: int = N, **changes: Any) -> TutoringVectorEnv:
    return TutoringVectorEnv(
        n, **({"population": LOCKED, "task": SHORT, "autoreset_mode": mode} | changes)
    )


def random_actions(n_steps: int, n_actions: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(0).integers(n_actions, size=(n_steps, n))


@pytest.mark.parametrize("mode", MODES)
def test_every_array_of_three_trials_is_that_of_the_native_environment(mode):
    ours, plain = NativeVecEnv(native(mode)), native("Disabled")
    ours.seed(7)
    np.testing.assert_array_equal(ours.reset(), plain.reset(seed=7)[0])
    returns = np.zeros(N)
    for t, actions in enumerate(random_actions(3 * T, plain.single_action_space.n)):
        observations, rewards, dones, infos = ours.step(actions)
        expected, paid, terminations, truncations, _ = plain.step(actions)
        assert not truncations.any()
        assert (dones == terminations).all()
        assert dones.all() == (t % T == T - 1) == dones.any()
        assert (rewards == paid.astype(np.float32)).all()
        assert (observations.dtype, rewards.dtype, dones.dtype) == (np.float32, np.float32, bool)
        returns += paid
        if not dones[0]:
            assert infos == [{}] * N
        else:
            last = np.stack([info["terminal_observation"] for info in infos])
            np.testing.assert_array_equal(last, expected)
            assert [info["TimeLimit.truncated"] for info in infos] == [False] * N
            assert [info["episode"] for info in infos] == [{"r": r, "l": T} for r in returns]
            expected, returns = plain.reset()[0], np.zeros(N)
        np.testing.assert_array_equal(observations, expected)


@pytest.mark.parametrize("mode", MODES)
def test_after_a_trial_come_new_students(mode):
    envs = NativeVecEnv(native(mode))
    envs.seed(0)
    envs.reset()
    abilities = []
    for actions in random_actions(2 * T, 3):
        abilities.append(envs.students.truth.latents["ability"].numpy().copy())
        envs.step(actions)
    for trial in (abilities[:T], abilities[T:]):
        assert all((each == trial[0]).all() for each in trial)
    assert len(np.unique(np.concatenate([abilities[0], abilities[T]]))) == 2 * N


def test_it_steps_as_sb3s_own_vector_of_single_environments():
    """One trial; who comes next differs, for there every environment has a queue of its own."""
    ours = NativeVecEnv(native())
    theirs = DummyVecEnv([lambda: TutoringEnv(population=LOCKED, task=SHORT)] * N)
    ours.seed(3)
    theirs._seeds = [3] * N
    theirs.set_options([{"students": [i]} for i in range(N)])
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for actions in random_actions(T, ours.action_space.n):
        one, other = ours.step(actions), theirs.step(actions)
        for array, expected in zip(one[1:3], other[1:3], strict=True):
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)
        if not one[2].any():
            np.testing.assert_array_equal(one[0], other[0])
    for info, expected in zip(one[3], other[3], strict=True):
        assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
        np.testing.assert_array_equal(
            info["terminal_observation"], expected["terminal_observation"]
        )


def test_a_step_is_one_step_of_a_classroom_whatever_the_number_of_students(monkeypatch):
    steps = []
    original = Classroom.step

    def counted(self, action):
        steps.append(len(action))
        return original(self, action)

    monkeypatch.setattr(Classroom, "step", counted)
    n = 10_000
    envs = NativeVecEnv(native(n=n))
    envs.reset()
    for t in range(1, T + 1):
        observations, rewards, dones, infos = envs.step(np.zeros(n, dtype=np.int64))
        assert steps == [n] * t
        assert observations.shape == (n, *envs.observation_space.shape)
        assert len(rewards) == len(dones) == len(infos) == n


def test_trials_that_everybody_leaves_end_early_and_the_next_begin():
    envs = NativeVecEnv(native(population=LEAVERS))
    envs.seed(0)
    first = envs.reset()
    observations, _, dones, infos = envs.step(np.zeros(N, dtype=np.int64))
    assert dones.all()
    assert [info["episode"]["l"] for info in infos] == [1] * N
    assert infos[0]["terminal_observation"][envs.students.layout.trial_start] == 0
    np.testing.assert_array_equal(observations, first)  # nothing is seen of a student yet


# -- SB3's interface -------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_students_and_none_gives_others():
    def abilities(seed: int | None) -> list[float]:
        envs = NativeVecEnv(native())
        seeds = envs.seed(seed)
        assert len(seeds) == N
        assert set(seeds) == {seeds[0]}
        envs.reset()
        first: list[float] = envs.students.truth.latents["ability"].tolist()
        envs.reset()  # the seed was for one reset only
        assert first != envs.students.truth.latents["ability"].tolist()
        return first

    assert abilities(4) == abilities(4)
    assert abilities(4) != abilities(5)
    assert abilities(None) != abilities(None)


def test_options_are_for_the_next_reset():
    envs = NativeVecEnv(native())
    envs.seed(0)
    envs.reset()
    first = envs.students.truth.latents["ability"].tolist()
    envs.reset()
    envs.set_options({"students": list(range(N))})
    envs.reset()
    assert envs.students.truth.latents["ability"].tolist() == first
    envs.reset()
    assert envs.students.truth.latents["ability"].tolist() != first
    with pytest.raises(ValueError, match="`options` must be one dict"):
        envs.set_options([{}] * N)


def test_attributes_and_methods():
    envs = NativeVecEnv(native(render_mode="rgb_array", n=2))
    envs.reset()
    assert envs.get_attr("render_mode") == ["rgb_array"] * 2
    assert envs.get_attr("observation_space") == [envs.observation_space] * 2
    assert envs.get_attr("num_envs", indices=1) == [2]
    assert envs.has_attr("action_masks")
    assert not envs.has_attr("no_such_thing")
    envs.set_attr("mood", "good")
    assert envs.get_attr("mood", indices=[0]) == ["good"]
    with pytest.raises(ValueError, match="`indices` must select all students"):
        envs.set_attr("mood", "bad", indices=[1])
    masks = envs.env_method("action_masks", indices=[1])
    np.testing.assert_array_equal(masks, envs.students.action_masks()[1:])
    assert envs.env_is_wrapped(Monitor) == [False, False]
    images = envs.get_images()
    assert len(images) == 2
    assert all(image.dtype == np.uint8 for image in images)
    assert envs.render().ndim == 3  # both in one picture
    assert NativeVecEnv(native(n=2)).get_images() == [None, None]
    envs.close()


def test_another_environment_is_refused():
    for other in (gymnasium.make_vec("CartPole-v1"), gymnasium.make("CartPole-v1")):
        with pytest.raises(ValueError, match="`students` must be a TutoringVectorEnv"):
            NativeVecEnv(other)


# -- in the hands of SB3 ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (PPO, {"n_steps": T, "batch_size": 10}),
        (A2C, {"n_steps": 4}),
        (DQN, {"learning_starts": 10, "buffer_size": 100}),
    ],
)
def test_sb3_trains_on_it_and_logs_its_trials(algorithm, settings):
    model = algorithm("MlpPolicy", NativeVecEnv(native()), seed=0, device="cpu", **settings)
    model.learn(4 * T * N)
    assert len(model.ep_info_buffer) >= 4 * N
    assert {trial["l"] for trial in model.ep_info_buffer} == {T}
    mean, _ = evaluate_policy(model, VecMonitor(NativeVecEnv(native())), n_eval_episodes=2 * N)
    assert 0 <= mean <= 2  # two post-test scores


def test_sb3s_wrappers_fit():
    plain, wrapped = NativeVecEnv(native()), VecMonitor(NativeVecEnv(native()))
    wrapped = VecCheckNan(VecNormalize(wrapped), raise_exception=True)
    plain.seed(0)
    wrapped.seed(0)
    plain.reset()
    wrapped.reset()
    for actions in random_actions(T, 3):
        *_, expected = plain.step(actions)
        *_, infos = wrapped.step(actions)
    for info, plain_info in zip(infos, expected, strict=True):
        assert info["episode"]["r"] == pytest.approx(plain_info["episode"]["r"], abs=1e-5)
        assert info["episode"]["l"] == T


def test_sb3_contribs_maskable_ppo_takes_legal_actions_only(monkeypatch):
    contrib = pytest.importorskip("sb3_contrib")
    envs = NativeVecEnv(native())
    original, n_illegal_possible = envs.students.step, []

    def checked(actions):
        masks = envs.students.action_masks()
        assert masks[np.arange(N), actions].all()
        n_illegal_possible.append((~masks).sum())
        return original(actions)

    monkeypatch.setattr(envs.students, "step", checked)
    contrib.MaskablePPO("MlpPolicy", envs, n_steps=T, batch_size=10, seed=0, device="cpu").learn(
        2 * T * N
    )
    assert sum(n_illegal_possible) > 0
