"""The classroom: rewards add up, luck is a student's own, lesson boundaries lose nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.task import TeachingTask

SCORES = ("post_test", "mastery_gain", "mean_recall", "time_to_mastery")


def actions_for(room: Classroom, n: int, n_steps: int, seed: int = 0) -> torch.Tensor:
    luck = torch.Generator().manual_seed(seed)
    return torch.randint(room.model.n_actions, (n_steps, n), generator=luck)


def teach(room: Classroom, students: torch.Tensor, actions: torch.Tensor, trial: int = 0):
    """One trial with these actions ``(T, n)``: the first observation and every outcome."""
    first = room.begin_trial(students, trial)
    return first, [room.step(action) for action in actions]


def written(student: str = "bkt", model: dict | None = None, **latents) -> Population:
    return Population.model_validate(
        {"name": "class", "student": student, "model": model or {}, "latents": latents}
    )


# -- rewards ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("student", STUDENT_MODELS)
@pytest.mark.parametrize("score", SCORES)
def test_step_rewards_add_up_to_the_end_reward(student, score):
    population = default_population(student)
    students = student_indices(Split.TEST, 50)
    reward = {"score": score, "scale": 2.5, "mastery_threshold": 0.3}
    rewards = {}
    for when in ("step", "end"):
        task = TeachingTask(n_lessons=2, n_steps=7, reward=reward | {"when": when})
        room = Classroom(population, task, seed=1, dtype=torch.float64)
        _, outcomes = teach(room, students, actions_for(room, 50, 14))
        rewards[when] = torch.stack([outcome.reward for outcome in outcomes]).reshape(2, 7, 50)
    torch.testing.assert_close(rewards["step"].sum(1), rewards["end"][:, -1])
    assert rewards["end"][:, :-1].abs().max() == 0
    assert rewards["end"][:, -1].std() > 0


def test_each_score_by_hand():
    # p_learn 1 and p_init 0: a practised skill is mastered after its first practice, K = 2
    population = written(
        model={"n_skills": 2, "modalities": ["a"], "ability_on_init": 0}, p_init=0.0, p_learn=1.0
    )
    students = torch.arange(3)
    expected = {
        # mean mastery after each of the four actions on skills 0, 0, 1, 1: .5 .5 1 1
        "post_test": [0.5, 0, 0.5, 0],
        "mastery_gain": [0.5, 0, 0.5, 0],
        "mean_recall": [0.5 / 4, 0.5 / 4, 1 / 4, 1 / 4],
        # mastery before each: 0 .5 .5 1, so three of four steps are below .95
        "time_to_mastery": [-1 / 4, -1 / 4, -1 / 4, 0],
    }
    for score, parts in expected.items():
        task = TeachingTask(n_steps=4, reward={"score": score, "when": "step"})
        actions = torch.tensor([0, 0, 1, 1]).unsqueeze(-1).expand(4, 3)
        _, outcomes = teach(Classroom(population, task), students, actions)
        assert [outcome.reward[0].item() for outcome in outcomes] == pytest.approx(parts)


def test_expected_rewards_have_the_same_mean_and_less_noise():
    population = default_population("bkt")
    students = student_indices(Split.TEST, 20_000)
    returns = {}
    for expected in (False, True):
        reward = {"when": "step", "expected": expected}
        room = Classroom(population, TeachingTask(n_steps=6, reward=reward))
        _, outcomes = teach(room, students, actions_for(room, len(students), 6))
        returns[expected] = torch.stack([outcome.reward for outcome in outcomes]).sum(0)
    difference = returns[True] - returns[False]
    assert difference.mean().abs() < 5.3 * difference.std() / math.sqrt(len(students))
    assert returns[True].var() < returns[False].var()


def test_rewards_cannot_ask_for_what_is_not_defined():
    with pytest.raises(ValueError, match="`expected` needs `score: post_test` and `when: step`"):
        TeachingTask(reward={"expected": True})
    with pytest.raises(ValueError, match="greater than 0"):
        TeachingTask(reward={"scale": 0})
    with pytest.raises(ValueError, match=r"`task.n_steps` must be <= 15 for student model"):
        Classroom(default_population("style_bandit"), TeachingTask(n_steps=16))


# -- luck ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_alone_and_in_a_crowd_a_student_answers_alike(student):
    room = Classroom(default_population(student), TeachingTask(n_lessons=2, n_steps=8), seed=3)
    crowd = student_indices(Split.TEST, 1000)
    actions = actions_for(room, 1000, 16)
    _, together = teach(room, crowd, actions)
    responses = torch.stack([outcome.observation.response for outcome in together])
    for row in (0, 1, 499, 999):
        _, alone = teach(room, crowd[row : row + 1], actions[:, row : row + 1])
        single = torch.stack([outcome.observation.response for outcome in alone])
        assert torch.equal(single[:, 0], responses[:, row])
        torch.testing.assert_close(alone[-1].truth.post_test[0], together[-1].truth.post_test[row])
    # neither does the order matter
    _, reversed_ = teach(room, crowd.flip(0), actions.flip(1))
    flipped = torch.stack([outcome.observation.response for outcome in reversed_])
    assert torch.equal(flipped.flip(1), responses)


def test_a_students_luck_does_not_depend_on_the_tutor():
    # without learning the answer to a step depends on the luck of that step alone
    population = written(p_learn=0.0, p_init=0.0, p_guess=0.5)
    room = Classroom(population, TeachingTask(n_steps=10))
    students = student_indices(Split.TEST, 300)
    one, other = (
        torch.stack([o.observation.response for o in teach(room, students, actions)[1]])
        for actions in (actions_for(room, 300, 10, seed=1), actions_for(room, 300, 10, seed=2))
    )
    assert torch.equal(one, other)


def test_another_trial_or_lesson_or_seed_is_other_luck_for_the_same_student():
    students = student_indices(Split.TEST, 300)

    def luck(population, seed, trial):
        """Responses in each of two lessons, and the latents."""
        room = Classroom(population, TeachingTask(n_lessons=2, n_steps=10), seed=seed)
        outcomes = teach(room, students, torch.zeros(20, 300, dtype=torch.long), trial)[1]
        seen = torch.stack([outcome.observation.response for outcome in outcomes])
        return seen[:10], seen[10:], outcomes[-1].truth.latents

    # without learning an answer depends on the luck of its step alone
    guessing = written(p_learn=0.0, p_init=0.0, p_guess=0.5, ability={"normal": {}})
    drawn = [luck(guessing, seed, trial) for seed, trial in ((0, 0), (0, 1), (1, 0))]
    lessons = [lesson for first, second, _ in drawn for lesson in (first, second)]
    for i, one in enumerate(lessons):
        for other in lessons[:i]:
            # two fair coins agree half of the time, +- 5.3 * .5 / sqrt(3000) = .05
            assert abs((one == other).double().mean() - 0.5) < 0.05
    abilities = [latents["ability"] for _, _, latents in drawn]
    assert torch.equal(abilities[0], abilities[1])
    assert not torch.equal(abilities[0], abilities[2])
    # and so does the start of a lesson
    knowing = written(
        p_learn=0.0, p_init=0.5, p_guess=0.0, p_slip=0.0, model={"ability_on_init": 0}
    )
    first, second, _ = luck(knowing, 0, 0)
    assert abs((first[0] == second[0]).double().mean() - 0.5) < 5.3 * 0.5 / math.sqrt(300)
    assert torch.equal(first, luck(knowing, 0, 0)[0])


def test_draws_are_the_same_whatever_is_drawn_ahead(monkeypatch):
    population = default_population("bkt")
    task = TeachingTask(n_steps=10)
    students = student_indices(Split.TEST, 40)

    def responses():
        room = Classroom(population, task)
        outcomes = teach(room, students, actions_for(room, 40, 10))[1]
        return torch.stack([outcome.observation.response for outcome in outcomes])

    whole_lesson = responses()
    # 6 uniforms for each of 40 students: three steps fit
    monkeypatch.setattr("tutor_envs.classroom._MAX_DRAWN", 3 * 6 * 40)
    assert torch.equal(responses(), whole_lesson)


# -- lessons and what is seen ----------------------------------------------------------------------
def test_the_clock_and_the_last_answer_cross_lesson_boundaries():
    room = Classroom(default_population("bkt"), TeachingTask(n_lessons=3, n_steps=4))
    actions = actions_for(room, 5, 12)
    first, outcomes = teach(room, torch.arange(5), actions)
    n_actions, n_responses = room.model.n_actions, room.model.n_responses
    assert (first.step, first.lesson) == (0, 0)
    assert first.action.tolist() == [n_actions] * 5
    assert first.response.tolist() == [n_responses] * 5
    for t, outcome in enumerate(outcomes, start=1):
        seen = outcome.observation
        assert (seen.step, seen.lesson) == (t % 4, t // 4)
        assert torch.equal(seen.action, actions[t - 1])
        assert seen.response.max() < n_responses
        assert outcome.lesson_ended == (t % 4 == 0)
        assert outcome.trial_ended == (t == 12)
    with pytest.raises(RuntimeError, match="the trial has ended: call `begin_trial`"):
        room.step(actions[0])


def test_a_lesson_begins_anew_but_with_the_same_latents():
    population = written(p_init=0.0, p_learn=1.0, ability={"normal": {}})
    room = Classroom(population, TeachingTask(n_lessons=2, n_steps=3))
    students = torch.arange(4)
    room.begin_trial(students)
    latents = room.truth.latents
    for skill in range(3):
        outcome = room.step(torch.full((4,), 3 * skill))
    assert outcome.truth.post_test.tolist() == pytest.approx([1.0] * 4)  # before the next begins
    assert room.truth.post_test.tolist() == [0.0] * 4  # the new topic
    assert all(torch.equal(room.truth.latents[name], latents[name]) for name in latents)


def test_the_score_is_shown_once_and_only_if_the_task_says_so():
    population = default_population("bkt")
    actions = actions_for(Classroom(population, TeachingTask()), 6, 8)
    for score in SCORES:
        reward = {"score": score, "scale": 3.0, "when": "step"}
        task = TeachingTask(n_lessons=2, n_steps=4, reward=reward, show_score=True)
        first, outcomes = teach(Classroom(population, task), torch.arange(6), actions)
        rewards = torch.stack([outcome.reward for outcome in outcomes]).reshape(2, 4, 6).sum(1)
        shown = torch.stack([outcome.observation.score for outcome in outcomes])
        assert first.score.tolist() == [0] * 6
        assert shown[[0, 1, 2, 4, 5, 6]].abs().max() == 0
        torch.testing.assert_close(3.0 * shown[[3, 7]], rewards)
        hidden = TeachingTask(n_lessons=2, n_steps=4, reward=reward)
        first, outcomes = teach(Classroom(population, hidden), torch.arange(6), actions)
        assert first.score is None
        assert all(outcome.observation.score is None for outcome in outcomes)


LOCKED = {
    "n_skills": 2,
    "modalities": ["a"],
    "prerequisites": {1: [0]},
    "unlock_after": 1,
    "ability_on_init": 0,
}


def test_an_illegal_action_takes_time_and_reaches_no_student():
    population = written(
        model=LOCKED, p_init=0.0, p_learn=1.0, p_guess=1.0, p_slip=0.0, p_forget=1.0
    )
    reward = {"score": "mastery_gain", "when": "step"}
    room = Classroom(population, TeachingTask(n_lessons=2, n_steps=3, reward=reward))
    first = room.begin_trial(torch.arange(2))
    assert first.legal.tolist() == [[True, False]] * 2
    # student 0 tries the locked skill, student 1 learns skill 0
    outcome = room.step(torch.tensor([1, 0]))
    assert outcome.observation.response.tolist() == [2, 1]  # none; correct
    assert outcome.reward.tolist() == [0, 0.5]
    assert outcome.truth.mastery.tolist() == [[0, 0], [1, 0]]
    assert outcome.observation.legal.tolist() == [[True, False], [True, True]]
    outcome = room.step(torch.tensor([1, 1]))
    assert outcome.observation.response.tolist() == [2, 1]
    assert outcome.truth.mastery.tolist() == [[0, 0], [0, 1]]  # p_forget = 1 on the other skill
    outcome = room.step(torch.tensor([0, 0]))
    assert (
        outcome.observation.legal.tolist() == [[True, False]] * 2
    )  # the next lesson is locked anew
    for _ in range(3):
        outcome = room.step(torch.tensor([0, 0]))
    assert outcome.trial_ended
    assert outcome.observation.legal is None


def test_an_illegal_action_earns_no_expected_gain():
    population = written(model=LOCKED, p_init=0.0, p_learn=0.5)
    reward = {"when": "step", "expected": True}
    room = Classroom(population, TeachingTask(n_steps=3, reward=reward))
    room.begin_trial(torch.arange(2))
    outcome = room.step(torch.tensor([1, 0]))
    assert outcome.reward.tolist() == pytest.approx([0, 0.25])  # .5 of half the test


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_masked_rewards_still_add_up(seed):
    population = written(model=LOCKED, p_init=0.3, p_learn=0.4, p_forget=0.2)
    rewards = {}
    for when in ("step", "end"):
        task = TeachingTask(n_steps=6, reward={"when": when})
        room = Classroom(population, task, seed=seed, dtype=torch.float64)
        _, outcomes = teach(room, torch.arange(9), actions_for(room, 9, 6, seed))
        rewards[when] = torch.stack([outcome.reward for outcome in outcomes]).sum(0)
    torch.testing.assert_close(rewards["step"], rewards["end"])


# -- dtype and compilation -------------------------------------------------------------------------
@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_both_dtypes_give_the_same_answers(student):
    students = student_indices(Split.TEST, 200)
    task = TeachingTask(n_steps=10, reward={"when": "step"})
    seen = {}
    for dtype in (torch.float32, torch.float64):
        room = Classroom(default_population(student), task, dtype=dtype)
        _, outcomes = teach(room, students, actions_for(room, 200, 10))
        assert outcomes[-1].reward.dtype == dtype
        assert outcomes[-1].truth.mastery.dtype == dtype
        seen[dtype] = torch.stack([outcome.observation.response for outcome in outcomes])
    assert torch.equal(*seen.values())


@pytest.mark.gpu
def test_students_on_a_device_are_those_on_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    students = student_indices(Split.TEST, 500)
    seen = {}
    for device in ("cpu", "cuda"):
        room = Classroom(default_population("bkt"), TeachingTask(n_steps=10), device=device)
        _, outcomes = teach(room, students, actions_for(room, 500, 10))
        assert outcomes[-1].reward.device.type == device
        seen[device] = torch.stack([o.observation.response.cpu() for o in outcomes])
    assert (seen["cpu"] == seen["cuda"]).float().mean() > 0.999
