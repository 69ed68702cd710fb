"""Null controls: who knows what no tutor can know fails by the expected number; others pass."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from small_students import bandit, locked_bkt
from tutor_agents.registry import TUTORS, make_tutor
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents, State
from tutor_envs.students.bkt import BKT
from tutor_envs.task import TeachingTask
from tutor_sim.compare import Learned, compare
from tutor_sim.config import Experiment
from tutor_sim.controls.run import ANSWERS, IDLE, STRANGERS, Control, NullControls
from tutor_sim.controls.shown import (
    control_line,
    controls_from_json,
    controls_to_json,
    failures,
)
from tutor_sim.controls.students import all_the_same, untouched
from tutor_sim.controls.tutors import AnothersAnswers, StrangersAfterwards
from tutor_sim.evaluation import evaluate
from tutor_sim.experiment_files import load_experiment
from tutor_sim.statistics import Estimate, undefined

SEED = 4
EXAMPLES = Path(__file__).parents[2] / "experiments" / "custom_students"


class Acting:
    """A tutor of one function; it meets students by their indices."""

    name = "acting"

    def begin_trial(self, trial: Trial) -> None:
        self.trial = trial

    def observe(self, action: Tensor, observation: Observation) -> None:
        pass


class ReadsTheTruth(Acting):
    """Draws the student's latents again, and uses the modality that suits."""

    def __init__(self, population: Population) -> None:
        self.population = population

    def act(self, observation: Observation) -> Tensor:
        latents = self.population.sample(self.trial.seed, self.trial.students)
        return latents["responsiveness"].argmax(-1)


class KnowsTheLuck(Acting):
    """Draws what decides who knows what at the start, and teaches what is not known."""

    def act(self, observation: Observation) -> Tensor:
        u = uniforms(
            self.trial.seed,
            self.trial.students,
            purpose=Purpose.LESSON_START,
            n_lanes=2,
            trial=self.trial.trial,
            lesson=observation.lesson,
        )
        return (u[:, 0] < 0.5).long()  # the second skill where the first is known


class ByAnswers(Acting):
    """Stays with a modality that was answered correctly, else takes the other one."""

    def act(self, observation: Observation) -> Tensor:
        first = observation.action == 2
        stays = torch.where(observation.response == 1, observation.action, 1 - observation.action)
        return torch.where(first, 0, stays)


ONE_WAY = Population.model_validate(
    {
        "name": "one way",
        "student": "bkt",
        "model": {"n_skills": 1, "modalities": ["a", "b"]},
        "latents": {
            "responsiveness": {"categorical": {"values": [[1, 0], [0, 1]]}},
            "style_strength": 1,
            "p_init": 0,
            "p_learn": 0.5,
            "p_slip": 0,
            "p_guess": 0,
        },
    }
)
"""The right modality teaches at once (0.5 x 2), the other never."""
EVEN_CHANCE = Population.model_validate(
    {
        "name": "even chance",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["a"]},
        "latents": {"p_init": 0.5, "p_learn": 1, "p_slip": 0, "p_guess": 0},
    }
)
"""Two skills, each known by half of the students; what is practised is known afterwards."""


def controls(tutor: Any, population: Population, **task: int) -> dict[str, Control]:
    checks = NullControls(population, TeachingTask(**task), seed=SEED)
    return {control.name: control for control in checks.of(tutor, "x")}


# -- cheats fail, and by the number that theory says -----------------------------------------------
def test_who_reads_the_truth_fails_with_anothers_answers() -> None:
    found = controls(ReadsTheTruth(ONE_WAY), ONE_WAY, n_steps=1)[ANSWERS]
    # its own actions teach everybody; those chosen for others teach one in two
    assert found.difference.low < 0.5 < found.difference.high
    assert found.difference.low > 0.4
    assert not found.passed
    assert found.n_errors > 10


def test_who_knows_a_students_luck_fails_with_anothers_answers_and_among_strangers() -> None:
    found = controls(KnowsTheLuck(), EVEN_CHANCE, n_lessons=2, n_steps=1)
    # known are none, the first, the second or both skills, 1/4 each; with the luck known the test
    # score is 1/2, 1, 1, 1, mean 7/8; with a practice that knows nothing 1/2, 3/4, 3/4, 1: 3/4
    for name in (ANSWERS, STRANGERS):
        assert found[name].difference.low < 1 / 8 < found[name].difference.high
        assert not found[name].passed


class WritesIntoItsState(BKT):
    """A faulty student model: the step changes the tensors that it was given."""

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        after, response = super().step(latents, state, action, uniforms)
        state["mastered"].copy_(after["mastered"])
        return after, response


def test_students_whom_teaching_reaches_all_the_same_fail_the_idle_actions() -> None:
    fields = {name: getattr(ONE_WAY, name) for name in Population.model_fields}
    model = WritesIntoItsState(n_skills=1, modalities=("a", "b"))
    leaky = Population.model_validate(fields | {"model": model})
    found = controls(ReadsTheTruth(leaky), leaky, n_steps=1)[IDLE]
    assert found.difference.low < 0.5 < found.difference.high
    assert not found.passed


# -- honest tutors pass ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", [name for name in TUTORS if name != "bayes" and not TUTORS[name].informed]
)
def test_honest_tutors_pass_all_three(name: str) -> None:
    population = ONE_WAY.with_latents(p_slip=0.1, p_guess=0.2, p_init=0.3, p_learn=0.3)
    task = TeachingTask(n_lessons=2, n_steps=4)
    options = {"max_student_steps": 20_000} if name == "best_fixed" else {}
    tutor = make_tutor(name, population, task, **options)
    found = NullControls(population, task, seed=SEED).of(tutor, name)
    assert [control.name for control in found] == [ANSWERS, STRANGERS, IDLE]
    assert all(control.defined and control.passed for control in found)
    assert found[2].difference == Estimate(0, 0, 0)


def test_adapting_to_answers_is_worth_much_and_is_no_cheat() -> None:
    tutor, task = ByAnswers(), TeachingTask(n_steps=2)
    population = bandit([[0.9, 0.0], [0.0, 0.9]], n_units=2)
    own, yoked = (
        evaluate(one, population, task, n_students=1000, seed=SEED).score
        for one in (tutor, AnothersAnswers(tutor, population, task, seed=SEED))
    )
    # who learns by a: .9 twice; by b: missed the first time, .9 the second; with the answers of
    # another the second action is right in one case of two: .9 (1/2 + 1/2) / 2
    assert own == pytest.approx((0.9 * (0.9 * 1 + 0.1 * 0) + 0.9 + 0.9) / 4, abs=0.03)
    assert yoked == pytest.approx(0.45, abs=0.03)
    assert NullControls(population, task, seed=SEED).of(tutor, "x")[0].passed


def test_oracles_say_so_and_an_oracle_that_hides_fails() -> None:
    population, task = default_population("bkt"), TeachingTask(n_steps=6)

    class Hidden(Acting):
        """The oracle with a classroom of its own, in step with the real one."""

        def __init__(self) -> None:
            self.oracle = make_tutor("oracle", population, task)

        def begin_trial(self, trial: Trial) -> None:
            self.room = Classroom(population, task, seed=SEED)
            self.oracle.inform(self.room)  # type: ignore[attr-defined]
            self.oracle.begin_trial(trial)
            self.room.begin_trial(trial.students)

        def act(self, observation: Observation) -> Tensor:
            action = self.oracle.act(observation)
            self.room.step(action)
            return action

    assert not NullControls(population, task, seed=SEED).of(Hidden(), "x")[0].passed


# -- the conditions themselves ---------------------------------------------------------------------
def test_the_other_student_is_another_one_and_answers_what_the_tutor_did() -> None:
    task = TeachingTask(n_lessons=2, n_steps=3, show_score=True)
    population = default_population("bkt")

    class Notes(Acting):
        def __init__(self) -> None:
            self.seen: list[Observation] = []

        def act(self, observation: Observation) -> Tensor:
            self.seen.append(observation)
            return torch.full_like(observation.action, len(self.seen) % 12)

        def observe(self, action: Tensor, observation: Observation) -> None:
            self.seen.append(observation)
            assert torch.equal(observation.action, action)

    notes, n = Notes(), 64
    yoked = AnothersAnswers(notes, population, task, seed=SEED)
    evaluate(yoked, population, task, n_students=n, seed=SEED)
    room = Classroom(population, task, seed=SEED)
    room.begin_trial(student_indices(Split.TEST, n, start=2**29))
    for planned, seen in zip(yoked.planned, notes.seen[1::2], strict=True):
        expected = room.step(planned).observation
        assert torch.equal(seen.response, expected.response)
        assert torch.equal(seen.score, expected.score)


class TellsRows(Acting):
    """Teaches each row another skill and keeps what it saw."""

    def __init__(self) -> None:
        self.responses: list[Tensor] = []

    def act(self, observation: Observation) -> Tensor:
        return torch.arange(len(observation.action)) % 2

    def observe(self, action: Tensor, observation: Observation) -> None:
        assert torch.equal(action, torch.arange(len(action)) % 2)
        assert torch.equal(observation.action, action)
        self.responses.append(observation.response)


def test_from_the_second_lesson_on_row_r_teaches_student_r_plus_one() -> None:
    task, n = TeachingTask(n_lessons=3, n_steps=2), 8
    tutor = TellsRows()
    evaluation = evaluate(StrangersAfterwards(tutor), EVEN_CHANCE, task, n_students=n, seed=SEED)
    own = torch.arange(n) % 2
    for lesson in range(3):
        by_student = own if lesson == 0 else own.roll(1)
        for step in range(2):
            assert evaluation.actions[lesson, step].tolist() == by_student.tolist()
            responses = torch.from_numpy(evaluation.responses[lesson, step]).long()
            mine = responses if lesson == 0 else responses.roll(-1)
            assert torch.equal(tutor.responses[2 * lesson + step], mine)


def test_legal_actions_are_those_of_the_student_who_is_taught_now() -> None:
    # evaluate() refuses an illegal action
    population, task = locked_bkt(), TeachingTask(n_lessons=3, n_steps=4)
    tutor = make_tutor("random", population, task)
    evaluate(StrangersAfterwards(tutor), population, task, n_students=50, seed=SEED)
    assert all(c.passed for c in NullControls(population, task, seed=SEED).of(tutor, "x"))


@pytest.mark.parametrize("student", ["bkt", "fsrs", "kss", "mixed_types"])
def test_all_the_same_are_one_student_of_the_population(student: str) -> None:
    population = default_population(student)
    same = all_the_same(population).sample(0, student_indices(Split.TEST, 50))
    real = population.sample(0, student_indices(Split.TRAIN, 256))
    del same["type"], real["type"]
    assert all(torch.equal(v, v[:1].expand_as(v)) for v in same.values())
    fits = [
        all(torch.allclose(same[name][0], real[name][i], atol=1e-6) for name in same)
        for i in range(256)
    ]
    assert any(fits)


@pytest.mark.parametrize("student", ["bkt", "fsrs", "memory", "kss"])
def test_untouched_students_know_at_the_end_what_they_knew_before(student: str) -> None:
    still = untouched(default_population(student))
    task = TeachingTask(n_lessons=2, n_steps=5)
    evaluation = evaluate(make_tutor("random", still, task), still, task, n_students=30, seed=SEED)
    assert (evaluation.post_test == evaluation.post_test[:, :1]).all()
    assert len({*evaluation.responses.ravel().tolist()}) == 2


# -- where a control makes no sense ----------------------------------------------------------------
def test_undefined_controls_say_why_and_count_as_neither() -> None:
    random = make_tutor("random", ONE_WAY, TeachingTask())
    one_lesson = controls(random, ONE_WAY, n_steps=2)
    assert not one_lesson[STRANGERS].defined
    assert one_lesson[STRANGERS].difference.reason.startswith("there is one lesson")
    leaving = locked_bkt(dropout={"hazard": 0.1})
    random = make_tutor("random", leaving, TeachingTask())
    found = controls(random, leaving, n_lessons=2, n_steps=3)
    assert "students may leave" in found[STRANGERS].difference.reason
    assert found[IDLE].passed
    line = control_line(list(one_lesson.values()))
    assert line.startswith("Null controls: passed (2 of 2; x; 300 students each).")
    assert "Not tried: strangers alike: there is one lesson" in line


def test_students_who_can_only_be_simulated_cannot_be_left_untouched() -> None:
    population = load_experiment(EXAMPLES / "moody.yaml").population
    random = make_tutor("random", population, TeachingTask())
    found = controls(random, population, n_lessons=2, n_steps=3)
    assert "can only be simulated" in found[IDLE].difference.reason
    assert found[ANSWERS].passed
    assert found[STRANGERS].passed


def test_json_reads_back_and_failures_are_loud() -> None:
    given = [
        Control(ANSWERS, "x", Estimate(0.2, 0.1, 0.3), 0.04),
        Control(STRANGERS, "x", undefined("there is one lesson"), math.nan),
        Control(IDLE, "x", Estimate(0.1, 0.1, 0.1), 0.0),
    ]
    plain = json.loads(json.dumps(controls_to_json(given), allow_nan=False))
    assert plain["passed"] is False
    assert [one["passed"] for one in plain["controls"]] == [False, None, False]
    back = controls_from_json(plain, "y")
    assert [c.tutor for c in back] == ["y"] * 3
    assert str(back).replace("'y'", "'x'") == str(given)
    assert len(failures(given)) == 2
    assert "5.0 standard errors" in failures(given)[0]


# -- in a comparison -------------------------------------------------------------------------------
@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutor_sim.compare.pictures", lambda *what: [])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("cheats", [True, False])
def test_a_comparison_shouts_where_a_tutor_fails(tmp_path: Path, cheats: bool) -> None:
    experiment = Experiment.model_validate(
        {
            "name": "x",
            "population": ONE_WAY,
            "task": {"n_steps": 1},
            "tutors": ["random", "oracle"],
            "evaluation": {"n_students": 50},
        }
    )
    tutor = ReadsTheTruth(ONE_WAY) if cheats else make_tutor("thompson", ONE_WAY, TeachingTask())
    text = io.StringIO()
    compare(
        experiment,
        folder=tmp_path,
        learned=[Learned.of(tutor)],
        console=Console(file=text, width=200),
    )
    said = ("Null controls: FAILED (1 of 2;", "NULL CONTROL FAILED: acting, another's answers")
    report = (tmp_path / "report.html").read_text()
    plain = json.loads((tmp_path / "summary.json").read_text())["null_controls"]
    assert plain["passed"] is not cheats
    assert {one["tutor"] for one in plain["controls"]} == {tutor.name}
    for part in said:
        assert (part in text.getvalue()) is cheats
    assert ("NULL CONTROL FAILED" in report) is cheats
    assert ("Null controls: passed (2 of 2; thompson" in text.getvalue()) is not cheats


@pytest.mark.usefixtures("quick")
def test_without_learned_tutors_the_best_baseline_is_controlled(tmp_path: Path) -> None:
    experiment = Experiment.model_validate(
        {
            "name": "x",
            "population": ONE_WAY,
            "task": {"n_steps": 3},
            "tutors": ["random", "thompson", "oracle"],
            "evaluation": {"n_students": 50},
        }
    )
    compare(experiment, folder=tmp_path)
    plain = json.loads((tmp_path / "summary.json").read_text())["null_controls"]
    assert {one["tutor"] for one in plain["controls"]} == {"thompson"}
    assert plain["passed"] is True
