"""The realism check: its statistics by hand, a population that fits, and ones that do not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner, Result

from tutor_envs.population import Population
from tutor_sim.cli import app
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.replay import replay_log
from tutor_sim.logs.simulate import simulate_log
from tutor_sim.logs.write import write_log
from tutor_sim.realism.check import ORACLE, Line, Realism, check_realism
from tutor_sim.realism.report import finding, to_csv
from tutor_sim.realism.statistics import Key, natural_kc, statistics

N_COPIES = 100
"""Students with the same history: a share needs a hundred rows."""


def make_log(rows: list[tuple[str, float, float]], n_students: int = N_COPIES) -> InteractionLog:
    """The same rows of (item, seconds, correct) for every student."""
    names = tuple(sorted({item for item, _, _ in rows}))
    codes = np.tile([names.index(item) for item, _, _ in rows], n_students)
    n = len(codes)
    return InteractionLog(
        student=np.repeat(np.arange(n_students), len(rows)),
        item=codes,
        skill=codes,
        more_skills={},
        correct=np.tile([correct for _, _, correct in rows], n_students),
        time_s=np.tile([time_s for _, time_s, _ in rows], n_students),
        response_time_s=np.full(n, np.nan),
        rating=np.zeros(n, dtype=np.int64),
        line=np.arange(n),
        student_names=tuple(map(str, range(n_students))),
        item_names=names,
        skill_names=names,
    )


# -- statistics -----------------------------------------------------------------------------------
def test_learning_and_forgetting_by_hand() -> None:
    nan = float("nan")
    log = make_log(
        [
            ("a", 0, 0),  # a: 1st meeting, wrong
            ("b", 10, nan),  # b: 1st meeting, a study trial
            ("a", 30, 1),  # a: 2nd, 0 correct before, after 30 s
            ("b", 400, 1),  # b: 2nd, 0 correct before, after 390 s
            ("a", 90_000, 1),  # a: 3rd, 1 correct before, after 89,970 s = 1.04 days
            ("b", 90_010, 0),  # b: 3rd, 1 correct before, after 89,610 s
        ]
    )
    found = {key: value.value for key, value in statistics(log, "item").items()}
    learning = {key.name: v for key, v in found.items() if key.group == "learning curve"}
    assert learning == {"meeting 1": 0, "meeting 2": 1, "meeting 3": 0.5}
    forgetting = {key.name: v for key, v in found.items() if key.group == "forgetting"}
    assert forgetting == {
        "0 correct before, < 1 min": 1,
        "0 correct before, 1-10 min": 1,
        "1 correct before, 1-2 d": 0.5,
    }


def test_learners_and_sessions_by_hand() -> None:
    # Three sessions: 0, 100 | 2000, 2010, 2020 | 9000 and so on, ten rows and one more.
    times = [0, 100, 2000, 2010, 2020, 9000, 9001, 9002, 9003, 9004]
    log = make_log([("a", time_s, 1) for time_s in times], n_students=4)
    correct = log.correct.copy()
    correct[:10] = 0  # shares: 0, 0.5, 1, 1
    correct[10:15] = 0
    log = InteractionLog(**{**log.__dict__, "correct": correct})
    found = {key: value.value for key, value in statistics(log, "item").items()}
    assert found[Key("learners", "mean share correct")] == pytest.approx(0.625)
    # deviations -.625, -.125, .375, .375: squares .390625 + .015625 + 2 * .140625 = .6875
    assert found[Key("learners", "SD of share correct")] == pytest.approx((0.6875 / 4) ** 0.5)
    assert found[Key("learners", "50% quantile")] == pytest.approx(0.75)
    # sessions of 2, 3 and 5 rows, four times each
    assert found[Key("sessions", "rows per session, 50% quantile")] == 3
    assert found[Key("sessions", "rows per session, 90% quantile")] == 5


def test_items_that_never_come_back_are_no_unit_of_learning() -> None:
    assert natural_kc(make_log([("a", 0, 1), ("a", 1, 1)])) == "item"
    assert natural_kc(make_log([("a", 0, 1), ("b", 1, 1)])) == "skill"


def test_a_line_is_inside_near_the_mean_or_among_the_replicates() -> None:
    key = Key("predictors", "elo")
    assert Line(key, 0.751, (0.77, 0.79), 9).inside  # .029 below the mean
    assert Line(key, 0.74, (0.77, 0.79), 9).inside is False
    assert Line(key, 0.74, (0.70, 0.98), 9).inside  # between the replicates
    assert Line(key, float("nan"), (0.7,), 9).inside is None
    assert Line(key, 0.7, (), 9).inside is None


@pytest.mark.parametrize(
    ("simulated", "same"),
    [((0.70, 0.75, 0.80), True), ((0.75, 0.745, 0.80), True), ((0.77, 0.75, 0.80), False)],
)
def test_a_ranking_differs_where_two_predictors_clearly_change_places(
    simulated: tuple[float, ...], same: bool
) -> None:
    lines = tuple(
        Line(Key("predictors", name), real, (value,), 9)
        for name, real, value in zip("abc", (0.70, 0.76, 0.81), simulated, strict=True)
    )
    none = np.empty(0)
    found = Realism("log", "people", "item", 9, 99, 1, lines, none, (none,))
    assert found.same_ranking is same
    assert ("rank alike" in finding(found)) is same


# -- the check ------------------------------------------------------------------------------------
def people(**latents: object) -> Population:
    """Forgetful students of different ability."""
    return Population.model_validate(
        {
            "name": "people",
            "student": "dash",
            "model": {"n_skills": 4, "modalities": ["a"]},
            "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}} | latents,
        }
    )


@pytest.fixture(scope="module")
def real() -> InteractionLog:
    """As real as it gets: the answers of the population itself."""
    schedule = simulate_log(people(), n_students=150, n_steps=30, seed=11)
    rng = np.random.default_rng(0)
    time_s = np.concatenate([rng.exponential(20_000, 30).cumsum() for _ in range(150)])
    log = InteractionLog(**{**schedule.__dict__, "time_s": time_s})
    return replay_log(log, people(), seed=12).log


def check(log: InteractionLog, population: Population) -> Realism:
    return check_realism(log, population, n_replicates=3, predictors=("item_mean", "elo"))


def test_a_population_fits_its_own_answers(real: InteractionLog) -> None:
    found = check(real, people())
    judged = [line for line in found.lines if line.inside is not None]
    assert len(judged) > 15
    assert np.mean([line.inside for line in judged]) > 0.9
    oracle = next(line for line in found.lines if line.key.name == ORACLE)
    others = [line for line in found.group("predictors") if line.key.name != ORACLE]
    assert all(oracle.mean > line.mean for line in others)
    assert "statistics are inside" in finding(found)


def test_students_who_are_all_alike_do_not(real: InteractionLog) -> None:
    found = check(real, people(ability=0))
    spread = next(line for line in found.lines if line.key.name == "SD of share correct")
    assert spread.inside is False
    assert spread.real > spread.mean


def test_the_check_repeats_itself(real: InteractionLog) -> None:
    first, again = check(real, people()), check(real, people())
    assert to_csv(first) == to_csv(again)


def test_a_log_of_one_student_without_times_is_checked_as_far_as_it_goes() -> None:
    log = make_log([("skill_0", float("nan"), 1), ("skill_0", float("nan"), 0)] * 100, n_students=1)
    population = Population.model_validate(
        {"name": "one", "student": "hlr", "model": {"n_skills": 1, "modalities": ["a"]}}
    )
    log = InteractionLog(**{**log.__dict__, "item_names": population.student_model.skills})
    found = check_realism(log, population, n_replicates=1)
    assert {line.key.group for line in found.lines} <= {"learning curve", "predictors"}
    assert found.same_ranking is None


# -- the command ----------------------------------------------------------------------------------
def tutor_sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_writes_a_picture_and_a_table(
    tmp_path: Path, real: InteractionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutor_sim.realism.command._DPI", 50)
    write_log(real, tmp_path / "real.csv")
    file = tmp_path / "people.yaml"
    file.write_text(
        "name: people\nstudent: dash\nmodel: {n_skills: 4, modalities: [a]}\n"
        "latents: {ability: {normal: {mean: 0, sd: 1}}}\n"
    )
    out = tmp_path / "new" / "out"
    result = tutor_sim("check-realism", tmp_path / "real.csv", file, "-o", out, "--replicates", 2)
    assert result.exit_code == 0, result.output
    for word in ("meeting 1", "SD of share correct", "item_mean", "oracle", "inside"):
        assert word in result.output
    rows = list(csv.DictReader((out / "realism.csv").read_text().splitlines()))
    line = next(row for row in rows if row["statistic"] == "elo")
    simulated = [float(line["simulated_1"]), float(line["simulated_2"])]
    assert float(line["simulated_mean"]) == pytest.approx(np.mean(simulated), abs=1e-5)
    picture = imread(out / "realism.png")
    assert picture.std() > 0.02
    assert sorted(path.name for path in out.iterdir()) == ["realism.csv", "realism.png"]


def test_the_command_names_what_does_not_fit(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("student_id,item_id,correct\na,strange,1\na,strange,0\n")
    result = tutor_sim("check-realism", log, "hlr")
    assert result.exit_code == 2
    assert "does not know 1 items such as 'strange'" in result.output
    result = tutor_sim("check-realism", log, "hlr", "--map", "student")
    assert result.exit_code == 2
    assert "`--map` must be FIELD=COLUMN" in result.output
