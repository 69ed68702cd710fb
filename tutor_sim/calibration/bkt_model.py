"""Fit of the student ``bkt``: every skill's four probabilities, and one ability factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from tutor_sim.calibration.factor_bkt import (
    PARAMETERS,
    BKTData,
    FactorBKT,
    fit_factor_bkt,
    predict_factor_bkt,
)
from tutor_sim.calibration.features import counts_before, rare_skills, step_seconds
from tutor_sim.calibration.held_out import HOW, Bools, by_student, enough_students, of_predictor
from tutor_sim.calibration.logistic_models import rounded
from tutor_sim.calibration.mixed import Floats
from tutor_sim.calibration.result import MODALITIES, NO_STYLE, Calibration, Estimate, HeldOut, Job

_MAX_SKILLS = 1000
_MAX_SHIFT = 10.0
_MAX_CORRELATION = 0.99
"""Slip and guess follow ability alone; a copula's correlation must stay below 1."""
_MIN_SD = 0.003
"""A probability that varies less over students is one number."""
_GRADIENTS = 150


def calibrate_bkt(job: Job) -> Calibration:
    """Individualised BKT with one ability factor.

    Raises:
        ValueError: too many skills to be estimated together.
    """
    log = job.log
    n_skills = len(log.skill_names)
    if n_skills > _MAX_SKILLS:
        raise ValueError(
            f"`--model bkt` takes up to {_MAX_SKILLS:,} skills, got {n_skills:,}; "
            "use `--kc skill`, or merge skills"
        )
    data = BKTData(log.student, log.skill, log.correct, log.n_students, n_skills)
    tell = job.tell
    fit = fit_factor_bkt(
        data, progress=lambda done: tell("fitting", 1 - np.exp(-3 * done / _GRADIENTS))
    )
    tell("fitting", 1.0)
    return Calibration(
        _population(job, fit),
        tuple(_estimates(fit)),
        _held_out(job, data, fit),
        HOW,
        tuple(_warnings(job, fit)),
    )


def _estimates(fit: FactorBKT) -> list[Estimate]:
    """Means over skills as probabilities; spreads and loadings in logits."""
    estimates = []
    for c, name in enumerate(PARAMETERS):
        on_logit = Estimate.of(f"p_{name}, skills' mean", fit.mean[c], fit.mean_se[c])
        values = special.expit([on_logit.value, on_logit.low, on_logit.high])
        estimates.append(Estimate(on_logit.name, *(float(v) for v in values)))
    estimates += [
        Estimate(f"p_{name}, SD over skills (logits)", float(sd))
        for name, sd in zip(PARAMETERS, fit.skill_sd, strict=True)
    ]
    return estimates + [
        Estimate.of(f"p_{name}, logits per SD of ability", value, se)
        for name, value, se in zip(PARAMETERS, fit.loading, fit.loading_se, strict=True)
    ]


def _warnings(job: Job, fit: FactorBKT) -> list[str]:
    log, found = job.log, []
    p = special.expit(fit.base)
    names = log.skill_names
    degenerate = [names[k] for k in np.flatnonzero(p[:, 2] + p[:, 3] > 1)]
    if degenerate:
        found.append(
            f"{len(degenerate):,} skills have slip + guess above 1, so that knowing is worse than "
            f"not knowing: {_some(degenerate)}."
        )
    weak = special.expit(fit.base - 2 * fit.loading)
    able = special.expit(fit.base + 2 * fit.loading)
    if not degenerate and ((weak[:, 2:].sum(1) > 1) | (able[:, 2:].sum(1) > 1)).any():
        found.append("Slip + guess is above 1 for some skills 2 SDs from the average ability.")
    if not (counts_before(log).exposures[log.graded] > 0).any():
        found.append("Nobody meets a skill twice: learning cannot be estimated; it is the prior's.")
    if log.n_students == 1:
        found.append("One student: how students differ cannot be estimated; no spread is written.")
    elif fit.loading[0] < 2 * fit.loading_se[0] and fit.loading[1] < 2 * fit.loading_se[1]:
        found.append("Ability makes no clear difference to start or learning in this log.")
    if rare := rare_skills(log):
        found.append(
            f"{rare:,} of {len(names):,} skills have fewer than 20 graded answers: their "
            "estimates are drawn to the mean of the skills."
        )
    if log.more_skills:
        found.append(
            f"{len(log.more_skills):,} rows name several skills; the first one was practised."
        )
    if not fit.converged:
        found.append("The fit had not settled when its iterations ended.")
    return found


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _population(job: Job, fit: FactorBKT) -> dict[str, Any]:
    log = job.log
    spread = log.n_students > 1
    loading = fit.loading if spread else np.zeros(4)
    init, learn = special.expit(fit.base[:, :2]).T
    latents: dict[str, Any] = {
        "ability": {"normal": {"mean": 0, "sd": 1}},
        **NO_STYLE,
        "p_init": rounded(init),
        "p_learn": rounded(learn[:, None]),
    }
    signs = {}
    for column, name in ((2, "slip"), (3, "guess")):
        latents[f"p_{name}"], correlated = _over_students(fit.mean[column], loading[column])
        if correlated:
            signs[f"p_{name}"] = _MAX_CORRELATION * float(np.sign(loading[column]))
        shift = fit.base[:, column, None] - fit.mean[column]
        latents[f"{name}_shift"] = rounded(np.clip(shift, -_MAX_SHIFT, _MAX_SHIFT))
    correlations = [{"between": ["ability", name], "r": r} for name, r in signs.items()]
    if len(signs) == 2:
        r = float(rounded(np.prod(list(signs.values()))))
        correlations.append({"between": list(signs), "r": r})
    step_s = step_seconds(log)
    return {
        "name": job.name,
        "description": f"individualised BKT, fitted to {log.n_students:,} students",
        "student": "bkt",
        "model": {
            "n_skills": len(log.skill_names),
            "skill_names": list(log.skill_names),
            "items_per_skill": 1,
            "modalities": MODALITIES,
            **({} if step_s is None else {"step_s": round(step_s, 1)}),
            "ability_on_init": float(rounded(loading[0])),
            "ability_on_learn": float(rounded(loading[1])),
        },
        "latents": latents,
        **({"correlations": correlations} if correlations else {}),
    }


def _over_students(mean: float, loading: float) -> tuple[Any, bool]:
    """Beta distribution with the mean and variance of ``sigmoid(mean + loading * N(0, 1))``.

    The second value is False where students hardly differ: then it is one number.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    p, weights = special.expit(mean + loading * nodes), weights / weights.sum()
    middle = float(weights @ p)
    variance = float(weights @ (p - middle) ** 2)
    if variance < _MIN_SD**2:
        return float(rounded(special.expit(mean))), False
    concentration = middle * (1 - middle) / variance - 1
    beta = {"mean": float(rounded(middle)), "concentration": float(rounded(concentration))}
    return {"beta": beta}, True


def _held_out(job: Job, data: BKTData, fit: FactorBKT) -> tuple[HeldOut, ...]:
    if not enough_students(job.log):
        return ()

    def predict(train: Bools, test: Bools) -> Floats:
        part = fit_factor_bkt(data.rows(train), start=fit)
        return predict_factor_bkt(part, data.rows(test))

    return (
        by_student(job, "bkt, this fit", predict),
        of_predictor(job, "bkt", "BKT, no ability"),
    )
