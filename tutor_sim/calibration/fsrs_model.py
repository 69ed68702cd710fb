"""Fit of the student ``fsrs``: every learner's weights, then their spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from tutor_envs.students.fsrs import LOWER_WEIGHTS, N_WEIGHTS, UPPER_WEIGHTS
from tutor_sim.calibration.features import SECONDS_PER_DAY
from tutor_sim.calibration.held_out import scored
from tutor_sim.calibration.memory_weights import (
    LOG_WEIGHTS,
    PRIOR_SD,
    ReviewData,
    WeightsFit,
    fit_weights,
    natural_weights,
    predict_recall,
)
from tutor_sim.calibration.mixed import Floats, Ints, Posterior, spread_se
from tutor_sim.calibration.result import MODALITIES, NO_STYLE, Calibration, Estimate, HeldOut, Job
from tutor_sim.logs.log import InteractionLog

_UNUSED = (1, 3, 15, 16)
"""Weights of the ratings Hard and Easy, which the student never gives."""
_FEW = 20
"""Learners below which the published spread is written, not the estimated one."""
_TRAIN_SHARE = 0.8
_SHARED_VARIANCE = 0.8
"""Of log stability: the part of ability where the log cannot tell, as in the default population."""
_CONCENTRATION = 4.0
"""Of the first answers' chance over learners, where the log cannot tell; likewise."""
_HOW = "last fifth of every student's reviews, gaps of a day or more"
_DECIMALS = 4
_GRADIENTS = 60


def calibrate_fsrs(job: Job) -> Calibration:
    """Weights of every learner under the published prior, and their spread.

    Raises:
        ValueError: no times, or no card that is reviewed again a day or more later.
    """
    log = job.log
    if not np.isfinite(log.time_s).all():
        raise ValueError("`--model fsrs` needs the time of every row, and the log has rows without")
    log = log.rows(np.flatnonzero(log.graded))
    tell = job.tell

    def progress(done: int) -> None:
        tell("fitting", 1 - np.exp(-3 * done / _GRADIENTS))

    fit = fit_weights(reviews(log), progress=progress)
    tell("fitting", 1.0)
    mean, sd, sd_se = _over_learners(fit)
    few = log.n_students < _FEW
    spread = np.asarray(PRIOR_SD) if few else sd
    warnings = _warnings(log, fit)
    known, concentration, known_se = _first_answers(log)
    estimates = _estimates(fit, mean, sd, sd_se, few)
    estimates.append(Estimate.of("p_known, mean", known, known_se))
    tell("held-out reviews", 0.0)
    held_out = _held_out(log)
    tell("held-out reviews", 1.0)
    population = _population(job, mean, spread, _shared(fit, spread, few), known, concentration)
    return Calibration(population, tuple(estimates), held_out, _HOW, tuple(warnings))


def reviews(log: InteractionLog) -> ReviewData:
    """Graded rows as reviews; an answer without a rating counts as Good or Again."""
    given = log.rating > 0
    rating: Ints = np.where(given, log.rating, np.where(log.correct == 1, 3, 1)).astype(np.int64)
    return ReviewData(log.student, log.skill, rating, log.time_s / SECONDS_PER_DAY, log.n_students)


def _over_learners(fit: WeightsFit) -> tuple[Floats, Floats, Floats]:
    """Mean, SD and the SD's standard error over learners, ``(21,)`` each, on the prior's scale.

    The SD counts the learners' own uncertainty, without which it would be too small: the
    estimates are drawn to the prior.
    """
    mean = fit.value.mean(0)
    deviation = fit.value - mean
    variance = (deviation**2 + np.einsum("uii->ui", fit.cov)).mean(0)
    sd = np.sqrt(variance)
    se = np.full(N_WEIGHTS, np.inf)
    if len(fit.value) >= _FEW:
        for i in range(N_WEIGHTS):
            one = Posterior(deviation[:, [i]], fit.cov[:, i : i + 1, i : i + 1])
            se[i] = spread_se(one, variance[i : i + 1, None])[0][0]
    return mean, sd, se


def _shared(fit: WeightsFit, spread: Floats, few: bool) -> float:
    """Variance that the log stabilities after Again and after Good share."""
    most = float(min(spread[0], spread[2]) ** 2)
    if few:
        return _SHARED_VARIANCE * most
    deviation = fit.value - fit.value.mean(0)
    covariance = (deviation[:, 0] * deviation[:, 2] + fit.cov[:, 0, 2]).mean()
    return float(np.clip(covariance, 0.0, 0.95 * most))


def _first_answers(log: InteractionLog) -> tuple[float, float, float]:
    """Mean and concentration over learners of P(correct) at first sight; the mean's error."""
    key = log.student * len(log.skill_names) + log.skill
    _, first = np.unique(key, return_index=True)
    student, correct = log.student[first], log.correct[first]
    n = np.bincount(student, minlength=log.n_students)
    right = np.bincount(student, weights=correct, minlength=log.n_students)
    mean = float((right.sum() + 0.5) / (n.sum() + 1))
    # Kleinman 1973: moments of the beta-binomial distribution.
    between = float((n * (right / np.maximum(n, 1) - mean) ** 2).sum())
    expected = mean * (1 - mean)
    freedom = n.sum() - (n**2).sum() / n.sum()
    share = 1 / (1 + _CONCENTRATION)
    if log.n_students >= _FEW and freedom > 0:
        share = (between / expected - (log.n_students - 1)) / freedom
    share = float(np.clip(share, 0.01, 0.9))
    se = np.sqrt(expected * (1 / n.sum() + share / log.n_students))
    return mean, 1 / share - 1, float(se)


def _estimates(
    fit: WeightsFit, mean: Floats, sd: Floats, sd_se: Floats, few: bool
) -> list[Estimate]:
    estimates = []
    n = len(fit.value)
    error = fit.se[0] if n == 1 else sd / np.sqrt(n)
    for i in range(N_WEIGHTS):
        if i in _UNUSED:
            continue
        value = Estimate.of(f"w{i}", mean[i], error[i])
        if i in LOG_WEIGHTS:
            value = Estimate(f"w{i} (median)", *(float(np.exp(v)) for v in value[1:]))
        estimates.append(value)
    if few:
        return estimates
    scale = {True: " of the logarithm", False: ""}
    return estimates + [
        Estimate.of_sd(f"w{i}, SD over students{scale[i in LOG_WEIGHTS]}", sd[i], sd_se[i])
        for i in range(N_WEIGHTS)
        if i not in _UNUSED
    ]


def _warnings(log: InteractionLog, fit: WeightsFit) -> list[str]:
    found = []
    n = log.n_students
    if n < _FEW:
        who = "One student" if n == 1 else f"{n} students"
        found.append(
            f"{who}: the spread over students cannot be estimated; the population is centred here "
            "and has the published spread over 9,999 users."
        )
    found.append(f"{fit.n_scored:,} reviews, those a day or more after the last, tell forgetting.")
    if not (log.rating > 0).any():
        found.append("The log has no ratings: right answers count as Good, wrong ones as Again.")
    told = [
        f"w{i}"
        for i in range(N_WEIGHTS)
        if i not in _UNUSED and np.median(fit.se[:, i]) > 0.9 * PRIOR_SD[i]
    ]
    if told:
        found.append(f"The log says little about {', '.join(told)}: these are the prior's.")
    if not fit.converged:
        found.append("The fit had not settled when its iterations ended.")
    return found


def _held_out(log: InteractionLog) -> tuple[HeldOut, ...]:
    """Weights from the first four fifths of every learner's reviews, scored on the rest."""
    first = np.searchsorted(log.student, np.arange(log.n_students))
    n = np.bincount(log.student, minlength=log.n_students)
    position = np.arange(len(log)) - first[log.student]
    train = position < (_TRAIN_SHARE * n).astype(np.int64)[log.student]
    try:
        fit = fit_weights(reviews(log.rows(np.flatnonzero(train))))
    except ValueError:
        return ()
    data = reviews(log)
    p = predict_recall(natural_weights(fit.value), data)
    counted = ~train & ~np.isnan(p) & (_gap_days(data) >= 1)
    if len(np.unique(log.correct[counted])) < 2:
        return ()
    return (scored("fsrs, this fit", p, log.correct, counted),)


def _gap_days(data: ReviewData) -> Floats:
    """Days since the same card's last review; NaN at its first."""
    key = data.student * (int(data.card.max()) + 1) + data.card
    order = np.argsort(key, kind="stable")
    gap = np.diff(data.days[order], prepend=np.nan)
    gap[np.flatnonzero(np.diff(key[order], prepend=-1))] = np.nan
    result = np.empty(len(order))
    result[order] = gap
    return result


def _population(
    job: Job, mean: Floats, spread: Floats, shared: float, known: float, concentration: float
) -> dict[str, Any]:
    log = job.log
    latents: dict[str, Any] = {"ability": {"normal": {"mean": 0, "sd": 1}}, **NO_STYLE}
    low, high = np.asarray(LOWER_WEIGHTS), np.asarray(UPPER_WEIGHTS)
    centre = natural_weights(mean)
    for i in range(N_WEIGHTS):
        if i in _UNUSED:
            latents[f"w{i}"] = _rounded(centre[i])
            continue
        own = spread[i]
        if i in (0, 2):
            own = np.sqrt(spread[i] ** 2 - shared)
        bounds = {"low": float(low[i]), "high": float(high[i])}
        shape = {"mean": _rounded(mean[i]), "sd": max(_rounded(own), 1e-4), **bounds}
        latents[f"w{i}"] = {"lognormal" if i in LOG_WEIGHTS else "normal": shape}
    latents["p_known"] = {
        "beta": {"mean": _rounded(known), "concentration": _rounded(concentration)}
    }
    return {
        "name": job.name,
        "description": f"FSRS-6 memory, fitted to {log.n_students:,} students",
        "student": "fsrs",
        "model": {
            "n_skills": len(log.skill_names),
            "skill_names": list(log.skill_names),
            "modalities": MODALITIES,
            "ability_on_stability": _rounded(np.sqrt(shared)),
        },
        "latents": latents,
    }


def _rounded(value: Any) -> float:
    return float(np.round(value, _DECIMALS))
