"""The picture of a check: real students in black, simulated ones in colour."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tutor_sim.drawing import BLACK, BLUE, FONT_PT, GREEN, GREY, ORANGE, STYLE, VERMILLION, WIDTH_IN
from tutor_sim.realism.check import TOLERANCE, Line, Realism
from tutor_sim.realism.statistics import GAP_NAMES, SUCCESS_NAMES, forgetting_name

_HEIGHT_IN = 7.2
_SUCCESS_COLOURS = (VERMILLION, ORANGE, GREEN, BLUE)
_REAL: Any = {"color": BLACK, "marker": "o", "markersize": 4, "linewidth": 1.4}


def realism_figure(found: Realism) -> Figure:
    """Four panels: learning, forgetting, learners, predictors."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, _HEIGHT_IN), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 2)
        _learning_curve(panels[0][0], found)
        _forgetting(panels[0][1], found)
        _learners(panels[1][0], found)
        _predictors(panels[1][1], found)
        figure.suptitle(
            f"{found.log_name}: {found.n_students:,} real students (dots, solid lines), and "
            f"{found.population} in their place\n(dashed: mean of {found.n_replicates} replays, "
            "shaded: their range)",
            fontsize=FONT_PT + 1,
            x=0.01,
            ha="left",
        )
        return figure


def _nothing(axes: Axes, text: str) -> None:
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)


def _percent(value: float, _position: int | None = None) -> str:
    return f"{value:.0%}"


def _learning_curve(axes: Axes, found: Realism) -> None:
    axes.set_title("Learning curve")
    lines = found.group("learning curve")
    if not lines:
        return _nothing(axes, "too few rows")
    x = [int(line.key.name.split()[-1]) for line in lines]
    _band(axes, x, lines, BLUE, "simulated")
    axes.plot(x, [line.real for line in lines], label="real", **_REAL)
    axes.set_xlabel(f"meeting with the same {found.kc}")
    axes.set_ylabel("share correct")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.legend(frameon=False, loc="lower right")


def _band(axes: Axes, x: list[int], lines: list[Line], color: str, label: str | None) -> None:
    """Mean and range of the replicates."""
    both = [(at, line) for at, line in zip(x, lines, strict=True) if line.simulated]
    at = [place for place, _ in both]
    low = [min(line.simulated) for _, line in both]
    high = [max(line.simulated) for _, line in both]
    axes.fill_between(at, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(
        at, [line.mean for _, line in both], color=color, linestyle="--", linewidth=1.4, label=label
    )


def _forgetting(axes: Axes, found: Realism) -> None:
    axes.set_title("Forgetting")
    lines = {line.key.name: line for line in found.group("forgetting")}
    if not lines:
        return _nothing(axes, "no times in the log, or too few repeats")
    used = [
        i
        for i, gap in enumerate(GAP_NAMES)
        if any(forgetting_name(right, gap) in lines for right in SUCCESS_NAMES)
    ]
    for right, color in zip(SUCCESS_NAMES, _SUCCESS_COLOURS, strict=True):
        names = [forgetting_name(right, GAP_NAMES[i]) for i in used]
        x = [place for place, name in enumerate(names) if name in lines]
        mine = [lines[name] for name in names if name in lines]
        if mine:
            _band(axes, x, mine, color, None)
            real = [line.real for line in mine]
            axes.plot(x, real, label=right, **(_REAL | {"color": color}))
    axes.set_xticks(range(len(used)), [GAP_NAMES[i] for i in used], rotation=30, ha="right")
    axes.set_ylabel(f"share correct of the same {found.kc}")
    axes.set_xlabel("time since the last meeting")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.legend(frameon=False, title="correct answers before", ncols=4, loc="lower center")


def _learners(axes: Axes, found: Realism) -> None:
    axes.set_title("Learners")
    if len(found.real_shares) < 2:
        return _nothing(axes, "too few students")
    for shares in found.simulated_shares:
        axes.step(*_cumulative(shares), color=BLUE, linewidth=0.9, alpha=0.6, where="post")
    axes.step(*_cumulative(found.real_shares), color=BLACK, linewidth=1.6, where="post")
    axes.set_xlabel("a student's share correct (black: real, blue: simulated)")
    axes.set_ylabel("students below")
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    return None


def _cumulative(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.sort(shares), np.arange(1, len(shares) + 1) / len(shares)


def _predictors(axes: Axes, found: Realism) -> None:
    axes.set_title("Who predicts answers how well")
    lines = found.group("predictors")
    if not lines:
        return _nothing(axes, "too few students")
    for row, line in enumerate(lines):
        if line.inside is not None:
            reach = TOLERANCE["predictors"]
            low, high = line.mean - reach, line.mean + reach
            axes.plot(
                [low, high], [row, row], color=BLUE, linewidth=7, alpha=0.18, solid_capstyle="butt"
            )
        axes.plot(line.simulated, [row] * len(line.simulated), "|", color=BLUE, markersize=9)
        axes.plot(line.real, row, "o", color=BLACK, markersize=5)
    names = [line.key.name.replace("_", " ") for line in lines]
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("AUC (dot: real, ticks: simulated, bar: tolerance)")
    return None
