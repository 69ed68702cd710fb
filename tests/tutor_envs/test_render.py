"""Pictures of a lesson: what was taught, what was answered, and what is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from tutor_envs.gym_env import TutoringEnv
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.vector_env import TutoringVectorEnv

CLOCKWORK = {
    "name": "clockwork",
    "student": "bkt",
    "model": {
        "n_skills": 2,
        "modalities": ["text", "video"],
        "prerequisites": {1: [0]},
        "unlock_after": 1,
        "ability_on_init": 0,
    },
    # nothing is known at the start, the first practice teaches; answers show what was known
    "latents": {"p_guess": 0.0, "p_slip": 0.0, "p_learn": 1.0, "p_init": 0.0},
}
TASK = {"n_lessons": 2, "n_steps": 4}


def test_text_says_what_was_taught_answered_and_hidden():
    env = TutoringEnv(population=CLOCKWORK, task=TASK, render_mode="ansi")
    env.reset(seed=0)
    for action in (2, 0, 1, 3):
        env.step(action)
    # skill 1 is locked; skill 0 is not known before its first practice, then it is
    assert env.render().splitlines() == [
        "bkt: lesson 1 of 2, 4 of 4 actions taught",
        "    1  practice skill_1 by text   · no effect",
        "    2  practice skill_0 by text   ✗ wrong",
        "    3  practice skill_0 by video  ✓ correct",
        "    4  practice skill_1 by video  ✗ wrong",
        "mastery (hidden from the tutor):",
        "       skill_0  ████████████████████ 1.00",
        "       skill_1  ████████████████████ 1.00",
    ]


def test_a_finished_lesson_is_shown_until_the_next_is_begun():
    env = TutoringEnv(population=CLOCKWORK, task=TASK, render_mode="ansi")
    env.reset(seed=0)
    assert env.render().startswith("bkt: lesson 1 of 2, 0 of 4 actions taught\nmastery (hidden")
    for _ in range(4):
        env.step(0)
    assert env.render().startswith("bkt: lesson 1 of 2, 4 of 4")
    env.step(0)
    assert env.render().startswith("bkt: lesson 2 of 2, 1 of 4")
    assert "✗ wrong" in env.render()  # the new topic is not known yet


def test_no_render_mode_renders_nothing():
    env = TutoringEnv(population=CLOCKWORK, task=TASK)
    env.reset(seed=0)
    assert env.render() is None


def pixels_like(image: np.ndarray, colour: str) -> int:
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(image.astype(int) - rgb).max(-1) < 8).sum())


TEXT, VIDEO = "#0072B2", "#E69F00"


def test_an_image_shows_each_action_in_the_colour_of_its_modality():
    env = TutoringEnv(population=CLOCKWORK, task=TASK, render_mode="rgb_array")
    env.reset(seed=0)
    images = [env.render()]
    for action in (0, 0, 1):
        env.step(action)
        images.append(env.render())
    assert {image.shape for image in images} == {(600, 960, 3)}
    assert images[0].dtype == np.uint8
    text, video = ([pixels_like(image, colour) for image in images] for colour in (TEXT, VIDEO))
    # first a hollow square (wrong), then a filled one (right), then one in the other colour
    assert text[0] < text[1] < text[2]
    assert text[2] - text[1] > 2 * (text[1] - text[0])
    assert video[0] == video[2]
    assert video[3] > video[2] + 300


def test_an_image_is_one_value_of_what_was_taught():
    def image():
        env = TutoringEnv(population=CLOCKWORK, task=TASK, render_mode="rgb_array")
        env.reset(seed=0)
        env.step(0)
        return env.render()

    np.testing.assert_array_equal(image(), image())


@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_every_student_model_can_be_drawn(student):
    for mode, kind in (("ansi", str), ("rgb_array", np.ndarray)):
        env = TutoringEnv(student=student, render_mode=mode)
        env.reset(seed=0)
        for action in range(3):
            env.step(action)
        assert isinstance(env.render(), kind)


def test_answers_that_are_neither_right_nor_wrong_are_drawn_and_named():
    asking = {
        "name": "asking",
        "student": "style_bandit",
        "model": {"modalities": ["text", "video"], "questionnaire_accuracy": 1.0},
        "latents": {"responsiveness": [0.2, 0.8]},
    }
    env = TutoringEnv(population=asking, task=TASK, render_mode="ansi")
    env.reset(seed=0)
    env.step(2)
    assert "questionnaire  · label_1" in env.render()
    env = TutoringEnv(population=asking, task=TASK, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(2)
    assert (env.render() != before).any()


def test_a_class_is_rendered_student_by_student():
    envs = TutoringVectorEnv(3, student="irt", task=TASK, render_mode="ansi")
    envs.reset(seed=0)
    envs.step(np.array([0, 7, 17]))
    frames = envs.render()
    assert len(frames) == 3
    assert "practice(b=1.5) skill_2 by practice" in frames[2]
    assert TutoringVectorEnv(3, student="irt").render() is None
