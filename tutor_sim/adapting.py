"""What adapting is worth: a tutor beside itself with adaptation switched off.

Some tutors adapt by an explicit step (a gradient step after a lesson), which can be left out. They
say so by a method ``unadapted``. The same students are taught again without it, with the same luck;
the paired difference is what adaptation gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tutor_agents.tutor import Tutor
from tutor_sim.evaluation import Evaluation
from tutor_sim.statistics import mean_interval

SUFFIX = "_unadapted"
"""Of a tutor's name in ``results.parquet`` where its adaptation is switched off."""


@runtime_checkable
class Adapting(Protocol):
    """A tutor whose adaptation can be switched off."""

    def unadapted(self) -> Tutor:
        """The same tutor, which teaches every lesson as it teaches a student it does not know."""
        ...


def adaptation_notes(
    evaluations: Sequence[Evaluation], unadapted: Sequence[Evaluation]
) -> list[str]:
    """For each tutor without adaptation, what it gains by adapting, with its 95 % interval.

    Args:
        evaluations: of all tutors, one for each training seed.
        unadapted: of the same tutors without adaptation, named with ``SUFFIX``.
    """
    adapted = {(e.tutor, e.training_seed): e.student_scores for e in evaluations}
    gains: dict[str, list[np.ndarray]] = {}
    for frozen in unadapted:
        name = frozen.tutor.removesuffix(SUFFIX)
        gain = adapted[name, frozen.training_seed] - frozen.student_scores
        gains.setdefault(name, []).append(gain)
    return [
        f"{name}: adapting gains {mean_interval(np.stack(of_seeds))} a lesson over the same tutor "
        "without it (paired on the same students)."
        for name, of_seeds in gains.items()
    ]
