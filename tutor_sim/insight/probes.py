"""Probes: what of the hidden student can be read, linearly, out of a tutor's memory?

After n answers a probe is fitted to half of the students and scored on the others. Beside the
memory stand

* ``counts``: the same probe on plain counts of the answers to each action, in the trial and in the
  lesson: what is there to be read without any memory;
* ``posterior``: what the exact posterior believes, without any probe: the ceiling, where the
  population is finite (for a continuous one a sample stands for it, and is no ceiling);
* ``shuffled``: the memory, and labels that were dealt out anew: what a probe reads out of nothing.

Numbers are read by ridge regression and scored by R², groups by softmax regression and scored by
AUC, Brier score and calibration error. (Linear probes: Alain & Bengio 2017, arXiv 1610.01644. A
probe without a control says little: Hewitt & Liang 2019, arXiv 1909.03368.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutor_sim.insight.belief import GROUPS, Tracker, traits_of, varies
from tutor_sim.insight.regression import ridge, softmax
from tutor_sim.insight.scores import Array, brier, calibration_error, group_auc, r2
from tutor_sim.insight.trace import Hidden, Seen, Trace

MAX_POINTS = 13
"""Numbers of answers at which probes are fitted, evenly spread over the trial."""
MIN_STUDENTS = 40
N_RESAMPLES = 200
MASTERY = "mastery now"
GROUP_MEASURES: dict[str, Callable[[Array, NDArray[np.int64]], float]] = {
    "AUC": group_auc,
    "Brier": brier,
    "ECE": calibration_error,
}


class ProbeScore(NamedTuple):
    """One number of one probe.

    Attributes:
        target: what was to be read: a latent, ``best modality``, ``type`` or ``mastery now``.
        source: ``memory``, ``counts``, ``posterior`` or ``shuffled``.
        measure: ``R²``, or for groups ``AUC``, ``Brier``, ``ECE`` (expected calibration error).
        n_answers: after how many answers.
        value: with the students that the probe was not fitted to; nan where nothing varies.
        low: lower end of its 95 % interval over these students (percentile bootstrap); of the
            memory alone, else nan.
        high: upper end.
    """

    target: str
    source: str
    measure: str
    n_answers: int
    value: float
    low: float
    high: float


def probe(trace: Trace, tracker: Tracker | None, *, seed: int) -> list[ProbeScore]:
    """Every probe of a tutor's memory.

    Args:
        trace: with the memory; the first half of its students is fitted, the second scored.
        tracker: of the population; None: there is no posterior.
        seed: of shuffling and resampling.

    Raises:
        ValueError: fewer than 40 students.
    """
    assert trace.memory is not None
    n = trace.seen.n_students
    if n < MIN_STUDENTS:
        raise ValueError(f"probes need at least {MIN_STUDENTS} students, got {n}")
    half = n // 2
    rng = np.random.default_rng(seed)
    deal = rng.permutation(n)
    draws = rng.integers(0, n - half, (N_RESAMPLES, n - half))
    targets = _targets(trace.hidden, tracker)
    believed = None
    if tracker is not None:
        believed = tracker.follow(trace.seen.students(torch.arange(half, n)))
    scores = []
    n_points = trace.memory.shape[0]
    for t in _points(n_points):
        features = {
            "memory": trace.memory[t].double().numpy(),
            "counts": answer_counts(trace.seen, t).numpy(),
        }
        for name, of_step in targets.items():
            values = of_step(t)
            read: dict[str, tuple[Array, Array]] = {}
            for source, x in features.items():
                read[source] = _read(name, x[:half], values[:half], x[half:]), values[half:]
            dealt = values[deal]
            x = features["memory"]
            read["shuffled"] = _read(name, x[:half], dealt[:half], x[half:]), dealt[half:]
            if believed is not None and (name == MASTERY or name in believed.traits):
                known = believed.mastery_before if name == MASTERY else believed.traits[name]
                read["posterior"] = known[t].double().numpy(), values[half:]
            for source, (predicted, truth) in read.items():
                scores += _scores(name, source, t, predicted, truth, draws)
    return scores


def _points(n_steps: int) -> list[int]:
    """Numbers of answers to probe at, from none to all but the last."""
    return sorted(set(np.linspace(0, n_steps - 1, min(n_steps, MAX_POINTS)).round().astype(int)))


def _targets(hidden: Hidden, tracker: Tracker | None) -> dict[str, Callable[[int], Array]]:
    """Name -> values ``(n, C)`` after t answers; groups are 1 in the column of their own."""
    traits = traits_of(hidden.latents)
    if tracker is not None and "type" in tracker.traits:
        traits["type"] = _type_of(hidden, tracker)
    elif varies(hidden.latents["type"].unsqueeze(-1)):
        kinds = hidden.latents["type"]
        traits["type"] = torch.nn.functional.one_hot(kinds).double()
    groups = {name: traits.pop(name) for name in GROUPS if name in traits}
    targets = {name: _constant(value.numpy()) for name, value in (groups | traits).items()}
    mastery = hidden.mastery_before.double().numpy()
    return targets | {MASTERY: lambda t: mastery[t]}


def _constant(values: Array) -> Callable[[int], Array]:
    return lambda _: values


def _type_of(hidden: Hidden, tracker: Tracker) -> Tensor:
    """``(n, H)``, 1 for the type that has a student's latents: the nearest is the same one."""
    names = [name for name in tracker.traits if name not in GROUPS]
    n, latents, types = len(hidden.latents["type"]), hidden.latents, tracker.traits
    mine = torch.cat([latents[name].reshape(n, -1).double() for name in names], dim=-1)
    distance = torch.cdist(mine, torch.cat([types[name] for name in names], dim=-1))
    return torch.nn.functional.one_hot(distance.argmin(-1), len(distance[0])).double()


def answer_counts(seen: Seen, n_answers: int) -> Tensor:
    """Counts of every response to every action, in the trial and in the lesson, ``(n, 2 A R)``."""
    model, n_steps = seen.model, seen.task.n_steps
    cells = model.n_actions * model.n_responses
    code = seen.actions[:n_answers] * model.n_responses + seen.responses[:n_answers]
    answered = seen.responses[:n_answers] < model.n_responses
    begun = n_answers - n_answers % n_steps
    counts = []
    for first in (0, begun):
        count = torch.zeros(seen.n_students, cells, dtype=torch.float64)
        rows = code[first:].clamp(max=cells - 1).T
        count.scatter_add_(1, rows, answered[first:].T.double())
        counts.append(count)
    return torch.cat(counts, dim=1)


def _read(name: str, fit: Array, values: Array, new: Array) -> Array:
    if name in GROUPS:
        return softmax(fit, values.argmax(1), new, values.shape[1])
    return ridge(fit, values, new)


def _scores(
    name: str, source: str, t: int, predicted: Array, truth: Array, draws: NDArray[np.int64]
) -> list[ProbeScore]:
    found = []
    if name in GROUPS:
        group = truth.argmax(1)
        for measure, score in GROUP_MEASURES.items():
            value = score(predicted, group)
            each = [score(predicted[i], group[i]) for i in draws] if source == "memory" else []
            found.append(ProbeScore(name, source, measure, t, value, *_interval(each)))
        return found
    each = [r2(predicted[i], truth[i]) for i in draws] if source == "memory" else []
    return [ProbeScore(name, source, "R²", t, r2(predicted, truth), *_interval(each))]


def _interval(each: Sequence[float]) -> tuple[float, float]:
    if not each or np.isnan(each).any():
        return float("nan"), float("nan")
    low, high = np.quantile(each, [0.025, 0.975])
    return float(low), float(high)
