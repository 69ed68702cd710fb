"""Door 2: plain Python students are the same in any batch, in workers or not, and fail by name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from tutor_agents.registry import make_tutor
from tutor_envs.classroom import Classroom
from tutor_envs.errors import StudentError
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

LEARNER = """
class Learner:
    skills = ("a", "b")
    latents = {"speed": {"low": 0, "high": 1, "default": 0.5, "meaning": "share learned"}}
    def __init__(self, latents, rng):
        self.speed, self.rng, self.known = latents["speed"], rng, [0.0, 0.5]
    def teach(self, action):
        correct = self.rng.random() < self.known[action]
        self.known[action] += self.speed * (1 - self.known[action])
        return correct
    def mastery(self):
        return self.known
"""


def population(folder: Path, text: str = LEARNER, **model: object) -> Population:
    (folder / "learner.py").write_text(text)
    return Population.model_validate(
        {
            "name": "mine",
            "student": f"{folder}/learner.py:Learner",
            "model": model,
            "latents": {"speed": {"uniform": {"low": 0, "high": 1}}},
        }
    )


def teach(mine: Population, students: torch.Tensor, **task: object) -> tuple[torch.Tensor, ...]:
    """Responses ``(T, n)``, mastery after all, and rewards: actions 0, 1, 0, 1 ..."""
    room = Classroom(mine, TeachingTask.model_validate({"n_steps": 4} | task))
    room.begin_trial(students)
    outcomes = [
        room.step(torch.full((len(students),), t % 2)) for t in range(room.task.n_trial_steps)
    ]
    responses = torch.stack([o.observation.response for o in outcomes])
    return responses, outcomes[-1].truth.mastery, torch.stack([o.reward for o in outcomes])


def test_the_class_is_taught_as_it_says(tmp_path: Path) -> None:
    mine = population(tmp_path)
    model = mine.student_model
    assert [str(action) for action in model.actions] == ["practice a", "practice b"]
    assert model.responses == ("wrong", "correct")
    students = student_indices(Split.TRAIN, 50)
    speed = mine.sample(0, students)["speed"]
    responses, mastery, rewards = teach(mine, students)
    # two practices of each skill: 1 - (1 - speed)**2 of what was missing, from 0 and from 1/2
    learned = 1 - (1 - speed) ** 2
    torch.testing.assert_close(mastery, torch.stack([learned, 0.5 + 0.5 * learned], -1))
    torch.testing.assert_close(rewards.sum(0), mastery.mean(-1))
    assert not responses[0].any()  # nothing was known of the first skill
    assert 0.2 < responses[1].double().mean() < 0.8


@pytest.mark.parametrize("workers", [0, 2])
def test_a_student_is_the_same_alone_in_a_crowd_and_in_workers(
    tmp_path: Path, workers: int
) -> None:
    crowd = teach(population(tmp_path, workers=0), student_indices(Split.TRAIN, 9), n_lessons=2)
    some = torch.tensor([7, 2, 4])
    few = teach(population(tmp_path, workers=workers), some, n_lessons=2)
    for whole, part in zip(crowd, few, strict=True):
        rows = whole[some] if whole.shape[0] == 9 else whole[:, some]
        assert torch.equal(rows, part)


def test_a_lesson_begins_anew_with_other_luck(tmp_path: Path) -> None:
    students = student_indices(Split.TRAIN, 200)
    responses, _, _ = teach(population(tmp_path), students, n_lessons=2)
    first, second = responses[:4], responses[4:]
    assert not second[0].any()  # a new topic: nothing is known
    assert not torch.equal(first[1], second[1])


def test_optional_methods_are_used(tmp_path: Path) -> None:
    text = LEARNER + (
        "    responses = ('no', 'yes', 'perhaps')\n"
        "    actions = (('video', 'a', 'seen'), 'rest')\n"
        "    def post_test(self):\n        return 0.25\n"
        "    def wait(self, days):\n        self.known = [k * 0.5 ** days for k in self.known]\n"
    )
    mine = population(tmp_path, text.replace("return correct", "return 2"))
    model = mine.student_model
    assert model.modalities == ("seen",)
    assert model.n_responses == 3
    assert str(model.actions[1]) == "rest"
    latents = mine.sample(0, student_indices(Split.TRAIN, 3))
    state = model.begin_lesson(latents, torch.zeros(3, model.n_start_uniforms))
    after, response = model.step(latents, state, torch.zeros(3).long(), torch.zeros(3, 0))
    assert response.tolist() == [2, 2, 2]
    assert model.post_test(latents, after).tolist() == [0.25] * 3
    later = model.wait(latents, after, torch.tensor([0.0, 1.0, 2.0]), torch.zeros(3, 0))
    halved = model.mastery(latents, after) * torch.tensor([1.0, 0.5, 0.25]).unsqueeze(-1)
    torch.testing.assert_close(model.mastery(latents, later), halved)


def test_a_row_that_an_action_did_not_reach_is_as_if_it_had_not_been_taught(tmp_path: Path) -> None:
    mine = population(tmp_path)
    model, latents = mine.student_model, mine.sample(0, student_indices(Split.TRAIN, 2))
    zero, none = torch.zeros(2).long(), torch.zeros(2, 0)
    state = model.begin_lesson(latents, torch.full((2, model.n_start_uniforms), 0.3))
    once, _ = model.step(latents, state, zero, none)
    twice, _ = model.step(latents, once, zero, none)
    mixed = {k: torch.stack([twice[k][0], once[k][1]]) for k in once}  # the second missed a step
    after, _ = model.step(latents, mixed, zero, none)
    left = (1 - latents["speed"]) ** torch.tensor([3, 2])
    torch.testing.assert_close(model.mastery(latents, after)[:, 0], 1 - left)


def test_many_environments_share_a_model(tmp_path: Path) -> None:
    mine = population(tmp_path)
    rooms = [Classroom(mine, TeachingTask(n_steps=3)) for _ in range(3)]
    for i, room in enumerate(rooms):
        room.begin_trial(student_indices(Split.TRAIN, 2, start=2 * i))
    for _ in range(3):
        ends = [room.step(torch.zeros(2).long()).truth.mastery for room in rooms]
    alone, _, _ = teach(mine, student_indices(Split.TRAIN, 1))
    speed = mine.sample(0, student_indices(Split.TRAIN, 6))["speed"]
    torch.testing.assert_close(torch.cat(ends)[:, 0], 1 - (1 - speed) ** 3)
    assert alone.shape == (4, 1)


# -- tutors ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("tutor", ["thompson", "myopic", "bayes", "mastery_threshold", "oracle"])
def test_tutors_that_need_a_belief_are_refused(tmp_path: Path, tutor: str) -> None:
    with pytest.raises(ValueError, match=f"tutor `{tutor}` predicts .* it has no belief; possible"):
        make_tutor(tutor, population(tmp_path), TeachingTask())


def test_the_best_fixed_sequence_is_found_by_teaching_again(tmp_path: Path) -> None:
    task = TeachingTask(n_steps=2)
    mine = population(tmp_path)
    tutor = make_tutor("best_fixed", mine, task, n_students=20)
    # of what is missing, there is more in the first skill; then the gains depend on the speed
    assert 0 in tutor.sequence.actions
    students = student_indices(Split.TRAIN, 20)
    speed = mine.sample(0, students)["speed"]
    same = (1 - (1 - speed) ** 2 + 0.5).mean() / 2
    both = (speed + 0.5 + 0.5 * speed).mean() / 2
    assert tutor.sequence.score == pytest.approx(float(max(same, both)), abs=1e-5)


# -- faults ----------------------------------------------------------------------------------------
RAISES = (
    "return correct",
    "return 1 / (len(self.known) - 2)",
    r"raised ZeroDivisionError: .* \(at learner.py:10\) \[student 0, lesson 0, step 0\]",
)


@pytest.mark.parametrize(
    ("old", "new", "message", "workers"),
    [
        (*RAISES, 0),
        (*RAISES, 2),
        ("return correct", "return 0.5", "it must be True, False or a whole number in", 0),
        ("return correct", "return 2", r"teach\(0\) returned 2; it must be", 0),
        ("return self.known", "return [0, float('nan')]", "every number must be in", 0),
        ("return self.known", "return [0, 1.5]", "every number must be in", 0),
        ("return self.known", "return [0, 0, 0]", "it must be one number, or a list of 2", 0),
    ],
)
def test_a_class_that_fails_is_named(
    tmp_path: Path, old: str, new: str, message: str, workers: int
) -> None:
    mine = population(tmp_path, LEARNER.replace(old, new), workers=workers)
    with pytest.raises(StudentError, match=r"custom student `.*learner.py:Learner`: .*" + message):
        teach(mine, student_indices(Split.TRAIN, 2))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "while self.speed > 0.9: pass",
            r"no answer for 1 s \(it hangs.*\[student 2, lesson 0, step 0\]",
        ),
        (
            "import os; self.speed > 0.9 and os._exit(7)",
            r"worker process ended while it taught \(exit code 7\)",
        ),
    ],
)
def test_workers_that_hang_or_end_are_noticed(tmp_path: Path, fault: str, message: str) -> None:
    text = LEARNER.replace("return correct", f"{fault}\n        return correct")
    mine = population(tmp_path, text, workers=1, timeout_s=1).with_latents(
        speed={"categorical": {"values": [0.1, 1.0], "probabilities": [0.5, 0.5]}}
    )
    students = student_indices(Split.TRAIN, 20)
    slow = (mine.sample(0, students)["speed"] > 0.9).nonzero()[0, 0]
    message = message.replace("student 2", f"student {int(slow)}")
    before = multiprocessing.active_children()
    with pytest.raises(StudentError, match=message):
        teach(mine, students)
    assert set(multiprocessing.active_children()) <= set(before)  # those of another test may end
    teach(mine, students[:1])  # and the model can go on with others


def test_processes_end_without_a_word_and_with_their_parent(tmp_path: Path) -> None:
    population(tmp_path)
    reference = f"{tmp_path}/learner.py:Learner"
    code = textwrap.dedent(f"""
        import multiprocessing, sys, time
        from tutor_envs.doors.pool import Pool
        from tutor_envs.doors.room import Start
        from tutor_envs.doors.worker import DoorPlan
        plan = DoorPlan("tutor_envs.doors.python_door:PythonDoor", ({reference!r}, 2, 2))
        pool = Pool("mine", plan, plan.load(), workers=1, timeout_s=10)
        pool.begin([Start({{"speed": 0.5}}, (1, 2), 0)])
        assert "torch" not in sys.modules  # so that workers are light
        print(multiprocessing.active_children()[0].pid, flush=True)
        if len(sys.argv) > 1:
            time.sleep(60)
    """)
    script = tmp_path / "script.py"  # without a guard: it must not run again in the worker
    script.write_text(code)
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not _is_running(int(done.stdout))
    with subprocess.Popen([*command, "wait"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert _is_running(worker)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(worker)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
