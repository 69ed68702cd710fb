"""The RL² learner: the traps of recurrent meta-RL, each as a test, and learning itself."""

from __future__ import annotations

import pytest
import torch

from small_students import bandit, locked_bkt, score
from tutor_agents.engine.memory_tutor import MemoryTutor
from tutor_agents.engine.networks import Actor, ActorShape, Inputs
from tutor_agents.exported import load_tutor
from tutor_agents.rl2 import RL2Config, RL2Learner
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.executors import executing
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask

SMALL = {"n_trials": 32, "hidden_size": 16, "total_steps": 100_000}


def learner(
    population: Population, task: TeachingTask, seed: int = 0, **config: object
) -> RL2Learner:
    return RL2Learner(RL2Config(**(SMALL | config)), population, task, seed=seed)


@pytest.mark.parametrize("critic", ["privileged", "shared"])
@pytest.mark.parametrize("population", [bandit([[0.8, 0.2], [0.2, 0.8]]), locked_bkt()])
@pytest.mark.parametrize("show_score", [False, True])
def test_the_importance_ratio_of_the_first_minibatch_is_one(population, critic, show_score):
    task = TeachingTask(n_lessons=2, n_steps=4, show_score=show_score)
    run = learner(population, task, critic=critic)
    for _ in range(3):
        assert run.update()["train/first_ratio_error"] < 1e-5


@pytest.mark.slow
# torch's own compiler imports a module that torch deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_students_that_are_compiled_teach_the_learner_the_same():
    population, task = bandit([[0.8, 0.2], [0.2, 0.8]]), TeachingTask(n_lessons=2, n_steps=4)
    plain = learner(population, task)
    with executing("compile"):
        fast = learner(population, task)
    for _ in range(3):
        ours, theirs = plain.update(), fast.update()
        assert ours["train/return"] == pytest.approx(theirs["train/return"], rel=1e-5)
    for name, weights in plain.tensors().items():
        torch.testing.assert_close(fast.tensors()[name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_last_transition_of_a_lesson_reaches_the_memory():
    """Two lessons of one action: only the first lesson's last answer tells the right modality."""
    population, task = (
        bandit([[1.0, 0.0], [0.0, 1.0]], n_units=1),
        TeachingTask(n_lessons=2, n_steps=1),
    )
    run = learner(population, task, n_trials=128, learning_rate=1e-2, total_steps=128 * 2 * 40)
    for _ in range(run.n_updates):
        run.update()
    # First lesson 1/2 whatever one does; second lesson 1. A tutor that missed it gets 1/2 + 1/2.
    assert score(run.tutor(), population, task) == pytest.approx(1.5, abs=0.03)


def test_memory_is_reset_at_a_trial_start_and_only_there():
    population, task = bandit([[0.8, 0.2], [0.2, 0.8]]), TeachingTask(n_lessons=2, n_steps=3)
    tutor = learner(population, task).tutor()
    actor = tutor.actor
    room, students = Classroom(population, task, seed=3), student_indices(Split.TEST, 8)
    observations = [room.begin_trial(students)]
    actions = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    observations += [room.step(actions).observation for _ in range(5)]

    def teach(first: Observation) -> torch.Tensor:
        tutor.begin_trial(Trial(students, 3, 0))
        for observation in [first, *observations[1:]]:
            tutor.act(observation)
        return tutor._memory["hidden"].clone()

    straight = teach(observations[0])
    tutor.act(observations[2])  # leave something behind in the memory
    torch.testing.assert_close(teach(observations[0]), straight, rtol=0, atol=0)
    # And a different first observation is still felt after the lesson boundary.
    other = observations[0]._replace(action=actions, response=torch.ones_like(actions))
    assert (teach(other) - straight).abs().max() > 1e-6
    # The whole trial at once gives the memory that acting step by step gave.
    tokens = torch.stack([actor.encode(o).token for o in observations])
    at_once, _ = actor.sequence(Inputs(tokens, None, None))
    torch.testing.assert_close(at_once[-1], straight, rtol=0, atol=1e-6)


def test_a_tutor_sees_observable_signals_only():
    """Other latents, other luck, other truth: with the same observations, the same actions."""
    task = TeachingTask(n_lessons=2, n_steps=3)
    tutor = learner(bandit([[0.8, 0.2], [0.2, 0.8]]), task).tutor()
    students = student_indices(Split.TEST, 16)
    room = Classroom(bandit([[0.9, 0.1], [0.5, 0.5]]), task, seed=5)
    observations = [room.begin_trial(students)]
    for _ in range(5):
        observations.append(room.step(torch.zeros(16, dtype=torch.int64)).observation)

    def actions(of: torch.Tensor) -> list[torch.Tensor]:
        tutor.begin_trial(Trial(of, 0, 0))
        return [tutor.act(observation) for observation in observations]

    for one, other in zip(actions(students), actions(students + 1000), strict=True):
        assert torch.equal(one, other)
    # At the first observation all students look alike.
    assert len(actions(students)[0].unique()) == 1


@pytest.mark.slow
def test_value_targets_use_raw_advantages_and_scale_with_the_reward():
    """Normalised advantages in the targets would pull every value to zero mean, unit spread."""
    population = bandit([[0.6, 0.4], [0.4, 0.6]], n_units=4)
    task = TeachingTask(n_steps=4, reward=Reward(scale=100.0))
    run = learner(population, task, n_trials=128, learning_rate=1e-2, total_steps=4 * 128 * 60)
    for _ in range(run.n_updates):
        logs = run.update()
    # Value at the start ~ 100 * (share of units learned ~ 0.5): the critic has found that scale.
    students = student_indices(Split.TRAIN, 128)
    rollout = run._networks.roll_out(students)
    with torch.no_grad():
        value = run._networks.critic(run.actor.sequence(rollout.inputs)[0], rollout.features)[0]
        value = value.mean().item()
    assert value == pytest.approx(rollout.reward.sum(0).mean().item(), rel=0.2)
    assert logs["train/explained_variance"] > 0.5


def test_same_seed_same_run_and_other_seed_another():
    population, task = locked_bkt(), TeachingTask(n_steps=5)

    def weights(seed: int) -> dict[str, torch.Tensor]:
        run = learner(population, task, seed=seed)
        for _ in range(3):
            run.update()
        return {k: v.clone() for k, v in run.tensors().items()}

    one, same, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_global_random_state_is_neither_used_nor_touched():
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    torch.manual_seed(1)
    one = learner(population, task)
    one.update()
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(2)
    two = learner(population, task)
    two.update()
    assert all(torch.equal(v, two.tensors()[k]) for k, v in one.tensors().items())


def test_restored_run_equals_the_straight_one_to_the_bit():
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    straight = learner(population, task)
    for _ in range(2):
        straight.update()
    saved = {k: v.clone() for k, v in straight.tensors().items()}, straight.counters()
    resumed = learner(population, task)
    resumed.restore(*saved)
    for _ in range(3):
        logs_straight, logs_resumed = straight.update(), resumed.update()
        logs_straight.pop("perf/steps_per_s"), logs_resumed.pop("perf/steps_per_s")
        assert logs_straight == logs_resumed
    # 4 epochs of 4 minibatches in each of 5 updates
    assert straight.counters() == {"updates_done": 5, "optimizer_steps": 80} == resumed.counters()
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


def test_a_checkpoint_of_another_network_is_refused():
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    tensors = learner(population, task, hidden_size=8).tensors()
    with pytest.raises(ValueError, match="another network"):
        learner(population, task).restore(tensors, {"updates_done": 0})


def test_actions_are_always_legal():
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    run = learner(population, task)
    rollout = run._networks.roll_out(student_indices(Split.TRAIN, 32))
    assert rollout.legal is not None
    assert not rollout.legal.all()
    assert rollout.legal.gather(-1, rollout.action.unsqueeze(-1)).all()


def test_an_exported_tutor_teaches_as_the_original(tmp_path):
    from safetensors.torch import save_file

    population, task = locked_bkt(), TeachingTask(n_steps=5)
    run = learner(population, task)
    run.update()
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    import json

    (tmp_path / "policy.json").write_text(json.dumps(description))
    loaded = load_tutor(tmp_path)
    assert score(loaded, population, task) == score(run.tutor(), population, task)
    assert description["actions"][0] == {
        "activity": "practice",
        "skill": "skill_0",
        "modality": "text",
    }


@pytest.mark.parametrize("damage", ["missing", "cut", "shape", "format"])
def test_a_damaged_export_is_refused(tmp_path, damage):
    import json

    from safetensors.torch import save_file

    weights, description = learner(locked_bkt(), TeachingTask(n_steps=5)).tutor().export()
    if damage == "shape":
        description["shape"]["hidden_size"] = 99
    if damage == "format":
        description["format"] = 99
    save_file(weights, tmp_path / "policy.safetensors")
    if damage != "missing":
        (tmp_path / "policy.json").write_text(json.dumps(description))
    if damage == "cut":
        whole = (tmp_path / "policy.safetensors").read_bytes()
        (tmp_path / "policy.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_tutor(tmp_path)


def test_minibatches_must_divide_the_trials():
    with pytest.raises(ValueError, match="multiple of `minibatches`"):
        RL2Config(n_trials=10, minibatches=4)


@pytest.mark.slow
def test_rl2_learns_the_style_bandit_to_its_bayes_optimum_and_needs_its_memory():
    """Two types, T = 6; the optimum by dynamic programming over all histories, below."""
    p, slip, guess, n_steps = [[0.8, 0.2], [0.2, 0.8]], 0.1, 0.2, 6
    population = bandit(p, n_units=n_steps, p_slip=slip, p_guess=guess)
    task = TeachingTask(n_steps=n_steps, reward=Reward(scale=n_steps))

    def optimum(weight: float, steps: int) -> float:
        """Expected events to come when P(type 0) = weight."""
        if steps == 0:
            return 0.0
        values = []
        for modality in (0, 1):
            events = [p[kind][modality] for kind in (0, 1)]
            right = [e * (1 - slip) + (1 - e) * guess for e in events]
            value = weight * events[0] + (1 - weight) * events[1]
            for answer in (right, [1 - r for r in right]):
                total = weight * answer[0] + (1 - weight) * answer[1]
                value += total * optimum(weight * answer[0] / total, steps - 1)
            values.append(value)
        return max(values)

    best, random = optimum(0.5, n_steps), 0.5 * n_steps
    run = learner(population, task, n_trials=256, gae_lambda=0.3, total_steps=200_000)
    for _ in range(run.n_updates):
        run.update()
    reached = score(run.tutor(), population, task, n_students=40_000)
    assert (reached - random) / (best - random) > 0.95

    class Shuffled(MemoryTutor):
        """Gets every student's answers from somebody else: no information about this one."""

        def act(self, observation: Observation) -> torch.Tensor:
            turn = torch.arange(len(observation.action)).roll(1 + observation.step)
            return super().act(
                observation._replace(
                    action=observation.action[turn], response=observation.response[turn]
                )
            )

    nobody = score(Shuffled(run.actor, "shuffled"), population, task, n_students=40_000)
    assert nobody == pytest.approx(random, abs=0.05)


def test_actor_shape_is_checked():
    with pytest.raises(ValueError, match="n_actions"):
        Actor(
            ActorShape(
                n_actions=0, n_responses=2, n_lessons=1, n_steps=1, show_score=False, hidden_size=4
            )
        )
