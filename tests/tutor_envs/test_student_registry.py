"""Custom students are found by every kind of reference, and what cannot be found is explained."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from tutor_envs.classroom import Classroom
from tutor_envs.doors.gym_student import GymStudent
from tutor_envs.doors.python_student import PythonStudent
from tutor_envs.errors import StudentError
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import load_population
from tutor_envs.practice import SkillPractice
from tutor_envs.session import resolve_population
from tutor_envs.student_registry import is_plug_in, student_class
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.task import TeachingTask

PACKAGE = Path(__file__).parents[1] / "plugin_package"
EXAMPLES = Path(__file__).parents[2] / "experiments" / "custom_students"

PLAIN = """
class Learner:
    skills = ("a", "b")
    def __init__(self, latents, rng):
        self.rng = rng
    def teach(self, action):
        return self.rng.random() < 0.5
    def mastery(self):
        return 0.5
NOT_A_CLASS = 3
class Nobody:
    pass
"""
SKILLS = """
import torch
from typing import ClassVar
from tutor_envs.practice import SkillPractice
class Learner(SkillPractice):
    name: ClassVar[str] = "learner"
    @property
    def latent_specs(self):
        return self._common_latents()
    def begin_lesson(self, latents, uniforms):
        return {"n": latents["ability"].new_zeros(len(latents["ability"]), self.n_skills)}
    def p_correct(self, latents, state):
        return 1 - 0.5 ** (1 + state["n"])
    def practise(self, latents, state, practised, correct, style):
        return {"n": state["n"] + practised}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plain.py").write_text(PLAIN)
    (tmp_path / "skills.py").write_text(SKILLS)
    (tmp_path / "raises.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "unfinished.py").write_text("def f(:\n")
    (tmp_path / "uses_sibling.py").write_text("from plain import Learner\n")
    return tmp_path


def population(student: str, **fields: object) -> Population:
    return Population.model_validate({"name": "mine", "student": student, **fields})


# -- found -----------------------------------------------------------------------------------------
def test_built_in_names_come_first() -> None:
    assert student_class("bkt") is STUDENT_MODELS["bkt"]


def test_what_the_class_is_decides_the_door(folder: Path) -> None:
    assert issubclass(student_class("skills.py:Learner", folder), SkillPractice)
    assert issubclass(student_class("plain.py:Learner", folder), PythonStudent)
    assert issubclass(student_class("uses_sibling.py:Learner", folder), PythonStudent)
    env = "gymnasium.envs.toy_text.frozen_lake:FrozenLakeEnv"
    assert issubclass(student_class(env), GymStudent)
    assert student_class("gym") is GymStudent
    module = student_class("tutor_envs.students.irt:IRT")
    assert module is STUDENT_MODELS["irt"]


def test_one_file_is_one_class_until_it_changes(folder: Path) -> None:
    first = student_class("plain.py:Learner", folder)
    assert student_class(f"{folder}/plain.py:Learner") is first
    (folder / "plain.py").write_text(PLAIN.replace('"b"', '"b", "c"'))
    changed = student_class("plain.py:Learner", folder)
    assert changed().skills == ("a", "b", "c")


def test_paths_count_from_the_file_that_names_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "mine.yaml").write_text("name: mine\nstudent: plain.py:Learner\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    found = load_population(folder / "mine.yaml")
    assert found.student == f"{folder.resolve()}/plain.py:Learner"
    again = Population.model_validate(json.loads(found.model_dump_json()))
    assert again == found
    monkeypatch.chdir(folder)
    assert population("plain.py:Learner").student == found.student


def test_environments_take_references_and_population_names() -> None:
    assert resolve_population("bkt", "bkt", None).name == "bkt"
    student = f"{EXAMPLES}/moody.py:Moody"
    found = resolve_population(student, None, None)
    assert found.student == student
    assert found.student_model.skills == ("fractions", "equations")


def test_a_separate_package_is_used_by_name(tmp_path: Path) -> None:
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools to build the package")
    source, target = tmp_path / "source", tmp_path / "installed"
    for path in PACKAGE.rglob("*"):  # building writes beside the sources
        if path.is_file() and path.suffix in {".py", ".toml"}:
            copy = source / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    code = f"""
        import sys
        sys.path.append({str(target)!r})
        from tutor_envs.population import Population
        from tutor_envs.student_registry import known_names, student_class
        mine = Population.model_validate({{"name": "mine", "student": "example_sprinter"}})
        assert type(mine.student_model).__module__ == "example_students.sprinter"
        assert Population.model_validate(mine.model_dump(mode="json")) == mine
        assert {{"example_sprinter", "gym", "bkt"}} <= set(known_names())
        try:
            student_class("example_broken")
        except ValueError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("`student` 'example_broken': importing example_students.nothing_")
    assert "ModuleNotFoundError" in done.stdout


# -- not found -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("bkd", r"unknown `student` 'bkd'; allowed: .*did you mean 'bkt'\?; a student of your own"),
        (None, "unknown `student` None"),
        ("no_such_module:Learner", "there is no module `no_such_module`.*write `no_such_module.py"),
        ("tutor_envs.none:Learner", "there is no module `tutor_envs.none`"),
        ("none.py:Learner", r"there is no file .*none\.py"),
        ("plain.py:Leaner", r"unknown `.*plain.py:` 'Leaner'.*did you mean 'Learner'\?"),
        ("plain.py:NOT_A_CLASS", "must be a class, got int"),
        ("plain.py:Nobody", "is not a student: it must be a subclass of StudentModel"),
        ("raises.py:Learner", r"raised ZeroDivisionError: division by zero \(at raises.py:2\)"),
        ("unfinished.py:Learner", "unfinished.py raised .*SyntaxError"),
        ("tutor_envs.practice:SkillPractice", "must still define: .*begin_lesson.*p_correct"),
    ],
)
def test_each_way_to_fail_has_its_message(folder: Path, reference: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        student_class(reference, folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('("a", "b")', '("a", "a")', "`skills`: different names"),
        ("    skills", "    skill", "must have a class attribute `skills`"),
        ("def mastery", "def master", "must define the method `mastery`"),
        ("    def teach", "    actions = (1,)\n    def teach", "each of `actions` must be"),
        ("    def teach", "    latents = {'x': 1}\n    def teach", "`latents.x` must be like"),
        (
            "    def teach",
            "    latents = {'x': {'default': 2, 'high': 1}}\n    def teach",
            r"`latents.x.default` must be in \[-inf, 1\], got 2",
        ),
        (
            "    def teach",
            "    latents = {'x': {'default': 1, 'hihg': 1}}\n    def teach",
            "did you mean 'high'",
        ),
        (
            "    def teach",
            "    actions = (('quiz', 'z', ''),)\n    def teach",
            "unknown `actions` 'z'; allowed: a, b",
        ),
    ],
)
def test_a_plain_class_is_told_what_it_lacks(
    folder: Path, old: str, new: str, message: str
) -> None:
    (folder / "mine.py").write_text(PLAIN.replace(old, new))
    with pytest.raises(ValueError, match=message):
        student_class("mine.py:Learner", folder)


def test_a_model_that_cannot_say_what_it_is(folder: Path) -> None:
    text = SKILLS.replace("return self._common_latents()", "return self._latents")
    (folder / "mine.py").write_text(text)
    with pytest.raises(ValueError, match=r"`learner`: `latent_specs` raised AttributeError"):
        population(f"{folder}/mine.py:Learner")
    (folder / "unnamed.py").write_text(SKILLS.replace("    name: ClassVar", "    title: ClassVar"))
    with pytest.raises(ValueError, match="must have a name: `name: ClassVar"):
        student_class("unnamed.py:Learner", folder)


# -- faults while teaching -------------------------------------------------------------------------
def teach(student: str, n_students: int = 4) -> None:
    room = Classroom(population(student), TeachingTask(n_lessons=2, n_steps=3))
    room.begin_trial(student_indices(Split.TRAIN, n_students, start=10))
    for _ in range(6):
        room.step(torch.zeros(n_students, dtype=torch.int64))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '{"n": state["n"] + practised}',
            '{"n": state["n"] * float("nan")}',
            r"`mastery` must be in \[0, 1\], got \[nan.*\[student 10, lesson 0, step 0\]",
        ),
        ('1 - 0.5 ** (1 + state["n"])', '1 + state["n"]', r"`mastery` must be in \[0, 1\], got"),
        (
            '1 - 0.5 ** (1 + state["n"])',
            '(1 - 0.5 ** (1 + state["n"])).mean(-1)',
            r"`mastery` must be a tensor of shape \(4, 4\), got \(4,\)",
        ),
        (
            '        return {"n": state',
            "        if (state['n'] > 1).any():\n            raise KeyError('speed')\n"
            "        return {'n': state",
            r"`step` raised KeyError: 'speed' \(at mine.py:\d+\) \[lesson 0, step 2\]",
        ),
    ],
)
def test_a_batched_model_that_fails_is_named(
    folder: Path, old: str, new: str, message: str
) -> None:
    (folder / "mine.py").write_text(SKILLS.replace(old, new))
    with pytest.raises(StudentError, match=r"custom student `learner`: " + message):
        teach(f"{folder}/mine.py:Learner")


def test_the_student_at_whom_a_batched_model_fails_is_named(folder: Path) -> None:
    broken = SKILLS.replace(
        '        return {"n": state',
        "        if (latents['ability'] > 5).any(): raise ValueError('too able')\n"
        '        return {"n": state',
    )
    (folder / "mine.py").write_text(broken)
    one_in_two = {"categorical": {"values": [0, 9], "probabilities": [0.5, 0.5]}}
    mixed = population(f"{folder}/mine.py:Learner", latents={"ability": one_in_two})
    students = student_indices(Split.TRAIN, 50)
    able = mixed.sample(0, students)["ability"] > 5
    students = torch.cat([students[~able][:2], students[able][3:4], students[~able][2:4]])
    room = Classroom(mixed, TeachingTask(n_steps=3))
    room.begin_trial(students)
    with pytest.raises(StudentError) as caught:
        room.step(torch.zeros(5, dtype=torch.int64))
    assert caught.value.student == int(students[2])


def test_built_in_models_are_not_watched() -> None:
    room = Classroom(population("bkt"), TeachingTask())
    assert room._taught is room.model
    assert not is_plug_in(room.model)
