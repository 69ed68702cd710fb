"""Comparison: all tutors of an experiment teach the same test students; table, results, report."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from tutor_agents.registry import make_tutor
from tutor_agents.tutor import Tutor
from tutor_envs.population import Population, Split
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Evaluation, Role, evaluate
from tutor_sim.figures import LearningPoint, score_label
from tutor_sim.pictures import Picture, has_preferences, pictures
from tutor_sim.report import STYLES_ARE_CONTESTED, Report, write_report
from tutor_sim.results import write_results, write_summary
from tutor_sim.summary import BAYES, Summary, summarise
from tutor_sim.tables import results_table
from tutor_sim.versions import versions

RESULTS_FILE = "results.parquet"
SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"


@dataclasses.dataclass(frozen=True)
class Training:
    """How the learned tutor came about.

    Attributes:
        learning_curve: its validations.
        teaching_steps: teaching actions it was trained on.
        elapsed_s: seconds of training.
    """

    learning_curve: Sequence[LearningPoint]
    teaching_steps: int
    elapsed_s: float


@dataclasses.dataclass(frozen=True)
class ComparisonResult:
    """What a comparison leaves.

    Attributes:
        evaluations: one for each tutor.
        summary: their statistics.
        pictures: what the report shows, for TensorBoard.
        notes: what could not be done, and why.
        folder: where results, summary and report lie.
    """

    evaluations: tuple[Evaluation, ...]
    summary: Summary
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]
    folder: Path

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / REPORT_FILE


def compare(
    experiment: Experiment,
    *,
    folder: Path,
    learned: Sequence[Tutor] = (),
    training: Training | None = None,
    population: Population | None = None,
    n_students: int | None = None,
    device: str = "cpu",
    console: Console | None = None,
    commands: Sequence[str] = (),
) -> ComparisonResult:
    """Evaluate the learned and all listed tutors on the same test students.

    Tutors are prepared for the experiment's population, whoever is taught: with another
    ``population`` every one of them meets students it was not made for, exact values do not hold,
    and no tutor counts as the optimum.

    Args:
        experiment: the population, the task, the tutors.
        folder: an existing folder for ``results.parquet``, ``summary.json`` and ``report.html``.
        learned: trained tutors; they take the place of the experiment's algorithm in its list.
        training: how they were trained, for the report.
        population: whose students are taught; the experiment's unless given.
        n_students: how many; as the experiment says unless given.
        device: of PyTorch; the learned tutors must be there.
        console: where the table is printed; nowhere if None.
        commands: shell commands for the report.

    Raises:
        ValueError: a tutor that cannot teach this population, or nothing to compare.
        SaveError: a file cannot be written.
    """
    taught = population or experiment.population
    if taught.student_model.actions != experiment.population.student_model.actions:
        raise ValueError(
            f"population `{taught.name}` must have the teaching actions of "
            f"`{experiment.population.name}`, on which the tutors act."
        )
    same = taught == experiment.population
    evaluations: list[Evaluation] = []
    notes: list[str] = []
    with (console or Console(quiet=True)).status("") as status:
        for name, role, make in _candidates(experiment, learned, device):
            status.update(Text(f"evaluating {name}"))
            try:
                tutor = make()
            except ValueError as error:
                if role is not Role.OPTIMUM:
                    raise
                notes.append(f"The Bayes-optimal tutor is left out: {error}")
                continue
            evaluation = evaluate(
                tutor,
                taught,
                experiment.task,
                n_students=n_students or experiment.evaluation.n_students,
                seed=experiment.evaluation.seed,
                split=Split.TEST,
                role=role if same or role is not Role.OPTIMUM else Role.BASELINE,
                device=device,
            )
            evaluations.append(evaluation)
    if not same:
        notes.append(
            f"These are students of {taught.name}; all tutors were made for those of "
            f"{experiment.population.name}."
        )
    if not evaluations:
        raise ValueError("`tutors` must name at least one tutor that can be evaluated, got none.")
    summary = summarise(evaluations, exact=experiment.reference_values if same else None)
    curve = training.learning_curve if training else ()
    shown = pictures(evaluations, summary, curve)
    notes += _notes(evaluations, learned)
    write_results(folder / RESULTS_FILE, evaluations)
    write_summary(folder / SUMMARY_FILE, summary)
    report = Report(
        title=experiment.name if same else f"{experiment.name} with {taught.name}",
        description=experiment.description,
        summary=summary,
        pictures=shown,
        facts=_facts(experiment, evaluations[0], training),
        notes=notes,
        commands=commands,
        configuration=experiment.to_yaml(),
    )
    write_report(folder / REPORT_FILE, report)
    if console is not None:
        _print(console, report.title, evaluations[0], summary, notes)
    return ComparisonResult(tuple(evaluations), summary, tuple(shown), tuple(notes), folder)


class _Candidate(NamedTuple):
    name: str
    role: Role
    make: Callable[[], Tutor]


def _candidates(
    experiment: Experiment, learned: Sequence[Tutor], device: str
) -> Iterator[_Candidate]:
    """Learned tutors first, then those of the list, each to be made when its turn comes."""
    for tutor in learned:
        yield _Candidate(tutor.name, Role.LEARNED, functools.partial(_itself, tutor))
    for spec in experiment.tutors:
        if spec.name != experiment.algorithm:
            make = functools.partial(
                make_tutor,
                spec.name,
                experiment.population,
                experiment.task,
                seed=experiment.seed,
                device=device,
                **spec.options,
            )
            role = Role.OPTIMUM if spec.name == BAYES else Role.BASELINE
            yield _Candidate(spec.name, role, make)


def _itself(tutor: Tutor) -> Tutor:
    return tutor


def _notes(evaluations: Sequence[Evaluation], learned: Sequence[Tutor]) -> list[str]:
    notes = []
    if learned:
        notes.append(
            "Intervals cover the draw of students, not that of the training seed: train with other "
            "seeds before you conclude that one way of training is better than another."
        )
    if has_preferences(evaluations):
        notes.append(STYLES_ARE_CONTESTED)
    return notes


def _facts(
    experiment: Experiment, evaluation: Evaluation, training: Training | None
) -> list[tuple[str, str]]:
    population, task = evaluation.population, evaluation.task
    model = population.student_model
    facts = [
        ("population", ": ".join(filter(None, [population.name, population.description]))),
        (
            "students",
            f"model {population.student}, {_count(len(model.skills), 'skill')}, "
            f"{_count(len(model.modalities), 'modality', 'modalities')}, "
            f"{_count(model.n_actions, 'teaching action')}",
        ),
        (
            "task",
            f"{_count(task.n_lessons, 'lesson')} of {_count(task.n_steps, 'teaching action')}; "
            f"score: {score_label(evaluation)}",
        ),
        (
            "evaluation",
            f"{len(evaluation.students):,} students of the test split, seed {evaluation.seed}",
        ),
    ]
    if training is not None:
        facts.append(
            (
                "training",
                f"{experiment.algorithm}, seed {experiment.seed}, {training.teaching_steps:,} "
                "teaching "
                f"actions in {training.elapsed_s:,.0f} s; the checkpoint with the best score with "
                f"{experiment.evaluation.validation_students:,} validation students",
            )
        )
    found = versions()
    return [*facts, ("versions", ", ".join(f"{name} {version}" for name, version in found.items()))]


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _print(
    console: Console, title: str, evaluation: Evaluation, summary: Summary, notes: Sequence[str]
) -> None:
    task = evaluation.task
    heading = (
        f"{title}: {score_label(evaluation)}, {_count(task.n_lessons, 'lesson')} of "
        f"{_count(task.n_steps, 'teaching action')}"
    )
    console.print()
    console.print(results_table(summary, title=heading, width=console.width))
    for note in notes:
        if note is not STYLES_ARE_CONTESTED:
            console.print(Text(note, style="dim"))
