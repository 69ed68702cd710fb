"""The pictures of a report's page: SVG inside the page, whose lines know their tutor."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from tutor_sim.drawing import BLACK, STYLE, WIDTH_IN, LineStyle, line_styles, to_svg
from tutor_sim.evaluation import Role
from tutor_sim.reporting.analysis import Analysis, Curve

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_CROWDED = 10
"""With more tutors, only learned ones have bands."""
_COLUMNS = 3
"""Panels beside each other."""
_PANEL_HEIGHT_IN = 2.5
_MARKED_TAUS = 9
"""Every so many points of a profile have the tutor's marker."""
_TEXT: Any = {"svg.fonttype": "none"}
"""Letters stay letters: they can be found, read out and copied."""
_DASHES = {"-": "", "--": "5,2.4", "-.": "6,2,1.5,2", ":": "1.5,2"}


class Looks:
    """How each tutor is drawn, in all pictures of a report alike."""

    def __init__(self, tutors: Mapping[str, Role]) -> None:
        self.names = list(tutors)
        self.styles = line_styles(tutors)
        fair = sorted(t for t, role in tutors.items() if role is not Role.ORACLE)
        self.markers = {t: _MARKERS[k % len(_MARKERS)] for k, t in enumerate(fair)}
        self.is_crowded = len(tutors) > _CROWDED
        learned = {t for t, role in tutors.items() if role is Role.LEARNED}
        self.banded = learned if self.is_crowded else set(tutors)

    def number(self, tutor: str) -> int:
        """What the page's script knows the tutor by."""
        return self.names.index(tutor)

    def key(self, tutor: str) -> str:
        """A short piece of the tutor's line, as SVG."""
        style = self.styles[tutor]
        dashes = _DASHES[style.linestyle]
        dots = _marker_svg(self.markers[tutor], style) if tutor in self.markers else ""
        return (
            '<svg class="key" viewBox="0 0 34 12" aria-hidden="true">'
            f'<line x1="1" x2="33" y1="6" y2="6" stroke="{style.color}" '
            f'stroke-width="{style.linewidth}" stroke-dasharray="{dashes}"/>{dots}</svg>'
        )


def _marker_svg(marker: str, style: LineStyle) -> str:
    """A marker in the middle of a key."""
    n_corners: int
    turn: float
    n_corners, turn = {"s": (4, 45), "^": (3, 0), "D": (4, 0), "v": (3, 180)}.get(marker, (24, 0))
    if marker in "PX*":
        n_corners, turn = {"P": (8, 22.5), "X": (6, 0), "*": (5, 0)}[marker]
    angles = [math.radians(turn + 360 * k / n_corners) for k in range(n_corners)]
    points = " ".join(f"{17 + 4 * math.sin(a):.1f},{6 - 4 * math.cos(a):.1f}" for a in angles)
    return f'<polygon points="{points}" fill="{style.color}"/>'


def profile_chart(analysis: Analysis, looks: Looks) -> str:
    """Share of the students that reach each normalised score."""
    with mpl.rc_context(STYLE | _TEXT):
        figure = Figure(figsize=(WIDTH_IN, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for tutor, curve in analysis.profiles.items():
            _draw(axes, analysis.taus, curve, tutor, looks, every=_MARKED_TAUS)
        for end in (0, 1):
            axes.axvline(end, color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_xlim(analysis.taus[0], analysis.taus[-1])
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("normalised score τ (0: mean of the random tutor, 1: of the reference)")
        axes.set_ylabel("students who score at least τ")
    ends = "; ".join(
        f"{tutor} {np.interp(1.0, analysis.taus, curve[0]):.0%}"
        for tutor, curve in analysis.profiles.items()
    )
    return _inline(figure, "profile", looks, f"Performance profiles. Share that reaches 1: {ends}.")


def lesson_charts(analysis: Analysis, looks: Looks) -> str:
    """Score of each lesson, a panel for each population."""
    shown = {
        name: lines
        for name, lines in analysis.lines.items()
        if next(iter(lines.values())).taught.lessons.shape[-1] > 1
    }
    n_columns = min(_COLUMNS, len(shown))
    n_rows = -(-len(shown) // n_columns)
    with mpl.rc_context(STYLE | _TEXT):
        size = (WIDTH_IN, 0.3 + _PANEL_HEIGHT_IN * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes, (name, lines) in zip(panels, shown.items(), strict=False):
            for tutor in (t for t in looks.names if t in lines):
                curve = lines[tutor].lessons
                _draw(axes, np.arange(1, len(curve[0]) + 1), curve, tutor, looks, every=1)
            axes.set_title(name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("lesson with the same student", fontsize=STYLE["font.size"])
        figure.supylabel("mean score", fontsize=STYLE["font.size"])
    return _inline(
        figure, "lessons", looks, "Mean score by lesson, a panel for each population; the numbers "
        "are in the table below."
    )  # fmt: skip


def _draw(axes: Axes, x: ArrayLike, curve: Curve, tutor: str, looks: Looks, *, every: int) -> None:
    value, low, high = curve
    style = looks.styles[tutor]
    gid = f"tutor-{looks.number(tutor)}"
    if tutor in looks.banded:
        band = axes.fill_between(x, low, high, color=style.color, alpha=0.13, linewidth=0)
        band.set_gid(f"{gid}-band")
    first = looks.number(tutor) % every
    (line,) = axes.plot(
        np.asarray(x),
        value,
        marker=looks.markers.get(tutor, ""),
        markersize=4.5,
        markevery=(first, every),
        **style._asdict(),
    )
    line.set_gid(f"{gid}-line")


def _inline(figure: Figure, name: str, looks: Looks, alt: str) -> str:
    """The figure as an SVG element: ids of its own, tutors as ``data-tutor``, a text for ears."""
    with mpl.rc_context(_TEXT):
        svg = to_svg(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\1{name}-", svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)

    def tutor(match: re.Match[str]) -> str:
        k = int(match[1])
        return f'<g data-tutor="{k}"><title>{escape(looks.names[k])}</title>'

    svg = re.sub(rf'<g id="{name}-tutor-(\d+)-\w+">', tutor, svg)
    return svg.replace("<svg", f'<svg class="chart" role="img" aria-label="{escape(alt)}"', 1)
