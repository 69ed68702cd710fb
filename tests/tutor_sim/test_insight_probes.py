"""Probes against memories of which it is known what they hold, and against other formulas."""

from __future__ import annotations

import collections
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse, stats

from small_students import bandit
from tutor_agents.random_tutor import RandomTutor
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.insight.belief import Tracker
from tutor_sim.insight.probes import MASTERY, ProbeScore, answer_counts, probe
from tutor_sim.insight.regression import (
    RIDGE_PENALTIES,
    fit_softmax,
    predict_softmax,
    ridge,
    softmax,
)
from tutor_sim.insight.scores import brier, calibration_error, group_auc, r2
from tutor_sim.insight.trace import Trace, record
from tutor_sim.tracing.logistic import fit_logistic

Array = NDArray[np.float64]
TASK = TeachingTask(n_lessons=2, n_steps=2)


def population() -> Population:
    """Ability and responsiveness vary; nothing else does."""
    return Population.model_validate(
        {
            "name": "plain",
            "student": "bkt",
            "model": {"n_skills": 2},
            "latents": {
                "ability": {"normal": {"sd": 1}},
                "responsiveness": {"dirichlet": {"concentration": 1}},
                "style_strength": 0.5,
            },
        }
    )


def trace_with(memory: Callable[[Trace], torch.Tensor], n_students: int = 600) -> Trace:
    """A random tutor's trial, and the memory that it is said to have."""
    people = population()
    tutor = RandomTutor(people.student_model)
    trace = record(tutor, people, TASK, n_students=n_students, seed=1)
    held = memory(trace).expand(TASK.n_trial_steps, n_students, -1)
    return Trace(trace.tutor, trace.seen, trace.hidden, held.float(), None)


def noise(n: int, seed: int, columns: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, columns)))


def at_end(scores: list[ProbeScore], target: str, source: str, measure: str = "R²") -> ProbeScore:
    last = max(score.n_answers for score in scores)
    (found,) = (s for s in scores if (*s[:3], s.n_answers) == (target, source, measure, last))
    return found


# -- memories that are known ----------------------------------------------------------------------
def test_a_noisy_memory_is_read_as_well_as_its_noise_allows() -> None:
    """Memory = ability + noise of variance v: the best R² is 1 / (1 + v); and a clear group."""
    v = 0.25

    def memory(trace: Trace) -> torch.Tensor:
        best = trace.hidden.latents["responsiveness"].argmax(-1)
        group = torch.nn.functional.one_hot(best, 3) + 0.1 * noise(600, 1, 3)
        return torch.cat(
            [trace.hidden.latents["ability"][:, None] + v**0.5 * noise(600, 0), group], dim=-1
        )

    scores = probe(trace_with(memory), None, seed=0)
    found = at_end(scores, "ability", "memory")
    assert found.value == pytest.approx(1 / (1 + v), abs=0.05)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.1
    assert at_end(scores, "ability", "shuffled").value == pytest.approx(0, abs=0.05)
    assert at_end(scores, "best modality", "memory", "AUC").value > 0.999
    assert at_end(scores, "best modality", "memory", "Brier").value < 0.05
    assert at_end(scores, "best modality", "shuffled", "AUC").value == pytest.approx(0.5, abs=0.07)
    # A third each: a probe of nothing says 1/3, which is a Brier score of 2/3.
    by_chance = at_end(scores, "best modality", "shuffled", "Brier").value
    assert by_chance == pytest.approx(2 / 3, abs=0.05)


def test_a_memory_of_nothing_knows_nothing() -> None:
    trace = trace_with(lambda _: noise(600, 2, 20))
    scores = probe(trace, Tracker.of(population(), seed=0, n_sampled=64), seed=0)
    for target in ("ability", "responsiveness", MASTERY):
        assert abs(at_end(scores, target, "memory").value) < 0.05
    # The answers were there all the same, to counts and to the posterior.
    assert at_end(scores, "ability", "counts").value > 0.1
    assert at_end(scores, "ability", "posterior").value > 0.1
    # Before any of them nothing was known to anybody.
    first = [s for s in scores if s.n_answers == 0 and s.measure == "R²"]
    assert {s.source for s in first} == {"memory", "counts", "posterior", "shuffled"}
    assert all(abs(s.value) < 0.06 for s in first)


def test_the_ceiling_is_bayes_rule() -> None:
    """One action, right with .2 or .7: P(type) follows from the number of right answers alone."""
    p = [0.2, 0.7]
    people = bandit([[x] for x in p], n_units=6)
    task = TeachingTask(n_steps=6)
    trace = record(RandomTutor(people.student_model), people, task, n_students=200, seed=0)
    tracker = Tracker.of(people, seed=0, n_sampled=1)
    assert tracker.is_exact
    believed = tracker.follow(trace.seen).traits["type"][5]
    right = (trace.seen.responses[:5] == 1).sum(0).numpy()
    likelihood = np.stack([stats.binom.pmf(right, 5, x) for x in p], axis=1)
    expected = likelihood / likelihood.sum(1, keepdims=True)
    np.testing.assert_allclose(believed.numpy(), expected, atol=1e-6)
    whole = Trace(trace.tutor, trace.seen, trace.hidden, torch.zeros(6, 200, 1), None)
    scores = probe(whole, tracker, seed=0)
    truth = trace.hidden.latents["type"].numpy()[100:]
    assert at_end(scores, "type", "posterior", "AUC").value == pytest.approx(
        group_auc(expected[100:], truth), abs=1e-9
    )


def test_counts_are_counts_in_trial_and_lesson() -> None:
    seen = trace_with(lambda _: noise(50, 0), 50).seen
    n_actions, n_answers = seen.model.n_actions, 3  # one answer into the second lesson
    counts = answer_counts(seen, n_answers).reshape(50, 2, n_actions, 2)
    for student in range(50):
        for place, first in enumerate((0, 2)):
            pairs = collections.Counter(
                (int(seen.actions[t, student]), int(seen.responses[t, student]))
                for t in range(first, n_answers)
            )
            expected = torch.zeros(n_actions, 2, dtype=torch.float64)
            for (action, response), count in pairs.items():
                expected[action, response] = count
            assert torch.equal(counts[student, place], expected)


def test_too_few_students_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 40 students, got 30"):
        probe(trace_with(lambda _: noise(30, 0), 30), None, seed=0)


# -- regressions ----------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(12))
def test_ridge_is_the_normal_equations_with_the_best_left_out_error(seed: int) -> None:
    """Every penalty refitted without each student in turn, by the normal equations."""
    rng = np.random.default_rng(seed)
    n, d = 9, 4
    x = rng.normal(size=(n, d)) * [1, 5, 0.2, 1]
    y = x @ [1, 0.1, 0, 0] + rng.normal(size=n)
    new = rng.normal(size=(7, d))
    z, z_new = (x - x.mean(0)) / x.std(0), (new - x.mean(0)) / x.std(0)

    def fitted(rows: NDArray[np.bool_], at: Array, penalty: float) -> Array:
        design = np.column_stack([z[rows], np.ones(rows.sum())])
        shrink = np.diag([penalty] * d + [0.0])
        weights = np.linalg.solve(design.T @ design + shrink, design.T @ y[rows])
        return np.column_stack([at, np.ones(len(at))]) @ weights

    errors = [
        sum((y[i] - fitted(np.arange(n) != i, z[[i]], penalty)[0]) ** 2 for i in range(n))
        for penalty in RIDGE_PENALTIES
    ]
    best = RIDGE_PENALTIES[int(np.argmin(errors))]
    found = ridge(x, y[:, None], new)[:, 0]
    np.testing.assert_allclose(found, fitted(np.full(n, True), z_new, best), atol=1e-8)


def test_features_that_do_not_vary_are_left_out() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    constant = np.column_stack([x, np.full(30, 3.0)])
    new = np.column_stack([x[:5], np.full(5, 9.0)])
    np.testing.assert_allclose(ridge(constant, y, new), ridge(x, y, x[:5]))
    np.testing.assert_allclose(ridge(constant[:, 2:], y, new[:, 2:]), np.full((5, 1), y.mean()))


def test_softmax_of_two_groups_is_logistic_regression() -> None:
    """At the optimum w_0 = -w_1, so the penalty on the difference w is half as large."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 3))
    group = (x[:, 0] + rng.normal(size=80) > 0).astype(np.int64)
    p = predict_softmax(x, fit_softmax(x, group, 2, penalty=3.0))[:, 1]
    design = np.column_stack([x, np.ones(80)])
    ridge_of = np.array([1.5, 1.5, 1.5, 0.0])
    weights = fit_logistic(sparse.csr_array(design), group.astype(np.float64), ridge_of)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-design @ weights)), atol=1e-3)


def test_softmax_learns_three_groups() -> None:
    rng = np.random.default_rng(3)
    group = rng.integers(0, 3, 400)
    x = np.eye(3)[group] + 0.3 * rng.normal(size=(400, 3))
    p = softmax(x[:200], group[:200], x[200:], 3)
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p.argmax(1) == group[200:]).mean() > 0.9


# -- scores, by hand ------------------------------------------------------------------------------
def test_r2_by_hand() -> None:
    target = np.array([[0.0, 5.0], [2.0, 5.0]])  # the second column does not vary
    assert r2(target, target) == 1
    assert r2(np.ones((2, 2)), target) == 0
    assert r2(np.array([[0.0, 0.0], [1.0, 0.0]]), target) == pytest.approx(0.5)  # 1 - 1 / 2
    assert np.isnan(r2(target[:, 1:], target[:, 1:]))


def test_brier_and_calibration_by_hand() -> None:
    p = np.array([[0.95, 0.05], [0.65, 0.35], [0.15, 0.85], [0.65, 0.35]])
    group = np.array([0, 0, 1, 1])
    # (.05² + .35² + .15² + .65²) * 2 / 4
    assert brier(p, group) == pytest.approx((0.0025 + 0.1225 + 0.0225 + 0.4225) / 2)
    # bins: .05, .15, .85, .95 with a gap of .05, .15, .15, .05; .65 twice with one right: .3 off;
    # .35 twice, one right: .3 off, of 8 pairs
    assert calibration_error(p, group) == pytest.approx((0.05 + 0.15 + 0.15 + 0.05 + 0.3 + 0.3) / 8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_auc_of_groups_counts_pairs(seed: int, n_groups: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.integers(0, 4, (12, n_groups)) / 4
    group = rng.integers(0, n_groups, 12)
    each = []
    for g in range(n_groups):
        inside, outside = p[group == g, g], p[group != g, g]
        if len(inside) and len(outside):
            won = inside[:, None] - outside
            each.append((np.sign(won) / 2 + 0.5).mean())
    expected = np.mean(each) if each else np.nan
    np.testing.assert_allclose(group_auc(p, group), expected)
