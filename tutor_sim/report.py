"""The report: one HTML file that needs nothing else, for people with any kind of sight or screen.

No script, no external resource; pictures are SVG inside the file, each with a text alternative.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from tutor_sim.adaptation_table import regret_columns, return_columns, speed_columns
from tutor_sim.controls.run import Control
from tutor_sim.controls.shown import controls_to_html, failures_to_html
from tutor_sim.drawing import to_svg
from tutor_sim.evaluation import Role
from tutor_sim.files import atomic_write
from tutor_sim.findings import findings
from tutor_sim.learning_table import equity_caption, equity_columns, learning_parts
from tutor_sim.pictures import Picture
from tutor_sim.summary import Summary
from tutor_sim.tables import Column, columns

STYLES_ARE_CONTESTED = (
    "Students here respond better to some modalities than to others. That is a simulated trait "
    "whose "
    "strength is a parameter of the population, not a claim about people: the matching hypothesis "
    "of "
    "learning styles is contested (Pashler, McDaniel, Rohrer & Bjork 2008, Psychological Science "
    "in "
    "the Public Interest 9(3), 105–119)."
)

_CSS = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --line: #d4d4d4;
  --paper: #ffffff; --card: #f5f6f7; --mark: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #b3b3b3; --line: #454545;
  --paper: #161718; --card: #222426; --mark: #6cb8e6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1.05rem; margin: 0 0 .5rem; }
p { max-width: 46rem; }
.soft, figcaption, caption, .caption { color: var(--soft); }
.finding { border-left: .3rem solid var(--mark); padding: .1rem 0 .1rem 1rem; margin: 1.25rem 0; }
.finding p { margin: .35rem 0; }
.finding p:first-child { font-size: 1.2rem; line-height: 1.4; }
.scroll { overflow-x: auto; margin-bottom: 1.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .4rem .75rem .4rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); }
tbody th { font-weight: 400; }
tr.learned > * { font-weight: 700; }
tr.oracle > * { color: var(--soft); }
.facts th { color: var(--soft); }
.facts td { white-space: normal; }
figure { margin: 1.5rem 0 2.25rem; }
figure img { display: block; width: 100%; max-width: 54rem; height: auto; background: #fff;
  border: 1px solid var(--line); border-radius: .4rem; padding: .5rem; }
figcaption { max-width: 46rem; margin-top: .5rem; font-size: .9rem; }
dt { font-weight: 600; margin-top: .7rem; }
dd { margin: 0; max-width: 46rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem 1rem; overflow-x: auto; font-size: .85rem; line-height: 1.45; }
summary { cursor: pointer; }
@media print { body { max-width: none; padding: 0; color: #000; background: #fff; }
  figure, table { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .scroll { overflow: visible; } }
"""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        title: the name of the experiment.
        description: what it is about; may be empty.
        summary: of the comparison.
        pictures: in order.
        facts: ``(what, value)``: students, task, seeds, versions.
        notes: further sentences, such as what could not be computed and why.
        commands: shell commands that make these numbers again and show more.
        configuration: the resolved experiment as YAML.
        controls: null controls of the tutors.
    """

    title: str
    description: str
    summary: Summary
    pictures: Sequence[Picture]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    commands: Sequence[str]
    configuration: str
    controls: Sequence[Control] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML file, whole or not at all.

    Raises:
        SaveError: it cannot be written.
    """
    atomic_write(path, render(report).encode())


def render(report: Report) -> str:
    """The report as an HTML document."""
    title = escape(report.title)
    description = f'<p class="soft">{escape(report.description)}</p>' if report.description else ""
    found = "".join(f"<p>{escape(sentence)}</p>" for sentence in findings(report.summary))
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    commands = escape("\n".join(report.commands))
    body = f"""
<header><h1>{title}</h1>{description}</header>
<main>
<section aria-label="Findings" class="finding">{failures_to_html(report.controls)}{found}
</section>
<h2>Results</h2>
{_results(report.summary)}
{notes}
{_adaptation(report.summary)}
{regret_section(report.summary)}
{learning_section(report.summary)}
{equity_section(report.summary)}
{controls_to_html(report.controls)}
<h2>Pictures</h2>
{"".join(figure(picture) for picture in report.pictures)}
<h2>What was done</h2>
{_facts(report.facts)}
<h2>What the numbers mean</h2>
{_definitions(report.summary)}
<h2>Make it again</h2>
<pre><code>{commands}</code></pre>
<details><summary>The resolved experiment</summary>
<pre><code>{escape(report.configuration)}</code></pre></details>
</main>"""
    return page(title, body)


def page(title: str, body: str, style: str = "") -> str:
    """A whole HTML document in the style of the report and ``style``, of title and body in HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title} – tutor-sim</title>\n<style>{_CSS}{style}</style>\n</head>\n"
        f"<body>{body}\n</body>\n</html>\n"
    )


def _results(summary: Summary) -> str:
    caption = (
        f"{summary.tutors[0].n_students:,} unseen students, the same for every tutor, with the "
        "same "
        "luck. Brackets are 95 % intervals."
    )
    return _table("Results", caption, columns(summary), summary)


def _adaptation(summary: Summary) -> str:
    """How tutors get better from lesson to lesson; nothing where there is one lesson."""
    if summary.n_lessons == 1:
        return ""
    caption = "Mean score of the next lesson after so many lessons with the same student."
    tables = _table("Score by lesson", caption, return_columns(summary), summary)
    speed = speed_columns(summary)
    if len(speed) > 1:
        reference = summary.lesson_reference
        caption = (
            f"After so many lessons: fraction of {reference} in the next one. Then teaching "
            f"actions until a lesson reaches 50, 80 and 95 % of the way to {reference}'s last."
            if reference
            else "What training took."
        )
        tables += _table("Speed of adaptation", caption, speed, summary)
    return f"<h2>Adaptation</h2>\n{tables}"


def regret_section(summary: Summary) -> str:
    """What was lost to the optimum, action by action; nothing without an optimum."""
    shown = regret_columns(summary)
    if not shown:
        return ""
    caption = (
        f"What the students of {summary.lesson_reference} gained more by then, summed over "
        "lessons, with the same students and the same luck."
    )
    return "<h2>Regret</h2>\n" + _table("Regret", caption, shown, summary)


def learning_section(summary: Summary) -> str:
    """What students learned."""
    tables = [
        _table(title, caption, columns, summary)
        for title, caption, columns in learning_parts(summary)
    ]
    return "\n".join(["<h2>What students learned</h2>", *tables]) if tables else ""


def equity_section(summary: Summary) -> str:
    """Who benefits, by each division of the students; nothing where all are alike."""
    tables = [
        _table(
            f"Who benefits, by {division.kind}",
            equity_caption(division),
            equity_columns(division),
            summary,
        )
        for division in summary.equity
    ]
    return "\n".join(["<h2>Who benefits</h2>", *tables]) if tables else ""


def _table(label: str, caption: str, shown: Sequence[Column], summary: Summary) -> str:
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in shown)
    rows = []
    for line in summary.tutors:
        first, *others = (escape(column.cell(line)) for column in shown)
        cells = f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others)
        rows.append(f'<tr class="{line.role}">{cells}</tr>')
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>'
        f'<caption class="caption" style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def figure(picture: Picture) -> str:
    """A picture with its words, in HTML."""
    data = base64.b64encode(to_svg(picture.draw()).encode()).decode()
    return (
        f"<figure><h3>{escape(picture.title)}</h3>"
        f'<img alt="{escape(picture.alt)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>\n"
    )


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{escape(value)}</td></tr>'
        for what, value in facts
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _definitions(summary: Summary) -> str:
    shown = columns(summary)
    if summary.n_lessons > 1:
        shown += [
            column._replace(title=f"{kind} {column.title}")
            for kind, part in (
                ("score", return_columns(summary)),
                ("adaptation:", speed_columns(summary)),
            )
            for column in part
            if column.meaning
        ]
    sections = [("regret", regret_columns(summary))]
    sections += [("learning:", columns) for _, _, columns in learning_parts(summary)]
    sections += [(f"by {d.kind}:", equity_columns(d)) for d in summary.equity]
    shown += [
        column._replace(title=f"{kind} {column.title}")
        for kind, part in sections
        for column in part
        if column.meaning
    ]
    terms = [(column.title, column.meaning) for column in shown]
    if any(line.role is Role.OPTIMUM for line in summary.tutors) or "bayes" in summary.exact:
        terms.append(
            (
                "Bayes-optimal",
                "The tutor with the highest expected score of all that see what a tutor may see "
                "and "
                "know how the population is made up, computed exactly by dynamic programming.",
            )
        )
    if summary.exact:
        terms.append(
            (
                "exact values",
                "; ".join(f"{name} {value:.6g}" for name, value in summary.exact.items())
                + ". Fractions use these, and take out the luck that a tutor shares with the "
                "references on the same students (control variates), so they can differ a little "
                "from the ratio of the scores in the table.",
            )
        )
    parts = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in terms)
    return f"<dl>{parts}</dl>"
