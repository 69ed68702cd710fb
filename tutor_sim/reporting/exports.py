"""Every number of a report as tables: Parquet and CSV, and a LaTeX table.

====================  ============================================================================
``scores``            population, tutor: score, position between random and reference, and others
``lessons``           population, tutor, lesson: score
``over_populations``  tutor: normalised mean, interquartile mean, rank
``pairs``             population (empty: over all), tutors x and y: difference, tests, probability
                      of improvement
``profiles``          tutor, tau: share of the students
``costs``             population, tutor: what training and an action take
``measures``          folder, population, tutor, measure: every number of the folder's
                      ``summary.json`` about a tutor, by its name there: ``measures.retention.7``
``equity``            folder, population, kind, tutor, group: outcome of a group of students, or a
                      comparison of groups (``gap``, ``versus_pre_test``, ``versus_random``)
====================  ============================================================================

The last two are of each folder by itself; the others bring the folders' tutors and seeds together.
``_low`` and ``_high`` are the ends of 95 % intervals; what is undefined is null.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from tutor_sim.evaluation import Role
from tutor_sim.reporting.analysis import Analysis
from tutor_sim.statistics import Estimate
from tutor_sim.tables import decimals

_COSTS = ("teaching_steps", "elapsed_s", "cpu_s", "us_per_action")
_COMPARED_GROUPS = ("gap", "versus_pre_test", "versus_random")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def tables(analysis: Analysis) -> dict[str, pa.Table]:
    """All numbers; the module says which."""
    rows: dict[str, list[dict[str, Any]]] = {
        "scores": _scores(analysis),
        "lessons": _lessons(analysis),
        "over_populations": _over_populations(analysis),
        "pairs": _pairs(analysis),
        "profiles": _profiles(analysis),
        "costs": _costs(analysis),
        "measures": _measures(analysis),
        "equity": _equity(analysis),
    }
    return {name: pa.Table.from_pylist(found) for name, found in rows.items() if found}


def files(analysis: Analysis) -> dict[str, bytes]:
    """Name of a file -> its content: each table as Parquet and as CSV."""
    found = {}
    for name, table in tables(analysis).items():
        as_parquet, as_csv = io.BytesIO(), io.BytesIO()
        parquet.write_table(table, as_parquet, compression="zstd")
        csv.write_csv(table, as_csv)
        found[f"{name}.parquet"], found[f"{name}.csv"] = as_parquet.getvalue(), as_csv.getvalue()
    return found


# -- rows ------------------------------------------------------------------------------------------
def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _ends(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {
        name: _number(estimate.value),
        f"{name}_low": _number(estimate.low),
        f"{name}_high": _number(estimate.high),
    }


def _scores(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "population": population,
            "tutor": tutor,
            "role": str(line.taught.role),
            "n_seeds": len(line.taught.seeds),
            "n_students": line.taught.scores.shape[1],
            **_ends("score", line.score),
            **_ends("position", line.position),
            **_ends("change", line.change),
        }
        for population, lines in analysis.lines.items()
        for tutor, line in lines.items()
    ]


def _lessons(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "population": population,
            "tutor": tutor,
            "lesson": k,
            **_ends("score", Estimate(value, low, high)),
        }
        for population, lines in analysis.lines.items()
        for tutor, line in lines.items()
        for k, (value, low, high) in enumerate(zip(*line.lessons, strict=True), start=1)
    ]


def _over_populations(analysis: Analysis) -> list[dict[str, Any]]:
    rows = []
    for tutor, role in analysis.tutors.items():
        found, rank = analysis.aggregates.get(tutor), analysis.ranks.get(tutor)
        if found or rank:
            nothing = Estimate(math.nan, math.nan, math.nan)
            rows.append(
                {
                    "tutor": tutor,
                    "role": str(role),
                    **_ends("mean", found.mean if found else nothing),
                    **_ends("iqm", found.iqm if found else nothing),
                    **_ends("rank", rank.expected if rank else nothing),
                    "p_best": rank.p_best if rank else None,
                }
            )
    return rows


def _pairs(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "population": family.population,
            "x": pair.x,
            "y": pair.y,
            **_ends("difference", pair.difference),
            "simultaneous_low": pair.simultaneous.low,
            "simultaneous_high": pair.simultaneous.high,
            "p": pair.p,
            "p_holm": pair.p_holm,
            "n_pairs": len(family.pairs),
            **_ends("improvement", pair.improvement),
        }
        for family in analysis.families
        for pair in family.pairs
    ]


def _profiles(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {"tutor": tutor, "tau": float(tau), **_ends("share", Estimate(*point))}
        for tutor, curve in analysis.profiles.items()
        for tau, *point in zip(analysis.taus, *curve, strict=True)
    ]


def _costs(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {"population": population, "tutor": tutor, "n_seeds": len(line.taught.seeds)}
        | {name: line.taught.cost.get(name) for name in _COSTS}
        for population, lines in analysis.lines.items()
        for tutor, line in lines.items()
        if line.taught.cost
    ]


def _measures(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "folder": source.label,
            "population": part.population,
            "tutor": line["tutor"],
            "role": line["role"],
            "measure": measure,
            **number,
        }
        for source in analysis.material.sources
        for part in source.parts
        for line in part.summary.get("tutors", ())
        for measure, number in _numbers(line)
    ]


def _equity(analysis: Analysis) -> list[dict[str, Any]]:
    rows = []
    for source in analysis.material.sources:
        for part in source.parts:
            for view in part.summary.get("equity", ()):
                sizes = dict(zip(view["groups"], view["n_students"], strict=True))
                for line in view["tutors"]:
                    of_groups = dict(zip(view["groups"], line["outcomes"], strict=True))
                    compared = {name: line[name] for name in _COMPARED_GROUPS}
                    rows += [
                        {
                            "folder": source.label,
                            "population": part.population,
                            "kind": view["kind"],
                            "tutor": line["tutor"],
                            "group": group,
                            "n_students": sizes.get(group),
                            **_written(number),
                        }
                        for group, number in (of_groups | compared).items()
                    ]
    return rows


def _numbers(found: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Dotted name and value of every number in a part of a summary; lists count from 1."""
    if isinstance(found, Mapping) and "value" in found:
        yield ".".join(path), _written(found)
    elif isinstance(found, Mapping):
        for name, inner in found.items():
            yield from _numbers(inner, (*path, name))
    elif isinstance(found, list):
        for k, inner in enumerate(found, start=1):
            yield from _numbers(inner, (*path, str(k)))
    elif isinstance(found, int | float):
        yield ".".join(path), _written({"value": found})


def _written(number: Mapping[str, Any]) -> dict[str, Any]:
    value, low, high = (number.get(key) for key in ("value", "low", "high"))
    return {
        "value": None if value is None else float(value),
        "low": low,
        "high": high,
        "reason": number.get("reason"),
    }


# -- LaTeX -----------------------------------------------------------------------------------------
def latex(analysis: Analysis) -> str:
    r"""A ``booktabs`` table, tutors by populations; needs ``\usepackage{booktabs}``.

    Bold is who is significantly better than every other tutor that is no oracle, after Holm's
    correction; nobody is bold where the best cannot be told apart from another.
    """
    populations = list(analysis.lines)
    over_all = bool(analysis.aggregates) and len(populations) > 1
    heads = [*populations, *(["mean", "IQM"] if over_all else [])]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{l" + "r" * len(heads) + "}",
        r"\toprule",
        " & ".join(["tutor", *map(escape_latex, heads)]) + r" \\",
        r"\midrule",
    ]
    best = {name: sole_best(analysis, name) for name in populations}
    for tutor, role in analysis.tutors.items():
        cells = [escape_latex(tutor) + (r"$^\dagger$" if role is Role.ORACLE else "")]
        for population in populations:
            own = analysis.lines[population]
            places = decimals([line.score for line in own.values()])
            cells.append(
                _latex_cell(own[tutor].score, places, bold=best[population] == tutor)
                if tutor in own
                else "--"
            )
        if over_all:
            found = analysis.aggregates.get(tutor)
            places = analysis.aggregate_decimals
            is_best = sole_best(analysis, "") == tutor
            cells += (
                [
                    _latex_cell(found.mean, places, bold=is_best),
                    _latex_cell(found.iqm, places, bold=False),
                ]
                if found
                else ["--", "--"]
            )
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", *_latex_comments(analysis)]
    return "\n".join(lines) + "\n"


def sole_best(analysis: Analysis, population: str) -> str | None:
    """Who is significantly better than everybody else in a population (empty: over all)."""
    family = analysis.family(population)
    if family is None or family.as_good_as_best():
        return None
    return family.tutors[0]


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _latex_cell(estimate: Estimate, places: int, *, bold: bool) -> str:
    parts = (f"{part:z.{places}f}" for part in estimate[:3])
    value, low, high = (part.replace("-", "$-$") for part in parts)
    if math.isnan(estimate.low):
        low = high = "--"
    text = rf"\textbf{{{value}}}" if bold else value
    return rf"{text} {{\scriptsize [{low}, {high}]}}"


def _latex_comments(analysis: Analysis) -> Sequence[str]:
    comments = [
        "% Mean scores with 95 % intervals. Bold: significantly better than every other tutor that",
        "% is no oracle (paired t-tests, Holm's correction over all pairs of the column).",
    ]
    if any(role is Role.ORACLE for role in analysis.tutors.values()):
        comments.append("% A dagger marks an oracle, which reads what is hidden from tutors.")
    return comments
