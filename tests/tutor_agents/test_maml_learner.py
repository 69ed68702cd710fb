"""The learner and the tutor of the gradient family: traps of meta-RL, and learning itself."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from small_students import locked_bkt
from tutor_agents.exported import load_tutor
from tutor_agents.maml import (
    CAVIAConfig,
    EMAMLConfig,
    FinetuneConfig,
    FOMAMLConfig,
    GradientConfig,
    MAMLConfig,
    MAMLLearner,
    MAMLTutor,
    MetaSGDConfig,
    ProMPConfig,
    ReptileConfig,
)
from tutor_agents.maml.lesson import lessons_of
from tutor_agents.maml.objective import replay
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.evaluation import Evaluation, evaluate

PRESETS: dict[str, type[GradientConfig]] = {
    "maml": MAMLConfig,
    "emaml": EMAMLConfig,
    "promp": ProMPConfig,
    "meta_sgd": MetaSGDConfig,
    "cavia": CAVIAConfig,
    "fomaml": FOMAMLConfig,
    "reptile": ReptileConfig,
    "finetune": FinetuneConfig,
}
SMALL = {
    "n_trials": 16,
    "hidden_size": 8,
    "total_steps": 10_000,
    "epochs": 2,
    "minibatches": 2,
}
TASK = TeachingTask(n_lessons=3, n_steps=4)


def bandit(n_types: int = 4, n_units: int = 10) -> Population:
    """Modality i is best for type i: right for 7 in 10 instead of 3 in 10."""
    types = {
        f"type_{i}": {
            "weight": 1,
            "latents": {
                "p_event": (0.7 + 0.3 * (n_types - 1)) / n_types,
                "responsiveness": [
                    (0.7 if j == i else 0.3) / (0.7 + 0.3 * (n_types - 1)) for j in range(n_types)
                ],
                "style_strength": 1.0,
                "p_slip": 0.1,
                "p_guess": 0.2,
            },
        }
        for i in range(n_types)
    }
    modalities = [f"m{i}" for i in range(n_types)]
    return Population.model_validate(
        {
            "name": "bandit",
            "student": "style_bandit",
            "model": {"modalities": modalities, "n_units": n_units},
            "types": types,
        }
    )


def leavers() -> Population:
    """Some leave, and their response times are seen."""
    return locked_bkt(dropout={"hazard": 0.2}, response_time={})


def learner(
    preset: str = "promp",
    population: Population | None = None,
    task: TeachingTask = TASK,
    seed: int = 0,
    **config: object,
) -> MAMLLearner:
    kind = PRESETS[preset]
    small = {name: value for name, value in SMALL.items() if name not in kind.no_part}
    settings = kind.model_validate(small | config)
    return MAMLLearner(settings, population or locked_bkt(), task, seed=seed)


def tensors_after(run: MAMLLearner, n_updates: int) -> dict[str, torch.Tensor]:
    for _ in range(n_updates):
        run.update()
    return {name: value.clone() for name, value in run.tensors().items()}


# -- configuration ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("preset", "changes", "says"),
    [
        ("reptile", {"inner_signal": "learned"}, "`inner_signal` must be 'score' or 'answers'"),
        ("finetune", {"inner_signal": "learned"}, "`inner_signal` must be 'score' or 'answers'"),
        ("reptile", {"clip": 0.1}, "`clip` plays no part in `reptile`"),
        ("reptile", {"beta": 2.0}, "`beta` plays no part in `reptile`"),
        ("finetune", {"dice_lambda": 1.0}, "`dice_lambda` plays no part in `finetune`"),
        (
            "maml",
            {"dice_lambda": 1.0},
            "`dice_lambda` plays no part where `inner_surrogate` is 'sc",
        ),
        ("maml", {"beta": 0.0}, "greater than 0"),
        ("cavia", {"context_size": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_without_effect_are_refused(preset, changes, says):
    with pytest.raises(ValueError, match=says):
        PRESETS[preset].model_validate(changes)


@pytest.mark.parametrize(
    ("changes", "task", "says"),
    [
        ({}, {"n_lessons": 1}, "`task.n_lessons` must be >= 2 for `promp`"),
        ({"adapt_lessons": 3}, {"n_lessons": 3}, "`adapt_lessons` must be < `task.n_lessons`"),
        ({"inner_signal": "score"}, {"n_lessons": 2}, "set `task.show_score`"),
    ],
)
def test_a_task_that_does_not_suit_is_refused(changes, task, says):
    with pytest.raises(ValueError, match=says):
        learner(task=TeachingTask(n_steps=3, **task), **changes)


def test_beta_may_be_infinite_and_survives_writing():
    config = MAMLConfig(beta=float("inf"))
    assert MAMLConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_every_setting_says_what_it_is(preset):
    for name, field in PRESETS[preset].model_fields.items():
        inherited = name in {"algorithm", "value_weight", "max_grad_norm"}
        assert inherited or field.description, name


# -- training --------------------------------------------------------------------------------------
VARIANTS: list[dict[str, Any]] = [
    *({"preset": preset} for preset in PRESETS if preset != "reptile"),
    {"preset": "promp", "population": leavers(), "adapt_lessons": 1},
    {"preset": "promp", "inner_signal": "answers", "critic": "shared", "beta": float("inf")},
    {
        "preset": "maml",
        "inner_signal": "score",
        "task": TASK.model_copy(update={"show_score": True}),
        "population": leavers(),
    },
    {"preset": "maml", "outer": "trpo"},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_importance_ratio_of_the_first_minibatch_is_one(variant):
    """What the session did step by step, the replay does at once: signals, masks, adaptation."""
    run = learner(**variant)
    for _ in range(2):
        assert run.update()["train/first_ratio_error"] < 1e-5


@pytest.mark.parametrize("preset", PRESETS)
def test_restored_run_equals_the_straight_one_to_the_bit(preset):
    straight = learner(preset)
    saved = tensors_after(straight, 2), straight.counters()
    resumed = learner(preset)
    resumed.restore(*saved)
    logs = [run.update() for run in (straight, resumed)]
    for log in logs:
        log.pop("perf/steps_per_s")
    assert logs[0] == logs[1]
    assert straight.counters() == {"updates_done": 3} == resumed.counters()
    ours, theirs = straight.tensors(), resumed.tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_checkpoint_of_another_network_is_refused():
    tensors = learner(hidden_size=4).tensors()
    with pytest.raises(ValueError, match="another network"):
        learner().restore(tensors, {"updates_done": 0})


def test_same_seed_same_run_other_seed_another_and_no_global_randomness():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = tensors_after(learner(), 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = tensors_after(learner(), 2), tensors_after(learner(seed=1), 2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_actions_are_always_legal():
    run = learner(population=leavers())
    rollout = run._roll_out(student_indices(Split.TRAIN, 64))
    assert rollout.legal is not None
    assert rollout.present is not None
    assert not rollout.legal.all()
    assert not rollout.present.all()
    assert rollout.legal.gather(-1, rollout.action.unsqueeze(-1)).all()


def test_who_has_left_moves_no_weight_of_the_critic_or_the_policy():
    """Other rewards and answers after leaving: the same losses."""
    run = learner(population=leavers())
    rollout = run._roll_out(student_indices(Split.TRAIN, 16))
    present = rollout.present
    assert present is not None
    students = student_indices(Split.TRAIN, 16)
    changed = {
        "reward": torch.where(present, rollout.reward, 5.0),
        "logp": torch.where(present, rollout.logp, 0.1),
    }
    run._learn(rollout, students, 0.0)
    again = learner(population=leavers())
    again._learn(type(rollout)(**(vars(rollout) | changed)), students, 0.0)
    for name, value in run.tensors().items():
        torch.testing.assert_close(again.tensors()[name], value, rtol=0, atol=1e-6)


def test_lessons_before_and_after_adaptation_share_no_memory():
    run = learner(task=TASK.model_copy(update={"show_score": True}))
    rollout = run._roll_out(student_indices(Split.TRAIN, 16))
    lessons = lessons_of(rollout, 4, run.networks.shape.n_actions)
    before = [lesson.action.clone() for lesson in lessons[1:]]
    lessons[0].action.add_(1)
    assert all(torch.equal(a, b.action) for a, b in zip(before, lessons[1:], strict=True))
    weights = run.networks.begin(4)
    kept = {name: value.clone() for name, value in weights.items()}
    small = run._roll_out(student_indices(Split.TRAIN, 4))
    run.networks.adapt(weights, lessons_of(small, 4, run.networks.shape.n_actions)[0])
    assert all(torch.equal(weights[name], kept[name]) for name in kept)


def test_reptile_moves_the_weights_towards_where_adaptation_led():
    run = learner("reptile", max_grad_norm=1e9)
    rollout = run._roll_out(student_indices(Split.TRAIN, 16))
    start = {k: v.detach().clone() for k, v in run.networks.policy.named_parameters()}
    with torch.no_grad():
        led = replay(run.networks, rollout, first_order=True).weights
    run._follow_adaptation(rollout)
    for name, value in run.networks.policy.named_parameters():
        there = led[name].mean(0) - start[name]
        moved = value.detach() - start[name]
        clear = there.abs() > 1e-4  # Adam's first step is the sign of the gradient
        assert torch.equal(moved[clear].sign(), there[clear].sign())


def test_the_penalty_follows_the_divergence():
    run = learner(kl_weight=1.0, kl_target=1e9)
    assert run.update()["train/kl_weight"] == 0.5
    run = learner(kl_weight=1.0, kl_target=1e-12)
    assert run.update()["train/kl_weight"] == 2.0
    assert learner(kl_weight=0.0).update()["train/kl_weight"] == 0.0


def test_a_trust_region_step_keeps_within_its_bound():
    run = learner("maml", bandit(2), outer="trpo", trust_region=0.02)
    logs = run.update()
    assert 0 < logs["train/kl_adapted"] <= 0.02
    assert logs["train/step_share"] > 0


# -- the tutor -------------------------------------------------------------------------------------
def scores(tutor: Tutor, population: Population, task: TeachingTask, n: int = 500) -> Evaluation:
    return evaluate(tutor, population, task, n_students=n, seed=1)


@pytest.mark.parametrize("preset", ["promp", "cavia", "meta_sgd"])
@pytest.mark.parametrize("population", [bandit(2), leavers()])
def test_the_deployed_tutor_adapts_exactly_as_training_does(preset, population):
    run = learner(preset, population)
    run.update()
    students = student_indices(Split.TRAIN, 16)
    rollout = run._roll_out(students)
    with torch.no_grad():
        wanted = replay(run.networks, rollout, first_order=False).weights
    room, tutor = Classroom(population, TASK, seed=0), run.tutor()
    tutor.begin_trial(Trial(students, 0, 0))
    observation = room.begin_trial(students)
    for action in rollout.action:  # taught as in training
        tutor.act(observation)
        observation = room.step(action).observation
        tutor.observe(action, observation)
    for name, value in tutor._session.weights.items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("preset", ["promp", "finetune"])
def test_a_tutor_sees_observable_signals_only(preset):
    """Other truth, same observations: same actions; greedy, whatever index and seed too."""
    tutor = learner(preset, bandit(2), inner_learning_rate=50.0).tutor()
    students = student_indices(Split.TEST, 16)
    room = Classroom(bandit(2), TASK, seed=5)
    observations = [room.begin_trial(students)]
    actions = torch.arange(16) % 2
    for _ in range(TASK.n_trial_steps):
        observations.append(room.step(actions).observation)

    def taught(of: torch.Tensor, seed: int) -> torch.Tensor:
        tutor.begin_trial(Trial(of, seed, 0))
        chosen = []
        for before, after in itertools.pairwise(observations):
            chosen.append(tutor.act(before))
            tutor.observe(actions, after)
        return torch.stack(chosen)

    one = taught(students, 0)
    other = taught(students + 1000, 7)
    if preset == "promp":  # draws its actions in the first two lessons, by index and seed
        assert not torch.equal(one[:8], other[:8])
        assert torch.equal(one[8:], other[8:])
    else:
        assert torch.equal(one, other)
        assert len(one[0].unique()) == 1  # at first all students look alike
    assert torch.equal(one, taught(students, 0))  # nothing is kept from trial to trial
    assert not (one[8:] == one[8:, :1]).all()  # but later they have tutors of their own


def test_a_student_is_taught_the_same_whoever_else_is_in_the_batch():
    population = bandit(2)
    tutor = learner("promp", population, inner_learning_rate=50.0).tutor()
    together = evaluate(tutor, population, TASK, n_students=60, seed=1)
    apart = evaluate(tutor, population, TASK, n_students=60, seed=1, batch_students=7)
    assert (together.actions == apart.actions).mean() > 0.999


def test_without_adaptation_every_lesson_is_taught_with_the_first_weights():
    population = bandit(2)
    run = learner("finetune", population, inner_learning_rate=50.0)
    fixed = MAMLTutor(run.networks, "finetune", adapts=False)
    assert (run.tutor().name, fixed.name) == ("finetune", "finetune_unadapted")
    a, b = scores(run.tutor(), population, TASK), scores(fixed, population, TASK)
    assert np.array_equal(a.actions[0], b.actions[0])  # the first lesson is the same
    assert not np.array_equal(a.actions[1:], b.actions[1:])
    assert (b.actions[:, 0] == b.actions[0, 0, 0]).all()  # every lesson begins alike


@pytest.mark.parametrize("preset", ["promp", "cavia", "meta_sgd", "finetune"])
def test_an_exported_tutor_teaches_as_the_original(tmp_path, preset):
    population = bandit(2)
    run = learner(preset, population, inner_learning_rate=50.0)
    run.update()
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    loaded = load_tutor(tmp_path)
    ours, theirs = (scores(tutor, population, TASK) for tutor in (run.tutor(), loaded))
    assert loaded.name == preset
    assert np.array_equal(ours.actions, theirs.actions)
    description["shape"]["hidden_size"] = 99
    (tmp_path / "policy.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="do not fit"):
        load_tutor(tmp_path)


# -- learning --------------------------------------------------------------------------------------
def gain(run: MAMLLearner, population: Population, task: TeachingTask) -> tuple[float, float]:
    """Post-adaptation minus pre-adaptation per later lesson, paired: mean and 95 % half-width."""
    tutors = run.tutor(), MAMLTutor(run.networks, "same", adapts=False)
    after, before = (scores(tutor, population, task, 3000).scores[:, 1:] for tutor in tutors)
    difference = (after - before).mean(1)
    return float(difference.mean()), float(1.96 * difference.std(ddof=1) / len(difference) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "at_least", "changes"),
    [
        ("maml", 0.4, {}),
        ("promp", 0.4, {}),
        ("meta_sgd", 0.4, {}),
        ("fomaml", 0.4, {}),
        ("finetune", 0.4, {}),
        ("cavia", 0.1, {}),
        ("maml", 0.4, {"inner_signal": "answers", "inner_learning_rate": 3.0}),
        ("maml", 0.2, {"outer": "trpo", "trust_region": 0.05}),
    ],
)
def test_adaptation_helps(preset, at_least, changes):
    """Four types, 6 lessons of 10: the best fixed sequence gets 4 of 10, who knows the type 7."""
    population, task = bandit(), TeachingTask(n_lessons=6, n_steps=10, reward=Reward(scale=10))
    settings = {"total_steps": 60_000, "gae_lambda": 0.3, "n_trials": 128} | changes
    run = MAMLLearner(PRESETS[preset].model_validate(settings), population, task)
    for _ in range(run.n_updates):
        run.update()
    mean, half_width = gain(run, population, task)
    assert mean - half_width > at_least
