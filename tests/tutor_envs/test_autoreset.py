"""Autoreset, counted: every array at every step, for each mode.

The students' own clock counts: a task of two lessons of three actions, in which everything a
student sees is predictable (answers are always right: p_guess 1, p_slip 0).
"""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tutor_envs.gym_env import TutoringEnv
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.vector_env import TutoringVectorEnv

N = 3
POPULATION = {
    "name": "clockwork",
    "student": "bkt",
    "model": {"n_skills": 2, "modalities": ["a"], "ability_on_init": 0, "ability_on_learn": 0},
    # practice always teaches, nothing is known at the start
    "latents": {
        "ability": {"normal": {}},
        "p_guess": 1.0,
        "p_slip": 0.0,
        "p_learn": 1.0,
        "p_init": 0.0,
    },
}
TASK = {"n_lessons": 2, "n_steps": 3, "reward": {"when": "end"}, "show_score": True}
# Each trial teaches skill 0 thrice, then skills 0, 1, 1: scores 1/2 and 1.
ACTIONS = [0, 0, 0, 0, 1, 1]
REWARDS = [0, 0, 0.5, 0, 0, 1]


def expected_observation(t: int) -> list[float]:
    """What a student sees after t of the trial's six actions (t = 0: at its start)."""
    action = ACTIONS[t - 1] if t else None
    ended = t == 6
    return [
        *(float(action == a) for a in range(2)),
        *(0.0, float(t > 0)),  # wrong, correct
        float(t > 0),  # correct
        float(t > 0),  # valid
        (t % 3) / 3,
        (t // 3) / 2,
        float(t % 3 == 0 and not ended),
        float(t == 0),
        {3: 0.5, 6: 1.0}.get(t, 0.0),
    ]


def check(returned, *, t, reward, ended) -> None:
    observations, rewards, terminations, truncations, infos = returned
    assert observations.dtype == np.float32
    np.testing.assert_allclose(observations, [expected_observation(t)] * N, rtol=1e-6)
    assert rewards.dtype == np.float64
    np.testing.assert_allclose(rewards, [reward] * N, rtol=1e-6)
    assert terminations.dtype == truncations.dtype == np.bool_
    assert terminations.tolist() == [ended] * N
    assert truncations.tolist() == [False] * N
    assert set(infos) <= {"final_obs", "_final_obs", "final_info", "_final_info"}


def native(mode):
    return TutoringVectorEnv(N, population=POPULATION, task=TASK, autoreset_mode=mode)


def looped(mode):
    """Gymnasium's own loop over single environments: the reference for the convention."""
    single = [lambda: TutoringEnv(population=POPULATION, task=TASK)] * N
    return SyncVectorEnv(single, autoreset_mode=mode)


both = pytest.mark.parametrize("make", [native, looped])


def act(envs, t):
    return envs.step(np.full(N, ACTIONS[t]))


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_mode_is_declared(mode):
    assert TutoringVectorEnv.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert native(mode).metadata["autoreset_mode"] is mode
    assert native(mode.value).metadata["autoreset_mode"] is mode


def test_an_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="unknown `autoreset_mode` 'SomeStep'; allowed: Disabled"):
        native("SomeStep")


@both
def test_next_step_wastes_one_step_and_loses_nothing(make):
    envs = make(AutoresetMode.NEXT_STEP)
    observations, infos = envs.reset(seed=0)
    np.testing.assert_allclose(observations, [expected_observation(0)] * N)
    assert infos == {}
    for _ in range(3):
        for t in range(6):
            returned = act(envs, t)
            check(returned, t=t + 1, reward=REWARDS[t], ended=t == 5)
            assert returned[4] == {}
        # the wasted step: its actions are ignored, even nonsense, and it pays nothing
        returned = envs.step(np.full(N, 1))
        check(returned, t=0, reward=0, ended=False)


@both
def test_same_step_hands_out_the_last_observation_beside_the_first(make):
    envs = make(AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    for _ in range(3):
        for t in range(5):
            returned = act(envs, t)
            check(returned, t=t + 1, reward=REWARDS[t], ended=False)
            assert returned[4] == {}
        returned = act(envs, 5)
        check(returned, t=0, reward=REWARDS[5], ended=True)
        infos = returned[4]
        assert infos["final_obs"].dtype == object
        np.testing.assert_allclose(np.stack(infos["final_obs"]), [expected_observation(6)] * N)
        assert infos["_final_obs"].tolist() == [True] * N
        assert infos["final_info"] == {}
        assert infos["_final_info"].tolist() == [True] * N


@both
def test_disabled_waits_for_a_reset(make):
    envs = make(AutoresetMode.DISABLED)
    envs.reset(seed=0)
    for reset in (
        lambda: envs.reset(),
        lambda: envs.reset(options={"reset_mask": np.ones(N, dtype=np.bool_)}),
        lambda: envs.reset(seed=4),
    ):
        for t in range(6):
            check(act(envs, t), t=t + 1, reward=REWARDS[t], ended=t == 5)
        with pytest.raises((ResetNeeded, AssertionError)):
            act(envs, 0)
        observations, _ = reset()
        np.testing.assert_allclose(observations, [expected_observation(0)] * N)


@pytest.mark.parametrize("mask", [[True, False, True], [True, True], [False] * 3, True])
def test_a_partial_reset_is_refused(mask):
    envs = native(AutoresetMode.DISABLED)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"`options.reset_mask` must select all students"):
        envs.reset(options={"reset_mask": np.array(mask)})


def test_the_callers_options_are_left_alone():
    options = {"reset_mask": np.ones(N, dtype=np.bool_)}
    native(AutoresetMode.DISABLED).reset(options=options)
    assert list(options) == ["reset_mask"]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_every_trial_seats_the_next_students(mode):
    envs = native(mode)
    envs.reset(seed=0)
    seen = [tuple(envs.truth.latents["ability"].tolist())]
    for _ in range(2):
        for t in range(6):
            act(envs, t)
        if mode is AutoresetMode.NEXT_STEP:
            act(envs, 0)
        seen.append(tuple(envs.truth.latents["ability"].tolist()))
    population = Population.model_validate(POPULATION)
    everyone = population.sample(0, student_indices(Split.TRAIN, 3 * N))["ability"].tolist()
    assert [ability for group in seen for ability in group] == everyone


def test_a_reset_in_the_middle_starts_anew():
    envs = native(AutoresetMode.NEXT_STEP)
    envs.reset(seed=0)
    for _ in range(2):
        for t in range(4):
            check(act(envs, t), t=t + 1, reward=REWARDS[t], ended=False)
        envs.reset()
    for t in range(6):
        act(envs, t)
    envs.reset()  # instead of the wasted step
    check(act(envs, 0), t=1, reward=0, ended=False)


def test_masks_of_the_last_and_the_first_observation_are_kept_apart():
    locked = POPULATION | {
        "model": {"n_skills": 2, "modalities": ["a"], "prerequisites": {1: [0]}, "unlock_after": 1}
    }
    envs = TutoringVectorEnv(N, population=locked, task=TASK, autoreset_mode="SameStep")
    envs.reset(seed=0)
    for t in range(6):
        *_, infos = act(envs, t)
    assert infos["action_mask"].tolist() == [[1, 0]] * N  # new students, locked
    assert infos["final_info"]["action_mask"].tolist() == [[1, 1]] * N
    assert infos["final_info"]["_action_mask"].tolist() == [True] * N
