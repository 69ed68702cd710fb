"""From evaluations to the summary, the table, the pictures, the report and the folder."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor

from tutor_agents.oracle import OracleTutor
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.registry import TUTORS, make_tutor
from tutor_agents.thompson import ThompsonTutor
from tutor_agents.tutor import CannotTeach, Tutor
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.compare import Learned, Training, compare
from tutor_sim.config import Experiment
from tutor_sim.drawing import line_styles, to_rgb, to_svg
from tutor_sim.evaluation import Evaluation, Role, evaluate
from tutor_sim.figures import LearningPoint
from tutor_sim.findings import findings
from tutor_sim.pictures import pictures
from tutor_sim.report import STYLES_ARE_CONTESTED
from tutor_sim.results import read_results, scores_by_tutor
from tutor_sim.summary import Summary, case_references, summarise
from tutor_sim.tables import results_table

POPULATION = Population.model_validate(
    {
        "name": "bandit <i>",
        "student": "style_bandit",
        "model": {"modalities": ["text", "video"], "n_units": 6},
        "latents": {"p_event": 0.5, "style_strength": 0.8, "p_slip": 0.1, "p_guess": 0.1},
        "types": {
            "reader": {"weight": 1, "latents": {"responsiveness": [1, 0]}},
            "viewer": {"weight": 1, "latents": {"responsiveness": [0, 1]}},
        },
    }
)
TASK = TeachingTask(n_lessons=2, n_steps=6)


def called(tutor: Tutor, name: str) -> Tutor:
    tutor.name = name  # type: ignore[misc]
    return tutor


def taught(tutor: Tutor, role: Role = Role.BASELINE, **options: Any) -> Evaluation:
    defaults: dict[str, Any] = {
        "population": POPULATION,
        "task": TASK,
        "n_students": 200,
        "seed": 1,
    }
    return evaluate(tutor, role=role, **defaults | options)


def thompson(name: str = "rl2") -> Tutor:
    return called(ThompsonTutor(POPULATION.student_model, POPULATION.types_exact()), name)


def myopic(name: str = "bayes") -> Tutor:
    return called(make_tutor("myopic", POPULATION, TASK), name)


@pytest.fixture(scope="module")
def evaluations() -> list[Evaluation]:
    """Two baselines, something learned, an optimum and an oracle."""
    return [
        taught(RandomTutor(POPULATION.student_model)),
        taught(called(make_tutor("round_robin", POPULATION, TASK), "best_fixed")),
        taught(thompson(), Role.LEARNED),
        taught(myopic(), Role.OPTIMUM),
        taught(OracleTutor()),
    ]


@pytest.fixture(scope="module")
def summary(evaluations: list[Evaluation]) -> Summary:
    return summarise(evaluations)


class TestSummary:
    def test_the_best_comes_first(self, summary: Summary) -> None:
        scores = [line.score.value for line in summary.tutors]
        assert scores == sorted(scores, reverse=True)
        assert summary.tutors[0].tutor == "oracle"

    def test_numbers_are_those_of_the_definitions(
        self, evaluations: list[Evaluation], summary: Summary
    ) -> None:
        v = {e.tutor: float(e.scores.mean()) for e in evaluations}
        line = summary["rl2"]
        assert line.score.value == pytest.approx(v["rl2"])
        assert line.fraction_of_optimal.value == pytest.approx(
            (v["rl2"] - v["random"]) / (v["bayes"] - v["random"])
        )
        assert line.fraction_of_adaptivity.value == pytest.approx(
            (v["rl2"] - v["best_fixed"]) / (v["bayes"] - v["best_fixed"])
        )
        assert line.fraction_of_oracle.value == pytest.approx(
            (v["rl2"] - v["random"]) / (v["oracle"] - v["random"])
        )
        assert line.regret.value == pytest.approx(v["bayes"] - v["rl2"])
        best = max(("random", "best_fixed"), key=lambda name: v[name])
        assert summary.baseline == best
        assert line.versus_baseline.value == pytest.approx(v["rl2"] - v[best])
        first, last = (line.lessons[k].value for k in (0, 1))
        assert line.adaptation.value == pytest.approx(last - first)
        assert first == pytest.approx(evaluations[2].scores[:, 0].mean())

    def test_a_fraction_above_one_has_its_interval(self, summary: Summary) -> None:
        found = summary["oracle"].fraction_of_optimal
        assert 1 < found.low < found.value < found.high

    def test_what_is_not_known_says_why(self, evaluations: list[Evaluation]) -> None:
        found = summarise(evaluations[2:3])["rl2"]
        assert found.fraction_of_optimal.reason == "needs the tutor `random` and `bayes`"
        assert found.fraction_of_oracle.reason == "needs the tutor `random` and `oracle`"
        assert found.versus_baseline.reason == "no baseline"
        assert found.regret.reason == "no optimum and no oracle"

    def test_exact_values_are_the_scale(self, evaluations: list[Evaluation]) -> None:
        exact = {"random": 0.4, "bayes": 0.8}
        found = summarise(evaluations[2:3], exact=exact)["rl2"].fraction_of_optimal
        assert found.value == pytest.approx((evaluations[2].score - 0.4) / 0.4)

    def test_known_luck_narrows_the_interval(self, evaluations: list[Evaluation]) -> None:
        bayes = evaluations[3]
        exact = {"random": 0.45, "bayes": bayes.score}
        alone = summarise([evaluations[2]], exact=exact)["rl2"].fraction_of_optimal
        beside = summarise(evaluations[2:4], exact=exact)["rl2"].fraction_of_optimal
        assert beside.high - beside.low < alone.high - alone.low
        # here the optimum's luck is zero, so the estimate stays where it is
        assert beside.value == pytest.approx(alone.value)

    def test_values_of_a_case_have_the_names_of_tutors(self) -> None:
        values = {"random": 1, "openloop": 2.5, "bayes": 4, "openloop_seq": [0, 1], "myopic": 3}
        assert case_references(values) == {"random": 1.0, "best_fixed": 2.5, "bayes": 4.0}

    def test_equal_tutors_have_no_difference(self) -> None:
        twin = taught(called(RandomTutor(POPULATION.student_model), "twin"))
        found = summarise([taught(RandomTutor(POPULATION.student_model)), twin])
        assert found["twin"].versus_baseline[:3] == (0, 0, 0)

    @pytest.mark.parametrize(
        "other", [{"seed": 2}, {"n_students": 100}, {"task": TeachingTask(n_steps=5)}]
    )
    def test_only_the_same_students_are_compared(self, other: dict[str, Any]) -> None:
        one = taught(RandomTutor(POPULATION.student_model), n_students=200)
        two = taught(make_tutor("round_robin", POPULATION, TASK), **other)
        with pytest.raises(
            ValueError, match="`random` and `round_robin` must be evaluated on the same"
        ):
            summarise([one, two])

    def test_names_are_unique_and_somebody_is_there(self, evaluations: list[Evaluation]) -> None:
        with pytest.raises(ValueError, match=r"several called \['random'\]"):
            summarise([evaluations[0], evaluations[0]])
        with pytest.raises(ValueError, match="at least one"):
            summarise([])

    def test_it_is_plain_json(self, evaluations: list[Evaluation]) -> None:
        plain = summarise(evaluations[:3]).to_json()
        text = json.loads(json.dumps(plain, allow_nan=False))
        line = next(line for line in text["tutors"] if line["tutor"] == "rl2")
        assert line["role"] == "learned"
        assert line["fraction_of_optimal"]["value"] is None
        assert "bayes" in line["fraction_of_optimal"]["reason"]
        assert line["score"]["low"] < line["score"]["value"] < line["score"]["high"]

    def test_tensorboard_gets_known_numbers_only(self, evaluations: list[Evaluation]) -> None:
        metrics = summarise(evaluations[:3])["rl2"].metrics()
        assert metrics["eval/score"] == pytest.approx(evaluations[2].score)
        assert "eval/fraction_of_optimal" not in metrics
        assert {"eval/score_lesson_1", "eval/score_lesson_2"} <= set(metrics)
        assert all(np.isfinite(value) for value in metrics.values())

    def test_a_fraction_on_a_board_has_its_interval(self, summary: Summary) -> None:
        metrics = summary["rl2"].metrics()
        fraction = summary["rl2"].fraction_of_optimal
        assert metrics["eval/fraction_of_optimal_low"] == fraction.low
        assert metrics["eval/fraction_of_optimal_high"] == fraction.high

    def test_measures_are_exported_as_they_are(self, summary: Summary) -> None:
        measures = summary["rl2"].measures
        assert measures is not None
        lines = json.loads(json.dumps(summary.to_json(), allow_nan=False))["tutors"]
        plain = next(line for line in lines if line["tutor"] == "rl2")
        assert plain["measures"]["normalised_gain"]["value"] == measures.normalised_gain.value
        regret = plain["cumulative_regret"]
        assert list(regret) == ["1", "2", "5", "10", "12"]
        bayes = next(e for e in summary.tutors if e.tutor == summary.lesson_reference)
        # two lessons: the trial's regret is twice the mean lesson's
        behind = bayes.score.value - summary["rl2"].score.value
        assert regret["12"]["value"] == pytest.approx(2 * behind, abs=1e-6)


def printed(summary: Summary, width: int) -> str:
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(results_table(summary, title="the title", width=width))
    return capture.get()


class TestTable:
    def test_every_tutor_has_a_line_and_oracles_are_marked(self, summary: Summary) -> None:
        text = printed(summary, 200)
        lines = [line.split()[:2] for line in text.splitlines()]
        names = [" ".join(words[:1]) for words in lines[2 : 2 + len(summary.tutors)]]
        assert names == [line.tutor for line in summary.tutors]
        assert "oracle †" in text
        assert "† reads what is hidden" in text
        assert "1 (reference)" in text
        assert "0 (reference)" in text
        assert "lesson 1 → 2" in text

    @pytest.mark.parametrize("width", [60, 80, 100, 140])
    def test_it_fits_and_says_what_is_missing(self, summary: Summary, width: int) -> None:
        text = printed(summary, width)
        assert max(map(len, text.splitlines())) <= width
        assert "no room for:" in text
        assert "…" not in text
        score = summary["rl2"].score
        assert f"{score.value:.2f}" in text

    def test_without_an_optimum_the_column_has_another_name(
        self, evaluations: list[Evaluation]
    ) -> None:
        text = printed(summarise([*evaluations[:3], evaluations[4]]), 200)
        assert "of oracle" in text
        assert "of optimal" not in text

    def test_one_student(self) -> None:
        text = printed(
            summarise([taught(RandomTutor(POPULATION.student_model), n_students=1)]), 120
        )
        assert "nan" not in text


class TestFindings:
    def test_better_worse_or_not_told_apart(self, evaluations: list[Evaluation]) -> None:
        random, _, learned = evaluations[:3]
        better = " ".join(findings(summarise([random, learned])))
        assert "better than the best baseline, random" in better
        twin = taught(called(RandomTutor(POPULATION.student_model), "twin"), Role.LEARNED)
        assert "cannot be told apart" in " ".join(findings(summarise([random, twin])))
        strong = taught(myopic("myopic"))
        bad = taught(called(RandomTutor(POPULATION.student_model), "bad"), Role.LEARNED)
        assert "worse than the best baseline" in " ".join(findings(summarise([strong, bad])))

    def test_a_difference_within_its_interval_is_none(self, evaluations: list[Evaluation]) -> None:
        # in this population round-robin and random tutors have the same expected score
        same = taught(make_tutor("round_robin", POPULATION, TASK), Role.LEARNED)
        summary = summarise([evaluations[0], same])
        difference = summary["round_robin"].versus_baseline
        assert difference.low < 0 < difference.high
        assert difference.value != 0
        assert "cannot be told apart" in " ".join(findings(summary))

    def test_what_does_not_adapt_is_said_not_to(self, evaluations: list[Evaluation]) -> None:
        twin = taught(called(RandomTutor(POPULATION.student_model), "twin"), Role.LEARNED)
        text = " ".join(findings(summarise([evaluations[0], twin])))
        assert "does not measurably get better" in text
        assert "gets better as it gets to know" in " ".join(findings(summarise(evaluations)))

    def test_an_oracle_alone_proves_nothing(self, evaluations: list[Evaluation]) -> None:
        assert "nothing to compare" in findings(summarise(evaluations[4:]))[0]


CURVE = [LearningPoint(i * 1000, 0.5 + i / 100) for i in range(5)]


class TestPictures:
    def test_each_is_a_figure_of_its_own_with_words(
        self, evaluations: list[Evaluation], summary: Summary
    ) -> None:
        found = pictures(evaluations, summary, {"rl2": [CURVE]})
        tags = [picture.tag for picture in found]
        assert len(set(tags)) == len(tags)
        assert {
            "eval/scores",
            "eval/learning_curve",
            "adaptation/curve",
            "adaptation/lessons",
            "adaptation/regret",
            "adaptation/cumulative_regret",
            "adaptation/modality_fit",
            "adaptation/actions_rl2",
            "eval/students",
            "equity/style",
        } == set(tags)
        for picture in found:
            assert len(picture.alt) > 20
            assert len(picture.caption) > 20
            figure = picture.draw()
            assert isinstance(figure, Figure)
            pixels = to_rgb(figure, dpi=40)
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert np.ptp(pixels) == 255
        import matplotlib.pyplot as plt

        assert not plt.get_fignums()

    def test_one_lesson_one_tutor_one_student(self) -> None:
        task = TeachingTask(n_steps=6, reward=Reward(score="mastery_gain"))
        one = taught(RandomTutor(POPULATION.student_model), task=task, n_students=1)
        for picture in pictures([one], summarise([one])):
            assert to_rgb(picture.draw(), dpi=40).size

    def test_without_preferences_there_is_no_picture_of_them(self) -> None:
        population = Population.model_validate({"name": "p", "student": "memory"})
        tutor = RandomTutor(population.student_model)
        one = evaluate(tutor, population, TASK, n_students=5, seed=1)
        tags = [picture.tag for picture in pictures([one], summarise([one]))]
        assert "adaptation/modality_fit" not in tags

    def test_the_same_picture_is_the_same_text(
        self, evaluations: list[Evaluation], summary: Summary
    ) -> None:
        first, second = (to_svg(pictures(evaluations, summary)[0].draw()) for _ in range(2))
        assert first == second
        assert "<svg" in first

    def test_a_tutor_looks_the_same_in_every_order(self) -> None:
        roles = {
            "b": Role.BASELINE,
            "a": Role.BASELINE,
            "rl2": Role.LEARNED,
            "random": Role.BASELINE,
        }
        styles = line_styles(roles)
        assert styles == line_styles(dict(reversed(roles.items())))
        assert len(set(styles.values())) == len(roles)


class Page(HTMLParser):
    """Collects what a browser would fetch, run or leave unclosed."""

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

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "tiny",
            "description": "<script>alert('x')</script> & more",
            "population": POPULATION.model_dump(mode="json"),
            "task": TASK.model_dump(mode="json"),
            "tutors": ["random", {"best_fixed": {"n_starts": 1, "n_students": 8}}, "oracle"],
            "evaluation": {"n_students": 40},
        }
        | changes
    )


class TestCompare:
    def test_everything_is_left_in_the_folder(self, tmp_path: Path) -> None:
        console = Console(width=100, file=(tmp_path / "printed.txt").open("w"), no_color=True)
        result = compare(
            experiment(),
            folder=tmp_path,
            learned=[Learned.of(thompson(), Training(CURVE, 5000, 1.5))],
            console=console,
            commands=["tutor-sim compare 'a & b.yaml'"],
        )
        console.file.close()
        names = {"rl2", "random", "best_fixed", "oracle"}
        scores = scores_by_tutor(read_results(tmp_path / "results.parquet"))
        assert set(scores) == names
        for evaluation in result.evaluations:
            np.testing.assert_array_equal(scores[evaluation.tutor], evaluation.scores)
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert {line["tutor"] for line in summary["tutors"]} == names
        text = (tmp_path / "printed.txt").read_text()
        assert "tiny: post-test score, 2 lessons of 6 teaching actions" in text
        assert "40 unseen students" in text
        assert "not that of the training seed" in text
        assert result.summary["rl2"].role is Role.LEARNED
        self.check_report(result.report.read_text())

    def check_report(self, text: str) -> None:
        page = Page(text)
        assert not page.open
        kinds = [tag for tag, _ in page.tags]
        assert "script" not in kinds
        assert "link" not in kinds
        assert "&lt;script&gt;alert(" in text
        assert "a &amp; b.yaml" in text
        pages = [attributes for tag, attributes in page.tags if tag == "img"]
        assert len(pages) == 10
        for attributes in pages:
            assert attributes["alt"]
            prefix = "data:image/svg+xml;base64,"
            source = attributes["src"] or ""
            assert source.startswith(prefix)
            assert b"<svg" in base64.b64decode(source[len(prefix) :])
        assert not re.search(r"(src|href)=\"(?!data:)", text)
        assert "url(" not in text
        assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
        assert ("html", {"lang": "en"}) in page.tags
        assert STYLES_ARE_CONTESTED in text.replace("&#x27;", "'").replace("&amp;", "&")

    def test_other_students_than_the_tutors_were_made_for(self, tmp_path: Path) -> None:
        shifted = POPULATION.with_latents(style_strength=0)
        exact = {"random": 0.1, "best_fixed": 0.1, "bayes": 0.9}
        result = compare(
            experiment(reference_values=exact, tutors=["random"]),
            folder=tmp_path,
            population=shifted,
            n_students=30,
        )
        assert result.summary.exact == {}
        assert len(result.evaluations[0].students) == 30
        text = result.report.read_text()
        assert "students of bandit &lt;i&gt;:changed; all tutors were made for those of" in text
        assert "<i>" not in text

    def test_a_tutor_that_cannot_teach_these_students_is_left_out_with_its_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any) -> Tutor:
            raise CannotTeach("too many beliefs")

        class TooLate(RandomTutor):
            def act(self, observation: Observation) -> Tensor:
                raise CannotTeach("too many states")

        monkeypatch.setitem(TUTORS, "bayes", dataclasses.replace(TUTORS["random"], make=refuse))
        late = dataclasses.replace(TUTORS["random"], make=lambda at, _: TooLate(at.model))
        monkeypatch.setitem(TUTORS, "clairvoyant", late)
        tutors = ["bayes", "random", "clairvoyant"]
        result = compare(experiment(tutors=tutors), folder=tmp_path)
        assert [e.tutor for e in result.evaluations] == ["random"]
        assert result.notes[:2] == (
            "bayes is left out: too many beliefs",
            "clairvoyant is left out: too many states",
        )
        assert "too many states" in result.report.read_text()

    def test_other_mistakes_of_a_tutor_are_not_hushed_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any) -> Tutor:
            raise ValueError("a mistake")

        monkeypatch.setitem(TUTORS, "bayes", dataclasses.replace(TUTORS["random"], make=refuse))
        with pytest.raises(ValueError, match="a mistake"):
            compare(experiment(tutors=["random", "bayes"]), folder=tmp_path)

    def test_one_tutor_takes_part_twice_under_names_of_its_own(self, tmp_path: Path) -> None:
        curious = {"algorithm": "epsilon_greedy", "epsilon": 1}
        tutors = ["random", "epsilon_greedy", {"curious": curious}]
        result = compare(experiment(tutors=tutors), folder=tmp_path)
        scores = {e.tutor: e.scores for e in result.evaluations}
        assert list(scores) == ["random", "epsilon_greedy", "curious"]
        assert (scores["curious"] != scores["epsilon_greedy"]).any()

    def test_students_with_other_teaching_actions_are_refused(self, tmp_path: Path) -> None:
        other = Population.model_validate({"name": "other", "student": "memory"})
        with pytest.raises(ValueError, match="population `other` must have the teaching actions"):
            compare(experiment(), folder=tmp_path, population=other)

    def test_nobody_to_compare(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="`tutors` must name at least one"):
            compare(experiment(tutors=[]), folder=tmp_path)
