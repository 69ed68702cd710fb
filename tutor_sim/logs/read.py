"""Reading interaction logs: CSV or TSV in our schema or another system's, checked row by row.

The layout is recognised from the header (:mod:`tutor_sim.logs.formats`). Students get codes in the
order of their ids (as numbers if all are whole numbers) and salted hashes as names; rows are
sorted by student, then by order or time, then by their place in the file. A row that cannot be
used is reported with its line and the reason; too many of them are an error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tutor_envs.errors import unknown_name
from tutor_sim.logs import formats
from tutor_sim.logs.build import Built, build
from tutor_sim.logs.cells import Cells, load_bytes, read_cells, split_header
from tutor_sim.logs.checks import check
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.sequences import read_sequences

OnProgress = Callable[[str, float], None]

MAX_BAD_SHARE = 0.05
"""Share of bad rows up to which a file is used without them."""
_SHOWN_ROWS = 5
_KEPT_ROWS = 1000
_HASH_BYTES = 8
_SALT_BYTES = 16


class BadRow(NamedTuple):
    """A row that could not be used.

    Attributes:
        line: in the file, counted from 1.
        reason: with what was found.
    """

    line: int
    reason: str


@dataclasses.dataclass(frozen=True)
class LogReport:
    """What was read, and what was not.

    Attributes:
        path: of the file.
        format: name of the layout; ``mapped`` where all columns were named by hand.
        n_rows: rows of the file.
        n_kept: rows of the log.
        n_students: with at least one row.
        n_items: different items.
        n_skills: different skills.
        n_graded: rows with a graded answer.
        share_correct: of the graded rows.
        columns: field -> the file's columns it was read from.
        bad_counts: kind of mistake -> rows.
        bad_rows: the first bad rows, in the order of their lines.
        notes: sentences on what was merged, skipped or assumed.
    """

    path: Path
    format: str
    n_rows: int
    n_kept: int
    n_students: int
    n_items: int
    n_skills: int
    n_graded: int
    share_correct: float
    columns: dict[str, str]
    bad_counts: dict[str, int]
    bad_rows: tuple[BadRow, ...]
    notes: tuple[str, ...]

    @property
    def n_bad(self) -> int:
        """Rows that could not be used."""
        return sum(self.bad_counts.values())

    def text(self) -> str:
        """For people, a few lines."""
        lines = [
            f"{self.path}: {self.format} layout, {self.n_kept:,} rows of {self.n_students:,} "
            f"students, {self.n_items:,} items, {self.n_skills:,} skills",
            f"{self.n_graded:,} graded answers, {self.share_correct:.1%} correct",
            *self.notes,
        ]
        if self.bad_counts:
            counts = ", ".join(f"{reason} ({n:,})" for reason, n in self.bad_counts.items())
            lines.append(f"left out {self.n_bad:,} bad rows: {counts}")
            lines += _examples(self.bad_rows)
        return "\n".join(lines)


def _examples(rows: Sequence[BadRow]) -> list[str]:
    return [f"  line {row.line}: {row.reason}" for row in rows[:_SHOWN_ROWS]]


def read_log(
    path: str | Path,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    salt: bytes | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    on_progress: OnProgress | None = None,
) -> tuple[InteractionLog, LogReport]:
    """Read an interaction log.

    Args:
        path: CSV or TSV, maybe gzipped.
        format: name of the layout (see :data:`tutor_sim.logs.formats.LAYOUTS`); None: from the
            header.
        mapping: field -> column, in place of the layout's; see
            :data:`tutor_sim.logs.formats.FIELDS`.
        salt: of the hashes that replace student ids; None: a new one, so that names cannot be
            linked between two readings.
        max_bad_share: a file with a larger share of bad rows is refused.
        on_progress: called with what is being done and the share of it all that is done.

    Raises:
        ValueError: the file is no log, a needed column is missing, or too many rows are bad.
        OSError: the file cannot be read.
    """
    path, mapping = Path(path), dict(mapping or {})
    tell = on_progress or (lambda doing, share: None)
    tell("reading", 0.0)
    data = load_bytes(path)
    if sequences := read_sequences(data, format):
        header, cells = sequences
        name: str | None = "pykt"
        columns = {field: [i] for i, field in enumerate(header)}
    else:
        header, delimiter = split_header(data)
        name = _layout_name(path, format, header, mapping)
        try:
            columns = formats.assign(formats.LAYOUTS.get(name or ""), header, mapping)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        _check_columns(path, name, columns, header)
        wanted = sorted({i for indices in columns.values() for i in indices})
        tell("reading", 0.1)
        cells = read_cells(data, delimiter, len(header), wanted)
    tell("checking", 0.5)
    layout = formats.LAYOUTS.get(name or "", formats.LAYOUTS["tutor_sim"])
    draft, rows = check(cells, columns, header, layout, name or "")
    built = build(draft, rows, layout)
    tell("checking", 0.9)
    log = _hash_students(built.log, salt)
    report = _report(path, name or "mapped", cells, columns, header, log, built)
    _check_share(report, max_bad_share)
    tell("done", 1.0)
    return log, report


def _layout_name(
    path: Path, format: str | None, header: Sequence[str], mapping: Mapping[str, str]
) -> str | None:
    if format is not None:
        if format not in formats.LAYOUTS:
            raise ValueError(unknown_name("--format", format, formats.LAYOUTS))
        return format
    name = formats.detect(header)
    if name is None and not {"student", "correct"} <= mapping.keys():
        layouts = "; ".join(f"{k}: {v.description}" for k, v in formats.LAYOUTS.items())
        raise ValueError(
            f"{path}: the columns fit no known layout: {', '.join(header)}. Known layouts are "
            f"{layouts}. Name the columns yourself: --map student=COLUMN,item=COLUMN,correct=COLUMN"
        )
    return name


def _check_columns(
    path: Path, name: str | None, columns: Mapping[str, list[int]], header: Sequence[str]
) -> None:
    """A log needs a student (but for Anki), an item or skill, and an answer."""
    needs = {
        "a student": ("student",),
        "an item or a skill": ("item", "skill"),
        "an answer": ("correct", "rating"),
    }
    if name == "anki":
        del needs["a student"]
    for what, fields in needs.items():
        if not any(field in columns for field in fields):
            layout = formats.LAYOUTS.get(name or "")
            wanted = [c for f in fields for c in (layout.columns.get(f, ()) if layout else ())]
            looked_for = f" ({' or '.join(wanted)})" if wanted else ""
            raise ValueError(
                f"{path}: no column for {what}{looked_for} among {', '.join(header)}; "
                f"name it: --map {fields[0]}=COLUMN"
            )


def _hash_students(log: InteractionLog, salt: bytes | None) -> InteractionLog:
    key = secrets.token_bytes(_SALT_BYTES) if salt is None else hashlib.blake2b(salt).digest()
    names = tuple(
        hashlib.blake2b(name.encode(), key=key, digest_size=_HASH_BYTES).hexdigest()
        for name in log.student_names
    )
    return dataclasses.replace(log, student_names=names)


def _report(
    path: Path,
    name: str,
    cells: Cells,
    columns: Mapping[str, list[int]],
    header: Sequence[str],
    log: InteractionLog,
    built: Built,
) -> LogReport:
    bad = [(line, "number of columns", reason) for line, reason in cells.malformed] + built.bad
    bad.sort(key=lambda row: row[0])
    graded = log.correct[log.graded]
    return LogReport(
        path=path,
        format=name,
        n_rows=len(cells.line) + len(cells.malformed),
        n_kept=len(log),
        n_students=log.n_students,
        n_items=len(log.item_names),
        n_skills=len(log.skill_names),
        n_graded=len(graded),
        share_correct=float(graded.mean()) if len(graded) else float("nan"),
        columns={f: ", ".join(dict.fromkeys(header[i] for i in c)) for f, c in columns.items()},
        bad_counts=dict(Counter(kind for _, kind, _ in bad).most_common()),
        bad_rows=tuple(BadRow(line, reason) for line, _, reason in bad[:_KEPT_ROWS]),
        notes=built.notes,
    )


def _check_share(report: LogReport, max_bad_share: float) -> None:
    if report.n_bad > max_bad_share * report.n_rows:
        shown = "\n".join(_examples(report.bad_rows))
        raise ValueError(
            f"{report.path}: {report.n_bad:,} of {report.n_rows:,} rows are bad "
            f"({report.n_bad / report.n_rows:.1%}, allowed {max_bad_share:.1%}); read as layout "
            f"`{report.format}`. The first ones:\n{shown}"
        )
    if not report.n_graded:
        raise ValueError(f"{report.path}: the log has no graded answer")
