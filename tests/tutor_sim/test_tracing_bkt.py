"""BKT by EM: against enumeration of every hidden path, and the laws of EM."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_sim.logs.log import InteractionLog
from tutor_sim.tracing import BKTFit, fit_bkt, predict_bkt


def make_log(
    student: list[int],
    kc: list[int],
    correct: list[float],
    more_skills: dict[int, tuple[int, ...]] | None = None,
    n_kcs: int = 2,
) -> InteractionLog:
    n = len(student)
    return InteractionLog(
        student=np.array(student),
        item=np.array(kc),
        skill=np.array(kc),
        more_skills=more_skills or {},
        correct=np.array(correct, dtype=float),
        time_s=np.full(n, np.nan),
        response_time_s=np.full(n, np.nan),
        rating=np.zeros(n, np.int64),
        line=np.arange(n) + 2,
        student_names=tuple(map(str, range(max(student) + 1))),
        item_names=tuple(map(str, range(n_kcs))),
        skill_names=tuple(map(str, range(n_kcs))),
    )


def path_weights(
    correct: list[float], init: float, learn: float, slip: float, guess: float, forget: float
) -> dict[tuple[int, ...], float]:
    """P(hidden path, answers) of every path of mastery, by the definition."""
    weights = {}
    for path in itertools.product((0, 1), repeat=len(correct)):
        p = init if path[0] else 1 - init
        for before, after in itertools.pairwise(path):
            up = 1 - forget if before else learn
            p *= up if after else 1 - up
        for known, answer in zip(path, correct, strict=True):
            right = 1 - slip if known else guess
            if not np.isnan(answer):
                p *= right if answer else 1 - right
        weights[path] = p
    return weights


ANSWERS = st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=1, max_size=5)
RATES = st.tuples(*[st.floats(0.02, 0.98)] * 2, *[st.floats(0.02, 0.48)] * 2, st.floats(0, 0.9))


@settings(max_examples=15, deadline=None)
@given(answers=ANSWERS, rates=RATES)
def test_predictions_equal_enumeration(answers: list[float], rates: tuple[float, ...]) -> None:
    fit = BKTFit(*(np.array([0.5, rate]) for rate in rates), log_likelihood=0, n_iterations=0)
    log = make_log([0] * len(answers), [1] * len(answers), answers)
    slip, guess = rates[2], rates[3]
    for step, p in enumerate(predict_bkt(log, fit)):
        weights = path_weights([*answers[:step], np.nan], *rates)
        known = sum(w for path, w in weights.items() if path[-1]) / sum(weights.values())
        assert p == pytest.approx(known * (1 - slip) + (1 - known) * guess)


@settings(max_examples=15, deadline=None)
@given(sequences=st.lists(ANSWERS, min_size=1, max_size=4), forgets=st.booleans())
def test_one_em_step_equals_enumeration(sequences: list[list[float]], forgets: bool) -> None:
    """Expected counts over all hidden paths at the start give the parameters of one iteration."""
    if all(np.isnan(a) for answers in sequences for a in answers):
        return
    start = (0.4, 0.2, 0.1, 0.25, 0.05 if forgets else 0.0)
    events, chances = np.zeros((2, 5))
    for answers in sequences:
        weights = path_weights(answers, *start)
        total = sum(weights.values())
        for path, weight in weights.items():
            p = weight / total
            events[0] += p * path[0]
            chances[0] += p
            for before, after in itertools.pairwise(path):
                events[4 if before else 1] += p * (before != after)
                chances[4 if before else 1] += p
            for known, answer in zip(path, answers, strict=True):
                if not np.isnan(answer):
                    events[2 if known else 3] += p * (answer != known)
                    chances[2 if known else 3] += p
    expected = np.divide(events, chances, out=np.array(start), where=chances > 0)
    expected = np.clip(expected, 1e-5, [1 - 1e-5, 1 - 1e-5, 0.5, 0.6, 1 - 1e-5])
    student = [j for j, answers in enumerate(sequences) for _ in answers]
    log = make_log(student, [0] * len(student), [a for answers in sequences for a in answers])
    fit = fit_bkt(log, forgets=forgets, max_iterations=1)
    found = [fit.p_init, fit.p_learn, fit.p_slip, fit.p_guess, fit.p_forget]
    np.testing.assert_allclose([x[0] for x in found[:4]], expected[:4], atol=1e-9)
    assert fit.p_forget[0] == (pytest.approx(expected[4]) if forgets else 0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), forgets=st.booleans())
def test_em_never_lowers_the_likelihood(seed: int, forgets: bool) -> None:
    rng = np.random.default_rng(seed)
    student = np.sort(rng.integers(0, 10, 80)).tolist()
    correct = rng.choice([0.0, 1.0, np.nan], 80, p=[0.45, 0.45, 0.1]).tolist()
    log = make_log(student, rng.integers(0, 2, 80).tolist(), correct)
    likelihoods = [
        fit_bkt(log, forgets=forgets, max_iterations=n, tolerance=0).log_likelihood
        for n in range(8)
    ]
    assert (np.diff(likelihoods) >= -1e-9).all()


def simulated(n: int, t: int, rates: tuple[float, ...], seed: int = 0) -> InteractionLog:
    init, learn, slip, guess = rates
    rng = np.random.default_rng(seed)
    known = rng.random(n) < init
    correct = np.empty((n, t))
    for step in range(t):
        correct[:, step] = rng.random(n) < np.where(known, 1 - slip, guess)
        known |= rng.random(n) < learn
    return make_log(np.repeat(np.arange(n), t).tolist(), [0] * (n * t), correct.ravel().tolist())


def test_parameters_are_recovered() -> None:
    rates = (0.3, 0.2, 0.1, 0.2)
    fit = fit_bkt(simulated(3000, 8, rates))
    found = [fit.p_init[0], fit.p_learn[0], fit.p_slip[0], fit.p_guess[0]]
    np.testing.assert_allclose(found, rates, atol=0.03)


def test_a_component_without_rows_has_the_mean_of_the_others() -> None:
    fit = fit_bkt(simulated(50, 5, (0.3, 0.2, 0.1, 0.2)))
    assert fit.p_learn[1] == fit.p_learn[0]


def test_a_row_with_two_components_predicts_their_mean_and_counts_for_both() -> None:
    fit = BKTFit(
        p_init=np.array([0.2, 0.6]),
        p_learn=np.array([0.0, 0.0]),
        p_slip=np.array([0.0, 0.0]),
        p_guess=np.array([0.1, 0.2]),
        p_forget=np.array([0.0, 0.0]),
        log_likelihood=0,
        n_iterations=0,
    )
    p = predict_bkt(make_log([0, 0, 0], [0, 1, 0], [0.0, 0.0, 1.0], {0: (0, 1)}), fit)
    # first row: mean of .2 + .8 * .1 = .28 and .6 + .4 * .2 = .68; the wrong answer, without
    # slips, rules mastery out in both, so guesses are left
    np.testing.assert_allclose(p, [0.48, 0.2, 0.1])


def test_a_log_without_answers_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="`log` must have graded rows"):
        fit_bkt(make_log([0, 0], [0, 0], [np.nan, np.nan]))
