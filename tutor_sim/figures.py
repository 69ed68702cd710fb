"""Pictures of a comparison, for TensorBoard and the report.

Every function returns a :class:`matplotlib.figure.Figure` of its own and touches no global state.
Lines carry their name at their end; bands and bars are 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from tutor_sim.adaptation import cumulative_regret
from tutor_sim.drawing import (
    BLACK,
    FONT_PT,
    GREY,
    STYLE,
    WIDTH_IN,
    LineEnd,
    LineStyle,
    curve_axes,
    display_name,
    label_ends,
    line_styles,
    row_axes,
)
from tutor_sim.equity import Equity
from tutor_sim.evaluation import Evaluation, Role, by_tutor, pooled
from tutor_sim.statistics import Estimate, seed_band
from tutor_sim.summary import Summary

Array = NDArray[np.float64]

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MAX_TYPE_PANELS = 4
"""Types of students up to which the picture of actions has a panel for each."""
_MAX_ACTION_LABELS = 60
_MAX_SEED_LINES = 3
"""Learners up to which the picture of learning has a line for each seed."""
_MAX_GROUP_NAMES = 5
"""Groups up to which deciles are called so on the axis."""
_GROUP_LABELS = {
    "ability": "students by ability, the lowest on the left",
    "style": "students by the modality they respond best to",
    "type": "students by type",
}
_DODGE = 0.6
"""Width in lessons over which the learned tutors' dots stand side by side."""
_SCORE_NAMES = {
    "post_test": "post-test score",
    "mastery_gain": "gain of mastery",
    "mean_recall": "mean recall",
    "time_to_mastery": "time below mastery (negative)",
}


class LearningPoint(NamedTuple):
    """One validation during training.

    Attributes:
        env_steps: teaching actions trained on so far.
        score: mean validation score.
        low: lower end of its interval; nan if unknown.
        high: upper end.
        cpu_s: CPU-seconds of training so far; nan if unknown.
    """

    env_steps: int
    score: float
    low: float = math.nan
    high: float = math.nan
    cpu_s: float = math.nan


def _height_in(n_labels: int) -> float:
    """Height of a picture with so many names beside its lines."""
    return max(4.0, 0.7 + 0.2 * n_labels)


# -- curves over the steps of a trial -------------------------------------------------------------
Curves = Mapping[str, tuple[Array, Array, Array]]
"""Tutor -> mean over seeds and students with the ends of its interval."""


def _curves(
    evaluations: Sequence[Evaluation], read: Callable[[Evaluation], NDArray[Any]]
) -> Curves:
    """Of what ``read`` finds in an evaluation, students last."""
    groups = by_tutor(evaluations)
    stacked = {name: np.stack([read(e) for e in group]) for name, group in groups.items()}
    return {name: seed_band(values) for name, values in stacked.items()}


def adaptation_curve(evaluations: Sequence[Evaluation]) -> Figure:
    """Progress of the students after every teaching action, lesson after lesson."""
    curves = _curves(evaluations, lambda e: e.progress)
    return _trial_curves(evaluations, curves, progress_label(evaluations[0]))


def gain_curve(evaluations: Sequence[Evaluation]) -> Figure:
    """What each teaching action adds to the progress."""
    curves = _curves(evaluations, lambda e: np.diff(e.progress, axis=1))
    return _trial_curves(evaluations, curves, f"gain of one action\n({_unit(evaluations[0])})")


def regret_curve(evaluations: Sequence[Evaluation], reference: Evaluation) -> Figure:
    """How far the students are behind those of the reference, after every teaching action."""
    others = [e for e in evaluations if e.tutor != reference.tutor and not e.privileged]
    curves = _curves(others, lambda e: reference.progress - e.progress)
    figure = _trial_curves(others, curves, f"behind {reference.tutor}\n({_unit(reference)})")
    figure.axes[0].axhline(0, color=BLACK, linewidth=0.8)
    return figure


def cumulative_regret_curve(evaluations: Sequence[Evaluation], reference: Evaluation) -> Figure:
    """What was lost to the reference since the trial began, after every teaching action."""
    others = [e for e in evaluations if e.tutor != reference.tutor and not e.privileged]
    curves = _curves(others, lambda e: cumulative_regret(e.progress, reference.progress))
    figure = _trial_curves(
        others, curves, f"lost to {reference.tutor} so far\n(sum over lessons; {_unit(reference)})"
    )
    figure.axes[0].axhline(0, color=BLACK, linewidth=0.8)
    return figure


def modality_fit(evaluations: Sequence[Evaluation]) -> Figure:
    """How well the modality of every action suits the student it is chosen for."""
    curves = _curves(evaluations, lambda e: e.fit)
    figure = _trial_curves(
        evaluations, curves, "responsiveness of the student\nto the modality used"
    )
    n_modalities = len(evaluations[0].population.student_model.modalities)
    figure.axes[0].axhline(1 / n_modalities, color=GREY, linewidth=0.8, linestyle=":")
    return figure


def progress_label(evaluation: Evaluation) -> str:
    """What ``Evaluation.progress`` measures, for an axis."""
    if evaluation.task.reward.score != "post_test":
        return "mean mastery"
    return f"post-test score if it ended here{_scale_text(evaluation.task.reward.scale)}"


def _unit(evaluation: Evaluation) -> str:
    """The unit of ``Evaluation.progress``."""
    is_score = evaluation.task.reward.score == "post_test"
    return score_label(evaluation) if is_score else "mean mastery"


def score_label(evaluation: Evaluation) -> str:
    """What ``Evaluation.scores`` measures, for an axis."""
    reward = evaluation.task.reward
    return f"{_SCORE_NAMES[reward.score]}{_scale_text(reward.scale)}"


def _scale_text(scale: float) -> str:
    return "" if scale == 1 else f", × {scale:g}"


def _trial_curves(
    evaluations: Sequence[Evaluation],
    curves: Curves,
    label: str,
) -> Figure:
    """Mean and band ``(K, T or T + 1)`` of every tutor along the actions of a trial."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = curve_axes(height_in=_height_in(len(curves)))
        styles = line_styles({e.tutor: e.role for e in evaluations})
        task = evaluations[0].task
        ends = []
        for evaluation in (group[0] for group in by_tutor(evaluations).values()):
            mean, low, high = curves[evaluation.tutor]
            style = styles[evaluation.tutor]
            n_points = mean.shape[1]
            within = np.arange(n_points) + (task.n_steps + 1 - n_points)
            for lesson in range(task.n_lessons):
                x = lesson * task.n_steps + within
                axes.fill_between(
                    x, low[lesson], high[lesson], color=style.color, alpha=0.12, linewidth=0
                )
                axes.plot(x, mean[lesson], **style._asdict())
            name = display_name(evaluation.tutor, evaluation.role)
            ends.append(LineEnd(float(mean[-1, -1]), f"{name}  {mean[-1, -1]:#.3g}", style.color))
        axes.set_xlim(0, task.n_trial_steps)
        axes.set_xlabel("teaching actions so far")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        _mark_lessons(axes, task.n_lessons, task.n_steps)
        label_ends(axes, ends)
        return figure


def _mark_lessons(axes: Axes, n_lessons: int, n_steps: int) -> None:
    for lesson in range(n_lessons if n_lessons > 1 else 0):
        if lesson:
            axes.axvline(lesson * n_steps, color=GREY, linewidth=0.8)
        axes.annotate(
            f"lesson {lesson + 1}",
            ((lesson + 0.5) * n_steps, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=GREY,
        )


# -- scores ---------------------------------------------------------------------------------------
def score_overview(summary: Summary, label: str = "score") -> Figure:
    """Mean score of every tutor with its interval, the best on top."""
    lines = summary.tutors
    with mpl.rc_context(STYLE):
        figure, axes = row_axes([display_name(line.tutor, line.role) for line in lines])
        styles = line_styles({line.tutor: line.role for line in lines})
        for row, line in enumerate(lines):
            _interval_bar(axes, row, line.score, styles[line.tutor].color)
        _mark_exact(axes, summary.exact)
        axes.set_xlabel(f"{label}: mean and 95 % interval")
        return figure


def _mark_exact(axes: Axes, exact: Mapping[str, float]) -> None:
    """Lines at exactly known values; names of lines that are close share a place."""
    low, high = axes.get_xlim()
    groups: list[list[tuple[float, str]]] = []
    for value, name in sorted((value, name) for name, value in exact.items()):
        axes.axvline(value, color=BLACK, linewidth=0.9, linestyle="--", zorder=1)
        if groups and value - groups[-1][0][0] < 0.15 * (high - low):
            groups[-1].append((value, name))
        else:
            groups.append([(value, name)])
    for group in groups:
        axes.annotate(
            f"exact: {', '.join(name for _, name in group)}",
            (sum(value for value, _ in group) / len(group), 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=GREY,
        )


def _interval_bar(axes: Axes, row: int, estimate: Estimate, color: str) -> None:
    axes.plot([estimate.low, estimate.high], [row, row], color=color, linewidth=3, alpha=0.45)
    axes.plot(estimate.value, row, "o", color=color, markersize=6)
    axes.annotate(
        f"{estimate.value:#.3g}",
        (1.0, row),
        xycoords=axes.get_yaxis_transform(),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=BLACK,
    )


def lesson_scores(evaluations: Sequence[Evaluation]) -> Figure:
    """Mean score after so many lessons of adaptation: a tutor that adapts gets better.

    Learned tutors have dots with interval bars, side by side; references are lines, black; other
    tutors are thin lines with bands.
    """
    groups = by_tutor(evaluations)
    curves = _curves(evaluations, lambda e: e.scores.T)
    roles = {e.tutor: e.role for e in evaluations}
    styles = line_styles(roles)
    n_lessons = evaluations[0].task.n_lessons
    lessons = np.arange(n_lessons)
    learned = sorted(
        (name for name, role in roles.items() if role is Role.LEARNED),
        key=lambda name: curves[name][0][-1],
    )
    with mpl.rc_context(STYLE):
        figure, (axes,) = curve_axes(height_in=max(4.6, _height_in(len(groups))))
        ends = []
        for name in groups:
            mean, low, high = curves[name]
            style = styles[name]
            if name in learned:
                place = (learned.index(name) + 0.5) / len(learned) - 0.5
                x = lessons + _DODGE * place
                axes.plot(x, mean, marker="o", markersize=4, **style._asdict())
                axes.vlines(x, low, high, color=style.color, linewidth=1.2, zorder=style.zorder)
            else:
                axes.fill_between(lessons, low, high, color=style.color, alpha=0.12, linewidth=0)
                axes.plot(lessons, mean, **style._asdict())
            text = f"{display_name(name, roles[name])}  {mean[-1]:#.3g}"
            ends.append(LineEnd(float(mean[-1]), text, style.color))
        axes.set_xlabel("lessons of adaptation with the same student")
        axes.set_ylabel(f"{score_label(evaluations[0])} of the next lesson")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(-0.35, n_lessons - 0.65)
        label_ends(axes, ends)
        return figure


def score_distribution(evaluations: Sequence[Evaluation]) -> Figure:
    """How the students of every tutor fared: medians, middle halves and outer tenths."""
    groups = by_tutor(evaluations)
    ordered = sorted((pooled(group) for group in groups.values()), key=lambda e: -e.score)
    with mpl.rc_context(STYLE):
        figure, axes = row_axes([display_name(e.tutor, e.role) for e in ordered])
        styles = line_styles({e.tutor: e.role for e in ordered})
        for row, evaluation in enumerate(ordered):
            color = styles[evaluation.tutor].color
            p10, p25, p50, p75, p90 = np.quantile(evaluation.student_scores, _QUANTILES)
            axes.plot([p10, p90], [row, row], color=color, linewidth=1.6)
            axes.plot(
                [p25, p75], [row, row], color=color, linewidth=8, alpha=0.45, solid_capstyle="butt"
            )
            axes.plot(p50, row, "o", color="white", markeredgecolor=color, markersize=6)
        axes.set_xlabel(
            f"a student's {score_label(ordered[0])} "
            "(dot: median; bar: middle half; line: all but the outer tenths)"
        )
        return figure


def learning_curve(
    curves: Mapping[str, Sequence[Sequence[LearningPoint]]], references: Mapping[str, float]
) -> Figure:
    """Validation score while training, with the references as lines.

    One learner is drawn over its teaching actions; several also over their CPU-seconds, each seed
    as a thin line. More than three learners are drawn by the mean over their seeds.

    Args:
        curves: learner -> for each of its seeds the validations in order.
        references: name -> score, such as ``{"random": 5.8, "bayes": 8.6}``.
    """
    several = sum(map(len, curves.values())) > 1
    if len(curves) > _MAX_SEED_LINES:
        curves = {name: [_mean_points(seeds)] for name, seeds in curves.items()}
    styles = line_styles(dict.fromkeys(curves, Role.LEARNED))
    with mpl.rc_context(STYLE):
        n_ends = len(curves) + len(references)
        figure, axes = curve_axes(height_in=max(3.6, _height_in(n_ends)), n_panels=1 + several)
        _draw_learning(axes[0], curves, styles, lambda point: point.env_steps, several)
        axes[0].xaxis.set_major_formatter(FuncFormatter(_count_text))
        axes[0].set_xlabel("teaching actions trained on")
        axes[0].set_ylabel("validation score")
        if several:
            _draw_learning(axes[1], curves, styles, lambda point: point.cpu_s, several)
            axes[1].set_xlabel("CPU-seconds of training")
            axes[1].sharey(axes[0])
            axes[1].tick_params(labelleft=False)
        for panel in axes:
            for value in references.values():
                panel.axhline(value, color=GREY, linewidth=1.0, linestyle="--", zorder=1)
        ends = [LineEnd(value, f"{name}  {value:#.3g}", GREY) for name, value in references.items()]
        for name, seeds in curves.items():
            last = float(np.mean([seed[-1].score for seed in seeds]))
            called = name if several else "trained"
            ends.append(LineEnd(last, f"{called}  {last:#.3g}", styles[name].color))
        label_ends(axes[-1], ends)
        return figure


def _mean_points(seeds: Sequence[Sequence[LearningPoint]]) -> list[LearningPoint]:
    """Mean over seeds of each validation."""
    return [
        LearningPoint(
            points[0].env_steps,
            float(np.mean([point.score for point in points])),
            cpu_s=float(np.mean([point.cpu_s for point in points])),
        )
        for points in zip(*seeds, strict=False)
    ]


def _draw_learning(
    axes: Axes,
    curves: Mapping[str, Sequence[Sequence[LearningPoint]]],
    styles: Mapping[str, LineStyle],
    place: Callable[[LearningPoint], float],
    several: bool,
) -> None:
    """Every seed's line over ``place``."""
    furthest = 1.0
    for name, seeds in curves.items():
        style = styles[name]
        for points in seeds:
            x = [place(point) for point in points]
            furthest = max([furthest, *x])
            low, high = [p.low for p in points], [p.high for p in points]
            axes.fill_between(x, low, high, color=style.color, alpha=0.15, linewidth=0)
            axes.plot(
                x,
                [point.score for point in points],
                color=style.color,
                linestyle=style.linestyle,
                linewidth=1.0 if several else 2.0,
                marker=None if several else "o",
                markersize=3,
            )
    axes.set_xlim(0, furthest)


def _count_text(value: float, _position: int | None = None) -> str:
    """``1.5 M``, ``200 k``, ``30``."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


# -- who benefits ---------------------------------------------------------------------------------
def outcomes_by_group(division: Equity) -> Figure:
    """Expected post-test of each group of students under every tutor, and before teaching.

    Groups with an order are joined by lines with bands; others have dots side by side.
    """
    x = np.arange(len(division.groups))
    with mpl.rc_context(STYLE):
        figure, (axes,) = curve_axes(height_in=_height_in(len(division.tutors) + 1))
        styles = line_styles({line.tutor: line.role for line in division.tutors})
        before = LineStyle(GREY, ":", 1.4, 1)
        rows = [("pre-test", division.pre_test, before)]
        rows += [
            (display_name(line.tutor, line.role), line.outcomes, styles[line.tutor])
            for line in division.tutors
        ]
        ends = []
        for row, (name, outcomes, style) in enumerate(rows):
            mean, low, high = np.array([estimate[:3] for estimate in outcomes]).T
            if division.kind == "ability":
                axes.fill_between(x, low, high, color=style.color, alpha=0.12, linewidth=0)
                axes.plot(x, mean, marker="o", markersize=3, **style._asdict())
            else:
                place = x + _DODGE * ((row + 0.5) / len(rows) - 0.5)
                fill = "white" if style is before else style.color
                axes.plot(place, mean, "o", ms=5, color=style.color, mfc=fill, zorder=style.zorder)
                axes.vlines(place, low, high, color=style.color, linewidth=1.4)
            ends.append(LineEnd(float(mean[-1]), f"{name}  {mean[-1]:#.3g}", style.color))
        axes.set_xticks(x, [_wrapped(name, len(x)) for name in division.groups])
        axes.set_xlim(-0.4, len(x) - 0.6)
        axes.set_xlabel(_GROUP_LABELS[division.kind])
        axes.set_ylabel("expected post-test at the end of a lesson")
        label_ends(axes, ends)
        return figure


def _wrapped(name: str, n_groups: int) -> str:
    """A group's name below an axis: ``decile 3`` is ``3`` where there is little room."""
    return name.removeprefix("decile ") if n_groups > _MAX_GROUP_NAMES else name


# -- actions --------------------------------------------------------------------------------------
def action_heatmap(evaluation: Evaluation) -> Figure:
    """What a tutor does when: share of the students who get each action, step by step.

    Where the population has two to four named types, each type has a panel of its own: an adaptive
    tutor starts alike with all of them and then treats them differently.
    """
    n_types = len(evaluation.population.type_names)
    groups = [np.ones(len(evaluation.types), dtype=bool)]
    titles = [display_name(evaluation.tutor, evaluation.role)]
    if 1 < n_types <= MAX_TYPE_PANELS:
        groups = [evaluation.types == index for index in range(n_types)]
        titles = [name.replace("_", " ") for name in evaluation.population.type_names]
    labels = action_labels(evaluation)
    shares = [_shares(evaluation, group) for group in groups]
    top = max(float(share.max()) for share in shares)
    task = evaluation.task
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        height_in = 1.1 + 0.2 * min(len(labels), _MAX_ACTION_LABELS)
        figure = Figure(figsize=(WIDTH_IN, max(1.9, height_in)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for axes, title, share in zip(panels, titles, shares, strict=True):
            image = axes.pcolormesh(
                np.arange(task.n_trial_steps + 1) + 0.5,
                np.arange(len(labels) + 1) - 0.5,
                share.T,
                cmap="Blues",
                vmin=0,
                vmax=max(top, 1e-9),
                rasterized=True,
            )
            for lesson in range(1, task.n_lessons):
                axes.axvline(lesson * task.n_steps + 0.5, color=GREY, linewidth=0.8)
            axes.set_title(title)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=max(3, 10 // len(groups))))
        shown = range(0, len(labels), 1 + (len(labels) - 1) // _MAX_ACTION_LABELS)
        panels[0].set_yticks(list(shown), [labels[i] for i in shown])
        panels[0].invert_yaxis()
        figure.supxlabel("teaching action number in the trial", fontsize=FONT_PT)
        bar = figure.colorbar(image, ax=list(panels), fraction=0.03, pad=0.01)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        bar.set_label("share of the students")
        return figure


def action_labels(evaluation: Evaluation) -> list[str]:
    """Short names of the actions, without the parts that all of them share."""
    actions = evaluation.population.student_model.actions
    varying = [part for part in range(3) if len({action[part] for action in actions}) > 1]
    return [
        " · ".join(action[part].replace("_", " ") for part in varying if action[part])
        or str(action)
        for action in actions
    ]


def _shares(evaluation: Evaluation, group: NDArray[np.bool_]) -> Array:
    """Share of a group's students who got each action at each step of the trial, ``(K * T, A)``."""
    n_actions = evaluation.population.student_model.n_actions
    actions = evaluation.actions.reshape(-1, len(group))[:, group]
    counts = np.stack([(actions == a).sum(axis=-1) for a in range(n_actions)], axis=-1)
    shares: Array = counts / max(1, int(group.sum()))
    return shares
