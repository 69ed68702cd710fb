"""Fits of the logistic students ``irt`` (growth by practice), ``pfa`` and ``dash``.

All three are :mod:`tutor_sim.calibration.mixed` models of the answers; they differ in the columns:

* ``irt``: start and slope of every student, both normal and correlated; start of every skill;
  ``log(1 + exposures)`` of the skill;
* ``pfa``: start of every student; start, success slope and failure slope of every skill;
  ``log(1 + successes)`` and ``log(1 + failures)``;
* ``dash``: start of every student; difficulty of every item; successes and reviews in windows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tutor_sim.calibration.features import (
    counts_before,
    rare_skills,
    step_seconds,
    window_counts,
)
from tutor_sim.calibration.held_out import HOW, Bools, by_student, enough_students, of_predictor
from tutor_sim.calibration.mixed import (
    Floats,
    MixedData,
    MixedFit,
    fit_mixed,
    sds_and_correlations,
)
from tutor_sim.calibration.online import predict_online
from tutor_sim.calibration.result import MODALITIES, NO_STYLE, Calibration, Estimate, HeldOut, Job

_LIMIT = 10.0
"""Largest logit that the students accept for a skill's start or slope."""
_HELD_OUT_ITERATIONS = 60
_DASH_DELAY_DAYS = 7.0
_DASH_REVIEWS = (32, 512)
"""Reviews that a simulated student can hold: as many as the log's longest, within this range."""
_DECIMALS = 4


@dataclasses.dataclass(frozen=True)
class _Fitted:
    """A mixed model of a log.

    Attributes:
        job: what was asked for.
        data: its graded rows.
        fit: the estimates.
        spread: students differ (there are several).
    """

    job: Job
    data: MixedData
    fit: MixedFit
    spread: bool

    def of_skills(self, column: int) -> Floats:
        """Effect of a column on each skill, for the average student, ``(K,)``."""
        own = self.fit.units.mean[:, column] if self.data.n_units > 1 else np.zeros(1)
        return np.asarray(np.clip(self.fit.beta[column] + own, -_LIMIT, _LIMIT))


def _fit(job: Job, x: Floats, n_student: int, n_unit: int) -> _Fitted:
    """Fit the columns ``x``; the first ones differ between students, and between skills."""
    log, keep = job.log, job.log.graded
    x = x[keep]
    data = MixedData(
        correct=log.correct[keep],
        x=x,
        student=log.student[keep],
        z=x[:, : n_student if log.n_students > 1 else 0],
        unit=log.skill[keep],
        w=x[:, : n_unit if len(log.skill_names) > 1 else 0],
        n_students=log.n_students,
        n_units=len(log.skill_names),
    )
    limit = 400
    fit = fit_mixed(
        data,
        max_iterations=limit,
        progress=lambda done: job.tell("fitting", 1 - (1 - done / limit) ** 8),
    )
    job.tell("fitting", 1.0)
    return _Fitted(job, data, fit, log.n_students > 1)


def _held_out(fitted: _Fitted, name: str, predictor: str, label: str) -> tuple[HeldOut, ...]:
    log = fitted.job.log
    if not enough_students(log):
        return ()
    graded = np.flatnonzero(log.graded)

    def predict(train: Bools, test: Bools) -> Floats:
        fit = fit_mixed(
            fitted.data.rows(train[graded]), start=fitted.fit, max_iterations=_HELD_OUT_ITERATIONS
        )
        p = np.full(len(log), np.nan)
        p[graded[test[graded]]] = predict_online(fit, fitted.data.rows(test[graded]))
        return p[test]

    return (
        by_student(fitted.job, f"{name}, this fit", predict),
        of_predictor(fitted.job, predictor, label),
    )


def _warnings(fitted: _Fitted, student_names: tuple[str, ...]) -> list[str]:
    fit, log = fitted.fit, fitted.job.log
    found = []
    if not fitted.spread:
        found.append("One student: how students differ cannot be estimated; no spread is written.")
    else:
        sd, r = sds_and_correlations(fit.student_cov)
        se, _ = fit.student_se()
        found += [
            f"The SD of the students' {name} ({value:.2g}) is near 0: the log does not show that "
            "students differ in it."
            for name, value, error in zip(student_names, sd, se, strict=True)
            if not value > 2 * error
        ]
        if len(sd) > 1 and abs(r[0, 1]) > 0.95:
            found.append(
                f"The correlation of {student_names[0]} and {student_names[1]} ({r[0, 1]:.2f}) is "
                "near the boundary: they cannot be told apart."
            )
    if rare := rare_skills(log):
        found.append(
            f"{rare:,} of {len(log.skill_names):,} skills have fewer than 20 graded answers: their "
            "estimates are drawn to the mean of the skills."
        )
    if not fit.converged:
        found.append(f"The fit had not settled after {fit.n_iterations} iterations.")
    return found


def _spread_estimates(fitted: _Fitted, names: tuple[str, ...]) -> list[Estimate]:
    """SDs and correlations of the students, and the SD of the skills' starts."""
    estimates = []
    if fitted.spread:
        sd, r = sds_and_correlations(fitted.fit.student_cov)
        sd_se, r_se = fitted.fit.student_se()
        estimates += [
            Estimate.of_sd(f"{n}, SD over students", v, e)
            for n, v, e in zip(names, sd, sd_se, strict=True)
        ]
        estimates += [
            Estimate.of_correlation(
                f"correlation of {names[b]} and {names[a]}", r[a, b], r_se[a, b]
            )
            for a in range(len(sd))
            for b in range(a)
        ]
    if fitted.data.n_units > 1:
        sd, _ = sds_and_correlations(fitted.fit.unit_cov)
        se, _ = fitted.fit.unit_se()
        estimates.append(Estimate.of_sd("start, SD over skills", sd[0], se[0]))
    return estimates


def _fixed_estimates(fitted: _Fitted, names: tuple[str, ...]) -> list[Estimate]:
    se = np.sqrt(np.diag(fitted.fit.beta_cov))
    values = zip(names, fitted.fit.beta, se, strict=True)
    return [Estimate.of(name, value, error) for name, value, error in values]


def rounded(values: Any) -> Any:
    """Numbers as they are written to a file."""
    return np.round(np.asarray(values, dtype=np.float64), _DECIMALS).tolist()


def _population(
    job: Job, student: str, what: str, model: dict[str, Any], latents: dict[str, Any]
) -> dict[str, Any]:
    log = job.log
    step_s = step_seconds(log)
    return {
        "name": job.name,
        "description": f"{what}, fitted to {log.n_students:,} students",
        "student": student,
        "model": {
            "n_skills": len(log.skill_names),
            "skill_names": list(log.skill_names),
            "modalities": MODALITIES,
            **({} if step_s is None else {"step_s": round(step_s, 1)}),
            **model,
        },
        "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}, **NO_STYLE, **latents},
    }


def _sd_of_start(fitted: _Fitted) -> float:
    return float(rounded(np.sqrt(fitted.fit.student_cov[0, 0]))) if fitted.spread else 0.0


def calibrate_irt(job: Job) -> Calibration:
    """Logit = student's start + skill's start + student's slope * log(1 + exposures)."""
    exposures = counts_before(job.log).exposures
    grows = bool((exposures[job.log.graded] > 0).any())
    columns = [np.ones(len(job.log))] + [np.log1p(exposures)] * grows
    names = ("start", "learning slope")[: len(columns)]
    fitted = _fit(job, np.stack(columns, 1), n_student=len(columns), n_unit=1)
    warnings = _warnings(fitted, names)
    latents: dict[str, Any] = {"skill_offset": rounded(fitted.of_skills(0)), "growth": 0.0}
    correlations = []
    if not grows:
        warnings.append("Nobody meets a skill twice: learning cannot be estimated and is set to 0.")
    else:
        slope = float(rounded(fitted.fit.beta[1]))
        if slope <= 0:
            warnings.append(
                f"The mean learning slope is {slope:.2f}: answers do not improve with practice."
            )
        latents["growth"] = slope
        if fitted.spread:
            sd, r = sds_and_correlations(fitted.fit.student_cov)
            spread = {"mean": slope, "sd": float(rounded(sd[1])), "low": -_LIMIT, "high": _LIMIT}
            latents["growth"] = {"normal": spread}
            correlations = [
                {
                    "between": ["ability", "growth"],
                    "r": float(rounded(np.clip(r[0, 1], -0.99, 0.99))),
                }
            ]
    population = _population(
        job,
        "irt",
        "IRT with growth by practice",
        {
            "growth_law": "practice",
            "difficulties": [0.0],
            "discrimination": 1.0,
            "target_difficulty": 0.0,
            "ability_on_start": _sd_of_start(fitted),
        },
        latents,
    ) | ({"correlations": correlations} if correlations else {})
    estimates = _fixed_estimates(fitted, tuple(f"{n}, mean" for n in names))
    estimates += _spread_estimates(fitted, names)
    held_out = _held_out(fitted, "irt", "rasch", "Rasch, no growth")
    return Calibration(population, tuple(estimates), held_out, HOW, tuple(warnings))


def calibrate_pfa(job: Job) -> Calibration:
    """Logit = student's start + skill's start + slopes * log(1 + successes or failures)."""
    counts = counts_before(job.log)
    columns = [np.ones(len(job.log)), np.log1p(counts.successes), np.log1p(counts.failures)]
    fitted = _fit(job, np.stack(columns, 1), n_student=1, n_unit=3)
    warnings = _warnings(fitted, ("start",))
    slopes = np.stack([fitted.of_skills(1), fitted.of_skills(2)], -1)
    if not (counts.exposures[job.log.graded] > 0).any():
        slopes = np.zeros_like(slopes)
        warnings.append("Nobody meets a skill twice: learning cannot be estimated and is set to 0.")
    if negative := int((slopes[:, 0] < 0).sum()):
        warnings.append(
            f"{negative:,} skills have a success slope below 0; it is 0 in the population."
        )
    population = _population(
        job,
        "pfa",
        "performance factors analysis",
        {"log_counts": True, "ability_on_start": _sd_of_start(fitted)},
        {
            "easiness": rounded(fitted.of_skills(0)),
            "success_slope": rounded(np.maximum(slopes[:, 0], 0)),
            "failure_slope": rounded(slopes[:, 1]),
        },
    )
    names = ("start, mean", "success slope, mean", "failure slope, mean")
    estimates = _fixed_estimates(fitted, names) + _spread_estimates(fitted, ("start",))
    held_out = _held_out(fitted, "pfa", "pfa", "PFA, no ability, raw counts")
    return Calibration(population, tuple(estimates), held_out, HOW, tuple(warnings))


def calibrate_dash(job: Job) -> Calibration:
    """Logit = student's start - item's difficulty + counts in time windows."""
    log = job.log
    if not np.isfinite(log.time_s).all():
        raise ValueError("`--model dash` needs the time of every row, and the log has rows without")
    windows, successes, reviews = window_counts(log)
    n_windows = len(windows)
    x = np.concatenate([np.ones((len(log), 1)), np.log1p(successes), np.log1p(reviews)], axis=1)
    fitted = _fit(job, x, n_student=1, n_unit=1)
    warnings = _warnings(fitted, ("start",))
    if not (reviews > 0).any():
        warnings.append("Nobody meets an item twice: memory cannot be estimated.")
    if n_windows < 5:
        kept = ", ".join(_window(w) for w in windows)
        warnings.append(f"The gaps in the log tell only these time windows apart: {kept}.")
    population = _population(
        job,
        "dash",
        "DASH memory",
        {
            "windows_days": [round(w, 6) for w in windows],
            "ability_on_logit": _sd_of_start(fitted),
            "delay_days": _DASH_DELAY_DAYS,
            "max_reviews": int(np.clip(np.bincount(log.student).max(), *_DASH_REVIEWS)),
        },
        {
            "difficulty": rounded(-fitted.of_skills(0)),
            "correct_weight": rounded(fitted.fit.beta[1 : 1 + n_windows]),
            "attempt_weight": rounded(fitted.fit.beta[1 + n_windows :]),
        },
    )
    names: tuple[str, ...] = ("start, mean",)
    for what in ("successes", "reviews"):
        names += tuple(f"weight of {what}, {_window(w)}" for w in windows)
    estimates = _fixed_estimates(fitted, names) + _spread_estimates(fitted, ("start",))
    held_out = _held_out(fitted, "dash", "dash_item_student", "DASH-like, repeats of an item only")
    return Calibration(population, tuple(estimates), held_out, HOW, tuple(warnings))


def _window(days: float) -> str:
    if np.isinf(days):
        return "all time"
    number, unit = (days, "day") if days >= 1 else (days * 24, "hour")
    return f"{number:g} {unit}" + "s" * (number != 1)
