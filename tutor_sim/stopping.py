"""Stops training between two updates when the user asks for it."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

from tutor_agents.engine import parallel


class Interrupted(Exception):
    """The user stopped the work; what was done is saved."""


class StopRequest:
    """Remembers Ctrl-C (SIGINT) and SIGTERM until the current update is finished.

    A second Ctrl-C is not held back, but under torchrun, which itself passes the first one on.
    Outside the main thread, where signals cannot be handled, nothing changes.
    """

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self.asked = False
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        """Take over the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._ask)
            except ValueError:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not parallel.launched():
            signal.signal(signal.SIGINT, signal.default_int_handler)
