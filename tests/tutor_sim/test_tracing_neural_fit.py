"""The fit of the neural student: its likelihood is the student's, and its students act alike."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tutor_envs.population import Population
from tutor_envs.population_files import default_population
from tutor_envs.students.neural import Neural
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.simulate import simulate_log
from tutor_sim.tracing import cross_validate
from tutor_sim.tracing.dkt import split_students
from tutor_sim.tracing.histories import earlier_sum
from tutor_sim.tracing.neural_fit import fit_neural


@cache
def training_log() -> InteractionLog:
    population = default_population("data_shaped").variant("no_style")
    return simulate_log(population, n_students=30, n_steps=8)


@cache
def small_fit() -> tuple[dict[str, Tensor], list[float]]:
    losses: list[float] = []
    weights = fit_neural(training_log(), hidden=6, on_progress=lambda _, loss: losses.append(loss))
    return weights, losses


def test_the_reported_loss_is_that_of_the_student_model(tmp_path: Path) -> None:
    """The held-out students' answers, replayed through ``Neural`` at each point of ability."""
    weights, losses = small_fit()
    save_file(weights, tmp_path / "w.safetensors")
    model = Neural(weights=str(tmp_path / "w.safetensors"), modalities=("only",))
    log = training_log()
    students = split_students(log, np.random.default_rng(0))[1]
    rows = np.stack([np.flatnonzero(log.student == j) for j in students])
    skill, answer = (torch.from_numpy(x[rows].astype(int)) for x in (log.skill, log.correct))
    points, point_weights = np.polynomial.hermite_e.hermegauss(11)
    log_likelihood = []
    for point in points:
        n = len(students)
        latents = {
            "ability": torch.full((n,), point, dtype=torch.float64),
            "responsiveness": torch.ones(n, 1, dtype=torch.float64),
            "style_strength": torch.zeros(n, dtype=torch.float64),
        }
        state, total = model.begin_lesson(latents, torch.empty(n, 0)), torch.zeros(n)
        for step in range(rows.shape[1]):
            p = model.predict(latents, state, skill[:, step])
            total = total + p.gather(1, answer[:, step : step + 1]).squeeze(1).log()
            state = model.update(latents, state, skill[:, step], answer[:, step])
        log_likelihood.append(total)
    weight = torch.from_numpy(point_weights / point_weights.sum())
    marginal = torch.logsumexp(torch.stack(log_likelihood, 1) + weight.log(), 1)
    assert min(losses) == pytest.approx(-float(marginal.sum()) / rows.size, abs=1e-5)


def test_the_fit_learns_what_ability_cannot_explain() -> None:
    """Answers that alternate: only the first one is a surprise, ln 2 of 8 answers."""
    log = simulate_log(default_population("data_shaped"), n_students=60, n_steps=8)
    starts = np.random.default_rng(0).integers(0, 2, 60)
    alternating = (starts[:, None] + np.arange(8)) % 2
    log = dataclasses.replace(log, correct=alternating.ravel().astype(float))
    losses: list[float] = []
    fit_neural(log, hidden=8, on_progress=lambda _, loss: losses.append(loss))
    assert min(losses) < 0.35 < losses[0]


def test_the_same_seed_gives_the_same_weights() -> None:
    log = training_log()
    first, again, other = (fit_neural(log, hidden=3, seed=seed) for seed in (5, 5, 6))
    for name, value in first.items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0)
    assert not torch.equal(other["readout"], first["readout"])


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="`hidden` must be >= 1, got 0"):
        fit_neural(training_log(), hidden=0)
    with pytest.raises(ValueError, match="at least two students"):
        fit_neural(training_log().of_students(np.array([3])))


def learning_curve(log: InteractionLog) -> np.ndarray:
    met = earlier_sum(log.student * len(log.item_names) + log.item, np.ones(len(log)))
    return np.array([log.correct[met == k].mean() for k in range(8)])


@pytest.mark.slow
def test_the_shipped_students_act_like_those_they_were_fitted_to() -> None:
    def simulated(population: Population) -> InteractionLog:
        return simulate_log(population, n_students=1200, n_steps=45, seed=1)

    taught = simulated(default_population("data_shaped").variant("no_style"))
    sampled = simulated(default_population("neural").variant("as_fitted"))
    np.testing.assert_allclose(learning_curve(sampled), learning_curve(taught), atol=0.03)
    shares = [np.bincount(log.student, log.correct) / 45 for log in (taught, sampled)]
    assert shares[1].std() == pytest.approx(shares[0].std(), abs=0.02)
    for name in ("elo", "bkt", "best_lr"):
        wanted = cross_validate(taught, name).auc
        assert cross_validate(sampled, name).auc == pytest.approx(wanted, abs=0.02)
