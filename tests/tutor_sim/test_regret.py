"""What tutors lose against the optimum: exact values of other tutors must come out of it."""

from __future__ import annotations

import pytest
import torch

from small_students import bandit, locked_bkt
from tutor_agents.distill import DistillConfig, DistillLearner
from tutor_agents.planner import BayesTutor, ExactPlanner
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.evaluation import evaluate
from tutor_sim.regret import regrets

TWO_TYPES = bandit([[0.9, 0.2], [0.1, 0.7]], p_slip=0.1, p_guess=0.2)
LOCKED = Population.model_validate(
    locked_bkt().model_dump(exclude={"latents"})
    | {
        "types": {
            "able": {"weight": 1, "latents": {"ability": 1.0}},
            "not": {"weight": 2, "latents": {"ability": -1.0}},
        }
    }
)
families = pytest.mark.parametrize("population", [TWO_TYPES, LOCKED], ids=["bandit", "locked"])
TASK = TeachingTask(n_steps=5, reward=Reward(scale=5.0))


class FirstAction:
    """Always the same action, which is always legal."""

    name = "first"

    def begin_trial(self, trial: Trial) -> None: ...

    def act(self, observation: Observation) -> torch.Tensor:
        return torch.zeros_like(observation.action)

    def observe(self, action: torch.Tensor, observation: Observation) -> None: ...


@families
def test_known_values_are_the_optimum_less_the_mean_regret(population):
    planner = ExactPlanner.of(population, TASK)
    model = population.student_model
    known: list[tuple[Tutor, float]] = [(RandomTutor(model), planner.random())]
    if population is TWO_TYPES:
        known.append((FirstAction(), planner.sequence([0] * TASK.n_steps)))
    for tutor, value in known:
        lost = regrets(tutor, population, TASK, n_students=20_000, seed=3)
        se = lost.std() / len(lost) ** 0.5
        assert planner.bayes() - lost.mean() == pytest.approx(value, abs=4 * se + 1e-9)


@families
def test_the_optimal_tutor_loses_nothing_with_anybody(population):
    tutor = BayesTutor.following(ExactPlanner.of(population, TASK))
    lost = regrets(tutor, population, TASK, n_students=500)
    assert lost == pytest.approx(0, abs=1e-8)


def test_near_the_optimum_it_is_far_less_noisy_than_scores():
    config = DistillConfig(total_steps=40_000, n_trials=64, hidden_size=32)
    learner = DistillLearner(config, TWO_TYPES, TASK)
    for _ in range(learner.n_updates):
        learner.update()
    lost = regrets(learner.tutor(), TWO_TYPES, TASK, n_students=2000)
    drawn = evaluate(learner.tutor(), TWO_TYPES, TASK, n_students=2000, seed=0).student_scores
    assert 0 <= lost.mean() < 0.1
    assert lost.var() < drawn.var() / 100
