"""The command ``limit``: exact optima of a file of small families, and who reaches them."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tutor_envs.cases import Case, load_cases
from tutor_envs.errors import unknown_name
from tutor_sim.limit_training import (
    TRAININGS,
    Job,
    TrainedCase,
    train_on_cases,
    training_table,
)
from tutor_sim.limit_tutors import (
    MeasuredTutor,
    measure_on_case,
    measured_table,
    read_tutor,
)
from tutor_sim.limit_values import (
    EXACT_TOLERANCE,
    CaseLimit,
    LimitRow,
    Progress,
    Verdict,
    limit_case,
)

_STYLES = {True: "", False: "bold red"}
_DECIMALS = 6


class LimitReport(NamedTuple):
    """The limits of some cases, and what a learned tutor reached if one was trained.

    Attributes:
        cases: in the order of the file.
        trained: one for each case and seed; empty if nothing was trained.
        training: what was trained, one of ``limit_training.TRAININGS``.
        measured: tutors without training, case by case.
    """

    cases: tuple[CaseLimit, ...]
    trained: tuple[TrainedCase, ...] = ()
    training: str = ""
    measured: tuple[MeasuredTutor, ...] = ()

    @property
    def ok(self) -> bool:
        """No value disagrees with the file's or with simulation."""
        return all(case.ok for case in self.cases)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and texts; what is undefined is null."""
        data = {
            "ok": self.ok,
            "cases": [case.to_json() for case in self.cases],
            "training": self.training,
            "trained": [result.to_json() for result in self.trained],
            "measured": [result.to_json() for result in self.measured],
        }
        return {key: _without_nan(value) for key, value in data.items()}

    def tables(self) -> Iterator[Table]:
        """For each case its values; at the end what the learned tutor reached."""
        for case in self.cases:
            yield case_table(case)
        if self.trained:
            yield training_table(self.trained, self.training)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


# -- tables ----------------------------------------------------------------------------------------
def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.{_DECIMALS}f}"


def _verdict(row: LimitRow) -> str:
    """The verdict, and what is needed to judge it."""
    if row.verdict is Verdict.AGREES_TIED:
        return f"{row.verdict}: {_number(row.low)} to {_number(row.high)}"
    if row.verdict in (Verdict.AGREES, Verdict.DIFFERS) and row.tolerance > EXACT_TOLERANCE:
        return f"{row.verdict} (± {row.tolerance:.4f})"
    return f"{row.verdict}" if row.verdict.ok else f"{row.verdict}. {row.note}".rstrip(". ")


def case_table(case: CaseLimit) -> Table:
    """The values of one case beside the file's, and the simulations."""
    table = Table(title=f"{case.case.name} ({case.case.family})", title_justify="left", box=SIMPLE)
    table.add_column("value", no_wrap=True)
    table.add_column("exact", justify="right", no_wrap=True)
    table.add_column("file", justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for row in case.rows:
        difference = "" if row.difference is None else f"{row.difference:+.1e}"
        cells = (row.name, _number(row.ours), _number(row.file), difference, _verdict(row))
        table.add_row(*cells, style=_STYLES[row.verdict.ok])
    for check in case.simulated:
        name, verdict = f"{check.tutor}, simulated", "agrees" if check.agrees else "differs"
        difference = f"{check.exact - check.mean:+.1e}"
        margin = f"{verdict} (± {check.high - check.mean:.4f})"
        cells = (name, _number(check.exact), _number(check.mean), difference, margin)
        table.add_row(*cells, style=_STYLES[check.agrees])
    if case.error:
        table.add_row("", "", "", "", case.error, style=_STYLES[False])
    if case.size is not None:
        table.caption = (
            f"{case.size.belief_nodes:,} beliefs, {case.size.branches:,} branches, "
            f"{case.seconds_s:.1f} s"
        )
    return table


# -- the command ----------------------------------------------------------------------------------
def selected_cases(path: Path, case: str | None = None) -> list[Case]:
    """The cases of a file, or the one with this name; each has been checked.

    Raises:
        ValueError: not a cases file, no such case, or a case that is not well formed.
        OSError: the file cannot be read.
    """
    cases = load_cases(path)
    if case is not None:
        names = [one.name for one in cases]
        if case not in names:
            raise ValueError(unknown_name("case", case, names))
        cases = [one for one in cases if one.name == case]
    if not cases:
        raise ValueError(f"{path}: `cases` must list at least one case")
    for one in cases:
        one.population()
        one.task()
    return cases


@contextmanager
def _progress(log: Console, case: Case, position: str) -> Iterator[Progress]:
    """A status line on a terminal, a plain line for each case elsewhere."""
    title = f"{position} {case.name}"
    if not log.is_terminal:
        log.print(title, highlight=False)
        yield lambda _: None
        return
    with log.status(title) as status:
        yield lambda line: status.update(f"{title}: {line}")


def _jobs(cases: Sequence[CaseLimit], n_seeds: int) -> list[Job]:
    return [
        Job(limit.case, seed, limit.value("random"), limit.value("bayes"), limit.value("openloop"))
        for limit in cases
        for seed in range(n_seeds)
    ]


def _trained(jobs: Sequence[Job], train: str, device: str, log: Console) -> list[TrainedCase]:
    trained: list[TrainedCase] = []
    n_processes = min(os.cpu_count() or 1, len(jobs))
    for result in train_on_cases(jobs, train, device=device, processes=n_processes):
        trained.append(result)
        log.print(
            f"trained {len(trained)}/{len(jobs)}: {result.case}, seed {result.seed}: "
            f"{result.fraction_of_optimal} of optimal, {result.cpu_s:.0f} CPU-s"
        )
    order = {(job.case.name, job.seed): place for place, job in enumerate(jobs)}
    return sorted(trained, key=lambda result: order[result.case, result.seed])


def run_limit(
    path: Path,
    *,
    case: str | None = None,
    train: str = "",
    tutors: Sequence[str] = (),
    n_students: int = 200,
    n_seeds: int = 1,
    as_json: bool = False,
    device: str = "cpu",
    console: Console,
    log: Console | None = None,
) -> bool:
    """Compute the limits of a file's cases and print them.

    Args:
        path: the cases file.
        case: only the case of this name.
        train: what is trained on each case, too: one of ``limit_training.TRAININGS``; "": nothing.
        tutors: without training, to be measured on each case, too; as under ``tutors`` in an
            experiment.
        n_students: test students of each seed by which they are measured.
        n_seeds: of training and of measuring, for each case.
        as_json: print one JSON object instead of tables.
        device: where it is trained.
        console: for the result.
        log: for progress; by default standard error.

    Returns:
        No value disagrees.

    Raises:
        ValueError: not a cases file, no such case or training, or a case that is not well formed.
        OSError: the file cannot be read.
    """
    if train and train not in TRAININGS:
        raise ValueError(unknown_name("--train", train, TRAININGS))
    for tutor in tutors:
        read_tutor(tutor)
    log = log or Console(stderr=True)
    limits: list[CaseLimit] = []
    cases = selected_cases(path, case)
    for number, one in enumerate(cases, start=1):
        with _progress(log, one, f"{number}/{len(cases)}") as progress:
            limits.append(limit_case(one, progress=progress))
        if not as_json:
            console.print(case_table(limits[-1]))
    jobs = _jobs(limits, n_seeds)
    trained = _trained(jobs, train, device, log) if train else []
    if trained and not as_json:
        console.print(training_table(trained, train))
    measured: list[MeasuredTutor] = []
    for job, tutor in itertools.product(jobs, tutors):
        log.print(f"measuring {tutor}: {job.case.name}, seed {job.seed}", highlight=False)
        measured.append(measure_on_case(job, tutor, n_students, device))
    if measured and not as_json:
        console.print(measured_table(measured, n_students))
    report = LimitReport(tuple(limits), tuple(trained), train, tuple(measured))
    if as_json:
        console.print_json(json.dumps(report.to_json(), allow_nan=False))
    return report.ok
