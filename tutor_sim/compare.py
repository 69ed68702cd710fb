"""Comparison: all tutors of an experiment teach the same test students; table, results, report."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tutor_agents.plug_ins import is_plug_in
from tutor_agents.registry import TUTORS, make_tutor
from tutor_agents.tutor import CannotTeach, Tutor
from tutor_envs.population import Population, Split
from tutor_sim.adaptation_table import adaptation_tables, regret_table
from tutor_sim.adapting import SUFFIX, Adapting, adaptation_notes
from tutor_sim.config import Experiment, TutorSpec
from tutor_sim.controls.compared import ComparedControls
from tutor_sim.controls.shown import controls_to_json, print_controls
from tutor_sim.evaluation import Evaluation, Role, evaluate
from tutor_sim.figures import LearningPoint, score_label
from tutor_sim.learning_table import equity_notes, equity_tables, learning_tables
from tutor_sim.pictures import Picture, has_preferences, pictures
from tutor_sim.report import STYLES_ARE_CONTESTED, Report, write_report
from tutor_sim.results import write_results, write_summary
from tutor_sim.summary import BAYES, Cost, Summary, summarise
from tutor_sim.tables import results_table
from tutor_sim.versions import versions

RESULTS_FILE = "results.parquet"
SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"


@dataclasses.dataclass(frozen=True)
class Training:
    """How a learned tutor came about.

    Attributes:
        learning_curve: its validations.
        teaching_steps: teaching actions it was trained on.
        elapsed_s: seconds of training.
        cpu_s: CPU-seconds of training.
    """

    learning_curve: Sequence[LearningPoint]
    teaching_steps: int
    elapsed_s: float
    cpu_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Learned:
    """A learned tutor to compare.

    Attributes:
        name: how tables call it; the same for all seeds of one learner.
        make: brings it, when its turn comes.
        training: how it came about; None: unknown.
        seed: of training; None where there was one training only.
    """

    name: str
    make: Callable[[], Tutor]
    training: Training | None = None
    seed: int | None = None

    @classmethod
    def of(cls, tutor: Tutor, training: Training | None = None) -> Learned:
        """A tutor that is there already."""
        return cls(tutor.name, functools.partial(_itself, tutor), training)


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
    learned: Sequence[Learned] = (),
    population: Population | None = None,
    n_students: int | None = None,
    device: str = "cpu",
    console: Console | None = None,
    commands: Sequence[str] = (),
    show: Collection[str] = (),
) -> ComparisonResult:
    """Evaluate the learned and all listed tutors on the same test students.

    A tutor that cannot teach this population is left out, and a note says why.

    Tutors are prepared for the experiment's population, whoever is taught: with another
    ``population`` every one of them meets students it was not made for, exact values do not hold,
    and no tutor counts as the optimum.

    Args:
        experiment: the population, the task, the tutors.
        folder: an existing folder for ``results.parquet``, ``summary.json`` and ``report.html``.
        learned: trained tutors; they take the place of the experiment's learners in its list.
        population: whose students are taught; the experiment's unless given.
        n_students: how many; as the experiment says unless given.
        device: of PyTorch; the learned tutors must be there.
        console: where the table is printed; nowhere if None.
        commands: shell commands for the report.
        show: further tables to print: ``learning``, ``equity``, ``regret``.

    Raises:
        ValueError: nothing to compare.
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
    unadapted: list[Evaluation] = []
    notes: list[str] = []
    controlled = ComparedControls(
        taught, experiment.task, seed=experiment.evaluation.seed, device=device
    )
    with (console or Console(quiet=True)).status("") as status:
        for name, role, make, training_seed in _candidates(experiment, learned, device):
            seed_text = "" if training_seed is None else f", seed {training_seed}"
            status.update(Text(f"evaluating {name}{seed_text}"))
            teach = functools.partial(
                evaluate,
                population=taught,
                task=experiment.task,
                n_students=n_students or experiment.evaluation.n_students,
                seed=experiment.evaluation.seed,
                split=Split.TEST,
                role=role if same or role is not Role.OPTIMUM else Role.BASELINE,
                device=device,
                delays_days=experiment.evaluation.delays_days,
            )
            try:
                tutor = make()
                evaluation = teach(tutor)
            except CannotTeach as error:
                notes.append(f"{name} is left out: {error}")
                continue
            if role is Role.LEARNED:
                named = functools.partial(dataclasses.replace, training_seed=training_seed)
                evaluation = named(evaluation, tutor=name)
                if isinstance(tutor, Adapting):
                    unadapted.append(named(teach(tutor.unadapted()), tutor=name + SUFFIX))
            evaluations.append(evaluation)
            controlled.meet(tutor, evaluation)
        controls = controlled.results()
    if not same:
        notes.append(
            f"These are students of {taught.name}; all tutors were made for those of "
            f"{experiment.population.name}."
        )
    if not evaluations:
        why = "".join(f"\n{note}" for note in notes)
        raise ValueError(
            f"`tutors` must name at least one tutor that can be evaluated, got none.{why}"
        )
    exact = experiment.reference_values if same else None
    summary = summarise(
        evaluations,
        exact=exact,
        costs=_costs(learned),
        discount=experiment.evaluation.discount,
    )
    shown = pictures(evaluations, summary, _learning_curves(learned))
    notes += adaptation_notes(evaluations, unadapted) + _notes(evaluations, summary)
    write_results(folder / RESULTS_FILE, [*evaluations, *unadapted])
    null_controls = {"null_controls": controls_to_json(controls)}
    write_summary(folder / SUMMARY_FILE, summary, null_controls)
    report = Report(
        title=experiment.name if same else f"{experiment.name} with {taught.name}",
        description=experiment.description,
        summary=summary,
        pictures=shown,
        facts=_facts(experiment, evaluations[0], learned),
        notes=notes,
        commands=commands,
        configuration=experiment.to_yaml(),
        controls=controls,
    )
    write_report(folder / REPORT_FILE, report)
    if console is not None:
        _print(console, report.title, evaluations[0], summary, notes, show)
        print_controls(console, controls)
    return ComparisonResult(tuple(evaluations), summary, tuple(shown), tuple(notes), folder)


def check_plug_ins(experiment: Experiment, device: str) -> None:
    """Let every third party's tutor teach two students, before hours of training are spent.

    Raises:
        ValueError: one cannot be made, does not act as a tutor must, or has the name of another.
    """
    others = [spec for spec in experiment.tutors if spec.name not in experiment.learned]
    specs = [spec for spec in others if spec.algorithm not in TUTORS and is_plug_in(spec.algorithm)]
    names = [*experiment.learned, *(spec.name for spec in others if spec not in specs)]
    for spec in specs:
        tutor = listed_tutor(experiment, spec, device)
        if tutor.name in names:
            raise ValueError(
                f"`tutors` must have different names, and `{spec.name}` is called "
                f"{tutor.name!r} like another one"
            )
        names.append(tutor.name)
        evaluate(tutor, experiment.population, experiment.task, n_students=2, seed=0, device=device)


def listed_tutor(experiment: Experiment, spec: TutorSpec, device: str) -> Tutor:
    """One of the experiment's ``tutors``, prepared for its population.

    Raises:
        CannotTeach: it cannot teach this population.
        ValueError: a third party's tutor cannot be made, or called otherwise.
    """
    tutor = make_tutor(
        spec.algorithm,
        experiment.population,
        experiment.task,
        seed=experiment.seed,
        device=device,
        **spec.options,
    )
    if spec.own_name is not None:
        try:
            tutor.name = spec.own_name  # type: ignore[misc]  # its own, before that of its class
        except AttributeError as error:
            raise ValueError(f"`tutors.{spec.name}` cannot be given this name: {error}") from None
    return tutor


class _Candidate(NamedTuple):
    name: str
    role: Role
    make: Callable[[], Tutor]
    seed: int | None = None


def _candidates(
    experiment: Experiment, learned: Sequence[Learned], device: str
) -> Iterator[_Candidate]:
    """Learned tutors first, then those of the list, each to be made when its turn comes."""
    for one in learned:
        yield _Candidate(one.name, Role.LEARNED, one.make, one.seed)
    for spec in experiment.tutors:
        if spec.name not in experiment.learned:
            role = Role.OPTIMUM if spec.algorithm == BAYES else Role.BASELINE
            make = functools.partial(listed_tutor, experiment, spec, device)
            yield _Candidate(spec.name, role, make)


def _itself(tutor: Tutor) -> Tutor:
    return tutor


def _costs(learned: Sequence[Learned]) -> dict[str, Cost]:
    """Tutor -> what its training took, mean over seeds."""
    found: dict[str, list[Training]] = {}
    for one in learned:
        if one.training is not None:
            found.setdefault(one.name, []).append(one.training)
    return {name: mean_cost(trainings) for name, trainings in found.items()}


def mean_cost(trainings: Sequence[Training]) -> Cost:
    """What one of them took on average."""
    return Cost(
        statistics.fmean(training.teaching_steps for training in trainings),
        statistics.fmean(training.elapsed_s for training in trainings),
        statistics.fmean(training.cpu_s for training in trainings),
    )


def _learning_curves(learned: Sequence[Learned]) -> dict[str, list[Sequence[LearningPoint]]]:
    """Tutor -> its learning curves, one for each seed."""
    curves: dict[str, list[Sequence[LearningPoint]]] = {}
    for one in learned:
        if one.training is not None and one.training.learning_curve:
            curves.setdefault(one.name, []).append(one.training.learning_curve)
    return curves


def _notes(evaluations: Sequence[Evaluation], summary: Summary) -> list[str]:
    notes = []
    n_seeds = [line.n_seeds for line in summary.tutors if line.role is Role.LEARNED]
    if n_seeds and max(n_seeds) > 1:
        notes.append(
            f"Learned tutors are means over {max(n_seeds)} training seeds; their intervals cover "
            "the draw of students and of seeds (two-level bootstrap). Tutors without training have "
            "intervals over students."
        )
    elif n_seeds:
        notes.append(
            "Intervals cover the draw of students, not that of the training seed: train with other "
            "seeds before you conclude that one way of training is better than another."
        )
    notes += equity_notes(summary)
    if has_preferences(evaluations):
        notes.append(STYLES_ARE_CONTESTED)
    return notes


def _facts(
    experiment: Experiment, evaluation: Evaluation, learned: Sequence[Learned]
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
    if any(one.training for one in learned):
        facts.append(("training", _training_fact(experiment, learned)))
    found = versions()
    return [*facts, ("versions", ", ".join(f"{name} {version}" for name, version in found.items()))]


def _training_fact(experiment: Experiment, learned: Sequence[Learned]) -> str:
    chosen = (
        "the checkpoint with the best score with "
        f"{experiment.evaluation.validation_students:,} validation students"
    )
    if experiment.has_parts:
        seeds = ", ".join(map(str, experiment.training_seeds))
        n = len(experiment.learned)
        return f"{_count(n, 'learner')}, each with the seeds {seeds}; of each {chosen}"
    training = learned[0].training
    assert training is not None
    return (
        f"{experiment.algorithm}, seed {experiment.seed}, {training.teaching_steps:,} teaching "
        f"actions in {training.elapsed_s:,.0f} s ({training.cpu_s:,.0f} CPU-seconds); {chosen}"
    )


def what_is_scored(evaluation: Evaluation) -> str:
    """``post-test score, 2 lessons of 12 teaching actions``."""
    task = evaluation.task
    return (
        f"{score_label(evaluation)}, {_count(task.n_lessons, 'lesson')} of "
        f"{_count(task.n_steps, 'teaching action')}"
    )


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _print(
    console: Console,
    title: str,
    evaluation: Evaluation,
    summary: Summary,
    notes: Sequence[str],
    show: Collection[str],
) -> None:
    heading = f"{title}: {what_is_scored(evaluation)}"
    console.print()
    console.print(results_table(summary, title=heading, width=console.width))
    tables = adaptation_tables(summary, width=console.width) if summary.n_lessons > 1 else []
    for table in [*tables, *_further_tables(summary, show, console.width)]:
        console.print()
        console.print(table)
    for note in notes:
        if note is not STYLES_ARE_CONTESTED:
            console.print(Text(note, style="dim"))


def _further_tables(summary: Summary, show: Collection[str], width: int) -> Iterator[Table]:
    """What is asked for, and there."""
    if "learning" in show:
        yield from learning_tables(summary, width=width)
    if "regret" in show and summary.lesson_reference is not None:
        yield regret_table(summary, width=width)
    if "equity" in show:
        yield from equity_tables(summary, width=width)
