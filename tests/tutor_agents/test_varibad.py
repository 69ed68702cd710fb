"""VariBAD: belief and policy kept apart, the traps of recurrent meta-RL, and learning itself."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import torch
from safetensors.torch import save_file
from torch.distributions import Categorical

from small_students import bandit, locked_bkt, score
from tutor_agents.engine.networks import ActorShape, Inputs
from tutor_agents.exported import load_tutor
from tutor_agents.tutor import Oracle, Trial
from tutor_agents.type_posterior import TypePosterior, types_of
from tutor_agents.varibad import VariBADConfig, VariBADLearner, VariBADTutor
from tutor_agents.varibad.networks import grade_book, grade_book_of_trial
from tutor_agents.varibad.vae import Chances, with_last
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask

SMALL = {"n_trials": 32, "hidden_size": 16, "belief_size": 3, "total_steps": 100_000}
BELIEFS = ["learned", "latents", "posterior"]


def coins(n_units: int) -> Population:
    """One action; an answer is right with a probability drawn from a Beta(2, 2) distribution."""
    return Population.model_validate(
        {
            "name": "coins",
            "student": "style_bandit",
            "model": {"modalities": ["only"], "n_units": n_units},
            "latents": {
                "p_event": {"beta": {"mean": 0.5, "concentration": 4}},
                "p_slip": 0.0,
                "p_guess": 0.0,
            },
        }
    )


def learner(
    population: Population, task: TeachingTask, seed: int = 0, **config: object
) -> VariBADLearner:
    return VariBADLearner(VariBADConfig(**(SMALL | config)), population, task, seed=seed)


def lesson(population: Population, task: TeachingTask, n: int) -> list[Observation]:
    """What is seen of n students whose actions go round, from the first to the last."""
    room, students = Classroom(population, task, seed=3), student_indices(Split.TEST, n)
    observations = [room.begin_trial(students)]
    n_actions = room.model.n_actions
    for t in range(task.n_trial_steps):
        action = (torch.arange(n) + t) % n_actions
        observations.append(room.step(action).observation)
    return observations


def taught(run: VariBADLearner, n: int = 32):
    """A rollout with the observation after the last action."""
    rollout = run._roll_out(student_indices(Split.TRAIN, n))
    return with_last(rollout, run._policy.encode(run._classroom.last))


def clone(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in tensors.items()}


TWO = [[0.8, 0.2], [0.2, 0.8]]


# -- the variational model -------------------------------------------------------------------------
def test_from_every_belief_the_whole_trial_is_decoded_past_and_future():
    task = TeachingTask(n_lessons=2, n_steps=3)
    run = learner(bandit(TWO), task)
    trainer, whole = run._belief, taught(run, 8)
    assert trainer is not None
    n_steps, n, size = 6, 8, 3
    assert whole.inputs.token.shape == (n_steps + 1, n)
    mean, logvar = trainer.encoder.sequence(whole.inputs).chunk(2, dim=-1)
    chances = Chances(torch.arange(n_steps + 1), torch.zeros(n_steps + 1, n, size))
    answers, rewards = trainer.log_likelihoods(whole, mean, logvar, chances)
    assert answers.shape == rewards.shape == (n_steps + 1, n_steps, n)
    assert (answers < 0).all()  # every one of the (T + 1) T terms is there
    book = grade_book_of_trial(Inputs(whole.inputs.token[:-1], None, None), run._policy.shape)
    for t in range(n_steps + 1):
        logits, decoded = trainer.decoder(mean[t : t + 1], whole.action, book)
        expected = Categorical(logits=logits[0]).log_prob(whole.response)
        torch.testing.assert_close(answers[t], expected)
        reward = trainer.scale.standardised(whole.reward)
        torch.testing.assert_close(rewards[t], -0.5 * (reward - decoded[0]).square())


def test_the_belief_after_the_last_answer_is_among_the_terms():
    task = TeachingTask(n_steps=3)
    run = learner(bandit(TWO), task)
    trainer, whole = run._belief, taught(run, 4)
    assert trainer is not None
    before = trainer.encoder.sequence(whole.inputs)
    token = whole.inputs.token.clone()
    token[-1] = token[-1] + 1 - 2 * (token[-1] % 3)  # the other answer to the last action
    after = trainer.encoder.sequence(whole.inputs._replace(token=token))
    assert torch.equal(before[:-1], after[:-1])
    assert (before[-1] - after[-1]).abs().min() > 0


def test_what_is_decoded_is_scaled_by_the_step():
    task = TeachingTask(n_steps=4, reward=Reward(scale=7.0))
    run = learner(bandit(TWO), task)
    assert run._belief is not None
    rollout = run._roll_out(student_indices(Split.TRAIN, 512))
    reward = run._belief.scale.standardised(rollout.reward)
    assert reward.mean(1).abs().max() < 1e-5
    assert reward.std().item() == pytest.approx(1.0, abs=1e-2)


def test_the_grade_book_counts_answers_of_this_lesson_only():
    shape = ActorShape(
        n_actions=2, n_responses=2, n_lessons=2, n_steps=3, show_score=False, hidden_size=4
    )
    # token = 3 action + response; response 2: none. 6: nothing happened yet.
    # Seen before each of six actions: start, 0 right, 0 none; (lesson) 1 wrong, 1 right, 0 wrong.
    token = torch.tensor([6, 1, 2, 3, 4, 0]).unsqueeze(1)
    # 0 wrong, 0 right, 1 wrong, 1 right; the outcome that opens a lesson is of the one before
    expected = [[0] * 4, [0, 1, 0, 0], [0, 1, 0, 0], [0] * 4, [0, 0, 0, 1], [1, 0, 0, 1]]
    found = grade_book_of_trial(Inputs(token, None, None), shape)
    assert found[:, 0].tolist() == expected
    book = torch.ones(1, 4)
    for t in range(6):
        book = grade_book(Inputs(token[t], None, None), shape, book, t)
        assert book[0].tolist() == expected[t]


# -- reward does not shape the belief, the bound does not shape the policy -------------------------
@pytest.mark.parametrize("critic", ["privileged", "shared"])
def test_no_gradient_of_ppo_reaches_the_encoder_and_none_of_the_bound_the_policy(critic):
    run = learner(bandit(TWO), TeachingTask(n_steps=4), critic=critic)
    students = student_indices(Split.TRAIN, 32)
    rollout = run._roll_out(students)
    last = run._policy.encode(run._classroom.last)
    start = clone(run._networks.state_dict())
    run._learn(rollout, students, 0.01)
    middle = clone(run._networks.state_dict())
    assert run._belief is not None
    run._belief.train(rollout, last, 0, students, 1.0)
    end = run._networks.state_dict()
    changed = {k for k in start if not torch.equal(start[k], middle[k])}
    assert {k.split(".")[0] for k in changed} == {"actor", "critic"}
    changed = {k for k in start if not torch.equal(middle[k], end[k])}
    assert {k.split(".")[1] for k in changed} == {"encoder", "decoder", "profile"}
    assert {k.split(".")[0] for k in changed} == {"belief"}


def test_the_profile_does_not_shape_the_belief():
    """Its targets are hidden truth: the belief is learnt from answers and rewards alone."""
    run = learner(locked_bkt(), TeachingTask(n_steps=4))
    assert run._belief is not None
    whole = taught(run, 8)
    chances = Chances(torch.arange(5), torch.zeros(5, 8, 3))

    def gradient(trials) -> torch.Tensor:
        run._belief.networks.zero_grad()
        run._belief.loss(trials, chances)[0].backward()
        return run._belief.encoder.head.weight.grad.clone()

    other = dataclasses.replace(whole, latents=whole.latents + 5)
    assert torch.equal(gradient(whole), gradient(other))


@pytest.mark.parametrize("belief", BELIEFS)
@pytest.mark.parametrize("critic", ["privileged", "shared"])
@pytest.mark.parametrize("show_score", [False, True])
def test_the_importance_ratio_of_the_first_minibatch_is_one(belief, critic, show_score):
    task = TeachingTask(n_lessons=2, n_steps=4, show_score=show_score)
    run = learner(locked_bkt(), task, critic=critic, belief=belief)
    for _ in range(3):
        logs = run.update()
        assert logs["train/first_ratio_error"] < 1e-5
    assert ("loss/elbo" in logs) == (belief == "learned")


COMPONENTS = {"dropout": {"hazard": 0.2}, "response_time": {}}


def test_students_who_leave_count_no_further():
    run = learner(locked_bkt(**COMPONENTS), TeachingTask(n_lessons=2, n_steps=4))
    assert run.update()["train/first_ratio_error"] < 1e-5
    whole = taught(run, 32)
    assert whole.present is not None
    assert not whole.present[-1].all()
    assert run._belief is not None
    chances = Chances(torch.arange(9), torch.zeros(9, 32, 3))
    mean, logvar = run._belief.encoder.sequence(whole.inputs).chunk(2, dim=-1)
    answers, rewards = run._belief.log_likelihoods(whole, mean, logvar, chances)
    gone = ~whole.present.expand(answers.shape)
    assert (answers[gone] == 0).all()
    assert (rewards[gone] == 0).all()
    assert (answers[~gone] != 0).any()


# -- runs ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("belief", BELIEFS)
def test_restored_run_equals_the_straight_one_to_the_bit(belief):
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    straight = learner(population, task, belief=belief)
    for _ in range(2):
        straight.update()
    saved = clone(straight.tensors()), straight.counters()
    resumed = learner(population, task, belief=belief)
    resumed.restore(*saved)
    for _ in range(2):
        logs_straight, logs_resumed = straight.update(), resumed.update()
        logs_straight.pop("perf/steps_per_s"), logs_resumed.pop("perf/steps_per_s")
        assert logs_straight == logs_resumed
    # 4 epochs (and 2 of the belief) of 4 minibatches in each of 4 updates
    expected = {"updates_done": 4, "optimizer_steps": 64}
    if belief == "learned":
        expected["vae_optimizer_steps"] = 32
        moments = [k for k in straight.tensors() if k.startswith("adam_vae.belief.encoder.")]
        assert any(k.endswith("exp_avg_sq") for k in moments)
    assert straight.counters() == resumed.counters() == expected
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in straight.tensors().items())


def test_same_seed_same_run_and_global_random_state_plays_no_part():
    population, task = locked_bkt(), TeachingTask(n_steps=5)

    def weights(seed: int, global_seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(global_seed)
        run = learner(population, task, seed=seed)
        run.update()
        after = torch.rand(1)
        torch.manual_seed(global_seed)
        assert torch.equal(torch.rand(1), after)
        return clone(run.tensors())

    one, same, other = weights(0, 1), weights(0, 2), weights(1, 1)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_a_checkpoint_of_another_network_is_refused():
    population, task = locked_bkt(), TeachingTask(n_steps=5)
    tensors = learner(population, task, belief_size=4).tensors()
    with pytest.raises(ValueError, match="another network"):
        learner(population, task).restore(tensors, {"updates_done": 0})


# -- the tutor -------------------------------------------------------------------------------------
def test_a_tutor_sees_observable_signals_only_and_forgets_between_trials():
    """Other students behind the same observations: the same actions and the same profile."""
    population, task = bandit(TWO), TeachingTask(n_lessons=2, n_steps=3)
    run = learner(population, task)
    run.update()
    observations = lesson(bandit([[0.9, 0.1], [0.5, 0.5]]), task, 16)

    def watch(tutor: VariBADTutor, of: torch.Tensor) -> list[torch.Tensor]:
        tutor.begin_trial(Trial(of, 0, 0))
        actions = [tutor.act(observation) for observation in observations[:-1]]
        tutor.observe(actions[-1], observations[-1])
        return [*actions, tutor.profile().mean, tutor.profile().p_type]

    students, tutor = student_indices(Split.TEST, 16), run.tutor()
    one = watch(tutor, students)
    for again in (watch(tutor, students), watch(run.tutor(), students + 1000)):
        assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    # At the first observation all students look alike.
    assert len(one[0].unique()) == 1


def test_acting_step_by_step_equals_the_whole_trial_at_once():
    task = TeachingTask(n_lessons=2, n_steps=3)
    run = learner(bandit(TWO), task)
    observations = lesson(bandit(TWO), task, 8)[:-1]
    policy, state = run._policy, run._policy.begin(8)
    logits = []
    for t, observation in enumerate(observations):
        _, here, state = policy.step(policy.encode(observation), t, state)
        logits.append(here)
    tokens = torch.stack([policy.encode(o).token for o in observations])
    _, at_once = policy.sequence(Inputs(tokens, None, None))
    torch.testing.assert_close(torch.stack(logits), at_once, rtol=0, atol=1e-6)


def test_the_profile_needs_an_observation_and_takes_in_the_last_answer():
    population, task = bandit(TWO), TeachingTask(n_steps=2)
    tutor = learner(population, task).tutor()
    with pytest.raises(RuntimeError, match="call `act` first"):
        tutor.profile()
    observations = lesson(population, task, 8)
    tutor.begin_trial(Trial(student_indices(Split.TEST, 8), 0, 0))
    with pytest.raises(RuntimeError, match="call `act` first"):
        tutor.profile()
    for observation in observations[:-1]:
        tutor.act(observation)
    before = tutor.profile()
    tutor.observe(observations[-1].action, observations[-1])
    after = tutor.profile()
    assert (before.mean != after.mean).any()
    assert before.names == ("responsiveness[0]", "responsiveness[1]")
    assert before.mean.shape == before.sd.shape == (8, 2)
    assert (before.sd > 0).all()
    torch.testing.assert_close(before.p_type.sum(-1), torch.ones(8))


def test_an_exported_tutor_teaches_and_profiles_as_the_original(tmp_path):
    population, task = locked_bkt(response_time={}), TeachingTask(n_steps=5)
    run = learner(population, task)
    run.update()
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    loaded, original = load_tutor(tmp_path), run.tutor()
    assert isinstance(loaded, VariBADTutor)
    assert score(loaded, population, task) == score(original, population, task)
    one, other = loaded.profile(), original.profile()
    assert one.names == other.names
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.sd, other.sd)


@pytest.mark.parametrize("belief", ["latents", "posterior"])
def test_an_ablation_cannot_be_taken_away(tmp_path, belief):
    run = learner(bandit(TWO), TeachingTask(n_steps=3), belief=belief)
    weights, description = run.tutor().export()
    save_file(weights, tmp_path / "policy.safetensors")
    (tmp_path / "policy.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="only a learned belief"):
        load_tutor(tmp_path)


def test_only_the_ablation_with_true_latents_is_an_oracle():
    population, task = locked_bkt(), TeachingTask(n_lessons=2, n_steps=3)
    tutors = {kind: learner(population, task, belief=kind).tutor() for kind in BELIEFS}
    assert {kind: tutor.name for kind, tutor in tutors.items()} == {
        "learned": "varibad",
        "latents": "varibad[latents]",
        "posterior": "varibad[posterior]",
    }
    assert [kind for kind, tutor in tutors.items() if isinstance(tutor, Oracle)] == ["latents"]
    for tutor in tutors.values():
        score(tutor, population, task, n_students=64)  # actions are legal


def test_the_given_posterior_is_the_exact_one():
    population, task = bandit(TWO, p_slip=0.1, p_guess=0.2), TeachingTask(n_lessons=2, n_steps=3)
    run = learner(population, task, belief="posterior")
    policy = run.tutor().policy
    exact = TypePosterior(population.student_model, types_of(population, 0, 2))
    exact.begin_trial(8)
    policy.begin(8)
    for i, observation in enumerate(lesson(population, task, 8)):
        if i:
            exact.observe(observation.action, observation)
        belief = policy.beliefs(policy.encode(observation))
        torch.testing.assert_close(belief[:, :2], exact.weights.float())


# -- it learns -------------------------------------------------------------------------------------
def optimum(p: list[list[float]], slip: float, guess: float, weight: float, steps: int) -> float:
    """Expected events to come of two types of students when P(type 0) = weight."""
    if steps == 0:
        return 0.0
    values = []
    for modality in (0, 1):
        events = [p[kind][modality] for kind in (0, 1)]
        right = [e * (1 - slip) + (1 - e) * guess for e in events]
        value = weight * events[0] + (1 - weight) * events[1]
        for answer in (right, [1 - r for r in right]):
            total = weight * answer[0] + (1 - weight) * answer[1]
            value += total * optimum(p, slip, guess, weight * answer[0] / total, steps - 1)
        values.append(value)
    return max(values)


@pytest.mark.slow
def test_varibad_learns_the_style_bandit_to_its_bayes_optimum_and_its_belief_is_the_posterior():
    slip, guess, n_steps = 0.1, 0.2, 6
    population = bandit(TWO, n_units=n_steps, p_slip=slip, p_guess=guess)
    task = TeachingTask(n_steps=n_steps, reward=Reward(scale=n_steps))
    best, random = optimum(TWO, slip, guess, 0.5, n_steps), 0.5 * n_steps
    run = learner(
        population, task, n_trials=256, hidden_size=32, gae_lambda=0.3, total_steps=100_000
    )
    for _ in range(run.n_updates):
        run.update()
    tutor = run.tutor()
    reached = score(tutor, population, task, n_students=40_000)
    assert (reached - random) / (best - random) > 0.95
    # The probability of the types that it tells is near the exact posterior's, even in lessons
    # whose actions are not its own (it saw few like them at the end of its training).
    observations = lesson(population, task, 2000)
    exact = TypePosterior(population.student_model, types_of(population, 0, 2))
    exact.begin_trial(2000)
    tutor.begin_trial(Trial(student_indices(Split.TEST, 2000), 0, 0))
    entropies = []
    for i, observation in enumerate(observations):
        if i == n_steps:
            tutor.observe(observation.action, observation)
        else:
            tutor.act(observation)
        if i:
            exact.observe(observation.action, observation)
        found = tutor.profile().p_type
        assert (found[:, 0] - exact.weights[:, 0]).abs().mean() < 0.1
        entropies.append(Categorical(probs=found).entropy().mean().item())
    assert entropies[-1] < 0.8 * entropies[0]


@pytest.mark.slow
def test_the_profile_approaches_the_exact_beta_posterior_and_is_calibrated():
    """Beta-Bernoulli: after s right of t answers p_event is Beta(2 + s, 2 + t - s)."""
    n_steps, n = 8, 4000
    population, task = coins(n_steps), TeachingTask(n_steps=n_steps)
    run = learner(
        population, task, n_trials=256, hidden_size=32, total_steps=120_000, learning_rate=5e-3
    )
    for _ in range(run.n_updates):
        run.update()
    tutor, students = run.tutor(), student_indices(Split.TEST, n)
    room = Classroom(population, task, seed=1)
    observation = room.begin_trial(students)
    truth = room.truth.latents["p_event"]
    tutor.begin_trial(Trial(students, 1, 0))
    right, spreads = torch.zeros(n), []
    for t in range(n_steps + 1):
        if t:
            right += observation.response
        if t < n_steps:
            action = tutor.act(observation)
        else:
            tutor.observe(action, observation)
        profile = tutor.profile()
        assert profile.names == ("p_event",)
        a, b = 2 + right, 2 + t - right
        mean, sd = a / (a + b), (a * b / (a + b + 1)).sqrt() / (a + b)
        assert (profile.mean[:, 0] - mean).abs().mean() < 0.02
        assert (profile.sd[:, 0] / sd).log().abs().mean() < 0.08
        covered = (truth - profile.mean[:, 0]).abs() < 1.6449 * profile.sd[:, 0]
        assert 0.85 < covered.float().mean() < 0.95
        spreads.append(profile.sd.mean().item())
        if t < n_steps:
            observation = room.step(action).observation
    assert all(later < earlier for earlier, later in itertools.pairwise(spreads))
    # From Beta(2, 2), SD 0.224, to Beta with 12 in all: about 0.13.
    assert spreads[-1] < 0.7 * spreads[0]
