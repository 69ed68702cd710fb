"""Experiment files: references, overrides, and one clear line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutor_sim.config import Experiment, TutorSpec
from tutor_sim.experiment_files import load_experiment, load_experiments, load_population

TYPES_CASE = {
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


@pytest.fixture
def case_file(experiment_file: Path) -> Path:
    cases = {"format": 1, "cases": [TYPES_CASE]}
    (experiment_file.parent / "cases.json").write_text(json.dumps(cases))
    text = "name: c\npopulation: {case: half-half, file: cases.json}\n"
    path = experiment_file.with_name("case.yaml")
    path.write_text(text + "task: {reward: {when: step}}\n")
    return path


def test_values_are_typed_and_the_rest_is_filled_in(experiment_file: Path) -> None:
    experiment = load_experiment(experiment_file)
    assert experiment.learner.learning_rate == 0.1  # written 1e-1, a text to PyYAML
    assert experiment.learner.total_steps == 1000
    assert experiment.task.n_lessons == 1
    assert experiment.tutors == (TutorSpec(name="random"), TutorSpec(name="tally"))


def test_the_resolved_experiment_reads_back_equal(experiment_file: Path, case_file: Path) -> None:
    named = experiment_file.with_name("named.yaml")
    tutors = (
        "[{sure: {algorithm: mastery_threshold, threshold: 0.99}}, {chance: {algorithm: random}}]"
    )
    named.write_text(experiment_file.read_text().replace("[random, tally]", tutors))
    for path in (experiment_file, case_file, named):
        experiment = load_experiment(path)
        resolved = path.with_name("resolved.yaml")
        resolved.write_text(experiment.to_yaml())
        again = load_experiment(resolved)
        assert again == experiment
        assert again.fingerprint == experiment.fingerprint


def test_the_fingerprint_is_of_training_alone(experiment_file: Path) -> None:
    def fingerprint(*overrides: str) -> str:
        return load_experiment(experiment_file, overrides=overrides).fingerprint

    assert fingerprint("evaluation.n_students=7", "name=other") == fingerprint()
    others = fingerprint("seed=4"), fingerprint("task.n_steps=6")
    others += fingerprint("matmul_precision=medium"), fingerprint("executor=compile")
    assert len({fingerprint(), *others}) == 5


# -- overrides -----------------------------------------------------------------------------------
def test_overrides_reach_mappings_lists_and_absent_parts(experiment_file: Path) -> None:
    experiment = load_experiment(
        experiment_file,
        overrides=[
            "learner.learning_rate=2e-2",
            "tutors.0=thompson",
            "checkpoint={keep: 7}",
            "task.reward.score=mean_recall",
            "population.latents.ability.normal.sd=2",
            "population.model.prerequisites={1: [0]}",
            "population.model.prerequisites.1=[]",
        ],
        seed=9,
    )
    assert experiment.learner.learning_rate == 0.02
    assert experiment.tutors[0].name == "thompson"
    assert experiment.checkpoint.keep == 7
    assert experiment.task.reward.score == "mean_recall"
    assert experiment.population.model_dump()["latents"]["ability"] == {"normal": {"sd": 2.0}}
    assert experiment.population.model.prerequisites == {1: ()}
    assert experiment.seed == 9


def test_the_short_form_gives_way_to_overrides(experiment_file: Path) -> None:
    (experiment,) = load_experiments(
        experiment_file, short=True, overrides=["evaluation.n_students=9"]
    )
    assert experiment.learner.total_steps == 200
    assert experiment.evaluation.n_students == 9


def test_several_experiments_in_one_file(experiment_file: Path) -> None:
    one = experiment_file.read_text()
    indented = "".join(f"    {line}\n" for line in one.splitlines())
    several = experiment_file.with_name("several.yaml")
    second = indented.replace("name: tiny", "name: other")
    several.write_text(f"experiments:\n  -\n{indented}  -\n{second}")
    loaded = load_experiments(several, overrides=["seed=8"])
    assert [(e.name, e.seed) for e in loaded] == [("tiny", 8), ("other", 8)]
    with pytest.raises(ValueError, match=r"holds 2 experiments.*tutor-sim compare"):
        load_experiment(several)
    several.write_text(f"experiments:\n  -\n{indented}  -\n{indented}")
    with pytest.raises(ValueError, match="different names, got `tiny` twice"):
        load_experiments(several)
    several.write_text(f"experiments:\n  -\n{indented}  -\n{second.replace('n_steps', 'steps')}")
    # Two lines of header, the first experiment, a dash, and `task` on line 10 of the second.
    line = 2 + len(one.splitlines()) + 1 + 10
    with pytest.raises(ValueError, match=rf"several\.yaml:{line}: unknown key `task\.steps`"):
        load_experiments(several)


# -- populations ---------------------------------------------------------------------------------
def test_a_population_may_stand_in_its_own_file(experiment_file: Path) -> None:
    population = experiment_file.with_name("students.yaml")
    population.write_text("name: p\nstudent: irt\n")
    text = experiment_file.read_text()
    start, end = text.index("population:"), text.index("task:")
    path = experiment_file.with_name("by_path.yaml")
    path.write_text(f"{text[:start]}population: students.yaml\n{text[end:]}")
    assert load_experiment(path).population == load_population(population)
    population.write_text("name: p\nstudent: irt\nlatents:\n  abilitty: 0\n")
    with pytest.raises(ValueError, match=r"s\.yaml:4: unknown `population\.latents` 'abilitt"):
        load_experiment(path)
    population.unlink()
    with pytest.raises(ValueError, match=r"by_path\.yaml:3: .*cannot read .*students\.yaml: No "):
        load_experiment(path)


def test_a_case_brings_its_task_and_values(case_file: Path) -> None:
    experiment = load_experiment(case_file)
    assert experiment.population.type_names == ("type_0", "type_1")
    assert (experiment.task.n_steps, experiment.task.reward.when) == (4, "step")
    assert experiment.reference_values == {"bayes": 2.5, "random": 2.0, "best_fixed": 2.0}


@pytest.mark.parametrize("override", ["task.n_steps=3", "population.types.type_0.weight=9"])
def test_a_changed_case_loses_its_values(case_file: Path, override: str) -> None:
    assert load_experiment(case_file, overrides=[override]).reference_values == {}


# -- mistakes ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "task: {n_steps",
            "task: {n_stepz",
            r"tiny.yaml:10: unknown key `task.n_stepz`; allowed: ",
        ),
        ("task: {n_steps", "task: {n_stepz", r"did you mean 'n_steps'\?"),
        ("n_skills: 2", "n_skill: 2", r":6: unknown key `population.model.n_skill`.*'n_skills'"),
        ("n_skills: 2", "n_skills: few", r":6: .*n_skills` must be a whole number, got 'few'"),
        ("sd: 1", "sd: -1", r":8: `population.latents.ability.normal.sd` must be > 0, got -1"),
        ("sd: 1", "std: 1", r":8: unknown key .*`population.latents.ability.normal.std`.*'sd'"),
        (
            "{normal: {sd: 1}}",
            "{gauss: {sd: 1}}",
            r":8: .*a distribution is a number, a list, or",
        ),
        ("p_slip: 0.1", "p_slip: 1.5", r":9: `population.latents.p_slip` must stay in \[0, 1\]"),
        ("p_slip: 0.1", "p_slp: 0.1", r":9: unknown `population.latents` 'p_slp'.*'p_slip'"),
        ("student: bkt", "student: bkd", r":5: unknown `population.student` 'bkd'.*mean 'bkt'"),
        (
            "{n_skills: 2}",
            "{weights: [1, 1]}",
            r":6: `population.model.weights` must have 3 number",
        ),
        (
            "algorithm: tally",
            "algorithm: taly",
            r":11: unknown `learner.algorithm` 'taly'.*'tally'",
        ),
        ("algorithm: tally, ", "", r":11: `learner` must be a mapping that names its `algorithm`"),
        ("learning_rate: 1e-1", "rate: 1", r":11: unknown key `learner.rate`; allowed: algorithm"),
        ("[random, tally]", "[rndom]", r":12: `tutors.0`: unknown `tutors` 'rndom'.*'random'"),
        ("[random, tally]", "[random, rl2]", r":12: `tutors` lists `rl2`, but `learner` does not"),
        (
            "[random, tally]",
            "[{mastery_threshold: {threshold: 2}}]",
            r":12: `tutors.0.mastery_threshold.threshold` must be <= 1, got 2",
        ),
        (
            "[random, tally]",
            "[{mastery_threshold: {thresholt: 1}}]",
            r":12: unknown key `tutors.0.mastery_threshold.thresholt`.*did you mean 'threshold'",
        ),
        (
            "[random, tally]",
            "[random, random]",
            r":12: `tutors` must name each tutor once, got `random` twice; .*`{my_random: {algo",
        ),
        (
            "[random, tally]",
            "[{sure: {algorithm: mastery_threshold, threshold: 2}}]",
            r":12: `tutors.0.sure.threshold` must be <= 1, got 2",
        ),
        (
            "[random, tally]",
            "[{sure: {algorithm: mastery_threshold, thresholt: 1}}]",
            r":12: unknown key `tutors.0.sure.thresholt`.*did you mean 'threshold'",
        ),
        (
            "[random, tally]",
            "[{sure: {algorithm: mastery_treshold}}]",
            r":12: `tutors.0`: unknown `tutors.sure.algorithm` 'mastery_treshold'.*you mean",
        ),
        (
            "[random, tally]",
            "[{sure thing: {algorithm: random}}]",
            r":12: `tutors.0`: a tutor's name has letters, digits, .* got 'sure thing'",
        ),
        ("name: tiny", "name: ti/ny", r":1: `name` must match"),
        ("seed: 3", "seed: -3", r":2: `seed` must be >= 0, got -3"),
        ("name: tiny\n", "", r"`name` is missing"),
    ],
)
def test_mistakes_are_named(experiment_file: Path, old: str, new: str, message: str) -> None:
    text = experiment_file.read_text()
    assert old in text
    experiment_file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        load_experiment(experiment_file)


def test_every_mistake_gets_a_line(experiment_file: Path) -> None:
    overrides = ["evaluation.n_students=x", "checkpoint.kep=3", "seed=-1"]
    with pytest.raises(ValueError, match="`seed` must be") as caught:
        load_experiment(experiment_file, overrides=overrides)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in sorted(lines)] == [
        "--set checkpoint.kep",
        "--set evaluation.n_students",
        "--set seed",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "`--set` must look like a.b=value, got 'seed'"),
        ("a..b=1", "`--set` must look like a.b=value"),
        ("seed.x=1", "--set seed.x: `seed` is 3 and has no keys below it, got 'x'"),
        ("tutors.5=random", r"--set tutors.5: `tutors` has 2 entries.*\[0, 1\], got '5'"),
        ("lerner.x=1", "--set lerner.x: unknown key `lerner`; .*did you mean 'learner'"),
        ("name=[", "--set name:1:2: not YAML"),
        ("population=none.yaml", "--set population: .*cannot read none.yaml: No such file"),
        ("population={case: x, file: none.json}", "cannot read `population.file`.*none.json: No"),
        ("population={case: x}", "--set population: `population.file` is missing"),
        ("task.reward.expected=true", "`task.reward.expected` needs `score: post_test` and `when"),
    ],
)
def test_mistakes_in_overrides_are_named(
    experiment_file: Path, override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_experiment(experiment_file, overrides=[override])


def test_an_unknown_case_names_the_nearest(case_file: Path) -> None:
    case_file.write_text(case_file.read_text().replace("half-half", "half-hal"))
    with pytest.raises(ValueError, match=r"case\.yaml:2: unknown `population\.case` 'half-hal'"):
        load_experiment(case_file)


def test_a_lesson_that_is_too_long_for_the_students_is_refused(case_file: Path) -> None:
    with pytest.raises(ValueError, match=r"--set task.n_steps: `task\.n_steps` must be <= 4"):
        load_experiment(case_file, overrides=["task.n_steps=5"])


@pytest.mark.parametrize(
    ("text", "found"), [("", "nothing"), ("- a", "a list"), ("just text", "a str")]
)
def test_a_file_that_is_no_experiment(experiment_file: Path, text: str, found: str) -> None:
    experiment_file.write_text(text)
    with pytest.raises(ValueError, match=f"must be a mapping of keys to values, got {found}"):
        load_experiment(experiment_file)


# -- schema --------------------------------------------------------------------------------------
def test_the_schema_knows_every_key(experiment_file: Path) -> None:
    from tutor_sim.schema import experiment_schema

    schema = experiment_schema()
    json.dumps(schema, allow_nan=False)
    definitions = schema["$defs"]
    assert set(definitions["Experiment"]["properties"]) == set(Experiment.model_fields)
    names, _ = definitions["Population"]["properties"]["student"]["anyOf"]
    assert set(names["enum"]) >= {"bkt", "irt", "gym"}
    assert definitions["RL2Config"]["properties"]["learning_rate"]["exclusiveMinimum"] == 0
    (named,) = definitions["Experiment"]["properties"]["learners"]["patternProperties"].values()
    assert {"$ref": "#/$defs/RL2Config"} in named["anyOf"]


def test_the_schema_accepts_what_the_loader_accepts(experiment_file: Path, case_file: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    from tutor_envs.yaml_loading import load_yaml
    from tutor_sim.schema import experiment_schema

    validator = jsonschema.Draft202012Validator(experiment_schema())

    def valid(path: Path, **changes: Any) -> bool:
        return bool(validator.is_valid(load_yaml(path).data | changes))

    assert valid(experiment_file)
    assert valid(experiment_file, tutors=["random", {"easy": {"algorithm": "zpd", "target": 0.9}}])
    assert not valid(experiment_file, tutors=[{"easy": {"target": 0.9}}])
    assert valid(case_file)
    assert not valid(experiment_file, sede=3)
