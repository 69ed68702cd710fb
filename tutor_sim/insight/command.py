"""What ``tutor-sim insight``, ``lesson`` and ``class`` do; each can be called from Python alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tutor_agents.tutor import Tutor
from tutor_sim.commands import resolve_device
from tutor_sim.drawing import to_svg
from tutor_sim.files import atomic_write, saving
from tutor_sim.insight.behaviour import (
    Grouping,
    action_names,
    groupings,
    openings,
    sequences_csv,
    shares,
    shares_csv,
    varying_parts,
)
from tutor_sim.insight.belief import Tracker
from tutor_sim.insight.class_page import class_csv, class_html, class_lines
from tutor_sim.insight.class_view import ClassReport, report_class
from tutor_sim.insight.figures import behaviour_figure, probe_figure, story_figure
from tutor_sim.insight.page import page, picture, table
from tutor_sim.insight.probes import MIN_STUDENTS, ProbeScore, probe
from tutor_sim.insight.projector import write_projector
from tutor_sim.insight.story import Story, story_text
from tutor_sim.insight.trace import Trace, check_remembers, record
from tutor_sim.runs import Run
from tutor_sim.training import load_best

FOLDER = "insight"
"""In the run folder."""
N_SAMPLED = 512
"""Training students that stand for a population that is not a small finite one."""
_SOURCES = ("memory", "counts", "posterior", "shuffled")
_HEAD = ("target", "measure", "memory", "95 %", "counts", "posterior", "shuffled")
_N_OPENINGS = 5
_NOTHING = "–"


def insight(folder: Path, *, n_students: int, device: str, console: Console) -> list[ProbeScore]:
    """Probes, behaviour and embeddings of a run's tutor, with test students.

    Args:
        folder: the run folder.
        n_students: test students; half of them are fitted by probes.
        device: of PyTorch; ``auto`` is allowed.
        console: for results.

    Raises:
        ValueError: bad input, or a tutor without a memory.
        SaveError: something could not be written.
    """
    if n_students < MIN_STUDENTS:
        raise ValueError(f"`--students` must be at least {MIN_STUDENTS}, got {n_students}")
    run, tutor, device = _open(folder, device)
    check_remembers(tutor)
    population = run.experiment.population
    trace = _record(run, tutor, device, n_students, with_memory=True)
    tracker = _tracker(run) if population.student_model.is_functional else None
    seed = run.experiment.evaluation.seed
    scores = probe(trace, tracker, seed=seed)
    found = groupings(trace.hidden, population.student_model, population.type_names)
    target = _target(folder)
    _write(target / "probes.csv", probes_csv(scores))
    _write(target / "actions.csv", shares_csv(trace.seen, found))
    _write(target / "sequences.csv", sequences_csv(trace.seen))
    body = _probe_section(target, scores, tracker) + _behaviour_section(target, trace, found)
    introduction = [
        f"What tutor {trace.tutor} of {folder.name} knows of {n_students:,} test students of "
        f"population {population.name}, and what it does with them. Groups and latents are hidden "
        "from the tutor; they serve to look at it from outside."
    ]
    _write(target / "insight.html", page(f"Insight: {trace.tutor}", introduction, body))
    write_projector(target / "projector", trace, population)
    _show_probes(scores, tracker, console)
    _show_behaviour(trace, found, console)
    _say(console, f"page: {target / 'insight.html'}")
    _say(console, f"embeddings: tensorboard --logdir {target / 'projector'}  (tab Projector)")
    return scores


def lesson(
    folder: Path, *, student: int, lesson: int | None, device: str, console: Console
) -> Story:
    """One test student's lessons, told step by step.

    Args:
        folder: the run folder.
        student: which of the test students, from 1; the number it has in a class.
        lesson: which, from 1; None: all.
        device: of PyTorch; ``auto`` is allowed.
        console: for the story.

    Raises:
        ValueError: bad input.
        SaveError: something could not be written.
    """
    run, tutor, device = _open(folder, device)
    lessons = _lessons(run, lesson)
    population = run.experiment.population
    trace = _record(run, tutor, device, 1, first_student=student - 1)
    tracker = _tracker(run) if population.student_model.is_functional else None
    story = Story(
        trace,
        student,
        None if tracker is None else tracker.follow(trace.seen),
        "nobody: the student model has no belief" if tracker is None else tracker.name,
        population.type_names,
    )
    text = story_text(story, lessons)
    stem = f"student-{student}" + ("" if lesson is None else f"-lesson-{lesson}")
    target = _target(folder)
    _write(target / f"{stem}.txt", text)
    _write(target / f"{stem}.svg", to_svg(story_figure(story, lessons)))
    console.print(Text(text), soft_wrap=True)
    _say(console, f"picture: {target / stem}.svg")
    return story


def class_view(
    folder: Path, *, n_students: int, lesson: int | None, device: str, console: Console
) -> ClassReport:
    """A class of test students as their teacher may see it.

    Args:
        folder: the run folder.
        n_students: the class, from the first test student on.
        lesson: when it is over, from 1; None: the last.
        device: of PyTorch; ``auto`` is allowed.
        console: for the overview.

    Raises:
        ValueError: bad input, or a student model without a belief.
        SaveError: something could not be written.
    """
    run, tutor, device = _open(folder, device)
    done = _lessons(run, lesson)[-1] + 1
    tracker = _tracker(run)
    seen = _record(run, tutor, device, n_students).seen.lessons(done)
    report = report_class(seen, tracker)
    target = _target(folder)
    title = f"Class of {n_students} students, taught by {tutor.name}"
    _write(target / "class.html", class_html(report, title))
    _write(target / "class.csv", class_csv(report.students))
    for line in class_lines(report):
        _say(console, line)
    _say(console, f"page: {target / 'class.html'}")
    _say(console, f"table: {target / 'class.csv'}")
    return report


# -- the run --------------------------------------------------------------------------------------
def _open(folder: Path, device: str) -> tuple[Run, Tutor, str]:
    """The run, and its best tutor so far."""
    device = resolve_device(device)
    run = Run.open(folder)
    if run.experiment.has_parts:
        parts = ", ".join(sorted(str(path) for path in run.parts.glob("*") if path.is_dir()))
        raise ValueError(f"{folder}: this run has several trainings; name one of them: {parts}")
    if run.experiment.learner is None:
        raise ValueError(f"{folder}: this run trained no tutor to look into")
    torch.set_num_threads(run.n_threads)
    return run, load_best(run, device), device


def _record(
    run: Run,
    tutor: Tutor,
    device: str,
    n_students: int,
    *,
    first_student: int = 0,
    with_memory: bool = False,
) -> Trace:
    experiment = run.experiment
    return record(
        tutor,
        experiment.population,
        experiment.task,
        n_students=n_students,
        seed=experiment.evaluation.seed,
        first_student=first_student,
        with_memory=with_memory,
        device=device,
    )


def _tracker(run: Run) -> Tracker:
    experiment = run.experiment
    return Tracker.of(experiment.population, seed=experiment.seed, n_sampled=N_SAMPLED)


def _lessons(run: Run, lesson: int | None) -> range:
    n_lessons = run.experiment.task.n_lessons
    if lesson is None:
        return range(n_lessons)
    if not 1 <= lesson <= n_lessons:
        raise ValueError(f"`--lesson` must be from 1 to {n_lessons}, got {lesson}")
    return range(lesson - 1, lesson)


def _target(folder: Path) -> Path:
    target = folder / FOLDER
    with saving(target):
        target.mkdir(exist_ok=True)
    return target


def _write(path: Path, text: str) -> None:
    atomic_write(path, text.encode())


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)


# -- probes ---------------------------------------------------------------------------------------
def probes_csv(scores: Iterable[ProbeScore]) -> str:
    """One line for each number; nothing where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ProbeScore._fields)
    for score in scores:
        numbers = ["" if v != v else f"{v:.6g}" for v in (score.value, score.low, score.high)]
        writer.writerow([score.target, score.source, score.measure, score.n_answers, *numbers])
    return buffer.getvalue()


def _posterior_name(tracker: Tracker | None) -> str:
    if tracker is None:
        return "posterior"
    return "exact posterior (ceiling)" if tracker.is_exact else "posterior of a sample"


def _posterior_note(tracker: Tracker | None) -> str:
    if tracker is None:
        return "no posterior: the student model has no belief"
    role = "the ceiling" if tracker.is_exact else "no ceiling"
    return f"posterior: {tracker.name}; {role}"


def _last_scores(scores: Sequence[ProbeScore]) -> list[list[str]]:
    """Rows of target, measure and the value of each source, after the most answers."""
    last = max(score.n_answers for score in scores)
    at_end = [score for score in scores if score.n_answers == last]
    rows = []
    for target, measure in dict.fromkeys((s.target, s.measure) for s in at_end):
        cells = []
        for source in _SOURCES:
            wanted = (target, source, measure)
            mine = [s for s in at_end if s[:3] == wanted]
            cells.append(_number(mine[0].value) if mine else _NOTHING)
            if source == "memory":
                known = mine[0].low == mine[0].low
                cells.append(f"[{mine[0].low:z.2f}, {mine[0].high:z.2f}]" if known else _NOTHING)
        rows.append([target.replace("_", " "), measure, *cells])
    return rows


def _number(value: float) -> str:
    return _NOTHING if value != value else f"{value:z.2f}"


_PROBES_CAPTION = (
    "How well a linear probe of the tutor's memory tells what is hidden, of students whom the "
    "probe was not fitted to. R²: 0 knows the mean only, 1 everything. AUC: 0.5 is chance. Bands "
    "are 95 % intervals. A memory above the line of plain counts holds what they do not; what lies "
    "between it and the posterior was in the answers and is not (linearly) in the memory; shuffled "
    "labels show what a probe finds where there is nothing."
)


def _probe_section(target: Path, scores: Sequence[ProbeScore], tracker: Tracker | None) -> str:
    svg = to_svg(probe_figure(scores, _posterior_name(tracker)))
    _write(target / "probes.svg", svg)
    last = max(score.n_answers for score in scores)
    rows = _last_scores(scores)
    alt = f"Line charts over the number of answers. After {last}: " + "; ".join(
        f"{row[0]} {row[1]} {row[2]}" for row in rows
    )
    return (
        "<h2>What the tutor's memory holds</h2>"
        + picture(svg, "Probes", _PROBES_CAPTION, alt)
        + table(f"After {last} answers; {_posterior_note(tracker)}", _HEAD, rows)
    )


def _show_probes(scores: Sequence[ProbeScore], tracker: Tracker | None, console: Console) -> None:
    last = max(score.n_answers for score in scores)
    shown = Table(
        title=f"What is in the memory after {last} answers",
        box=None,
        pad_edge=False,
        header_style="bold",
        title_justify="left",
    )
    for i, name in enumerate(_HEAD):
        shown.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
    for row in _last_scores(scores):
        shown.add_row(*row)
    console.print(shown)
    _say(console, _posterior_note(tracker))


# -- behaviour ------------------------------------------------------------------------------------
def _behaviour_section(target: Path, trace: Trace, found: Sequence[Grouping]) -> str:
    parts = ["<h2>What the tutor does</h2>"]
    for grouping in found:
        svg = to_svg(behaviour_figure(trace.seen, grouping))
        stem = f"actions_by_{grouping.name.replace(' ', '_')}"
        _write(target / f"{stem}.svg", svg)
        caption = (
            "Share of the students who are taught so, step by step; white lines are new lessons. "
            + (
                "Columns that differ are students who are treated differently."
                if len(grouping.groups) > 1
                else "A single colour at a step: everybody gets the same."
            )
        )
        title = "Everybody" if grouping.name == "everybody" else f"By {grouping.name}"
        parts.append(picture(svg, title, caption, f"Stacked bars: {_alt(trace, grouping)}"))
    names = action_names(trace.seen.model)
    for lesson in sorted({0, trace.seen.task.n_lessons - 1}):
        rows = [
            [" → ".join(names[a] for a in one.actions), f"{one.share:.1%}", str(one.n_times)]
            for one in openings(trace.seen, lesson)[:_N_OPENINGS]
        ]
        caption = f"How lesson {lesson + 1} is begun most often"
        parts.append(table(caption, ["first actions", "share", "students"], rows))
    return "".join(parts)


def _alt(trace: Trace, grouping: Grouping) -> str:
    """The shares of the last part that varies in the last lesson, in words."""
    part = varying_parts(trace.seen.model)[-1:]
    return "; ".join(
        f"{group}: " + ", ".join(f"{name} {share:.0%}" for name, share in zip(*row, strict=True))
        for name_of_part in part
        for group, row in _mean_shares(trace, grouping, name_of_part, -1)
    )


def _mean_shares(
    trace: Trace, grouping: Grouping, part: str, lesson: int
) -> list[tuple[str, tuple[list[str], list[float]]]]:
    """Each group with the values of a part and their mean shares in a lesson (-1: the last)."""
    values, share = shares(trace.seen, part, grouping)
    task = trace.seen.task
    by_lesson = share.reshape(len(share), task.n_lessons, task.n_steps, -1).mean(2)
    return [
        (group, (values, by_lesson[g, lesson].tolist())) for g, group in enumerate(grouping.groups)
    ]


def _show_behaviour(trace: Trace, found: Sequence[Grouping], console: Console) -> None:
    """First and last lesson: shares of the last part that varies, a line for each group."""
    names = action_names(trace.seen.model)
    best = openings(trace.seen, 0)[0]
    told = " → ".join(names[a] for a in best.actions)
    _say(console, f"\nmost frequent opening ({best.share:.0%} of the students): {told}")
    several = trace.seen.task.n_lessons > 1
    for part in varying_parts(trace.seen.model)[-1:]:
        values, _ = shares(trace.seen, part, found[0])
        shown = Table(
            title=f"Share by {part}{', first → last lesson' if several else ''}",
            box=None,
            pad_edge=False,
            header_style="bold",
            title_justify="left",
        )
        shown.add_column("students")
        for value in values:
            shown.add_column(value, justify="right")
        for grouping in found:
            first, last = (_mean_shares(trace, grouping, part, k) for k in (0, -1))
            for (group, (_, before)), (_, (_, after)) in zip(first, last, strict=True):
                pairs = zip(before, after, strict=True)
                cells = [f"{b:.0%} → {a:.0%}" if several else f"{a:.0%}" for b, a in pairs]
                shown.add_row(group, *cells)
        console.print(shown)
