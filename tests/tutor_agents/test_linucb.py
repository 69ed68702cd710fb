"""LinUCB beside a ridge regression in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_agents.linucb import LinUcbTutor, sherman_morrison
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.registry import make_tutor
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

POPULATION = Population.model_validate(
    {
        "name": "two",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["text", "video"]},
    }
)
N_MODALITIES, N_FEATURES = 2, 8


def make(**parameters: object) -> LinUcbTutor:
    tutor = make_tutor("linucb", POPULATION, TeachingTask(n_lessons=2, n_steps=7), **parameters)
    assert isinstance(tutor, LinUcbTutor)
    return tutor


class Reference:
    """One student, straight from the definitions."""

    def __init__(self, reward: str, ridge: float = 1.0) -> None:
        self.reward = reward
        self.a, self.b = ridge * np.eye(N_FEATURES), np.zeros(N_FEATURES)
        self.begin_lesson()

    def begin_lesson(self) -> None:
        self.answers: list[list[int]] = [[], []]
        self.waiting: list[tuple[np.ndarray, int] | None] = [None, None]

    def x(self, action: int) -> np.ndarray:
        skill, modality = divmod(action, N_MODALITIES)
        x, answers = np.zeros(N_FEATURES), self.answers[skill]
        x[modality] = 1
        x[3 + (answers[-1] if answers else 2)] = 1
        x[6] = (sum(answers) + 1) / (len(answers) + 2)
        x[7] = 1 / (1 + len(answers))
        return x

    def observe(self, action: int, y: int) -> None:
        x, skill = self.x(action), action // N_MODALITIES
        if self.reward == "answer":
            self.learn(x, y)
        elif (waiting := self.waiting[skill]) is not None:
            self.learn(waiting[0], (1 + y - waiting[1]) / 2)
        self.waiting[skill] = x, y
        self.answers[skill].append(y)

    def learn(self, x: np.ndarray, reward: float) -> None:
        self.a += np.outer(x, x)
        self.b += reward * x

    def index(self, alpha: float) -> list[float]:
        inverse = np.linalg.inv(self.a)
        theta = inverse @ self.b
        every = [self.x(action) for action in range(4)]
        return [float(theta @ x + alpha * np.sqrt(x @ inverse @ x)) for x in every]


@pytest.mark.parametrize("reward", ["answer", "progress"])
def test_the_index_is_that_of_a_ridge_regression(reward: str) -> None:
    tutor = make(reward=reward, alpha=0.7, ridge=2.0)
    n, n_steps = 5, 7
    students = student_indices(Split.TEST, n)
    room = Classroom(POPULATION, TeachingTask(n_lessons=2, n_steps=n_steps))
    tutor.begin_trial(Trial(students, 0, 0))
    references = [Reference(reward, ridge=2.0) for _ in range(n)]
    observation = room.begin_trial(students)
    for t in range(1, 2 * n_steps + 1):
        action = tutor.act(observation)
        expected = np.array([reference.index(0.7) for reference in references])
        assert tutor.index().numpy() == pytest.approx(expected, abs=1e-9)
        best = expected[np.arange(n), action.numpy()]
        assert best == pytest.approx(expected.max(-1), abs=1e-8)
        observation = room.step(action).observation
        tutor.observe(action, observation)
        for i, reference in enumerate(references):
            reference.observe(int(action[i]), int(observation.response[i]))
            if t == n_steps:
                reference.begin_lesson()


def test_no_answer_teaches_nothing() -> None:
    tutor = make(reward="answer")
    tutor.begin_trial(Trial(torch.arange(1), 0, 0))
    before = tutor.index()
    nothing = Observation(torch.tensor([0]), torch.tensor([2]), None, None, 1, 0)
    tutor.observe(torch.tensor([0]), nothing)
    assert torch.equal(tutor.index(), before)


@given(
    st.integers(1, 5).flatmap(
        lambda d: st.lists(
            st.lists(st.floats(-3, 3), min_size=d, max_size=d), min_size=1, max_size=6
        )
    ),
    st.floats(0.1, 10),
)
@settings(max_examples=50, deadline=None)
def test_sherman_morrison_is_the_inverse_of_the_sum(rows: list[list[float]], ridge: float) -> None:
    xs = torch.tensor(rows, dtype=torch.float64)
    matrix = ridge * torch.eye(xs.shape[1], dtype=torch.float64)
    inverse = torch.linalg.inv(matrix)[None]
    for x in xs:
        inverse = sherman_morrison(inverse, x[None])
    whole = torch.linalg.inv(matrix + xs.T @ xs)
    assert torch.allclose(inverse[0], whole, rtol=1e-6, atol=1e-8)


def test_the_warm_start_is_the_regression_of_the_training_students() -> None:
    n, n_steps, weight = 20, 7, 1.5
    tutor = make(reward="answer", warm_start=True, n_students=n, prior_weight=weight)
    students = student_indices(Split.TRAIN, n)
    teacher = RandomTutor(POPULATION.student_model)
    teacher.begin_trial(Trial(students, 0, 0))
    room = Classroom(POPULATION, TeachingTask(n_lessons=2, n_steps=n_steps))
    observation = room.begin_trial(students)
    references = [Reference("answer", ridge=0.0) for _ in range(n)]
    for t in range(1, 2 * n_steps + 1):
        action = teacher.act(observation)
        observation = room.step(action).observation
        for i, reference in enumerate(references):
            reference.observe(int(action[i]), int(observation.response[i]))
            if t == n_steps:
                reference.begin_lesson()
    share = weight * 4 / (n * 2 * n_steps)  # four arms
    matrix = np.eye(N_FEATURES) + share * sum(r.a for r in references)
    moment = share * sum(r.b for r in references)
    tutor.begin_trial(Trial(torch.arange(1), 0, 0))
    assert tutor.inverse[0].numpy() == pytest.approx(np.linalg.inv(matrix), abs=1e-9)
    assert tutor.moment[0].numpy() == pytest.approx(moment, abs=1e-9)
