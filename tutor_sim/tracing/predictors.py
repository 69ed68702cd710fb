"""The standard predictors of answers ("knowledge tracing"), known by name.

A predictor is fitted on the log of some students and predicts the answers of others, each from
that student's own earlier rows.

=============  ===================================================================================
global_mean    share correct
skill_mean     share correct on the (first) skill
item_mean      share correct on the item
rasch          item easiness + ability, the ability re-estimated after every answer
elo            ratings of students and items
pfa            performance factors: skill + counts of right and wrong answers on it
bkt            Bayesian knowledge tracing, fitted by EM
bkt_forgets    the same with forgetting
best_lr        logistic regression on item, skill and log counts per skill, in all and per item
dkt            deep knowledge tracing: an LSTM over (skill, answer)
=============  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from tutor_sim.logs.log import Floats, InteractionLog, Ints
from tutor_sim.tracing.bkt_em import BKTFit, fit_bkt, predict_bkt
from tutor_sim.tracing.dkt import DKT
from tutor_sim.tracing.elo import Elo
from tutor_sim.tracing.logistic_predictors import BestLR, PerformanceFactors
from tutor_sim.tracing.rasch import Rasch


class Predictor(Protocol):
    """Predicts answers from a student's past."""

    def fit(self, log: InteractionLog) -> None:
        """Learn from the log of the training students (with graded rows)."""

    def predict(self, log: InteractionLog) -> Floats:
        """P(correct) of every row from the student's own earlier rows only.

        Args:
            log: of any students, with the items and skills of the training log.

        Returns:
            ``(len(log),)`` in [0, 1]; NaN where the predictor has nothing to say.
        """


def _shares(code: Ints, log: InteractionLog, n_codes: int) -> Floats:
    """Share correct of each code, one row at the overall share added; ``(n_codes,)``."""
    code, correct = code[log.graded], log.correct[log.graded]
    right, n = (np.bincount(code, w, n_codes) for w in (correct, np.ones(len(code))))
    shares: Floats = (right + correct.mean()) / (n + 1)
    return shares


class GlobalMean:
    """The share of correct answers."""

    def fit(self, log: InteractionLog) -> None:
        """Share correct."""
        self.share = float(np.nanmean(log.correct))

    def predict(self, log: InteractionLog) -> Floats:
        """The same for every row."""
        return np.full(len(log), self.share)


class SkillMean:
    """The share of correct answers on the (first) skill."""

    def fit(self, log: InteractionLog) -> None:
        """Share correct of every skill."""
        self.share = _shares(log.skill, log, len(log.skill_names))

    def predict(self, log: InteractionLog) -> Floats:
        """The skill's share."""
        return self.share[log.skill]


class ItemMean:
    """The share of correct answers on the item."""

    def fit(self, log: InteractionLog) -> None:
        """Share correct of every item."""
        self.share = _shares(log.item, log, len(log.item_names))

    def predict(self, log: InteractionLog) -> Floats:
        """The item's share."""
        return self.share[log.item]


class BKT:
    """Bayesian knowledge tracing; see :mod:`tutor_sim.tracing.bkt_em`."""

    def __init__(self, forgets: bool = False) -> None:
        self.forgets = forgets

    def fit(self, log: InteractionLog) -> None:
        """EM over all sequences."""
        self.parameters: BKTFit = fit_bkt(log, forgets=self.forgets)

    def predict(self, log: InteractionLog) -> Floats:
        """The forward filter's P(correct), the mean over a row's skills."""
        return predict_bkt(log, self.parameters)


PREDICTORS: dict[str, Callable[[], Predictor]] = {
    "global_mean": GlobalMean,
    "skill_mean": SkillMean,
    "item_mean": ItemMean,
    "rasch": Rasch,
    "elo": Elo,
    "pfa": PerformanceFactors,
    "bkt": BKT,
    "bkt_forgets": lambda: BKT(forgets=True),
    "best_lr": BestLR,
    "dkt": DKT,
}
"""Name -> a new predictor."""
