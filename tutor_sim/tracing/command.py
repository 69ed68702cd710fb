"""What the command ``trace`` does; it can be called from Python alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tutor_envs.errors import unknown_name
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.read import read_log
from tutor_sim.tracing.cross_validation import Scores, cross_validate
from tutor_sim.tracing.histories import Kc
from tutor_sim.tracing.memory import MEMORY_PREDICTORS, graded_repeats
from tutor_sim.tracing.predictors import PREDICTORS


def trace_file(
    path: Path,
    *,
    predictors: Sequence[str],
    kc: str,
    n_folds: int,
    seed: int,
    format: str | None,
    mapping: Mapping[str, str],
    console: Console,
    log: Console,
) -> dict[str, Scores]:
    """Cross-validated scores of predictors on a log.

    Args:
        path: of the log.
        predictors: names; none: all that apply (``dkt``, which is slow, only by name).
        kc: ``skill`` or ``item``: what is one knowledge component.
        n_folds: folds of students.
        seed: of the folds.
        format: layout of the log; None: from its header.
        mapping: field -> column.
        console: for the table.
        log: for what was read.

    Raises:
        ValueError: bad input.
        OSError: the file cannot be read.
    """
    torch.set_num_threads(1)
    known = PREDICTORS | MEMORY_PREDICTORS
    for name in predictors:
        if name not in known:
            raise ValueError(unknown_name("predictor", name, known))
    interactions, report = read_log(path, format=format, mapping=mapping)
    log.print(Text(report.text()), soft_wrap=True)
    table = Table("predictor", "rows", "AUC", "log-loss", "RMSE", "AUC SD of folds")
    for column in table.columns[1:]:
        column.justify = "right"
    scores = {}
    for name in predictors or applicable(interactions):
        scores[name] = found = cross_validate(
            interactions, name, kc=cast(Kc, kc), n_folds=n_folds, seed=seed
        )
        table.add_row(name, f"{found.n:,}", *(f"{x:.3f}" for x in found[:3]), f"{found[4]:.3f}")
        log.print(f"{name}: AUC {found.auc:.3f}", highlight=False)
    console.print(table)
    return scores


def applicable(log: InteractionLog) -> list[str]:
    """The predictors that a log allows, but the slow ``dkt``; memory models need time."""
    names = [name for name in PREDICTORS if name != "dkt"]
    if not np.isnan(log.time_s).any() and graded_repeats(log).any():
        names += MEMORY_PREDICTORS
    return names
