"""The cells of a delimited text file that a log is read from, as columns of strings.

Only the columns that are asked for are read: personal data in the others never leave the file.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tutor_sim.logs.log import Ints

_GZIP = b"\x1f\x8b"
_QUOTE, _NEWLINE = 34, 10


@dataclasses.dataclass
class Cells:
    """Columns of equal length.

    Attributes:
        columns: index of the column in the header -> its strings, blanks as they stand.
        line: line of each row in the file, counted from 1.
        malformed: ``(line, reason)`` of rows that have too few or too many columns.
    """

    columns: dict[int, Any]
    line: Ints
    malformed: list[tuple[int, str]]


def load_bytes(path: Path) -> bytes:
    """The file's text in UTF-8, unpacked, without a byte-order mark.

    Raises:
        ValueError: broken gzip data, an empty file, or no text.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: not a complete gzip file: {error}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data[:4096].strip() and not data.strip():
        raise ValueError(f"{path}: the file is empty")
    if b"\0" in data[:4096]:
        raise ValueError(f"{path}: not a text file; a log must be CSV or TSV, maybe gzipped")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        # Older ASSISTments and DataShop files; every byte is a character there.
        data = data.decode("latin-1").encode()
    return data.replace(b"\r\n", b"\n") if b"\r" in data else data


def first_line(data: bytes) -> str:
    """Without its end."""
    end = data.find(b"\n")
    return (data if end < 0 else data[:end]).decode()


def split_header(data: bytes) -> tuple[list[str], str]:
    """The names in the first line, and the delimiter: the tab, comma or semicolon it has most."""
    line = first_line(data)
    delimiter = max("\t,;", key=line.count)
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter))], delimiter


def read_cells(data: bytes, delimiter: str, n_columns: int, wanted: Sequence[int]) -> Cells:
    """The wanted columns of all rows below the header.

    Args:
        data: of :func:`load_bytes`.
        delimiter: between columns.
        n_columns: in the header.
        wanted: indices of the columns to read.
    """
    malformed: list[tuple[int, str]] = []

    def note(row: Any) -> str:
        found = f"{row.actual_columns} columns, the header has {row.expected_columns}"
        malformed.append((row.number, found))
        return "skip"

    quoted = b'"' in data
    names = [str(i) for i in range(n_columns)]
    if not data[len(first_line(data).encode()) :].strip():
        return Cells({i: pa.array([], pa.string()) for i in wanted}, np.empty(0, np.int64), [])
    table = pa.csv.read_csv(
        pa.BufferReader(data),
        # One thread: only then does a malformed row come with its number.
        read_options=pa.csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter,
            invalid_row_handler=note,
            ignore_empty_lines=False,
            newlines_in_values=quoted,
        ),
        convert_options=pa.csv.ConvertOptions(
            include_columns=[str(i) for i in wanted],
            column_types={str(i): pa.string() for i in wanted},
            check_utf8=False,
        ),
    )
    # Records are numbered from 1, the header's number.
    number = np.arange(2, len(table) + len(malformed) + 2)
    number = np.delete(number, [record - 2 for record, _ in malformed])
    starts = _line_of_record(data) if quoted else None
    if starts is not None:
        number = starts[number - 1]
        malformed = [(int(starts[record - 1]), reason) for record, reason in malformed]
    columns = {i: table.column(str(i)).combine_chunks() for i in wanted}
    return _without_blank_lines(Cells(columns, number, malformed))


def _line_of_record(data: bytes) -> Ints | None:
    """First line of each record, from 1; None where no quoted cell holds a line break."""
    text = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(text == _NEWLINE)
    quotes = np.flatnonzero(text == _QUOTE)
    inside = np.searchsorted(quotes, newlines) % 2 == 1
    if not inside.any():
        return None
    ends = np.flatnonzero(~inside)
    return np.concatenate([[1], ends + 2])


def _without_blank_lines(cells: Cells) -> Cells:
    blank = np.ones(len(cells.line), dtype=bool)
    for column in cells.columns.values():
        blank &= np.asarray(pa.compute.equal(column, "").to_numpy(zero_copy_only=False))
    if not blank.any():
        return cells
    keep = pa.array(~blank)
    columns = {i: column.filter(keep) for i, column in cells.columns.items()}
    return Cells(columns, cells.line[~blank], cells.malformed)
