"""The transition-matrix student: published values, and numbers worked by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_agents.planning.exact import ExactPlanner
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population
from tutor_envs.students.tms import TMS
from tutor_envs.task import Reward, TeachingTask

# Tang et al. (2019), Study I: skill 1 builds on skill 0; materials teach with .6 and .7
BINARY = Population.model_validate(
    {
        "name": "binary",
        "student": "tms",
        "model": {"modalities": ["text"]},
        "latents": {"p_learn": [0.6, 0.7], "p_slip": 0, "p_guess": 0},
    }
)
SKILLS_GAINED = TeachingTask(n_steps=2, reward=Reward(score="mastery_gain", scale=2))
NOISY = BINARY.with_latents(p_slip=0.1, p_guess=0.25)
MODEL = BINARY.student_model


def latents_of(population: Population, n: int = 1) -> dict[str, torch.Tensor]:
    latents = population.sample(0, torch.arange(n), dtype=torch.float64)
    latents.pop("type")
    return latents


def test_binary_has_the_published_random_value_and_optimum():
    """EduSim's TMS-binary: two steps, from nothing or from skill 0.

    Fully observed optimum: from nothing, material 0 then 1 (or 0 again) gains
    .6 (1 + .7) + .4 (.6) = 1.26; from skill 0, material 1 twice gains .7 + .3 * .7 = .91.
    Random: from skill 0 each step learns with .35: .35 + .65 * .35 = .5775; from nothing the first
    step learns with .3: .3 (1 + .35) + .7 * .3 = .615.
    """
    planner = ExactPlanner.of(BINARY, SKILLS_GAINED)
    assert planner.full_information() == pytest.approx((1.26 + 0.91) / 2, abs=1e-12)
    assert planner.full_information() == pytest.approx(1.0850, abs=1e-12)
    assert planner.random() == pytest.approx((0.615 + 0.5775) / 2, abs=1e-12)
    assert round(planner.random(), 4) in (0.5962, 0.5963)  # .59625
    longest = TeachingTask(n_steps=40, reward=Reward(score="mastery_gain", scale=2))
    rates = Classroom(BINARY, longest)
    rates.begin_trial(student_indices(Split.TEST, 1000))
    for step in range(40):
        outcome = rates.step(torch.full((1000,), step % 2))
    assert outcome.reward.mean().item() == pytest.approx(1.5, abs=0.08)  # the most there is


def test_binary_taught_at_random_gains_what_the_planner_says():
    n = 20_000
    room = Classroom(BINARY, SKILLS_GAINED)
    room.begin_trial(student_indices(Split.TEST, n))
    luck = torch.Generator().manual_seed(0)
    for _ in range(2):
        outcome = room.step(torch.randint(2, (n,), generator=luck))
    error = outcome.reward.std().item() / n**0.5
    assert outcome.reward.mean().item() == pytest.approx(0.59625, abs=5 * error)


def test_with_hidden_start_and_items_the_optimum_is_less():
    """The start is hidden, so the best first material is 0 or 1 for everybody.

    Clean answers, material 0 first: from nothing (1/2): learned (.6), then material 1: .6 * 1.7;
    not learned (.4), which the answer shows, then material 0: .4 * .6. From skill 0 (1/2): "right",
    then material 1: .7. Together (1.02 + .24 + .7) / 2 = .98. Material 1 first: from skill 0 it
    gains .7 and is right; else wrong, as it is from nothing (P 1/2 against 1/2 * .3), and then
    material 0 gains .6 with 1 / 1.3, more than .7 with .3 / 1.3: (.7 + .6) / 2 = .65.
    """
    assert ExactPlanner.of(BINARY, SKILLS_GAINED).bayes() == pytest.approx(0.98)
    noisy = ExactPlanner.of(NOISY, SKILLS_GAINED)
    assert noisy.random() == pytest.approx(0.59625)
    assert noisy.full_information() == pytest.approx(1.085)
    assert noisy.best_sequence()[0] < noisy.bayes() < 0.98


def test_the_tree_has_31_states_and_its_materials_teach_in_turn():
    model = default_population("tms").student_model
    assert isinstance(model, TMS)
    latents = {
        name: torch.full((31, *spec.shape), spec.default)
        for name, spec in model.latent_specs.items()
    }
    latents |= {"p_learn": torch.ones(31, 7)}  # whatever can be learned is
    states = {"index": torch.arange(31)}
    mastered = [
        frozenset(torch.nonzero(row).flatten().tolist()) for row in model.mastery(latents, states)
    ]
    needs = {1: 0, 2: 0, 3: 2, 4: 0, 5: 4, 6: 4}
    spaces = {
        frozenset(s)
        for size in range(8)
        for s in itertools.combinations(range(7), size)
        if all(needs.get(k) is None or needs[k] in s for k in s)
    }
    assert len(spaces) == 31
    assert set(mastered) == spaces
    # EduSim's tables: material 0 leads 0 -> 2 -> 3, material 4 leads 4 -> 6, others one skill
    leads = {0: (0, 2, 3), 4: (4, 6)}
    for material in range(7):
        action = torch.full((31,), 2 * material)
        after, _ = model.step(latents, states, action, torch.full((31, 2), 0.5))
        for before, row in zip(mastered, model.mastery(latents, after), strict=True):
            skill = next((k for k in leads.get(material, (material,)) if k not in before), None)
            grown = before | {skill} if skill is not None else before
            expected = grown if grown in spaces else before
            assert frozenset(torch.nonzero(row).flatten().tolist()) == expected


def test_learning_and_answers_by_hand():
    population = Population.model_validate(
        {
            "name": "styled",
            "student": "tms",
            "model": {"modalities": ["text", "video"], "ability_on_learn": 0.5},
            "latents": {
                "ability": 2,
                "p_learn": [0.5, 0.2],
                "style_strength": 0.5,
                "responsiveness": [0.8, 0.2],
                "p_slip": 0.1,
                "p_guess": 0.25,
                "p_initial_state": [1, 0],
            },
        }
    )
    model, latents = population.student_model, latents_of(population)
    start = model.begin_lesson(latents, torch.tensor([[0.5]]))
    assert model.mastery(latents, start).tolist() == [[0, 0]]
    rate = 1 / (1 + 2.718281828459045**-1)  # logit .5 is 0, plus .5 * 2
    for action, style in ((0, 1.3), (1, 0.7)):  # 1 + .5 (2 * .8 - 1), 1 + .5 (2 * .2 - 1)
        taught = torch.tensor([action])
        assert model.expected_gain(latents, start, taught).item() == pytest.approx(rate * style / 2)
        right = model.answer(latents, start, taught)[0, 1].item()
        assert right == pytest.approx(rate * style * 0.9 + (1 - rate * style) * 0.25)
    assert model.expected_gain(latents, start, torch.tensor([2])).item() == 0  # blocked by skill 0
    assert model.answer(latents, start, torch.tensor([2]))[0, 1].item() == pytest.approx(0.25)


@settings(max_examples=15, deadline=None)
@given(
    history=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=5),
    slip=st.floats(0.05, 0.45),
    guess=st.floats(0.05, 0.45),
)
def test_the_belief_is_bayes_rule_over_paths(history, slip, guess):
    """Against a sum over every path of a chain written out here."""
    population = BINARY.with_latents(p_slip=slip, p_guess=guess)
    latents = latents_of(population)
    belief = MODEL.begin_belief(latents)
    weights = {(): 0.5, (0,): 0.5, (0, 1): 0.0}
    rate, known = {0: 0.6, 1: 0.7}, 1 - slip
    for material, response in history:
        after = dict.fromkeys(weights, 0.0)
        for state, weight in weights.items():
            ready = state == ((), (0,))[material]
            right = known if material in state else guess
            p_move = rate[material] if ready else 0.0
            after[state] += weight * (1 - p_move) * (right if response else 1 - right)
            if ready:
                after[(*state, material)] += weight * p_move * (known if response else 1 - known)
        weights = after
        belief = MODEL.update(latents, belief, torch.tensor([material]), torch.tensor([response]))
    total = sum(weights.values())
    assert belief["p"][0].tolist() == pytest.approx([w / total for w in weights.values()])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"initial_states": [[1]]}, "must hold the prerequisites of their skills, got .1."),
        ({"materials": [[0], [2]]}, r"skill indices must be in \[0, 1\], got 2"),
        ({"materials": [[0], []]}, "`materials` must each teach at least one skill"),
        ({"prerequisites": {0: [1], 1: [0]}}, "`prerequisites` must not form a cycle"),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        TMS.model_validate(config)
