"""``tutor-sim adapt``: what the first answers are worth to the tutors of a run."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tutor_agents.tutor import Oracle, Tutor
from tutor_envs.errors import unknown_name
from tutor_envs.task import TeachingTask
from tutor_sim.commands import best_so_far, resolve_device
from tutor_sim.compare import listed_tutor, what_is_scored
from tutor_sim.drawing import (
    BLACK,
    GREY,
    STYLE,
    LineEnd,
    curve_axes,
    label_ends,
    line_styles,
    to_svg,
)
from tutor_sim.evaluation import Evaluation, Role, evaluate
from tutor_sim.files import atomic_write
from tutor_sim.first_answers import FirstAnswers, Forgetful, forgetting_points
from tutor_sim.runs import Run
from tutor_sim.statistics import Array
from tutor_sim.summary import BAYES, plain
from tutor_sim.tables import decimals, interval_text

JSON_FILE = "first_answers.json"
PICTURE_FILE = "first_answers.svg"
FORMAT = 1
"""Version of the JSON file; another meaning is another number."""

Teach = Callable[[Tutor], Evaluation]


class _Candidate(NamedTuple):
    """A tutor of the run: how each of its trainings is brought."""

    name: str
    role: Role
    trainings: Sequence[Callable[[], Tutor]]


def adapt_run(
    folder: Path,
    *,
    tutors: Sequence[str],
    n_students: int | None,
    device: str,
    console: Console,
) -> list[FirstAnswers]:
    """Tell what the first answers of a student are worth; leave a picture and a JSON file.

    Args:
        folder: the run folder; training need not be finished.
        tutors: names; if none, the learned ones, and where nothing was learned all but oracles.
        n_students: test students; as the experiment says unless given.
        device: of PyTorch; ``auto`` is allowed.
        console: for results.

    Raises:
        ValueError: bad input, or a tutor that cannot be prepared.
        SaveError: something could not be written.
    """
    device = resolve_device(device)
    run = Run.open(folder)
    torch.set_num_threads(run.n_threads)
    experiment = run.experiment
    task, settings = experiment.task, experiment.evaluation
    points = forgetting_points(task)
    if not points:
        raise ValueError(f"{folder}: a trial of one teaching action leaves nothing to remember")
    teach: Teach = functools.partial(
        evaluate,
        population=experiment.population,
        task=task,
        n_students=n_students or settings.n_students,
        seed=settings.seed,
        device=device,
        delays_days=(),
    )
    found = []
    with console.status("") as status:
        for name, role, trainings in _chosen(_candidates(run, device), tutors):
            status.update(Text(f"evaluating {name}, forgetful"))
            made = [training() for training in trainings]
            if any(isinstance(tutor, Oracle) for tutor in made):
                if tutors:
                    raise ValueError(f"`--tutor {name}` reads what is hidden: it has no memory")
                continue
            ordinary = [teach(tutor) for tutor in made]
            forgetful = {k: _scores([teach(Forgetful(tutor, k)) for tutor in made]) for k in points}
            found.append(FirstAnswers.of(name, role, _scores(ordinary), forgetful))
    if not found:
        raise ValueError(f"{folder}: has no tutor that could remember anything")
    evaluation = ordinary[0]
    about = {"format": FORMAT, "n_students": len(evaluation.students)}
    lines = [plain(dataclasses.asdict(line)) for line in found]
    text = json.dumps(about | {"tutors": lines}, indent=2, allow_nan=False) + "\n"
    atomic_write(folder / JSON_FILE, text.encode())
    atomic_write(folder / PICTURE_FILE, to_svg(worth_curve(found, task)).encode())
    console.print(Text(f"{experiment.name}: {what_is_scored(evaluation)}", style="bold"))
    for line in found:
        console.print()
        console.print(worth_table(line, task))
    console.print(
        Text(
            "\nWhat the first k answers are worth: the score of a lesson less that of the same "
            "tutor which forgets everything after k actions, and goes on; paired, [95 % interval]; "
            f"{len(evaluation.students):,} unseen students. After whole lessons only the student "
            "is forgotten.",
            style="dim italic",
        )
    )
    console.print(Text(f"picture: {folder / PICTURE_FILE}"), soft_wrap=True)
    return found


def _candidates(run: Run, device: str) -> Iterator[_Candidate]:
    """Learned tutors first, then the listed ones."""
    experiment = run.experiment
    trainings: dict[str, list[Callable[[], Tutor]]] = {}
    for one in best_so_far(run, device):
        trainings.setdefault(one.name, []).append(one.make)
    for name, makes in trainings.items():
        yield _Candidate(name, Role.LEARNED, makes)
    for spec in experiment.tutors:
        if spec.name not in experiment.learned:
            role = Role.OPTIMUM if spec.algorithm == BAYES else Role.BASELINE
            make = functools.partial(listed_tutor, experiment, spec, device)
            yield _Candidate(spec.name, role, [make])


def _chosen(candidates: Iterator[_Candidate], names: Sequence[str]) -> list[_Candidate]:
    everything = {candidate.name: candidate for candidate in candidates}
    for name in names:
        if name not in everything:
            raise ValueError(unknown_name("--tutor", name, everything))
    if names:
        return [everything[name] for name in dict.fromkeys(names)]
    learned = [one for one in everything.values() if one.role is Role.LEARNED]
    return learned or list(everything.values())


def _scores(evaluations: Sequence[Evaluation]) -> Array:
    """``(S, n)``, one row for each training."""
    return np.stack([evaluation.student_scores for evaluation in evaluations])


def worth_table(line: FirstAnswers, task: TeachingTask) -> Table:
    """For a terminal: a row for each k."""
    n = decimals(list(line.worth.values()))
    table = Table(
        title=f"{line.tutor}, which scores {interval_text(line.score, n)}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    for head in ("first k answers", "worth [95 %]", "score if forgotten"):
        table.add_column(Text(head), no_wrap=True)
    for k, worth in line.worth.items():
        table.add_row(
            _first(k, task),
            interval_text(worth, n, sign="+"),
            interval_text(line.forgetful[k], n),
        )
    return table


def _first(k: int, task: TeachingTask) -> str:
    """``24 (2 lessons)``."""
    lessons, rest = divmod(k, task.n_steps)
    if rest:
        return str(k)
    return f"{k} ({lessons} lesson{'s' * (lessons > 1)})"


def worth_curve(answers: Sequence[FirstAnswers], task: TeachingTask) -> Figure:
    """What the first k answers are worth, over k, with 95 % bands; 0 at both ends by definition."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = curve_axes(height_in=4.0)
        styles = line_styles({line.tutor: line.role for line in answers})
        ends = []
        for line in answers:
            style = styles[line.tutor]
            x = [0, *line.worth, task.n_trial_steps]
            value, low, high = np.pad(
                np.array([estimate[:3] for estimate in line.worth.values()]), ((1, 1), (0, 0))
            ).T
            axes.fill_between(x, low, high, color=style.color, alpha=0.15, linewidth=0)
            axes.plot(x, value, marker="o", markersize=3, **style._asdict())
            ends.append(LineEnd(0.0, line.tutor, style.color))
        for lesson in range(1, task.n_lessons):
            axes.axvline(lesson * task.n_steps, color=GREY, linewidth=0.8)
        axes.axhline(0, color=BLACK, linewidth=0.8)
        axes.set_xlim(0, task.n_trial_steps)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        axes.set_xlabel("first answers k; grey: ends of lessons")
        axes.set_ylabel("what they are worth (score of a lesson)")
        label_ends(axes, ends)
        return figure
