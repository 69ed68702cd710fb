"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


class SaveError(OSError):
    """Something could not be saved; the text names it and says why and what is left."""


@contextlib.contextmanager
def saving(path: Path, aftermath: str = "") -> Iterator[None]:
    """Turn an ``OSError`` inside the block into a :class:`SaveError` about ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveError(f"cannot write {path}: {reason}{aftermath}") from error


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old or the new one.

    The data go to a temporary name in the same folder, are flushed to the disk, and are renamed.

    Raises:
        SaveError: no permission, no space, no folder; what was at ``path`` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with saving(path, "; nothing was changed"):
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this kind out of a folder; the system lets go of it on any death.

    Where the system or the file system has no such locks, nobody is kept out.

    Raises:
        ValueError: another process holds it.
        SaveError: the folder cannot be written.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = folder / ".lock"
    with saving(path):
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another process is at work in this folder") from None
        except OSError:
            pass  # some network file systems have no locks
        yield


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut (where the system can)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
