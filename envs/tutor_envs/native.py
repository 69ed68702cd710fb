"""Small C functions where tensor operations are slow; compiled when they are first needed.

A function is compiled (in a second or so) by ``$CC`` or ``cc``, for the processor at hand, and kept
in ``$XDG_CACHE_HOME/tutor-sim`` or ``~/.cache/tutor-sim``. Whoever uses one has the same in plain
torch, which takes over where it cannot be compiled.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import subprocess
import tempfile
from importlib.resources.abc import Traversable
from pathlib import Path

from torch import Tensor

_LOG = logging.getLogger(__name__)
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_COMPILE_TIMEOUT_S = 120


def load_library(source: Traversable, what: str) -> ctypes.CDLL | None:
    """The compiled functions of a C file; None where they cannot be had, which is logged.

    Args:
        source: the file.
        what: what it computes, for the log.
    """
    try:
        return ctypes.CDLL(str(_compiled(source)))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        why = said.splitlines()[0] if said else error
        _LOG.warning("no compiled %s: torch's own, slower, takes its place (%s)", what, why)
        return None


def addresses(*tensors: Tensor) -> list[int]:
    """Of the first elements."""
    return [tensor.data_ptr() for tensor in tensors]


def _compiled(source: Traversable) -> Path:
    """The shared library for this source, these flags and this processor, compiled if need be.

    Raises:
        OSError: there is no compiler, or the folder cannot be written.
        RuntimeError: there is no home folder.
        subprocess.SubprocessError: it does not compile.
    """
    text, compiler = source.read_bytes(), os.environ.get("CC") or "cc"
    made_of = [text, compiler.encode(), *(flag.encode() for flag in _FLAGS), _processor()]
    key = hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutor-sim"
    library = folder / f"{Path(source.name).stem}-{key}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / library.name
        subprocess.run(
            [compiler, *_FLAGS, "-x", "c", "-", "-o", str(made)],
            input=text,
            check=True,
            capture_output=True,
            timeout=_COMPILE_TIMEOUT_S,
        )
        made.replace(library)  # whole or not at all, whoever else compiles it now
    return library


def _processor() -> bytes:
    """What tells apart processors that ``-march=native`` compiles differently for."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
        return b"\n".join(sorted({line for line in lines if line[:5] in (b"flags", b"Featu")}))
    return f"{platform.machine()} {platform.processor()}".encode()
