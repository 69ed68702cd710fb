"""Population files: how YAML is read, and the four that ship."""

from __future__ import annotations

import pytest
import torch

from tutor_envs.classroom import Classroom
from tutor_envs.population import Split, student_indices
from tutor_envs.population_files import default_population, load_population
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.task import TeachingTask

N = 3000


def write(folder, text):
    path = folder / "class.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mean_score(population) -> float:
    """Post-test score of a round-robin lesson of 15 actions."""
    room = Classroom(population, TeachingTask(n_steps=15))
    room.begin_trial(student_indices(Split.TEST, N))
    for step in range(15):
        outcome = room.step(torch.full((N,), step % room.model.n_actions))
    return outcome.truth.post_test.mean().item()


@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_a_population_ships_for_every_student_model(student):
    population = default_population(student)
    assert population.student == student
    assert {"harder", "no_style"} <= set(population.variants)
    latents = population.sample(0, student_indices(Split.TRAIN, N))
    assert latents["ability"].std() > 0.9
    assert (
        latents["responsiveness"].max(-1).values > 1.2 / latents["responsiveness"].shape[1]
    ).any()
    assert latents["style_strength"].mean() > 0.1


@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_harder_is_harder_and_no_style_has_none(student):
    population = default_population(student)
    usual = mean_score(population)
    assert 0.2 < usual < 0.8  # neither hopeless nor already known
    assert mean_score(population.variant("harder")) < usual - 0.05
    latents = population.variant("no_style").sample(0, student_indices(Split.TRAIN, 100))
    assert latents["style_strength"].abs().max() == 0


def test_the_shipped_default_of_an_unknown_model_is_an_error():
    with pytest.raises(ValueError, match=r"unknown `population` 'bktt'.*did you mean 'bkt'"):
        default_population("bktt")


def test_numbers_and_words_are_read_as_people_mean_them(tmp_path):
    path = write(
        tmp_path,
        """
        name: on
        student: bkt
        model: {modalities: [yes, no, off]}
        latents: {p_slip: 1e-3, p_guess: 2.5E-1, p_forget: 0, ability: -.5}
        """,
    )
    population = load_population(path)
    assert population.name == "on"
    assert population.student_model.modalities == ("yes", "no", "off")
    latents = population.sample(0, torch.arange(1), dtype=torch.float64)
    assert latents["p_slip"].item() == 0.001
    assert latents["p_guess"].item() == 0.25
    assert latents["ability"].item() == -0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "class.yaml"),
        ("- a\n- b", "class.yaml: a population file must be a mapping, got list"),
        ("", "class.yaml: a population file must be a mapping, got NoneType"),
        ("name: a\nname: b\nstudent: bkt", "`?'?name'?`? (is given|stands) twice"),
        (
            "name: a\nstudent: bkt\nlatents: {p_slip: 3}",
            "class.yaml:(.|\n)*`latents.p_slip` must stay",
        ),
        ("name: a", "unknown `student` None"),
    ],
)
def test_mistakes_name_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_population(write(tmp_path, text))


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "class.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ValueError, match=r"class\.yaml: not"):
        load_population(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_population(tmp_path / "class.yaml")
