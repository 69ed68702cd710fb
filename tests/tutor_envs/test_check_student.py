"""The checker passes every built-in model, and says what is wrong with each broken one."""

from __future__ import annotations

import random
import sys
import textwrap
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from tutor_envs.practice import SkillPractice
from tutor_envs.student import LatentSpec
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.testing import CHECKS, Report, check_student

EXAMPLES = Path(__file__).parents[2] / "experiments"
PLUGIN = Path(__file__).parents[1] / "plugin_package" / "src" / "example_students"


@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_every_built_in_model_passes(student: str) -> None:
    report = check_student(student, n_students=16, n_steps=4, with_speed=False)
    assert report.ok, report
    assert report.checks == tuple(CHECKS)


@pytest.mark.parametrize(
    "student",
    [
        f"{EXAMPLES}/custom_students/interference.py:Interference",
        f"{EXAMPLES}/custom_students/moody.py:Moody",
        f"{EXAMPLES}/custom_students/bandit_env.py:Bandit",
        f"{EXAMPLES}/large_family/ten_skills.py:TenSkills",
        f"{PLUGIN}/sprinter.py:Sprinter",
    ],
)
def test_every_example_passes(student: str) -> None:
    report = check_student(student, n_students=16, n_steps=4, with_speed=False)
    assert not report.findings, report


# -- one broken student for every check ------------------------------------------------------------
class Sound(SkillPractice):
    """Nothing is wrong with it."""

    name: ClassVar[str] = "sound"
    n_skills: int = 2

    @property
    def latent_specs(self):
        return self._common_latents() | {"rate": LatentSpec((), 0, 1, 0.4, "share learned")}

    def begin_lesson(self, latents, uniforms):
        return {"known": latents["rate"].new_zeros(len(latents["rate"]), self.n_skills)}

    def p_correct(self, latents, state):
        return 0.2 + 0.7 * state["known"]

    def practise(self, latents, state, practised, correct, style):
        gain = latents["rate"].unsqueeze(-1) * (1 - state["known"])
        return {"known": torch.where(practised, state["known"] + gain, state["known"])}


class TwoSkillsAlike(Sound):
    @property
    def skills(self):
        return ("a", "a")


class FloatResponse(Sound):
    def step(self, latents, state, action, uniforms):
        after, response = super().step(latents, state, action, uniforms)
        return after, response.float()


class FlatMastery(Sound):
    def mastery(self, latents, state):
        return super().mastery(latents, state).mean(-1)

    def post_test(self, latents, state):
        return self.mastery(latents, state)


class StateLosesAKey(Sound):
    def begin_lesson(self, latents, uniforms):
        known = super().begin_lesson(latents, uniforms)
        return {**known, "extra": known["known"]}


class MasteryAboveOne(Sound):
    def mastery(self, latents, state):
        return 2 * super().mastery(latents, state)

    def post_test(self, latents, state):
        return super().mastery(latents, state).mean(-1)


class NanMastery(Sound):
    def p_correct(self, latents, state):
        return super().p_correct(latents, state) + 0 / state["known"].sum(-1, keepdim=True)


class ResponseTooLarge(Sound):
    def step(self, latents, state, action, uniforms):
        after, response = super().step(latents, state, action, uniforms)
        return after, response + 2


class CountsItsCalls(Sound):
    calls: ClassVar[list[int]] = []

    def begin_lesson(self, latents, uniforms):
        self.calls.append(1)
        known = super().begin_lesson(latents, uniforms)
        return {"known": known["known"] + 0.01 * (len(self.calls) % 7)}


class SeesTheClass(Sound):
    def practise(self, latents, state, practised, correct, style):
        after = super().practise(latents, state, practised, correct, style)
        return {"known": 0.5 * (after["known"] + after["known"].mean(0))}


class MakesCpuTensors(Sound):
    def begin_lesson(self, latents, uniforms):
        return {"known": torch.zeros(len(latents["rate"]), self.n_skills)}


class ReadsValues(Sound):
    def p_correct(self, latents, state):
        return super().p_correct(latents, state) * min(1.0, 1 + state["known"].max().item())


class OneDtype(Sound):
    def mastery(self, latents, state):
        return super().mastery(latents, state).float()


class MaskShowsAbility(Sound):
    def begin_lesson(self, latents, uniforms):
        known = super().begin_lesson(latents, uniforms)
        return known | {"able": latents["ability"] > 0}

    def practise(self, latents, state, practised, correct, style):
        return super().practise(latents, state, practised, correct, style) | {"able": state["able"]}

    def legal_actions(self, state):
        mask = state["able"].unsqueeze(-1).repeat(1, self.n_actions)
        mask[:, 0] = True
        return mask


class SignalShowsRate(Sound):
    @property
    def signal_names(self):
        return ("hint",)

    def signals(self, latents, state):
        started = (state["known"].sum(-1) > 0).to(latents["rate"])
        return (started * latents["rate"]).unsqueeze(-1)


class SignalAtTheStart(SignalShowsRate):
    def signals(self, latents, state):
        return latents["rate"].unsqueeze(-1) + state["known"][:, :1]


class UsesRandom(Sound):
    def begin_lesson(self, latents, uniforms):
        known = super().begin_lesson(latents, uniforms)
        return {"known": known["known"] + 0.1 * random.Random(0).random() + 0 * random.random()}


class UsesTorchRandom(Sound):
    def begin_lesson(self, latents, uniforms):
        torch.manual_seed(3)
        return {"known": 0.1 * torch.rand(len(latents["rate"]), 1).repeat(1, 2).to(latents["rate"])}


class UsesNumpyRandom(Sound):
    def begin_lesson(self, latents, uniforms):
        np.random.random()  # noqa: NPY002
        return super().begin_lesson(latents, uniforms)


class ChangesItsInput(Sound):
    def practise(self, latents, state, practised, correct, style):
        state["known"] += 0.1 * practised * (1 - state["known"])
        return {"known": state["known"]}


class WaitsForNothing(Sound):
    def wait(self, latents, state, days, uniforms):
        return {"known": state["known"] - 0.1 * days.unsqueeze(-1)}


class PredictsTheOpposite(Sound):
    def step(self, latents, state, action, uniforms):
        p_correct = self.predict(latents, state, action)[:, 1]
        response = (uniforms[:, 0] >= p_correct).long()
        return self.update(latents, state, action, response), response


class BelievesTooMuch(Sound):
    def belief_mastery(self, latents, belief):
        return (self.mastery(latents, belief) + 0.05).clamp(max=1)


class PromisesTooMuch(Sound):
    def expected_gain(self, latents, state, action):
        return 1.5 * super().expected_gain(latents, state, action)


class Raises(Sound):
    def practise(self, latents, state, practised, correct, style):
        raise KeyError("speed")


BROKEN: list[tuple[type, str, str]] = [
    (TwoSkillsAlike, "declarations", "`skills` must be different"),
    (FloatResponse, "types and shapes", "response must be torch.int64, got torch.float32"),
    (FlatMastery, "types and shapes", "`mastery` must have the shape (16, 2), got (16,)"),
    (StateLosesAKey, "types and shapes", "the state must keep its keys"),
    (MasteryAboveOne, "ranges", "`mastery` must be in [0, 1] and finite"),
    (NanMastery, "ranges", "`mastery` must be in [0, 1] and finite, got nan"),
    (ResponseTooLarge, "ranges", "`step` must respond with an index in [0, 2)"),
    (CountsItsCalls, "determinism", "differ when the same lesson is simulated again"),
    (SeesTheClass, "batch size", "a row may depend on nothing but its own"),
    (MakesCpuTensors, "device and dtype", "fails on a GPU"),
    (ReadsValues, "device and dtype", "values are read from tensors"),
    (OneDtype, "device and dtype", "`mastery` must follow the dtype of the latents"),
    (MaskShowsAbility, "nothing hidden is shown", "`legal_actions` differs after 0 steps"),
    (SignalAtTheStart, "nothing hidden is shown", "signals at the start of a lesson differ"),
    (SignalShowsRate, "signals", "the signal `hint` shows the hidden latent `rate`"),
    (UsesRandom, "no global generator", "global generator of random"),
    (UsesTorchRandom, "no global generator", "global generator of torch"),
    (UsesNumpyRandom, "no global generator", "global generator of numpy"),
    (ChangesItsInput, "inputs unchanged", "`state` is changed in place"),
    (WaitsForNothing, "waiting", "in [0, 1] after a `wait` of 30 days"),
    (PredictsTheOpposite, "belief", "`predict` says"),
    (BelievesTooMuch, "belief", "`belief_mastery` is wrong by +0.05"),
    (PromisesTooMuch, "belief", "`expected_gain` is wrong by +"),
    (Raises, "types and shapes", "raised KeyError: 'speed' (at test_check_student.py:"),
]


def check(student: Any, **settings: Any) -> Report:
    return check_student(student, n_students=16, n_steps=4, with_speed=False, **settings)


def test_the_sound_student_passes() -> None:
    report = check(Sound)
    assert not report.findings, report
    assert "12 checks, no problems" in str(report)


@pytest.mark.parametrize(("kind", "rule", "message"), BROKEN)
def test_a_broken_student_is_told_what_to_change(kind: type, rule: str, message: str) -> None:
    report = check(kind)
    found = [finding for finding in report.findings if finding.check == rule]
    assert found, report
    assert any(message in finding.message for finding in found), report


def test_there_is_a_broken_student_for_every_check() -> None:
    assert {rule for _, rule, _ in BROKEN} == set(CHECKS)


class PlainGlobal:
    """Door 2, drawing from the wrong generator."""

    skills = ("a",)

    def __init__(self, latents, rng):
        self.known = 0.3

    def teach(self, action):
        return random.random() < self.known

    def mastery(self):
        return self.known


def test_plain_classes_are_checked_alike() -> None:
    report = check(PlainGlobal)
    assert {"determinism", "no global generator"} <= {f.check for f in report.problems}
    assert "draw from its `rng` alone" in str(report)


def test_slow_students_get_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    report = check_student(Sound, n_students=4, n_steps=1)
    assert report.steps_per_s is not None
    assert report.relative_speed is not None
    assert report.checks[-1] == "speed"
    monkeypatch.setattr("tutor_envs.checks.speed.relative_speed", lambda case: (12.0, 0.004))
    report = check_student(Sound, n_students=4, n_steps=1)
    assert report.ok
    assert [finding.check for finding in report.findings] == ["speed"]
    assert "12 student-steps a second, 0.40% of the built-in models" in str(report)


def test_a_population_file_can_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"name: mine\nstudent: {EXAMPLES}/custom_students/moody.py:Moody\nlatents: {{speed: 0.5}}\n"
    )
    assert check(str(path)).student == f"{EXAMPLES}/custom_students/moody.py:Moody"


def test_another_process_is_stopped_when_the_time_is_over(tmp_path: Path) -> None:
    file = tmp_path / "endless.py"
    file.write_text(
        textwrap.dedent("""
        import time
        class Endless:
            skills = ("a",)
            def __init__(self, latents, rng): pass
            def mastery(self): return 0.5
            def teach(self, action):
                time.sleep(1000)
        """)
    )
    report = check(f"{file}:Endless", time_limit_s=5)
    assert [f.check for f in report.problems] == ["time"]
    assert "no result after 5 s: it hangs" in report.problems[0].message
    with pytest.raises(ValueError, match="`time_limit_s` needs `student` to be a reference"):
        check(Sound, time_limit_s=1)


def test_reports_travel_between_processes() -> None:
    report = check(Raises)
    assert Report.from_json(report.to_json()) == report
    assert sys.modules[__name__]  # the class was found without being importable by others
