"""Bayesian knowledge tracing fitted by expectation-maximisation, all sequences at once.

For each knowledge component, mastery L is 0 or 1 (Corbett & Anderson 1995, User Modeling and
User-Adapted Interaction 4):

* ``P(L = 1)`` is ``p_init`` at the first meeting;
* ``P(correct) = 1 - p_slip`` if L, else ``p_guess``;
* after every row, ``P(0 -> 1) = p_learn`` and ``P(1 -> 0) = p_forget``.

A row without a graded answer (a study trial) is a chance to learn without evidence. A row with
several components belongs to the sequence of each. Slip and guess are bounded, so that "mastered"
cannot come to mean "answers wrongly".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tutor_sim.logs.log import Floats, InteractionLog, Ints
from tutor_sim.tracing.histories import Kc, RowSkills, Sequences, row_skills, with_kc

MAX_SLIP = 0.5
MAX_GUESS = 0.6
_START = {"p_init": 0.4, "p_learn": 0.2, "p_slip": 0.1, "p_guess": 0.25, "p_forget": 0.0}
_START_FORGET = 0.05
_SMALLEST_P = 1e-5


@dataclass(frozen=True)
class BKTFit:
    """Parameters of every knowledge component, ``(K,)`` each, in [0, 1].

    Attributes:
        p_init: P(known at the first meeting).
        p_learn: P(unknown -> known) after a row.
        p_slip: P(wrong) where known.
        p_guess: P(correct) where unknown.
        p_forget: P(known -> unknown) after a row.
        log_likelihood: of the graded training rows, in nats, at these parameters.
        n_iterations: of EM.
    """

    p_init: Floats
    p_learn: Floats
    p_slip: Floats
    p_guess: Floats
    p_forget: Floats
    log_likelihood: float
    n_iterations: int


class _Layout(NamedTuple):
    """A log as packed (student, KC) sequences: entry order, steps, KC and answer of each entry."""

    entries: RowSkills
    sequences: Sequences
    kc: Ints
    correct: Floats
    graded: np.ndarray


def _lay_out(log: InteractionLog) -> _Layout:
    entries = row_skills(log)
    sequences = Sequences(log.student[entries.row] * len(log.skill_names) + entries.skill)
    correct = log.correct[entries.row][sequences.index]
    graded = ~np.isnan(correct)
    return _Layout(
        entries, sequences, entries.skill[sequences.index], np.nan_to_num(correct), graded
    )


def _likelihoods(layout: _Layout, fit: BKTFit) -> tuple[Floats, Floats]:
    """P(answer | unknown), P(answer | known) of each packed entry; 1 where there is no answer."""
    guess, slip = fit.p_guess[layout.kc], fit.p_slip[layout.kc]
    right = layout.correct == 1
    unknown = np.where(right, guess, 1 - guess)
    known = np.where(right, 1 - slip, slip)
    return np.where(layout.graded, unknown, 1.0), np.where(layout.graded, known, 1.0)


def _forward(layout: _Layout, fit: BKTFit) -> tuple[Floats, Floats, Floats]:
    """P(known | earlier rows), P(known | this row too), P(answer | earlier rows), packed."""
    unknown, known = _likelihoods(layout, fit)
    learn, stay = fit.p_learn[layout.kc], 1 - fit.p_forget[layout.kc]
    prior, posterior, evidence = np.empty((3, len(layout.kc)))
    p = fit.p_init[layout.kc[layout.sequences.bounds[0] : layout.sequences.bounds[1]]]
    for now in layout.sequences.steps():
        p = p[: now.stop - now.start]
        prior[now] = p
        seen = p * known[now]
        evidence[now] = seen + (1 - p) * unknown[now]
        posterior[now] = q = seen / evidence[now]
        p = q * stay[now] + (1 - q) * learn[now]
    return prior, posterior, evidence


def _expected_counts(layout: _Layout, fit: BKTFit) -> tuple[dict[str, Floats], float]:
    """Expected events and chances behind each parameter, ``(2, K)``, and the log-likelihood."""
    prior, posterior, evidence = _forward(layout, fit)
    learn, stay = fit.p_learn[layout.kc], 1 - fit.p_forget[layout.kc]
    n_kcs, n = len(fit.p_init), len(layout.kc)
    smoothed, learned, kept = posterior.copy(), np.zeros(n), np.zeros(n)
    steps = list(layout.sequences.steps())
    for now, later in zip(steps[-2::-1], steps[:0:-1], strict=True):
        here = slice(now.start, now.start + later.stop - later.start)
        q, known_later = posterior[here], smoothed[later]
        odds_known = known_later / np.maximum(prior[later], 1e-300)
        odds_unknown = (1 - known_later) / np.maximum(1 - prior[later], 1e-300)
        kept[here] = q * stay[here] * odds_known
        learned[here] = (1 - q) * learn[here] * odds_known
        smoothed[here] = kept[here] + q * (1 - stay[here]) * odds_unknown
    has_next = np.zeros(n)
    for now, later in pairwise(steps):
        has_next[now.start : now.start + later.stop - later.start] = 1

    def count(events: Floats, chances: Floats) -> Floats:
        return np.stack([np.bincount(layout.kc, w, n_kcs) for w in (events, chances)])

    first = np.arange(n) < layout.sequences.bounds[1]
    right, graded = layout.correct, layout.graded.astype(np.float64)
    counts = {
        "p_init": count(smoothed * first, first),
        "p_learn": count(learned, (1 - smoothed) * has_next),
        "p_slip": count(smoothed * (graded - right), smoothed * graded),
        "p_guess": count((1 - smoothed) * right, (1 - smoothed) * graded),
        "p_forget": count(smoothed * has_next - kept, smoothed * has_next),
    }
    return counts, float(np.log(evidence).sum())


def _maximise(counts: dict[str, Floats], fit: BKTFit, forgets: bool) -> dict[str, Floats]:
    """The M-step: events over chances, kept in bounds; where there is no chance, as before."""
    highest = {"p_slip": MAX_SLIP, "p_guess": MAX_GUESS}
    parameters = {}
    for name, (events, chances) in counts.items():
        ratio = np.divide(events, chances, out=getattr(fit, name).copy(), where=chances > 0)
        parameters[name] = np.clip(ratio, _SMALLEST_P, highest.get(name, 1 - _SMALLEST_P))
    if not forgets:
        parameters["p_forget"] = fit.p_forget
    return parameters


def fit_bkt(
    log: InteractionLog,
    *,
    kc: Kc = "skill",
    forgets: bool = False,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
) -> BKTFit:
    """Maximum likelihood by EM from a fixed start.

    Args:
        log: of the training students.
        kc: what is one knowledge component.
        forgets: fit ``p_forget``, too; else it is 0.
        max_iterations: at most so many.
        tolerance: stop when the log-likelihood grows by less, in nats for each graded row.

    Returns:
        The fit; a component without rows has the mean of the others, weighted by their rows.

    Raises:
        ValueError: the log has no graded row.
    """
    if not log.graded.any():
        raise ValueError("`log` must have graded rows to fit BKT, got none")
    log = with_kc(log, kc)
    layout = _lay_out(log)
    start = _START | ({"p_forget": _START_FORGET} if forgets else {})
    values = {name: np.full(len(log.skill_names), value) for name, value in start.items()}
    fit = BKTFit(**values, log_likelihood=-np.inf, n_iterations=0)
    counts, log_likelihood = _expected_counts(layout, fit)
    growth = np.inf
    while growth > tolerance * layout.graded.sum() and fit.n_iterations < max_iterations:
        values, before = _maximise(counts, fit, forgets), log_likelihood
        fit = BKTFit(**values, log_likelihood=before, n_iterations=fit.n_iterations + 1)
        counts, log_likelihood = _expected_counts(layout, fit)
        growth = log_likelihood - before
    n_rows = np.bincount(layout.kc, minlength=len(log.skill_names))
    values = {
        name: np.where(n_rows > 0, v, np.average(v, weights=n_rows)) for name, v in values.items()
    }
    return BKTFit(**values, log_likelihood=log_likelihood, n_iterations=fit.n_iterations)


def predict_bkt(log: InteractionLog, fit: BKTFit) -> Floats:
    """P(correct) of every row from the student's earlier rows, ``(len(log),)``.

    A row with several components gets the mean over them.

    Args:
        log: its skills are the components of ``fit`` (see :func:`histories.with_kc`).
        fit: as returned by :func:`fit_bkt`.
    """
    layout = _lay_out(log)
    known = _forward(layout, fit)[0]
    p_packed = known * (1 - fit.p_slip[layout.kc]) + (1 - known) * fit.p_guess[layout.kc]
    row = layout.entries.row[layout.sequences.index]
    n = len(log)
    mean: Floats = np.bincount(row, p_packed, n) / np.bincount(row, minlength=n)
    return mean
