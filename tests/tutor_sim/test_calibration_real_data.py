"""Fits of real learners' records, where they lie beside the checkout; skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tutor_sim.calibration.features import counts_before
from tutor_sim.calibration.mixed import MixedData, MixedFit, fit_mixed, sds_and_correlations
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.read import read_log
from tutor_sim.tracing.histories import with_kc

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs the learner data beside the checkout"),
]


def growth_with_forgetting(log: InteractionLog) -> MixedData:
    """Start, log(1 + exposures) and, from the second exposure on, log(gap / 60 s)."""
    exposures = counts_before(log).exposures
    key = log.student * len(log.skill_names) + log.skill
    order = np.argsort(key, kind="stable")
    gap = np.diff(log.time_s[order], prepend=0.0)
    gap_s = np.empty(len(log))
    gap_s[order] = gap
    forgetting = np.where(exposures > 0, np.log(np.maximum(gap_s, 1) / 60), 0)
    x = np.stack([np.ones(len(log)), np.log1p(exposures), forgetting], 1)[log.graded]
    return MixedData(
        log.correct[log.graded],
        x,
        log.student[log.graded],
        x,
        log.skill[log.graded],
        x[:, :1],
        log.n_students,
        len(log.skill_names),
    )


def fit_cloze() -> tuple[MixedData, MixedFit]:
    log, _ = read_log(DATA / "stats_cloze.csv.gz")
    data = growth_with_forgetting(with_kc(log, "item"))
    return data, fit_mixed(data)


def test_the_growth_model_of_the_cloze_data_agrees_with_an_earlier_fit() -> None:
    """Table 6.2: a separate program, full-covariance variational empirical Bayes."""
    _, fit = fit_cloze()
    sd, r = sds_and_correlations(fit.student_cov)
    assert fit.beta == pytest.approx([-0.86, 1.92, -0.179], abs=0.02)
    assert sd == pytest.approx([0.75, 0.43, 0.091], abs=0.02)
    assert r[0, 1] == pytest.approx(0.62, abs=0.05)
    assert r[0, 2] == pytest.approx(0.29, abs=0.05)
    assert np.sqrt(fit.unit_cov[0, 0]) == pytest.approx(1.07, abs=0.02)


def test_the_estimates_are_found_again_in_answers_simulated_from_them() -> None:
    """Same students, items and times; the earlier program got .740 / .438 / .102 and .55 back."""
    data, fit = fit_cloze()
    rng = np.random.default_rng(0)
    u = rng.multivariate_normal(np.zeros(3), fit.student_cov, data.n_students)
    logit = data.x @ fit.beta + (data.z * u[data.student]).sum(1) + fit.units.mean[data.unit, 0]
    correct = (rng.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(float)
    again = fit_mixed(
        MixedData(
            correct,
            data.x,
            data.student,
            data.z,
            data.unit,
            data.w,
            data.n_students,
            data.n_units,
        )
    )
    truth, r_truth = sds_and_correlations(fit.student_cov)
    sd, r = sds_and_correlations(again.student_cov)
    assert sd == pytest.approx(truth, rel=0.15)
    assert r[0, 1] == pytest.approx(r_truth[0, 1], abs=0.12)
    assert again.beta[1:] == pytest.approx(fit.beta[1:], abs=0.08)
