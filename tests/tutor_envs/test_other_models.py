"""Other student models for the same tutor: actions that agree, made to agree, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tutor_envs.classroom import Classroom
from tutor_envs.other_models import RESHAPED, check_same_meaning, reshaped
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population
from tutor_envs.task import TeachingTask


def population(student: str, **model: Any) -> Population:
    given = {"name": f"our {student}", "student": student, "model": model}
    return Population.model_validate(given)


HOME = population("bkt", n_skills=3, modalities=["see", "do"])


@pytest.mark.parametrize("student", RESHAPED)
def test_every_listed_model_takes_the_shape_of_another_and_can_be_taught(student: str) -> None:
    there = reshaped(default_population(student), HOME)
    check_same_meaning(HOME, there)
    room = Classroom(there, TeachingTask(n_steps=8))
    observation = room.begin_trial(student_indices(Split.TEST, 50))
    assert observation.legal is None
    for step in range(8):
        outcome = room.step(torch.full((50,), step % HOME.student_model.n_actions))
    assert outcome.truth.mastery.shape == (50, 3)
    assert 0 < outcome.truth.post_test.mean() < 1


def test_numbers_for_each_skill_are_taken_from_as_far_along() -> None:
    source = default_population("bkt")  # four skills, three modalities
    there = reshaped(source, population("bkt", n_skills=2, modalities=["see", "do"]))
    latents = there.sample(0, student_indices(Split.TEST, 3), dtype=torch.float64)
    assert latents["p_init"][0].tolist() == [0.40, 0.20]  # of .40 .30 .20 .10: 0 and 2
    assert latents["p_learn"][0].tolist() == [[0.24, 0.24], [0.16, 0.16]]
    assert there.model.prerequisites == {}
    same_number = reshaped(source, population("irt", n_skills=4, difficulties=[0]))
    assert same_number.model.prerequisites == source.model.prerequisites


def test_students_of_irt_get_one_difficulty() -> None:
    there = reshaped(default_population("irt"), HOME)
    assert there.model.difficulties == (default_population("irt").model.target_difficulty,)


def test_practice_here_is_review_there_and_a_wrong_answer_is_a_forgotten_one() -> None:
    there = population("memory", n_items=3, modalities=["read", "recall"])
    assert there.student_model.actions[0].activity == "review"
    assert there.student_model.responses == ("forgotten", "recalled")
    check_same_meaning(HOME, there)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            population("bkt", n_skills=2, modalities=["see", "do"]),
            "must have 6 teaching actions (3 skills, 2 modalities, 1 activities), got 4 teaching "
            "actions (2 skills, 2 modalities, 1 activities)",
        ),
        (
            population("bkt", n_skills=2, modalities=["see", "do", "hear"]),
            "teaching action 2 must mean `practice skill_1 by see`, got `practice skill_0 by hear`",
        ),
        (
            population("bkt", n_skills=3, modalities=["do", "see"]),
            "`modalities` must come in the same order, ['see', 'do'], got ['do', 'see']",
        ),
        (
            population("irt", n_skills=3, modalities=["see"], difficulties=[0, 1]),
            "teaching action 0 must mean `practice skill_0 by see`, got "
            "`practice(b=0) skill_0 by see`",
        ),
    ],
)
def test_actions_that_mean_something_else_are_refused(other: Population, message: str) -> None:
    with pytest.raises(ValueError, match="cannot be taught by tutors of `our bkt`") as caught:
        check_same_meaning(HOME, other)
    assert message in str(caught.value)


def test_other_responses_are_refused() -> None:
    leaving = HOME.model_copy(update={"name": "leavers"}).model_dump() | {
        "model": HOME.model,
        "components": {"dropout": {"hazard": 0.1}},
    }
    with pytest.raises(ValueError, match=r"its responses must be .* got .*'left'"):
        check_same_meaning(HOME, Population.model_validate(leaving))


def test_a_model_with_a_structure_of_its_own_is_not_reshaped() -> None:
    with pytest.raises(ValueError, match="cannot be reshaped: it has model `kss`"):
        reshaped(default_population("kss"), HOME)
