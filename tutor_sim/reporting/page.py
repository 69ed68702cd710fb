"""The page of a report: one HTML file that needs nothing else, not even a network.

Everything can be read without the script in it, and printed; the script sorts tables, shows the
details of a cell, and picks one tutor out of the pictures.
"""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Iterable, Sequence
from html import escape

from tutor_sim.evaluation import Role
from tutor_sim.report import STYLES_ARE_CONTESTED, page
from tutor_sim.reporting.analysis import Analysis, Family, Line
from tutor_sim.reporting.charts import Looks, lesson_charts, profile_chart
from tutor_sim.reporting.glossary import definitions
from tutor_sim.reporting.material import Group
from tutor_sim.reporting.words import caveats, findings, interval, reference_name
from tutor_sim.statistics import Estimate
from tutor_sim.tables import decimals, interval_text

BEST, AS_GOOD = "▲", "≈"
"""Marks of the tutor with the highest mean, and of those that cannot be told apart from it."""
_NOTHING = "–"
_STACKED, _DENSE = 6, 12
"""With more columns, intervals stand below their numbers; with more tutors, they are pointed at."""
_ROUNDING = 1e-9
_STYLE_LATENTS = ("style_strength", "responsiveness")


def render(analysis: Analysis, title: str, exported: Sequence[str]) -> str:
    """The page.

    Args:
        analysis: all numbers.
        title: of the report.
        exported: names of the files beside the page.
    """
    looks = Looks(analysis.tutors)
    found = "".join(f"<p>{escape(text)}</p>" for text in findings(analysis))
    minded = "".join(f"<p class='soft'>{escape(text)}</p>" for text in caveats(analysis))
    own = importlib.resources.files("tutor_sim.reporting")
    style = (own / "page.css").read_text(encoding="utf-8")
    script = (own / "page.js").read_text(encoding="utf-8")
    sections = [
        ("asked", "What was asked", _asked(analysis)),
        ("found", "What was found", f'<div class="finding">{found}</div>{minded}'),
        ("overview", "Overview", _overview(analysis, looks)),
        ("profiles", "Performance profiles", _profiles(analysis, looks)),
        ("pairs", "Who beats whom", _pairs(analysis)),
        ("ranks", "Ranks", _ranks(analysis)),
        ("adaptation", "Adaptation, lesson by lesson", _adaptation(analysis, looks)),
        ("cost", "Cost", _cost(analysis)),
        ("done", "How it was done", _done(analysis, exported)),
        ("definitions", "What the numbers mean", _definitions()),
        ("notes", "What was left out", _notes(analysis)),
    ]
    shown = [(key, head, body) for key, head, body in sections if body]
    contents = "".join(f'<li><a href="#{key}">{head}</a></li>' for key, head, _ in shown)
    body = "".join(
        f'<section id="{key}"><h2>{head}</h2>{content}</section>' for key, head, content in shown
    )
    title = escape(title)
    whole = (
        f'<header><h1>{title}</h1><nav aria-label="Contents"><ul>{contents}</ul></nav>'
        f"</header>\n<main>{body}</main>\n<script>{script}</script>"
    )
    return page(title, whole, style)


# -- sections --------------------------------------------------------------------------------------
def _asked(analysis: Analysis) -> str:
    said = [
        f"<p>{escape(source.name)}: {escape(source.description)}</p>"
        for source in analysis.material.sources
        if source.description
    ]
    rows = [
        (
            group.population,
            f"{group.task['n_lessons']} × {group.task['n_steps']}",
            _score_name(group),
            f"{len(group.students):,}",
            _seeds(group),
        )
        for group in analysis.material.groups
    ]
    heads = ("population", "lessons × actions", "score", "test students", "training seeds")
    caption = (
        "In each population all tutors taught the same test students, whom nobody was trained on, "
        "with the same luck."
    )
    return "".join(said) + _table("populations", caption, heads, rows)


def _score_name(group: Group) -> str:
    reward = group.task["reward"]
    scale = float(reward.get("scale", 1))
    return str(reward["score"]).replace("_", " ") + (f", × {scale:g}" if scale != 1 else "")


def _seeds(group: Group) -> str:
    found = {len(t.seeds) for t in group.tutors.values() if t.role is Role.LEARNED}
    return " or ".join(map(str, sorted(found))) or _NOTHING


def _overview(analysis: Analysis, looks: Looks) -> str:
    populations = list(analysis.lines)
    over_all = len(populations) > 1 and bool(analysis.aggregates)
    heads = ["tutor", *(["mean", "IQM"] if over_all else []), *populations]
    rows = []
    for tutor, role in analysis.tutors.items():
        cells = [_tutor_cell(tutor, role, looks)]
        cells += _aggregate_cells(analysis, tutor) if over_all else []
        for name in populations:
            line = analysis.lines[name].get(tutor)
            cells.append(
                _heat_cell(analysis, name, tutor, line) if line else f"<td>{_NOTHING}</td>"
            )
        rows.append(f'<tr class="{role}">{"".join(cells)}</tr>')
    caption = (
        f"Mean score with its 95 % interval. Colour: blue from the random tutor (pale) to "
        f"{reference_name(analysis)} (dark), orange below random. {BEST} highest mean of the "
        f"tutors that read nothing hidden; {AS_GOOD} cannot be told apart from it (paired t-tests, "
        "Holm's correction over all pairs of the column): intervals may overlap and the tutors "
        "still be told apart, as they taught the same students. † reads what is hidden."
    )
    if over_all:
        caption += (
            " Mean and IQM: normalised score over populations, 0 the random tutor, 1 the reference."
        )
    classes = "heat stacked" if len(heads) > _STACKED else "heat"
    table = _html_table("overview", caption, heads, rows, classes=classes)
    return table + '<p class="detail soft" aria-live="polite" id="detail">&nbsp;</p>'


def _tutor_cell(tutor: str, role: Role, looks: Looks) -> str:
    dagger = " †" if role is Role.ORACLE else ""
    number = looks.number(tutor)
    return (
        f'<th scope="row" data-pick="{number}" tabindex="0">{looks.key(tutor)} '
        f"{escape(tutor)}{dagger}</th>"
    )


def _heat_cell(analysis: Analysis, population: str, tutor: str, line: Line) -> str:
    lines = analysis.lines[population]
    places = decimals([one.score for one in lines.values()])
    mark = _mark(analysis, population, tutor)
    position = line.position.value
    if not line.position.known:
        scores = [one.score.value for one in lines.values()]
        span = max(scores) - min(scores)
        position = (line.score.value - min(scores)) / span if span else 0.0
    detail = _detail(analysis, population, tutor, line, places)
    return (
        f'<td class="{_shade(position)}" data-value="{line.score.value:.6g}" tabindex="0" '
        f'data-detail="{escape(detail)}">{_cell_text(line.score, places, mark)}</td>'
    )


def _detail(analysis: Analysis, population: str, tutor: str, line: Line, places: int) -> str:
    n_seeds = len(line.taught.seeds)
    parts = [f"{tutor} with {population}: score {interval(line.score, places=places)}"]
    if line.position.known:
        parts.append(f"normalised {interval(line.position)}")
    family = analysis.family(population)
    if family and tutor in family.tutors[1:]:
        pair = family.pair(family.tutors[0], tutor)
        behind = interval(pair.difference, places=places)
        parts.append(f"behind {family.tutors[0]} by {behind}, corrected p = {_p(pair.p_holm)}")
    if line.change.known:
        parts.append(f"last less first lesson {interval(line.change, '+', places)}")
    return "; ".join([*parts, f"{n_seeds} seed{'s' * (n_seeds > 1)}"])


def _aggregate_cells(analysis: Analysis, tutor: str) -> list[str]:
    found = analysis.aggregates.get(tutor)
    if found is None:
        return [f"<td>{_NOTHING}</td>"] * 2
    cells = []
    for estimate, mark in ((found.mean, _mark(analysis, "", tutor)), (found.iqm, "")):
        cells.append(
            f'<td class="over {_shade(estimate.value)}" data-value="{estimate.value:.6g}">'
            f"{_cell_text(estimate, analysis.aggregate_decimals, mark)}</td>"
        )
    return cells


def _cell_text(estimate: Estimate, places: int, mark: str) -> str:
    value, low, high = (f"{part:z.{places}f}" for part in estimate[:3])
    return f"<b>{value}</b>{mark} <small>[{low}, {high}]</small>"


def _mark(analysis: Analysis, population: str, tutor: str) -> str:
    family = analysis.family(population)
    if family is None or not family.tutors:
        return ""
    if tutor == family.tutors[0]:
        return f' <span title="highest mean">{BEST}</span>'
    if tutor in family.as_good_as_best():
        return f' <span title="not told apart from the highest">{AS_GOOD}</span>'
    return ""


def _shade(position: float) -> str:
    """Class of a cell's colour: ``h0`` at the random tutor to ``h8`` at the reference."""
    if position < -_ROUNDING:
        return f"n{min(3, math.ceil(-position * 4))}"
    return f"h{min(8, math.floor(position * 8 + 0.5))}"


def _profiles(analysis: Analysis, looks: Looks) -> str:
    if not analysis.profiles:
        return ""
    caption = (
        "Share of the students (mean over populations and seeds) whose own normalised score is at "
        f"least τ, with pointwise 95 % bands{_banded(looks)}. A line above another is better at "
        "that level; lines that cross trade students who do well against students who do badly. "
        "The score of one student is drawn with luck, so it can lie below 0 and above 1, for the "
        "reference, too."
    )
    return _figure(profile_chart(analysis, looks), caption, analysis.profiles, analysis, looks)


def _banded(looks: Looks) -> str:
    return " (of learned tutors alone, lest they hide each other)" if looks.is_crowded else ""


def _pairs(analysis: Analysis) -> str:
    if not analysis.families:
        return ""
    first, *others = analysis.families
    parts = [_improvement_matrix(first), _differences(first)]
    for family in others:
        parts.append(
            f"<details><summary>{escape(_where(family))}</summary>"
            f"{_improvement_matrix(family)}{_differences(family)}</details>"
        )
    return "".join(parts)


def _where(family: Family) -> str:
    return f"With {family.population}" if family.population else "Over all populations"


def _improvement_matrix(family: Family) -> str:
    rows = []
    for x in family.tutors:
        cells = [f'<th scope="row">{escape(x)}</th>']
        for y in family.tutors:
            if x == y:
                cells.append('<td class="same">·</td>')
                continue
            found, pair = family.improvement(x, y), family.pair(x, y)
            better = pair.is_significant and pair.x == x
            worse = pair.is_significant and pair.x == y
            sign = BEST if better else "▽" if worse else AS_GOOD
            kind = "wins" if better else "loses" if worse else "even"
            detail = (
                f"P({x} > {y}) = {interval(found)}; mean difference corrected p = {_p(pair.p_holm)}"
            )
            cells.append(
                f'<td class="{kind}" tabindex="0" data-detail="{escape(detail)}">'
                f"{_cell_text(found, 2, f' {sign}')}</td>"
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    caption = (
        f"{_where(family)}: probability that a student scores more with the tutor of the row than "
        "with that of the column, with the same luck (ties count half), and its 95 % interval. "
        f"The signs are about mean scores: {BEST} significantly higher, ▽ lower, {AS_GOOD} not "
        f"told apart, after Holm's correction over the {len(family.pairs)} pairs."
    )
    dense = len(family.tutors) > _DENSE
    if dense:
        caption += " Point at a cell for its interval."
    heads = ["", *family.tutors]
    classes = "dense" if dense else ""
    return _html_table("improvement", caption, heads, rows, classes=classes, sortable=False)


def _differences(family: Family) -> str:
    best = family.tutors[0]
    places = decimals([pair.difference for pair in family.pairs])
    rows = [
        (
            pair.y,
            interval_text(pair.difference, places, "+"),
            interval_text(pair.simultaneous, places, "+"),
            _p(pair.p),
            _p(pair.p_holm),
            "yes" if pair.is_significant else "no",
        )
        for pair in family.pairs
        if pair.x == best
    ]
    heads = (
        f"{best} less",
        "difference [95 %]",
        "simultaneous [95 %]",
        "p",
        "p (Holm)",
        "told apart",
    )
    unit = "normalised score" if not family.population else "score"
    caption = f"{_where(family)}: mean {unit} of {best} less that of each other tutor."
    return _table("differences", caption, heads, rows)


def _ranks(analysis: Analysis) -> str:
    if len(analysis.ranks) < 2:
        return ""
    rows = [
        (tutor, interval_text(rank.expected, 2), _share(rank.p_best))
        for tutor, rank in sorted(analysis.ranks.items(), key=lambda r: r[1].expected.value)
    ]
    caption = (
        "Rank by mean score (1 is the best of those that read nothing hidden), averaged over "
        "populations, if students and seeds were drawn again; and how often the tutor is first."
    )
    return _table("ranks", caption, ("tutor", "expected rank [95 %]", "first"), rows)


def _adaptation(analysis: Analysis, looks: Looks) -> str:
    several = {
        name: lines
        for name, lines in analysis.lines.items()
        if next(iter(lines.values())).taught.lessons.shape[-1] > 1
    }
    if not several:
        return ""
    caption = (
        "Mean score of each lesson with the same student, each on a new topic, with 95 % bands"
        f"{_banded(looks)}. A tutor that gets to know its student rises; one that only knows the "
        "population stays level."
    )
    taught = [tutor for lines in several.values() for tutor in lines]
    chart = _figure(lesson_charts(analysis, looks), caption, taught, analysis, looks)
    n_most = max(next(iter(lines.values())).taught.lessons.shape[-1] for lines in several.values())
    rows = []
    for name, lines in several.items():
        places = decimals([line.score for line in lines.values()])
        for tutor in (t for t in analysis.tutors if t in lines):
            line = lines[tutor]
            values = [f"{value:.{places}f}" for value in line.lessons[0]]
            values += [_NOTHING] * (n_most - len(values))
            rows.append((name, tutor, *values, interval_text(line.change, places, "+")))
    heads = (
        "population",
        "tutor",
        *(f"lesson {k + 1}" for k in range(n_most)),
        "last − first [95 %]",
    )
    table = _table("lessons", "The same in numbers.", heads, rows)
    return f"{chart}<details><summary>Numbers</summary>{table}</details>"


def _cost(analysis: Analysis) -> str:
    rows = []
    for name, lines in analysis.lines.items():
        for tutor in (t for t in analysis.tutors if t in lines and lines[t].taught.cost):
            cost = lines[tutor].taught.cost
            rows.append(
                (
                    name,
                    tutor,
                    _count(cost.get("teaching_steps")),
                    _count(cost.get("cpu_s")),
                    f"{cost['us_per_action']:.3g}",
                )
            )
    if not rows:
        return ""
    heads = ("population", "tutor", "trained on (actions)", "CPU s of training", "µs/action")
    caption = (
        "Of one training (mean over seeds), and the median time for one action of one student, in "
        "batches. Times depend on the machine and on what else it did."
    )
    return _table("cost", caption, heads, rows)


def _done(analysis: Analysis, exported: Sequence[str]) -> str:
    rows = []
    for source in analysis.material.sources:
        found = ", ".join(f"{name} {version}" for name, version in source.versions.items())
        rows.append((str(source.folder), source.kind, source.seeds, found))
    heads = ("folder", "kind", "seeds", "versions")
    table = _table("sources", "Where the numbers come from.", heads, rows, classes="wrap")
    again = [
        f"<pre><code>{escape(source.command)}</code></pre>" for source in analysis.material.sources
    ]
    resolved = [
        f'<details class="configuration"><summary>{escape(source.name)}: everything that was set'
        "</summary>"
        f"<pre><code>{escape(source.configuration)}</code></pre></details>"
        for source in analysis.material.sources
    ]
    files = ", ".join(f"<code>{escape(name)}</code>" for name in exported)
    return (
        f"{table}<p>Make it again:</p>{''.join(again)}{''.join(resolved)}"
        f"<p>Every number of this page lies beside it: {files}.</p>"
    )


def _definitions() -> str:
    parts = "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in definitions()
    )
    return f"<dl>{parts}</dl>"


def _notes(analysis: Analysis) -> str:
    notes = list(analysis.notes)
    if len(analysis.families) > 0 and any(r is Role.ORACLE for r in analysis.tutors.values()):
        notes.append("Oracles are not tested and not ranked: they read what is hidden from tutors.")
    texts = [part.definition or "" for s in analysis.material.sources for part in s.parts]
    if any(latent in text for latent in _STYLE_LATENTS for text in texts):
        notes.append(STYLES_ARE_CONTESTED)
    return "".join(f"<p>{escape(note)}</p>" for note in notes)


# -- pieces ----------------------------------------------------------------------------------------
def _table(
    name: str,
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    classes: str = "",
) -> str:
    """A table of texts, the first of each row its head."""
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return _html_table(name, caption, heads, lines, classes=classes)


def _html_table(
    name: str,
    caption: str,
    heads: Sequence[str],
    rows: Sequence[str],
    *,
    classes: str = "",
    sortable: bool = True,
) -> str:
    kind = " ".join(filter(None, ["sortable" if sortable and len(rows) > 1 else "", classes]))
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    return (
        f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">'
        f'<table class="{kind}" data-name="{escape(name)}"><caption class="caption">'
        f"{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _figure(svg: str, caption: str, tutors: Iterable[str], analysis: Analysis, looks: Looks) -> str:
    wanted = set(tutors)
    keys = "".join(
        f'<li data-pick="{looks.number(t)}" data-tutor="{looks.number(t)}" tabindex="0">'
        f"{looks.key(t)} {escape(t)}{' †' if role is Role.ORACLE else ''}</li>"
        for t, role in analysis.tutors.items()
        if t in wanted
    )
    return (
        f'<figure><ul class="legend" aria-label="Tutors">{keys}</ul>{svg}'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _share(value: float) -> str:
    """Of resamples, of which there are too few for more digits."""
    if value < 0.005 or value > 0.995:
        return "< 1 %" if value < 0.5 else "> 99 %"
    return f"{100 * value:.0f} %"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _count(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
