"""The pictures of benchmarks: how cost grows with the work."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tutor_sim.bench.cost import Series
from tutor_sim.drawing import BLUE, STYLE, VERMILLION, WIDTH_IN

_ROW_IN = 2.3
_DECADES = 1000
"""Sizes that span less are all written at the axis."""


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
