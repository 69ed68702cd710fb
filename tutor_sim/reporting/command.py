"""The command ``tutor-sim report``: runs and studies side by side.

===================  ===========================================================================
``report.html``      the page, which needs nothing else
``tables/``          every number as Parquet and CSV, see :mod:`tutor_sim.reporting.exports`
``table.tex``        on request: tutors by populations for LaTeX
===================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tutor_sim.files import atomic_write, saving
from tutor_sim.reporting.analysis import Analysis, analyse
from tutor_sim.reporting.exports import files, latex
from tutor_sim.reporting.material import gather
from tutor_sim.reporting.page import render
from tutor_sim.reporting.sources import Source, read_source
from tutor_sim.reporting.terminal import overview_table, wins_table
from tutor_sim.reporting.words import listed

PAGE_FILE = "report.html"
TABLES_FOLDER = "tables"
LATEX_FILE = "table.tex"
_ROOT = Path("runs")


def report_folders(
    folders: Sequence[Path], *, out: Path | None, as_latex: bool, console: Console
) -> Analysis:
    """Compare what lies in several folders; nothing is written unless everything could be read.

    Args:
        folders: of studies, runs, and evaluations of runs.
        out: where the report goes; if None, into the folder of the only study, else
            ``runs/report-<names>``.
        as_latex: a LaTeX table, too.
        console: for tables.

    Raises:
        ValueError: what cannot be read or compared.
        SaveError: something could not be written.
    """
    sources = [read_source(folder) for folder in dict.fromkeys(folders)]
    target = out or _default_folder(sources)
    if (target / "config.yaml").is_file():
        raise ValueError(f"`--out` must not be a run folder, whose report it has: {target}")
    analysis = analyse(gather(sources))
    title = listed(list(dict.fromkeys(source.name for source in sources)))
    write(target, analysis, title, as_latex=as_latex)
    console.print(Text(f"{title}: mean scores", style="bold"))
    console.print(overview_table(analysis, console.width))
    console.print()
    console.print(wins_table(analysis))
    for note in analysis.notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    shown = [("report", PAGE_FILE), ("tables", TABLES_FOLDER)]
    for what, name in [*shown, *([("LaTeX", LATEX_FILE)] if as_latex else [])]:
        console.print(Text(f"{what}: {target / name}"), soft_wrap=True)
    return analysis


def write_study_report(folder: Path) -> Path:
    """The report of one study, in its folder.

    Raises:
        ValueError: its results are damaged.
        SaveError: something could not be written.
    """
    source = read_source(folder)
    write(folder, analyse(gather([source])), source.name, as_latex=False)
    return folder / PAGE_FILE


def write(folder: Path, analysis: Analysis, title: str, *, as_latex: bool) -> None:
    """Write page and tables, each file whole or not at all.

    Raises:
        SaveError: something could not be written.
    """
    contents = {f"{TABLES_FOLDER}/{name}": data for name, data in files(analysis).items()}
    if as_latex:
        contents[LATEX_FILE] = latex(analysis).encode()
    contents[PAGE_FILE] = render(analysis, title, list(contents)).encode()
    with saving(folder):
        (folder / TABLES_FOLDER).mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        atomic_write(folder / name, data)


def _default_folder(sources: Sequence[Source]) -> Path:
    if len(sources) == 1 and sources[0].kind == "study":
        return sources[0].folder
    return _ROOT / "-".join(["report", *dict.fromkeys(source.label for source in sources)])
