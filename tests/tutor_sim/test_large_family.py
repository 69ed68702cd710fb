"""The large family is the one whose scripted tutors were measured by an independent prototype."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tutor_agents.oracle import OracleTutor
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.stay_until_correct import StayUntilCorrectTutor
from tutor_sim.evaluation import evaluate
from tutor_sim.experiment_files import load_experiment

FILE = Path(__file__).parents[2] / "experiments" / "large_family" / "large_family.yaml"


def test_scripted_tutors_gain_what_the_prototype_measured():
    """Mean share of skills learned in a lesson, there with 4,096 students: .329, .421, .739."""
    experiment = load_experiment(FILE)
    population, task = experiment.population, experiment.task
    model = population.student_model
    measured = {
        RandomTutor(model): 0.329,
        StayUntilCorrectTutor(model, modality="random"): 0.421,
        OracleTutor(): 0.739,
    }
    for tutor, share in measured.items():
        outcome = evaluate(tutor, population, task, n_students=256, seed=0)
        begun = outcome.mastery[:, 0].mean()
        assert begun == pytest.approx(0.15, abs=0.01)
        assert outcome.scores.mean() - begun == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("p_forget", [0.0, 0.02, 0.3, 1.0])
def test_skills_are_forgotten_independently(p_forget):
    n = 200_000
    model = load_experiment(FILE).population.student_model
    model = model.model_copy(update={"p_forget": p_forget, "p_init": 1.0})
    latents = {"ability": torch.zeros(n), "taste": torch.zeros(n, 4)}
    luck = torch.Generator().manual_seed(0)
    state = model.begin_lesson(latents, torch.rand(n, model.n_start_uniforms, generator=luck))
    uniforms = torch.rand(n, model.n_step_uniforms, generator=luck)
    after, _ = model.step(latents, state, torch.zeros(n, dtype=torch.int64), uniforms)
    forgot = 1 - model.mastery(latents, after)
    assert not forgot[:, 0].any()  # practised
    together = (forgot[:, 1:].T @ forgot[:, 1:] / n).double()
    expected = torch.full_like(together, p_forget**2).fill_diagonal_(p_forget)
    error = (expected * (1 - expected) / n).sqrt()
    assert ((together - expected).abs() <= 5 * error + 1e-7).all()
