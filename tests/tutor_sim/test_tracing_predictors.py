"""Predictors of answers: what each computes, no peeking, and cross-validation by student."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse, special

from tutor_sim.logs.log import InteractionLog, Ints, folds
from tutor_sim.tracing import (
    MEMORY_PREDICTORS,
    PREDICTORS,
    Predictor,
    auc,
    cross_validate,
    held_out_predictions,
    log_loss,
    rmse,
    with_kc,
)
from tutor_sim.tracing.histories import Sequences, earlier_sum, row_skills
from tutor_sim.tracing.logistic import fit_logistic
from tutor_sim.tracing.memory import gap_s, graded_repeats, recent_answers


def make_log(
    student: list[int] | Ints,
    item: list[int] | Ints,
    correct: list[float] | np.ndarray,
    *,
    skill: list[int] | Ints | None = None,
    more_skills: dict[int, tuple[int, ...]] | None = None,
    time_s: list[float] | np.ndarray | None = None,
) -> InteractionLog:
    n = len(student)
    skill = item if skill is None else skill
    more = more_skills or {}
    n_skills = 1 + max([*map(int, skill), *(k for ks in more.values() for k in ks)])
    return InteractionLog(
        student=np.asarray(student, np.int64),
        item=np.asarray(item, np.int64),
        skill=np.asarray(skill, np.int64),
        more_skills=more,
        correct=np.asarray(correct, np.float64),
        time_s=np.full(n, np.nan) if time_s is None else np.asarray(time_s, np.float64),
        response_time_s=np.full(n, np.nan),
        rating=np.zeros(n, np.int64),
        line=np.arange(n) + 2,
        student_names=tuple(map(str, range(1 + max(map(int, student))))),
        item_names=tuple(map(str, range(1 + max(map(int, item))))),
        skill_names=tuple(map(str, range(n_skills))),
    )


def random_log(
    n_students: int = 40, n_rows: int = 20, n_items: int = 6, *, seed: int = 0, sd: float = 1.0
) -> InteractionLog:
    """Students of different ability who gain .3 logits by each row; some rows are study trials."""
    rng = np.random.default_rng(seed)
    student = np.repeat(np.arange(n_students), n_rows)
    item = rng.integers(0, n_items, len(student))
    item[:n_items] = np.arange(n_items)
    step = np.tile(np.arange(n_rows), n_students)
    logit = sd * rng.normal(size=n_students)[student] + np.linspace(-1, 1, n_items)[item]
    correct = (rng.random(len(student)) < special.expit(logit + 0.1 * step)).astype(float)
    correct[rng.random(len(student)) < 0.05] = np.nan
    time_s = np.cumsum(rng.exponential(3600, (n_students, n_rows)), axis=1).ravel()
    skill = item // 2
    both = {int(r): (int(skill[r]), (int(skill[r]) + 1) % 3) for r in range(3, len(student), 7)}
    return make_log(student, item, correct, skill=skill, more_skills=both, time_s=time_s)


# -- metrics ----------------------------------------------------------------------------------
def test_auc_by_hand_ties_count_half() -> None:
    # correct .8, .5; wrong .5, .2: pairs .8>.5, .8>.2, .5=.5 (half), .5>.2 -> 3.5 of 4
    assert auc(np.array([0.8, 0.5, 0.5, 0.2]), np.array([1.0, 1.0, 0.0, 0.0])) == 3.5 / 4
    assert np.isnan(auc(np.array([0.1, 0.2]), np.ones(2)))


def test_log_loss_and_rmse_by_hand() -> None:
    p, correct = np.array([0.5, 0.8]), np.array([0.0, 1.0])
    assert log_loss(p, correct) == pytest.approx((np.log(2) - np.log(0.8)) / 2)
    assert rmse(p, correct) == pytest.approx(np.sqrt((0.25 + 0.04) / 2))
    assert log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(-np.log(1e-6))


# -- histories --------------------------------------------------------------------------------
def test_earlier_sum_counts_only_before() -> None:
    key, value = np.array([3, 1, 3, 1, 3]), np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert earlier_sum(key, value).tolist() == [0, 0, 1, 2, 5]


def test_sequences_step_together_longest_first() -> None:
    sequences = Sequences(np.array([7, 5, 7, 2, 7, 5]))  # 7: rows 0 2 4; 5: rows 1 5; 2: row 3
    steps = [sequences.index[now].tolist() for now in sequences.steps()]
    assert sequences.key.tolist() == [7, 5, 2]
    assert steps == [[0, 1, 3], [2, 5], [4]]


def test_a_row_with_several_skills_counts_for_each() -> None:
    log = make_log([0, 0, 0], [0, 1, 2], [1, 0, 1], skill=[0, 1, 2], more_skills={1: (1, 2)})
    assert np.stack(row_skills(log)).tolist() == [[0, 1, 1, 2], [0, 1, 2, 2]]
    assert with_kc(log, "item").more_skills == {}
    with pytest.raises(ValueError, match="`kc` must be `skill` or `item`, got 'topic'"):
        with_kc(log, "topic")  # type: ignore[arg-type]


# -- ridge logistic regression ----------------------------------------------------------------
def test_logistic_regression_agrees_with_a_general_optimiser() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) * [1, 1, 30, 1]
    y = (rng.random(200) < special.expit(x @ [0.5, -1, 0.02, 0])).astype(float)
    ridge = np.array([0.0, 1.0, 1.0, 2.0])

    def loss(w: np.ndarray) -> float:
        return float(np.logaddexp(0, x @ w).sum() - y @ (x @ w) + ridge @ w**2 / 2)

    found = fit_logistic(sparse.csr_array(x), y, ridge)
    best = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(found, best, atol=2e-3)


# -- the past only ----------------------------------------------------------------------------
@cache
def fitted(name: str) -> Predictor:
    predictor = (PREDICTORS | MEMORY_PREDICTORS)[name]()
    predictor.fit(random_log(20, 12, seed=1))
    return predictor


@pytest.mark.parametrize("name", [*PREDICTORS, *MEMORY_PREDICTORS])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_no_predictor_looks_ahead(name: str, data: st.DataObject) -> None:
    log = random_log(n_students=4, seed=2)
    row = data.draw(st.integers(0, len(log) - 1))
    answers = st.sampled_from([0.0, 1.0, np.nan])
    others = np.array(data.draw(st.lists(answers, min_size=len(log), max_size=len(log))))
    changed = np.arange(len(log)) >= row  # this answer, what follows, and other students
    changed |= log.student != log.student[row]
    future = dataclasses.replace(log, correct=np.where(changed, others, log.correct))
    before = fitted(name).predict(log)
    after = fitted(name).predict(future)
    same = ~changed
    same[row] = log.graded[row] and future.graded[row]
    np.testing.assert_allclose(after[same], before[same], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_predictors_give_probabilities_for_every_row(name: str) -> None:
    p = fitted(name).predict(random_log(seed=3))
    assert p.min() >= 0
    assert p.max() <= 1


# -- what they are ----------------------------------------------------------------------------
def test_means_are_shares_with_one_row_added_at_the_overall_share() -> None:
    log = make_log([0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0], skill=[0, 0, 0, 0])
    share = {}
    for name in ("global_mean", "skill_mean", "item_mean"):
        predictor = PREDICTORS[name]()
        predictor.fit(log)
        share[name] = predictor.predict(log).tolist()
    assert share["global_mean"] == [0.5] * 4
    assert share["skill_mean"] == [(2 + 0.5) / 5] * 4
    assert share["item_mean"] == [2.5 / 3, 2.5 / 3, 0.5 / 3, 0.5 / 3]


def test_rasch_recovers_the_spread_of_ability_and_follows_the_answers() -> None:
    log = random_log(300, 30, seed=4, sd=1.5)
    first = log.rows(np.flatnonzero(np.arange(len(log)) % 30 < 12))
    predictor = PREDICTORS["rasch"]()
    predictor.fit(first)
    assert predictor.sd == pytest.approx(1.5, abs=0.2)  # type: ignore[attr-defined]
    probe = make_log([0] * 4 + [1] * 4, [2] * 8, [1] * 4 + [0] * 4)
    probe = dataclasses.replace(probe, item_names=log.item_names, skill_names=log.skill_names)
    p = predictor.predict(probe)
    assert p[0] == p[4]
    assert (np.diff(p[:4]) > 0).all()
    assert (np.diff(p[4:]) < 0).all()


def test_elo_moves_by_k_times_surprise() -> None:
    predictor = PREDICTORS["elo"]()
    predictor.fit(random_log(seed=1))
    probe = make_log([0, 0, 0], [0, 0, 0], [1, 0, 1])
    p = predictor.predict(probe)
    # K = 1.2 / (1 + .05 n): the second logit is 1.2 (1 - p0) higher, the third 1.2 p1 / 1.05 lower
    logit = special.logit(p)
    assert logit[1] - logit[0] == pytest.approx(1.2 * (1 - p[0]))
    assert logit[2] - logit[1] == pytest.approx(-1.2 / 1.05 * p[1])


def test_every_learning_predictor_beats_the_mean() -> None:
    log = random_log(60, 25, seed=5, sd=1.5)
    baseline = cross_validate(log, "global_mean")
    for name in ("rasch", "elo", "best_lr", "bkt", "pfa"):
        scores = cross_validate(log, name)
        assert scores.n == log.graded.sum()
        assert scores.auc > 0.6
        assert scores.log_loss < baseline.log_loss


def test_dkt_learns_that_the_last_answer_is_repeated() -> None:
    rng = np.random.default_rng(0)
    start = rng.random(40) < 0.5
    log = make_log(
        np.repeat(np.arange(40), 12), np.zeros(480, int), np.repeat(start, 12).astype(float)
    )
    predictor = PREDICTORS["dkt"]()
    predictor.fit(log)
    p = predictor.predict(log).reshape(40, 12)
    assert p[start, 3:].min() > 0.8
    assert p[~start, 3:].max() < 0.2


# -- memory -----------------------------------------------------------------------------------
def test_gaps_repeats_and_windows_by_hand() -> None:
    log = make_log(
        [0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [np.nan, 1, 1, 0, 1], time_s=[0, 10, 100, 5000, 0]
    )
    np.testing.assert_array_equal(gap_s(log), [np.nan, np.nan, 100, 4900, np.nan])
    assert graded_repeats(log).tolist() == [False, False, True, True, False]
    right, wrong = recent_answers(log, 6000.0)
    assert right.tolist() == [0, 0, 0, 1, 0]
    assert wrong.tolist() == [0, 0, 0, 0, 0]
    assert recent_answers(log, 4000.0).right.tolist() == [0, 0, 0, 0, 0]


def test_half_lives_are_recovered() -> None:
    rng = np.random.default_rng(0)
    n, gap = 3000, rng.exponential(86400.0, 3000)
    right = rng.random(n) < 0.5
    half_life = np.exp2(0.5 + np.where(right, np.sqrt(2), 1) - np.where(right, 1, np.sqrt(2)))
    recalled = rng.random(n) < np.exp2(-gap / 86400 / half_life)
    log = make_log(
        np.repeat(np.arange(n), 2),
        np.zeros(2 * n, int),
        np.stack([right, recalled], axis=1).ravel().astype(float),
        time_s=np.stack([np.zeros(n), gap], axis=1).ravel(),
    )
    predictor = MEMORY_PREDICTORS["hlr"]()
    predictor.fit(log)
    p = predictor.predict(log).reshape(n, 2)
    assert np.isnan(p[:, 0]).all()
    np.testing.assert_allclose(p[:, 1], np.exp2(-gap / 86400 / half_life), atol=0.05)


def test_memory_predictors_need_times() -> None:
    log = dataclasses.replace(random_log(), time_s=np.full(800, np.nan))
    with pytest.raises(ValueError, match="`time_s` must be known in every row"):
        cross_validate(log, "power_law")


# -- cross-validation -------------------------------------------------------------------------
def test_held_out_students_are_predicted_by_a_fit_to_the_others() -> None:
    log = random_log(20, 10, seed=6)
    p = held_out_predictions(log, "item_mean", n_folds=4, seed=3)
    held_out = folds(20, 4, 3)[log.student] == 2
    predictor = PREDICTORS["item_mean"]()
    predictor.fit(log.rows(np.flatnonzero(~held_out)))
    expected = predictor.predict(log.rows(np.flatnonzero(held_out & log.graded)))
    np.testing.assert_array_equal(p[held_out & log.graded], expected)
    np.testing.assert_array_equal(np.isnan(p), ~log.graded)


def test_bad_requests_are_named() -> None:
    log = random_log(5, 5)
    with pytest.raises(ValueError, match=r"unknown `predictor` 'bestlr'.*did you mean 'best_lr'"):
        cross_validate(log, "bestlr")
    with pytest.raises(ValueError, match=r"9 folds need .* got 5 students"):
        cross_validate(log, "item_mean", n_folds=9)
