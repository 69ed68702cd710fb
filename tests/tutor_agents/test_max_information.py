"""Maximum information: Fisher's by the textbook, and the information about types by brute force."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.stats import entropy

from tutor_agents.max_information import MaxInformationTutor, fisher_information
from tutor_agents.registry import make_tutor
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

TASK = TeachingTask(n_steps=10)


def irt(*difficulties: float, slopes: Any = 1.0, **latents: Any) -> Population:
    return Population.model_validate(
        {
            "name": "test",
            "student": "irt",
            "model": {
                "n_skills": 1,
                "difficulties": list(difficulties),
                "discrimination": slopes,
                "modalities": ["text"],
            },
            "latents": latents,
        }
    )


def make(population: Population, n: int = 1, **parameters: Any) -> MaxInformationTutor:
    tutor = make_tutor("max_information", population, TASK, **parameters)
    assert isinstance(tutor, MaxInformationTutor)
    tutor.begin_trial(Trial(torch.arange(n), 0, 0))
    return tutor


@pytest.mark.parametrize(
    ("theta", "expected"),
    # catsim 0.21, `catsim.irt.inf(theta, a, b, c, d)`: (1.2, -1, 0, 1), (0.8, 0.3, 0, 1)
    [(-0.7, (0.3485834, 0.1369022)), (0.4, (0.1906797, 0.1597443))],
)
def test_fishers_information_of_two_parameter_items(
    theta: float, expected: tuple[float, float]
) -> None:
    tutor = make(irt(-1.0, 0.3, slopes=[1.2, 0.8], skill_offset=[theta]), information="fisher")
    for found, wanted, a, b in zip(
        tutor.information()[0].tolist(), expected, (1.2, 0.8), (-1.0, 0.3), strict=True
    ):
        p = 1 / (1 + math.exp(-a * (theta - b)))
        assert found == pytest.approx(a**2 * p * (1 - p), abs=1e-7)
        assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("theta", "expected"), [(-0.7, 0.02366325), (0.4, 0.18794393)])
def test_fishers_information_of_a_four_parameter_item(theta: float, expected: float) -> None:
    # catsim 0.21, `catsim.irt.inf(theta, 1.5, 1, 0.25, 0.95)`
    population = irt(1.0, slopes=1.5, skill_offset=[theta], p_guess=0.25, p_slip=0.05)
    found = make(population, information="fisher").information()[0, 0].item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_fishers_information_on_several_traits_is_the_trace() -> None:
    population = Population.model_validate(
        {
            "name": "test",
            "student": "mirt",
            "model": {
                "n_skills": 2,
                "q_matrix": [[1.2, 0.5], [0.0, 0.9]],
                "difficulties": [0.2, -0.3],
                "modalities": ["text"],
            },
            "latents": {"specific": [0.4, -0.6]},
        }
    )
    model, types = population.student_model, population.types_exact()
    found = fisher_information(model, types.latents, model.begin_belief(types.latents))
    for i, (loadings, b) in enumerate((((1.2, 0.5), 0.2), ((0.0, 0.9), -0.3))):
        p = 1 / (1 + math.exp(-(0.4 * loadings[0] - 0.6 * loadings[1] - b)))
        squared = loadings[0] ** 2 + loadings[1] ** 2
        assert found[0, i].item() == pytest.approx(squared * p * (1 - p), abs=1e-9)


def test_the_best_aimed_difficulty_is_asked() -> None:
    ability = {"categorical": {"values": [-1.0, 1.0]}}
    population = irt(-2.0, -1.0, 0.0, 1.0, 2.0, ability=ability, growth=0.0)
    tutor = make(population, information="fisher")
    seen = Observation(torch.tensor([5]), torch.tensor([2]), None, None, 0, 0)
    assert int(tutor.act(seen)) == 2  # between the two
    for step in range(1, 9):  # all wrong: this is the weak one
        action = tutor.act(seen._replace(step=step))
        tutor.observe(action, seen._replace(response=torch.tensor([0]), step=step))
    assert int(tutor.act(seen)) == 1


@pytest.mark.parametrize("questionnaire", [None, 0.8])
def test_information_about_types_is_that_of_brute_force(questionnaire: float | None) -> None:
    types = {
        "a": {"weight": 1, "latents": {"responsiveness": [0.9, 0.1], "p_event": 0.3}},
        "b": {"weight": 3, "latents": {"responsiveness": [0.2, 0.8], "p_event": 0.5}},
    }
    population = Population.model_validate(
        {
            "name": "test",
            "student": "style_bandit",
            "model": {"modalities": ["text", "video"], "questionnaire_accuracy": questionnaire},
            "latents": {"style_strength": 1.0},
            "types": types,
        }
    )
    model, exact = population.student_model, population.types_exact()
    belief = model.begin_belief(exact.latents)
    expected = []
    for a in range(model.n_actions):
        p = model.predict(exact.latents, belief, torch.full((2,), a)).numpy()
        mixed = 0.25 * p[0] + 0.75 * p[1]
        expected.append(entropy(mixed) - 0.25 * entropy(p[0]) - 0.75 * entropy(p[1]))
    tutor = make(population)
    assert tutor.information()[0].tolist() == pytest.approx(expected, abs=1e-9)
    seen = Observation(torch.tensor([9]), torch.tensor([9]), None, None, 0, 0)
    assert int(tutor.act(seen)) == max(range(len(expected)), key=expected.__getitem__)
    if questionnaire:
        assert int(tutor.act(seen)) == 2


def test_fishers_information_needs_an_ability() -> None:
    bkt = Population.model_validate({"name": "test", "student": "bkt"})
    with pytest.raises(
        ValueError, match=r"`tutors\.max_information\.information` must be 'types' for"
    ):
        make(bkt, information="fisher")
