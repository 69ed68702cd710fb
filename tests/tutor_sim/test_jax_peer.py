"""The JAX peer of ``tutor-sim bench time-to-tutor``: its students are ours, its learner learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tutor_envs.cases import load_cases
from tutor_envs.classroom import Classroom
from tutor_envs.population import Split, student_indices
from tutor_envs.population_files import POPULATIONS, load_population
from tutor_envs.task import TeachingTask
from tutor_sim.bench.job import load
from tutor_sim.bench.peers import FOLDER
from tutor_sim.bench.time_to_tutor import CASES, JAX_STUDENTS, PEERS
from tutor_sim.learners import begin_learner

pytest.importorskip("jax")

ALL = {case.name: case for case in load_cases(CASES)}
N = 20_000


def cases(*fast: str) -> list[object]:
    """All; but for some in the slow suite."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in ALL]


@pytest.mark.parametrize("name", cases("style-bandit-questionnaire-b", "prerequisites-b"))
def test_tutors_score_as_they_exactly_do(name):
    job = load(JAX_STUDENTS)(cases=str(CASES), case=name, n_students=N)
    for round_, tutor in ((1, "random"), (2, "round_robin")):
        job.prepare(round_)
        work = job.work()
        assert work.score is not None
        assert work.score_se is not None
        assert work.score == pytest.approx(ALL[name].values[tutor], abs=4 * work.score_se)


@pytest.mark.parametrize("name", cases("style-bandit-questionnaire-b"))
def test_answers_are_as_often_given(name):
    import jax

    case, task = ALL[name].population(), ALL[name].task()
    classroom = Classroom(case, task)
    classroom.begin_trial(student_indices(Split.TRAIN, N))
    theirs = load(str(FOLDER / "jax_cases.py:case_of"))(case, task)
    student, teach = theirs.begin(jax.random.key(0), N), jax.jit(theirs.teach)
    assert theirs.n_actions == classroom.model.n_actions
    for step in range(task.n_steps):
        action = step % theirs.n_actions
        seen = classroom.step(torch.full((N,), action)).observation.response
        student, response, _ = teach(jax.random.key(step + 1), student, np.full(N, action))
        ours = np.bincount(seen.numpy(), minlength=theirs.n_responses) / N
        mine = np.bincount(np.asarray(response), minlength=theirs.n_responses) / N
        assert mine == pytest.approx(ours, abs=5 * (0.5 / N) ** 0.5)


def test_other_students_are_refused():
    with pytest.raises(ValueError, match="must be one of style_bandit, bkt, memory for JAX, got"):
        load(str(FOLDER / "jax_cases.py:case_of"))(
            load_population(POPULATIONS["irt"]), TeachingTask()
        )


@pytest.mark.slow
def test_its_learner_learns_and_can_be_continued():
    case = ALL["style-bandit-a"]
    settings = PEERS["JAX"] | {"n_trials": 64, "minibatches": 2, "hidden_size": 16}
    learner = begin_learner(settings, case.population(), case.task(), seed=0)
    returns = [learner.update()["train/return"] for _ in range(60)]
    assert np.mean(returns[-5:]) > np.mean(returns[:5]) + 1
    other = begin_learner(settings, case.population(), case.task(), seed=0)
    other.restore(dict(learner.tensors()), dict(learner.counters()))
    assert other.update() == learner.update()
