"""The student models that can be fitted to a log, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Literal, NamedTuple

from tutor_sim.calibration.result import Calibration, Job

Kc = Literal["skill", "item"]


class Method(NamedTuple):
    """How a student model is fitted.

    Attributes:
        module: of this package.
        function: there.
        kc: what a skill of the population is, unless the user says: the log's skill or its item.
    """

    module: str
    function: str
    kc: Kc

    def load(self) -> Callable[[Job], Calibration]:
        """The function."""
        module = importlib.import_module(f"tutor_sim.calibration.{self.module}")
        found: Callable[[Job], Calibration] = getattr(module, self.function)
        return found


METHODS = {
    "bkt": Method("bkt_model", "calibrate_bkt", "skill"),
    "dash": Method("logistic_models", "calibrate_dash", "item"),
    "fsrs": Method("fsrs_model", "calibrate_fsrs", "item"),
    "irt": Method("logistic_models", "calibrate_irt", "skill"),
    "neural": Method("neural_model", "calibrate_neural", "skill"),
    "pfa": Method("logistic_models", "calibrate_pfa", "skill"),
}
"""Name of a student model -> how it is fitted."""
