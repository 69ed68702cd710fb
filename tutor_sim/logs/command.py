"""What the command ``simulate`` does, and how commands name populations and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS
from tutor_sim.experiment_files import load_population
from tutor_sim.logs.simulate import simulate_log
from tutor_sim.logs.write import write_log


def find_population(name: str) -> Population:
    """The population that ships under this name, or that of a file.

    Raises:
        ValueError: neither, or the file is no population.
        OSError: the file cannot be read.
    """
    if name in POPULATIONS:
        return load_population(POPULATIONS[name])
    if not Path(name).suffix:
        raise ValueError(unknown_name("population", name, POPULATIONS) + "; or give a file")
    return load_population(Path(name))


def parse_mapping(text: Sequence[str]) -> dict[str, str]:
    """``["student=uid,correct=right"]`` as field -> column.

    Raises:
        ValueError: a part without ``=``.
    """
    mapping = {}
    for part in (part for each in text for part in each.split(",")):
        field, equals, column = part.partition("=")
        if not equals or not column.strip():
            raise ValueError(f"`--map` must be FIELD=COLUMN,FIELD=COLUMN, got {part!r}")
        mapping[field.strip()] = column.strip()
    return mapping


def simulate_file(
    population: str,
    output: Path,
    *,
    n_students: int,
    n_steps: int,
    tutor: str,
    seed: int,
    console: Console,
) -> None:
    """Write the log of simulated students.

    Args:
        population: name or file.
        output: CSV, gzipped if its name ends in ``.gz``.
        n_students: how many.
        n_steps: teaching actions for each.
        tutor: who teaches.
        seed: of the students, their luck and the tutor's.
        console: for what was done.

    Raises:
        ValueError: bad input.
        SaveError: the file cannot be written.
    """
    students = find_population(population)
    log = simulate_log(students, n_students=n_students, n_steps=n_steps, seed=seed, tutor=tutor)
    write_log(log, output)
    console.print(Text(f"{output}: {len(log):,} rows of {n_students:,} students"), soft_wrap=True)
