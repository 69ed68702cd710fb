"""What the commands do; each can be called from Python alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS
from tutor_sim.compare import ComparisonResult, Training, compare
from tutor_sim.config import Experiment, TutorSpec
from tutor_sim.experiment_files import load_experiment, load_experiments, load_population
from tutor_sim.files import saving
from tutor_sim.learners import LearnedTutor
from tutor_sim.runs import Run
from tutor_sim.stopping import Interrupted
from tutor_sim.tensorboard import Board
from tutor_sim.training import Trained, load_best, train


def resolve_device(name: str) -> str:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``.

    Raises:
        ValueError: no such device, or none of that kind is available.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"`--device` must be auto, cpu, cuda or cuda:N, got {name!r}")
    index = int(name.partition(":")[2] or 0)
    if name != "cpu" and index >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ValueError(f"`--device` {name}: PyTorch finds {found} CUDA devices; use auto or cpu")
    return name


def train_file(
    path: Path,
    *,
    overrides: Sequence[str],
    seed: int | None,
    device: str,
    n_threads: int,
    root: Path,
    console: Console,
    log: Console,
) -> Run:
    """Train the experiment of a file and score the tutor with test students.

    Args:
        path: the experiment file.
        overrides: ``a.b=value`` each.
        seed: replaces the experiment's.
        device: of PyTorch; ``auto`` is allowed.
        n_threads: CPU threads of PyTorch.
        root: folder of the run folders.
        console: for results.
        log: for progress.

    Raises:
        ValueError: bad input.
        SaveError: something could not be written.
        Interrupted: the user stopped it.
    """
    device = resolve_device(device)
    experiment = load_experiment(path, overrides=overrides, seed=seed)
    if experiment.learner is None:
        raise ValueError(
            f"{path}: `learner` is missing: nothing to train; `tutor-sim compare` evaluates tutors"
        )
    run = Run.create(root, experiment, "train", n_threads)
    finish(run, device=device, console=console, log=log)
    return run


def compare_file(
    path: Path,
    *,
    overrides: Sequence[str],
    seed: int | None,
    short: bool,
    device: str,
    n_threads: int,
    root: Path,
    console: Console,
    log: Console,
) -> list[Run]:
    """Train what is to be trained in a file's experiments, and compare all their tutors.

    Arguments and errors as for :func:`train_file`; ``short`` applies the short form.
    """
    device = resolve_device(device)
    experiments = load_experiments(path, overrides=overrides, seed=seed, short=short)
    runs = []
    for i, experiment in enumerate(experiments):
        run = Run.create(root, experiment, "compare", n_threads)
        try:
            finish(run, device=device, console=console, log=log)
        except Interrupted as stop:
            left = ", ".join(other.name for other in experiments[i + 1 :])
            raise Interrupted(f"{stop}\nNot begun: {left}" if left else str(stop)) from None
        runs.append(run)
    return runs


def resume(folder: Path, *, device: str, console: Console, log: Console) -> Run:
    """Go on with a run from its last checkpoint, to the end of what its command was."""
    device = resolve_device(device)
    run = Run.open(folder)
    finish(run, device=device, console=console, log=log)
    return run


def finish(run: Run, *, device: str, console: Console, log: Console) -> ComparisonResult:
    """Train (from the last checkpoint on), evaluate, and say where everything is."""
    torch.set_num_threads(run.n_threads)
    log.print(Text(f"run folder: {run.folder}"), soft_wrap=True)
    again = f"tutor-sim resume {run.folder}"
    trained = None
    try:
        if run.experiment.learner is not None:
            trained = train(run, device=device, console=log)
        result = _evaluate(run, trained, device, console)
        if trained is not None:
            _show_on_board(run, trained, result)
    except Interrupted as stop:
        raise Interrupted(f"{stop} Go on with: {again}") from None
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped in the evaluation. Go on with: {again}") from None
    for what, value in (
        ("report", str(run.report)),
        ("TensorBoard", f"tensorboard --logdir {run.folder.parent}"),
        *([("trained tutor", str(run.tutor))] if trained else []),
    ):
        console.print(Text(f"{what}: {value}"), soft_wrap=True)
    return result


def _evaluate(run: Run, trained: Trained | None, device: str, console: Console) -> ComparisonResult:
    experiment = run.experiment
    if run.command == "train":
        experiment = _with_tutors(experiment, ["random"])
    return compare(
        experiment,
        folder=run.folder,
        learned=[trained.tutor] if trained else [],
        training=Training(trained.learning_curve, trained.teaching_steps, trained.elapsed_s)
        if trained
        else None,
        device=device,
        console=console,
        commands=[f"tensorboard --logdir {run.folder.parent}", f"tutor-sim evaluate {run.folder}"],
    )


def _with_tutors(experiment: Experiment, names: Sequence[str]) -> Experiment:
    specs = tuple(TutorSpec(name=name) for name in names)
    return experiment.model_copy(update={"tutors": specs})


def _show_on_board(run: Run, trained: Trained, result: ComparisonResult) -> None:
    """Put the final numbers and pictures into TensorBoard, one step after the last update."""
    step = trained.teaching_steps + 1
    board = Board(run.tensorboard, from_step=step)
    board.final(run.experiment, result.summary[trained.tutor.name].metrics(), step)
    for picture in result.pictures:
        board.picture(picture.tag, picture.draw(), step)
    board.close()


def evaluate_run(
    folder: Path,
    *,
    population: str | None,
    n_students: int | None,
    device: str,
    console: Console,
) -> ComparisonResult:
    """Compare a run's best tutor so far with the tutors of its experiment.

    Args:
        folder: the run folder; training need not be finished.
        population: a variant of the run's population, a population that ships with the
            environments, or the path of a population file.
        n_students: test students; as the experiment says unless given.
        device: of PyTorch; ``auto`` is allowed.
        console: for results.

    Raises:
        ValueError: bad input.
        SaveError: something could not be written.
    """
    device = resolve_device(device)
    run = Run.open(folder)
    torch.set_num_threads(run.n_threads)
    experiment = run.experiment
    taught = experiment.population
    if population is not None:
        taught = _find_population(taught, population)
    learned: list[LearnedTutor] = []
    if experiment.learner is not None:
        learned = [load_best(run, device)]
    n_students = n_students or experiment.evaluation.n_students
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", taught.name)
    target = folder / "evaluations" / f"{name}-{n_students}"
    with saving(target):
        target.mkdir(parents=True, exist_ok=True)
    result = compare(
        experiment,
        folder=target,
        learned=learned,
        population=taught,
        n_students=n_students,
        device=device,
        console=console,
    )
    console.print(Text(f"report: {result.report}"), soft_wrap=True)
    return result


def _find_population(own: Population, wanted: str) -> Population:
    if wanted in own.variants:
        return own.variant(wanted)
    path = POPULATIONS.get(wanted, Path(wanted))
    if path.is_file():
        return load_population(path)
    variants = ", ".join(own.variants) or "(none)"
    raise ValueError(
        f"`--population` must be a variant of the run's population ({variants}), one of "
        f"{', '.join(POPULATIONS)}, or the path of a population file, got {wanted!r}"
    )
