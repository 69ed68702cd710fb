"""Pictures of the lesson so far, as text and as an image.

What a tutor can see (actions and answers) is drawn apart from what it cannot (mastery), which is
marked as hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import BoxStyle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tutor_envs.components import ComposedStudent
from tutor_envs.session import LessonRecord
from tutor_envs.student import CORRECT, WRONG, StudentModel, TeachingAction
from tutor_envs.task import TeachingTask

HIDDEN = "hidden from the tutor"
_NO_RESPONSE = "no effect"
_BAR_CELLS = 20
_INCHES = (9.6, 6.0)
_DPI = 100
_POINTS_PER_INCH = 72
# Okabe & Ito's palette without its yellow: told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_INK, _QUIET, _GRID, _VEIL = "#222222", "#6B6B6B", "#E4E4E4", "#F6F3FA"
_WATERMARK = "#E6E0EF"
_LETTER_WIDTH = 0.0076
_MAX_NAMED_LINES = 8
_APART = 0.012
_ROUNDED = MarkerStyle(BoxStyle.Round(pad=0, rounding_size=0.25)(-0.5, -0.5, 1, 1, 1))


def _title(record: LessonRecord, model: StudentModel, task: TeachingTask) -> str:
    name = model.base.name if isinstance(model, ComposedStudent) else model.name
    return (
        f"{name}: lesson {record.lesson + 1} of {task.n_lessons}, "
        f"{len(record.actions)} of {task.n_steps} actions taught"
    )


def _answer(model: StudentModel, response: int) -> str:
    return model.responses[response] if response < model.n_responses else _NO_RESPONSE


def lesson_text(record: LessonRecord, model: StudentModel, task: TeachingTask) -> str:
    """The lesson so far as lines of text."""
    lines = [_title(record, model, task)]
    width = max((len(str(model.actions[action])) for action in record.actions), default=0)
    for step, (action, response) in enumerate(zip(record.actions, record.responses, strict=True)):
        mark = {WRONG: "✗", CORRECT: "✓"}.get(response, "·")
        taught = str(model.actions[action])
        lines.append(f"{step + 1:5}  {taught:<{width}}  {mark} {_answer(model, response)}")
    lines.append(f"mastery ({HIDDEN}):")
    width = max(map(len, model.skills))
    for skill, mastery in zip(model.skills, record.mastery[-1], strict=True):
        full = round(float(mastery) * _BAR_CELLS)
        bar = "█" * full + "░" * (_BAR_CELLS - full)
        lines.append(f"       {skill:<{width}}  {bar} {mastery:.2f}")
    return "\n".join(lines)


def lesson_image(
    record: LessonRecord, model: StudentModel, task: TeachingTask
) -> NDArray[np.uint8]:
    """The lesson so far as an image, uint8 ``(600, 960, 3)``."""
    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    taught, hidden = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    longest = max(map(len, _rows(model)))
    left = min(max(0.13, 0.04 + _LETTER_WIDTH * longest), 0.35)
    figure.subplots_adjust(left=left, right=0.8, top=0.85, bottom=0.09, hspace=0.28)
    figure.text(0.025, 0.935, _title(record, model, task), fontsize=13, color=_INK, weight="bold")
    _draw_actions(taught, record, model, task)
    _draw_mastery(hidden, record, model)
    hidden.set_xlim(0.4, task.n_steps + 0.6)
    hidden.set_xlabel("teaching action", color=_QUIET)
    hidden.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=15))
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()


def _plain(axes: Axes, title: str) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=10, color=_QUIET)


def _rows(model: StudentModel) -> list[str]:
    """The row of every action: its skill, with the activity where a skill has several."""
    activities: dict[str, set[str]] = {}
    for action in model.actions:
        activities.setdefault(action.skill, set()).add(action.activity)
    return [
        " ".join(
            [action.skill] * bool(action.skill)
            + [action.activity] * (not action.skill or len(activities[action.skill]) > 1)
        )
        for action in model.actions
    ]


def _colour(model: StudentModel, action: TeachingAction) -> str:
    if action.modality not in model.modalities:
        return _QUIET
    return _COLOURS[model.modalities.index(action.modality) % len(_COLOURS)]


def _draw_actions(
    axes: Axes, record: LessonRecord, model: StudentModel, task: TeachingTask
) -> None:
    """Rows: what was taught; colour: in which modality; filled or not: right or wrong."""
    row_of = _rows(model)
    rows = list(dict.fromkeys(row_of))
    _plain(axes, "taught and answered (the tutor sees this)")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.hlines(range(len(rows)), 0, task.n_steps + 1, color=_GRID, linewidth=1)
    axes.tick_params(axis="x", labelbottom=False)
    box = axes.get_position()
    per_step = box.width * _INCHES[0] / (task.n_steps + 0.2)
    per_row = box.height * _INCHES[1] / (len(rows) + 0.2)
    size = 0.8 * _POINTS_PER_INCH * min(per_step, per_row, 0.45)
    for step, (index, response) in enumerate(zip(record.actions, record.responses, strict=True)):
        place = (step + 1, rows.index(row_of[index]))
        look = _look(model, response, _colour(model, model.actions[index]))
        axes.scatter(
            *place, s=size**2, marker=_ROUNDED, facecolor=look.face, edgecolor=look.edge,
            linewidth=1.4, zorder=3,
        )  # fmt: skip
        axes.scatter(
            *place, s=(0.6 * size) ** 2, marker=look.glyph, color=look.ink, linewidth=0, zorder=4
        )
    _draw_legend(axes, model, sorted({WRONG, CORRECT, *record.responses}))


class _Look(NamedTuple):
    face: str
    edge: str
    glyph: str
    ink: str


def _look(model: StudentModel, response: int, colour: str) -> _Look:
    """Filled and ticked if right, hollow and crossed if wrong, grey if the answer is neither."""
    if response == CORRECT:
        return _Look(colour, colour, "$\u2713$", "white")
    if response == WRONG:
        return _Look("white", colour, "$\u2717$", colour)
    allowed = response < model.n_responses
    return _Look(_GRID, _QUIET, f"${response - CORRECT - 1}$" if allowed else "$-$", _INK)


def _draw_legend(axes: Axes, model: StudentModel, responses: list[int]) -> None:
    colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(model.modalities))]
    keys: list[tuple[Line2D, ...]] = [(_key(_ROUNDED, colour, colour),) for colour in colours]
    for response in responses:
        look = _look(model, response, _QUIET)
        square = _key(_ROUNDED, look.face, look.edge)
        keys.append((square, _key(look.glyph, look.ink, "none", 8)))
    axes.legend(
        keys, [*model.modalities, *(_answer(model, response) for response in responses)],
        loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=9,
        labelcolor=_INK, handletextpad=0.4, labelspacing=0.8, borderpad=0,
    )  # fmt: skip


def _key(marker: MarkerStyle | str, face: str, edge: str, size: float = 13) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker=marker, markersize=size, markerfacecolor=face,
        markeredgecolor=edge, markeredgewidth=1.4,
    )  # fmt: skip


def _draw_mastery(axes: Axes, record: LessonRecord, model: StudentModel) -> None:
    """Mastery before the first action and after each; curves a little apart, to be told apart."""
    _plain(axes, f"mastery ({HIDDEN})")
    axes.set_facecolor(_VEIL)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid(axis="y", color="white", linewidth=1.2)
    axes.text(
        0.5, 0.5, "HIDDEN", transform=axes.transAxes, ha="center", va="center",
        fontsize=34, weight="bold", color=_WATERMARK, zorder=0,
    )  # fmt: skip
    mastery = np.stack(record.mastery)
    steps = np.arange(len(mastery)) + 0.5
    colours = colormaps["plasma"](np.linspace(0.05, 0.75, mastery.shape[1]))
    heights = _spread(mastery[-1], gap=0.15)
    for skill, name in enumerate(model.skills):
        colour = colours[skill]
        drawn = mastery[:, skill] + _APART * (skill - (len(model.skills) - 1) / 2)
        axes.plot(steps, drawn, color=colour, linewidth=2, marker="o", markersize=3.5)
        if len(model.skills) <= _MAX_NAMED_LINES:
            axes.annotate(
                f"{name}  {mastery[-1, skill]:.2f}",
                xy=(1.02, heights[skill]), xycoords=("axes fraction", "data"),
                va="center", fontsize=9, color=colour, annotation_clip=False,
            )  # fmt: skip


def _spread(values: NDArray[np.float32], gap: float) -> NDArray[np.float64]:
    """Heights near ``values`` (in [0, 1]) but at least ``gap`` apart, in the same order."""
    order = np.argsort(values, kind="stable")
    ladder = np.arange(len(values)) * gap
    heights = np.maximum.accumulate(values[order].astype(np.float64) - ladder) + ladder
    over = np.maximum(heights - (1 - (len(values) - 1) * gap + ladder), 0)
    spread = np.empty(len(values))
    spread[order] = heights - over
    return spread
