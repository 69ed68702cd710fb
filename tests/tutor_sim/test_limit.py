"""The command ``limit``: values beside a file's, verdicts, simulation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tutor_agents.planner import TiedValue
from tutor_envs.cases import Case, load_cases
from tutor_sim import limit_training
from tutor_sim.cli import app
from tutor_sim.limit import LimitReport
from tutor_sim.limit_training import Job, TrainedCase
from tutor_sim.limit_values import Verdict, average_student, compared, limit_case
from tutor_sim.statistics import Estimate, undefined

SHARED_CASES = Path(__file__).parents[3] / "shared" / "cases" / "bayes_limit.json"

# Two types of students and two modalities: P(event) .8 by the right one, .3 by the other.
BANDIT: dict[str, Any] = {
    "name": "two by two",
    "family": "style_bandit",
    "parameters": {
        "prior": [0.5, 0.5],
        "p": [[0.8, 0.3], [0.3, 0.8]],
        "slip": 0.1,
        "guess": 0.2,
        "T": 2,
    },
    "values": {
        # .55 at first. P(right) is .76 or .41 by type: then (.76 .8 + .41 .3) / 2 by staying, and
        # after a wrong answer (.24 .3 + .59 .8) / 2 by switching.
        "bayes": 0.55 + 0.3655 + 0.272,
        "random": 2 * 0.55,
        "openloop": 2 * 0.55,
        "openloop_seq": [1, 0],
        "round_robin": 2 * 0.55,
        "best_single": 2 * 0.55,
        "best_single_action": 1,
        "oracle_type": 1.6,
        "oracle_per_type": [1.6, 1.6],
        "full_info": 1.6,
        "myopic": 0.55 + 0.3655 + 0.272,
        "lookahead2": 0.55 + 0.3655 + 0.272,
        "thompson": 1.15,
        "thompson_se": 0.01,
        "avg_student_planner": 1.1,
    },
}
BKT: dict[str, Any] = {
    "name": "three types",
    "family": "bkt_types",
    "parameters": {
        "prior": [0.5, 0.3, 0.2],
        "learn": [[[0.6, 0.1], [0.4, 0.2]], [[0.1, 0.6], [0.2, 0.5]], [[0.2, 0.3], [0.3, 0.2]]],
        "slip": [0.1, 0.2, 0.1],
        "guess": [0.2, 0.1, 0.3],
        "init": [[0.1, 0.1], [0.2, 0.1], [0.4, 0.3]],
        "prereq": [[], [0]],
        "eps": 0.5,
        "weights": [1.5, 0.5],
        "T": 3,
    },
}


def changed(case: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**case, "values": {**case.get("values", {}), **values}}


def write(folder: Path, *cases: dict[str, Any]) -> Path:
    path = folder / "cases.json"
    path.write_text(json.dumps({"format": 1, "cases": cases}), encoding="utf-8")
    return path


def limit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["limit", *(str(argument) for argument in arguments)])


def wrong(result: Any) -> list[str]:
    return [row.name for row in result.rows if not row.verdict.ok]


# -- values ---------------------------------------------------------------------------------------
def test_values_worked_by_hand_agree() -> None:
    result = limit_case(Case.model_validate(BANDIT))
    assert wrong(result) == []
    assert result.ok
    assert {row.name: row.verdict for row in result.rows}["lookahead3"] is Verdict.NOT_IN_FILE
    assert [row.tutor for row in result.simulated] == ["bayes", "random"]
    assert all(row.low < row.mean < row.high for row in result.simulated)


@pytest.mark.parametrize(
    ("name", "value", "row"),
    [
        ("bayes", 1.18752, "bayes"),
        ("random", 1.0, "random"),
        ("openloop", 1.2, "openloop"),
        ("oracle_per_type", [1.6, 1.5], "oracle_per_type[1]"),
        ("myopic", 1.19, "myopic"),
        ("thompson", 1.3, "thompson"),
        ("avg_student_planner", 1.2, "avg_student_planner"),
    ],
)
def test_a_wrong_value_is_noticed(name: str, value: object, row: str) -> None:
    result = limit_case(Case.model_validate(changed(BANDIT, **{name: value})), n_students=100)
    assert row in wrong(result)
    assert not result.ok


def test_a_file_without_values_gets_them() -> None:
    result = limit_case(Case.model_validate(BKT), n_students=2000)
    assert result.ok
    values = {row.name: row.ours for row in result.rows}
    random, bayes = values["random"], values["bayes"]
    oracle, informed = values["oracle_type"], values["full_info"]
    assert random is not None
    assert bayes is not None
    assert oracle is not None
    assert informed is not None
    assert random < bayes < oracle < informed < 2.0  # weights sum to 2
    assert result.value("openloop") <= bayes
    assert len(result.openloop_sequence) == 3


def test_the_average_student_has_the_mean_parameters() -> None:
    types = average_student(Case.model_validate(BKT))
    # .5 .6 + .3 .1 + .2 .2 = .37; .5 .1 + .3 .2 + .2 .4 = .19
    assert types.latents["p_learn"][0, 0, 0] == pytest.approx(0.37)
    assert types.latents["p_init"][0, 0] == pytest.approx(0.19)
    assert types.latents["p_slip"][0] == pytest.approx(0.5 * 0.1 + 0.3 * 0.2 + 0.2 * 0.1)


def test_a_type_that_never_comes_is_left_out() -> None:
    parameters = {**BANDIT["parameters"], "prior": [1.0, 0.0]}
    case = {**BANDIT, "parameters": parameters, "values": {"oracle_per_type": [1.6, 1.6]}}
    assert limit_case(Case.model_validate(case), n_students=100).ok


def test_any_depth_of_lookahead_is_computed() -> None:
    case = changed(BANDIT, lookahead7=BANDIT["values"]["bayes"])
    result = limit_case(Case.model_validate(case), n_students=100)
    assert result.value("lookahead7") == pytest.approx(result.value("bayes"))


def test_a_value_that_nobody_knows_is_said_and_not_held_against_the_file() -> None:
    result = limit_case(Case.model_validate(changed(BANDIT, witchcraft=3.0)), n_students=100)
    assert result.ok
    assert result.rows[-1].verdict is Verdict.UNKNOWN


def test_verdicts() -> None:
    tied = TiedValue(1.0, 0.9, 1.1)
    assert compared("x", 1.0, None).verdict is Verdict.NOT_IN_FILE
    assert compared("x", 1.0, 1.0 + 9e-7).verdict is Verdict.AGREES
    assert compared("x", 1.0, 1.0 + 2e-6).verdict is Verdict.DIFFERS
    assert compared("x", tied, 1.1 + 9e-7).verdict is Verdict.AGREES_TIED
    assert compared("x", tied, 1.1 + 2e-6).verdict is Verdict.DIFFERS
    assert compared("x", 1.0, 1.03, tolerance=0.04).verdict is Verdict.AGREES


# -- what goes wrong ------------------------------------------------------------------------------
def test_a_family_that_is_too_big_is_said(tmp_path: Path) -> None:
    result = limit_case(Case.model_validate(BKT), max_bytes=1000)
    assert "too big" in result.error
    assert not result.ok
    assert result.rows == ()
    with pytest.raises(ValueError, match="`bayes` was not computed"):
        result.value("bayes")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (changed(BANDIT, bayes="much"), "`values.bayes` must be a number, got 'much'"),
        (changed(BANDIT, bayes=True), "`values.bayes` must be a number, got True"),
        (changed(BANDIT, oracle_per_type=1.6), "must be a list of numbers, got 1.6"),
        (changed(BANDIT, oracle_per_type=[1.6]), "must have 2 numbers, got 1"),
        (changed(BANDIT, openloop_seq=[0]), "`actions` must be 2 indices"),
        ({**BANDIT, "family": "style_bandits"}, "did you mean 'style_bandit'"),
        ({**BANDIT, "parameters": {"prior": [1.0]}}, "lacks the parameter"),
    ],
)
def test_bad_files_are_bad_input(tmp_path: Path, case: dict[str, Any], message: str) -> None:
    result = limit(write(tmp_path, case))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_bad_arguments_are_bad_input(tmp_path: Path) -> None:
    path = write(tmp_path, BANDIT)
    unknown = limit(path, "--case", "two by too")
    assert unknown.exit_code == 2
    assert "did you mean 'two by two'" in unknown.output
    assert limit(tmp_path / "missing.json").exit_code == 2
    assert limit(write(tmp_path)).exit_code == 2


# -- the command ----------------------------------------------------------------------------------
def test_exit_code_and_table(tmp_path: Path) -> None:
    good = limit(write(tmp_path, BANDIT))
    assert good.exit_code == 0, good.output
    assert "1.187500" in good.output
    assert "differs" not in good.output
    bad = limit(write(tmp_path, changed(BANDIT, bayes=1.2)))
    assert bad.exit_code == 1
    assert "differs" in bad.output


def test_json_and_choice_of_case(tmp_path: Path) -> None:
    result = limit(write(tmp_path, BANDIT, BKT), "--case", "two by two", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["ok"] is True
    (case,) = data["cases"]
    values = {row["name"]: row for row in case["values"]}
    assert values["bayes"]["ours"] == pytest.approx(1.1875)
    assert values["bayes"]["verdict"] == "agrees"
    assert values["random"]["difference"] == pytest.approx(0, abs=1e-9)
    assert case["search_size"]["belief_nodes"] == 1
    assert data["trained"] == []


def test_training_is_measured_by_the_exact_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Job] = []

    def train(jobs: Sequence[Job], training: str, **_: object) -> Iterator[TrainedCase]:
        assert training == "rl2"
        asked.extend(jobs)
        for job in reversed(jobs):
            share, nothing = Estimate(0.97, 0.96, 0.98), undefined("no spread")
            yield TrainedCase(job.case.name, job.seed, share, share, nothing, 1000, 2.5, ())

    monkeypatch.setattr("tutor_sim.limit.train_on_cases", train)
    path = write(tmp_path, BANDIT)
    result = limit(path, "--train", "rl2", "--seeds", 2, "--json")
    assert result.exit_code == 0, result.output
    assert [job.seed for job in asked] == [0, 1]
    assert asked[0].random == pytest.approx(1.1)
    assert asked[0].openloop == pytest.approx(1.1)
    assert asked[0].bayes == pytest.approx(1.1875)
    trained = json.loads(result.stdout)["trained"]
    assert [row["seed"] for row in trained] == [0, 1]
    assert trained[0]["fraction_of_optimal"]["value"] == 0.97
    assert trained[0]["fraction_of_adaptivity"]["value"] is None
    table = limit(path, "--train", "rl2", "--seeds", 2).output
    assert table.count("0.970") >= 2  # each seed
    assert "[0.970" in table  # and the interval over seeds, which do not differ here


def test_tutors_without_training_are_measured_by_the_exact_values(tmp_path: Path) -> None:
    path = write(tmp_path, BANDIT)
    chosen = ["--tutor", "bayes", "--tutor", "lookahead: {depth: 4}", "--tutor", "random"]
    result = limit(path, *chosen, "--seeds", 2, "--students", 400, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["measured"]
    assert [(row["tutor"], row["seed"]) for row in rows] == [
        (tutor, seed) for seed in (0, 1) for tutor in chosen[1::2]
    ]
    for row in rows:
        found = row["fraction_of_optimal"]
        expected = 0.0 if row["tutor"] == "random" else 1.0
        assert found["low"] - 1e-9 <= expected <= found["high"] + 1e-9
    table = limit(path, *chosen, "--students", 20).output
    assert "1.000 [1.000, 1.000]" in " ".join(table.split())


@pytest.mark.parametrize(
    ("tutor", "message"),
    [
        ("bayse", "unknown `tutors` 'bayse'; allowed: .*did you mean 'bayes'"),
        ("lookahead: {dpth: 1}", "unknown `tutors.lookahead` 'dpth'; allowed: "),
        ("lookahead: {depth: 0}", "`tutors.lookahead.depth` .* got 0"),
        ("oracle", "`--tutor` must be a tutor that reads nothing hidden, got 'oracle'"),
        ("[1, 2]", "`--tutor` must be a name, or one name with its options"),
    ],
)
def test_bad_tutors_are_refused_at_once(tmp_path: Path, tutor: str, message: str) -> None:
    result = limit(write(tmp_path, BANDIT), "--tutor", tutor)
    assert result.exit_code == 2
    assert re.search(message, " ".join(result.output.split()))
    assert "branches" not in result.output


def test_a_trained_tutor_reaches_the_optimum_of_a_small_family(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = {"algorithm": "distill", "total_steps": 20_000, "n_trials": 128, "hidden_size": 16}
    monkeypatch.setitem(limit_training.TRAININGS, "short", short)
    job = Job(Case.model_validate(BANDIT), seed=0, random=1.1, bayes=1.1875, openloop=1.1)
    result = limit_training.train_on_case(job, "short")
    assert result.fraction_of_optimal.value == pytest.approx(1, abs=1e-4)
    assert result.fraction_of_adaptivity.value == pytest.approx(1, abs=1e-4)
    # Drawn scores cannot tell the last checkpoints apart: the last one is taken.
    assert result.selected_steps == result.curve[-1].train_steps > 20_000 - 256


def test_a_report_disagrees_if_a_case_does() -> None:
    good = limit_case(Case.model_validate(BANDIT), n_students=100)
    bad = limit_case(Case.model_validate(changed(BANDIT, random=2.0)), n_students=100)
    assert LimitReport((good,)).ok
    assert not LimitReport((good, bad)).ok


# -- the public families --------------------------------------------------------------------------
_QUICK = ("style-bandit-a", "prerequisites-a")
_LONG = (
    "style-bandit-questionnaire-b",
    "bkt-types-a",
    "bkt-types-b",
    "memory-a",
    "memory-b",
    "prerequisites-b",
)


@pytest.mark.parametrize(
    "name", [*_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in _LONG)]
)
def test_public_families(name: str) -> None:
    if not SHARED_CASES.exists():
        pytest.skip("needs ../shared/cases/bayes_limit.json, which is not part of the project")
    (case,) = (case for case in load_cases(SHARED_CASES) if case.name == name)
    result = limit_case(case)
    assert wrong(result) == []
    assert all(row.agrees for row in result.simulated)
    assert abs(result.value("bayes") - case.values["bayes"]) < 1e-9
