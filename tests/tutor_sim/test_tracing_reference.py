"""Scores of the predictors on real logs, next to those of an independent bench.

The numbers are another implementation's (its own fits; BKT agreed with pyBKT), under the same
protocol: folds of students by ``default_rng(0)``, pooled over held-out rows. The logs have licences
of their own and are not part of the project.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tutor_sim.logs.log import InteractionLog, folds
from tutor_sim.logs.read import read_log
from tutor_sim.tracing import auc, cross_validate, fit_bkt, log_loss, predict_bkt

DATA = Path(__file__).parents[3] / "shared" / "data"
TOLERANCE = 0.01

# data set -> predictor -> AUC, log-loss ("@item": every item is a component)
FAST = {
    "probability_prepost": {
        "skill_mean": (0.606, 0.488),
        "item_mean": (0.716, 0.454),
        "rasch": (0.840, 0.365),
        "elo": (0.842, 0.360),
        "pfa": (0.797, 0.392),
        "bkt": (0.765, 0.429),
        "best_lr": (0.844, 0.354),
    },
    "spatial_rotation": {
        "skill_mean": (0.507, 0.563),
        "item_mean": (0.691, 0.519),
        "rasch": (0.801, 0.452),
        "elo": (0.797, 0.456),
    },
}
SLOW = {
    "stats_cloze": {
        "skill_mean": (0.614, 0.668),
        "item_mean": (0.692, 0.631),
        "rasch": (0.757, 0.587),
        "elo": (0.757, 0.585),
        "pfa": (0.713, 0.623),
        "bkt": (0.734, 0.602),
        "bkt_forgets": (0.743, 0.595),
        "best_lr": (0.832, 0.504),
        "repeat_mean": (0.484, 0.631),
        "repeat_item_mean": (0.707, 0.570),
        "hlr": (0.774, 0.954),
        "hlr_item": (0.799, 0.898),
        "power_law": (0.788, 0.512),
        "dash_item": (0.821, 0.478),
        "dash_item_student": (0.840, 0.455),
    },
    "stats_cloze@item": {
        "pfa": (0.801, 0.550),
        "bkt": (0.819, 0.518),
        "bkt_forgets": (0.821, 0.516),
        "best_lr": (0.834, 0.502),
    },
    "spanish37": {
        "skill_mean": (0.677, 0.523),
        "item_mean": (0.685, 0.520),
        "rasch": (0.750, 0.486),
        "elo": (0.772, 0.468),
        "pfa": (0.812, 0.455),
        "bkt": (0.831, 0.415),
        "bkt_forgets": (0.832, 0.414),
        "best_lr": (0.846, 0.402),
    },
    "spatial_rotation": {
        "pfa": (0.749, 0.491),
        "bkt": (0.681, 0.530),
        "bkt_forgets": (0.681, 0.530),
        "best_lr": (0.801, 0.452),
    },
    "probability_prepost": {"bkt_forgets": (0.764, 0.432)},
    "spatial_rotation@item": {"dkt": (0.794, 0.457)},
    "probability_prepost@item": {"dkt": (0.840, 0.355)},
}


def cells(table: dict[str, dict[str, tuple[float, float]]]) -> list[tuple[str, str, float, float]]:
    return [(data, name, *pair) for data, row in table.items() for name, pair in row.items()]


@cache
def read(name: str) -> InteractionLog:
    path = DATA / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{name}.csv.gz, which is not part of the project")
    return read_log(path)[0]


def check(data: str, name: str, wanted_auc: float, wanted_log_loss: float) -> None:
    log = read(data.partition("@")[0])
    scores = cross_validate(log, name, kc="item" if "@" in data else "skill")
    assert scores.auc == pytest.approx(wanted_auc, abs=TOLERANCE)
    assert scores.log_loss == pytest.approx(wanted_log_loss, abs=TOLERANCE)


@pytest.mark.parametrize(("data", "name", "auc", "log_loss"), cells(FAST))
def test_small_logs(data: str, name: str, auc: float, log_loss: float) -> None:
    check(data, name, auc, log_loss)


@pytest.mark.slow
@pytest.mark.parametrize(("data", "name", "auc", "log_loss"), cells(SLOW))
def test_the_rest_of_the_table(data: str, name: str, auc: float, log_loss: float) -> None:
    check(data, name, auc, log_loss)


def test_bkt_agrees_with_pybkt_on_one_fold() -> None:
    """PyBKT 1.4.3: AUC .7518, log-loss .4413."""
    log = read("probability_prepost")
    fold = folds(log.n_students)[log.student]
    training, test = (log.rows(np.flatnonzero(x)) for x in (fold != 0, fold == 0))
    p = predict_bkt(test, fit_bkt(training))
    assert auc(p, test.correct) == pytest.approx(0.7518, abs=5e-4)
    assert log_loss(p, test.correct) == pytest.approx(0.4413, abs=5e-4)
