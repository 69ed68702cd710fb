"""The inner step: one student at a time, exactly; and the outer gradient against enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from tutor_agents.engine.networks import Inputs
from tutor_agents.engine.rollout import Rollout
from tutor_agents.maml.lesson import Lesson, lessons_of, seen_before
from tutor_agents.maml.networks import AdaptiveNetworks, GradientShape
from tutor_agents.maml.objective import (
    lesson_weights,
    log_probabilities,
    outer_advantages,
    replay,
)

BASE = {
    "n_actions": 3,
    "n_responses": 2,
    "n_steps": 4,
    "n_signals": 0,
    "n_adapting": 2,
    "explores": True,
    "hidden_size": 5,
    "context_size": 0,
    "inner_signal": "learned",
    "inner_surrogate": "loaded_dice",
    "dice_lambda": 0.0,
    "inner_learning_rate": 0.7,
    "learned_step_sizes": False,
    "discount": 1.0,
    "gae_lambda": 0.9,
}


def networks(**changes: object) -> AdaptiveNetworks:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = AdaptiveNetworks(GradientShape.model_validate(BASE | changes))
        made.initialise()
        with torch.no_grad():  # far from uniform, so that nothing hides behind symmetry
            for parameter in made.policy.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape))
    return made.double()


def a_lesson(n: int, seed: int = 0, n_steps: int = 4) -> Lesson:
    generator = torch.Generator().manual_seed(seed)
    action = torch.randint(3, (n_steps, n), generator=generator)
    response = torch.randint(2, (n_steps, n), generator=generator)
    legal = torch.rand(n_steps, n, 3, generator=generator) < 0.7
    legal.scatter_(-1, action.unsqueeze(-1), True)
    present = torch.ones(n_steps, n, dtype=torch.bool)
    signals = torch.zeros(n_steps, n, 0, dtype=torch.float64)
    score = torch.rand(n, generator=generator, dtype=torch.float64)
    return Lesson(action, response, legal, present, signals, score)


def of_student(lesson: Lesson, i: int) -> Lesson:
    return Lesson(*(x[:, i : i + 1] for x in lesson[:-1]), lesson.score[i : i + 1])


@pytest.fixture(autouse=True)
def _in_float64(monkeypatch):
    """Summaries of pairs in float64, to compare to rounding."""
    from tutor_agents.maml import lesson

    pairs = lesson.pairs
    monkeypatch.setattr(lesson, "pairs", lambda *args: pairs(*args).double())


@pytest.mark.parametrize("signal", ["learned", "answers", "score"])
@pytest.mark.parametrize("context_size", [0, 2])
@pytest.mark.parametrize("learned_step_sizes", [False, True])
def test_students_do_not_see_each_other(signal, context_size, learned_step_sizes):
    ours = networks(
        inner_signal=signal, context_size=context_size, learned_step_sizes=learned_step_sizes
    )
    lesson = a_lesson(6)
    together = ours.adapt(ours.begin(6), lesson)
    for i in range(6):
        alone = ours.adapt(ours.begin(1), of_student(lesson, i))
        for name, value in alone.items():
            torch.testing.assert_close(together[name][i], value[0], rtol=0, atol=1e-13)
    other = lesson._replace(response=lesson.response.clone())
    other.response[:, 1:] = 1 - other.response[:, 1:]
    changed = ours.adapt(ours.begin(6), other)
    for name, value in changed.items():
        assert torch.equal(value[0], together[name][0])
        assert not torch.equal(value[1], together[name][1])


@pytest.mark.parametrize("surrogate", ["score", "loaded_dice"])
def test_the_inner_step_is_gradient_descent_by_hand(surrogate):
    """One student, plain autograd: theta + alpha / T sum_t A_t grad log pi(a_t | x_t)."""
    ours = networks(inner_surrogate=surrogate)
    lesson = a_lesson(1)
    x = seen_before(lesson, 2)
    logits = ours.policy(x[:, 0]).masked_fill(~lesson.legal[:, 0], -1e9)
    logp = torch.log_softmax(logits, -1).gather(-1, lesson.action)[:, 0]
    worth = ours.inner_advantages(lesson, x)[:, 0].detach()
    slopes = torch.autograd.grad((worth * logp).sum() / 4, list(ours.policy.parameters()))
    adapted = ours.adapt(ours.begin(1), lesson)
    for (name, value), slope in zip(ours.policy.named_parameters(), slopes, strict=True):
        torch.testing.assert_close(adapted[name][0], value + 0.7 * slope, rtol=0, atol=1e-13)


def test_only_the_context_adapts_in_cavia():
    ours = networks(context_size=2)
    weights = ours.begin(4)
    assert {k: v.shape for k, v in weights.items()} == {"context": (4, 2)}
    adapted = ours.adapt(weights, a_lesson(4))["context"]
    assert not weights["context"].any()
    assert adapted.abs().min() > 0
    # the policy's own weights are trained through the step
    adapted.sum().backward()
    assert all(p.grad is not None for p in ours.policy.parameters())


def test_absent_students_do_not_move():
    for signal in ("answers", "score", "learned"):
        ours = networks(inner_signal=signal)
        lesson = a_lesson(3)
        lesson.present[:, 1] = False
        adapted = ours.adapt(ours.begin(3), lesson)
        for name, value in ours.policy.named_parameters():
            assert torch.equal(adapted[name][1], value)
            assert not torch.equal(adapted[name][0], value)


@pytest.mark.parametrize("context_size", [0, 2])
def test_first_order_cuts_second_derivatives_and_nothing_else(context_size):
    """The step moves as far, but its derivative by the weights is the identity."""
    ours = networks(context_size=context_size, learned_step_sizes=True)
    lesson = a_lesson(3)
    full = ours.adapt(ours.begin(3), lesson)
    first = ours.adapt(ours.begin(3), lesson, first_order=True)
    policy = dict(ours.policy.named_parameters())

    def slopes(adapted: dict[str, Tensor], by: list[Tensor]) -> list[Tensor]:
        total = sum((value * (1 + i)).sum() for i, value in enumerate(adapted.values()))
        return torch.autograd.grad(
            total, by, retain_graph=True, allow_unused=True, materialize_grads=True
        )

    for name in full:
        torch.testing.assert_close(full[name], first[name], rtol=0, atol=1e-14)
    by = list(policy.values())
    for i, (name, slope) in enumerate(zip(policy, slopes(first, by), strict=True)):
        expected = 3.0 * (1 + i) if name in full else 0.0  # three students
        assert torch.equal(slope, torch.full_like(slope, expected))
    assert any(
        (a - b).abs().max() > 1e-3 for a, b in zip(slopes(full, by), slopes(first, by), strict=True)
    )
    # learned signal and step sizes are trained all the same
    by = [*ours.signal.parameters(), *ours.log_step_sizes.parameters()]
    assert any(slope.abs().max() > 1e-6 for slope in slopes(first, by))
    for a, b in zip(slopes(full, by), slopes(first, by), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_the_baseline_is_not_trained_through_the_step():
    ours = networks(inner_signal="answers")
    adapted = ours.adapt(ours.begin(3), a_lesson(3))
    total = sum(value.sum() for value in adapted.values())
    total.backward()
    assert all(p.grad is None for p in ours.signal.parameters())
    ours.baseline_error(a_lesson(3)).sum().backward()
    assert all(p.grad is not None for p in ours.signal.parameters())


def test_right_answers_are_the_reward_of_the_signal_answers():
    """Without discount, lambda 1, baseline 0: right answers still to come in the lesson."""
    ours = networks(inner_signal="answers", gae_lambda=1.0)
    with torch.no_grad():
        ours.signal[-1].weight.zero_()
    lesson = a_lesson(1)._replace(response=torch.tensor([[1], [0], [1], [1]]))
    found = ours.inner_advantages(lesson, seen_before(lesson, 2))
    assert found.flatten().tolist() == [3.0, 2.0, 2.0, 1.0]
    scored = networks(inner_signal="score", gae_lambda=1.0)
    with torch.no_grad():
        scored.signal[-1].weight.zero_()
    found = scored.inner_advantages(lesson, seen_before(lesson, 2))
    assert found.flatten().tolist() == [lesson.score.item()] * 4


# -- recorded trials -------------------------------------------------------------------------------
def recorded(lessons: list[Lesson], n_lessons: int) -> Rollout:
    """A rollout of these lessons; what is hidden is left empty."""
    whole = [torch.cat(parts) for parts in list(zip(*lessons, strict=True))[:5]]
    action, response, legal, present, _ = whole
    n_steps, n = action.shape
    empty = torch.zeros(n_steps, n, dtype=torch.float64)
    return Rollout(
        inputs=Inputs(torch.zeros_like(action), None, None),
        legal=legal,
        present=present,
        action=action,
        response=response,
        logp=empty,
        reward=empty,
        features=empty.unsqueeze(-1),
        latents=empty[0].unsqueeze(-1),
        types=action[0],
    )


def test_every_lesson_is_judged_under_the_weights_adapted_to_those_before():
    ours = networks(n_adapting=1)
    lessons = [a_lesson(5, seed) for seed in range(3)]
    rollout = recorded(lessons, 3)
    found, weights = replay(ours, rollout, first_order=False)
    once = ours.adapt(ours.begin(5), lessons[0])
    expected = [
        ours.logits(w, seen_before(lesson, 2))
        for w, lesson in zip([ours.begin(5), once, once], lessons, strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=0)
    assert all(torch.equal(weights[k], once[k]) for k in once)
    # The outer loss of later lessons is one of adapted weights: it moves the learned signal.
    found[4:].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in ours.signal.parameters())


def test_recorded_lessons_carry_scores_and_signals_of_their_own():
    """They stand one step later in a rollout: with the observation after the response."""
    n_lessons, n_steps, n = 3, 4, 2
    time = torch.arange(n_lessons * n_steps, dtype=torch.float64)
    rollout = recorded([a_lesson(n, seed) for seed in range(n_lessons)], n_lessons)
    shown = time.unsqueeze(-1).expand(-1, n)
    rollout = Rollout(
        **(vars(rollout) | {"inputs": Inputs(rollout.action, shown, shown.unsqueeze(-1))})
    )
    lessons = lessons_of(rollout, n_steps, 3)
    assert [lesson.score[0].item() for lesson in lessons] == [4, 8, 0]
    assert lessons[1].signals[:, 0, 0].tolist() == [5, 6, 7, 8]
    # and the policy sees, at a lesson's start, nothing of the lesson before
    x = seen_before(lessons[1], 2)
    pairs_and_signals = x[0, :, : 2 * 9 + 1]
    assert not pairs_and_signals.any()
    assert x[1:, 0, 18].tolist() == [5, 6, 7]


def test_weights_of_lessons_have_mean_one():
    assert lesson_weights(4, 1.0).tolist() == [1, 1, 1, 1]
    assert lesson_weights(3, 4.0).tolist() == pytest.approx([1 / 3, 4 / 3, 4 / 3])
    assert lesson_weights(3, float("inf")).tolist() == [0, 1.5, 1.5]


def test_returns_are_cut_at_lessons_and_run_through_with_sampling_credit():
    reward = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    zeros = torch.zeros_like(reward)
    keep = {"n_steps": 2, "discount": 0.5, "gae_lambda": 1.0}
    cut, _ = outer_advantages(reward, zeros, None, through=False, **keep)
    assert cut.flatten().tolist() == [2.0, 2.0, 8.0, 8.0]  # 1 + 2/2, 2, 4 + 8/2, 8
    run, _ = outer_advantages(reward, zeros, None, through=True, **keep)
    assert run.flatten().tolist() == [4.0, 6.0, 8.0, 8.0]  # 1 + 6/2, 2 + 8/2, ...
    gone = torch.tensor([[True], [True], [False], [False]])
    left, _ = outer_advantages(reward, zeros, gone, through=True, **keep)
    assert left[:2].flatten().tolist() == [2.0, 2.0]


@pytest.mark.parametrize("beta", [1.0, 3.0, float("inf")])
@pytest.mark.parametrize("learned_step_sizes", [False, True])
def test_with_sampling_credit_the_outer_gradient_is_exact(beta, learned_step_sizes):
    """Every trial of two lessons of one action each: three actions, two answers, 36 trials.

    Exact: the gradient of sum_trials p(trial) R(trial), where the second lesson's policy depends on
    the first lesson through the step. E-MAML: p held fixed, sum_t A_t grad logp_t.
    """
    ours = networks(
        n_steps=1, inner_surrogate="score", learned_step_sizes=learned_step_sizes, n_adapting=1
    )
    trials = torch.tensor(list(itertools.product(range(3), range(2), range(3), range(2)))).T
    p_right = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
    lessons, p_world = [], torch.ones(36, dtype=torch.float64)
    for action, response in (trials[:2], trials[2:]):
        free = torch.ones(1, 36, dtype=torch.bool)
        legal = free.unsqueeze(-1).expand(1, 36, 3)
        none = torch.zeros(1, 36, 0, dtype=torch.float64)
        lessons.append(Lesson(action[None], response[None], legal, free, none, none[0, :, :0]))
        p_world = p_world * torch.where(response == 1, p_right[action], 1 - p_right[action])
    rollout = recorded(lessons, 2)
    worth = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    reward = worth[rollout.action] * lesson_weights(2, beta).double().unsqueeze(-1)

    log_p = log_probabilities(replay(ours, rollout, first_order=False).logits, rollout)
    logp = log_p.gather(-1, rollout.action.unsqueeze(-1)).squeeze(-1)
    p = logp.sum(0).exp() * p_world
    assert p.sum().item() == pytest.approx(1.0, abs=1e-12)
    parameters = ours.outer_parameters()
    exact = torch.autograd.grad((p * reward.sum(0)).sum(), parameters, retain_graph=True)

    def estimate(through: bool) -> tuple[Tensor, ...]:
        advantages, _ = outer_advantages(
            reward,
            torch.full_like(reward, 0.3),  # a baseline biases nothing
            None,
            n_steps=1,
            discount=1.0,
            gae_lambda=1.0,
            through=through,
        )
        total = (p.detach() * advantages * logp).sum()
        return torch.autograd.grad(total, parameters, retain_graph=True)

    for found, wanted in zip(estimate(through=True), exact, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    # Without the credit, as in MAML-PG, it is not: what a lesson teaches the tutor is left out.
    missing = [(a - b).abs().max() for a, b in zip(estimate(through=False), exact, strict=True)]
    assert max(missing) > 1e-3
