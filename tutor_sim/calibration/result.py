"""What a calibration hands back: estimates with intervals, warnings, and the population."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tutor_sim.logs.log import InteractionLog

Tell = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done."""
_Z = 1.959964


class Estimate(NamedTuple):
    """A number with its 95 % interval.

    Attributes:
        name: what it is.
        value: the estimate.
        low: end of the interval; NaN where unknown.
        high: end of the interval; NaN where unknown.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, name: str, value: float, se: float) -> Estimate:
        """A number on the whole line: ``value +- 1.96 se``."""
        return cls(name, float(value), float(value - _Z * se), float(value + _Z * se))

    @classmethod
    def of_sd(cls, name: str, value: float, se: float) -> Estimate:
        """A standard deviation: the interval is symmetric for its logarithm."""
        if not math.isfinite(se):
            return cls(name, float(value))
        factor = math.exp(min(_Z * se / value, 50.0))
        return cls(name, float(value), float(value / factor), float(value * factor))

    @classmethod
    def of_correlation(cls, name: str, value: float, se: float) -> Estimate:
        """A correlation: the interval is symmetric on Fisher's scale."""
        if not math.isfinite(se):
            return cls(name, float(value))
        inside = max(min(value, 0.999999), -0.999999)
        z, step = math.atanh(inside), min(_Z * se / (1 - inside**2), 50.0)
        return cls(name, float(value), math.tanh(z - step), math.tanh(z + step))

    def text(self) -> str:
        """``0.432 [0.375, 0.489]``."""
        if not math.isfinite(self.high - self.low):
            return f"{self.value:.3g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class HeldOut(NamedTuple):
    """How well answers are predicted that the fit has not seen.

    Attributes:
        name: of the predictor.
        auc: share of (correct, wrong) pairs in the right order.
        log_loss: nats.
        n: answers predicted.
    """

    name: str
    auc: float
    log_loss: float
    n: int

    def text(self) -> str:
        """``AUC 0.831, log-loss 0.415 on 1,337 answers``."""
        return f"AUC {self.auc:.3f}, log-loss {self.log_loss:.3f} on {self.n:,} answers"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A fitted population and what is known about it.

    Attributes:
        population: the content of its file.
        estimates: of the parameters that make it up.
        held_out: predictions of answers that were left out.
        held_out_how: a phrase that says which answers were left out.
        warnings: what the log cannot tell, and what was done about it; sentences.
        tensors: file name -> tensors to be saved beside the population.
    """

    population: dict[str, Any]
    estimates: tuple[Estimate, ...]
    held_out: tuple[HeldOut, ...]
    held_out_how: str
    warnings: tuple[str, ...]
    tensors: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


class Job(NamedTuple):
    """A log to be fitted.

    Attributes:
        log: the rows; ``skill`` is the knowledge component.
        name: of the population.
        seed: of what is drawn.
        tell: hears of the progress.
    """

    log: InteractionLog
    name: str
    seed: int
    tell: Tell


NO_STYLE: dict[str, Any] = {"style_strength": 0.0}
"""Latents that a log without teaching modalities cannot tell."""
MODALITIES = ["practice"]
"""The one way of teaching that a log shows."""
