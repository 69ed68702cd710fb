"""A worker process that holds a share of the students; imports no torch.

It is told ``(method of the room, arguments)`` through a pipe and answers ``("looks", array)``,
``("row", row, what)`` or ``("broken", what)``. The row it works on stands in shared memory, so that
the parent can say which student hangs.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from tutor_envs.doors.loading import describe
from tutor_envs.doors.room import Door, Room, RowError


class DoorPlan(NamedTuple):
    """How a worker makes its door: class of the door, ``module:Class``, and arguments of ``load``.

    Attributes:
        door: reference of the class of the door.
        arguments: of its ``load``; plain data.
    """

    door: str
    arguments: tuple[Any, ...]

    def load(self) -> Door:
        """Make the door.

        Raises:
            ValueError: the student's class cannot be loaded.
        """
        module, _, name = self.door.partition(":")
        door: Door = getattr(importlib.import_module(module), name).load(*self.arguments)
        return door


def work(connection: Connection, at_row: Any, plan: DoorPlan) -> None:
    """Serve until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def report(row: int) -> None:
        at_row.value = row

    try:
        room = Room(plan.load(), report)
    except Exception as error:
        connection.send(("broken", str(error) or describe(error)))
        return
    connection.send(("ready",))
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(("looks", getattr(room, method)(*arguments)))
        except RowError as error:
            connection.send(("row", error.row, error.what))


def _end_with_parent() -> None:
    """A student that hangs must not outlive a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
