"""How null controls are said: a line, a table for the report, plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rich.console import Console
from rich.text import Text

from tutor_sim.controls.run import MAX_STANDARD_ERRORS, MEANINGS, N_STUDENTS, Control
from tutor_sim.statistics import Estimate

_NAMED = 8
"""Tutors that the line names at most."""


def failures(controls: Sequence[Control]) -> list[str]:
    """One loud sentence for each control that failed."""
    return [
        f"NULL CONTROL FAILED: {control.tutor}, {control.name}: {control.difference} where 0 must "
        f"come out ({control.n_errors:.1f} standard errors). Do not trust this tutor's score: it "
        "uses what a tutor cannot know, or the evaluation leaks."
        for control in controls
        if not control.passed
    ]


def control_line(controls: Sequence[Control]) -> str:
    """``Null controls: passed (3 of 3; rl2, 300 students).``, and what could not be tried."""
    tried = [control for control in controls if control.defined]
    n_passed = sum(control.passed for control in tried)
    names = list(dict.fromkeys(control.tutor for control in controls))
    tutors = ", ".join(names[:_NAMED])
    if len(names) > _NAMED:
        tutors += f" and {len(names) - _NAMED} more"
    verdict = "passed" if n_passed == len(tried) else "FAILED"
    reasons = {
        control.name: control.difference.reason for control in controls if not control.defined
    }
    undefined = "".join(f" Not tried: {name}: {reason}." for name, reason in reasons.items())
    return (
        f"Null controls: {verdict} ({n_passed} of {len(tried)}; {tutors}; {N_STUDENTS} students "
        f"each).{undefined}"
    )


def print_controls(console: Console, controls: Sequence[Control]) -> None:
    """The line, dim where all is well, and every failure in red."""
    if not controls:
        return
    failed = failures(controls)
    console.print(Text(control_line(controls), style="bold red" if failed else "dim"))
    for sentence in failed:
        console.print(Text(sentence, style="bold red"))


def controls_to_json(controls: Sequence[Control]) -> dict[str, Any]:
    """Plain data for ``summary.json``; ``passed`` of a control that makes no sense is null."""
    return {
        "passed": all(control.passed for control in controls),
        "n_students": N_STUDENTS,
        "max_standard_errors": MAX_STANDARD_ERRORS,
        "controls": [
            {
                "name": control.name,
                "tutor": control.tutor,
                "passed": control.passed if control.defined else None,
                "standard_error": control.standard_error if control.defined else None,
                "difference": _numbers(control.difference),
            }
            for control in controls
        ],
    }


def controls_from_json(plain: Mapping[str, Any], tutor: str) -> list[Control]:
    """What :func:`controls_to_json` wrote of one tutor, who is called ``tutor`` now.

    Raises:
        ValueError: something else was written.
    """
    try:
        return [
            Control(one["name"], tutor, _estimate(one["difference"]), _float(one["standard_error"]))
            for one in plain["controls"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"damaged null controls: {error!r}") from error


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    value, low, high = (_float(plain[key]) for key in ("value", "low", "high"))
    return Estimate(value, low, high, plain.get("reason", ""))


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _numbers(estimate: Estimate) -> dict[str, Any]:
    if not estimate.known:
        return {"value": None, "low": None, "high": None, "reason": estimate.reason}
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def controls_to_html(controls: Sequence[Control]) -> str:
    """A section of the report; empty where nothing was controlled."""
    if not controls:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(control.name)}</th><td>{escape(control.tutor)}</td>'
        f"<td>{escape(_difference(control))}</td><td>{_verdict(control)}</td></tr>"
        for control in controls
    )
    meanings = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in MEANINGS.items()
    )
    return (
        f"<h2>Null controls</h2><p>{escape(control_line(controls))} In each of them no tutor that "
        "plays fair can show a difference. One fails where it is more than "
        f"{MAX_STANDARD_ERRORS:g} standard errors from 0.</p>"
        '<div class="scroll" role="region" aria-label="Null controls" tabindex="0"><table><thead>'
        '<tr><th scope="col">control</th><th scope="col">tutor</th>'
        '<th scope="col">difference [95 %]</th><th scope="col">result</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div><dl>{meanings}</dl>"
    )


def failures_to_html(controls: Sequence[Control]) -> str:
    """For the top of the report; empty where nothing failed."""
    return "".join(f"<p><strong>{escape(text)}</strong></p>" for text in failures(controls))


def _difference(control: Control) -> str:
    return str(control.difference) if control.defined else control.difference.reason


def _verdict(control: Control) -> str:
    if not control.defined:
        return "makes no sense here"
    return "passed" if control.passed else "<strong>FAILED</strong>"
