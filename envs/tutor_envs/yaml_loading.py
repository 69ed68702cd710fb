"""YAML as people expect it: the scalars of YAML 1.2, no duplicate keys, a line for every value.

PyYAML reads YAML 1.1, whose scalars surprise. Here:

==================  ======================  =============================
written             PyYAML reads            read here
==================  ======================  =============================
``1e-3``            the text ``1e-3``       the number 0.001
``1_000_000``       1000000                 1000000 (kept: it is handy)
``on off yes no``   a truth value           text; only ``true`` / ``false``
``010``             8                       10 (octal is ``0o10``)
``12:30``           750                     text
``2026-01-31``      a date                  text
a key twice         the last one wins       an error with both lines
==================  ======================  =============================

Files written by :func:`dump_yaml` quote by the same rules, so they read back equal.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a document down to one value."""

_WIDTH = 100
_UNICODE_BREAKS = "\x85\u2028\u2029"
_MAX_VALUES = 200_000
"""Values in one document, aliases counted each time they are used (an alias bomb has more)."""

_SCALARS: tuple[tuple[str, str, str], ...] = (
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
"""Tag, pattern and first characters of plain scalars.

The YAML 1.2 core schema, and also merge keys and ``_`` in numbers.
"""


class Document(NamedTuple):
    """A parsed file.

    Attributes:
        data: mappings, lists and scalars.
        origins: where each value stands, as ``file:line``.
    """

    data: Any
    origins: dict[KeyPath, str]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value out each time it is used."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """In double quotes where PyYAML would write a line break that it reads back as a space."""
    style = '"' if any(sign in text for sign in _UNICODE_BREAKS) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value.replace("_", "")
    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = node.value.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), [*_first, ""]
        )
_Dumper.add_representer(str, _represent_text)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


class _Reader:
    """Turns the node tree of one document into data and origins."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self.loader = loader
        self.name = name
        self.origins: dict[KeyPath, str] = {}
        self.open: set[int] = set()
        self.checked: set[int] = set()

    def error(self, node: yaml.Node, text: str) -> ValueError:
        mark = node.start_mark
        return ValueError(f"{self.name}:{mark.line + 1}:{mark.column + 1}: {text}")

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        self.origins.setdefault(path, f"{self.name}:{node.start_mark.line + 1}")
        if len(self.origins) > _MAX_VALUES or id(node) in self.open:
            raise self.error(node, "aliases that contain themselves or multiply without end")
        if isinstance(node, yaml.ScalarNode):
            return self.loader.construct_object(node)
        self.open.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self.read_mapping(node, path)
        else:
            value = [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        self.open.remove(id(node))
        return value

    def read_mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        if id(node) not in self.checked:  # flattening, below, adds the merged keys to the node
            self.check_keys(node)
            self.checked.add(id(node))
        self.loader.flatten_mapping(node)
        data = {}
        for key_node, value_node in node.value:
            key = self.loader.construct_object(key_node)
            self.origins[(*path, key)] = f"{self.name}:{key_node.start_mark.line + 1}"
            data[key] = self.read(value_node, (*path, key))
        return data

    def check_keys(self, node: yaml.MappingNode) -> None:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be a word or a number")
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in lines:
                first = f"first on line {lines[key]}"
                raise self.error(key_node, f"the key `{key}` stands twice, {first}")
            lines[key] = line


def parse_yaml(text: str, name: str) -> Document:
    """Read one YAML document.

    Args:
        text: the document.
        name: what messages call it, usually the file's path.

    Raises:
        ValueError: not YAML, or a key that stands twice; the text gives file, line and column.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        reader = _Reader(loader, name)
        return Document(None if node is None else reader.read(node, ()), reader.origins)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{name}{place}: not YAML: {what}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: not YAML: {' '.join(str(error).split())}") from error


def load_yaml(path: Path) -> Document:
    """Read a YAML file; see :func:`parse_yaml`.

    Raises:
        ValueError: not YAML, or not UTF-8 text.
        OSError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start})") from error
    return parse_yaml(text, str(path))


def dump_yaml(data: Any) -> str:
    """Write plain data as YAML that :func:`parse_yaml` reads back equal."""
    return yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=_WIDTH,
    )
