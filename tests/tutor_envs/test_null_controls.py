"""Symmetries and null controls: names of arms carry nothing, first observations tell nothing."""

from __future__ import annotations

import math

import pytest
import torch

from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.task import TeachingTask

N = 20_000
FIVE_SIGMA = 5.3
# Rates do not depend on the skill here, so that skills are exchangeable.
EVEN = {
    "name": "even",
    "student": "bkt",
    "model": {"n_skills": 3, "modalities": ["a", "b", "c"]},
    "latents": {
        "ability": {"normal": {}},
        "responsiveness": {"dirichlet": {"concentration": 0.5}},
        "style_strength": 1.0,
    },
}


def scores(population: Population, actions: list[int], n: int = N, start: int = 0) -> torch.Tensor:
    """Post-test scores after this fixed lesson."""
    room = Classroom(population, TeachingTask(n_steps=len(actions)))
    room.begin_trial(student_indices(Split.TEST, n, start))
    for action in actions:
        outcome = room.step(torch.full((n,), action))
    return outcome.reward


LESSON = [(0, 0), (0, 0), (1, 1), (1, 0), (2, 1), (0, 0), (2, 2), (1, 1)]
"""(skill, modality) of every action."""


@pytest.mark.parametrize("what", ["skills", "modalities"])
def test_permuting_skills_or_modalities_leaves_the_return_distribution_unchanged(what):
    order = [2, 0, 1]
    population = Population.model_validate(EVEN)
    plain = [3 * skill + modality for skill, modality in LESSON]
    permuted = [
        3 * (order[skill] if what == "skills" else skill)
        + (order[modality] if what == "modalities" else modality)
        for skill, modality in LESSON
    ]
    here = scores(population, plain)
    there = scores(population, permuted, start=N)  # other students, so the samples are independent
    levels = torch.stack(
        [torch.bincount((3 * s).round().long(), minlength=4) for s in (here, there)]
    )
    p = levels.sum(0) / levels.sum()
    # two independent samples of N: the difference of two shares has variance 2 p (1 - p) / N
    z = (levels[0] - levels[1]) / N / (2 * p * (1 - p) / N).sqrt()
    assert z.abs().max() < FIVE_SIGMA


@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_without_style_the_modality_chosen_changes_nothing_for_anyone(student):
    population = default_population(student).variant("no_style")
    model = population.student_model
    n_modalities = len(model.modalities)
    one = [n_modalities * (t % (model.n_actions // n_modalities)) for t in range(12)]
    other = [action + 1 for action in one]
    assert torch.equal(scores(population, one, 2000), scores(population, other, 2000))


@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_with_style_the_modality_chosen_does_matter(student):
    population = default_population(student).with_latents(style_strength=1.0)
    model = population.student_model
    n_modalities = len(model.modalities)
    one = [n_modalities * (t % (model.n_actions // n_modalities)) for t in range(12)]
    other = [action + 1 for action in one]
    assert not torch.equal(scores(population, one, 2000), scores(population, other, 2000))


@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_nothing_is_readable_from_the_first_observation(student):
    task = TeachingTask(n_lessons=2, n_steps=5, show_score=True)
    room = Classroom(default_population(student), task)
    first = room.begin_trial(student_indices(Split.TRAIN, 500))
    assert len(first.action.unique()) == 1
    assert len(first.response.unique()) == 1
    assert len(first.score.unique()) == 1
    assert first.legal is None or len(first.legal.unique(dim=0)) == 1


def test_locked_skills_say_nothing_of_the_student_at_the_start():
    locked = {"n_skills": 3, "prerequisites": {1: [0], 2: [1]}, "unlock_after": 2}
    population = Population.model_validate(EVEN | {"model": locked})
    room = Classroom(population, TeachingTask(n_lessons=2, n_steps=5))
    first = room.begin_trial(student_indices(Split.TRAIN, 500))
    assert len(first.legal.unique(dim=0)) == 1


def test_neighbouring_students_do_not_resemble_each_other():
    population = Population.model_validate(EVEN)
    ability = population.sample(0, student_indices(Split.TRAIN, N))["ability"]
    for lag in (1, 2, 64):
        r = torch.corrcoef(torch.stack([ability[:-lag], ability[lag:]]))[0, 1]
        assert abs(r) < FIVE_SIGMA / math.sqrt(N - lag)
    other = population.sample(1, student_indices(Split.TRAIN, N))["ability"]
    assert abs(torch.corrcoef(torch.stack([ability, other]))[0, 1]) < FIVE_SIGMA / math.sqrt(N)
