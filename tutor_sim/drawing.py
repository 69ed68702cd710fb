"""How pictures look: colours, lines, and names at the ends of lines.

Colours are those of Okabe & Ito (2008, "Color universal design"), which people with any kind of
colour vision tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from tutor_sim.evaluation import Role

BLUE, VERMILLION, ORANGE, GREEN, PURPLE, SKY = (
    "#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"
)  # fmt: skip
BLACK, GREY = "#000000", "#707070"
_LEARNED_COLOURS = (BLUE, VERMILLION, SKY)
_CROWD_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Of more learned tutors than three; the others are muted then."""
_MUTED = ("#8A8A8A", "#A8A8A8", "#6E6E6E", "#B8AFA0", "#94A0AA")
_BASELINE_COLOURS = (ORANGE, GREEN, PURPLE, VERMILLION, SKY)
_TEXT_COLOURS = {
    VERMILLION: "#AB4A00",
    ORANGE: "#8A5F00",
    GREEN: "#00704F",
    PURPLE: "#A1457B",
    SKY: "#2A76A4",
    **dict.fromkeys(_MUTED, "#666666"),
}
"""Darker shades for letters, at least 4.5 : 1 on white."""
_DASHES = ("-", "--", "-.", ":")
FONT_PT = 9.0
WIDTH_IN = 8.0
STYLE: Any = {
    "font.size": FONT_PT,
    "axes.titlesize": FONT_PT + 1,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.8,
    "svg.hashsalt": "tutor-sim",
}


class LineStyle(NamedTuple):
    """How a tutor is drawn, in every picture alike."""

    color: str
    linestyle: str
    linewidth: float
    zorder: float


class LineEnd(NamedTuple):
    """Where a line stops, and what is written there."""

    y: float
    text: str
    color: str


def line_styles(tutors: Mapping[str, Role]) -> dict[str, LineStyle]:
    """A style for each tutor: learned ones bold, the references black and dashed, random grey.

    With more than three learned tutors the other ones fade to greys.

    The styles go by the order of the names, so they are the same whatever order tutors come in.
    """
    learned = sorted(name for name, role in tutors.items() if role is Role.LEARNED)
    crowded = len(learned) > len(_LEARNED_COLOURS)
    colours = _CROWD_COLOURS if crowded else _LEARNED_COLOURS
    styles: dict[str, LineStyle] = {}
    n_baselines = 0
    for name, role in sorted(tutors.items()):
        if role is Role.LEARNED:
            n, width = learned.index(name), 1.6 if crowded else 2.4
            dash = _DASHES[n // len(colours) % len(_DASHES)]
            styles[name] = LineStyle(colours[n % len(colours)], dash, width, 4)
        elif role in (Role.OPTIMUM, Role.ORACLE):
            styles[name] = LineStyle(BLACK, "--" if role is Role.OPTIMUM else ":", 1.4, 5)
        elif name == "random":
            styles[name] = LineStyle(GREY, "-", 1.4, 2)
        else:
            n, n_baselines = n_baselines, n_baselines + 1
            if crowded:
                styles[name] = LineStyle(_MUTED[n % len(_MUTED)], _DASHES[(1 + n) % 4], 1.1, 2)
                continue
            dash = _DASHES[n // len(_BASELINE_COLOURS) % len(_DASHES)]
            styles[name] = LineStyle(_BASELINE_COLOURS[n % len(_BASELINE_COLOURS)], dash, 1.4, 2)
    return styles


def display_name(tutor: str, role: Role) -> str:
    """The tutor's name, with a dagger if it reads what is hidden."""
    return f"{tutor} †" if role is Role.ORACLE else tutor


# -- output ---------------------------------------------------------------------------------------
def to_svg(figure: Figure) -> str:
    """The figure as an SVG document; the same figure gives the same text."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=150)
    return buffer.getvalue()


def to_rgb(figure: Figure, dpi: int = 110) -> NDArray[np.uint8]:
    """The figure as pixels, uint8 ``(height, width, 3)``."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()


# -- axes ---------------------------------------------------------------------------------------
def curve_axes(height_in: float, n_panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Axes side by side with room for names on the right."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, n_panels, squeeze=False)[0]
    bottom = 0.14 * 4.0 / max(4.0, height_in)
    figure.subplots_adjust(left=0.1, right=0.76, bottom=bottom, top=0.93, wspace=0.08)
    return figure, list(panels)


def row_axes(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes with one row for each name, the first on top."""
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.3 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure, axes


def label_ends(axes: Axes, ends: Sequence[LineEnd]) -> None:
    """Write each line's name beside its end, pushed apart where they would overlap.

    The places are the least-squares ones that keep a line of text between neighbours: an isotonic
    regression of the ends' heights less the heights of the labels below.
    """
    if not ends:
        return
    ends = sorted(ends, key=lambda end: end.y)
    height_px = axes.get_window_extent().height
    gap = 1.25 * FONT_PT / 72 * axes.figure.dpi / height_px
    low, high = axes.get_ylim()
    wanted = np.array([(end.y - low) / (high - low) for end in ends])
    below = gap * np.arange(len(ends))
    places = isotonic_regression(wanted - below).x
    places = np.clip(places, 0, max(0.0, 1 - below[-1])) + below
    for end, place in zip(ends, places, strict=True):
        axes.annotate(
            end.text,
            xy=(1.0, (end.y - low) / (high - low)),
            xycoords="axes fraction",
            xytext=(1.03, float(place)),
            textcoords="axes fraction",
            va="center",
            color=_TEXT_COLOURS.get(end.color, end.color),
            arrowprops={
                "arrowstyle": "-",
                "color": end.color,
                "linewidth": 0.8,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )
