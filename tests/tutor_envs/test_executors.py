"""Eager, compiled and CUDA-graph steps: the same students, the same luck, the same rewards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from small_students import EVERYTHING
from tutor_envs.classroom import Classroom, Outcome
from tutor_envs.executors import Executor, executing
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population, population_of
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.task import TeachingTask

# torch's own compiler imports a module that torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

N_STUDENTS = 40
WITH_EVERYTHING = {
    "name": "class",
    "student": "bkt",
    "model": {"n_skills": 2, "modalities": ["text", "video"]},
    "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}},
    "components": EVERYTHING,
}
UNCOMPILABLE = """
from tutor_envs.students.zpd import ZPD

class Peeking(ZPD):
    name = "peeking"
    def step(self, latents, state, action, uniforms):
        if float(uniforms.sum()) < 0:
            raise RuntimeError
        return super().step(latents, state, action, uniforms)
"""


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch.compiler.reset()


def trial(
    population: Population, task: TeachingTask, executor: Executor, device: str = "cpu"
) -> list[Outcome]:
    """Random legal actions; two copies of each student."""
    with executing(executor):
        room = Classroom(population, task, device=device)
    students = student_indices(Split.TRAIN, N_STUDENTS)
    observation = room.begin_trial(students, 3, n_copies=2)
    luck = torch.Generator().manual_seed(0)
    outcomes = []
    for _ in range(task.n_trial_steps):
        weights = torch.rand(2 * N_STUDENTS, room.model.n_actions, generator=luck).to(device)
        if observation.legal is not None:
            weights = weights * (observation.legal + 1e-6)
        outcomes.append(room.step(weights.argmax(-1)))
        observation = outcomes[-1].observation
    return outcomes


def assert_same(ours: list[Outcome], others: list[Outcome]) -> None:
    """All that is drawn is equal; a fused function may round powers and exponentials otherwise."""
    close = {"rtol": 1e-5, "atol": 1e-5}
    for one, other in zip(ours, others, strict=True):
        seen, its = one.observation, other.observation
        for name in ("action", "response", "legal", "present"):
            mine, theirs = getattr(seen, name), getattr(its, name)
            assert (mine is None) == (theirs is None)
            assert mine is None or torch.equal(mine.cpu(), theirs.cpu()), name
        for mine, theirs in (
            (seen.signals, its.signals),
            (seen.score, its.score),
            (one.reward, other.reward),
            (one.truth.mastery, other.truth.mastery),
            (one.truth.mean_mastery, other.truth.mean_mastery),
            (one.truth.post_test, other.truth.post_test),
        ):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                torch.testing.assert_close(mine.cpu(), theirs.cpu(), **close)


def task_of(score: str, when: str = "step", *, expected: bool = False) -> TeachingTask:
    reward = {"score": score, "when": when, "expected": expected, "scale": 3.0}
    return TeachingTask.model_validate(
        {"n_lessons": 2, "n_steps": 5, "reward": reward, "show_score": True}
    )


@pytest.mark.slow
def test_a_compiled_classroom_is_the_same_classroom():
    task = task_of("mastery_gain")
    outcomes = trial(default_population("zpd"), task, "compile")
    assert_same(outcomes, trial(default_population("zpd"), task, "eager"))
    assert torch.stack([outcome.reward for outcome in outcomes]).std() > 0


@pytest.mark.slow
@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_every_student_model_can_be_compiled(student):
    population, task = default_population(student), task_of("post_test")
    assert_same(trial(population, task, "compile"), trial(population, task, "eager"))


@pytest.mark.slow
@pytest.mark.parametrize("when", ["step", "end"])
@pytest.mark.parametrize("score", ["post_test", "mastery_gain", "mean_recall", "time_to_mastery"])
def test_every_reward_can_be_compiled(score, when):
    task = task_of(score, when)
    population = default_population("zpd")
    assert_same(trial(population, task, "compile"), trial(population, task, "eager"))


@pytest.mark.slow
def test_expected_rewards_can_be_compiled():
    task = task_of("post_test", expected=True)
    population = default_population("bkt")
    assert_same(trial(population, task, "compile"), trial(population, task, "eager"))


@pytest.mark.slow
@pytest.mark.parametrize("when", ["step", "end"])
def test_students_with_everything_can_be_compiled(when):
    task = task_of("post_test", when)
    population = Population.model_validate(WITH_EVERYTHING)
    outcomes = trial(population, task, "compile")
    assert_same(outcomes, trial(population, task, "eager"))
    there = outcomes[-1].observation.present
    assert there is not None
    assert 0 < there.sum() < len(there)


@pytest.mark.slow
def test_any_number_of_classrooms_can_be_compiled():
    # torch gives up a function that was compiled eight times.
    for n_steps in range(2, 12):
        task = TeachingTask(n_lessons=1, n_steps=n_steps)
        trial(default_population("style_bandit"), task, "compile")


def test_classrooms_follow_the_innermost_choice():
    from tutor_envs.executors import chosen_executor

    cpu = torch.device("cpu")
    assert chosen_executor(cpu) == "eager"
    with executing("compile"), executing("eager"):
        assert chosen_executor(cpu) == "eager"
    assert chosen_executor(cpu) == "eager"


def test_what_cannot_be_is_refused():
    population, task = default_population("zpd"), TeachingTask(n_steps=2)
    with executing("cuda_graph"), pytest.raises(ValueError, match="needs a CUDA device, got 'cpu'"):
        Classroom(population, task)
    with executing("compiled"), pytest.raises(ValueError, match="did you mean 'compile'"):
        Classroom(population, task)


def test_students_that_are_no_tensors_are_refused(tmp_path):
    file = tmp_path / "one.py"
    file.write_text(
        "class One:\n"
        "    skills = ('one', 'two')\n    actions = ('practice',)\n"
        "    def teach(self, action): return True\n"
        "    def mastery(self): return [0.5]\n"
    )
    population = population_of(f"{file}:One")
    with executing("compile"), pytest.raises(ValueError, match="must be 'eager' for student model"):
        Classroom(population, TeachingTask(n_steps=2))


def test_a_model_that_torch_cannot_compile_is_told_so(tmp_path):
    file = tmp_path / "peeking.py"
    file.write_text(UNCOMPILABLE)
    task = TeachingTask(n_steps=2)
    with pytest.raises(ValueError, match="`executor` 'compile': torch cannot compile it"):
        trial(population_of(f"{file}:Peeking"), task, "compile")


@pytest.mark.slow
def test_without_a_compiler_one_message_says_so(tmp_path):
    code = """
from tutor_envs.classroom import Classroom
from tutor_envs.executors import executing
from tutor_envs.population_files import default_population
from tutor_envs.task import TeachingTask
import torch
with executing("compile"):
    room = Classroom(default_population("zpd"), TeachingTask(n_steps=2))
try:
    room.begin_trial(torch.arange(3))
except ValueError as error:
    print("refused:", error)
"""
    paths = [str(Path(folder).resolve()) for folder in sys.path if folder]
    env = os.environ | {
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.startswith("refused: `executor` 'compile': torch cannot compile it"), done


@pytest.mark.gpu
@pytest.mark.parametrize("executor", ["compile", "cuda_graph"])
@pytest.mark.parametrize("student", ["bkt", "zpd", "fsrs"])
def test_on_a_gpu_all_executors_agree(student, executor):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    population, task = default_population(student), task_of("post_test")
    eager = trial(population, task, "eager", device="cuda")
    assert_same(trial(population, task, executor, device="cuda"), eager)
