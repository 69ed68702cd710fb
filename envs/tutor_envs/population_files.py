"""Populations in YAML files: the reader, and the four that ship with the environments."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from tutor_envs.errors import unknown_name
from tutor_envs.population import Population

_RESOLVED_ANEW = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars and no repeated keys.

    pyyaml follows YAML 1.1, where ``1e-3`` is a string and ``on``, ``off``, ``yes`` and ``no`` are
    booleans; here ``1e-3`` is a number and those four are strings.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping; a key given twice is an error instead of a silent choice."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _RESOLVED_ANEW]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Numbers such as ``1e-3`` are numbers, ``on`` and ``no`` are strings (YAML 1.2), and a key given
    twice is an error.

    Raises:
        ValueError: not YAML (the text names the file and the line).
        OSError: the file cannot be read.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from error


def load_population(path: str | Path) -> Population:
    """The population that a YAML file describes.

    Raises:
        ValueError: not a population (the text names the file).
        OSError: the file cannot be read.
    """
    data = read_yaml(Path(path))
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a population file must be a mapping, got {type(data).__name__}")
    try:
        return Population.model_validate(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


POPULATIONS = {
    path.stem: path for path in sorted((Path(__file__).parent / "populations").glob("*.yaml"))
}
"""Name -> file of every population that ships with the environments."""


def default_population(name: str) -> Population:
    """The population that ships under this name: one for each built-in student model.

    Raises:
        ValueError: there is no such population.
    """
    if name not in POPULATIONS:
        raise ValueError(unknown_name("population", name, POPULATIONS))
    return load_population(POPULATIONS[name])
