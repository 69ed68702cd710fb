"""Reports: what is read from folders, what is refused, and what the page shows."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from rich.console import Console
from typer.testing import CliRunner

from tutor_sim import compare, training
from tutor_sim.cli import app
from tutor_sim.evaluation import Role
from tutor_sim.reporting.analysis import Analysis, analyse
from tutor_sim.reporting.command import report_folders, write_study_report
from tutor_sim.reporting.exports import escape_latex, latex, sole_best, tables
from tutor_sim.reporting.material import gather
from tutor_sim.reporting.page import render
from tutor_sim.reporting.sources import Part, Source, Teaching, read_source
from tutor_sim.reporting.words import caveats, findings
from tutor_sim.study.command import study_file

QUIET = Console(file=io.StringIO())
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TASK = {"n_lessons": 2, "n_steps": 4, "reward": {"score": "post_test"}}
STUDENTS = """\
name: {name}
student: bkt
model: {{n_skills: 2}}
latents: {{ability: {{normal: {{mean: {ability}, sd: 1}}}}, p_slip: 0.1}}
"""
STUDY = """\
kind: study
name: two classes
populations: {average: average.yaml, weak: weak.yaml}
task: {n_lessons: 2, n_steps: 6}
tutors: [random, round_robin, stay_until_correct, oracle]
seeds: [0, 4]
evaluation: {n_students: 60}
"""
LEVELS = {"good": 0.6, "twin": 0.6, "bad": -0.6, "random": 0.0, "oracle": 1.5}


def source(
    name: str = "made",
    populations: tuple[str, ...] = ("easy", "hard"),
    levels: dict[str, float] = LEVELS,
    *,
    n: int = 150,
    seeds: tuple[int, ...] = (0, 1, 2),
    settings: str = "{}",
    **changes: object,
) -> Source:
    """Tutors whose mean scores lie at known levels; every population's students differ."""
    parts = []
    for k, population in enumerate(populations):
        ease = np.random.default_rng(k).normal(size=(n, 1))
        teachings = []
        for tutor, level in levels.items():
            role = {"oracle": Role.ORACLE, "random": Role.BASELINE}.get(tutor, Role.LEARNED)
            for seed in seeds if role is Role.LEARNED else seeds[:1]:
                rng = np.random.default_rng([k, seed, *tutor.encode()])
                scores = ease + level + 0.5 * rng.normal(size=(n, 2))
                teachings.append(Teaching(tutor, role, seed, scores, settings))
        costs = {tutor: {"us_per_action": 2.0} for tutor in levels}
        parts.append(Part(population, population, TASK, 1, np.arange(n), tuple(teachings), costs))
    plain = Source(
        Path("runs") / name, "study", name, "", "training 0", {"python": "3"}, "tutor-sim study",
        "kind: study", tuple(parts),
    )  # fmt: skip
    return plain.__class__(**{**vars(plain), **changes})


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(gather([source()]))


@pytest.fixture(scope="module")
def page(analysis: Analysis) -> str:
    return render(analysis, "<b>title</b> & more", ["tables/scores.csv"])


class TestNumbers:
    def test_better_tutors_are_told_apart_and_equal_ones_are_not(self, analysis: Analysis) -> None:
        overall = analysis.overall
        assert overall is not None
        assert {p.population for p in analysis.families} == {"", "easy", "hard"}
        best, other = overall.tutors[:2]
        assert {best, other} == {"good", "twin"}
        assert overall.as_good_as_best() == [other]
        assert overall.beaten_by(best) == ["random", "bad"]
        assert (
            overall.improvement("bad", "good").high < 0.5 < overall.improvement("good", "bad").low
        )

    def test_the_scale_runs_from_random_to_the_oracle(self, analysis: Analysis) -> None:
        assert analysis.reference is Role.ORACLE
        assert analysis.aggregates["random"].mean.value == pytest.approx(0)
        assert analysis.aggregates["oracle"].mean.value == pytest.approx(1)
        # good lies at 0.6 of 1.5
        assert analysis.aggregates["good"].mean.low < 0.4 < analysis.aggregates["good"].mean.high
        for lines in analysis.lines.values():
            assert lines["oracle"].position.value == pytest.approx(1)

    def test_oracles_are_neither_tested_nor_ranked(self, analysis: Analysis) -> None:
        assert "oracle" not in analysis.ranks
        assert all("oracle" not in family.tutors for family in analysis.families)

    def test_without_a_reference_nothing_is_averaged_over_populations(self) -> None:
        levels = {name: level for name, level in LEVELS.items() if name != "oracle"}
        found = analyse(gather([source(levels=levels)]))
        assert found.reference is None
        assert not found.aggregates
        assert "no common scale" in found.notes[0]
        assert set(found.ranks) == set(levels)
        assert "no common scale" in render(found, "title", [])

    def test_who_was_not_everywhere_is_left_out_over_all(self) -> None:
        more = LEVELS | {"late": 0.2}
        parts = (*source(levels=more, populations=("easy",)).parts, source().parts[1])
        found = analyse(gather([source(parts=parts)]))
        assert list(found.tutors)[-1] == "late"
        assert "late" not in found.ranks
        assert "`late` taught `easy` only" in found.notes[0]


class TestSources:
    def test_seeds_of_one_tutor_are_counted_together(self) -> None:
        two = gather([source(), source("more", seeds=(3, 4))])
        assert two.groups[0].tutors["good"].seeds == (0, 1, 2, 3, 4)

    def test_other_settings_make_another_tutor(self) -> None:
        other = source("other", settings='{"n": 2}')
        names = set(gather([source(), other]).groups[0].tutors)
        assert {"good (made)", "good (other)"} <= names

    def test_other_settings_in_another_population_are_noted(self) -> None:
        other = source("b", populations=("new",), settings='{"n": 2}')
        (note, *_) = gather([source(), other]).notes
        assert note.startswith("`good` does not have the same settings in `easy`, `new`:")

    def test_the_same_twice_is_once(self, analysis: Analysis) -> None:
        twice = gather([source(), source("copy")])
        assert twice.groups[0].tutors["good"].lessons.shape == (3, 150, 2)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda part: {"seed": 2}, "`evaluation.seed` is 2 and 1"),
            (lambda part: {"task": TASK | {"n_steps": 9}}, "`task.n_steps` is 9 and 4"),
            (lambda part: {"definition": "other"}, "it is defined otherwise"),
            (lambda part: {"students": part.students + 1}, "other indices"),
        ],
    )
    def test_other_students_are_refused(
        self, change: Callable[[Part], dict[str, object]], message: str
    ) -> None:
        first = source()
        part = first.parts[0]
        changed = Part(**{**vars(part), **change(part)})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="runs/b and runs/made cannot be compared") as caught:
            gather([first, source("b", parts=(changed,))])
        assert message in str(caught.value)

    def test_other_scores_of_the_same_seed_are_refused(self) -> None:
        with pytest.raises(ValueError, match="both hold `good` of seed 0"):
            gather([source(), source("b", levels={**LEVELS, "good": 0.7})])

    def test_another_population_is_another_column(self) -> None:
        both = gather([source(), source("b", populations=("new",))])
        assert [group.population for group in both.groups] == ["easy", "hard", "new"]


class TestWords:
    def test_findings_claim_what_the_tests_say(self, analysis: Analysis) -> None:
        first, *_ = findings(analysis)
        best, other = analysis.families[0].tutors[:2]
        assert {best, other} == {"good", "twin"}
        said = f"It cannot be told apart from {other}; it is better than random and bad"
        assert said in first
        assert "corrected for all 6 pairs" in first
        assert any("trained 3 times" in text for text in caveats(analysis))

    def test_many_who_are_beaten_are_counted(self) -> None:
        many = {f"poor-{k}": -0.5 for k in range(9)}
        found = analyse(gather([source(levels=LEVELS | many)]))
        assert "it is better than 11 of the others" in findings(found)[0]

    def test_several_oracles_are_said_to_be_several(self) -> None:
        plain = source()
        parts = [
            Part(
                **{
                    **vars(part),
                    "teachings": tuple(
                        Teaching(**{**vars(t), "tutor": name if t.tutor == "oracle" else t.tutor})
                        for t in part.teachings
                    ),
                }
            )
            for name, part in zip(("oracle", "seer"), plain.parts, strict=True)
        ]
        found = analyse(gather([source(parts=tuple(parts))]))
        assert found.references == {"easy": "oracle", "hard": "seer"}
        assert "1 the best oracle of each population" in findings(found)[0]
        assert any("(oracle with easy; seer with hard)" in text for text in caveats(found))

    def test_one_seed_is_said_to_be_one(self) -> None:
        found = analyse(gather([source(seeds=(0,))]))
        assert "trained once" in caveats(found)[0]


class TestExports:
    def test_every_number_is_there_and_reads_back(self, analysis: Analysis) -> None:
        found = tables(analysis)
        assert found["scores"].num_rows == 2 * 5
        assert found["lessons"].num_rows == 2 * 5 * 2
        assert found["pairs"].num_rows == 3 * 6
        assert found["profiles"].num_rows == 5 * len(analysis.taus)
        pairs = found["pairs"].to_pylist()
        wins = [row for row in pairs if row["population"] == "" and row["p_holm"] < 0.05]
        assert len(wins) == 5  # all but good and twin

    def test_every_number_of_the_summaries_is_there_under_its_name(self) -> None:
        gain = {"value": 0.5, "low": 0.4, "high": 0.6}
        line = {
            "tutor": "good",
            "role": "learned",
            "n_seeds": 3,
            "lessons": [gain, gain | {"value": 0.55}],
            "fraction_of_optimal": {"value": None, "low": None, "high": None, "reason": "none"},
            "measures": {"retention": {"7": gain}},
            "cost": None,
        }
        view = {
            "kind": "style",
            "groups": ["text", "video"],
            "n_students": [70, 80],
            "tutors": [
                {"tutor": "good", "outcomes": [gain, gain], "gap": gain}
                | {"versus_pre_test": gain, "versus_random": gain | {"reason": "near nothing"}}
            ],
        }
        plain = source()
        part = Part(**{**vars(plain.parts[0]), "summary": {"tutors": [line], "equity": [view]}})
        found = tables(analyse(gather([source(parts=(part, plain.parts[1]))])))
        measures = {row.pop("measure"): row for row in found["measures"].to_pylist()}
        about = {"folder": "made", "population": "easy", "tutor": "good", "role": "learned"}
        whole = {"value": 0.5, "low": 0.4, "high": 0.6, "reason": None}
        assert measures == {
            "n_seeds": about | {"value": 3.0, "low": None, "high": None, "reason": None},
            "lessons.1": about | whole,
            "lessons.2": about | whole | {"value": 0.55},
            "fraction_of_optimal": about | dict.fromkeys(whole) | {"reason": "none"},
            "measures.retention.7": about | whole,
        }
        groups = {row["group"]: row for row in found["equity"].to_pylist()}
        assert list(groups) == ["text", "video", "gap", "versus_pre_test", "versus_random"]
        assert groups["video"]["n_students"] == 80
        assert groups["gap"]["n_students"] is None
        assert groups["versus_random"]["reason"] == "near nothing"

    def test_bold_is_who_is_significantly_best(self, analysis: Analysis) -> None:
        assert sole_best(analysis, "") is None
        assert r"\textbf" not in latex(analysis)
        alone = analyse(gather([source(levels={k: v for k, v in LEVELS.items() if k != "twin"})]))
        text = latex(alone)
        assert text.count(r"\textbf") == 3  # two populations and the mean
        row = next(line for line in text.splitlines() if line.startswith("good"))
        assert row.count(r"\textbf") == 3
        assert text.count(r"\\") == 1 + 4

    def test_signs_of_latex_are_printed_as_they_are(self) -> None:
        assert escape_latex(r"50%_a&b\{") == r"50\%\_a\&b\textbackslash{}\{"


class Page(HTMLParser):
    """Tags in order; every one is closed."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestPage:
    def test_it_is_whole_and_needs_nothing_else(self, page: str) -> None:
        parsed = Page(page)
        assert not parsed.open
        for tag, attributes in parsed.tags:
            for name in ("src", "href", "xlink:href", "action", "data"):
                value = attributes.get(name) or "#"
                assert value.startswith(("#", "data:")), (tag, value)
        ids = [a["id"] for _, a in parsed.tags if a.get("id")]
        assert len(ids) == len(set(ids))
        links = [a["href"][1:] for tag, a in parsed.tags if tag == "a" and a.get("href")]  # type: ignore[index]
        assert links
        assert set(links) <= set(ids)

    def test_styles_and_pictures_load_nothing(self, page: str) -> None:
        assert not re.search(r"url\((?!#)|@import|\bfetch\(|XMLHttpRequest|import\(", page)
        assert "<b>title</b>" not in page

    def test_one_population_one_lesson(self) -> None:
        made = source(populations=("easy",))
        part = made.parts[0]
        short = [Teaching(**{**vars(t), "scores": t.scores[:, :1]}) for t in part.teachings]
        task = TASK | {"n_lessons": 1}
        part = Part(**{**vars(part), "teachings": tuple(short), "task": task})  # type: ignore[arg-type]
        page = render(analyse(gather([source(parts=(part,))])), "title", [])
        assert 'id="adaptation"' not in page
        assert 'id="profiles"' in page

    @pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")
    def test_a_browser_shows_it_without_a_complaint(self, page: str, tmp_path: Path) -> None:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        assert CHROMIUM is not None
        shown = subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                "--v=0", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert "CONSOLE" not in shown.stderr
        # only the script makes these
        assert shown.stdout.count("<button") > 10
        assert shown.stdout.count("<svg") > 2
        assert 'title="good with easy: score' in shown.stdout


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    for name, ability in (("average", 0), ("weak", -1)):
        (folder / f"{name}.yaml").write_text(STUDENTS.format(name=name, ability=ability))
    file = folder / "classes.yaml"
    file.write_text(STUDY.replace("two classes", "classes"))
    study_file(
        file, overrides=[], short=False, out=folder / "out", n_workers=1, on_ray=False,
        console=QUIET, log=QUIET,
    )  # fmt: skip
    return folder / "out"


class TestCommand:
    def test_a_study_writes_its_report(self, study: Path) -> None:
        assert (study / "report.html").is_file()
        scores = parquet.read_table(study / "tables" / "scores.parquet")
        assert scores.equals(csv.read_csv(study / "tables" / "scores.csv").cast(scores.schema))
        summary = json.loads((study / "summary.json").read_bytes())["populations"]
        for row in scores.to_pylist():
            lines = summary[row["population"]]["tutors"]
            (line,) = (line for line in lines if line["tutor"] == row["tutor"])
            assert [row["score"], row["score_low"], row["score_high"]] == pytest.approx(
                [line["score"][end] for end in ("value", "low", "high")]
            )

    def test_it_is_the_same_every_time(self, study: Path) -> None:
        before = {p: p.read_bytes() for p in [study / "report.html", *study.glob("tables/*")]}
        write_study_report(study)
        assert {path: path.read_bytes() for path in before} == before

    def test_tables_and_files(self, study: Path, tmp_path: Path) -> None:
        result = CliRunner().invoke(
            app, ["report", str(study), "--out", str(tmp_path / "new"), "--latex"]
        )
        assert result.exit_code == 0, result.output
        assert "students of" in result.stdout
        assert {p.name for p in (tmp_path / "new").iterdir()} == {
            "report.html",
            "tables",
            "table.tex",
        }

    def test_a_run_beside_a_study(self, study: Path, tmp_path: Path) -> None:
        cell = study / "cells" / "weak" / "random-0"
        assert "no results yet" in _refused([study, cell], tmp_path)

    def test_what_is_damaged_gets_one_message_and_leaves_nothing(
        self, study: Path, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(study, tmp_path / "copy"))
        results = copy / "results.parquet"
        whole = results.read_bytes()
        results.write_bytes(whole[: len(whole) // 2])
        assert "results.parquet: damaged" in _refused([study, copy], tmp_path)
        table = parquet.read_table(io.BytesIO(whole))
        parquet.write_table(table.slice(3), results)
        assert "scores of" in _refused([copy], tmp_path)
        parquet.write_table(table, results)
        (copy / "summary.json").write_text("{")
        assert "summary.json: damaged" in _refused([copy], tmp_path)
        results.unlink()
        assert "no results yet" in _refused([copy], tmp_path)

    def test_what_is_no_run_is_said_to_be_none(self, tmp_path: Path) -> None:
        assert "no such folder" in _refused([tmp_path / "nowhere"], tmp_path)
        assert "neither a run folder" in _refused([tmp_path], tmp_path)

    def test_a_runs_own_report_is_not_overwritten(self, study: Path) -> None:
        cell = study / "cells" / "weak" / "random-0"
        with pytest.raises(ValueError, match="must not be a run folder"):
            report_folders([study], out=cell, as_latex=False, console=QUIET)


def _refused(folders: list[Path], tmp_path: Path) -> str:
    """The message; exit code 2, and nothing is written."""
    out = tmp_path / "refused"
    result = CliRunner().invoke(app, ["report", *map(str, folders), "--out", str(out)])
    assert result.exit_code == 2, result.output
    assert not out.exists()
    assert result.stderr.count("error:") == 1
    return result.stderr


def test_runs_of_two_seeds_are_one_tutor(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "pictures", lambda *what: [])  # they take most of the time
    monkeypatch.setattr(training, "N_PICTURES", 0)
    for seed in (3, 5):
        result = CliRunner().invoke(
            app, ["compare", str(experiment_file), "--short", "--seed", str(seed)]
        )
        assert result.exit_code == 0, result.output
    folders = sorted((tmp_path / "runs").iterdir())
    taught = gather([read_source(folder) for folder in folders]).groups[0].tutors
    assert taught["tally"].seeds == (3, 5)
    assert taught["random"].seeds == (3, 5)
    result = CliRunner().invoke(app, ["report", *map(str, folders)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "report-tiny-3-001-tiny-5-001" / "report.html").is_file()


def test_rows_of_an_earlier_version_have_no_seeds(study: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(study, tmp_path / "copy"))
    table = parquet.read_table(copy / "results.parquet")
    mask = pa.compute.equal(table["training_seed"], 0)
    parquet.write_table(table.filter(mask).drop_columns("training_seed"), copy / "results.parquet")
    (part, _) = read_source(copy).parts
    assert {teaching.seed for teaching in part.teachings} == {0}
