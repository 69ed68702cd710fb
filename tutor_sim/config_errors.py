"""Turns a validation error into one clear line for each fault.

Every line names the file and line, the dotted key, what was found, what is allowed, and for an
unknown key the nearest one: ``q.yaml:9: `evaluation.n_students` must be >= 2, got 1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tutor_agents.registry import TUTORS
from tutor_envs.distributions import DISTRIBUTIONS, Distribution
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.student_registry import student_class
from tutor_envs.yaml_loading import Document, KeyPath
from tutor_sim.config import Experiment, TutorSpec
from tutor_sim.learners import learner_kind

_BOUNDS = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
}
_WANTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "model_type"), "must be a mapping of keys to values"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("int_type", "int_parsing"), "must be a whole number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be a text",
}
_LONGEST_VALUE = 80


def dotted(path: KeyPath) -> str:
    """``a.b.0``, the form that ``--set`` understands."""
    return ".".join(str(key) for key in path)


def origin(document: Document, path: KeyPath) -> str:
    """File and line of the value at ``path``, or of the nearest one around it."""
    for length in range(len(path), -1, -1):
        if path[:length] in document.origins:
            return document.origins[path[:length]]
    return ""


def explain(error: ValidationError, document: Document, top: type[BaseModel] = Experiment) -> str:
    """One line for each fault.

    Args:
        error: from validating ``document.data`` as ``top``.
        document: the data and where they come from; an experiment inside a file of several is
            passed alone, its place in ``document.origins`` already.
        top: the model.
    """
    lines = dict.fromkeys(_line(found, document, top) for found in error.errors())
    return "\n".join(lines)


def _line(found: ErrorDetails, document: Document, top: type[BaseModel]) -> str:
    path: KeyPath = tuple(found["loc"])
    kind, context = found["type"], found.get("ctx", {})
    if kind == "extra_forbidden":
        hint = unknown_name("key", path[-1], _keys(top, path[:-1], document.data)).split(";", 1)[1]
        text = f"unknown key `{dotted(_written(path, document.data))}`;{hint}"
    elif kind == "union_tag_invalid":
        tag, key = context["tag"], context["discriminator"].strip("'")
        allowed = [name.strip(" '") for name in context["expected_tags"].split(",")]
        text = unknown_name(f"{dotted(path)}.{key}", tag, allowed)
    elif kind == "missing":
        text = f"`{dotted(path)}` is missing"
    elif kind == "value_error":
        path, text = _relocate(str(context["error"]), path, document)
    else:
        if kind in _BOUNDS:
            key, sign = _BOUNDS[kind]
            wanted = f"must be {sign} {context[key]:g}"
        else:
            wanted = _WANTED.get(kind) or found["msg"].split(", unable")[0]
            wanted = re.sub(r"^(Input|String|List|Tuple|Dictionary) should", "must", wanted)
        text = f"`{dotted(path)}` {wanted}, got {_short(found['input'])}"
    where = origin(document, path)
    return f"{where}: {text}" if where else text


def _written(path: KeyPath, data: Any) -> KeyPath:
    """The path without the tags of choices, which are not keys of the document."""
    written: list[str | int] = []
    for key in path[:-1]:
        below = data.get(key) if isinstance(data, dict) else None
        if isinstance(data, list) and isinstance(key, int):
            below = data[key]
        if below is None and isinstance(data, dict) and data.get("kind") == key:
            continue
        written.append(key)
        data = below
    return (*written, path[-1])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _relocate(text: str, path: KeyPath, document: Document) -> tuple[KeyPath, str]:
    """Make the first key that a validator names a full one, if the document has it."""
    named = re.search(r"`([\w.]+)`(?: '([^']*)')?", text)
    if named:
        inner: KeyPath = tuple(named[1].split("."))
        if inner[: len(path)] != path:
            inner = path if path[-1] == named[1] else (*path, *inner)
        if _exists(document.data, inner):
            text = f"{text[: named.start(1)]}{dotted(inner)}{text[named.end(1) :]}"
            return (*inner, *([named[2]] if named[2] else [])), text
    return path, f"`{dotted(path)}`: {text}" if path else text


def _exists(data: Any, path: KeyPath) -> bool:
    for key in path:
        values = dict(enumerate(data)) if isinstance(data, list) else data
        if not isinstance(values, dict) or key not in values:
            return False
        data = values[key]
    return True


def _keys(kind: Any, path: KeyPath, data: Any) -> Iterable[str]:
    """Keys that are allowed at ``path`` below ``kind``; ``data`` chooses between kinds."""
    if not path:
        return getattr(kind, "model_fields", ())
    key = path[0]
    values = data if isinstance(data, dict) else dict(enumerate(data or ()))
    return _keys(_kind_below(kind, key, values), path[1:], values.get(key))


def _student_class(reference: Any) -> type[BaseModel] | None:
    """None: there is none, which has its own line."""
    try:
        return student_class(reference)
    except ValueError:
        return None


class _Learners:
    """Stands for the value of ``learners``, of an experiment or a study."""


def _kind_below(kind: Any, key: str | int, values: dict[Any, Any]) -> Any:
    if kind is Distribution:
        return DISTRIBUTIONS.get(str(key))
    if kind is Population and key == "model":
        return _student_class(values.get("student", ""))
    if key == "learners" and "learners" in getattr(kind, "model_fields", ()):
        return _Learners
    if kind is _Learners or (kind is Experiment and key == "learner"):
        return learner_kind(values[key]["algorithm"]).config
    if kind is TutorSpec:
        algorithm = key if key in TUTORS else values[key].get("algorithm")
        if algorithm in TUTORS:
            return TUTORS[str(algorithm)].parameters
    for member in get_args(kind):  # a choice by `kind`, which stands in the path
        tag = getattr(member, "model_fields", {}).get("kind")
        if tag is not None and tag.default == key:
            return member
    fields = getattr(kind, "model_fields", {})
    item = -1 if get_origin(kind) is dict else 0
    below = fields[key].annotation if key in fields else get_args(kind)[item]
    if get_origin(below) is Annotated:
        return get_args(below)[0]
    given = [member for member in get_args(below) if member is not type(None)]
    return given[0] if isinstance(below, UnionType) and len(given) == 1 else below
