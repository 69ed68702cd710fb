"""The tutor's memory in TensorBoard's embedding projector, to be coloured by what is hidden."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from tutor_envs.population import Population
from tutor_sim.files import saving
from tutor_sim.insight.belief import traits_of
from tutor_sim.insight.trace import Trace

MAX_STUDENTS = 500
"""Points that the projector lays out quickly in a browser."""


def write_projector(folder: Path, trace: Trace, population: Population) -> list[str]:
    """Write the memories before each lesson and before the last answer, a point for each student.

    The files appear whole: they are written beside ``folder`` and then renamed.

    Args:
        folder: for the event file and the projector's files; what was there is replaced.
        trace: with the memory; its first 500 students are shown.
        population: lends the names of types.

    Returns:
        The names of the embeddings.

    Raises:
        SaveError: something cannot be written.
    """
    assert trace.memory is not None
    n = min(MAX_STUDENTS, trace.seen.n_students)
    header, rows = _metadata(trace, population, n)
    temporary = folder.with_name(f".{folder.name}.tmp")
    points = _points(trace)
    with saving(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        writer = SummaryWriter(str(temporary))
        for name, t in points.items():
            add: Any = writer.add_embedding
            add(trace.memory[t, :n], metadata=rows, metadata_header=header, tag=name)
        writer.close()
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    return list(points)


def _points(trace: Trace) -> dict[str, int]:
    """Name -> number of answers: after each lesson, and at the end before the last answer."""
    task = trace.seen.task
    after = {f"after_lesson_{k}": k * task.n_steps for k in range(1, task.n_lessons)}
    return after | {"before_last_answer": task.n_trial_steps - 1}


def _metadata(trace: Trace, population: Population, n: int) -> tuple[list[str], list[list[str]]]:
    """Header and a row for each student: place, type, latents that vary, best modality, mastery."""
    latents = {name: value[:n] for name, value in trace.hidden.latents.items()}
    columns = {"student": [str(i + 1) for i in range(n)]}
    if population.types:
        columns["type"] = [population.type_names[i] for i in latents["type"].tolist()]
    for name, values in traits_of(latents).items():
        if name == "best modality":
            modalities = population.student_model.modalities
            columns["best_modality"] = [modalities[i] for i in values.argmax(-1).tolist()]
            continue
        for c in range(values.shape[1]):
            place = f"[{c}]" if values.shape[1] > 1 else ""
            columns[f"{name}{place}"] = [f"{value:.4f}" for value in values[:, c].tolist()]
    mastery = trace.hidden.mastery_after[-1, :n].mean(-1)
    columns["final_mastery"] = [f"{value:.4f}" for value in mastery.tolist()]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]
