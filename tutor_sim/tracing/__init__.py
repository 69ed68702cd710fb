"""Standard predictors of answers, fitted on logs of real or simulated students, and their scores.

Start with :func:`cross_validate`; the predictors are in :mod:`.predictors` (any log) and
:mod:`.memory` (repeats of an item after a known time).
"""

from tutor_sim.tracing.bkt_em import BKTFit, fit_bkt, predict_bkt
from tutor_sim.tracing.cross_validation import Scores, cross_validate, held_out_predictions, score
from tutor_sim.tracing.histories import Kc, with_kc
from tutor_sim.tracing.memory import MEMORY_PREDICTORS
from tutor_sim.tracing.metrics import auc, log_loss, rmse
from tutor_sim.tracing.predictors import PREDICTORS, Predictor

__all__ = [
    "MEMORY_PREDICTORS",
    "PREDICTORS",
    "BKTFit",
    "Kc",
    "Predictor",
    "Scores",
    "auc",
    "cross_validate",
    "fit_bkt",
    "held_out_predictions",
    "log_loss",
    "predict_bkt",
    "rmse",
    "score",
    "with_kc",
]
