"""Learning measures: by hand, by scipy's Kaplan-Meier curve, and lessons with a known end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from small_students import EVERYTHING
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.evaluation import Evaluation, evaluate, pooled
from tutor_sim.measures import (
    discounted_reward,
    learning_measures,
    mean_estimate,
    normalised_gain,
    steps_to_mastery,
    student_gains,
    time_to_mastery,
)
from tutor_sim.summary import summarise


class TestGains:
    def test_of_the_averages(self) -> None:
        # <pre> = 0.4, <post> = 0.7: 0.3 of the 0.6 that could be gained
        assert normalised_gain([0.2, 0.6], [0.5, 0.9]).value == pytest.approx(0.5)

    def test_of_the_students(self) -> None:
        # (0.5 - 0.2) / 0.8 = 0.375 and (0.9 - 0.6) / 0.4 = 0.75
        assert student_gains([[0.2, 0.6]], [[0.5, 0.9]]) == pytest.approx([0.375, 0.75])

    def test_a_student_who_knows_all_has_no_gain_but_counts_in_the_averages(self) -> None:
        pre, post = [1.0, 0.2], [1.0, 0.6]
        assert normalised_gain(pre, post).value == pytest.approx((0.8 - 0.6) / (1 - 0.6))
        gains = student_gains([pre], [post])
        assert math.isnan(gains[0])
        assert gains[1] == pytest.approx(0.5)
        assert normalised_gain([1, 1], [1, 0.9]).reason == "no room to gain: every pre-test is 1"

    def test_lessons_without_room_are_left_out_of_a_students_gain(self) -> None:
        pre, post = np.array([[1.0], [0.5]]), np.array([[0.9], [0.6]])  # two lessons, one student
        assert student_gains(pre, post) == pytest.approx([0.2])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(0, 0.9), min_size=2, max_size=9), st.floats(-0.5, 1))
    def test_all_who_gain_the_same_share_gain_it_as_a_class(
        self, pre: list[float], share: float
    ) -> None:
        before = np.array(pre)
        after = before + share * (1 - before)
        assert normalised_gain(before, after).value == pytest.approx(share, abs=1e-6)
        assert student_gains([before], [after]) == pytest.approx(np.full(len(pre), share))


def mastered_at(times: Sequence[float], n_steps: int) -> np.ndarray:
    """``(1, 1, T + 1, n)``: one skill, mastered from the given step on."""
    return (np.arange(n_steps + 1)[:, None] >= np.array(times))[None, None].astype(np.int16)


class TestTimeToMastery:
    def test_the_first_time_counts(self) -> None:
        lesson = np.array([[0, 1, 2, 1], [2, 2, 2, 2], [0, 1, 1, 1]]).T  # (T + 1, n)
        assert steps_to_mastery(lesson, 1).tolist() == [1, 0, 1]
        assert steps_to_mastery(lesson, 2).tolist() == [2, 0, math.inf]

    def test_who_never_gets_there_stays_in(self) -> None:
        found = time_to_mastery(mastered_at([1, 2, 2, 5, math.inf, math.inf], 6), 1)
        assert found.reached.value == pytest.approx(4 / 6)
        assert found.restricted_mean.value == pytest.approx((1 + 2 + 2 + 5 + 6 + 6) / 6)
        assert found.median.value == 2  # 3 of 6
        rare = time_to_mastery(mastered_at([1, *[math.inf] * 4], 6), 1)
        assert rare.median.value == math.inf
        assert rare.median.reason == "fewer than half get there in a lesson"

    @pytest.mark.parametrize("rate", [0.05, 0.3])
    def test_it_is_scipys_censored_curve(self, rate: float) -> None:
        n_steps = 12
        times = np.random.default_rng(1).geometric(rate, 200).astype(float)
        found = time_to_mastery(mastered_at(times, n_steps), 1)
        there = times <= n_steps
        data = stats.CensoredData(
            uncensored=times[there], right=np.full(int((~there).sum()), n_steps)
        )
        curve = stats.ecdf(data).sf
        grid = np.arange(n_steps + 1)
        survival = curve.evaluate(grid)
        assert found.restricted_mean.value == pytest.approx(survival[:-1].sum())  # area under it
        assert found.reached.value == pytest.approx(1 - survival[-1])
        below = grid[survival <= 0.5]
        assert found.median.value == (below[0] if len(below) else math.inf)

    def test_the_medians_interval_covers(self) -> None:
        rng = np.random.default_rng(3)
        true = math.ceil(math.log(0.5) / math.log(1 - 0.15))  # 5: P(time <= 5) = 0.56
        hits = 0
        for _ in range(200):
            found = time_to_mastery(mastered_at(rng.geometric(0.15, 150), 20), 1).median
            assert found.low <= found.value <= found.high
            hits += found.low <= true <= found.high
        assert hits >= 0.93 * 200

    def test_lessons_of_a_student_are_averaged_and_seeds_too(self) -> None:
        one, other = mastered_at([1, 3], 4), mastered_at([math.inf, 3], 4)
        found = time_to_mastery(np.concatenate([one, other], axis=1), 1)  # two lessons
        assert found.restricted_mean.value == pytest.approx((1 + 3 + 4 + 3) / 4)
        seeds = time_to_mastery(np.concatenate([one, other], axis=0), 1)
        assert seeds.restricted_mean.value == found.restricted_mean.value
        assert seeds.reached.value == pytest.approx(3 / 4)


def test_rewards_are_paid_with_the_last_action_of_a_lesson() -> None:
    scores = np.array([[1.0, 10.0], [0.0, 2.0]])
    # lessons of three actions: paid at t = 2 and t = 5
    np.testing.assert_allclose(discounted_reward(scores, 3, 0.5), [1 / 4 + 10 / 32, 2 / 32])
    np.testing.assert_allclose(discounted_reward(scores, 3, 1), [11, 2])


def test_means_have_students_t_interval() -> None:
    values = np.array([0.1, 0.5, 0.2, 0.9])
    found = mean_estimate(values)
    interval = stats.ttest_1samp(values, 0).confidence_interval()
    assert found[1:3] == pytest.approx((interval.low, interval.high))
    assert mean_estimate([0.5]).reason == "one student: no interval"


def test_the_interval_of_a_share_ends_where_shares_do() -> None:
    values = [1.0] * 9 + [0.9]
    assert mean_estimate(values).high > 1
    assert mean_estimate(values, most=1) == mean_estimate(values)._replace(high=1)
    assert mean_estimate(np.negative(values) + 1, most=1).low == 0


class Always:
    """The same action for everyone."""

    name = "always"

    def __init__(self, action: int = 0) -> None:
        self.action = action

    def begin_trial(self, trial: Trial) -> None:
        pass

    def act(self, observation: Observation) -> Tensor:
        return torch.full_like(observation.action, self.action)

    def observe(self, action: Tensor, observation: Observation) -> None:
        pass


def certain(**changes: Any) -> Population:
    """Readers learn one of four units with every text, viewers nothing, and the reverse."""
    return Population.model_validate(
        {
            "name": "certain",
            "student": "style_bandit",
            "model": {"modalities": ["text", "video"], "n_units": 4},
            "latents": {"p_event": 0.5, "style_strength": 1, "p_slip": 0, "p_guess": 0},
            "types": {
                "reader": {"weight": 1, "latents": {"responsiveness": [1, 0]}},
                "viewer": {"weight": 1, "latents": {"responsiveness": [0, 1]}},
            },
        }
        | changes
    )


def test_everything_of_lessons_with_a_known_end() -> None:
    task = TeachingTask(n_lessons=2, n_steps=4, reward=Reward(scale=10))
    found = evaluate(Always(), certain(), task, n_students=50, seed=1)
    readers = (found.types == 0).mean()
    assert 0 < readers < 1
    m = learning_measures([found], discount=0.9)
    assert m.pre_test.value == 0
    for estimate in (m.post_test, m.normalised_gain, m.student_gain, m.mastered):
        assert estimate.value == pytest.approx(readers)
    assert (m.n_skills, m.n_without_room, m.mastery_threshold) == (1, 0, 0.95)
    time = m.time_to_mastery["all"]
    assert time.reached.value == pytest.approx(readers)
    assert time.restricted_mean.value == 4
    assert m.mean_recall.value == pytest.approx(readers * (0.25 + 0.5 + 0.75 + 1) / 4)
    assert m.total_reward.value == pytest.approx(20 * readers)
    assert m.discounted_reward.value == pytest.approx(10 * readers * (0.9**3 + 0.9**7))
    assert not m.forgets


def test_the_threshold_is_the_tasks() -> None:
    task = TeachingTask(n_steps=4, reward=Reward(mastery_threshold=0.5))
    found = evaluate(Always(), certain(), task, n_students=20, seed=1)
    reader = found.types == 0
    assert found.mastered[0][:, reader].T.tolist() == [[0, 0, 1, 1, 1]] * int(reader.sum())


TASK = TeachingTask(n_lessons=2, n_steps=5)


def one_item(**options: Any) -> Evaluation:
    population = Population.model_validate(
        {"name": "m", "student": "memory", "model": {"n_items": 1}}
    )
    tutor = RandomTutor(population.student_model)
    return evaluate(tutor, population, TASK, n_students=30, seed=2, **options)


class TestRetention:
    def test_an_exponential_memory_forgets_exponentially(self) -> None:
        found = one_item(delays_days=(0.0, 0.001, 0.002))
        now, once, twice = found.retained.astype(np.float64)
        np.testing.assert_allclose(now, found.post_test[:, -1], rtol=1e-6)
        # 2^-(a + w)/h: each wait of w takes the same share off
        np.testing.assert_allclose(once**2, now * twice, rtol=1e-4)
        assert (once < now).all()

    def test_asking_changes_nobody(self) -> None:
        asked, unasked = one_item(delays_days=(1.0, 7.0)), one_item(delays_days=())
        for name in ("scores", "post_test", "mastery", "mastered", "actions", "responses"):
            np.testing.assert_array_equal(getattr(asked, name), getattr(unasked, name))
        assert unasked.retained.shape == (0, 2, 30)
        assert learning_measures([unasked]).retention == {}

    def test_summary_has_it_by_days(self) -> None:
        line = summarise([one_item()])["random"]
        assert line.measures is not None
        assert list(line.measures.retention) == ["1", "7", "30"]
        assert line.measures.forgets

    def test_students_draw_the_same_luck_in_every_batch(self) -> None:
        population = Population.model_validate(
            {"name": "ou", "student": "ou", "components": {"dropout": EVERYTHING["dropout"]}}
        )
        tutor = RandomTutor(population.student_model)
        whole, parts = (
            evaluate(tutor, population, TASK, n_students=40, seed=1, batch_students=size)
            for size in (40, 7)
        )
        np.testing.assert_allclose(whole.retained, parts.retained, atol=1e-6)  # exp is rounded
        np.testing.assert_array_equal(whole.mastered, parts.mastered)
        left = (parts.post_test[1] == 0).all(axis=0)  # nobody attends a lesson after leaving
        assert left.any()
        assert (whole.retained[:, 1][:, left] == 0).all()


def test_seeds_are_averaged_and_pooled() -> None:
    task = TeachingTask(n_steps=4)
    text, video = (evaluate(Always(a), certain(), task, n_students=40, seed=1) for a in (0, 1))
    m = learning_measures([text, video])
    assert m.post_test.value == pytest.approx(0.5)  # every student learns all or nothing, in turns
    assert m.time_to_mastery["all"].reached.value == pytest.approx(0.5)
    both = pooled([text, video])
    assert both.mastered.shape == (1, 5, 80)
    assert both.retained.shape == (3, 1, 80)
    assert both.scores.shape == (80, 1)


ROTE = """
class Rote:
    skills = ("a",)
    latents = {}
    def __init__(self, latents, rng):
        self.known = 0.0
    def teach(self, action):
        self.known = 1.0
        return True
    def mastery(self):
        return [self.known]
    def wait(self, days):
        self.known = 0.0
"""


def test_students_of_another_program_are_not_asked_to_wait(tmp_path: Path) -> None:
    (tmp_path / "rote.py").write_text(ROTE)
    population = Population.model_validate(
        {"name": "p", "student": f"{tmp_path}/rote.py:Rote", "model": {"workers": 0}}
    )
    found = evaluate(RandomTutor(population.student_model), population, TASK, n_students=3, seed=1)
    assert found.delays_days == ()
    assert found.retained.shape == (0, 2, 3)
    assert found.mastered[:, 0].tolist() == [[0] * 3] * 2
    assert found.mastered[:, -1].tolist() == [[1] * 3] * 2
