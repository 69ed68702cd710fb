"""``tutor-sim check-student``: the report of a student model's check as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tutor_envs.checks.case import Level
from tutor_envs.testing import Report, check_student

_COLOURS = {Level.PROBLEM: "bold red", Level.WARNING: "yellow"}


def check_and_show(student: str, *, n_students: int, time_limit_s: float, console: Console) -> bool:
    """Check a student model in another process, print the table, and say whether it may be used.

    Args:
        student: a reference as in a population file, or a population file.
        n_students: in the batches of most checks.
        time_limit_s: for all checks together.
        console: for the table.

    Raises:
        ValueError: the student cannot be loaded.
    """
    report = check_student(student, n_students=n_students, time_limit_s=time_limit_s)
    console.print(report_table(report))
    console.print(Text(_result(report)), soft_wrap=True)
    return report.ok


def report_table(report: Report) -> Table:
    """One row for every check, and one for every finding beyond the first of a check."""
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "result", "what to change"):
        table.add_column(heading)
    for check in report.checks:
        found = [f for f in report.findings if f.check == check]
        if not found:
            table.add_row(check, "ok", "")
        for i, finding in enumerate(found):
            result = Text(str(finding.level), style=_COLOURS[finding.level])
            table.add_row("" if i else check, result, Text(finding.message))
    return table


def _result(report: Report) -> str:
    n_problems, n_all = len(report.problems), len(report.findings)
    lines = []
    if report.steps_per_s is not None and report.relative_speed is not None:
        lines.append(
            f"speed: {report.steps_per_s:,.0f} student-steps a second, "
            f"{report.relative_speed:.0%} of the built-in models'"
        )
    counts = {"problem": n_problems, "warning": n_all - n_problems}
    parts = [f"{n} {what}{'s' * (n > 1)}" for what, n in counts.items() if n]
    lines.append(f"{report.student}: {', '.join(parts) or 'everything is in order'}")
    return "\n".join(lines)
