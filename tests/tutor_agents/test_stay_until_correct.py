"""Stay until correct: who it stays with, and how it comes to prefer a modality."""

from __future__ import annotations

import pytest
import torch

from tutor_agents.stay_until_correct import StayUntilCorrectTutor
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

N_SKILLS, N_MODALITIES = 3, 2


def classroom(**latents: object) -> Classroom:
    """BKT students who answer right if and only if they know, unless told otherwise."""
    sure = {"p_slip": 0.0, "p_guess": 0.0, "p_init": 0.0, "p_forget": 0.0}
    population = Population.model_validate(
        {
            "name": "sure",
            "student": "bkt",
            "model": {"n_skills": N_SKILLS, "modalities": ["text", "video"]},
            "latents": sure | latents,
        }
    )
    return Classroom(population, TeachingTask(n_lessons=2, n_steps=12), seed=0)


def teach(tutor: Tutor, room: Classroom, n: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions and responses ``(T, n)``."""
    students = student_indices(Split.TEST, n)
    tutor.begin_trial(Trial(students, 0, 0))
    observation, actions, responses = room.begin_trial(students), [], []
    for _ in range(room.task.n_trial_steps):
        action = tutor.act(observation)
        observation = room.step(action).observation
        tutor.observe(action, observation)
        actions.append(action)
        responses.append(observation.response)
    return torch.stack(actions), torch.stack(responses)


@pytest.mark.parametrize("modality", ["random", "thompson"])
def test_it_stays_after_a_wrong_answer_and_goes_on_after_a_right_one(modality):
    room = classroom(p_learn=0.4)
    tutor = StayUntilCorrectTutor(room.model, modality=modality)
    actions, responses = teach(tutor, room)
    skill, n_steps = actions // N_MODALITIES, room.task.n_steps
    assert (skill[::n_steps] == 0).all()  # each lesson begins with the first
    for t in range(room.task.n_trial_steps - 1):
        if (t + 1) % n_steps:
            expected = torch.where(responses[t] == 1, (skill[t] + 1) % N_SKILLS, skill[t])
            assert torch.equal(skill[t + 1], expected)


def test_thompson_comes_to_prefer_the_modality_that_works():
    # learning only by video: responsiveness 0 and 1 at full strength
    room = classroom(p_learn=0.5, responsiveness=[0.0, 1.0], style_strength=1.0, p_forget=0.5)
    video = {}
    for modality in ("random", "thompson"):
        actions, _ = teach(StayUntilCorrectTutor(room.model, modality=modality), room, 2000)
        shares = (actions % N_MODALITIES).double().mean(-1)
        video[modality] = (shares[:3].mean().item(), shares[-3:].mean().item())
    assert video["random"] == pytest.approx((0.5, 0.5), abs=0.03)
    assert video["thompson"][0] == pytest.approx(0.5, abs=0.15)
    assert video["thompson"][1] > 0.75


def test_thompson_samples_from_the_beta_posterior():
    """After 3 right and 1 wrong by text: P(rate_text > rate_video) by integration."""
    room = classroom(p_learn=0.5)
    tutor = StayUntilCorrectTutor(room.model, credit="same")
    n = 20_000
    students = student_indices(Split.TEST, n)
    tutor.begin_trial(Trial(students, 0, 0))
    first = room.begin_trial(students)
    text = torch.zeros(n, dtype=torch.int64)
    for answer in (1, 1, 0, 1):
        tutor.observe(text, first._replace(action=text, response=torch.full((n,), answer)))
    chosen: torch.Tensor = tutor.act(first._replace(step=4))
    share = (chosen % N_MODALITIES == 0).double().mean().item()
    # text ~ Beta(4, 2), video ~ Beta(1, 1): P(text > video) = E[text] = 2/3
    assert share == pytest.approx(2 / 3, abs=0.01)


def test_other_teaching_actions_are_refused():
    model = Population.model_validate(
        {
            "name": "quiz",
            "student": "style_bandit",
            "model": {"modalities": ["a", "b"], "questionnaire_accuracy": 0.8},
            "latents": {},
        }
    ).student_model
    with pytest.raises(ValueError, match="`stay_until_correct` needs one practice of each skill"):
        StayUntilCorrectTutor(model)


def test_credit_goes_to_the_practice_before_of_the_same_skill():
    room = classroom()
    tutor = StayUntilCorrectTutor(room.model)
    students = student_indices(Split.TEST, 1)
    tutor.begin_trial(Trial(students, 0, 0))
    seen = room.begin_trial(students)
    tutor.act(seen)
    # skill 0: video, wrong; text, wrong (video's); text, right (text's); skill 1: right (nobody's)
    for action, answer in ((1, 0), (0, 0), (0, 1), (3, 1)):
        tutor.observe(torch.tensor([action]), seen._replace(response=torch.tensor([answer])))
    assert tutor._right.tolist() == [[1, 0]]
    assert tutor._wrong.tolist() == [[0, 1]]


def test_no_answer_counts_for_nothing():
    room = classroom()
    tutor = StayUntilCorrectTutor(room.model, credit="same")
    students = student_indices(Split.TEST, 4)
    tutor.begin_trial(Trial(students, 0, 0))
    seen: Observation = room.begin_trial(students)
    action = torch.zeros(4, dtype=torch.int64)
    tutor.observe(action, seen._replace(response=torch.full((4,), 2)))
    assert tutor._right.sum() == 0
    assert tutor._wrong.sum() == 0
