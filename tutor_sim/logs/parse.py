"""Columns of strings as numbers, times, outcomes and codes, with masks of bad cells."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tutor_sim.logs.log import Floats, Ints

Bools = NDArray[np.bool_]

BLANKS = ("", "NA", "N/A", "nan", "NaN", "null", "NULL", "None", ".", "?", "#N/A")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_WHOLE = re.compile(r"-?\d+$", re.ASCII)
_DATE_FORMATS = (
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%y %H:%M",
    "%d-%b-%y %I.%M.%S.%f %p",
    "%Y/%m/%d %H:%M:%S",
)


class Numbers(NamedTuple):
    """A column as numbers.

    Attributes:
        value: NaN where blank or bad.
        bad: not blank and not a number.
    """

    value: Floats
    bad: Bools


class Codes(NamedTuple):
    """A column as codes.

    Attributes:
        code: index into ``names``; -1 where blank.
        names: in the order of their numbers if all are whole numbers, else of their text.
    """

    code: Ints
    names: tuple[str, ...]


def strip(column: Any, blanks: Sequence[str] = BLANKS) -> Any:
    """The strings without white space around them, null where blank."""
    column = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(column, value_set=pa.array(blanks)), None, column)


def numbers(column: Any) -> Numbers:
    """Numbers; of stripped strings."""
    valid = column.is_valid()
    value = _cast(column, pa.float64())
    if value is None:
        # Some cells are no numbers; which ones takes longer to find out.
        good = pc.fill_null(pc.match_substring_regex(column, _NUMBER), False)
        value = pc.if_else(good, column, None).cast(pa.float64())
    found: Floats = _numpy(pc.fill_null(value, float("nan")))
    finite = np.isfinite(found)
    return Numbers(np.where(finite, found, np.nan), _numpy(valid) & ~finite)


def _cast(column: Any, kind: Any) -> Any | None:
    """None: not all strings can be read as such."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        return None


def by_value(column: Any, meaning: Callable[[str], float | None]) -> Numbers:
    """Each different string by ``meaning`` (None: bad); for columns of few different values."""
    encoded = pc.dictionary_encode(column)
    means = [meaning(text) for text in encoded.dictionary.to_pylist()]
    table = np.array([np.nan if m is None else m for m in [*means, np.nan]])
    bad = np.array([m is None for m in means] + [False])
    index = _index(encoded)
    return Numbers(table[index], bad[index])


def outcomes(column: Any, words: Mapping[str, float], study: frozenset[str]) -> Numbers:
    """Graded answers: 1, 0, or NaN for a study trial; words in any case."""

    def meaning(text: str) -> float | None:
        word = text.lower()
        if word in study:
            return float("nan")
        if word in words:
            return words[word]
        return {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "true": 1.0, "false": 0.0}.get(word)

    return by_value(column, meaning)


def ratings(column: Any) -> Numbers:
    """1 again, 2 hard, 3 good, 4 easy; 0 for an entry of the review log that is no review."""
    words = {"again": 1.0, "hard": 2.0, "good": 3.0, "easy": 4.0, "manual": 0.0}

    def meaning(text: str) -> float | None:
        word = text.lower().removeprefix("rating.").removesuffix(".0")
        return words.get(word, float(word) if word in {"0", "1", "2", "3", "4"} else None)

    return by_value(column, meaning)


def seconds(column: Any, *, milliseconds: bool) -> Numbers:
    """Seconds since some moment: of numbers, or of dates with a time of day."""
    if _cast(column, pa.float64()) is None:
        whole = _timestamps(column)
        if whole is not None:
            return Numbers(whole, np.zeros(len(column), dtype=bool))
    parsed = numbers(column)
    value = parsed.value / 1000 if milliseconds else parsed.value
    rows = np.flatnonzero(parsed.bad)
    bad = parsed.bad.copy()
    value[rows] = _dates(column.take(pa.array(rows)))
    bad[rows] = np.isnan(value[rows])
    return Numbers(value, bad)


def _timestamps(column: Any) -> Floats | None:
    """Seconds since 1970 if all strings are ISO dates of one kind; NaN where null."""
    moments = _cast(column, pa.timestamp("us"))
    if moments is None:
        moments = _cast(column, pa.timestamp("us", tz="UTC"))
    if moments is None:
        return None
    microseconds = moments.cast(pa.int64()).cast(pa.float64())
    value: Floats = _numpy(pc.fill_null(microseconds, float("nan"))) / 1e6
    return value


def _dates(column: Any) -> Floats:
    """Seconds since 1970; NaN where a string is no date. A time without a zone is in UTC."""
    encoded = pc.dictionary_encode(column)
    table = np.array([_date(text) for text in encoded.dictionary.to_pylist()])
    return np.asarray(table[_index(encoded)], dtype=np.float64)


def _date(text: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        for form in _DATE_FORMATS:
            try:
                moment = datetime.datetime.strptime(text, form)
                break
            except ValueError:
                continue
        else:
            return float("nan")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def codes(encoded: Any) -> Codes:
    """Codes by the sorted order of the strings that are used; of a dictionary-encoded column."""
    index = _index(encoded)
    used = np.flatnonzero(np.bincount(index + 1, minlength=len(encoded.dictionary) + 1)[1:])
    found = encoded.dictionary.take(pa.array(used)).to_pylist()
    names = sorted_names(found)
    number = {name: i for i, name in enumerate(names)}
    table = np.full(len(encoded.dictionary) + 1, -1, dtype=np.int64)
    table[used] = [number[name] for name in found]
    return Codes(table[index], names)


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """By number if all of them are whole numbers, else by text."""
    names = list(names)
    if all(_WHOLE.match(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _index(encoded: Any) -> Ints:
    """Indices into the dictionary; -1 (the last entry of a table) for null."""
    index: Ints = _numpy(pc.fill_null(encoded.indices, -1)).astype(np.int64)
    return index


def _numpy(array: Any) -> Any:
    return np.asarray(array.to_numpy(zero_copy_only=False))
