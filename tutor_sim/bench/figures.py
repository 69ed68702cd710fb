"""The pictures of benchmarks: how tutors become good, and how cost grows with the work."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tutor_sim.bench.cost import Series
from tutor_sim.bench.time_to_tutor import Curve
from tutor_sim.drawing import BLUE, GREEN, GREY, ORANGE, STYLE, VERMILLION, WIDTH_IN

_COLOURS = (BLUE, GREEN, VERMILLION, ORANGE)
_DASHES = ("-", "--", "-.", ":")
_COLUMNS = 3
_ROW_IN = 2.3
_DECADES = 1000
"""Sizes that span less are all written at the axis."""


def curves_figure(curves: Sequence[Curve], levels: Sequence[float]) -> Figure:
    """A panel a case, a line a seed: share of the optimum against CPU-seconds trained."""
    cases = list(dict.fromkeys(curve.case for curve in curves))
    names = list(dict.fromkeys(curve.name for curve in curves))
    n_rows = -(-len(cases) // _COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.5 + _ROW_IN * n_rows), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(n_rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(cases) :]:
            axes.set_visible(False)
        for axes, case in zip(panels.flat, cases, strict=False):
            _case_panel(axes, [c for c in curves if c.case == case], names, levels)
            axes.set_title(case)
        for axes in panels.flat[: len(cases)][-_COLUMNS:]:  # nothing is drawn below these
            axes.set_xlabel("CPU-seconds of training")
            axes.tick_params(labelbottom=True)
        for axes in panels[:, 0]:
            axes.set_ylabel("share of the optimum")
        handles, labels = panels[0][0].get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        figure.legend(
            shown.values(), shown.keys(), loc="outside upper left", ncols=len(names), frameon=False
        )
        return figure


def _case_panel(
    axes: Axes, curves: Sequence[Curve], names: Sequence[str], levels: Sequence[float]
) -> None:
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    for level in levels:
        axes.axhline(level, color=GREY, linewidth=0.8)
    for curve in curves:
        # Nobody has learned anything after no time, for which a logarithm has no place.
        seconds, shares = zip(*curve.points[1:], strict=True)
        n = names.index(curve.name)
        colour, dash = _COLOURS[n % len(_COLOURS)], _DASHES[n % len(_DASHES)]
        axes.plot(seconds, shares, color=colour, linestyle=dash, linewidth=1.4, label=curve.name)
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))


def cost_figure(series: Sequence[Series]) -> Figure:
    """A column for what grows: CPU time above, memory below."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 2 * _ROW_IN), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, len(series), sharex="col", squeeze=False)
        for (above, below), one in zip(panels.T, series, strict=True):
            sizes, costs, peaks = zip(*one.points, strict=True)
            middle, low, high = zip(*costs, strict=True)
            above.fill_between(sizes, low, high, color=BLUE, alpha=0.2, linewidth=0)
            above.plot(sizes, middle, color=BLUE, marker="o", markersize=4)
            above.set_title(one.title)
            above.set_ylabel(one.unit)
            below.plot(sizes, peaks, color=VERMILLION, marker="s", markersize=4)
            below.set_ylabel("peak memory (GiB)")
            below.set_xlabel(one.grows)
            for axes in (above, below):
                _logarithmic(axes, sizes)
        return figure


def _logarithmic(axes: Axes, sizes: Sequence[int]) -> None:
    """Both axes, the upright one over a decade at least, so that what hardly changes looks so."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    wider = max(1.0, (10 * low / high) ** 0.5)
    axes.set_ylim(low / wider, high * wider)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_plain))
        axis.set_minor_formatter(NullFormatter())
    if sizes[-1] < _DECADES * sizes[0]:
        axes.set_xticks(sizes, minor=False)
        axes.set_xticks([], minor=True)


def _plain(value: float, _position: int | None = None) -> str:
    for factor, unit in ((1e6, " M"), (1e3, " k")):
        if value >= factor and value % factor == 0:
            return f"{value / factor:g}{unit}"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
