"""Tutors and students with components: RL² trains on them, planners refuse what they cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tutor_agents.engine.ppo import clipped_surrogate_loss, mean_where
from tutor_agents.exported import load_tutor
from tutor_agents.planner import ExactPlanner
from tutor_agents.registry import make_tutor
from tutor_agents.rl2 import RL2Config, RL2Learner
from tutor_agents.tutor import Trial
from tutor_agents.type_posterior import TypePosterior
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

EVERYTHING = {
    "fatigue": {},
    "engagement": {},
    "lapses": {},
    "dropout": {"hazard": 0.2},
    "response_time": {},
    "schedule": {"steps_per_session": 3, "budget_s": 200},
    "activities": {k: {} for k in ("practice", "quiz", "worked_example", "hint", "rest")},
    "costs": {"quiz": 0.01},
    "prerequisites": {"requires": {"skill_1": ["skill_0"]}, "n_correct": 1},
}
TASK = TeachingTask(n_lessons=2, n_steps=4)

SETTINGS = {"discount": 1.0, "gae_lambda": 0.9, "entropy_weight": 0.01}
"""RL²'s defaults."""


def population(components: dict[str, Any], **changes: Any) -> Population:
    content = {
        "name": "class",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["text"]},
        "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}},
        "components": components,
    }
    return Population.model_validate(content | changes)


def learner(of: Population, **config: object) -> RL2Learner:
    small = {"n_trials": 32, "hidden_size": 16, "total_steps": 100_000}
    return RL2Learner(RL2Config.model_validate(small | config), of, TASK)


# -- RL² -------------------------------------------------------------------------------------------
def test_training_with_every_component_resumes_to_the_bit():
    straight = learner(population(EVERYTHING))
    straight.update()
    saved = {k: v.clone() for k, v in straight.tensors().items()}, straight.counters()
    resumed = learner(population(EVERYTHING))
    resumed.restore(*saved)
    for _ in range(2):
        logs_straight, logs_resumed = straight.update(), resumed.update()
        assert logs_straight.pop("perf/steps_per_s") > 0
        assert logs_resumed.pop("perf/steps_per_s") > 0
        assert logs_straight == logs_resumed
        # stale signals, masks or memories would show in the first importance ratio
        assert logs_straight["train/first_ratio_error"] < 1e-5
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


def test_signals_reach_the_memory_and_are_named_in_the_export(tmp_path):
    students = population({"response_time": {}})
    run = learner(students)
    run.update()
    weights, description = run.tutor().export()
    assert description["signals"] == ["log_seconds"]
    assert description["shape"]["n_signals"] == 1
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    room = Classroom(students, TASK)
    seats = student_indices(Split.TEST, 8)
    memories = []
    for tutor, times in ((run.tutor(), 1), (load_tutor(tmp_path), 1), (run.tutor(), 0)):
        tutor.begin_trial(Trial(seats, 0, 0))
        tutor.act(room.begin_trial(seats))
        seen = room.step(torch.zeros(8, dtype=torch.int64)).observation
        tutor.act(seen._replace(signals=times * seen.signals))
        memories.append(tutor._memory["hidden"])
    assert torch.equal(memories[0], memories[1])
    assert not torch.allclose(memories[0], memories[2])


def test_a_policy_of_a_model_without_signals_is_as_before():
    run = learner(population({"lapses": {}}))
    assert run.actor.inputs.signals is None
    assert "inputs.signals.weight" not in run.tutor().export()[0]


def test_steps_after_leaving_teach_the_learner_nothing():
    run = learner(population({"dropout": {"hazard": 0.4}}))
    rollout = run._networks.roll_out(student_indices(Split.TRAIN, 32))
    present = rollout.present
    assert present is not None
    assert present[0].all()
    assert 0 < present[-1].sum() < 32
    assert (rollout.reward[~present] == 0).all()
    students = student_indices(Split.TRAIN, 32)
    before = {k: v.clone() for k, v in run.tensors().items()}
    logs = run._networks.learn(rollout, students, run._adam, **SETTINGS)
    after = {k: v.clone() for k, v in run.tensors().items()}
    run.restore(before, {"updates_done": 0})
    run._adam.state.clear()
    strange = torch.where(present, rollout.logp, -3.0)
    other = run._networks.learn(
        type(rollout)(**(vars(rollout) | {"logp": strange})), students, run._adam, **SETTINGS
    )
    assert torch.equal(logs["loss/policy"], other["loss/policy"])
    assert all(torch.equal(v, run.tensors()[k]) for k, v in after.items())


def test_losses_are_means_over_the_steps_that_count():
    there = torch.tensor([[True, False], [True, True]])
    values = torch.tensor([[1.0, 100.0], [2.0, 6.0]])
    assert mean_where(values, there).item() == 3.0
    assert mean_where(values, None).item() == pytest.approx(109 / 4)
    # ratio 1: minus the mean advantage of what counts
    loss = clipped_surrogate_loss(torch.zeros(2, 2), torch.zeros(2, 2), values, 0.2, there)
    assert loss.item() == -3.0


def test_drawn_rewards_are_paid_where_no_expectation_is_known():
    gaps = {"schedule": {"steps_per_session": 2}}
    for components, expected in ((gaps, False), ({"costs": {"practice": 0.1}}, True)):
        run = learner(population(components, student="pfa"))
        assert run._classroom.task.reward.expected is expected
        run.update()


# -- planners --------------------------------------------------------------------------------------
FINITE = {"ability": {"categorical": {"values": [-1.0, 1.0]}}}


@pytest.mark.parametrize(
    ("components", "says"),
    [
        ({"lapses": {}}, "its belief is a sample"),
        ({"costs": {"practice": 0.1}}, "its actions have costs"),
        ({"dropout": {}}, "students may leave or run out of time"),
        ({"schedule": {"budget_s": 60}}, "students may leave or run out of time"),
        ({"response_time": {}}, "it shows signals beside the response"),
    ],
)
def test_the_planner_refuses_what_it_does_not_reckon_with(components, says):
    with pytest.raises(ValueError, match=f"the exact planner cannot plan .*: {says}$"):
        ExactPlanner.of(population(components, latents=FINITE), TeachingTask(n_steps=2))


def test_the_planner_plans_with_prerequisites_as_with_a_models_own():
    own = {"n_skills": 2, "modalities": ["text"], "prerequisites": {1: [0]}, "unlock_after": 2}
    locked = {"requires": {"skill_1": ["skill_0"]}, "n_correct": 2}
    task = TeachingTask(n_steps=5)
    ours = population({"prerequisites": locked}, latents=FINITE, model=own | {"unlock_after": None})
    theirs = population({}, latents=FINITE, model=own)
    values = [
        (planner.bayes(), planner.random(), planner.oracle())
        for planner in (ExactPlanner.of(p, task) for p in (ours, theirs))
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-9)


# -- belief filters --------------------------------------------------------------------------------
def test_gains_are_less_what_actions_cost():
    free, dear = (
        population({"costs": costs}, latents=FINITE, student="pfa")
        for costs in ({}, {"practice": 0.25})
    )
    gains = []
    for students in (free, dear):
        posterior = TypePosterior(students.student_model, students.types_exact())
        posterior.begin_trial(3)
        gains.append((posterior.gains(), posterior.gains_of(torch.zeros(3, dtype=torch.int64))))
    for without, with_costs in zip(*gains, strict=True):
        torch.testing.assert_close(without - 0.25, with_costs)


# -- oracle ----------------------------------------------------------------------------------------
def test_the_oracle_estimates_the_gains_that_a_model_does_not_know(teach):
    distracted = population({"lapses": {}, "dropout": {"hazard": 0.05}})
    assert not distracted.student_model.has_expected_gain
    oracle, random = (
        teach(make_tutor(name, distracted, TASK), distracted, TASK, 500).returns.mean()
        for name in ("oracle", "random")
    )
    assert oracle > random + 0.05
