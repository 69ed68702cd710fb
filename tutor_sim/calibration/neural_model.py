"""Fit of the student ``neural``: a recurrent network, its weights in a file of their own."""

from __future__ import annotations

import numpy as np

from tutor_sim.calibration.features import step_seconds
from tutor_sim.calibration.result import MODALITIES, NO_STYLE, Calibration, Estimate, Job
from tutor_sim.tracing.neural_fit import MAX_ROWS, fit_neural

_HOW = "students that stop the training early"
_EPOCHS = 30
"""A usual length of training, for the progress that is shown."""


def calibrate_neural(job: Job) -> Calibration:
    """Weights of the network, and a population that reads them.

    Raises:
        ValueError: fewer than two students.
    """
    log = job.log
    losses: list[float] = []

    def progress(epoch: int, loss: float) -> None:
        losses.append(loss)
        job.tell("fitting", 1 - 0.5 ** (2 * epoch / _EPOCHS))

    weights = fit_neural(log, seed=job.seed, on_progress=progress)
    job.tell("fitting", 1.0)
    step_s = step_seconds(log)
    population = {
        "name": job.name,
        "description": f"recurrent network, fitted to {log.n_students:,} students",
        "student": "neural",
        "model": {
            "weights": f"{job.name}.safetensors",
            "skill_names": list(log.skill_names),
            "modalities": MODALITIES,
            **({} if step_s is None else {"step_s": round(step_s, 1)}),
        },
        "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}, **NO_STYLE},
    }
    notes = [
        "The weights may remember answers of rare students: treat their file like the log.",
        f"Log-loss is of the {_HOW}, a tenth of all: a little too good.",
    ]
    if (rows := int(np.bincount(log.student).max())) > MAX_ROWS:
        notes.append(f"The first {MAX_ROWS} of up to {rows:,} rows of a student are used.")
    estimates = (
        Estimate("epochs", float(len(losses))),
        Estimate("log-loss of an answer", min(losses)),
    )
    tensors = {f"{job.name}.safetensors": dict(weights)}
    return Calibration(population, estimates, (), "", tuple(notes), tensors)
