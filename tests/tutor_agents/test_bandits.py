"""Bandits: what pays an arm, the index of each rule, and regret beside a plain loop in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from small_students import bandit
from tutor_agents.bandits import Bandit
from tutor_agents.registry import make_tutor
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

TWO_SKILLS = Population.model_validate(
    {
        "name": "two",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["text", "video"]},
    }
)
"""Actions: 0 and 1 practise the first skill, 2 and 3 the second."""
WRONG, RIGHT, NOTHING = 0, 1, 2
RULES = ["epsilon_greedy", "ucb1", "thompson_bandit"]


def seen(action: int, response: int, step: int = 1, n: int = 1) -> tuple[torch.Tensor, Observation]:
    actions, responses = torch.full((n,), action), torch.full((n,), response)
    return actions, Observation(actions, responses, None, None, step, 0)


def make(name: str, population: Population = TWO_SKILLS, **parameters: Any) -> Bandit:
    tutor = make_tutor(name, population, TeachingTask(n_steps=10), **parameters)
    assert isinstance(tutor, Bandit)
    tutor.begin_trial(Trial(torch.tensor([0]), 0, 0))
    return tutor


def after(tutor: Bandit, *answers: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Counts and sums after these (action, response) pairs."""
    for action, response in answers:
        tutor.observe(*seen(action, response))
    return tutor.count[0].tolist(), tutor.total[0].tolist()


@pytest.mark.parametrize("name", RULES)
def test_an_answer_pays_its_own_action(name: str) -> None:
    answers = (0, RIGHT), (0, WRONG), (3, RIGHT), (1, NOTHING)
    count, total = after(make(name, reward="answer"), *answers)
    assert count == [2, 0, 0, 1]
    assert total == [1, 0, 0, 1]


@pytest.mark.parametrize("name", RULES)
def test_progress_pays_the_practice_before_on_the_same_topic(name: str) -> None:
    # Skill 0: wrong by text, right by video, wrong by text. Skill 1 in between: right, right.
    answers = (0, WRONG), (2, RIGHT), (1, RIGHT), (3, RIGHT), (0, NOTHING), (0, WRONG)
    count, total = after(make(name), *answers)
    # Text had 0 -> 1, paid 1; skill 1 by text 1 -> 1, paid 1/2; video 1 -> 0, paid 0.
    assert count == [1, 1, 1, 0]
    assert total == [1, 0, 0.5, 0]


def test_a_lesson_ends_without_pay_for_those_who_wait() -> None:
    tutor = make("ucb1")
    tutor.observe(*seen(0, WRONG))
    tutor.observe(*seen(1, RIGHT, step=0))  # pays action 0, and ends the lesson
    tutor.observe(*seen(0, RIGHT))
    assert tutor.count[0].tolist() == [1, 0, 0, 0]


def test_the_ucb1_index_is_that_of_auer_and_others() -> None:
    tutor = make("ucb1", reward="answer")
    after(tutor, (0, RIGHT), (0, WRONG), (0, RIGHT), (1, WRONG), (2, RIGHT))
    bonus = 2 * math.log(5)  # t = 5, and N = 3, 1, 1
    expected = [2 / 3 + (bonus / 3) ** 0.5, 0 + bonus**0.5, 1 + bonus**0.5]
    assert tutor.index()[0, :3].tolist() == pytest.approx(expected, abs=1e-12)
    assert tutor.index()[0].argmax() == 3  # not tried yet
    after(tutor, (3, WRONG))
    assert int(tutor.act(seen(3, WRONG)[1])) == 2


@given(
    answers=st.lists(st.sampled_from([WRONG, RIGHT]), min_size=9, max_size=9),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_ucb1_tries_every_arm_once_first(answers: list[int], seed: int) -> None:
    population = bandit([[0.1] * 9])
    tutor = make_tutor("ucb1", population, TeachingTask(n_steps=9), reward="answer")
    tutor.begin_trial(Trial(torch.tensor([3]), seed, 0))
    tried = []
    for step, answer in enumerate(answers):
        action = tutor.act(seen(0, NOTHING, step)[1])
        tried.append(int(action))
        tutor.observe(*seen(tried[-1], answer, step + 1))
    assert sorted(tried) == list(range(9))


def test_epsilon_greedy_explores_with_epsilon() -> None:
    n = 20_000
    tutor = make("epsilon_greedy", reward="answer", epsilon=0.2)
    tutor.begin_trial(Trial(torch.arange(n), 0, 0))
    for arm in range(4):
        tutor.observe(*seen(arm, RIGHT if arm == 2 else WRONG, n=n))
    share = (tutor.act(seen(0, WRONG, step=4, n=n)[1]) == 2).double().mean().item()
    # Greedy, or one in four of the explorations: 0.8 + 0.2 / 4; five standard errors are 0.013.
    assert share == pytest.approx(0.85, abs=0.013)


def test_thompson_bandit_draws_from_the_beta_posterior() -> None:
    n = 20_000
    tutor = make("thompson_bandit", bandit([[0.5, 0.5]]), reward="answer")
    tutor.begin_trial(Trial(torch.arange(n), 0, 0))
    for answer in (RIGHT, RIGHT, WRONG, RIGHT):
        tutor.observe(*seen(0, answer, n=n))
    share = (tutor.act(seen(0, WRONG, step=4, n=n)[1]) == 0).double().mean().item()
    # Beta(4, 2) against Beta(1, 1): P(larger) = E[Beta(4, 2)] = 2/3
    assert share == pytest.approx(2 / 3, abs=0.017)


P = (0.2, 0.5, 0.8)
T = 60


def regret_in_numpy(name: str, n: int) -> np.ndarray:
    """Shares of the best arm's pulls, by textbook loops over one student at a time."""
    rng, best = np.random.default_rng(0), np.zeros(n)
    for i in range(n):
        count, total = np.zeros(3), np.zeros(3)
        for t in range(T):
            if name == "ucb1" and t < 3:
                arm = t
            elif name == "ucb1":
                arm = int(np.argmax(total / count + np.sqrt(2 * np.log(t) / count)))
            elif name == "thompson_bandit":
                arm = int(np.argmax(rng.beta(1 + total, 1 + count - total)))
            elif rng.random() < 0.1:
                arm = int(rng.integers(3))
            else:
                mean = np.divide(total, count, out=np.ones(3), where=count > 0)
                arm = int(rng.choice(np.flatnonzero(mean == mean.max())))
            count[arm] += 1
            total[arm] += rng.random() < P[arm]
            best[i] += arm == 2
    return best / T


def play(name: str, n: int, **parameters: Any) -> np.ndarray:
    """The same share by the tutor on the style bandit, whose quiz tells the truth here."""
    population = bandit([list(P)], n_units=T, ability=0.0)
    task = TeachingTask(n_steps=T)
    tutor = make_tutor(name, population, task, reward="answer", **parameters)
    room, students = Classroom(population, task), student_indices(Split.TEST, n)
    tutor.begin_trial(Trial(students, 0, 0))
    observation, best = room.begin_trial(students), torch.zeros(n, dtype=torch.float64)
    for _ in range(T):
        action = tutor.act(observation)
        observation = room.step(action).observation
        tutor.observe(action, observation)
        best += action == 2
    return (best / T).numpy()


@pytest.mark.parametrize("name", RULES)
def test_regret_on_a_bernoulli_bandit_is_that_of_a_plain_loop(name: str) -> None:
    ours, theirs = play(name, 1500), regret_in_numpy(name, 250)
    se = np.hypot(ours.std() / len(ours) ** 0.5, theirs.std() / len(theirs) ** 0.5)
    assert abs(ours.mean() - theirs.mean()) < 5 * se
    assert ours.mean() > 0.5


@pytest.mark.parametrize("name", RULES)
def test_a_warm_start_begins_with_the_rates_of_training_students(name: str) -> None:
    population = bandit([list(P)], n_units=30, ability=0.0)
    tutor = make_tutor(
        name,
        population,
        TeachingTask(n_steps=30),
        reward="answer",
        warm_start=True,
        n_students=400,
        prior_weight=3.0,
    )
    assert isinstance(tutor, Bandit)
    tutor.begin_trial(Trial(torch.arange(2), 0, 0))
    assert tutor.count.tolist() == [[3.0] * 3] * 2
    # 400 students, 10 pulls of each arm: five standard errors of a rate are below 0.04.
    assert (tutor.total[0] / 3).tolist() == pytest.approx(P, abs=0.04)


def test_the_warm_start_pays_off_at_once() -> None:
    cold, warm = play("ucb1", 300), play("ucb1", 300, warm_start=True, prior_weight=10.0)
    assert warm.mean() > cold.mean() + 0.05
