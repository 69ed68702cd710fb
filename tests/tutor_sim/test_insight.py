"""What a tutor does, one student's story, the projector's files, and the commands end to end."""

from __future__ import annotations

import collections
import csv
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from typer.testing import CliRunner, Result

from tutor_agents.best_fixed import BestFixedTutor, FixedSequence
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.varibad import VariBADConfig, VariBADLearner
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.cli import app
from tutor_sim.evaluation import evaluate
from tutor_sim.insight.behaviour import (
    groupings,
    ngrams,
    openings,
    sequences_csv,
    shares,
    shares_csv,
)
from tutor_sim.insight.belief import Tracker
from tutor_sim.insight.projector import write_projector
from tutor_sim.insight.story import Story, story_text
from tutor_sim.insight.trace import Trace, record

TASK = TeachingTask(n_lessons=2, n_steps=3)
PEOPLE = Population.model_validate(
    {
        "name": "people",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["text", "video"]},
        "types": {
            "reader": {"weight": 1, "latents": {"responsiveness": [0.9, 0.1], "ability": 1}},
            "viewer": {"weight": 1, "latents": {"responsiveness": [0.1, 0.9], "ability": -1}},
        },
        "latents": {"style_strength": 0.9, "p_slip": 0.1, "p_guess": 0.2},
    }
)


def random_trace(n_students: int = 60) -> Trace:
    return record(RandomTutor(PEOPLE.student_model), PEOPLE, TASK, n_students=n_students, seed=4)


def test_a_trace_is_what_an_evaluation_records() -> None:
    tutor = RandomTutor(PEOPLE.student_model)
    trace = random_trace(20)
    same = evaluate(tutor, PEOPLE, TASK, n_students=20, seed=4)
    assert np.array_equal(trace.seen.actions.numpy(), same.actions.reshape(6, 20))
    assert np.array_equal(trace.seen.responses.numpy(), same.responses.reshape(6, 20))
    after = trace.hidden.mastery_after.mean(-1).reshape(2, 3, 20)
    np.testing.assert_allclose(after.numpy(), same.mastery[:, 1:], atol=1e-6)
    np.testing.assert_allclose(
        trace.hidden.mastery_before.mean(-1)[::3].numpy(), same.mastery[:, 0], atol=1e-6
    )
    alone = record(tutor, PEOPLE, TASK, n_students=1, seed=4, first_student=7)
    assert torch.equal(alone.seen.actions[:, 0], trace.seen.actions[:, 7])
    assert torch.equal(alone.hidden.mastery_after[:, 0], trace.hidden.mastery_after[:, 7])


# -- what it does ---------------------------------------------------------------------------------
def test_sequences_are_counted() -> None:
    seen = random_trace().seen
    lessons = seen.actions.reshape(2, 3, 60).tolist()
    direct = collections.Counter(
        (lesson[t][i], lesson[t + 1][i]) for lesson in lessons for t in range(2) for i in range(60)
    )
    found = ngrams(seen, 2)
    assert {one.actions: one.n_times for one in found} == direct
    assert [one.n_times for one in found] == sorted(direct.values(), reverse=True)
    assert sum(one.share for one in found) == pytest.approx(1)
    begun = collections.Counter(tuple(step[i] for step in lessons[1]) for i in range(60))
    assert {one.actions: one.n_times for one in openings(seen, 1)} == begun
    assert ngrams(seen, 4) == []  # longer than a lesson
    rows = list(csv.DictReader(io.StringIO(sequences_csv(seen))))
    assert {row["what"] for row in rows} == {
        "opening of lesson 1", "opening of lesson 2", "any 2 actions", "any 3 actions",
    }  # fmt: skip
    assert " > " in rows[0]["actions"]


def test_shares_are_of_each_group() -> None:
    trace = random_trace()
    seen, model = trace.seen, PEOPLE.student_model
    found = groupings(trace.hidden, model, PEOPLE.type_names)
    assert [(g.name, g.groups) for g in found] == [
        ("everybody", ("everybody",)),
        ("ability", ("ability -1", "ability 1")),
        ("best modality", ("best by text", "best by video")),
        ("type", ("reader", "viewer")),
    ]
    values, share = shares(seen, "modality", found[2])
    assert values == ["text", "video"]
    types = trace.hidden.latents["type"].tolist()
    readers = [i for i in range(60) if types[i] == 0]
    for t in range(6):
        by_text = sum(model.actions[int(seen.actions[t, i])].modality == "text" for i in readers)
        assert share[0, t, 0] == pytest.approx(by_text / len(readers))
    np.testing.assert_allclose(share.sum(-1), 1)
    rows = list(csv.DictReader(io.StringIO(shares_csv(seen, found))))
    assert len(rows) == (1 + 2 + 2 + 2) * 6 * (2 + 2)  # groups, steps, skills and modalities
    assert rows[-1]["lesson"] == "2"
    assert rows[-1]["step"] == "3"


def test_terciles_are_thirds() -> None:
    people = Population.model_validate(
        {"name": "p", "student": "bkt", "latents": {"ability": {"normal": {"sd": 1}}}}
    )
    tutor = RandomTutor(people.student_model)
    trace = record(tutor, people, TeachingTask(n_steps=1), n_students=99, seed=0)
    _, ability = groupings(trace.hidden, people.student_model, people.type_names)
    assert np.bincount(ability.of_student).tolist() == [33, 33, 33]
    value = trace.hidden.latents["ability"].numpy()
    assert value[ability.of_student == 0].max() < value[ability.of_student == 1].min()


# -- one student ----------------------------------------------------------------------------------
def test_a_story_tells_what_happened_and_marks_what_is_hidden() -> None:
    plan = (0, 3, 1)
    tutor = BestFixedTutor(FixedSequence(plan, 0.0))
    trace = record(tutor, PEOPLE, TASK, n_students=1, seed=4, first_student=5)
    tracker = Tracker.of(PEOPLE, seed=0, n_sampled=1)
    believed = tracker.follow(trace.seen)
    story = Story(trace, 6, believed, tracker.name, PEOPLE.type_names)
    text = story_text(story, range(2))
    lines = text.splitlines()
    assert lines[0] == "Student 6, taught by best_fixed"
    assert "by the exact posterior over the 2 kinds of student" in lines[1]
    steps = [line for line in lines if "practice" in line]
    names = [str(PEOPLE.student_model.actions[a]) for a in plan * 2]
    for t, (line, name) in enumerate(zip(steps, names, strict=True)):
        seen, _, truth = line.partition(" | ")
        answer = ("✗ wrong", "✓ correct")[int(trace.seen.responses[t, 0])]
        assert name in seen
        assert answer in seen
        assert f"{float(believed.p_correct[t, 0]):.2f}" in seen
        skill = 0 if "skill_0" in name else 1
        before, after = trace.hidden.mastery_before, trace.hidden.mastery_after
        assert truth.strip() == f"{before[t, 0, skill]:.2f} → {after[t, 0, skill]:.2f}"
    # Whatever is told right of a bar is marked as hidden, in the line or in the column's head.
    assert all("hidden" in line for line in lines if "truth" in line)
    true_type = PEOPLE.type_names[int(trace.hidden.latents["type"][0])]
    assert any(line.strip().startswith("type: ") and f"truth {true_type}" in line for line in lines)
    only_second = story_text(story, range(1, 2))
    assert "Lesson 2 of 2" in only_second
    assert "Lesson 1 of 2" not in only_second


def test_a_story_without_a_belief_tells_the_rest() -> None:
    trace = record(RandomTutor(PEOPLE.student_model), PEOPLE, TASK, n_students=1, seed=4)
    text = story_text(Story(trace, 0, None, "nobody", PEOPLE.type_names), range(2))
    assert text.count("✓") + text.count("✗") == 6
    assert "believed 0" not in text


def test_varibad_tells_its_own_profile() -> None:
    small = {"n_trials": 8, "minibatches": 2, "hidden_size": 8, "total_steps": 48}
    tutor = VariBADLearner(VariBADConfig(**small, belief_size=2), PEOPLE, TASK).tutor()
    trace = record(tutor, PEOPLE, TASK, n_students=1, seed=4)
    profile = tutor.profile()  # type: ignore[attr-defined]
    text = story_text(Story(trace, 1, None, "nobody", PEOPLE.type_names), range(2))
    for i, name in enumerate(profile.names):
        whole, _, part = name.rstrip("]").partition("[")
        true = trace.hidden.latents[whole].flatten()[int(part or 0)]
        told = f"{name}: {profile.mean[0, i]:.2f} ± {profile.sd[0, i]:.2f} | truth {true:.2f}"
        assert f"{told} (hidden)" in text
    assert {"ability", "responsiveness[1]"} <= set(profile.names)


# -- the projector --------------------------------------------------------------------------------
def test_the_projector_finds_what_was_remembered(tmp_path: Path) -> None:
    """Read back as the projector plugin does: its configuration, then the tables it names."""
    trace = random_trace(30)
    held = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 30, 4))).float()
    trace = Trace(trace.tutor, trace.seen, trace.hidden, held, None)
    folder = tmp_path / "projector"
    for _ in range(2):  # again: what was there is replaced
        assert write_projector(folder, trace, PEOPLE) == ["after_lesson_1", "before_last_answer"]
    config = ProjectorConfig()
    text_format.Parse((folder / "projector_config.pbtxt").read_text(), config)
    assert len(config.embeddings) == 2
    for embedding, t in zip(config.embeddings, (3, 5), strict=True):
        points = np.loadtxt(folder / embedding.tensor_path, delimiter="\t")
        np.testing.assert_allclose(points, held[t].numpy(), rtol=1e-6)
        with (folder / embedding.metadata_path).open() as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert len(rows) == 30
        best = trace.hidden.latents["responsiveness"].argmax(-1).tolist()
        assert [row["best_modality"] for row in rows] == [("text", "video")[i] for i in best]
        assert [row["type"] for row in rows] == [("reader", "viewer")[i] for i in best]
        ability = [float(row["ability"]) for row in rows]
        assert ability == trace.hidden.latents["ability"].tolist()
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["projector"]


# -- the commands ---------------------------------------------------------------------------------
RL2 = """\
name: tiny
population:
  name: people
  student: bkt
  model: {n_skills: 2, modalities: [text, video]}
  latents:
    ability: {normal: {sd: 1}}
    responsiveness: {dirichlet: {concentration: 1}}
    style_strength: 0.5
task: {n_lessons: 2, n_steps: 3}
learner: {algorithm: rl2, total_steps: 192, n_trials: 16, minibatches: 2, epochs: 1, hidden_size: 8}
evaluation: {n_students: 8, validation_students: 8}
"""


def tutor_sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a tiny trained tutor."""
    folder = tmp_path_factory.mktemp("insight")
    (folder / "tiny.yaml").write_text(RL2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tutor_sim.compare.pictures", lambda *what: [])
        patch.setattr("tutor_sim.training.N_PICTURES", 1)
        result = tutor_sim(
            "train", folder / "tiny.yaml", "--device", "cpu", "--runs", folder / "runs"
        )
    assert result.exit_code == 0, result.output
    return folder / "runs" / "tiny-0-001"


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tutor_sim.insight.command.N_SAMPLED", 16)
    shutil.copytree(trained, "runs/tiny-0-001")
    return Path("runs/tiny-0-001")


def test_the_commands_from_end_to_end(run: Path) -> None:
    folder = run / "insight"
    result = tutor_sim("insight", run, "--students", 40, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "posterior over 16 sampled students, an approximation; no ceiling" in result.stdout
    for text in ("ability", "best modality", "mastery now", "most frequent opening", "Projector"):
        assert text in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 140
    rows = list(csv.DictReader(io.StringIO((folder / "probes.csv").read_text())))
    assert {row["source"] for row in rows} == {"memory", "counts", "posterior", "shuffled"}
    assert {row["measure"] for row in rows} == {"R²", "AUC", "Brier", "ECE"}
    assert {row["n_answers"] for row in rows} == set("012345")
    page = (folder / "insight.html").read_text()
    assert page.count("<img alt=") == 4  # probes; everybody, by ability, by best modality
    assert "http" not in page.replace("http://www.w3.org", "")
    for name in ("probes.svg", "actions.csv", "actions_by_best_modality.svg", "sequences.csv"):
        assert (folder / name).stat().st_size > 0
    assert (folder / "projector" / "projector_config.pbtxt").is_file()

    result = tutor_sim("lesson", run, "--student", 3, "--lesson", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "P(correct): before the answer, by the tutor's own belief head" in result.stdout
    assert "Lesson 2 of 2" in result.stdout
    assert (folder / "student-3-lesson-2.txt").read_text() in result.stdout
    assert (folder / "student-3-lesson-2.svg").read_text().startswith("<?xml")

    result = tutor_sim("class", run, "--students", 5, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "5 students after lesson 2 of 2" in result.stdout
    assert len((folder / "class.csv").read_text().splitlines()) == 1 + 5 * 2
    assert "<h3>Student 5</h3>" in (folder / "class.html").read_text()
    # The third student of the class is the third of the story.
    story = (folder / "student-3-lesson-2.txt").read_text()
    told = collections.Counter(re.findall(r"practice (skill_\d) .* (?:wrong|correct)", story))
    third = [
        row
        for row in csv.DictReader(io.StringIO((folder / "class.csv").read_text()))
        if row["student"] == "3"
    ]
    assert {row["skill"]: int(row["attempts"]) for row in third if row["attempts"] != "0"} == told


def test_lessons_that_do_not_exist_are_refused(run: Path) -> None:
    for command in ("lesson", "class"):
        result = tutor_sim(command, run, "--lesson", 3, "--device", "cpu")
        assert result.exit_code == 2
        assert result.stderr == "error: `--lesson` must be from 1 to 2, got 3\n"
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    result = tutor_sim("lesson", run, "--device", "cpu")
    assert result.exit_code == 2
    assert "no checkpoint yet" in result.stderr


def test_a_tutor_without_a_memory_is_refused_by_probes_alone(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment_file.parent)
    monkeypatch.setattr("tutor_sim.compare.pictures", lambda *what: [])
    monkeypatch.setattr("tutor_sim.training.N_PICTURES", 1)
    arguments = ("--set", "learner.total_steps=100", "--device", "cpu")
    assert tutor_sim("train", experiment_file, *arguments).exit_code == 0
    result = tutor_sim("insight", "runs/tiny-3-001", "--device", "cpu")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: tutor `tally` has no memory that can be read: ")
    assert not Path("runs/tiny-3-001/insight").exists()
    assert tutor_sim("class", "runs/tiny-3-001", "--students", 3).exit_code == 0
    assert tutor_sim("lesson", "runs/tiny-3-001").exit_code == 0


def test_a_run_of_several_trainings_names_them(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment_file.parent)
    monkeypatch.setattr("tutor_sim.compare.pictures", lambda *what: [])
    text = experiment_file.read_text().replace("seed: 3", "seeds: [3, 4]")
    experiment_file.write_text(text)
    arguments = ("--set", "learner.total_steps=100", "--device", "cpu")
    assert tutor_sim("compare", experiment_file, *arguments).exit_code == 0
    result = tutor_sim("class", "runs/tiny-0-001")
    assert result.exit_code == 2
    assert "several trainings; name one of them: " in result.stderr
    assert "parts/tally-3" in result.stderr
    assert tutor_sim("class", "runs/tiny-0-001/parts/tally-3", "--students", 2).exit_code == 0
