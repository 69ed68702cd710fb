"""Runs cells on this machine: one after the other, or side by side in processes."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from rich.console import Console

from tutor_agents.engine.parallel import LostProcess
from tutor_sim.stopping import Interrupted
from tutor_sim.study.cells import Outcome, run_cell


def run_here(folders: Sequence[Path], log: Console) -> Iterator[tuple[int, Outcome]]:
    """One cell after the other, in this process.

    Args:
        folders: of the cells.
        log: for progress of training.

    Yields:
        Index of a cell, and what came of it.

    Raises:
        Interrupted: the user stopped it; a checkpoint was written.
    """
    for index, folder in enumerate(folders):
        yield index, run_cell(folder, log)


def run_in_processes(folders: Sequence[Path], n_workers: int) -> Iterator[tuple[int, Outcome]]:
    """As many cells at a time as there are workers, in whatever order they finish.

    Whatever ends this early ends the workers, too: a cell in training writes a checkpoint first.

    Args:
        folders: of the cells.
        n_workers: processes, each with one thread.

    Yields:
        Index of a cell, and what came of it.

    Raises:
        LostProcess: a worker has died.
    """
    todo = iter(enumerate(folders))
    workers = [_Worker() for _ in range(min(n_workers, len(folders)))]
    try:
        busy = {}
        for worker, (index, folder) in zip(workers, todo, strict=False):
            worker.begin(folder)
            busy[worker.connection] = worker, index
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker, index = busy.pop(connection)
                yield index, worker.outcome()
                following = next(todo, None)
                if following is not None:
                    worker.begin(following[1])
                    busy[connection] = worker, following[0]
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


class _Worker:
    """A process that runs the cells it is told to."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _ctrl_c_ignored():  # the child inherits that: it is for the parent to end it
            self.process.start()
        theirs.close()

    def begin(self, folder: Path) -> None:
        self.folder = folder
        with contextlib.suppress(OSError):  # it is gone, which `outcome` says
            self.connection.send(folder)

    def outcome(self) -> Outcome:
        try:
            received = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            raise LostProcess(
                f"the worker at {self.folder} has ended early, exit code {code}."
            ) from None
        assert isinstance(received, Outcome)
        return received


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection) -> None:
    """What a worker does: a cell for each folder it is sent, until there is nobody to send one."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    silent = Console(file=io.StringIO())
    with contextlib.suppress(EOFError, Interrupted, KeyboardInterrupt):
        while True:
            connection.send(run_cell(connection.recv(), silent))


def _end_with_parent() -> None:
    """A parent that is killed must not leave workers that write where its successor does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
