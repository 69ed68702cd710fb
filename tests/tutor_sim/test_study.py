"""A study: every cell is run once, with the same students, and goes on where it stopped."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from pyarrow import csv, parquet
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from typer.testing import CliRunner

from tutor_sim import tensorboard, training
from tutor_sim.checkpoint import list_checkpoints
from tutor_sim.cli import app
from tutor_sim.evaluation import evaluate
from tutor_sim.files import held_alone
from tutor_sim.learners import LEARNERS
from tutor_sim.runs import Run
from tutor_sim.statistics import mean_interval
from tutor_sim.stopping import Interrupted
from tutor_sim.study import command, workers
from tutor_sim.study.cells import Outcome, cells_of, prepare, run_cell
from tutor_sim.study.command import study_file
from tutor_sim.study.files import load_study
from tutor_sim.study.results import PopulationResult
from tutor_sim.study.stored import load_evaluation, save_evaluation, stored_fingerprint

QUIET = Console(file=io.StringIO())
POPULATION = """\
name: {name}
student: bkt
model: {{n_skills: 2}}
latents: {{ability: {{normal: {{mean: {ability}, sd: 1}}}}, p_slip: 0.1}}
"""
STUDY = """\
kind: study
name: grid
populations: {average: average.yaml, weak: weak.yaml}
task: {n_lessons: 2, n_steps: 5}
learners: {fast: {algorithm: tally, total_steps: 400}}
tutors: [random, {best_fixed: {n_students: 8, n_starts: 1}}, oracle]
seeds: [0, 4]
evaluation: {n_students: 20, validation_students: 10, every_updates: 4}
checkpoint: {every_updates: 4}
"""
N_CELLS = 2 * 2 * 4
N_UPDATES = 4  # 400 actions / (10 trials * 2 lessons * 5 actions)
GOOD_TUTOR = """
import torch
class Mine:
    name = "mine"
    def __init__(self, population, task, *, seed, device):
        pass
    def begin_trial(self, trial):
        self.n = len(trial.students)
    def act(self, observation):
        return torch.zeros(self.n, dtype=torch.int64)
    def observe(self, action, observation):
        pass
"""


@pytest.fixture(autouse=True)
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing and waiting take most of the time of so small a run."""
    monkeypatch.setattr(training, "N_PICTURES", 1)
    for name in ("adaptation_curve", "action_heatmap"):
        monkeypatch.setattr(training, name, lambda *what: Figure(figsize=(1, 1)))
    monkeypatch.setattr(command, "write_study_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(tensorboard, "_wait_for_later_second", lambda folder: None)


@pytest.fixture(autouse=True)
def in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name, ability in (("average", 0), ("weak", -1)):
        (tmp_path / f"{name}.yaml").write_text(POPULATION.format(name=name, ability=ability))
    (tmp_path / "grid.yaml").write_text(STUDY)
    return Path("grid.yaml")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("once") / "grid"


@pytest.fixture
def finished(file: Path, once: Path) -> Path:
    """The folder of the finished study, a copy."""
    if not once.exists():
        run(file, out=once)
    return Path(shutil.copytree(once, "runs/grid"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the updates that were done."""
    kind = LEARNERS["tally"].make
    update = kind.update  # type: ignore[attr-defined]
    seeds: list[int] = []
    monkeypatch.setattr(kind, "update", lambda self: (seeds.append(self.seed), update(self))[1])
    return seeds


def run(path: Path, *overrides: str, **options: Any) -> dict[str, PopulationResult]:
    defaults: dict[str, Any] = {
        "overrides": overrides,
        "short": False,
        "out": None,
        "n_workers": 1,
        "on_ray": False,
        "console": QUIET,
        "log": QUIET,
    }
    return study_file(path, **defaults | options)


def rows(folder: str = "runs/grid") -> pa.Table:
    return parquet.read_table(Path(folder) / "results.parquet")


def stamps(folder: Path) -> dict[Path, int]:
    """When each file was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def results_of(file: Path, finished: Path) -> dict[str, PopulationResult]:
    """Of a finished study, which runs nothing."""
    return run(file, out=finished)


def test_every_population_tutor_seed_and_student_has_its_rows(file: Path, finished: Path) -> None:
    results = results_of(file, finished)
    table = rows()
    assert len(table) == N_CELLS * 20 * 2
    found = table.select(["population", "tutor", "training_seed"]).to_pylist()
    tutors = ("fast", "random", "best_fixed", "oracle")
    expected = {(p, t, s) for p in ("average", "weak") for t in tutors for s in (0, 4)}
    assert {tuple(row.values()) for row in found} == expected
    again = csv.read_csv("runs/grid/results.csv")
    assert again.column_names == table.column_names
    assert again["score"].to_pylist() == table["score"].to_pylist()
    summary = json.loads(Path("runs/grid/summary.json").read_text())["populations"]
    controls = summary["weak"]["null_controls"]
    assert {one["tutor"] for one in controls["controls"]} == {"fast-0", "fast-4"}
    assert controls["passed"] is True
    lines = {line["tutor"]: line for line in summary["weak"]["tutors"]}
    assert set(lines) == set(tutors)
    assert lines["fast"]["n_seeds"] == 2
    assert lines["fast"]["cost"]["teaching_steps"] == 400
    assert lines["fast"]["score"]["value"] == results["weak"].summary["fast"].score.value


def test_all_tutors_teach_the_same_students_with_the_same_luck(file: Path, finished: Path) -> None:
    for name, result in results_of(file, finished).items():
        first, *others = result.evaluations
        for other in others:
            assert np.array_equal(other.students, first.students), name
            assert np.array_equal(other.post_test[0, 0], first.post_test[0, 0]), name
            assert np.array_equal(other.mastery[0, 0], first.mastery[0, 0]), name


def test_differences_are_paired_by_student_and_by_seed(file: Path, finished: Path) -> None:
    result = results_of(file, finished)["average"]
    by_tutor: dict[str, list[Any]] = {}
    for evaluation in result.evaluations:
        by_tutor.setdefault(evaluation.tutor, []).append(evaluation.student_scores)
    baseline = str(result.summary.baseline)
    means = {tutor: np.mean(by_tutor[tutor]) for tutor in ("random", "best_fixed")}
    assert baseline == max(means, key=lambda tutor: means[tutor])  # over both seeds
    difference = np.stack(by_tutor["oracle"]) - np.stack(by_tutor[baseline])
    expected = mean_interval(difference)  # (2 seeds, 20 students)
    assert result.summary["oracle"].versus_baseline == expected
    assert result.summary[baseline].versus_baseline[:3] == (0, 0, 0)


def test_a_cell_is_what_its_tutor_does_alone(file: Path, finished: Path) -> None:
    cells = results_of(file, finished)["weak"].evaluations
    (cell,) = [e for e in cells if (e.tutor, e.training_seed) == ("fast", 4)]
    experiment = Run.open(finished / "cells" / "weak" / "fast-4").experiment
    alone = Run.create(Path("alone"), experiment, "train", 1)
    trained = training.train(alone, device="cpu", console=QUIET)
    again = evaluate(trained.tutor, experiment.population, experiment.task, n_students=20, seed=1)
    for name in ("scores", "actions", "responses", "mastery", "post_test", "types", "fit"):
        assert np.array_equal(getattr(cell, name), getattr(again, name)), name


def test_the_cell_of_a_learner_is_a_run_folder(finished: Path) -> None:
    folder = finished / "cells" / "average" / "fast-0"
    assert list_checkpoints(folder / "checkpoints")
    assert (folder / "tutor" / "policy.json").is_file()
    tutor = training.load_best(Run.open(folder), "cpu")
    assert tutor.name == "tally"


def test_evaluations_are_kept_whole(file: Path, finished: Path, tmp_path: Path) -> None:
    one = results_of(file, finished)["average"].evaluations[0]
    cell = cells_of(load_study(file), finished / "cells")[0]
    path = tmp_path / "evaluation.safetensors"
    save_evaluation(path, one, "abc")
    other = load_evaluation(path, cell.experiment)
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(other, name)), name
            assert value.dtype == getattr(other, name).dtype
        else:
            assert value == getattr(other, name), name
    assert stored_fingerprint(path) == "abc"
    path.write_bytes(path.read_bytes().replace(b'\\"format\\": 2', b'\\"format\\": 1'))
    assert stored_fingerprint(path) is None  # recorded less: evaluated again
    with pytest.raises(ValueError, match="must have `format` 2, got 1"):
        load_evaluation(path, cell.experiment)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"evaluation\.safetensors: damaged: .*; delete it"):
        load_evaluation(path, cell.experiment)


# -- going on --------------------------------------------------------------------------------------
def test_what_is_finished_is_not_run_again(file: Path, finished: Path, counted: list[int]) -> None:
    before, table = stamps(finished / "cells"), rows()
    log = io.StringIO()
    run(file, log=Console(file=log))
    assert stamps(finished / "cells") == before
    assert counted == []
    assert rows().equals(table)
    assert f"{N_CELLS} cells, {N_CELLS} of them finished before" in log.getvalue()


def test_only_what_is_new_is_run(file: Path, finished: Path, counted: list[int]) -> None:
    before = stamps(finished / "cells")
    run(file, "seeds=[4, 0, 9]", "tutors=[random, oracle, round_robin]")
    assert counted == [9] * (2 * N_UPDATES)
    after = stamps(finished / "cells")
    assert before.items() <= after.items()
    assert len(rows()) == 2 * 3 * 4 * 20 * 2


def test_other_test_students_cost_no_training(
    file: Path, finished: Path, counted: list[int]
) -> None:
    run(file, "evaluation.n_students=30")
    assert counted == []
    assert len(rows()) == N_CELLS * 30 * 2
    folder = finished / "cells" / "weak" / "fast-4"
    assert Run.open(folder).experiment.evaluation.n_students == 30
    run(file, "evaluation.n_students=30", "evaluation.delays_days=[2]", "evaluation.discount=1")
    assert counted == []
    summary = json.loads((finished / "summary.json").read_text())
    lines = summary["populations"]["weak"]["tutors"]
    assert all(list(line["measures"]["retention"]) == ["2"] for line in lines)
    assert all(line["measures"]["discount"] == 1 for line in lines)


def test_what_was_trained_otherwise_is_refused_and_kept(file: Path, finished: Path) -> None:
    before = stamps(finished / "cells")
    with pytest.raises(ValueError, match="4 cells were trained with other settings") as caught:
        run(file, "learners.fast.total_steps=500")
    lines = str(caught.value).splitlines()
    assert lines[1] == "  average / fast / seed 0: `learner.total_steps` was 400, is 500"
    assert lines[4] == "  and 1 more"
    assert "another name" in lines[5]
    assert lines[5].endswith("runs/grid/cells/average/fast-0")
    assert stamps(finished / "cells") == before
    run(file, "learners={faster: {algorithm: tally, total_steps: 500}}", "seeds=[0]")


def test_tensorboard_has_the_final_scores_of_each_training(file: Path, finished: Path) -> None:
    cell = finished / "cells" / "average" / "fast-4"
    events = EventAccumulator(str(cell / "tensorboard"))
    events.Reload()
    (score,) = events.Scalars("eval/score")
    (evaluation,) = (
        e
        for e in results_of(file, finished)["average"].evaluations
        if (e.tutor, e.training_seed) == ("fast", 4)
    )
    assert score.value == pytest.approx(evaluation.score)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["learner.total_steps"].number_value == 400
    assert settings["seed"].number_value == 4


def test_the_order_of_cells_does_not_matter(file: Path, finished: Path) -> None:
    cells = cells_of(load_study(file), Path("shuffled"))
    random.Random(1).shuffle(cells)
    for cell in cells[: N_CELLS // 2]:
        prepare(cell)
        assert run_cell(cell.folder, QUIET).fault is None
        one = load_evaluation(cell.result, cell.experiment)
        there = finished / "cells" / cell.result.relative_to("shuffled")
        other = load_evaluation(there, cell.experiment)
        assert np.array_equal(one.scores, other.scores)
        assert np.array_equal(one.actions, other.actions)


def test_ctrl_c_says_how_to_go_on(
    file: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = rows()
    shutil.rmtree(finished)
    kind = LEARNERS["tally"].make
    update = kind.update  # type: ignore[attr-defined]
    counted: list[int] = []

    def interrupted(self: Any) -> Any:
        counted.append(self.seed)
        if len(counted) == N_UPDATES + 2:  # the second of average / fast / seed 4
            os.kill(os.getpid(), signal.SIGINT)
        return update(self)

    monkeypatch.setattr(kind, "update", interrupted)
    result = CliRunner().invoke(app, ["study", str(file)])
    assert result.exit_code == 130
    assert "[4/16] average / oracle / seed 0: score " in result.stderr
    assert result.stderr.endswith(
        "Stopped after update 2 of 4; a checkpoint was written. 4 of 16 cells are finished. The "
        "same command goes on from here.\n"
    )
    result = CliRunner().invoke(app, ["study", str(file)])
    assert result.exit_code == 0, result.output
    assert len(counted) == 4 * N_UPDATES
    assert "grid, weak: post-test score, 2 lessons of 5 teaching actions" in result.stdout
    assert "rows: runs/grid/results.parquet" in result.stdout
    assert rows().equals(straight)


def test_ctrl_c_between_trainings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path, log: Console) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "run_cell", interrupted)
    with pytest.raises(Interrupted, match=r"^Stopped: 0 of 16 cells are finished\. The same comm"):
        run(file)


# -- what goes wrong -------------------------------------------------------------------------------
def test_an_optimum_that_cannot_be_planned_is_left_out_and_not_tried_again(file: Path) -> None:
    log = Console(file=io.StringIO())
    for _ in range(2):
        results = run(file, "tutors=[random, bayes]", "seeds=[0]", "learners={}", log=log)
    for result in results.values():
        assert [evaluation.tutor for evaluation in result.evaluations] == ["random"]
        assert result.notes[0].startswith("bayes is left out: tutor `bayes` plans exactly")
    assert log.file.getvalue().count("weak / bayes / seed 0: left out") == 1  # type: ignore[attr-defined]
    Path("runs/grid/cells/weak/bayes-0/left_out.json").write_text("{}")
    with pytest.raises(ValueError, match=r"left_out\.json: damaged: .*delete it"):
        run(file, "tutors=[random, bayes]", "seeds=[0]", "learners={}")


def test_tutors_of_third_parties_take_part(file: Path) -> None:
    Path("mine.py").write_text(GOOD_TUTOR)
    result = run(file, "tutors=[random, mine.py:Mine]", "learners={}")["weak"]
    assert {evaluation.tutor for evaluation in result.evaluations} == {"random", "mine"}
    assert Path("runs/grid/cells/weak/Mine-4/evaluation.safetensors").is_file()


def test_two_tutors_of_one_name_are_refused(file: Path) -> None:
    for name in ("mine", "other"):
        Path(f"{name}.py").write_text(GOOD_TUTOR)
    with pytest.raises(ValueError, match="different names, got `Mine` twice"):
        run(file, "tutors=[mine.py:Mine, other.py:Mine]")


def test_a_mistake_in_a_cell_is_one_message(file: Path) -> None:
    # Two students are taught before anything is begun; with more of them it goes wrong.
    bad = GOOD_TUTOR.replace(
        "torch.zeros(self.n,", "torch.full((self.n,), 0 if self.n == 2 else 99,"
    )
    Path("mine.py").write_text(bad)
    changes = ["--set", "learners={}", "--set", f"tutors=[{Path.cwd()}/mine.py:Mine]"]
    result = CliRunner().invoke(app, ["study", str(file), *changes])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-2:] == [
        "average / Mine / seed 0: failed",
        "error: tutor `mine` must act in [0, 6), got 99.",
    ]


def test_what_cannot_be_trained_is_refused_before_anything_is(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = LEARNERS["tally"].make
    begin = kind.__init__  # type: ignore[misc]

    def refusing(self: Any, config: Any, *others: Any, **more: Any) -> None:
        if config.learning_rate == 0.1:
            raise ValueError("cannot teach this")
        begin(self, config, *others, **more)

    monkeypatch.setattr(kind, "__init__", refusing)
    monkeypatch.setattr(command, "run_here", lambda *_: pytest.fail("run"))
    with pytest.raises(ValueError, match=r"^grid\.yaml: population `average`, learners\.fast: can"):
        run(file)
    assert not Path("runs").exists()


def test_two_commands_do_not_work_in_one_folder(file: Path) -> None:
    Path("runs/grid").mkdir(parents=True)
    Path("runs/grid/study.yaml").touch()
    with (
        held_alone(Path("runs/grid")),
        pytest.raises(ValueError, match="runs/grid: another process is at work in this folder"),
    ):
        run(file)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.yaml"], 2, "error: none.yaml: No such file or directory\n"),
        (["grid.yaml", "--out", "."], 2, "`--out` must be a new folder or a study's, and . is nei"),
        (["grid.yaml", "--out", "grid.yaml/x"], 1, "error: cannot write grid.yaml/x: Not a dir"),
        (["grid.yaml", "--ray", "--workers", "2"], 2, "`--workers` is for this machine"),
        (["grid.yaml", "--workers", "0"], 2, "Invalid value for '--workers'"),
        (["grid.yaml", "--set", "sede=1"], 2, "error: --set sede: unknown key `sede`; "),
    ],
)
def test_bad_input_gets_one_message(
    file: Path, arguments: Sequence[str], code: int, message: str
) -> None:
    result = CliRunner().invoke(app, ["study", *arguments])
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not Path("runs").exists()


def test_without_ray_the_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(app, ["study", str(file), "--ray"])
    assert result.exit_code == 2
    assert result.stderr == "error: `--ray` needs Ray: pip install 'tutor-sim[ray]'\n"


def test_other_commands_name_the_one_for_studies(finished: Path) -> None:
    result = CliRunner().invoke(app, ["resume", "runs/grid"])
    assert (result.exit_code, result.stderr) == (
        2,
        "error: runs/grid: the folder of a study; `tutor-sim study` goes on with it\n",
    )
