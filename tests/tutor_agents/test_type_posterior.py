"""The belief filter against hand-worked numbers, laws of probability, and simulated students."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from tutor_agents.random_tutor import RandomTutor
from tutor_agents.type_posterior import TypePosterior, average_type, types_of
from tutor_envs.cases import Case
from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes, Population, Split, student_indices
from tutor_envs.student import CORRECT, WRONG
from tutor_envs.task import TeachingTask

STYLES = Population.model_validate(
    {
        "name": "two styles",
        "student": "style_bandit",
        "model": {"modalities": ["text", "video"]},
        # p_event * (1 + style_strength * (2 * share - 1)): 0.5 * (1 +- 0.6) = 0.8 and 0.2
        "latents": {"p_event": 0.5, "style_strength": 0.6, "p_slip": 0.1, "p_guess": 0.2},
        "types": {
            "reader": {"weight": 3, "latents": {"responsiveness": [1, 0]}},
            "watcher": {"weight": 1, "latents": {"responsiveness": [0, 1]}},
        },
    }
)
LEARNERS = Population.model_validate(
    {
        "name": "fast and slow",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["text"], "prerequisites": {1: [0]}},
        "latents": {"p_init": 0.5, "p_slip": 0.1, "p_guess": 0.2},
        "types": {
            "fast": {"weight": 1, "latents": {"p_learn": 0.6}},
            "slow": {"weight": 1, "latents": {"p_learn": 0.0}},
            "forgetful": {"weight": 2, "latents": {"p_learn": 0.4, "p_forget": 0.1}},
        },
    }
)


def posterior(population: Population, n_students: int) -> TypePosterior:
    result = TypePosterior(population.student_model, population.types_exact())
    result.begin_trial(n_students)
    return result


def column(value: int) -> Tensor:
    return torch.tensor([value])


def test_style_bandit_posterior_by_hand() -> None:
    belief = posterior(STYLES, 1)
    assert_close(belief.weights, torch.tensor([[0.75, 0.25]], dtype=torch.float64))
    # P(correct) = p (1 - slip) + (1 - p) guess: 0.8 * 0.9 + 0.2 * 0.2 = 0.76 in the own modality,
    # 0.2 * 0.9 + 0.8 * 0.2 = 0.34 in the other.
    prediction = 0.75 * 0.76 + 0.25 * 0.34
    assert_close(belief.predict(column(0))[0, CORRECT].item(), prediction)
    belief.update(column(0), column(CORRECT))
    reader = 0.75 * 0.76 / prediction
    assert_close(belief.weights[0, 0].item(), reader)
    belief.update(column(1), column(WRONG))
    reader_wrong, watcher_wrong = reader * (1 - 0.34), (1 - reader) * (1 - 0.76)
    reader = reader_wrong / (reader_wrong + watcher_wrong)
    assert_close(belief.weights[0, 0].item(), reader)
    # Gains of the two modalities, in events of 15 units.
    gains = [reader * 0.8 + (1 - reader) * 0.2, reader * 0.2 + (1 - reader) * 0.8]
    assert_close(belief.gains(), torch.tensor([gains], dtype=torch.float64) / 15)


def test_bkt_posterior_by_hand() -> None:
    belief = posterior(LEARNERS, 1)
    # All types start at P(mastered) = 0.5, so the first answer says nothing about the type:
    # P(correct) = 0.5 * 0.9 + 0.5 * 0.2 = 0.55.
    assert_close(belief.predict(column(0)), torch.tensor([[0.45, 0.55]], dtype=torch.float64))
    belief.update(column(0), column(CORRECT))
    assert_close(belief.weights, torch.tensor([[0.25, 0.25, 0.5]], dtype=torch.float64))
    # P(mastered | correct) = 0.45 / 0.55; then learning moves the rest.
    known = 0.45 / 0.55
    mastered = [known + (1 - known) * learn for learn in (0.6, 0.0, 0.4)]
    assert_close(
        belief.mastery()[0, 0].item(), 0.25 * mastered[0] + 0.25 * mastered[1] + 0.5 * mastered[2]
    )
    # P(wrong) = m slip + (1 - m) (1 - guess)
    wrong = [m * 0.1 + (1 - m) * 0.8 for m in mastered]
    belief.update(column(0), column(WRONG))
    joint = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64) * torch.tensor(
        wrong, dtype=torch.float64
    )
    assert_close(belief.weights[0], joint / joint.sum())
    # The second skill was not practised: only the forgetful lose it, 0.5 * 0.9 * 0.9 = 0.405.
    assert_close(belief.belief["p"][0, 2, 2:].sum().item(), 0.405)


def test_right_answers_are_predicted_for_every_action_at_once() -> None:
    belief = posterior(LEARNERS, 3)
    belief.update(torch.tensor([0, 1, 0]), torch.tensor([CORRECT, WRONG, WRONG]))
    each = [belief.predict(torch.full((3,), action))[:, CORRECT] for action in range(2)]
    assert_close(belief.p_correct(), torch.stack(each, -1))


def test_a_lesson_s_end_restarts_the_beliefs_and_keeps_the_weights() -> None:
    belief = posterior(LEARNERS, 1)
    seen = Observation(column(0), column(WRONG), None, None, step=1, lesson=0)
    for observation in (seen, seen, seen._replace(step=0, lesson=1)):
        belief.observe(column(0), observation)
    assert belief.weights[0, 1] > 0.4  # three wrong answers: more likely slow than the prior's 0.25
    assert_close(belief.mastery(), torch.full((1, 2), 0.5, dtype=torch.float64))


steps = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(steps=steps, order=st.permutations(range(3)))
def test_weights_are_a_distribution_and_follow_the_order_of_the_types(
    steps: list[tuple[int, int]], order: list[int]
) -> None:
    types = LEARNERS.types_exact()
    shuffled = FiniteTypes(
        types.prior[order],
        {name: value[order] for name, value in types.latents.items()},
        exact=True,
    )
    beliefs = [TypePosterior(LEARNERS.student_model, family) for family in (types, shuffled)]
    for belief in beliefs:
        belief.begin_trial(1)
        for action, response in steps:
            belief.update(column(action), column(response))
            assert_close(belief.weights.sum().item(), 1.0)
            assert bool((belief.weights >= 0).all())
    assert_close(beliefs[0].weights[:, order], beliefs[1].weights)
    assert_close(beliefs[0].gains(), beliefs[1].gains())


@settings(max_examples=20, deadline=None)
@given(steps=steps)
def test_predictions_are_the_mean_of_what_follows(steps: list[tuple[int, int]]) -> None:
    belief = posterior(LEARNERS, 3)
    for action, response in steps:
        belief.update(torch.full((3,), action), torch.full((3,), response))
    before, gain = belief.post_test(), belief.gains()[:, 1]
    p = belief.predict(torch.tensor([1, 1, 1]))[0]
    weights = belief.weights[0]
    # Three students, one belief: the first answers wrong, the second right, the third not at all.
    belief.update(torch.tensor([1, 1, 1]), torch.tensor([WRONG, CORRECT, 2]))
    assert_close(p @ belief.weights[:2], weights)
    assert_close(p @ belief.post_test()[:2], before[0] + gain[0])
    assert_close(belief.weights[2], weights)
    assert_close(belief.post_test()[2], before[2])


def test_no_response_changes_nothing() -> None:
    belief = posterior(LEARNERS, 2)
    belief.update(torch.tensor([0, 1]), torch.tensor([CORRECT, WRONG]))
    weights, p = belief.weights, belief.belief["p"]
    belief.update(torch.tensor([0, 1]), torch.tensor([2, WRONG]))
    assert torch.equal(belief.weights[0], weights[0])
    assert torch.equal(belief.belief["p"][0], p[0])
    assert not torch.equal(belief.belief["p"][1], p[1])


def test_weights_never_underflow() -> None:
    population = STYLES.with_latents(p_slip=0.0, p_guess=0.0, p_event=0.5, style_strength=1.0)
    belief = posterior(population, 1)
    # p is 1 and 0: a wrong answer to text is impossible for readers, to video for watchers.
    belief.update(column(0), column(WRONG))
    assert_close(belief.weights, torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    for _ in range(300):
        belief.update(column(0), column(CORRECT))
        belief.update(column(0), column(WRONG))
    assert_close(belief.weights.sum().item(), 1.0)
    assert bool(belief.gains().isfinite().all())


def test_an_answer_impossible_for_every_type_says_nothing() -> None:
    population = STYLES.with_latents(p_slip=0.0, p_guess=0.0, p_event=0.0)
    belief = posterior(population, 1)
    belief.update(column(0), column(CORRECT))
    assert_close(belief.weights, torch.tensor([[0.75, 0.25]], dtype=torch.float64))


@pytest.mark.parametrize("name", ["bkt-types-b", "memory-b", "style-bandit-questionnaire-b"])
def test_posterior_is_calibrated(
    teach: Callable[..., Any], cases: dict[str, Case], name: str
) -> None:
    case = cases[name]
    population, n = case.population(), 3000
    students = student_indices(Split.TEST, n)
    taught = teach(RandomTutor(population.student_model), population, case.task(), students)
    belief = posterior(population, n)
    for action, observation in zip(taught.actions, taught.observations[1:], strict=True):
        belief.update(action, observation.response)
    truth = population.sample(1, students)["type"]
    weights = belief.weights
    for kind in range(weights.shape[1]):
        for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.001)):
            some = (weights[:, kind] >= low) & (weights[:, kind] < high)
            if some.sum() < 50:
                continue
            believed = weights[some, kind]
            # Given the beliefs, the count of this type is a sum of Bernoullis with mean `believed`.
            excess = ((truth[some] == kind).double() - believed).sum()
            sd = (believed * (1 - believed)).sum().sqrt()
            assert abs(excess) <= 5.5 * sd + 3  # error rate below 1e-6 for all checks together


def test_students_are_filtered_alike_in_every_batch(
    teach: Callable[..., Any], population: Population
) -> None:
    task = TeachingTask(n_lessons=2, n_steps=4)
    n = 300  # more than one chunk of 128 students with 64 types
    taught = teach(RandomTutor(population.student_model), population, task, n)
    types = population.types_sampled(0, 64)
    whole, alone = (TypePosterior(population.student_model, types) for _ in range(2))
    whole.begin_trial(n)
    alone.begin_trial(1)
    student = 200
    for action, observation in zip(taught.actions, taught.observations[1:], strict=True):
        whole.observe(action, observation)
        one = slice(student, student + 1)
        alone.observe(action[one], observation._replace(response=observation.response[one]))
    assert_close(whole.weights[one], alone.weights, rtol=1e-12, atol=1e-14)
    assert_close(whole.gains()[one], alone.gains(), rtol=1e-12, atol=1e-14)
    assert_close(whole.predict(torch.zeros(n).long())[one], alone.predict(column(0)))
    kind = whole.draw(torch.full((n,), 0.3))
    assert_close(whole.gains_of(kind)[one], alone.gains_of(alone.draw(torch.tensor([0.3]))))


def test_draws_follow_the_weights() -> None:
    belief = posterior(LEARNERS, 4)  # prior 0.25, 0.25, 0.5
    assert belief.draw(torch.tensor([0.0, 0.25, 0.5, 0.999])).tolist() == [0, 1, 2, 2]


def test_types_are_exact_for_small_finite_populations_only(population: Population) -> None:
    assert types_of(LEARNERS, 0, 8).exact
    assert not types_of(population, 0, 8).exact
    assert len(types_of(population, 0, 8).prior) == 8
    many = {"categorical": {"values": [0.1 * i for i in range(9)]}}
    big = LEARNERS.with_latents(p_slip=many, p_guess=many, p_init=many)  # 3 * 9**3 types
    assert len(types_of(big, 0, 8).prior) == 8
    huge = big.with_latents(style_strength=many, ability=many)  # more than can be listed
    assert len(types_of(huge, 0, 8).prior) == 8


def test_average_type_has_the_mean_latents() -> None:
    average = average_type(LEARNERS.types_exact())
    # weights 1, 1, 2 of 4
    assert_close(average.latents["p_learn"][0, 0, 0].item(), (0.6 + 0.0 + 2 * 0.4) / 4)
    assert_close(average.latents["p_forget"].item(), 0.05)
    assert average.prior.tolist() == [1.0]
