"""Training for the programs of this folder: the checkpoint is selected on validation students."""

from __future__ import annotations

import numpy as np

from tutor_agents.tutor import Tutor
from tutor_envs.population import Split
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Role, evaluate
from tutor_sim.learners import begin_learner

TEST_SEED = 1_000_003
"""Luck of validation and test students; training has its own seeds."""


def train(experiment: Experiment) -> Tutor:
    """The tutor of one training (a part of an experiment) that is best with validation students."""
    settings = experiment.evaluation
    taught = experiment.population, experiment.task
    learner = begin_learner(experiment.learner.model_dump(), *taught, seed=experiment.seed)
    best, weights, counters = -np.inf, {}, {}
    while learner.updates_done < learner.n_updates:
        learner.update()
        last = learner.updates_done == learner.n_updates
        if not last and learner.updates_done % settings.every_updates:
            continue
        score = evaluate(
            learner.tutor(),
            *taught,
            n_students=settings.validation_students,
            seed=TEST_SEED,
            split=Split.VALIDATION,
            role=Role.LEARNED,
        ).score
        if score > best:
            best, counters = score, dict(learner.counters())
            weights = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    learner.restore(weights, counters)
    return learner.tutor()
