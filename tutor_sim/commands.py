"""What the commands do; each can be called from Python alike."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from tutor_agents.engine import parallel
from tutor_agents.registry import check_can_teach
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS
from tutor_sim.compare import ComparisonResult, Learned, Training, check_plug_ins, compare
from tutor_sim.config import Experiment, TutorSpec
from tutor_sim.evaluation import Evaluation, Role
from tutor_sim.experiment_files import load_experiment, load_experiments, load_population
from tutor_sim.files import saving
from tutor_sim.metrics import read_metrics
from tutor_sim.pictures import Picture
from tutor_sim.runs import Run
from tutor_sim.stopping import Interrupted
from tutor_sim.tensorboard import Board
from tutor_sim.training import Trained, load_best, make_learner, take_part, train


def resolve_device(name: str) -> str:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``.

    Under torchrun each process has a GPU of its own.

    Raises:
        ValueError: no such device, or none of that kind is available.
    """
    if parallel.launched():
        return _device_of_process(name)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"`--device` must be auto, cpu, cuda or cuda:N, got {name!r}")
    index = int(name.partition(":")[2] or 0)
    if name != "cpu" and index >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ValueError(f"`--device` {name}: PyTorch finds {found} CUDA devices; use auto or cpu")
    return name


def _device_of_process(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(
            "`--device` must be auto, cpu or cuda under torchrun, where each process takes a GPU "
            f"of its own, got {name!r}"
        )
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    n_processes, found = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if n_processes > found:
        raise ValueError(
            f"`--device` {name}: torchrun started {n_processes} processes here, and PyTorch finds "
            f"{found} CUDA devices; start one for each device, or use cpu"
        )
    device = f"cuda:{os.environ['LOCAL_RANK']}"
    torch.cuda.set_device(device)
    return device


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
    parallel.join()
    experiment = load_experiment(path, overrides=overrides, seed=seed)
    if experiment.has_parts:
        what = "`learners`" if experiment.learners else "`seeds`"
        raise ValueError(
            f"{path}: {what} mean several trainings, and `tutor-sim train` is for one; "
            "`tutor-sim compare` trains and compares them all"
        )
    if experiment.learner is None:
        raise ValueError(
            f"{path}: `learner` is missing: nothing to train; `tutor-sim compare` evaluates tutors"
        )
    check_learners(f"{path}: experiment `{experiment.name}`", experiment, device)
    folder = parallel.from_first(lambda: Run.create(root, experiment, "train", n_threads).folder)
    run = Run(folder, experiment, "train", n_threads)
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
    for experiment in experiments:
        check_learners(f"{path}: experiment `{experiment.name}`", experiment, device)
        for spec in experiment.tutors:  # known at once, and not after hours of training
            check_can_teach(spec.algorithm, experiment.population)
        check_plug_ins(experiment, device)
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


def check_learners(where: str, experiment: Experiment, device: str) -> None:
    """Refuse what cannot be trained before anything is written.

    Args:
        where: how the message begins.
        experiment: whose learners are made.
        device: of PyTorch.

    Raises:
        ValueError: a learner that does not fit the students, the task, or its own settings.
    """
    for name in experiment.learned:
        part, key = experiment, "learner"
        if experiment.has_parts:
            part = experiment.part(name, experiment.training_seeds[0])
            key = f"learners.{name}" if experiment.learners else "learner"
        try:
            make_learner(part, device)
        except ValueError as error:
            raise ValueError(f"{where}, {key}: {error}") from error


def resume(folder: Path, *, device: str, console: Console, log: Console) -> Run:
    """Go on with a run from its last checkpoint, to the end of what its command was."""
    device = resolve_device(device)
    parallel.join()
    run = Run.open(folder)
    if run.experiment.has_parts and parallel.size() > 1:
        raise ValueError(
            f"{folder}: this run has several trainings, and torchrun is for one; go on with it "
            "without torchrun"
        )
    finish(run, device=device, console=console, log=log)
    return run


def finish(run: Run, *, device: str, console: Console, log: Console) -> None:
    """Train (from the last checkpoint on), evaluate, and say where everything is.

    Where several processes train together, the first one does the rest alone.
    """
    torch.set_num_threads(run.n_threads)
    log.print(Text(f"run folder: {run.folder}"), soft_wrap=True)
    again = f"tutor-sim resume {run.folder}"
    try:
        if not parallel.is_first():
            take_part(run, device=device)
            return parallel.leave()
        learned = _train_all(run, device, log)
        parallel.leave()
        result = _evaluate(run, learned, device, console)
        _show_on_boards(run, result)
    except Interrupted as stop:
        raise Interrupted(f"{stop} Go on with: {again}") from None
    except parallel.LostProcess as lost:
        raise parallel.LostProcess(f"{lost} Go on from the last checkpoint with: {again}") from None
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped in the evaluation. Go on with: {again}") from None
    tutors = (
        ("trained tutors", run.parts) if run.experiment.has_parts else ("trained tutor", run.tutor)
    )
    for what, value in (
        ("report", str(run.report)),
        ("TensorBoard", f"tensorboard --logdir {_board_folder(run)}"),
        *([(tutors[0], str(tutors[1]))] if learned else []),
    ):
        console.print(Text(f"{what}: {value}"), soft_wrap=True)


def _board_folder(run: Run) -> Path:
    return run.parts if run.experiment.has_parts else run.folder.parent


def _train_all(run: Run, device: str, log: Console) -> list[Learned]:
    """Train what the experiment says, each from its last checkpoint on; nothing is done twice."""
    experiment = run.experiment
    if not experiment.has_parts:
        if experiment.learner is None:
            return []
        trained = train(run, device=device, console=log)
        return [Learned.of(trained.tutor, _training(trained))]
    seeds = experiment.training_seeds
    learned = []
    for seed in seeds:
        for name in experiment.learned:
            part = run.part(name, seed)
            training = _training(train(part, device=device, console=log))
            best = functools.partial(load_best, part, device)
            learned.append(Learned(name, best, training, seed))
    return learned


def _training(trained: Trained) -> Training:
    return Training(
        trained.learning_curve, trained.teaching_steps, trained.elapsed_s, trained.cpu_s
    )


def _evaluate(
    run: Run, learned: Sequence[Learned], device: str, console: Console
) -> ComparisonResult:
    experiment = run.experiment
    if run.command == "train":
        experiment = _with_tutors(experiment, ["random"])
    return compare(
        experiment,
        folder=run.folder,
        learned=learned,
        device=device,
        console=console,
        commands=[
            f"tensorboard --logdir {_board_folder(run)}",
            f"tutor-sim evaluate {run.folder}",
        ],
    )


def _with_tutors(experiment: Experiment, names: Sequence[str]) -> Experiment:
    specs = tuple(TutorSpec(name=name) for name in names)
    return experiment.model_copy(update={"tutors": specs})


def _show_on_boards(run: Run, result: ComparisonResult) -> None:
    """Put the final numbers and pictures into TensorBoard, one step after the last update."""
    for evaluation in result.evaluations:
        if evaluation.role is not Role.LEARNED:
            continue
        if evaluation.training_seed is None:
            metrics = result.summary[evaluation.tutor].metrics()
            _show_on_board(run, metrics, result.pictures)
        else:
            part = run.part(evaluation.tutor, evaluation.training_seed)
            show_training(part, evaluation)


def show_training(run: Run, evaluation: Evaluation) -> None:
    """Put the final scores of one training into TensorBoard, and into its HParams tab."""
    lessons = enumerate(evaluation.scores.mean(axis=0).tolist(), start=1)
    metrics = {f"eval/score_lesson_{k}": score for k, score in lessons}
    _show_on_board(run, {"eval/score": evaluation.score} | metrics)


def _show_on_board(run: Run, metrics: dict[str, float], pictures: Sequence[Picture] = ()) -> None:
    step = int(read_metrics(run.metrics)[-1]["teaching_steps"]) + 1
    board = Board(run.tensorboard, from_step=step)
    board.final(run.experiment, metrics, step)
    for picture in pictures:
        board.picture(picture.tag, picture.draw(), step)
    board.close()


def evaluate_run(
    folder: Path,
    *,
    population: str | None,
    n_students: int | None,
    device: str,
    console: Console,
    show: Collection[str] = (),
) -> ComparisonResult:
    """Compare a run's best tutor so far with the tutors of its experiment.

    Args:
        folder: the run folder; training need not be finished.
        population: a variant of the run's population, a population that ships with the
            environments, or the path of a population file.
        n_students: test students; as the experiment says unless given.
        device: of PyTorch; ``auto`` is allowed.
        console: for results.
        show: further tables to print: ``learning``, ``equity``, ``regret``.

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
    n_students = n_students or experiment.evaluation.n_students
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", taught.name)
    target = folder / "evaluations" / f"{name}-{n_students}"
    with saving(target):
        target.mkdir(parents=True, exist_ok=True)
    result = compare(
        experiment,
        folder=target,
        learned=best_so_far(run, device),
        population=taught,
        n_students=n_students,
        device=device,
        console=console,
        show=show,
    )
    console.print(Text(f"report: {result.report}"), soft_wrap=True)
    return result


def best_so_far(run: Run, device: str) -> list[Learned]:
    """The learned tutors of a run, whose training need not be finished."""
    experiment = run.experiment
    if not experiment.has_parts:
        return [] if experiment.learner is None else [Learned.of(load_best(run, device))]
    return [
        Learned(name, functools.partial(load_best, run.part(name, seed), device), seed=seed)
        for seed in experiment.training_seeds
        for name in experiment.learned
    ]


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
