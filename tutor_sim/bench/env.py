"""``tutor-sim bench env``: student-steps per CPU-second under random actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tutor_envs.classroom import Classroom
from tutor_envs.executors import Executor
from tutor_envs.population import Split, student_indices
from tutor_envs.population_files import POPULATIONS, load_population
from tutor_envs.students import STUDENT_MODELS
from tutor_sim.bench.job import Subject
from tutor_sim.bench.ours import task_of
from tutor_sim.bench.peers import FAMILY, TRIAL, check_repository, peer
from tutor_sim.bench.report import (
    check_gate,
    figures_table,
    print_json,
    ratio_table,
    shares_table,
)
from tutor_sim.bench.rounds import Measured, measure

_SMALL, _LARGE, _HUGE = 1_024, 16_384, 65_536
_PEER_STUDENTS = 64
_CACHE_LINE = 64
_EXECUTORS: dict[Executor, str] = {"compile": "compiled", "eager": "eager"}
_OURS: tuple[tuple[Executor, int], ...] = (
    ("compile", _HUGE),
    ("compile", _LARGE),
    ("compile", _SMALL),
    ("eager", _LARGE),
)


def bench_env(
    *, n_rounds: int, with_peers: bool, as_json: bool, console: Console, log: Console
) -> None:
    """Measure the common family, the machine's limits and every built-in student model.

    Raises:
        ValueError: a subject failed, they do not simulate the same, or this is no clone of the
            repository.
    """
    check_repository()
    ours = [_family(n, executor) for executor, n in _OURS]
    peers = _peers() if with_peers else []
    limits = [
        Subject("copies in memory", "tutor_sim.bench.limits:Copy", {}),
        Subject("random numbers", "tutor_sim.bench.limits:RandomNumbers", {}),
    ]
    measured = measure([*ours, *peers, *limits], n_rounds, log.print)
    competing, most = measured[: -len(limits)], measured[-len(limits) :]
    check_gate(competing)
    if not as_json:
        if peers:
            console.print(ratio_table(competing[: len(ours)], competing[len(ours) :]))
        console.print(figures_table("Students of the benchmarks' family", competing))
        console.print(shares_table(_shares(competing[0], *most)))
    # One model after the other: they are not compared with each other.
    models = []
    for name in STUDENT_MODELS:
        both = [_model(name, executor) for executor in _EXECUTORS]
        models += measure(both, n_rounds, log.print)
    if as_json:
        print_json([*measured, *models], console)
    else:
        console.print(figures_table(f"Built-in student models, {_LARGE:,} students", models))


def _family(n_students: int, executor: Executor) -> Subject:
    name = f"ours, {_EXECUTORS[executor]}, {n_students:,}"
    return _ours(name, FAMILY, executor, TRIAL | {"n_students": n_students})


def _model(name: str, executor: Executor) -> Subject:
    one_lesson = TRIAL | {"n_students": _LARGE, "n_lessons": 1}
    return _ours(f"{name}, {_EXECUTORS[executor]}", POPULATIONS[name], executor, one_lesson)


def _ours(name: str, population: Path, executor: Executor, settings: dict[str, Any]) -> Subject:
    settings = settings | {"population": str(population), "executor": executor}
    return Subject(name, "tutor_sim.bench.ours:Simulate", settings)


def _peers() -> list[Subject]:
    vector = TRIAL | {"n_students": _PEER_STUDENTS}
    jax = [
        peer(
            f"JAX, {style} {n:,}",
            "jax_students.py:Simulate",
            TRIAL | {"n_students": n, "style": style},
        )
        for style in ("gymnax", "lockstep")
        for n in (_SMALL, _LARGE)
    ]
    return [peer(f"make_vec, {_PEER_STUDENTS}", "gymnasium_sync.py:Simulate", vector), *jax]


def _shares(ours: Measured, copies: Measured, numbers: Measured) -> dict[str, tuple[float, float]]:
    """What a step must move and draw, at the rates of the machine."""
    moved, lanes = _moved_bytes(), load_population(FAMILY).student_model.n_step_uniforms
    rate, bytes_per_s, numbers_per_s = (m.rate.median for m in (ours, copies, numbers))
    return {
        f"moving {moved} bytes a step": (bytes_per_s / moved, rate * moved / bytes_per_s),
        f"drawing {lanes} random numbers": (numbers_per_s / lanes, rate * lanes / numbers_per_s),
    }


def _moved_bytes() -> int:
    """Of one student in one step: what a fused step reads and writes at least."""
    classroom = Classroom(load_population(FAMILY), task_of(**TRIAL))
    first = classroom.begin_trial(student_indices(Split.TRAIN, 1))
    before = classroom.truth.state
    outcome = classroom.step(torch.zeros_like(first.action))
    after = classroom.truth.state
    # Of a table, one line of the cache; what stays the same is not written.
    read = sum(min(tensor.nbytes, _CACHE_LINE) for tensor in before.values())
    written = sum(value.nbytes for name, value in after.items() if value is not before[name])
    drawn = 2 * classroom.model.n_step_uniforms * outcome.reward.element_size()
    observed = first.action.nbytes + outcome.observation.response.nbytes
    scores = 5 * outcome.reward.nbytes  # the reward; what is counted and the score, old and new
    return read + written + drawn + observed + scores
