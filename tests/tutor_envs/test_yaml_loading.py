"""YAML is read by the 1.2 rules, and every mistake is placed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.yaml_loading import dump_yaml, load_yaml, parse_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1_000_000", 1_000_000),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("2026-01-31", "2026-01-31"),
        ("'1e-3'", "1e-3"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    data = parse_yaml(f"a: {text}", "f").data
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


@settings(max_examples=50, deadline=None)
@given(DATA)
def test_what_is_written_reads_back_equal(data: Any) -> None:
    assert parse_yaml(dump_yaml(data), "f").data == data


def test_every_value_knows_its_line() -> None:
    origins = parse_yaml("a:\n  b: [1,\n   2]\nc: {d: 3}\n", "f").origins
    assert origins[("a", "b")] == "f:2"
    assert origins[("a", "b", 1)] == "f:3"
    assert origins[("c", "d")] == "f:4"


def test_merge_keys_work_and_are_no_duplicates() -> None:
    data = parse_yaml("base: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}", "f").data
    assert data["c"] == {"x": 1, "y": 3}


def test_a_mapping_that_merges_and_overrides_can_be_used_again() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: *b\nd: {<<: *b, x: 4}"
    data = parse_yaml(text, "f").data
    assert data["b"] == data["c"] == {"x": 1, "y": 3}
    assert data["d"] == {"x": 4, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: the key `a` stands twice, first on line 1"),
        ("a:\n  b: [1", "f:2:8: not YAML: .*expected ',' or ']'"),
        ("a:\n\t- b", r"f:2:1: not YAML: .*cannot start any token"),
        ("a: !!python/object:os.system x", "f:1:4: not YAML: could not determine a constructor"),
        ("? [1, 2]\n: 3", "f:1:3: a key must be a word or a number"),
        ("a: &x [*x]", "f:1:4: aliases that contain themselves"),
        ("a: 1\n---\nb: 2", "f:2:1: not YAML: expected a single document"),
        ("a: \x00", "f: not YAML: unacceptable character"),
    ],
)
def test_faults_are_placed(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text, "f")


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ValueError, match="multiply without end"):
        parse_yaml("\n".join(lines), "f")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(ValueError, match=r"x\.yaml: not UTF-8 text \(byte 3\)"):
        load_yaml(path)
