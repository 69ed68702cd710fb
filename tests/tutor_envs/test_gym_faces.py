"""`gymnasium.make` and `gymnasium.make_vec`: one student or many, the same draws."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import tutor_envs
from tutor_envs import ENVIRONMENTS, Population, Split, TutoringEnv, TutoringVectorEnv

every_id = pytest.mark.parametrize("env_id", ENVIRONMENTS)
LOCKED = {
    "name": "locked",
    "student": "bkt",
    "model": {"n_skills": 3, "modalities": ["a"], "prerequisites": {1: [0]}, "unlock_after": 1},
    "latents": {"p_guess": 1.0, "p_slip": 0.0},
}
SHORT = {"n_lessons": 2, "n_steps": 4, "reward": {"when": "step"}}


# -- registration ----------------------------------------------------------------------------------
@every_id
def test_an_id_names_both_entry_points(env_id):
    spec = gymnasium.spec(env_id)
    assert spec.entry_point == "tutor_envs.gym_env:TutoringEnv"
    assert spec.vector_entry_point == "tutor_envs.vector_env:TutoringVectorEnv"
    assert spec.max_episode_steps is None  # the budget is the environment's own
    assert isinstance(gymnasium.make(env_id).unwrapped, TutoringEnv)
    vector = gymnasium.make_vec(env_id, num_envs=2)
    assert isinstance(vector.unwrapped, TutoringVectorEnv)


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_ids_exist_after_an_import_that_is_cheap():
    code = (
        "import sys, tutor_envs, gymnasium;"
        "assert 'tutor_sim/BKT-v0' in gymnasium.registry;"
        "print(sorted({'torch', 'matplotlib', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    assert run_python(code).strip() == "[]"


def test_make_can_import_the_module_itself():
    code = "import gymnasium; print(gymnasium.make('tutor_envs:tutor_sim/BKT-v0').spec.id)"
    assert run_python(code).strip() == "tutor_sim/BKT-v0"


def test_every_public_name_can_be_imported():
    assert all(getattr(tutor_envs, name) is not None for name in tutor_envs.__all__)
    assert set(tutor_envs.__all__) <= set(dir(tutor_envs))
    with pytest.raises(AttributeError, match="has no attribute 'Tutor'"):
        tutor_envs.Tutor  # noqa: B018


@every_id
def test_a_spec_can_be_written_and_read(env_id):
    env = gymnasium.make(env_id, task=SHORT, split="test")
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    observations = [each.reset(seed=3)[0] for each in (env, again)]
    np.testing.assert_array_equal(*observations)


# -- contracts of others ---------------------------------------------------------------------------
@every_id
def test_gymnasiums_checker_passes_without_a_warning(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(env_id, task=SHORT).unwrapped)


@every_id
def test_stable_baselines_checker_passes_without_a_warning(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check_env(gymnasium.make(env_id, task=SHORT), warn=True)


def test_the_checkers_pass_where_actions_are_masked():
    env = TutoringEnv(population=LOCKED, task=SHORT | {"show_score": True})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        sb3_check_env(env, warn=True)


# -- one and many agree ----------------------------------------------------------------------------
def play(env, actions, **reset):
    """One trial: lists of observations, rewards and ends."""
    observation, _ = env.reset(**reset)
    observations, rewards, ends = [observation], [], []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        assert not np.any(truncated)
        observations.append(observation)
        rewards.append(reward)
        ends.append(terminated)
    return np.array(observations), np.array(rewards), np.array(ends)


@every_id
def test_make_and_make_vec_agree_draw_for_draw(env_id):
    one = gymnasium.make(env_id)
    many = gymnasium.make_vec(env_id, num_envs=5)
    n_steps = 45  # three lessons of 15
    actions = np.random.default_rng(0).integers(many.single_action_space.n, size=(n_steps, 5))
    students = [7, 3, 2**31 + 5, 2**32 - 1, 0]
    options = {"students": students, "trial": 2}
    together = play(many, actions, seed=11, options=options)
    for i, student in enumerate(students):
        options = {"students": [student], "trial": 2}
        alone = play(one, actions[:, i], seed=11, options=options)
        np.testing.assert_array_equal(alone[0], together[0][:, i])
        np.testing.assert_allclose(alone[1], together[1][:, i], atol=1e-6)
        np.testing.assert_array_equal(alone[2], together[2][:, i])
    assert together[2].tolist() == [[False] * 5] * (n_steps - 1) + [[True] * 5]


def test_each_seat_takes_the_next_student_of_the_split():
    env = TutoringVectorEnv(
        3, population=LOCKED | {"latents": {"ability": {"normal": {}}}}, split="test"
    )
    population = Population.model_validate(LOCKED | {"latents": {"ability": {"normal": {}}}})
    everyone = population.sample(5, tutor_envs.student_indices(Split.TEST, 9))["ability"]
    for trial in range(3):
        env.reset(seed=5 if trial == 0 else None)
        np.testing.assert_array_equal(env.truth.latents["ability"], everyone[3 * trial :][:3])
    env.reset(options={"students": [1, 2, 3]})  # leaves the queue where it is
    env.reset(seed=5)
    np.testing.assert_array_equal(env.truth.latents["ability"], everyone[:3])


def test_splits_and_seeds_meet_different_students():
    def abilities(**kwargs):
        env = TutoringVectorEnv(50, student="bkt", **kwargs)
        env.reset()
        return set(env.truth.latents["ability"].tolist())

    groups = [abilities(split=split, seed=0) for split in ("train", "validation", "test")]
    groups.append(abilities(split="train", seed=1))
    assert len(set.union(*groups)) == 200
    assert abilities(seed=0) == groups[0]


def test_without_a_seed_two_environments_differ():
    envs = [TutoringEnv(student="bkt") for _ in range(2)]
    for env in envs:
        env.reset()
    one, other = (env.truth.latents["ability"].item() for env in envs)
    assert one != other


def test_copies_in_gymnasiums_own_vector_meet_different_students():
    envs = gymnasium.make_vec("tutor_sim/BKT-v0", num_envs=4, vectorization_mode="sync")
    envs.reset(seed=0)
    abilities = {truth.latents["ability"].item() for truth in envs.get_attr("truth")}
    assert len(abilities) == 4


@every_id
def test_the_truth_is_never_in_the_info(env_id):
    env = gymnasium.make(env_id, task=SHORT)
    _, info = env.reset(seed=0)
    infos = [info, *(env.step(0)[4] for _ in range(8))]
    assert infos == [{}] * 9
    assert env.unwrapped.truth.mastery.shape[0] == 1


# -- populations and tasks -------------------------------------------------------------------------
def test_a_population_comes_as_object_mapping_or_file(tmp_path):
    path = tmp_path / "class.yaml"
    path.write_text(json.dumps(LOCKED), encoding="utf-8")  # JSON is YAML
    for population in (Population.model_validate(LOCKED), LOCKED, str(path), path):
        env = gymnasium.make("tutor_sim/BKT-v0", population=population)
        assert env.action_space.n == 3


def test_a_variant_is_taught_by_name():
    env = gymnasium.make("tutor_sim/Memory-v0", variant="no_style")
    env.reset(seed=0)
    assert env.unwrapped.truth.latents["style_strength"].item() == 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"population": LOCKED | {"student": "irt", "model": {}, "latents": {}}}, "must be 'bkt'"),
        ({"population": LOCKED | {"name": 3}}, "name"),
        ({"variant": "hardr"}, "unknown `variant` 'hardr'.*did you mean 'harder'"),
        ({"split": "tests"}, "unknown `split` 'tests'.*did you mean 'test'"),
        ({"task": {"n_step": 3}}, "n_step"),
        ({"seed": -1}, r"`seed` must be in \[0, 2\*\*64\), got -1"),
    ],
)
def test_mistakes_in_arguments_are_named(kwargs, message):
    for cls in (TutoringEnv, TutoringVectorEnv):
        with pytest.raises(ValueError, match=message):
            cls(student="bkt", **kwargs)


def test_more_mistakes_in_arguments_are_named():
    with pytest.raises(ValueError, match="`population` must be given where no `student` is"):
        TutoringEnv()
    with pytest.raises(ValueError, match="unknown `render_mode` 'human'; allowed: ansi, rgb_array"):
        TutoringEnv(student="bkt", render_mode="human")
    with pytest.raises(ValueError, match="`num_envs` must be >= 1, got 0"):
        TutoringVectorEnv(0, student="bkt")
    with pytest.raises(FileNotFoundError):
        TutoringEnv(population="no/such/file.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student": [1]}, "unknown `options` 'student'.*did you mean 'students'"),
        ({"students": [1, 2]}, "`options.students` must be 1 integers"),
        ({"students": [0.5]}, "`options.students` must be 1 integers"),
        ({"students": [-1]}, r"`options.students` must be in \[0, 2\*\*32\)"),
        ({"students": [2**32]}, r"`options.students` must be in \[0, 2\*\*32\)"),
        ({"trial": -1}, r"`options.trial` must be in \[0, 2\*\*32\), got -1"),
    ],
)
def test_mistakes_in_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TutoringEnv(student="bkt").reset(options=options)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (12, r"`action` must be in \[0, 11\], got \[12\]"),
        (-1, r"`action` must be in \[0, 11\], got \[-1\]"),
        (0.5, r"`action` must be 1 integers, got \[0.5\]"),
    ],
)
def test_mistakes_in_actions_are_named(action, message):
    env = TutoringEnv(student="bkt")
    env.reset()
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_nothing_works_before_the_first_reset_nor_after_the_end():
    env = TutoringEnv(student="bkt", task={"n_steps": 1}, render_mode="ansi")
    for use in (lambda: env.step(0), lambda: env.truth, env.render):
        with pytest.raises(ResetNeeded):
            use()
    env.reset()
    assert env.step(0)[2]
    with pytest.raises(ResetNeeded, match="no trial is running"):
        env.step(0)


# -- masks -----------------------------------------------------------------------------------------
def test_masks_are_exposed_where_actions_can_be_illegal():
    env = gymnasium.make("tutor_sim/BKT-v0", population=LOCKED, task=SHORT)
    _, info = env.reset(seed=0)
    assert info["action_mask"].dtype == np.int8
    assert info["action_mask"].tolist() == [1, 0, 1]
    assert env.unwrapped.action_masks().tolist() == [True, False, True]
    # gymnasium's own convention: sample among the allowed
    assert {env.action_space.sample(info["action_mask"]) for _ in range(50)} == {0, 2}
    observation, _, _, _, info = env.step(1)
    assert observation[env.unwrapped.layout.valid] == 0
    _, _, _, _, info = env.step(0)  # always right, for p_guess is 1
    assert info["action_mask"].tolist() == [1, 1, 1]
    assert env.unwrapped.action_masks().dtype == np.bool_


def test_masks_of_a_batch_follow_gymnasiums_convention_for_infos():
    native = TutoringVectorEnv(2, population=LOCKED, task=SHORT)
    loop = gymnasium.vector.SyncVectorEnv([lambda: TutoringEnv(population=LOCKED, task=SHORT)] * 2)
    for envs in (native, loop):
        _, infos = envs.reset(seed=0)
        steps = [infos, *(envs.step(np.array(action))[4] for action in ((0, 1), (1, 2)))]
        masks = [infos["action_mask"].tolist() for infos in steps]
        assert masks == [[[1, 0, 1]] * 2, [[1, 1, 1], [1, 0, 1]], [[1, 1, 1], [1, 0, 1]]]
        assert all(infos["_action_mask"].tolist() == [True, True] for infos in steps)
    assert native.action_masks().tolist() == [[True, True, True], [True, False, True]]


def test_where_all_actions_are_legal_the_mask_is_all_true():
    env = TutoringEnv(student="irt")
    env.reset()
    assert env.action_masks().tolist() == [True] * 18
