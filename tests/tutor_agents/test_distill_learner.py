"""Distillation, alone and as the warm start of RL²."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tutor_agents.distill import Behaviour, DistillConfig, DistillLearner
from tutor_agents.distill.behaviour import (
    RANDOM,
    STUDENT,
    TEACHER,
    MixedBehaviour,
    who_teaches,
)
from tutor_agents.distill.distiller import best_set_cross_entropy
from tutor_agents.distill.teacher import TIE, make_teacher
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import roll_out
from tutor_agents.exported import load_tutor
from tutor_agents.planner import ExactPlanner
from tutor_agents.planning.plan_table import PlanStep
from tutor_agents.rl2 import RL2Config, RL2Learner
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

SMALL = {"n_trials": 32, "hidden_size": 16, "total_steps": 1000}
TASK = TeachingTask(n_lessons=2, n_steps=3)


def bkt(unlock_after: int | None = None, weights: tuple[float, float] = (0.3, 0.7)) -> Population:
    """Two skills, of which one needs the other, by two modalities; two types of students."""
    return Population.model_validate(
        {
            "name": "bkt",
            "student": "bkt",
            "model": {
                "n_skills": 2,
                "modalities": ["a", "b"],
                "prerequisites": {1: [0]},
                "weights": list(weights),
                "unlock_after": unlock_after,
            },
            "types": {
                "one": {
                    "weight": 2,
                    "latents": {"p_learn": [[0.7, 0.2], [0.6, 0.3]], "p_slip": 0.1},
                },
                "other": {
                    "weight": 1,
                    "latents": {"p_learn": [[0.1, 0.5], [0.2, 0.9]], "p_guess": 0.3},
                },
            },
        }
    )


def distilled(
    population: Population | None = None, task: TeachingTask = TASK, seed: int = 0, **config: Any
) -> DistillLearner:
    return DistillLearner(DistillConfig(**(SMALL | config)), population or bkt(), task, seed=seed)


def warm_started(seed: int = 0, **config: Any) -> RL2Learner:
    """Two updates of distillation, then three of PPO."""
    settings = {
        "n_trials": 32,
        "hidden_size": 16,
        "total_steps": 3 * 32 * 6,
        "warm_start": {"total_steps": 2 * 32 * 6},
    }
    return RL2Learner(RL2Config(**(settings | config)), bkt(), TASK, seed=seed)


def value_of(tutor: Tutor, planner: ExactPlanner) -> float:
    """Exact return of a tutor that draws nothing: it is asked after every possible history."""
    model, task = planner.model, planner.task
    n_responses, n_steps = model.n_responses, task.n_trial_steps
    history = torch.arange(n_responses ** (n_steps - 1))
    tutor.begin_trial(Trial(history, 0, 0))
    action = torch.full_like(history, model.n_actions)
    response = torch.full_like(history, n_responses)
    plan = []
    for t in range(n_steps):
        lesson, step = divmod(t, task.n_steps)
        action = tutor.act(Observation(action, response, None, None, step, lesson))
        repeated = n_responses ** (n_steps - 1 - t)  # histories that are alike until now
        here = action[::repeated]
        child = torch.arange(len(here) * n_responses).view(-1, n_responses)
        plan.append(PlanStep(here, child if t + 1 < n_steps else torch.zeros_like(child)))
        response = history // (repeated // n_responses or 1) % n_responses
    return planner.taught_by(plan)


# -- the loss --------------------------------------------------------------------------------------
def test_cross_entropy_to_one_best_action_and_its_gradient() -> None:
    logits = torch.tensor([[[0.0, math.log(2.0), math.log(5.0)]]], requires_grad=True)
    losses = torch.tensor([[[0.3, 0.0, 0.1]]])
    loss = best_set_cross_entropy(torch.log_softmax(logits, -1), losses)
    loss.backward()  # type: ignore[no-untyped-call]
    # Probabilities 1/8, 2/8, 5/8; the best action is the second.
    assert loss.item() == pytest.approx(math.log(4.0))
    assert logits.grad is not None
    assert logits.grad[0, 0].tolist() == pytest.approx([1 / 8, 2 / 8 - 1, 5 / 8])


def test_equally_good_actions_are_not_punished() -> None:
    logits = torch.tensor([[[0.0, math.log(2.0), math.log(5.0)]]], requires_grad=True)
    losses = torch.tensor([[[0.0, 0.5, TIE / 2]]])
    loss = best_set_cross_entropy(torch.log_softmax(logits, -1), losses)
    loss.backward()  # type: ignore[no-untyped-call]
    # The set holds 1/8 + 5/8; within it the policy keeps its shares 1/6 and 5/6.
    assert loss.item() == pytest.approx(-math.log(6 / 8))
    assert logits.grad is not None
    expected = [1 / 8 - 1 / 6, 2 / 8, 5 / 8 - 5 / 6]
    assert logits.grad[0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    # Where all are as good there is nothing to learn.
    indifferent = best_set_cross_entropy(torch.log_softmax(logits, -1), torch.zeros_like(losses))
    (gradient,) = torch.autograd.grad(indifferent, logits)
    assert gradient.abs().max() < 1e-6


def test_the_loss_leaves_out_who_has_left() -> None:
    log_probabilities = torch.log_softmax(torch.randn(4, 3, 2, generator=seeded(0)), -1)
    losses = torch.rand(4, 3, 2, generator=seeded(1))
    losses[..., 0] = 0
    there = torch.ones(4, 3, dtype=torch.bool)
    there[2:, 1] = False
    masked = best_set_cross_entropy(log_probabilities, losses, there)
    assert masked == pytest.approx(-log_probabilities[..., 0][there].mean().item(), rel=1e-6)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- behaviour -------------------------------------------------------------------------------------
def test_behaviour_is_mixed_by_its_shares() -> None:
    students = student_indices(Split.TRAIN, 20_000)
    who = who_teaches(0, students, Behaviour(student=0.5, teacher=0.3, random=0.2))
    shares = [(who == kind).double().mean().item() for kind in (STUDENT, TEACHER, RANDOM)]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.02)  # > 5 standard errors
    alone = who_teaches(0, students, Behaviour(student=0, teacher=0, random=1))
    assert (alone == RANDOM).all()


def test_each_trial_is_taught_by_the_one_who_was_drawn() -> None:
    population, n = bkt(unlock_after=1), 3000
    run = distilled(population, hidden_size=8)
    with torch.no_grad():  # a policy that always begins with action 1
        run.actor.head[-1].bias[1] = 50.0  # type: ignore[union-attr, operator]
    room, students = Classroom(population, TASK), student_indices(Split.TRAIN, n)
    who = torch.arange(n) % 3
    teacher = make_teacher("bayes", room, TASK)
    behaviour = MixedBehaviour(run.actor, teacher, who, students)
    rollout = roll_out(room, behaviour, students, Privileged(room), with_features=False)
    lost = behaviour.losses.gather(-1, rollout.action.unsqueeze(-1)).squeeze(-1)
    assert torch.isfinite(lost).all()  # nobody does what is illegal
    assert (rollout.action[:, who == STUDENT] == 1).all()
    assert (lost[:, who == TEACHER] < TIE).all()
    first = rollout.action[0, who == RANDOM].bincount(minlength=4) / (n / 3)
    assert first.tolist() == pytest.approx([0.5, 0.5, 0, 0], abs=0.08)  # the second skill is locked
    assert (lost[:, who == RANDOM] > 0.01).any()


def test_labels_do_not_depend_on_who_teaches() -> None:
    """The same actions and answers, the same labels: checked by teaching with one policy."""
    room, students = Classroom(bkt(), TASK), student_indices(Split.TRAIN, 50)
    run = distilled(hidden_size=8)
    teacher = make_teacher("bayes", room, TASK)
    who = torch.full((50,), STUDENT)
    behaviour = MixedBehaviour(run.actor, teacher, who, students)
    rollout = roll_out(room, behaviour, students, Privileged(room), with_features=False)
    teacher.begin_trial(students)
    observation = room.begin_trial(students)
    for t in range(TASK.n_trial_steps):
        torch.testing.assert_close(teacher.losses(observation), behaviour.losses[t])
        observation = room.step(rollout.action[t]).observation
        teacher.observe(rollout.action[t], observation)


# -- the learner -----------------------------------------------------------------------------------
@pytest.mark.parametrize("teacher", ["bayes", "oracle", "myopic", "thompson"])
def test_every_teacher_can_be_distilled(teacher: str) -> None:
    run = distilled(teacher=teacher, n_trials=256, total_steps=256 * 6 * 20)
    logs = [run.update() for _ in range(run.n_updates)]
    assert run.n_updates == 20
    loss = torch.tensor([log["loss/distillation"] for log in logs])
    assert loss[-5:].mean() < loss[:5].mean()  # of one minibatch each, so noisy
    assert ("perf/planning_s" in logs[0]) == (teacher == "bayes")


def test_what_the_students_actions_lose_is_what_its_return_lacks() -> None:
    population = bkt()
    run = distilled(population, n_trials=4096, behaviour={"student": 1, "teacher": 0, "random": 0})
    logs = run.update()
    best = ExactPlanner.of(population, TASK).bayes()
    assert logs["train/lost_score"] > 0.1
    assert best - logs["train/lost_score"] == pytest.approx(logs["train/return"], abs=0.04)


def test_same_seed_same_run_other_seed_another_and_no_global_luck() -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        run = distilled(seed=seed)
        run.update()
        run.update()
        return {k: v.clone() for k, v in run.tensors().items()}

    torch.manual_seed(1)
    one, after = weights(0), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    same, other = weights(0), weights(1)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def without_clocks(logs: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in logs.items() if not name.startswith("perf/")}


def test_a_restored_distillation_equals_the_straight_one_to_the_bit() -> None:
    straight = distilled()
    straight.update()
    saved = {k: v.clone() for k, v in straight.tensors().items()}, straight.counters()
    resumed = distilled()
    resumed.restore(*saved)
    for _ in range(2):
        assert without_clocks(straight.update()) == without_clocks(resumed.update())
    # 4 epochs of 4 minibatches in each of 3 updates
    assert straight.counters() == {"updates_done": 3, "optimizer_steps": 48} == resumed.counters()
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


def test_a_tutor_sees_observable_signals_only() -> None:
    """Other students, other truth: with the same observations, the same actions."""
    run = distilled()
    run.update()
    tutor, n = run.tutor(), 16

    def actions(students: torch.Tensor) -> list[torch.Tensor]:
        tutor.begin_trial(Trial(students, 0, 0))
        observation = Observation(torch.full((n,), 4), torch.full((n,), 2), None, None, 0, 0)
        taken = []
        for step in range(3):
            taken.append(tutor.act(observation))
            tutor.observe(taken[-1], observation)
            right = torch.arange(n) % 2
            observation = Observation(taken[-1], right, None, None, step, 0)
        return taken

    students = student_indices(Split.TEST, n)
    for one, other in zip(actions(students), actions(students + 1000), strict=True):
        assert torch.equal(one, other)


def test_an_exported_tutor_teaches_as_the_original(tmp_path: Path) -> None:
    run = distilled()
    run.update()
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    planner = ExactPlanner.of(bkt(), TASK)
    assert description["kind"] == "memory"
    assert value_of(load_tutor(tmp_path), planner) == value_of(run.tutor(), planner)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_trials": 30}, "`n_trials` must be a multiple of `minibatches`, got 30 and 4"),
        ({"behaviour": {"student": 0.9}}, "`behaviour` must have shares that sum to 1, got 1.1"),
        ({"teacher": "plato"}, "teacher"),
    ],
)
def test_mistakes_in_a_configuration_are_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillConfig(**config)


# -- the warm start --------------------------------------------------------------------------------
def test_a_warm_start_has_two_phases_in_one_run() -> None:
    run = warm_started()
    logs = [run.update() for _ in range(run.n_updates)]
    assert [log["train/is_ppo"] for log in logs] == [0, 0, 1, 1, 1]
    assert ["loss/distillation" in log for log in logs] == [True, True, False, False, False]
    # Annealed to zero within each phase; PPO at a tenth of its own rate.
    rates = [log["train/learning_rate"] for log in logs]
    assert rates == pytest.approx([3e-3, 1.5e-3, 2e-4, 2e-4 * 2 / 3, 2e-4 / 3])
    assert all(log["train/first_ratio_error"] < 1e-5 for log in logs[2:])
    # 5 updates of 4 epochs with 4 minibatches in each, of which 2 distil
    assert run.counters() == {"updates_done": 5, "optimizer_steps": 80}


@pytest.mark.parametrize("saved_after", [1, 2, 3])
def test_a_warm_started_run_is_restored_to_the_bit_in_either_phase(saved_after: int) -> None:
    straight = warm_started()
    for _ in range(saved_after):
        straight.update()
    saved = {k: v.clone() for k, v in straight.tensors().items()}, straight.counters()
    resumed = warm_started()
    resumed.restore(*saved)
    while straight.updates_done < straight.n_updates:
        assert without_clocks(straight.update()) == without_clocks(resumed.update())
    assert straight.counters() == resumed.counters()
    assert straight.tensors().keys() == resumed.tensors().keys()
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


def test_without_a_warm_start_nothing_of_it_is_seen() -> None:
    run = warm_started(warm_start=None)
    logs = run.update()
    assert run.n_updates == 3
    assert not {"train/is_ppo", "loss/distillation"} & logs.keys()
    assert logs["train/learning_rate"] == 2e-3
    assert run.counters() == {"updates_done": 1, "optimizer_steps": 16}


@pytest.mark.parametrize("critic", ["privileged", "shared"])
def test_the_critic_is_trained_while_the_teacher_is_distilled(critic: str) -> None:
    cold = warm_started(warm_start=None, critic=critic).update()["train/explained_variance"]
    run = warm_started(
        warm_start={"total_steps": 32 * 6 * 30, "learning_rate": 1e-2}, critic=critic
    )
    for _ in range(30):
        run.update()
    warm = run.update()["train/explained_variance"]  # of PPO's first update, before it learns
    assert warm > max(0.1, cold + 0.1), (warm, cold)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_trials": 36, "minibatches": 6}, "multiple of `warm_start.minibatches`, got 36 and 8"),
        ({"warm_start": {"behaviour": {"student": 0, "teacher": 1, "random": 0}}}, "must be > 0"),
    ],
)
def test_mistakes_in_a_warm_start_are_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RL2Config(**({"warm_start": {"minibatches": 8}} | config))


# -- learning --------------------------------------------------------------------------------------
@pytest.mark.slow
def test_distillation_reaches_the_optimum_and_ppo_keeps_it() -> None:
    population, task = bkt(), TeachingTask(n_steps=6)
    planner = ExactPlanner.of(population, task)
    best, random = planner.bayes(), planner.random()
    size: dict[str, Any] = {"n_trials": 256, "hidden_size": 32}
    start = {"total_steps": 150_000}
    run = distilled(population, task, **size, **start)
    for _ in range(run.n_updates):
        run.update()
    reached = (value_of(run.tutor(), planner) - random) / (best - random)
    assert reached > 0.99
    both = RL2Learner(
        RL2Config(**size, total_steps=50_000, warm_start=start), population, task, seed=0
    )
    fractions = []
    while both.updates_done < both.n_updates:
        both.update()
        if both.updates_done >= run.n_updates:
            fractions.append((value_of(both.tutor(), planner) - random) / (best - random))
    assert min(fractions) > 0.985
    assert fractions[-1] > reached - 0.003


@pytest.mark.slow
def test_a_clairvoyant_teacher_makes_a_tutor_that_finds_out() -> None:
    """Labels by the truth, a policy that cannot see it: it learns what is best on average."""
    population, task = bkt(), TeachingTask(n_steps=6)
    planner = ExactPlanner.of(population, task)
    run = distilled(population, task, teacher="oracle", n_trials=256, total_steps=150_000)
    for _ in range(run.n_updates):
        run.update()
    reached = value_of(run.tutor(), planner)
    assert planner.random() + 0.5 * (planner.bayes() - planner.random()) < reached
    assert reached <= planner.bayes() + 1e-9
