"""Shows how far training is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

LINE_EVERY_S = 5.0
"""Seconds between two plain lines."""


class TrainingProgress(Protocol):
    """What training tells while it runs; a context manager around it."""

    def __enter__(self) -> Self:
        """Training begins."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Training has ended."""
        ...

    def show(self, updates_done: int, score: float | None) -> None:
        """So many updates are done; the last validation score is this."""
        ...


class Pace:
    """Rate and time left, from the updates of this session."""

    def __init__(self, n_updates: int, updates_done: int, steps_per_update: int) -> None:
        """Start the clock."""
        self.n_updates = n_updates
        self._first = updates_done
        self._steps_per_update = steps_per_update
        self._start_s = time.monotonic()

    def text(self, updates_done: int, score: float | None) -> str:
        """``update 40/81, 61,200 actions/s, 0:32 left, validation score 0.612``."""
        elapsed_s = max(time.monotonic() - self._start_s, 1e-9)
        done = updates_done - self._first
        parts = [f"update {updates_done}/{self.n_updates}"]
        if done:
            left_s = round(elapsed_s / done * (self.n_updates - updates_done))
            minutes, seconds = divmod(left_s, 60)
            parts.append(f"{done * self._steps_per_update / elapsed_s:,.0f} actions/s")
            parts.append(f"{minutes}:{seconds:02d} left")
        if score is not None:
            parts.append(f"validation score {score:.4g}")
        return ", ".join(parts)


class Bar:
    """A live bar, for a terminal."""

    def __init__(self, console: Console, name: str, pace: Pace) -> None:
        """Prepare the bar."""
        self._pace = pace
        pace_column = TextColumn("{task.fields[pace]}")
        columns = (TextColumn(name), BarColumn(), TaskProgressColumn(), pace_column)
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task(name, total=pace.n_updates, pace="")

    def __enter__(self) -> Self:
        """Show it."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave it as it is."""
        self._bar.stop()

    def show(self, updates_done: int, score: float | None) -> None:
        """Move the bar."""
        text = self._pace.text(updates_done, score)
        self._bar.update(self._task, completed=updates_done, pace=text)


class Lines:
    """A plain line every few seconds, for logs."""

    def __init__(self, console: Console, name: str, pace: Pace) -> None:
        """Prepare; nothing is printed yet."""
        self._console, self._name, self._pace = console, name, pace
        self._printed_s = -LINE_EVERY_S
        self._last = ""

    def __enter__(self) -> Self:
        """Nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print how it ended, if that was not said yet."""
        self._print()

    def show(self, updates_done: int, score: float | None) -> None:
        """Print a line if the last one is old enough."""
        self._last = f"{self._name}: {self._pace.text(updates_done, score)}"
        if time.monotonic() - self._printed_s >= LINE_EVERY_S:
            self._print()

    def _print(self) -> None:
        if self._last:
            self._console.print(Text(self._last), soft_wrap=True)
        self._last, self._printed_s = "", time.monotonic()


def training_progress(console: Console, name: str, pace: Pace) -> TrainingProgress:
    """A bar on a terminal, lines elsewhere."""
    return Bar(console, name, pace) if console.is_terminal else Lines(console, name, pace)
