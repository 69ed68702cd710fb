"""The command ``tutor-sim study``: what is left of a study's cells, then its results.

=================  =============================================================================
``study.yaml``     the resolved study
``cells/``         a run folder for each cell: ``<population>/<tutor>-<seed>``
``results.*``      see :mod:`tutor_sim.study.results`, like ``summary.json``
``report.html``    see :mod:`tutor_sim.reporting.command`, like ``tables/``
=================  =============================================================================
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tutor_agents.engine.parallel import LostProcess
from tutor_sim.commands import check_learners
from tutor_sim.compare import check_plug_ins, what_is_scored
from tutor_sim.controls.shown import print_controls
from tutor_sim.files import atomic_write, held_alone, saving
from tutor_sim.reporting.command import write_study_report
from tutor_sim.stopping import Interrupted
from tutor_sim.study.cells import Cell, Outcome, cells_of, check_unchanged, prepare
from tutor_sim.study.config import Study
from tutor_sim.study.files import load_study
from tutor_sim.study.on_ray import import_ray, run_on_ray
from tutor_sim.study.results import (
    CSV_FILE,
    RESULTS_FILE,
    SUMMARY_FILE,
    PopulationResult,
    summarise_cells,
    write_study_results,
)
from tutor_sim.study.workers import run_here, run_in_processes
from tutor_sim.tables import results_table

_ROOT = Path("runs")
_AGAIN = "The same command goes on from here."


def study_file(
    path: Path,
    *,
    overrides: Sequence[str],
    short: bool,
    out: Path | None,
    n_workers: int,
    on_ray: bool,
    console: Console,
    log: Console,
) -> dict[str, PopulationResult]:
    """Run what is left of a study, and compare all tutors.

    Args:
        path: the study file.
        overrides: ``a.b=value`` each.
        short: the short form of it.
        out: the study's folder; ``runs/<name>`` if None, ``runs/<name>-short`` of the short form.
        n_workers: processes on this machine.
        on_ray: on a Ray cluster instead.
        console: for results.
        log: for progress.

    Returns:
        Population -> what its cells say.

    Raises:
        ValueError: bad input, or a cell that was trained with other settings.
        SaveError: something could not be written.
        Interrupted: the user stopped it.
        LostProcess: a worker has died.
    """
    if on_ray:
        if n_workers > 1:
            raise ValueError(
                "`--workers` is for this machine; with `--ray`, it is one for each CPU"
            )
        import_ray()
    study = load_study(path, overrides=overrides, short=short)
    folder = out or _ROOT / (f"{study.name}-short" if short else study.name)
    _check_folder(folder)
    cells = cells_of(study, folder / "cells")
    if not all(cell.is_finished for cell in cells):
        _check(path, study)
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held_alone(folder):
        check_unchanged(cells)
        left = [cell for cell in cells if not cell.is_finished]
        atomic_write(folder / "study.yaml", study.to_yaml().encode())
        _say_what_is_left(folder, len(cells), len(left), log)
        for cell in left:
            prepare(cell)
        _run(left, len(cells), n_workers, on_ray, log)
        results = {
            name: summarise_cells(study, name, [cell for cell in cells if cell.population == name])
            for name in study.populations
        }
        write_study_results(folder, results)
        report = write_study_report(folder)
    for name, result in results.items():
        _print(study, name, result, console)
    for what, file in (("rows", RESULTS_FILE), ("as CSV", CSV_FILE), ("summary", SUMMARY_FILE)):
        console.print(Text(f"{what}: {folder / file}"), soft_wrap=True)
    console.print(Text(f"report: {report}"), soft_wrap=True)
    return results


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "study.yaml").is_file():
        raise ValueError(f"`--out` must be a new folder or a study's, and {folder} is neither")


def _check(path: Path, study: Study) -> None:
    """Refuse what cannot be trained, or teach, before hours are spent."""
    for name in study.populations:
        experiment = study.experiment(name)
        check_learners(f"{path}: population `{name}`", experiment, "cpu")
        check_plug_ins(experiment, "cpu")


def _say_what_is_left(folder: Path, n_cells: int, n_left: int, log: Console) -> None:
    log.print(Text(f"study folder: {folder}"), soft_wrap=True)
    finished = f", {n_cells - n_left} of them finished before" if n_left < n_cells else ""
    log.print(Text(f"{n_cells} cells{finished}"))


def _run(left: Sequence[Cell], n_cells: int, n_workers: int, on_ray: bool, log: Console) -> None:
    """Run the cells that are left."""
    n_finished = n_cells - len(left)
    runs = _runs([cell.folder for cell in left], n_workers, on_ray, log)
    try:
        with contextlib.closing(runs):
            for index, outcome in runs:
                cell = left[index]
                if outcome.fault is not None:
                    log.print(Text(f"{cell}: failed"))
                    raise outcome.fault
                n_finished += 1
                _say_finished(cell, outcome, f"[{n_finished}/{n_cells}]", log)
    except Interrupted as stop:
        raise Interrupted(
            f"{stop} {n_finished} of {n_cells} cells are finished. {_AGAIN}"
        ) from None
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped: {n_finished} of {n_cells} cells are finished. {_AGAIN}"
        ) from None
    except LostProcess as lost:
        raise LostProcess(
            f"{lost} {n_finished} of {n_cells} cells are finished. {_AGAIN}"
        ) from None


def _runs(
    folders: Sequence[Path], n_workers: int, on_ray: bool, log: Console
) -> Generator[tuple[int, Outcome], None, None]:
    if not folders:
        return
    if on_ray:
        yield from run_on_ray(folders, log)
    elif n_workers > 1:
        yield from run_in_processes(folders, n_workers)
    else:
        yield from run_here(folders, log)


def _say_finished(cell: Cell, outcome: Outcome, count: str, log: Console) -> None:
    what = "left out" if outcome.left_out else f"score {outcome.score:.4g}"
    minutes, seconds = divmod(round(outcome.elapsed_s), 60)
    log.print(Text(f"{count} {cell}: {what} ({minutes}:{seconds:02d})"), soft_wrap=True)


def _print(study: Study, name: str, result: PopulationResult, console: Console) -> None:
    scored, n_seeds = what_is_scored(result.evaluations[0]), len(study.seeds)
    title = f"{study.name}, {name}: {scored}, {n_seeds} seed{'s' * (n_seeds > 1)}"
    table = results_table(result.summary, title=title, width=console.width, metrics=study.metrics)
    console.print()
    console.print(table)
    for note in result.notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    print_controls(console, result.controls)
