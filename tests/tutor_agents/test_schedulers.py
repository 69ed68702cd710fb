"""What holds for all schedulers: legality, cards, time, and that they are worth something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from card_games import cards, play_one, seen
from small_students import locked_bkt, taught
from tutor_agents.registry import make_tutor, tutor_parameters
from tutor_agents.schedulers.deck import Deck
from tutor_agents.schedulers.sm2 import SM2Tutor
from tutor_agents.tutor import Trial
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS, default_population
from tutor_envs.student import CORRECT, SECONDS_PER_DAY
from tutor_envs.task import TeachingTask

SCHEDULERS: list[tuple[str, dict[str, Any]]] = [
    ("leitner", {}),
    ("leitner", {"system": "boxes"}),
    ("sm2", {}),
    ("fsrs", {}),
    ("threshold_recall", {}),
    ("memorize", {}),
    ("half_life_greedy", {}),
]
BY_BELIEF = ("threshold_recall", "memorize", "half_life_greedy")
EVERYTHING: dict[str, Any] = {
    "fatigue": {},
    "engagement": {},
    "lapses": {},
    "dropout": {"hazard": 0.1},
    "schedule": {"steps_per_session": 2, "budget_s": 300},
    "activities": {k: {} for k in ("practice", "quiz", "worked_example", "hint", "rest")},
    "n_particles": 2,
}


def make(name: str, options: dict[str, Any], population: Population, task: TeachingTask):
    few = {"n_types": 2} if name in BY_BELIEF else {}
    return make_tutor(name, population, task, **few, **options)


@pytest.mark.parametrize("population", POPULATIONS)
def test_every_shipped_population_can_be_taught(population: str):
    """``taught`` checks that each action is legal."""
    students, task = default_population(population), TeachingTask(n_steps=3)
    for name, options in SCHEDULERS:
        _, actions = taught(make(name, options, students, task), students, task, 3)
        assert actions.shape == (3, 3)


def test_reviews_are_practices_and_hints_and_only_what_is_unlocked():
    students, task = locked_bkt(**EVERYTHING), TeachingTask(n_steps=4)
    for name, options in SCHEDULERS:
        _, actions = taught(make(name, options, students, task), students, task, 5)
        kinds = {students.student_model.actions[a].activity for a in actions.flatten().tolist()}
        assert kinds <= {"practice", "hint"}


def test_a_card_that_is_due_but_locked_is_passed_over():
    model = cards().student_model
    tutor = SM2Tutor(model)
    tutor.begin_trial(Trial(torch.arange(1), 0, 0))
    for step, card in enumerate([0, 0, 1], start=1):  # due on days 7 (card 0) and 3 (card 1)
        after = seen([card], [CORRECT], step)
        tutor.observe(after.action, after)
    assert tutor.act(after).tolist() == [1]
    locked = after._replace(legal=torch.tensor([[True, False, True]]))
    assert tutor.act(locked).tolist() == [2]  # the new one, not the one that is due in four days


def test_cards_are_what_actions_are_about():
    materials = default_population("tms").student_model
    assert Deck(materials, "sm2").n_cards == 7  # some materials teach several skills
    only_examples = locked_bkt(activities={"worked_example": {}}).student_model
    assert Deck(only_examples, "sm2").n_cards == 2


def test_actions_without_a_skill_are_refused():
    nameless = cards().student_model.model_copy()
    nameless.__dict__["actions"] = tuple(a._replace(skill="") for a in nameless.actions)
    with pytest.raises(ValueError, match="`sm2` needs teaching actions that name a skill"):
        Deck(nameless, "sm2")


def test_a_unit_is_an_action_or_given_in_days_and_breaks_count():
    # Sessions of two actions, a minute each, with a day between them.
    sessions = {"schedule": {"steps_per_session": 2, "gap_days": 1}}
    students = cards(model={"step_s": 60.0}, components=sessions)
    minute, task = 60 / SECONDS_PER_DAY, TeachingTask(n_steps=6)
    deck = Deck(students.student_model, "sm2")
    assert [deck.now(t) for t in range(5)] == pytest.approx([0, 1, 1442, 1443, 2884])
    real = Deck(students.student_model, "sm2", unit_days=1)
    assert [real.now(t) for t in range(4)] == pytest.approx([0, minute, 1 + 2 * minute, 1.00208333])
    # In minutes card 0 is due after one; in real days both cards wait for the next session.
    by_action = make_tutor("sm2", students, task)
    assert play_one(by_action, students.student_model, [CORRECT] * 4) == [0, 0, 0, 1]
    by_day = make_tutor("sm2", students, task, unit_days=1)
    assert play_one(by_day, students.student_model, [CORRECT] * 4) == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("leitner", {"arrival": 1.5}, r"`tutors.leitner.arrival` .* got 1.5"),
        ("leitner", {"system": "piles"}, "'queues' or 'boxes', got 'piles'"),
        ("leitner", {"intervals": []}, r"`tutors.leitner.intervals` .* got \[\]"),
        ("leitner", {"intervals": [1, 0]}, r"`tutors.leitner.intervals.1` .* got 0"),
        ("leitner", {"intervals": [1, 2]}, "`intervals` must be left out with `system: queues`"),
        ("leitner", {"system": "boxes", "arrival": 0.5}, "`arrival` must be left out with"),
        ("sm2", {"right": 2}, "`tutors.sm2.right` .* got 2"),
        ("sm2", {"unit_days": 0}, "`tutors.sm2.unit_days` .* got 0"),
        ("fsrs", {"desired_retention": 1}, "`tutors.fsrs.desired_retention` .* got 1"),
        ("threshold_recall", {"z": -0.1}, "`tutors.threshold_recall.z` .* got -0.1"),
    ],
)
def test_parameters_are_checked(name: str, options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        tutor_parameters(name, options)


@pytest.mark.parametrize(
    ("population", "name", "options"),
    [
        ("fsrs", "leitner", {}),
        ("memory", "leitner", {"system": "boxes"}),
        ("memory", "sm2", {}),
        ("memory", "fsrs", {}),
        ("memory", "threshold_recall", {"n_types": 16}),
        ("memory", "memorize", {"n_types": 16}),
        ("memory", "half_life_greedy", {}),
    ],
)
def test_they_beat_chance_on_a_memory(
    teach: Callable[..., Any], population: str, name: str, options: dict[str, Any]
):
    """Students who forget, fifteen reviews: a paired difference of more than three errors."""
    students, task = default_population(population), TeachingTask(n_steps=15)
    ours, chance = (
        teach(make_tutor(tutor, students, task, **given), students, task, 400).returns
        for tutor, given in ((name, options), ("random", {}))
    )
    gain = ours - chance
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5
    assert torch.isfinite(gain).all()
