"""What the command ``check-realism`` does; it can be called from Python alike."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from tutor_sim.files import atomic_write, saving
from tutor_sim.logs.command import find_population
from tutor_sim.logs.read import read_log
from tutor_sim.progress import LINE_EVERY_S
from tutor_sim.realism.check import Realism, check_realism
from tutor_sim.realism.figures import realism_figure
from tutor_sim.realism.report import finding, realism_table, to_csv

_DPI = 150


def check_realism_file(
    path: Path,
    population: str,
    *,
    output: Path | None,
    seed: int,
    n_replicates: int,
    format: str | None,
    mapping: Mapping[str, str],
    console: Console,
    log: Console,
) -> Realism:
    """Compare a real log with students of a population in the same places.

    Args:
        path: of the real log.
        population: name or file.
        output: folder for ``realism.png`` and ``realism.csv``; None: the table is all.
        seed: of the first replay.
        n_replicates: replays.
        format: layout of the log; None: from its header.
        mapping: field -> column.
        console: for results.
        log: for progress.

    Raises:
        ValueError: bad input.
        SaveError: something could not be written.
        OSError: a file cannot be read.
    """
    # More threads are rarely faster on tensors of this size, and far slower on a busy machine.
    torch.set_num_threads(1)
    students = find_population(population)
    real, report = read_log(path, format=format, mapping=mapping)
    log.print(Text(report.text()), soft_wrap=True)
    with _Progress(log, "check-realism") as progress:
        found = check_realism(
            real,
            students,
            log_name=path.name.partition(".")[0],
            seed=seed,
            n_replicates=n_replicates,
            on_progress=progress.show,
        )
    console.print(realism_table(found))
    console.print(Text(finding(found)), soft_wrap=True)
    if output is not None:
        write_realism(found, output)
        console.print(Text(f"written: {output / 'realism.png'}, realism.csv"), soft_wrap=True)
    return found


def write_realism(found: Realism, folder: Path) -> None:
    """``realism.png`` and ``realism.csv``, each whole or not at all.

    Raises:
        SaveError: something could not be written.
    """
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    realism_figure(found).savefig(picture, format="png", dpi=_DPI)
    atomic_write(folder / "realism.png", picture.getvalue())
    atomic_write(folder / "realism.csv", to_csv(found).encode())


class _Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._bar: Progress | None = None
        self._printed_s = -LINE_EVERY_S
        if console.is_terminal:
            doing = TextColumn("{task.description}")
            columns = (TextColumn(name), BarColumn(), TaskProgressColumn(), doing)
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, doing: str, n_done: int, n_parts: int) -> None:
        """So many parts are done, and this is next."""
        if self._bar:
            self._bar.update(self._task, completed=n_done, total=n_parts, description=doing)
        elif time.monotonic() - self._printed_s >= LINE_EVERY_S:
            self._printed_s = time.monotonic()
            text = Text(f"{self._name}: {n_done}/{n_parts}, {doing}")
            self._console.print(text, soft_wrap=True)
