"""Finds what a reference to a plug-in means; imports no torch, for workers are many.

A reference is one of ``package.module:Class``, ``path/to/file.py:Class`` and the name of an entry
point, for students in the group ``tutor_sim.students``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tutor_envs.errors import unknown_name


class Kind(NamedTuple):
    """What is plugged in.

    Attributes:
        noun: how error messages call it.
        group: entry point group of installed packages that bring some along.
    """

    noun: str
    group: str


STUDENTS = Kind("student", "tutor_sim.students")

_NOT_THE_AUTHORS = (
    "site-packages",
    "<frozen",
    sysconfig.get_path("stdlib"),
    str(Path(__file__).parents[1]),
)
"""Parts of file names where an author need not look for a mistake."""


def is_file_reference(reference: str) -> bool:
    """``path/to/file.py:Class``, and not ``package.module:Class``."""
    place = reference.rpartition(":")[0]
    return place.endswith(".py") or "/" in place or "\\" in place


def entry_points(kind: Kind = STUDENTS) -> dict[str, importlib.metadata.EntryPoint]:
    """Name -> entry point of all that installed packages bring along."""
    return {point.name: point for point in importlib.metadata.entry_points(group=kind.group)}


def resolve_reference(reference: str, folder: Path | None = None) -> str:
    """The reference with a relative file path made absolute, so that it holds anywhere.

    Args:
        reference: as written by the user.
        folder: what a relative path starts from; None: the working directory.
    """
    if not is_file_reference(reference):
        return reference
    place, _, attribute = reference.rpartition(":")
    path = Path(folder or Path.cwd(), Path(place).expanduser()).resolve()
    return f"{path}:{attribute}"


def load_attribute(reference: str, kind: Kind = STUDENTS) -> Any:
    """The class that a (resolved) reference means.

    Raises:
        ValueError: there is no such file, module, attribute or entry point, or importing it fails;
            the text names the plug-in and the cause.
    """
    if ":" not in reference:
        points = entry_points(kind)
        if reference not in points:
            raise ValueError(unknown_name(kind.noun, reference, points))
        try:
            return points[reference].load()
        except Exception as error:
            raise _cannot(kind, reference, points[reference].value, error) from error
    place, _, attribute = reference.rpartition(":")
    module = _load_file(kind, reference, Path(place)) if is_file_reference(reference) else None
    module = module or _import_module(kind, reference, place)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            classes = [name for name, value in vars(module).items() if isinstance(value, type)]
            raise ValueError(
                f"`{kind.noun}` {reference!r}: " + unknown_name(f"{place}:", attribute, classes)
            )
        found = getattr(found, part)
    return found


def _import_module(kind: Kind, reference: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _cannot(kind, reference, name, error) from error
        raise ValueError(
            f"`{kind.noun}` {reference!r}: there is no module `{error.name}` on the Python path; "
            f"for a file write `{name.rpartition('.')[2]}.py:...` with its path"
        ) from error
    except Exception as error:
        raise _cannot(kind, reference, name, error) from error


def _load_file(kind: Kind, reference: str, path: Path) -> ModuleType:
    """Import a file under a name of its own, once for each version of the file."""
    if not path.is_file():
        raise ValueError(f"`{kind.noun}` {reference!r}: there is no file {path}")
    stamp = hashlib.sha256(f"{path} {path.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    name = f"tutor_sim_{kind.noun}_{path.stem}_{stamp}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"`{kind.noun}` {reference!r}: {path} must be a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: annotations are looked up there
    sys.path.insert(0, str(path.parent))  # as for a script: files beside it can be imported
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _cannot(kind, reference, str(path), error) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _cannot(kind: Kind, reference: str, place: str, error: Exception) -> ValueError:
    return ValueError(f"`{kind.noun}` {reference!r}: importing {place} raised {describe(error)}")


def describe(error: BaseException) -> str:
    """``KeyError: 'speed' (at my_student.py:12)``: the error and where it was raised."""
    text = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return text
    own = [f for f in frames if not any(part in f.filename for part in _NOT_THE_AUTHORS)]
    last = (own or frames)[-1]
    return f"{text} (at {Path(last.filename).name}:{last.lineno})"
