"""Who benefits: groups by hand, gaps against scipy, and tutors known to serve some."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.equity import (
    Groups,
    ability_groups,
    equity,
    gap_contributions,
    groups_of,
    style_groups,
)
from tutor_sim.evaluation import Evaluation, Role, evaluate
from tutor_sim.learning_table import equity_notes
from tutor_sim.measures import mean_estimate
from tutor_sim.statistics import Array
from tutor_sim.summary import summarise


class TestGroups:
    def test_ability_has_deciles(self) -> None:
        ability = np.random.default_rng(0).normal(size=200)
        found = ability_groups(ability)
        assert found.names == tuple(f"decile {i}" for i in range(1, 11))
        assert np.bincount(found.member).tolist() == [20] * 10
        assert set(np.argsort(ability)[:20]) == set(np.flatnonzero(found.member == 0))

    def test_or_its_values_if_they_are_few(self) -> None:
        found = ability_groups([0.5, -1, 0.5, -1, -1, 0.5, -1, 0.5])
        assert found.names == ("ability -1", "ability 0.5")
        assert found.member.tolist() == [1, 0, 1, 0, 0, 1, 0, 1]

    def test_style_is_the_best_modality(self) -> None:
        found = style_groups([[0.6, 0.4]] * 4 + [[0.5, 0.5]] * 4 + [[0.1, 0.9]] * 5, ["a", "b"])
        assert found.names == ("a", "b", "no preference")
        assert found.member.tolist() == [0] * 4 + [2] * 4 + [1] * 5

    def test_tiny_groups_are_left_out(self) -> None:
        found = style_groups([[0.6, 0.4]] * 4 + [[0.1, 0.9]] * 3, ["a", "b"])
        assert found.names == ("a",)
        assert found.member.tolist() == [0] * 4 + [-1] * 3


def ordered(member: Array) -> Groups:
    return Groups("ability", ("low", "high"), member.astype(np.int64))


class TestGap:
    def test_it_is_welchs_difference(self) -> None:
        rng = np.random.default_rng(1)
        member = rng.permutation(np.repeat([0, 1], [30, 170]))
        outcome = rng.normal(member * 0.4, 0.1 + 0.3 * member)
        found = mean_estimate(gap_contributions(outcome, ordered(member)))
        high, low = outcome[member == 1], outcome[member == 0]
        assert found.value == pytest.approx(high.mean() - low.mean())
        test = stats.ttest_ind(high, low, equal_var=False).confidence_interval(0.95)
        assert found.high - found.low == pytest.approx(test.high - test.low, rel=0.02)

    def test_who_is_in_neither_group_does_not_matter(self) -> None:
        member = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1, -1])
        outcome = np.arange(10.0)
        parts = gap_contributions(outcome, ordered(member))
        assert parts.mean() == pytest.approx(5.5 - 1.5)
        assert gap_contributions(np.r_[outcome[:8], 99, 99], ordered(member)) == pytest.approx(
            parts
        )

    def test_alike_groups_have_no_gap(self) -> None:
        rng = np.random.default_rng(2)
        groups = Groups("style", ("a", "b", "c", "d"), np.arange(120) % 4)
        gaps, naive, hits = [], [], 0
        for _ in range(400):
            outcome = rng.normal(size=120)
            found = mean_estimate(gap_contributions(outcome, groups))
            means = [outcome[groups.member == g].mean() for g in range(4)]
            gaps.append(found.value)
            naive.append(max(means) - min(means))
            hits += found.low <= 0 <= found.high
        assert abs(np.mean(gaps)) < 3 * np.std(gaps) / np.sqrt(400)
        assert np.mean(naive) > 0.3  # what cross-fitting avoids
        assert hits >= 0.95 * 400

    def test_a_clear_gap_is_found_whole(self) -> None:
        rng = np.random.default_rng(3)
        groups = Groups("type", ("a", "b", "c"), np.arange(300) % 3)
        outcome = np.array([0.2, 0.9, 0.5])[groups.member] + rng.normal(0, 0.05, 300)
        found = mean_estimate(gap_contributions(outcome, groups))
        assert found.low < 0.7 < found.high
        assert found.high - found.low < 0.06

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 999), st.floats(-2, 2), st.floats(0.1, 3), st.sampled_from([0, 1]))
    def test_it_moves_with_the_unit(self, seed: int, shift: float, scale: float, kind: int) -> None:
        rng = np.random.default_rng(seed)
        member = rng.permutation(np.repeat([0, 1, 2], 8))
        groups = Groups(("ability", "style")[kind], ("a", "b", "c"), member)
        outcome = rng.normal(size=24)
        one, other = (gap_contributions(x, groups) for x in (outcome, shift + scale * outcome))
        assert other == pytest.approx(scale * one, abs=1e-9)

    def test_seeds_share_the_pair(self) -> None:
        groups = Groups("style", ("a", "b"), np.arange(40) % 2)
        favours_a = np.where(groups.member == 0, 0.9, 0.1)
        parts = gap_contributions(np.stack([favours_a, favours_a[::-1]]), groups)
        assert parts.shape == (2, 40)
        # one seed favours the one group, the other seed the other: on average neither
        assert parts.mean() == pytest.approx(0, abs=1e-9)


class Always:
    """The same action for everyone."""

    def __init__(self, action: int, name: str) -> None:
        self.action, self.name = action, name

    def begin_trial(self, trial: Trial) -> None:
        pass

    def act(self, observation: Observation) -> Tensor:
        return torch.full_like(observation.action, self.action)

    def observe(self, action: Tensor, observation: Observation) -> None:
        pass


STRONG_READ = Population.model_validate(
    {
        "name": "strong students read",
        "student": "style_bandit",
        "model": {"modalities": ["text", "video"], "n_units": 4, "ability_on_event": 0},
        "latents": {"p_event": 0.5, "style_strength": 1, "p_slip": 0, "p_guess": 0},
        "types": {
            "strong": {"weight": 1, "latents": {"responsiveness": [1, 0], "ability": 1}},
            "weak": {"weight": 1, "latents": {"responsiveness": [0, 1], "ability": -1}},
        },
    }
)
"""Strong students learn a unit by every text and nothing else, weak ones by every video."""
TASK = TeachingTask(n_lessons=2, n_steps=4)


def taught(tutor: object, **options: object) -> Evaluation:
    return evaluate(tutor, STRONG_READ, TASK, n_students=80, seed=1, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def evaluations() -> list[Evaluation]:
    return [
        taught(RandomTutor(STRONG_READ.student_model)),
        taught(Always(0, "for_the_strong"), role=Role.LEARNED),
        taught(Always(1, "for_the_weak"), role=Role.LEARNED),
    ]


class TestTutors:
    def test_who_teaches_only_the_strong_widens_the_gap(
        self, evaluations: list[Evaluation]
    ) -> None:
        (division,) = equity(evaluations, "random")  # the other divisions are the same one
        assert division.kind == "ability"
        assert division.groups == ("ability -1", "ability 1")
        assert division.pre_test_gap[:3] == (0, 0, 0)
        random, strong, weak = division.tutors
        assert random.versus_random[:3] == (0, 0, 0)
        assert random.gap.low < 0 < random.gap.high
        assert [estimate.value for estimate in strong.outcomes] == [0, 1]
        assert strong.gap.value == pytest.approx(1)
        assert strong.versus_pre_test.value == pytest.approx(1)
        assert strong.versus_random.value == pytest.approx(1 - random.gap.value)
        assert strong.versus_random.low > 0
        assert (strong.best, strong.worst) == ("ability 1", "ability -1")
        assert weak.gap.value == pytest.approx(-1)
        assert weak.versus_random.high < 0

    def test_without_order_both_favour_somebody(self) -> None:
        population = STRONG_READ.with_latents(ability=0)
        found = [
            evaluate(tutor, population, TASK, n_students=80, seed=1)
            for tutor in (RandomTutor(population.student_model), Always(1, "video"))
        ]
        (division,) = equity(found, "random")
        assert (division.kind, division.groups) == ("style", ("text", "video"))
        video = division.tutors[1]
        assert (video.gap.value, video.best) == (pytest.approx(1), "video")
        assert video.versus_random.low > 0

    def test_it_is_said_of_learned_tutors_that_do(self, evaluations: list[Evaluation]) -> None:
        summary = summarise(evaluations)
        (note,) = equity_notes(summary)
        assert note.startswith(
            "for_the_strong widens the gap by ability (ability 1 less ability -1)"
        )
        plain = json.loads(json.dumps(summary.to_json(), allow_nan=False))
        (division,) = plain["equity"]
        line = next(t for t in division["tutors"] if t["tutor"] == "for_the_strong")
        assert line["gap"]["value"] == pytest.approx(1)

    def test_without_the_random_tutor_there_is_no_comparison(
        self, evaluations: list[Evaluation]
    ) -> None:
        (division,) = equity(evaluations[1:], "random")
        assert division.tutors[0].versus_random.reason == "needs the tutor `random`"
        assert division.tutors[0].gap.known

    def test_several_seeds(self, evaluations: list[Evaluation]) -> None:
        random, strong, _ = evaluations
        (division,) = equity([random, strong, strong], "random")
        assert division.tutors[1].gap.value == pytest.approx(1)

    def test_equal_students_are_not_divided(self) -> None:
        population = Population.model_validate({"name": "p", "student": "memory"})
        one = evaluate(
            RandomTutor(population.student_model), population, TASK, n_students=20, seed=1
        )
        assert groups_of(one) == []
        assert summarise([one]).equity == ()
