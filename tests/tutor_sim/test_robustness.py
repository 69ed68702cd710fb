"""Robustness: known drops with hand-built students, the populations, and the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.population_files import POPULATIONS, default_population
from tutor_envs.shifts import SHIFTS
from tutor_sim.cli import app
from tutor_sim.compare import Learned
from tutor_sim.config import Experiment
from tutor_sim.robustness.page import findings
from tutor_sim.robustness.populations import named_populations, standard_populations
from tutor_sim.robustness.teaching import Line, Robustness, teach_elsewhere


class AlwaysFirst:
    """Teaches by the first modality, whoever comes."""

    name = "first"

    def begin_trial(self, trial: Trial) -> None:
        pass

    def act(self, observation: Observation) -> Tensor:
        return torch.zeros_like(observation.action)

    def observe(self, action: Tensor, observation: Observation) -> None:
        pass


def one_way(**model: Any) -> dict[str, Any]:
    """One skill, learned for certain (0.5 x 2) by the first of two modalities, never else."""
    return {
        "name": "one way",
        "student": "bkt",
        "model": {"n_skills": 1, "modalities": ["a", "b"], "ability_on_init": 0} | model,
        "latents": {
            "ability": 0,
            "responsiveness": [1, 0],
            "style_strength": 1,
            "p_init": 0.2,
            "p_learn": 0.5,
            "p_slip": 0,
            "p_guess": 0,
        },
        "variants": {
            "knowing": {"latents": {"p_init": 0.6}},
            "plain": {"latents": {"style_strength": 0}},
        },
    }


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "x",
            "population": one_way(),
            "task": {"n_steps": 1},
            "tutors": ["random", {"best_fixed": {"n_students": 50}}, "bayes", "oracle"],
            "evaluation": {"n_students": 400},
        }
        | changes
    )


@pytest.fixture(scope="module")
def found() -> Robustness:
    given = experiment()
    names = ["turned_styles", "no_styles", "slower", "knowing"]
    places = named_populations(given.population, names)
    return teach_elsewhere(given, [Learned.of(AlwaysFirst())], places, n_students=400)


def line(found: Robustness, name: str) -> Line:
    (one,) = [one for one in found.lines if one.place.name == name]
    return one


# -- drops that are known --------------------------------------------------------------------------
def test_the_tutor_loses_exactly_what_the_students_are_different_by(found: Robustness) -> None:
    home, turned = line(found, "home"), line(found, "turned_styles")
    assert home.score[:3] == (1, 1, 1)
    assert home.drop[:3] == (0, 0, 0)
    # at home all know it after one action; now only those who knew it before, 0.2
    assert turned.score.low < 0.2 < turned.score.high
    assert turned.drop.value == pytest.approx(1 - turned.score.value)
    # 0.2 + 0.8 * 0.5 learn without styles, and half of 0.5 x 2 where everything is slower
    for name in ("no_styles", "slower"):
        assert line(found, name).score.low < 0.6 < line(found, name).score.high


def test_references_know_the_students_there_and_baselines_those_at_home(found: Robustness) -> None:
    turned = line(found, "turned_styles")
    # the oracle, and the planner that was told, teach everyone by the other modality
    assert turned.oracle.value == turned.bayes.value == 1
    # random finds it half of the time, and the best fixed sequence is that of home
    assert turned.baseline == "random"
    assert turned.random.low < 0.2 + 0.8 / 2 < turned.random.high
    assert turned.baseline_drop.low < 0 < turned.baseline_drop.high
    assert turned.lead.low < -0.4 < turned.lead.high
    # 0 is random, 0.6, and 1 the oracle, 1: the tutor is at (0.2 - 0.6) / 0.4
    assert turned.fraction_of_oracle.low < -1 < turned.fraction_of_oracle.high
    assert turned.fraction_of_optimal.value == pytest.approx(-1, abs=0.3)


def test_drops_are_paired_student_by_student(found: Robustness) -> None:
    # whoever knows it at home knows it there: one variance for two would be far too wide
    drop = line(found, "knowing").drop
    assert drop[:3] == (0, 0, 0)
    at_home = {one.tutor: one for one in found.summaries[0].tutors}["random"]
    assert at_home.score.high > at_home.score.low


def test_findings_name_the_worst_place_and_who_is_better_there(found: Robustness) -> None:
    first, second = findings(found)
    assert first.startswith("first loses most with the students turned_styles: 0.7")
    # the best fixed sequence of home is the same one everywhere
    assert "in 0 of 4 other populations, and worse than one of them with turned_styles" in second


# -- which populations -----------------------------------------------------------------------------
def test_the_standard_populations_are_all_shifts_variants_and_other_models() -> None:
    places, left_out = standard_populations(default_population("bkt"))
    assert [p.name for p in places if p.kind == "shift"] == list(SHIFTS)
    assert [p.name for p in places if p.kind == "variant"] == ["harder", "strong_style"]
    assert [p.name for p in places if p.kind == "model"] == ["irt", "fsrs"]
    assert [(one.name, one.reason) for one in left_out] == [
        ("no_style", "this variant is the same as the shift `no_styles`")
    ]


@pytest.mark.parametrize("name", POPULATIONS)
def test_every_population_that_ships_has_somewhere_to_go(name: str) -> None:
    home = default_population(name)
    places, left_out = standard_populations(home)
    assert {p.name for p in places} >= {"weaker"}
    assert len({p.name for p in places}) == len(places)
    assert len(places) + len(left_out) >= len(SHIFTS) + len(home.variants) + 2
    assert all(one.reason for one in left_out)


def test_populations_by_name_or_file(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("name: other\nstudent: bkt\nmodel: {n_skills: 1, modalities: [read, do]}\n")
    names = ["knowing", "weaker", "irt", "weaker", str(file)]
    places = named_populations(experiment().population, names)
    assert [p.kind for p in places] == ["variant", "shift", "model", "file"]
    assert places[-1].population.name == "other"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "`--population` must be a standard shift (weaker, slower, "),
        ("more_forgetting", "`--population` more_forgetting makes no sense for `one way`"),
        ("kss", "population `kss` cannot be taught by tutors of `one way`: it must have 2"),
    ],
)
def test_other_populations_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        named_populations(experiment().population, [name])
    assert message in str(caught.value)


def test_a_lesson_that_is_too_long_for_the_other_students_is_refused() -> None:
    given = experiment(task={"n_steps": 40})
    places = named_populations(given.population, ["actr"])
    with pytest.raises(ValueError, match=r"population actr: `task.n_steps` must be <= 32"):
        teach_elsewhere(given, [Learned.of(AlwaysFirst())], places, n_students=2)


# -- the command -----------------------------------------------------------------------------------
def tutor_sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def run(experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tutor_sim.compare.pictures", lambda *what: [])
    monkeypatch.setattr("tutor_sim.training.N_PICTURES", 1)
    result = tutor_sim("compare", experiment_file, "--device", "cpu", "--short")
    assert result.exit_code == 0, result.output
    assert "Null controls: passed (2 of 2; tally" in " ".join(result.stdout.split())
    return Path("runs/tiny-3-001")


def test_the_command_writes_a_table_a_page_and_data(run: Path) -> None:
    result = tutor_sim("robustness", run, "--students", 30, "--device", "cpu")
    assert result.exit_code == 0, result.output
    names = ["home", "weaker", "slower", "more_slips", "stronger_styles", "irt", "fsrs"]
    for name in names:
        assert f"\n{name}" in result.stdout
    assert "Left out: more_forgetting: it changes no student of `two skills`" in result.stdout
    folder = run / "robustness"
    content = json.loads((folder / "robustness.json").read_text())
    rows = list(csv.DictReader((folder / "robustness.csv").read_text().splitlines()))
    assert [row["population"] for row in rows] == [one["population"] for one in content["lines"]]
    assert {row["population"] for row in rows} >= set(names)
    assert {row["tutor"] for row in rows} == {"tally"}
    weaker = next(one for one in content["lines"] if one["population"] == "weaker")
    assert weaker["drop"]["value"] > 0
    assert weaker["bayes"]["reason"] == "no `bayes` there"
    home = content["lines"][0]
    there = {t["tutor"]: t for t in content["populations"]["weaker"]["tutors"]}
    drop = home["score"]["value"] - there["tally"]["score"]["value"]
    assert weaker["drop"]["value"] == pytest.approx(drop)
    assert float(rows[1]["drop"]) == pytest.approx(drop)
    page = (folder / "robustness.html").read_text()
    assert page.count("<img") == 1
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_command_refuses_what_it_cannot_do(run: Path, tmp_path: Path) -> None:
    refused = tutor_sim("robustness", run, "--population", "kss")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "cannot be taught by tutors of `two skills`" in refused.stderr
    baselines = tmp_path / "baselines.yaml"
    baselines.write_text(
        "name: b\npopulation: bkt\ntask: {n_steps: 2}\ntutors: [random]\n"
        "evaluation: {n_students: 5}\n"
    )
    assert tutor_sim("compare", baselines, "--device", "cpu").exit_code == 0
    refused = tutor_sim("robustness", "runs/b-0-001")
    assert refused.exit_code == 2
    assert "no learned tutor to take elsewhere" in refused.stderr
