"""Several learners and seeds in one experiment: trained apart, compared together, resumable."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from tutor_sim import commands, training
from tutor_sim.commands import compare_file, evaluate_run, resume, train_file
from tutor_sim.config import Experiment
from tutor_sim.experiment_files import load_experiment, load_experiments
from tutor_sim.first_answers_command import adapt_run
from tutor_sim.learners import LEARNERS
from tutor_sim.metrics import read_metrics
from tutor_sim.results import read_results
from tutor_sim.runs import Run
from tutor_sim.stopping import Interrupted

LEARNERS_TEXT = """\
learners:
  slow: {algorithm: tally, total_steps: 200, learning_rate: 1e-2}
  fast: {algorithm: tally, total_steps: 400, learning_rate: 1e-1}
seeds: [0, 4]
"""
QUIET = Console(file=io.StringIO())


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small a run."""
    for name in ("adaptation_curve", "action_heatmap"):
        monkeypatch.setattr(training, name, lambda *what: Figure(figsize=(1, 1)))


@pytest.fixture
def several_file(experiment_file: Path) -> Path:
    lines = experiment_file.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("learner:", "short:"))]
    text = "\n".join(kept).replace("[random, tally]", "[random, oracle, slow]")
    text = text.replace("n_steps: 5", "n_steps: 5, n_lessons: 2")
    experiment_file.write_text(f"{text}\n{LEARNERS_TEXT}")
    return experiment_file


def run_all(path: Path, **options: Any) -> Run:
    defaults: dict[str, Any] = {
        "overrides": (),
        "seed": None,
        "short": False,
        "device": "cpu",
        "n_threads": 1,
        "root": path.parent / "runs",
        "console": QUIET,
        "log": QUIET,
    }
    (run,) = compare_file(path, **defaults | options)
    return run


def test_the_parts_are_experiments_of_their_own(several_file: Path) -> None:
    experiment = load_experiment(several_file)
    assert list(experiment.learned) == ["slow", "fast"]
    part = experiment.part("fast", 4)
    assert (part.name, part.seed, part.seeds, part.learners) == ("fast-4", 4, (), {})
    assert part.learner == experiment.learners["fast"]
    assert [tutor.name for tutor in part.tutors] == ["random", "oracle"]
    assert Experiment.model_validate(part.model_dump(mode="json")) == part
    fingerprints = {experiment.part(n, s).fingerprint for n in experiment.learned for s in (0, 4)}
    assert len(fingerprints) == 4


def test_one_learner_with_several_seeds(experiment_file: Path) -> None:
    experiment = load_experiment(experiment_file, overrides=["seeds=[1, 2]"])
    assert experiment.has_parts
    assert list(experiment.learned) == ["tally"]
    (one,) = load_experiments(experiment_file, overrides=["seeds=[1, 2]"], seed=7)
    assert (one.training_seeds, one.has_parts) == ((7,), False)


def test_a_star_stands_for_every_learner(several_file: Path) -> None:
    experiment = load_experiment(several_file, overrides=["learners.*.total_steps=7"])
    assert [learner.total_steps for learner in experiment.learners.values()] == [7, 7]
    with pytest.raises(ValueError, match=r"--set learners\.\*\.tempo: unknown key `learners.fast"):
        load_experiment(several_file, overrides=["learners.*.tempo=7"])


def test_everything_is_trained_and_compared_once(several_file: Path) -> None:
    run = run_all(several_file)
    assert sorted(path.name for path in run.parts.iterdir()) == [
        "fast-0",
        "fast-4",
        "slow-0",
        "slow-4",
    ]
    table = read_results(run.folder / "results.parquet").to_pydict()
    found = set(zip(table["tutor"], table["training_seed"], strict=True))
    learned = {(name, seed) for name in ("slow", "fast") for seed in (0, 4)}
    assert found == {("random", None), ("oracle", None)} | learned
    summary = json.loads((run.folder / "summary.json").read_text())
    lines = {line["tutor"]: line for line in summary["tutors"]}
    fast = lines["fast"]
    assert fast["n_seeds"] == 2
    assert set(fast["seed_scores"]) == {"0", "4"}
    assert fast["score"]["value"] == pytest.approx(np.mean(list(fast["seed_scores"].values())))
    assert (fast["cost"]["teaching_steps"], lines["slow"]["cost"]["teaching_steps"]) == (400, 200)
    assert fast["cost"]["cpu_s"] > 0
    assert summary["lesson_reference"] == "oracle"
    assert len(fast["lesson_fractions"]) == 2
    assert set(fast["actions_to_reach"]) == {"50 %", "80 %", "95 %"}
    assert lines["random"]["cost"] is None
    text = run.report.read_text()
    assert "means over 2 training seeds" in text
    assert "2 learners, each with the seeds 0, 4" in text
    assert "Speed of adaptation" in text


def test_a_part_is_trained_as_if_alone(several_file: Path) -> None:
    run = run_all(several_file)
    part = Run.open(run.parts / "fast-4")
    alone = Run.create(several_file.parent, part.experiment, "train", 1)
    trained = training.train(alone, device="cpu", console=QUIET)
    again = training.load_best(part, "cpu")
    assert trained.tutor.export()[0]["value"].equal(again.export()[0]["value"])
    rows = read_metrics(part.metrics)
    assert rows[-1]["perf/cpu_s"] > 0


def test_a_stopped_comparison_goes_on_and_repeats_nothing(
    several_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run_all(several_file)
    kind = LEARNERS["tally"].make
    update = kind.update  # type: ignore[attr-defined]
    counted: list[int] = []

    def counting(self: Any) -> Any:
        counted.append(self.seed)
        if len(counted) == 5:  # slow-0 has 2 updates of 100 actions, fast-0 has 4
            raise KeyboardInterrupt
        return update(self)

    monkeypatch.setattr(kind, "update", counting)
    with pytest.raises((Interrupted, KeyboardInterrupt)) as caught:
        run_all(several_file)
    folder = several_file.parent / "runs" / "tiny-3-002"
    assert f"tutor-sim resume {folder}" in str(caught.value)
    assert sorted(path.name for path in (folder / "parts").iterdir()) == ["fast-0", "slow-0"]
    monkeypatch.setattr(kind, "update", lambda self: (counted.append(self.seed), update(self))[1])
    del counted[:]
    resumed = resume(folder, device="cpu", console=QUIET, log=QUIET)
    # fast-0 had done 2 updates of 4, and was saved before the first; then slow-4 and fast-4
    assert counted == [0] * 4 + [4] * (2 + 4)
    one, other = (
        json.loads((run.folder / "summary.json").read_text()) for run in (straight, resumed)
    )
    for line, same in zip(one["tutors"], other["tutors"], strict=True):
        assert line["score"] == same["score"]
    del counted[:]
    resume(folder, device="cpu", console=QUIET, log=QUIET)
    assert counted == []


def test_a_comparison_is_evaluated_again(several_file: Path) -> None:
    run = run_all(several_file)
    result = evaluate_run(run.folder, population=None, n_students=12, device="cpu", console=QUIET)
    assert {e.training_seed for e in result.evaluations if e.tutor == "fast"} == {0, 4}
    assert all(len(e.students) == 12 for e in result.evaluations)


def test_a_comparison_says_what_first_answers_are_worth(several_file: Path) -> None:
    run = run_all(several_file)
    found = adapt_run(run.folder, tutors=(), n_students=12, device="cpu", console=QUIET)
    assert [line.tutor for line in found] == ["slow", "fast"]
    for line in found:  # these tutors listen to nobody
        assert line.worth == {k: (0, 0, 0, "") for k in (1, 2, 4, 5, 8)}
        assert line.score.value == pytest.approx(line.forgetful[5].value)


def test_train_is_for_one(several_file: Path) -> None:
    with pytest.raises(ValueError, match=r"`learners` mean several trainings.*`tutor-sim compare`"):
        train_file(
            several_file,
            overrides=(),
            seed=None,
            device="cpu",
            n_threads=1,
            root=several_file.parent,
            console=QUIET,
            log=QUIET,
        )


def test_what_cannot_be_trained_is_refused_before_anything_is(
    several_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = LEARNERS["tally"].make
    begin = kind.__init__  # type: ignore[misc]

    def refusing(self: Any, config: Any, *others: Any, **more: Any) -> None:
        if config.learning_rate == 0.1:
            raise ValueError("`fast` cannot teach this")
        begin(self, config, *others, **more)

    monkeypatch.setattr(kind, "__init__", refusing)
    monkeypatch.setattr(commands, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match="`fast` cannot teach this"):
        run_all(several_file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [0, 4]", "seeds: [0, 0]", r"`seeds` must be different seeds, got \[0, 0\]"),
        ("seeds: [0, 4]", "seeds: [0, -4]", r":\d+: `seeds.1` must be >= 0, got -4"),
        ("seeds:", "learner: {algorithm: tally}\nseeds:", "`learners` cannot stand beside"),
        ("  slow: {algorithm: tally", "  slow: {algorithm: taly", r"`learner.algorithm` 'taly'"),
        ("  slow: {algorithm: tally,", "  slow: {", r"must be a mapping that names its `algor"),
        ("  slow: {", "  slow: {rate: 1, ", r"unknown key `learners.slow.rate`; allowed: algo"),
        ("  slow:", "  s.low:", r"`learners.s.low.\[key\]` must match pattern"),
        ("  slow:", "  random:", r"cannot be called like a tutor of ours, got 'random'"),
        ("oracle, slow]", "oracle, slwo]", r"unknown `tutors` 'slwo'; .*did you mean 'slow'\?"),
    ],
)
def test_mistakes_are_named(several_file: Path, old: str, new: str, message: str) -> None:
    text = several_file.read_text()
    assert old in text
    if "random:" in new:
        text = text.replace("oracle, slow]", "oracle]")
    several_file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        load_experiment(several_file)
