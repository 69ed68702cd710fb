"""Pictures of what a tutor knows, does and is told; each call makes a figure of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tutor_envs.render import HIDDEN
from tutor_envs.student import CORRECT, WRONG
from tutor_sim.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, STYLE, VERMILLION
from tutor_sim.insight.behaviour import Grouping, shares, varying_parts
from tutor_sim.insight.belief import GROUPS
from tutor_sim.insight.probes import ProbeScore
from tutor_sim.insight.story import Story
from tutor_sim.insight.trace import Seen

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
_VEIL = "#F6F3FA"
_WATERMARK = "#E6E0EF"
_SOURCES: dict[str, tuple[str, str, Any, float]] = {
    "memory": ("the tutor's memory", BLUE, "-", 2.4),
    "counts": ("plain counts of answers", ORANGE, "-", 1.6),
    "posterior": ("posterior", BLACK, "--", 1.4),
    "shuffled": ("memory, shuffled labels", GREY, ":", 1.4),
}
_PANELS_A_ROW = 3
_CHANCE_AUC = 0.5


def colours(n: int) -> list[str]:
    """N colours that are told apart; beyond six from a ramp."""
    if n <= len(_COLOURS):
        return list(_COLOURS[:n])
    return [mpl.colors.to_hex(c) for c in colormaps["turbo"](np.linspace(0.05, 0.95, n))]


# -- probes ---------------------------------------------------------------------------------------
def probe_figure(scores: Sequence[ProbeScore], posterior: str) -> Figure:
    """What can be decoded after so many answers, a panel for each target.

    Args:
        scores: of :func:`tutor_sim.insight.probes.probe`.
        posterior: how the posterior's line is called.
    """
    shown = [s for s in scores if s.measure in ("R²", "AUC")]
    targets = list(dict.fromkeys(s.target for s in shown))
    n_rows = -(-len(targets) // _PANELS_A_ROW)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 0.7 + 2.4 * n_rows), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(n_rows, _PANELS_A_ROW, squeeze=False).ravel()
        for axes, target in zip(grid, targets, strict=False):
            _draw_probe(axes, [s for s in shown if s.target == target])
        for axes in grid[len(targets) :]:
            axes.set_axis_off()
        used = [key for key in _SOURCES if any(s.source == key for s in shown)]
        lines = [
            Line2D([], [], color=c, linestyle=d, linewidth=w)
            for _, c, d, w in (_SOURCES[key] for key in used)
        ]
        names = [posterior if key == "posterior" else _SOURCES[key][0] for key in used]
        figure.legend(lines, names, loc="outside upper left", ncols=len(used), frameon=False)
        figure.supxlabel("answers so far", fontsize=9)
        return figure


def _draw_probe(axes: Axes, scores: Sequence[ProbeScore]) -> None:
    target = scores[0].target
    is_group = target in GROUPS
    for source, (_, color, dash, width) in _SOURCES.items():
        mine = [s for s in scores if s.source == source]
        x = [s.n_answers for s in mine]
        low, high = [s.low for s in mine], [s.high for s in mine]
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(x, [s.value for s in mine], color=color, linestyle=dash, linewidth=width)
    axes.axhline(_CHANCE_AUC if is_group else 0, color=GREY, linewidth=0.8)
    axes.set_ylim((0.4, 1.02) if is_group else (-0.15, 1.02))
    axes.set_title(target.replace("_", " "))
    axes.set_ylabel("AUC" if is_group else "R²")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


# -- behaviour ------------------------------------------------------------------------------------
def behaviour_figure(seen: Seen, grouping: Grouping) -> Figure:
    """Which activity, skill and modality at each step: a column for each group, stacked shares."""
    parts = varying_parts(seen.model)
    n_groups = len(grouping.groups)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(
            figsize=(max(9.0, 2.0 + 2.1 * n_groups), 0.9 + 1.9 * len(parts)), layout="constrained"
        )
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(parts), n_groups, squeeze=False, sharex=True, sharey=True)
        sizes = np.bincount(grouping.of_student)
        for row, part in zip(grid, parts, strict=True):
            values, share = shares(seen, part, grouping)
            _draw_stack(row, share, colours(len(values)), seen.task.n_steps)
            row[0].set_ylabel(f"share by {part}")
            keys = [Patch(color=c) for c in reversed(colours(len(values)))]
            row[-1].legend(
                keys,
                [v.replace("_", " ") for v in reversed(values)],
                loc="center left",
                bbox_to_anchor=(1.02, 0.5),
                frameon=False,
            )
        for axes, name, size in zip(grid[0], grouping.groups, sizes, strict=True):
            axes.set_title(f"{name.replace('_', ' ')}\n({size} students)", fontsize=9)
        figure.supxlabel("teaching action number in the trial", fontsize=9)
        return figure


def _draw_stack(
    row: Sequence[Axes], share: np.ndarray, palette: Sequence[str], n_steps: int
) -> None:
    edges = np.arange(share.shape[1] + 1) + 0.5
    for axes, of_group in zip(row, share, strict=True):
        bottom = np.zeros(len(of_group))
        for c, color in enumerate(palette):
            top = bottom + of_group[:, c]
            axes.stairs(top, edges, baseline=bottom, fill=True, color=color, linewidth=0)
            bottom = top
        for lesson in range(n_steps, len(share[0]), n_steps):
            axes.axvline(lesson + 0.5, color="white", linewidth=2)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


# -- one student ----------------------------------------------------------------------------------
def story_figure(story: Story, lessons: range) -> Figure:
    """One student: taught and answered; what was foretold and believed; the truth under a veil."""
    seen = story.trace.seen
    model, n_steps = seen.model, seen.task.n_steps
    first, last = lessons[0] * n_steps, (lessons[-1] + 1) * n_steps
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 7.2), layout="constrained")
        FigureCanvasAgg(figure)
        taught, believed, hidden = figure.subplots(
            3, 1, sharex=True, height_ratios=(0.6 + 0.3 * len(model.skills), 2, 2)
        )
        figure.suptitle(
            f"Student {story.student}, taught by {story.trace.tutor}",
            x=0.01,
            ha="left",
            fontsize=12,
            weight="bold",
        )
        steps = np.arange(first, last)
        _draw_taught(taught, story, steps)
        _draw_believed(believed, story, steps)
        _draw_truth(hidden, story, steps)
        for axes in (taught, believed, hidden):
            for lesson in range(first + n_steps, last, n_steps):
                axes.axvline(lesson + 0.5, color=GREY, linewidth=1)
        hidden.set_xlim(first + 0.4, last + 0.6)
        hidden.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=15))
        hidden.set_xlabel("teaching action number in the trial; a line: a new lesson, a new topic")
        return figure


def _draw_taught(axes: Axes, story: Story, steps: np.ndarray) -> None:
    seen = story.trace.seen
    model = seen.model
    rows = list(dict.fromkeys(action.skill or action.activity for action in model.actions))
    palette = dict(zip(model.modalities, colours(len(model.modalities)), strict=True))
    for t in steps:
        action = model.actions[int(seen.actions[t, 0])]
        response = int(seen.responses[t, 0])
        color = palette.get(action.modality, GREY)
        place = (t + 1, rows.index(action.skill or action.activity))
        face = color if response == CORRECT else "white"
        axes.plot(
            *place,
            "s",
            markersize=11,
            markerfacecolor=face,
            markeredgecolor=color,
            markeredgewidth=1.6,
        )
        glyph = {CORRECT: "✓", WRONG: "✗"}.get(response, "–")
        ink = "white" if response == CORRECT else color
        axes.annotate(glyph, place, ha="center", va="center", color=ink, fontsize=9)
    axes.set_yticks(range(len(rows)), [row.replace("_", " ") for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title("taught and answered (the tutor sees this); ✓ right, ✗ wrong")
    keys = [
        Line2D([], [], linestyle="", marker="s", markersize=9, color=c) for c in palette.values()
    ]
    axes.legend(
        keys,
        [m.replace("_", " ") for m in palette],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
    )


def _draw_believed(axes: Axes, story: Story, steps: np.ndarray) -> None:
    """Believed mastery of each skill, with the foretold chance of each answer as diamonds."""
    model = story.trace.seen.model
    title = "believed"
    if story.believed is not None:
        _draw_mastery(
            axes,
            story.believed.mastery_after[:, 0].numpy(),
            story.believed.mastery_before[:, 0].numpy(),
            steps,
            model.skills,
            story,
        )
        title = f"believed mastery: {story.whose}"
    p = [story.p_correct(int(t)) for t in steps]
    if p[0] is not None:
        axes.plot(steps + 1, np.array(p, dtype=float), "D", color=BLACK, markersize=4, zorder=5)
        title += f"\n◆ foretold P(correct): {story.foreteller}"
    axes.set_title(title)


def _draw_truth(axes: Axes, story: Story, steps: np.ndarray) -> None:
    hidden = story.trace.hidden
    axes.set_facecolor(_VEIL)
    axes.text(
        0.5,
        0.5,
        "HIDDEN",
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=40,
        weight="bold",
        color=_WATERMARK,
        zorder=0,
    )
    _draw_mastery(
        axes,
        hidden.mastery_after[:, 0].numpy(),
        hidden.mastery_before[:, 0].numpy(),
        steps,
        story.trace.seen.model.skills,
        story,
    )
    axes.set_title(f"true mastery ({HIDDEN})")


def _draw_mastery(
    axes: Axes,
    after: np.ndarray,
    before: np.ndarray,
    steps: np.ndarray,
    skills: Sequence[str],
    story: Story,
) -> None:
    """A line for each skill in each lesson, from before its first action on; a little apart."""
    n_steps = story.trace.seen.task.n_steps
    palette = [
        mpl.colors.to_hex(c) for c in colormaps["viridis"](np.linspace(0, 0.85, len(skills)))
    ]
    for k, color in enumerate(palette):
        apart = 0.012 * (k - (len(skills) - 1) / 2)
        for start in range(steps[0], steps[-1] + 1, n_steps):
            y = np.append(before[start, k], after[start : start + n_steps, k]) + apart
            axes.plot(start + 0.5 + np.arange(n_steps + 1), y, color=color, linewidth=1.8)
    axes.set_ylim(-0.06, 1.06)
    keys = [Line2D([], [], color=c, linewidth=2) for c in palette]
    axes.legend(
        keys,
        [s.replace("_", " ") for s in skills],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
    )
