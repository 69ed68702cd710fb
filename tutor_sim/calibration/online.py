"""Predictions of a fitted mixed model, student by student, each from the student's own past.

The student's random vector starts at its prior; after every answer its Gaussian posterior is
updated by one Newton step (assumed-density filtering). All students move in step: one pass over
the positions of the longest sequence.
"""

from __future__ import annotations

import numpy as np

from tutor_sim.calibration.mixed import Floats, MixedData, MixedFit, logistic_moments


def predict_online(fit: MixedFit, data: MixedData) -> Floats:
    """P(correct) of every row from the same student's earlier rows, ``(n,)``.

    Args:
        fit: of other students' answers; a unit without data there keeps the units' mean.
        data: rows sorted by student, then by order.
    """
    n_students, q = data.n_students, data.z.shape[1]
    mean = np.zeros((n_students, q))
    cov = np.broadcast_to(fit.student_cov, (n_students, q, q)).copy()
    unit_mean, unit_var = fit.units.along(data.unit, data.w)
    fixed = data.x @ fit.beta + unit_mean
    first = np.searchsorted(data.student, data.student)
    position = np.arange(len(data.student)) - first
    p = np.empty(len(data.student))
    for rows in np.split(
        np.argsort(position, kind="stable"), np.cumsum(np.bincount(position))[:-1]
    ):
        who, z = data.student[rows], data.z[rows]
        spread = np.einsum("npq,nq->np", cov[who], z)
        variance = np.einsum("np,np->n", z, spread)
        middle = fixed[rows] + np.einsum("np,np->n", z, mean[who])
        p[rows], slope = logistic_moments(middle, variance + unit_var[rows])
        gain = spread / (1 + slope * variance)[:, None]
        mean[who] += gain * (data.correct[rows] - p[rows])[:, None]
        cov[who] -= gain[:, :, None] * (spread * slope[:, None])[:, None, :]
    return p
