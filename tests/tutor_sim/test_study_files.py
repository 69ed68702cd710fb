"""Study files: how populations are named, what is filled in, a clear line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS
from tutor_sim.experiment_files import load_experiment, load_population
from tutor_sim.study.cells import cells_of, fingerprint
from tutor_sim.study.files import load_study

CASE = {
    "name": "half-half",
    "family": "style_bandit",
    "parameters": {
        "prior": [0.5, 0.5],
        "p": [[0.8, 0.2], [0.2, 0.8]],
        "slip": 0.1,
        "guess": 0.2,
        "T": 4,
    },
    "values": {"bayes": 2.5, "random": 2.0, "openloop": 2.0, "openloop_seq": [0, 0, 0, 0]},
}
STUDY = """\
kind: study
name: grid
populations:
  irt: irt
  weak:
    population: students.yaml
    variant: weaker
    task: {n_steps: 3}
  halves:
    population: {case: half-half, file: cases.json}
task: {n_steps: 5}
learners:
  fast: {algorithm: tally, total_steps: 400}
tutors: [random, oracle]
seeds: 2
metrics: [score, iqm]
short: {learners.*.total_steps: 200, seeds: [7], populations.irt: students.yaml}
"""
STUDENTS = """\
name: two skills
student: bkt
model: {n_skills: 2}
variants: {weaker: {latents: {ability: -1}}}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    (tmp_path / "students.yaml").write_text(STUDENTS)
    (tmp_path / "cases.json").write_text(json.dumps({"format": 1, "cases": [CASE]}))
    path = tmp_path / "grid.yaml"
    path.write_text(STUDY)
    return path


def test_populations_are_named_by_file_by_variant_and_by_case(study_file: Path) -> None:
    study = load_study(study_file)
    irt, weak, halves = (study.experiment(name) for name in ("irt", "weak", "halves"))
    assert irt.population == load_population(POPULATIONS["irt"])
    two_skills = load_population(study_file.with_name("students.yaml"))
    assert weak.population == two_skills.variant("weaker")
    assert halves.population.type_names == ("type_0", "type_1")
    assert isinstance(halves.population, Population)


def test_the_task_is_of_all_that_have_none_of_their_own(study_file: Path) -> None:
    study = load_study(study_file)
    steps = {name: study.experiment(name).task.n_steps for name in study.populations}
    assert steps == {"irt": 5, "weak": 3, "halves": 4}  # a case brings its own


def test_a_case_has_its_exact_values_until_it_is_another_case(study_file: Path) -> None:
    values = load_study(study_file).populations["halves"].reference_values
    assert values == {"bayes": 2.5, "random": 2.0, "best_fixed": 2.0}
    other = load_study(study_file, overrides=["populations.halves.task.n_steps=3"])
    assert other.populations["halves"].reference_values == {}


def test_seeds_are_a_list_or_a_number(study_file: Path) -> None:
    assert load_study(study_file).seeds == (0, 1)
    assert load_study(study_file, overrides=["seeds=[5, 3]"]).seeds == (5, 3)


def test_overrides_come_after_the_short_form(study_file: Path) -> None:
    short = load_study(study_file, short=True, overrides=["seeds=4"])
    assert short.seeds == (0, 1, 2, 3)
    assert short.learners["fast"].total_steps == 200
    assert short.experiment("irt").population.name == "two skills"


def test_an_override_may_name_another_population(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study_file.parent)
    changes = ["populations.irt=students.yaml", "populations.new.population=irt"]
    study = load_study(study_file, overrides=changes)
    assert study.experiment("irt").population.name == "two skills"
    assert study.experiment("new").population == load_population(POPULATIONS["irt"])


def test_the_resolved_study_reads_back_equal(study_file: Path) -> None:
    study = load_study(study_file)
    resolved = study_file.with_name("resolved.yaml")
    resolved.write_text(study.to_yaml())
    assert load_study(resolved) == study


def test_cells_are_populations_by_seeds_by_tutors(study_file: Path, tmp_path: Path) -> None:
    cells = cells_of(load_study(study_file), tmp_path)
    assert len(cells) == 3 * 2 * 3
    assert [str(cell) for cell in cells[:4]] == [
        "irt / fast / seed 0",
        "irt / random / seed 0",
        "irt / oracle / seed 0",
        "irt / fast / seed 1",
    ]
    assert cells[0].folder == tmp_path / "irt" / "fast-0"
    assert len({fingerprint(cell.experiment) for cell in cells}) == len(cells)


def test_a_cell_does_not_change_with_the_rest_of_the_study(
    study_file: Path, tmp_path: Path
) -> None:
    def by_name(*changes: str) -> dict[str, str]:
        cells = cells_of(load_study(study_file, overrides=changes), tmp_path)
        return {str(cell): fingerprint(cell.experiment) for cell in cells}

    before = by_name()
    more = by_name("tutors=[oracle, thompson, random]", "seeds=[1, 0, 2]", "checkpoint.keep=9")
    assert len(more) == 3 * 3 * 4
    assert before.items() <= more.items()
    other = by_name("learners.fast.total_steps=100")
    changed = {name for name in before if other[name] != before[name]}
    assert changed == {name for name in before if "fast" in name}


# -- mistakes --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: study", "kind: trial", r"grid\.yaml:1: a study begins with `kind: study`"),
        ("kind: study\n", "", r"grid\.yaml:1: a study begins with `kind: study`"),
        ("irt: irt", "irt: itr", r":4: `populations\.irt\.population` must be .*cannot read .*itr"),
        ("irt: irt", "irt: 3", r":4: `populations\.irt` must be a mapping"),
        ("irt: irt", "i.rt: irt", r"`populations\.i\.rt\.\[key\]` must match"),
        ("irt: irt", "irt: {student: irt}", r":4: `populations\.irt\.population` is missing"),
        (
            "variant: weaker",
            "variant: weeker",
            r":7: unknown `populations\.weak\.variant` 'weeker'",
        ),
        ("variant: weaker", "variants: x", r":7: unknown key `populations\.weak\.variants`"),
        (
            "{n_steps: 3}",
            "{n_step: 3}",
            r":8: unknown key `populations\.weak\.task\.n_step`.*steps",
        ),
        ("case: half-half", "case: half", r":10: unknown `populations\.halves\.population\.case`"),
        ("task: {n_steps: 5}", "task: {n_steps: 0}", r":11: `task\.n_steps` must be >= 1, got 0"),
        ("total_steps: 400", "totl_steps: 4", r":13: unknown key `learners\.fast\.totl_steps`"),
        ("[random, oracle]", "[random, orcle]", r":14: `tutors\.1`: unknown `tutors` 'orcle'"),
        ("[random, oracle]", "[random, rl2]", r":14: `tutors` lists `rl2`, but .*does not"),
        ("seeds: 2", "seeds: 0", r":15: `seeds` must be a list of seeds, or how many, got 0"),
        ("seeds: 2", "seeds: [1, 1]", r":15: `seeds` must be different seeds"),
        ("seeds: 2", "seeds: []", r":15: `seeds` must have at least 1 item"),
        ("seeds: 2\n", "", r"`seeds` is missing"),
        ("[score, iqm]", "[score, iqn]", r":16: unknown `metrics` 'iqn'; .*did you mean 'iqm'"),
        (
            "population: {case: half-half, file: cases.json}",
            "{population: style_bandit, task: {n_steps: 99}}",
            r"`populations\.halves\.task\.n_steps` must be <= .*got 99 \(population `halves`\)",
        ),
    ],
)
def test_mistakes_are_named(study_file: Path, old: str, new: str, message: str) -> None:
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        load_study(study_file)


def test_experiments_and_studies_are_not_confused(study_file: Path, experiment_file: Path) -> None:
    with pytest.raises(ValueError, match=r"an experiment is for `tutor-sim compare`"):
        load_study(experiment_file)
    with pytest.raises(ValueError, match=r"grid\.yaml:1: this is a study; .*`tutor-sim study"):
        load_experiment(study_file)


# -- what ships ------------------------------------------------------------------------------------
SHIPPED = Path(__file__).parents[2] / "experiments" / "study.yaml"


@pytest.mark.parametrize("short", [False, True])
def test_the_study_that_ships_is_valid(short: bool) -> None:
    study = load_study(SHIPPED, short=short)
    assert len(study.populations) >= 3


def test_the_schema_accepts_what_the_loader_accepts(study_file: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    from tutor_envs.yaml_loading import load_yaml
    from tutor_sim.schema import experiment_schema

    validator = jsonschema.Draft202012Validator(experiment_schema())
    data = load_yaml(study_file).data | {"learners": {"fast": {"algorithm": "rl2"}}}
    assert validator.is_valid(data)
    assert validator.is_valid(load_yaml(SHIPPED).data)
    for wrong in ({"seeds": 0}, {"metrics": ["iqn"]}, {"populations": {"x": 3}}, {"sede": 1}):
        assert not validator.is_valid(data | wrong)
