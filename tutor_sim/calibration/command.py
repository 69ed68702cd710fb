"""What ``tutor-sim calibrate`` does; it can be called from Python alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from tutor_envs.errors import unknown_name
from tutor_sim.calibration.models import METHODS, Kc
from tutor_sim.calibration.population_file import refuse_to_overwrite, write_population
from tutor_sim.calibration.result import Calibration, Job, Tell
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.read import LogReport, read_log
from tutor_sim.tracing.histories import with_kc


def calibrate_file(
    path: Path,
    output: Path,
    *,
    model: str,
    kc: Kc | None,
    mapping: Mapping[str, str],
    format: str | None,
    seed: int,
    force: bool,
    console: Console,
    log: Console,
) -> Calibration:
    """Fit a population to a log and write it.

    Args:
        path: the log.
        output: the population file.
        model: name of the student model.
        kc: what a skill of the population is; None: as usual for the model.
        mapping: field of a log -> column of the file.
        format: of the file; None: found out.
        seed: of what is drawn (neural models).
        force: an existing population file is replaced.
        console: for results.
        log: for progress.

    Raises:
        ValueError: bad input.
        OSError: the log cannot be read.
        SaveError: the population cannot be written.
    """
    if model not in METHODS:
        raise ValueError(unknown_name("--model", model, METHODS))
    refuse_to_overwrite(output, force)
    if model == "neural" and (weights := output.with_suffix(".safetensors")).exists() and not force:
        raise ValueError(f"{weights} exists; `--force` replaces it")
    kc = kc or METHODS[model].kc
    with _progress(log) as tell:
        interactions, report = read_log(
            path,
            format=format,
            mapping=mapping,
            on_progress=lambda what, share: tell("reading", share),
        )
        _check(interactions, path)
        job = Job(with_kc(interactions, kc), output.stem, seed, tell)
        calibration = METHODS[model].load()(job)
    command = f"tutor-sim calibrate {path.name} --model {model} --kc {kc} --seed {seed}"
    written = write_population(output, calibration, [command, *_origin(report, job.log)])
    console.print(Text(report.text()), soft_wrap=True)
    _print(calibration, console)
    for file in written:
        console.print(Text(f"written: {file}"), soft_wrap=True)
    return calibration


def _check(log: InteractionLog, path: Path) -> None:
    answers = log.correct[log.graded]
    if not len(answers):
        raise ValueError(f"{path}: a fit needs graded answers, got none")
    if answers.min() == answers.max():
        what = "correct" if answers[0] else "wrong"
        raise ValueError(f"{path}: a fit needs right and wrong answers, got {what} ones only")


def _origin(report: LogReport, log: InteractionLog) -> list[str]:
    n_bad = report.n_rows - report.n_kept
    return [
        f"Data: {report.path.name}, {report.n_rows:,} rows ({n_bad:,} left out), "
        f"{report.n_graded:,} graded answers ({report.share_correct:.1%} correct) of "
        f"{report.n_students:,} students on {len(log.skill_names):,} skills."
    ]


def _print(calibration: Calibration, console: Console) -> None:
    table = Table("estimate", "value [95 % interval]")
    for estimate in calibration.estimates:
        table.add_row(Text(estimate.name), Text(estimate.text()))
    console.print(table)
    if calibration.held_out:
        table = Table("held-out answers", "AUC", "log-loss", "answers")
        for score in calibration.held_out:
            cells = (f"{score.auc:.3f}", f"{score.log_loss:.3f}", f"{score.n:,}")
            table.add_row(Text(score.name), *cells)
        console.print(table)
        console.print(Text(f"held out: {calibration.held_out_how}"), soft_wrap=True)
    for warning in calibration.warnings:
        console.print(Text(f"note: {warning}"), soft_wrap=True)


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Tell]:
    """A bar for each thing that is done on a terminal, a line for each elsewhere."""
    if not console.is_terminal:
        said: list[str] = []

        def say(what: str, share: float) -> None:
            if what not in said:
                said.append(what)
                console.print(Text(what), soft_wrap=True)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console) as bar:
        tasks = {}

        def move(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=share)

        yield move
