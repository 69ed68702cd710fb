"""The command ``tutor-sim``.

Every command imports what it needs when it runs, so that help is instant.
"""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tutor_sim.mistakes import raised_by_us

if TYPE_CHECKING:
    from rich.console import Console

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130
_SHARED_COMMANDS = ("train", "resume")

app = typer.Typer(
    name="tutor-sim",
    help="A laboratory for tutors that learn to teach students they have never met.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

new = typer.Typer(name="new", help="Write a starting point of your own.", no_args_is_help=True)
app.add_typer(new)
bench = typer.Typer(
    name="bench", help="Measure speed, beside others on request.", no_args_is_help=True
)
app.add_typer(bench)

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="A.B=VALUE", help="replace a value of the experiment; repeatable"
    ),
]
Seed = Annotated[int | None, typer.Option(help="replace the experiment's seed")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of PyTorch; more is rarely faster")]
Runs = Annotated[Path, typer.Option(metavar="FOLDER", help="where the run folder is made")]
PopulationName = Annotated[
    str,
    typer.Argument(
        metavar="POPULATION", help="a population file, or one that ships", show_default=False
    ),
]
LessonNumber = Annotated[
    int | None, typer.Option(min=1, help="which lesson, from 1  [default: all]", show_default=False)
]
Rounds = Annotated[int, typer.Option(min=1, help="how often everybody is measured, in turns")]
Peers = Annotated[
    bool, typer.Option("--peers", help="others', too; they need the extra tutor-sim[peers]")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
ResultsFolder = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="for a picture and a JSON file"),
]
LogFile = Annotated[
    Path, typer.Argument(metavar="LOG.csv", help="CSV or TSV, maybe gzipped", show_default=False)
]
LogFormat = Annotated[
    str | None, typer.Option("--format", help="layout of the log; default: from its header")
]
LogMap = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="FIELD=COLUMN", help="which columns to read; commas between several"
    ),
]


class Kind(enum.StrEnum):
    """What can be listed."""

    ENVS = "envs"
    AGENTS = "agents"
    STUDENTS = "students"
    POPULATIONS = "populations"


class Table(enum.StrEnum):
    """Further tables of an evaluation."""

    LEARNING = "learning"
    EQUITY = "equity"
    REGRET = "regret"


class KnowledgeComponent(enum.StrEnum):
    """What is one skill of a log."""

    SKILL = "skill"
    ITEM = "item"


@app.command()
def train(
    experiment: ExperimentFile,
    set_: Set = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = 1,
    runs: Runs = Path("runs"),
) -> None:
    """Train an experiment's tutor and score it.

    The checkpoint is chosen with validation students, the score is of test students.
    """
    with _clear_errors():
        from tutor_sim import commands

        commands.train_file(
            experiment,
            overrides=set_ or [],
            seed=seed,
            device=device,
            n_threads=threads,
            root=runs,
            console=_console(),
            log=_console(stderr=True),
        )


@app.command()
def compare(
    experiment: ExperimentFile,
    set_: Set = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = 1,
    runs: Runs = Path("runs"),
    short: Annotated[bool, typer.Option("--short", help="the experiment's short form")] = False,
) -> None:
    """Train, then compare all listed tutors.

    They all teach the same test students. A file may hold several experiments.
    """
    with _clear_errors():
        from tutor_sim import commands

        commands.compare_file(
            experiment,
            overrides=set_ or [],
            seed=seed,
            short=short,
            device=device,
            n_threads=threads,
            root=runs,
            console=_console(),
            log=_console(stderr=True),
        )


@app.command()
def evaluate(
    run: RunFolder,
    population: Annotated[
        str | None, typer.Option(help="a variant of the run's population, or a population file")
    ] = None,
    students: Annotated[int | None, typer.Option(min=2, help="number of test students")] = None,
    show: Annotated[
        list[Table] | None, typer.Option(help="a further table of the report; repeatable")
    ] = None,
    device: Device = "auto",
) -> None:
    """Evaluate a run's tutor again.

    With another number of students, or with another population; training need not be finished.
    """
    with _clear_errors():
        from tutor_sim import commands

        commands.evaluate_run(
            run,
            population=population,
            n_students=students,
            show=[table.value for table in show or []],
            device=device,
            console=_console(),
        )


@app.command()
def insight(
    run: RunFolder,
    students: Annotated[
        int, typer.Option(min=40, help="test students; half of them fit the probes")
    ] = 1000,
    device: Device = "auto",
) -> None:
    """Show what a run's tutor knows and does.

    What its memory tells of hidden ability, style and knowledge; what it does when and for whom;
    its memory for TensorBoard's projector. Into RUN/insight.
    """
    with _clear_errors():
        from tutor_sim.insight import command

        command.insight(run, n_students=students, device=device, console=_console())


@app.command()
def lesson(
    run: RunFolder,
    student: Annotated[int, typer.Option(min=1, help="which test student, from 1")] = 1,
    lesson: LessonNumber = None,
    device: Device = "auto",
) -> None:
    """Tell one student's lessons step by step.

    What was taught, answered and believed, and, marked as hidden, what was true.
    """
    with _clear_errors():
        from tutor_sim.insight import command

        command.lesson(run, student=student, lesson=lesson, device=device, console=_console())


@app.command("class")
def class_(
    run: RunFolder,
    students: Annotated[int, typer.Option(min=1, help="test students in the class")] = 30,
    lesson: LessonNumber = None,
    device: Device = "auto",
) -> None:
    """Report on a class as its teacher may see it.

    Who is stuck on what, common gaps, and what would help whom: from answers and belief alone. With
    --lesson, when that lesson is over; else at the end.
    """
    with _clear_errors():
        from tutor_sim.insight import command

        command.class_view(
            run, n_students=students, lesson=lesson, device=device, console=_console()
        )


@app.command()
def robustness(
    run: RunFolder,
    population: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="a standard shift, a variant, a population that ships, or a file; repeatable  "
            "[default: all shifts and variants, and other student models]",
            show_default=False,
        ),
    ] = None,
    students: Annotated[
        int | None, typer.Option(min=2, help="test students of each population")
    ] = None,
    device: Device = "auto",
) -> None:
    """Take a run's tutor to other students.

    Weaker, slower, more forgetful ones, of other styles, of other student models; nobody is
    trained again.
    """
    with _clear_errors():
        from tutor_sim.robustness.command import robustness_of_run

        robustness_of_run(
            run,
            populations=population or [],
            n_students=students,
            device=device,
            console=_console(),
        )


@app.command()
def adapt(
    run: RunFolder,
    tutor: Annotated[
        list[str] | None,
        typer.Option(help="which tutor; repeatable  [default: the learned ones, else all]"),
    ] = None,
    students: Annotated[int | None, typer.Option(min=2, help="number of test students")] = None,
    device: Device = "auto",
) -> None:
    """Tell what a student's first answers are worth to a run's tutors.

    Each teaches again and forgets everything once, after 1, 2, 4, ... answers or whole lessons.
    """
    with _clear_errors():
        from tutor_sim.first_answers_command import adapt_run

        adapt_run(run, tutors=tutor or [], n_students=students, device=device, console=_console())


@app.command()
def resume(run: RunFolder, device: Device = "auto") -> None:
    """Go on with a stopped or killed run.

    From its last checkpoint to the end of its command (train or compare).
    """
    with _clear_errors():
        from tutor_sim import commands

        commands.resume(run, device=device, console=_console(), log=_console(stderr=True))


@app.command()
def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", show_default=False)],
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="the study's folder; what is finished in it is not run again  "
            "[default: runs/<name of the study>]",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="processes on this machine, one thread each")
    ] = 1,
    ray: Annotated[
        bool, typer.Option("--ray", help="on a Ray cluster; needs the extra tutor-sim[ray]")
    ] = False,
    short: Annotated[bool, typer.Option("--short", help="the study's short form")] = False,
) -> None:
    """Run populations × tutors × seeds, cell by cell.

    The same command goes on after a stop or a crash, and never repeats a finished cell.
    """
    with _clear_errors():
        from tutor_sim.study.command import study_file

        study_file(
            file,
            overrides=set_ or [],
            short=short,
            out=out,
            n_workers=workers,
            on_ray=ray,
            console=_console(),
            log=_console(stderr=True),
        )


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="folders of studies, runs, evaluations", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="where the report goes  [default: the only study's folder, else runs/report-...]",
            show_default=False,
        ),
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="a LaTeX table, too")] = False,
) -> None:
    """Report on runs and studies side by side.

    Tutors by populations, who beats whom, and one page with everything.
    """
    with _clear_errors():
        from tutor_sim.reporting.command import report_folders

        report_folders(runs, out=out, as_latex=latex, console=_console())


@app.command()
def limit(
    cases: Annotated[Path, typer.Argument(metavar="CASES.json", show_default=False)],
    case: Annotated[str | None, typer.Option(help="only this case")] = None,
    train: Annotated[
        str,
        typer.Option(
            metavar="TUTOR",
            help="train rl2, distill, rl2-warm or varibad on every case, too",
            show_default=False,
        ),
    ] = "",
    tutor: Annotated[
        list[str] | None,
        typer.Option(
            help="measure this tutor without training on every case, too (repeatable), such as "
            "myopic or 'pomcp: {n_simulations: 50}'",
            show_default=False,
        ),
    ] = None,
    students: Annotated[
        int, typer.Option(min=2, help="test students of each seed for --tutor")
    ] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="seeds for each case")] = 1,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Compare exact values and tutors with a cases file.

    The exit code is 1 where a value disagrees with the file's.
    """
    with _clear_errors():
        from tutor_sim.commands import resolve_device
        from tutor_sim.limit import run_limit

        agrees = run_limit(
            cases,
            case=case,
            train=train,
            tutors=tutor or (),
            n_students=students,
            n_seeds=seeds,
            as_json=as_json,
            device=resolve_device(device),
            console=_console(),
        )
    if not agrees:
        raise typer.Exit(FAILED)


@app.command()
def simulate(
    population: PopulationName,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="LOG.csv", help="gzipped if it ends in .gz")
    ],
    students: Annotated[int, typer.Option(min=1, help="number of students")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="teaching actions for each student")] = 50,
    tutor: Annotated[str, typer.Option(help="who teaches; see list agents")] = "random",
    seed: Annotated[int, typer.Option(min=0, help="of students, luck and tutor")] = 0,
) -> None:
    """Write an interaction log of simulated students."""
    with _clear_errors():
        from tutor_sim.logs.command import simulate_file

        simulate_file(
            population,
            output,
            n_students=students,
            n_steps=steps,
            tutor=tutor,
            seed=seed,
            console=_console(),
        )


@app.command("check-realism")
def check_realism(
    log: LogFile,
    population: PopulationName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="for a picture and a CSV file"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the first replay")] = 0,
    replicates: Annotated[int, typer.Option(min=1, help="replays of the log")] = 5,
    format_: LogFormat = None,
    map_: LogMap = None,
) -> None:
    """Compare a population with a real log.

    Simulated students meet the same items at the same times as the real ones; learning,
    forgetting, the spread of learners and the accuracy of predictors are compared.
    """
    with _clear_errors():
        from tutor_sim.logs.command import parse_mapping
        from tutor_sim.realism.command import check_realism_file

        check_realism_file(
            log,
            population,
            output=output,
            seed=seed,
            n_replicates=replicates,
            format=format_,
            mapping=parse_mapping(map_ or []),
            console=_console(),
            log=_console(stderr=True),
        )


@app.command()
def trace(
    log: LogFile,
    predictors: Annotated[
        list[str] | None,
        typer.Argument(metavar="PREDICTOR...", help="which; default: all but dkt, which is slow"),
    ] = None,
    kc: Annotated[
        KnowledgeComponent, typer.Option(help="what is one knowledge component")
    ] = KnowledgeComponent.SKILL,
    folds: Annotated[int, typer.Option(min=2, help="folds of students")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="of the folds")] = 0,
    format_: LogFormat = None,
    map_: LogMap = None,
) -> None:
    """Score predictors of answers on a log.

    Cross-validated by student: each answer is predicted from that student's own past.
    """
    with _clear_errors():
        from tutor_sim.logs.command import parse_mapping
        from tutor_sim.tracing.command import trace_file

        trace_file(
            log,
            predictors=predictors or [],
            kc=kc.value,
            n_folds=folds,
            seed=seed,
            format=format_,
            mapping=parse_mapping(map_ or []),
            console=_console(),
            log=_console(stderr=True),
        )


@app.command()
def calibrate(
    log: LogFile,
    model: Annotated[str, typer.Option(help="student model: bkt, dash, fsrs, irt, neural or pfa")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="POPULATION.yaml", help="what is written")
    ],
    kc: Annotated[
        KnowledgeComponent | None,
        typer.Option(help="what a skill of the population is in the log; default: by model"),
    ] = None,
    format_: LogFormat = None,
    map_: LogMap = None,
    seed: Annotated[int, typer.Option(min=0, help="of what is drawn")] = 0,
    force: Annotated[bool, typer.Option("--force", help="replace an existing file")] = False,
) -> None:
    """Fit a population to a log of real answers.

    Individual differences included; estimates with intervals are printed and written.
    """
    with _clear_errors():
        from tutor_sim.calibration.command import calibrate_file
        from tutor_sim.logs.command import parse_mapping

        calibrate_file(
            log,
            output,
            model=model,
            kc=None if kc is None else kc.value,
            mapping=parse_mapping(map_ or []),
            format=format_,
            seed=seed,
            force=force,
            console=_console(),
            log=_console(stderr=True),
        )


@app.command("check-student")
def check_student(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="module:Class, file.py:Class, a name, or a population file",
            show_default=False,
        ),
    ],
    students: Annotated[int, typer.Option(min=2, help="students in a batch")] = 64,
    time_limit: Annotated[float, typer.Option(min=1, help="seconds for all checks")] = 300.0,
) -> None:
    """Check a student model of your own.

    Every finding says what to change. The exit code is 1 where there is a problem.
    """
    with _clear_errors():
        from tutor_sim.student_check import check_and_show

        ok = check_and_show(
            student, n_students=students, time_limit_s=time_limit, console=_console()
        )
    if not ok:
        raise typer.Exit(FAILED)


@new.command("student")
def new_student(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    door: Annotated[
        int, typer.Option(min=1, max=2, help="1: batched torch model; 2: plain Python class")
    ] = 1,
) -> None:
    """Write a student model with its population, test and experiment.

    Into the current folder; they run as they are.
    """
    with _clear_errors():
        from tutor_sim import scaffold

        for path in scaffold.new_student(name, Path(), door):
            typer.echo(path)
        kind = scaffold.class_name(name)
        typer.echo(f"Check it: tutor-sim check-student {name}.py:{kind}")
        typer.echo(f"Test it: pytest test_{name}.py")
        typer.echo(f"Teach it: tutor-sim compare {name}_experiment.yaml --short")


@bench.command("env")
def bench_env_(rounds: Rounds = 5, peers: Peers = False, as_json: AsJson = False) -> None:
    """Student-steps per CPU-second under random actions.

    Of the benchmarks' family and of every built-in student model, each on one core.
    """
    with _clear_errors():
        from tutor_sim.bench.env import bench_env

        bench_env(
            n_rounds=rounds,
            with_peers=peers,
            as_json=as_json,
            console=_console(),
            log=_console(stderr=True),
        )


@bench.command("cost")
def bench_cost_(rounds: Rounds = 3, as_json: AsJson = False, output: ResultsFolder = None) -> None:
    """CPU time and memory as the work grows.

    Simulation of 1 to 1,000,000 students; updates of RL² with trials of 64 to 1,024 actions, and
    with a memory of 64 to 512 units.
    """
    with _clear_errors():
        from tutor_sim.bench.cost import bench_cost

        bench_cost(
            n_rounds=rounds,
            as_json=as_json,
            output=output,
            console=_console(),
            log=_console(stderr=True),
        )


@bench.command("time-to-tutor")
def bench_time_to_tutor_(
    case: Annotated[
        str | None, typer.Option(help="only this case of experiments/families.json")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="training seeds for each case")] = 3,
    budget: Annotated[
        float, typer.Option(min=1, help="CPU-seconds after which a training is given up")
    ] = 300.0,
    peers: Peers = False,
    as_json: AsJson = False,
    output: ResultsFolder = None,
) -> None:
    """CPU-seconds of training until a tutor is near the optimum.

    To 0.95 and 0.99 of the exact optimum (0: random actions), on small families of students.
    """
    with _clear_errors():
        from tutor_sim.bench.time_to_tutor import bench_time_to_tutor

        bench_time_to_tutor(
            case,
            n_seeds=seeds,
            budget_s=budget,
            with_peers=peers,
            as_json=as_json,
            output=output,
            console=_console(),
            log=_console(stderr=True),
        )


@bench.command("train")
def bench_train_(
    trials: Annotated[
        list[int] | None, typer.Option(min=4, help="students of an update; repeatable")
    ] = None,
    rounds: Rounds = 3,
    peers: Peers = False,
    as_json: AsJson = False,
) -> None:
    """Teaching actions per CPU-second while RL² is trained by PPO.

    Whole updates (simulation, four passes), a GRU of 128 units, trials of 256 actions.
    """
    with _clear_errors():
        from tutor_sim.bench.train import bench_train

        bench_train(
            trials or [64, 256, 1024],
            n_rounds=rounds,
            with_peers=peers,
            as_json=as_json,
            console=_console(),
            log=_console(stderr=True),
        )


@app.command("list")
def list_(
    what: Annotated[Kind, typer.Argument(show_default=False)],
    name: Annotated[
        str | None, typer.Argument(show_default=False, help="one of them: what can be set of it")
    ] = None,
) -> None:
    """List environments, agents, students or populations, or what can be set of one."""
    with _clear_errors():
        from tutor_sim.listing import details, listing

        console = _console()
        for part in [listing(what)] if name is None else details(what, name):
            console.print(part, soft_wrap=what == "populations")


@app.command()
def schema() -> None:
    """Print the JSON Schema of experiment and study files."""
    import json

    from tutor_sim.schema import experiment_schema

    typer.echo(json.dumps(experiment_schema(), indent=1, allow_nan=False))


def _show_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(f"tutor-sim {importlib.metadata.version('tutor-sim')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="show the version", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    command = context.invoked_subcommand
    if _n_processes() > 1 and command not in _SHARED_COMMANDS:
        _fail(
            f"error: `tutor-sim {command}` runs in one process, and torchrun started "
            f"{_n_processes()}; those that several processes share are "
            f"{' and '.join(_SHARED_COMMANDS)}",
            BAD_INPUT,
        )


def _n_processes() -> int:
    """As many as torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    is_first = _n_processes() == 1 or os.environ["RANK"] == "0"
    return Console(stderr=stderr, quiet=not is_first)


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """Bad input and full disks get one message; anything unexpected keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        _fail("Interrupted.", INTERRUPTED)
    except OSError as error:
        from tutor_sim.files import SaveError

        if isinstance(error, SaveError):
            _fail(f"error: {error}", FAILED)
        if error.filename is None:
            raise
        _fail(f"error: {error.filename}: {error.strerror}", BAD_INPUT)
    except ValueError as error:
        if not raised_by_us(error):
            raise
        _fail(f"error: {error}", BAD_INPUT)
    except Exception as error:
        from tutor_agents.engine.parallel import LostProcess
        from tutor_envs.errors import StudentError
        from tutor_sim.stopping import Interrupted

        if isinstance(error, StudentError | LostProcess):
            _fail(f"error: {error}", FAILED)
        if not isinstance(error, Interrupted):
            raise
        _fail(str(error), INTERRUPTED, by_first=True)


def _fail(message: str, code: int, *, by_first: bool = False) -> NoReturn:
    _say_once(lambda: typer.echo(message, err=True), by_first)
    raise typer.Exit(code)


def _say_once(say: Callable[[], None], by_first: bool) -> None:
    """One of several processes speaks: whoever comes first, or the first of them."""
    if _n_processes() == 1:
        return say()
    from tutor_agents.engine import parallel

    return parallel.say_once(say, by_first=by_first)


def main() -> None:
    """Run the command line."""
    # Training allocates tens of MB again and again: with huge pages torch waits less for the
    # kernel to hand them out. It looks once, when it first allocates.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    app()
