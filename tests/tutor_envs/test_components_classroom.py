"""Leaving, costs and time in the classroom and in both Gymnasium faces."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from small_students import EVERYTHING
from tutor_envs import TutoringEnv, TutoringVectorEnv
from tutor_envs.classroom import Classroom
from tutor_envs.observation import observation_layout, observation_space, observation_vector
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

KNOWS_ALL = {"p_init": 1.0, "p_slip": 0.0, "p_guess": 0.0, "p_learn": 0.0}
LEARNS = {"p_init": 0.0, "p_slip": 0.0, "p_guess": 0.0, "p_learn": 1.0}
NEVER, AT_ONCE = -60.0, 60.0
SOME_LEAVE = {
    "stays": {"weight": 1, "latents": {"dropout_tendency": NEVER}},
    "leaves": {"weight": 1, "latents": {"dropout_tendency": AT_ONCE}},
}


def population(components: dict[str, Any], **changes: Any) -> dict[str, Any]:
    model = {"n_skills": 1, "modalities": ["text"]}
    return {
        "name": "class",
        "student": "bkt",
        "model": model,
        "components": components,
    } | changes


def room(content: dict[str, Any], **task: Any) -> Classroom:
    return Classroom(
        Population.model_validate(content), TeachingTask.model_validate(task), dtype=torch.float64
    )


def run(classroom: Classroom, n: int, action: int = 0) -> torch.Tensor:
    """Rewards ``(T, n)`` of a trial of one action."""
    classroom.begin_trial(torch.arange(n))
    steps = classroom.task.n_trial_steps
    return torch.stack([classroom.step(torch.full((n,), action)).reward for _ in range(steps)])


# -- leaving ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("when", ["step", "end"])
def test_a_lesson_scores_what_was_known_on_leaving_and_later_ones_nothing(when):
    n, steps = 300, 4
    classroom = room(
        population({"dropout": {"hazard": 0.15, "per_wrong": 0}}, latents=LEARNS),
        n_lessons=2,
        n_steps=steps,
        reward={"when": when},
    )
    classroom.begin_trial(torch.arange(n))
    reward, present, left_at = [], [], torch.full((n,), 99)
    for t in range(2 * steps):
        outcome = classroom.step(torch.zeros(n, dtype=torch.int64))
        now = outcome.observation.present
        left_at = torch.where(~now & (left_at == 99), t, left_at)
        reward.append(outcome.reward)
        present.append(now)
    # the first practice of a lesson teaches all there is; who leaves before it knows nothing
    expected = (left_at > 0).double() + (left_at > steps)
    torch.testing.assert_close(torch.stack(reward).sum(0), expected)
    assert 10 < (left_at == 0).sum() < (left_at < 99).sum() < n
    for t, (now, paid) in enumerate(zip(present, reward, strict=True)):
        assert (paid[left_at < t] == 0).all()
        assert torch.equal(now, left_at > t)


def test_nothing_reaches_who_has_left():
    classroom = room(population({"dropout": {}, "response_time": {}}, types=SOME_LEAVE), n_steps=3)
    classroom.begin_trial(torch.arange(64))
    leaves = classroom.truth.latents["type"] == 1
    zeros = torch.zeros(64, dtype=torch.int64)
    first = classroom.step(zeros)
    assert torch.equal(first.observation.present, ~leaves)
    assert (first.observation.response[leaves] == 2).all()  # "left"
    assert first.observation.signals[leaves].abs().max() == 0
    second = classroom.step(zeros)
    assert (second.observation.response[leaves] == 3).all()  # no response
    assert (second.observation.response[~leaves] < 2).all()
    assert second.observation.signals[leaves].abs().max() == 0
    assert all(
        torch.equal(v[leaves], first.truth.state[k][leaves]) for k, v in second.truth.state.items()
    )


def test_mean_recall_pays_the_steps_that_were_attended():
    # knows all: each attended step of 4 pays 1/4
    classroom = room(
        population({"dropout": {"hazard": 0.2}}, latents=KNOWS_ALL),
        n_steps=4,
        reward={"score": "mean_recall", "when": "step"},
    )
    rewards = run(classroom, 200)
    classroom.begin_trial(torch.arange(200))
    there = torch.ones(200, dtype=torch.bool)
    for paid in rewards:
        torch.testing.assert_close(paid, there.double() / 4)
        there = classroom.step(torch.zeros(200, dtype=torch.int64)).observation.present


def test_time_to_mastery_is_refused_where_leaving_would_be_best():
    classroom = room(population({"dropout": {}}), reward={"score": "time_to_mastery"})
    with pytest.raises(ValueError, match=r"`task\.reward\.score` must not be 'time_to_mastery'"):
        classroom.begin_trial(torch.arange(2))


# -- costs and time --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "reward", [{"when": "end"}, {"when": "step"}, {"when": "step", "expected": True}]
)
def test_costs_are_taken_off_reward_and_score(reward):
    content = population(
        {
            "activities": {"practice": {"learn_novice": 1}, "quiz": {}},
            "costs": {"quiz": 0.25},
            "schedule": {"budget_s": 100.0},
        },
        student="pfa",
    )
    free = content | {"components": content["components"] | {"costs": {}}}
    dear, cheap = (
        run(room(c, n_steps=5, show_score=True, reward=reward), 3, action=1)
        for c in (content, free)
    )
    # four actions of 30 s begin before 100 s are over; the fifth reaches nobody and costs nothing
    torch.testing.assert_close(cheap.sum(0) - dear.sum(0), torch.full((3,), 1.0).double())


def test_costs_are_in_the_score_that_is_shown():
    content = population({"costs": {"practice": 0.1}}, latents=KNOWS_ALL)
    classroom = room(content, n_steps=2, show_score=True)
    classroom.begin_trial(torch.arange(1))
    classroom.step(torch.tensor([0]))
    outcome = classroom.step(torch.tensor([0]))
    assert outcome.observation.score.item() == pytest.approx(0.8)


def test_a_lesson_is_over_when_its_time_is_used_up_and_the_next_begins_afresh():
    content = population({"schedule": {"budget_s": 70.0}}, latents=KNOWS_ALL)
    classroom = room(content, n_lessons=2, n_steps=5)
    classroom.begin_trial(torch.arange(1))
    responses = [classroom.step(torch.tensor([0])).observation.response.item() for _ in range(10)]
    # practice takes 30 s: at 0, 30 and 60 s there is time left; 2: no response
    assert responses == [1, 1, 1, 2, 2] * 2


def test_a_budget_does_not_leave_tutors_without_a_legal_action():
    content = population(
        {"schedule": {"budget_s": 20.0}, "prerequisites": {"requires": {"skill_1": ["skill_0"]}}},
        model={"n_skills": 2, "modalities": ["text"]},
    )
    classroom = room(content, n_steps=3)
    assert classroom.begin_trial(torch.arange(2)).legal.tolist() == [[True, False]] * 2
    outcome = classroom.step(torch.zeros(2, dtype=torch.int64))
    assert outcome.observation.legal.all()


def test_expected_rewards_need_an_expected_gain():
    content = population({"schedule": {"steps_per_session": 2}})
    with pytest.raises(ValueError, match=r"`task\.reward\.expected` must be false"):
        room(content, reward={"when": "step", "expected": True})


# -- what Gymnasium sees ---------------------------------------------------------------------------
def test_signals_are_a_slice_of_the_vector_within_its_bounds():
    content = population({"response_time": {"log_mean": 50.0, "log_sd": 0.0}})
    classroom = room(content, n_steps=2)
    layout = observation_layout(classroom.model, classroom.task)
    space = observation_space(layout)
    assert (space.low[layout.signals], space.high[layout.signals]) == (-10, 10)
    first = classroom.begin_trial(torch.arange(3))
    second = classroom.step(torch.zeros(3, dtype=torch.int64)).observation
    for seen, value in ((first, 0.0), (second, 10.0)):
        vectors = observation_vector(seen, layout, classroom.task).numpy()
        assert (vectors[:, layout.signals] == value).all()
        assert all(vector in space for vector in vectors)


def test_the_checkers_pass_with_every_component():
    content = population(EVERYTHING, model={"n_skills": 2})
    env = TutoringEnv(population=content, task={"n_lessons": 2, "n_steps": 6})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        sb3_check_env(env, warn=True)


def test_one_student_who_leaves_terminates_the_episode():
    env = TutoringEnv(
        population=population({"dropout": {}}, latents=KNOWS_ALL | {"dropout_tendency": AT_ONCE}),
        task={"n_lessons": 2, "n_steps": 3},
        render_mode="ansi",
    )
    _, info = env.reset(seed=0)
    assert info == {"present": True}
    observation, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated, info) == (1.0, True, False, {"present": False})
    assert observation[env.layout.response].tolist() == [0, 0, 1]
    assert "· left" in env.render()
    with pytest.raises(ResetNeeded):
        env.step(0)
    _, info = env.reset()
    assert info == {"present": True}


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_many_students_end_together_and_leavers_idle(mode):
    n = 16
    envs = TutoringVectorEnv(
        n,
        population=population({"dropout": {}}, latents=KNOWS_ALL, types=SOME_LEAVE),
        task={"n_lessons": 2, "n_steps": 2, "reward": {"when": "step"}},
        autoreset_mode=mode,
    )
    _, infos = envs.reset(seed=0)
    assert infos["present"].all()
    leaves = envs.truth.latents["type"].numpy() == 1
    assert 0 < leaves.sum() < n
    for t in range(4):
        _, rewards, terminations, truncations, infos = envs.step(np.zeros(n, dtype=np.int64))
        assert not truncations.any()
        assert (terminations == (t == 3)).all()
        # the post-test score 1 is paid with the first action of a lesson; leavers had it once
        assert (rewards[leaves] == (t == 0)).all()
        assert (rewards[~leaves] == (t in (0, 2))).all()
        if t < 3:
            assert (infos["present"] == ~leaves).all()
    if mode == "SameStep":
        assert infos["present"].all()
        infos = infos["final_info"]
    assert (infos["present"] == ~leaves).all()


def test_the_trials_end_early_when_everybody_has_left():
    envs = TutoringVectorEnv(
        3,
        population=population({"dropout": {}}, latents={"dropout_tendency": AT_ONCE}),
        task={"n_lessons": 2, "n_steps": 4},
    )
    envs.reset(seed=0)
    _, _, terminations, _, infos = envs.step(np.zeros(3, dtype=np.int64))
    assert terminations.all()
    assert not infos["present"].any()
    _, rewards, terminations, _, infos = envs.step(np.zeros(3, dtype=np.int64))
    assert infos["present"].all()
    assert not terminations.any()
    assert not rewards.any()


def test_one_and_many_see_the_same_student():
    content = population(EVERYTHING, model={"n_skills": 2})
    task = {"n_lessons": 2, "n_steps": 6}
    one = TutoringEnv(population=content, task=task)
    many = TutoringVectorEnv(4, population=content, task=task)
    observation, _ = one.reset(seed=5, options={"students": [2]})
    observations, _ = many.reset(seed=5)
    actions, ended, t = [0, 4, 2, 5, 1, 3], False, 0
    while not ended:
        assert np.array_equal(observation, observations[2])
        action = actions[t % 6]
        observation, reward, ended, _, info = one.step(np.int64(action))
        observations, rewards, _, _, infos = many.step(np.full(4, action))
        assert reward == rewards[2]
        assert info["present"] == infos["present"][2]
        t += 1
