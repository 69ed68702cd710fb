"""The data-shaped default: numbers worked by hand, and the belief against enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.population_files import default_population
from tutor_envs.students.data_shaped import DataShaped

MODEL = DataShaped(n_skills=2, modalities=("read", "say"), step_s=30.0, delay_days=1.0)
NUMBERS = {
    "p_init": 0.2,
    "p_acquire": 0.4,
    "p_slip": 0.1,
    "p_guess": 0.25,
    "strength_start": 1.0,
    "growth": 0.8,
    "forgetting": 0.3,
}


def student(n: int = 1, **latents) -> dict[str, torch.Tensor]:
    specs = MODEL.latent_specs
    values = {name: spec.default for name, spec in specs.items()} | NUMBERS | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in specs.items()
    }


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def p_if_acquired(practice: float, minutes: float, easiness: float = 0.0) -> float:
    recall = sigmoid(1 + easiness + 0.8 * math.log1p(practice) - 0.3 * math.log1p(minutes))
    return 0.25 + 0.75 * 0.9 * recall


def known(*acquired: float, practice=(0.0, 0.0), days=(0.0, 0.0)) -> dict[str, torch.Tensor]:
    rows = {"acquired": acquired, "practice": practice, "days": days}
    state = {name: torch.tensor([row], dtype=torch.float64) for name, row in rows.items()}
    return state | {"seen": state["practice"] > 0}


def test_answers_by_hand():
    state = known(1, 0, practice=(2, 2), days=(0.5, 0.5))
    p = MODEL.predict(student(), state, torch.tensor([0]))[0, 1].item()
    assert p == pytest.approx(p_if_acquired(2, 720))
    p = MODEL.predict(student(), state, torch.tensor([2]))[0, 1].item()
    assert p == pytest.approx(0.25)  # not acquired: a guess, whatever the practice


def test_acquisition_by_hand():
    belief = MODEL.begin_belief(student(easiness=[0.0, 1.0]))
    assert belief["acquired"][0].tolist() == pytest.approx([0.2, sigmoid(logit(0.2) + 1)])
    latents = student()
    for response in (0, 1):
        q = p_if_acquired(0, 0) if response else 1 - p_if_acquired(0, 0)
        guess = 0.25 if response else 0.75
        posterior = 0.2 * q / (0.2 * q + 0.8 * guess)
        after = MODEL.update(
            latents, MODEL.begin_belief(latents), torch.tensor([0]), torch.tensor([response])
        )
        expected = posterior + (1 - posterior) * 0.4
        assert after["acquired"][0].tolist() == pytest.approx([expected, 0.2])
        assert after["practice"][0].tolist() == pytest.approx([1 if response else 0.5, 0])
        assert after["days"][0].tolist() == pytest.approx([30 / 86400, 0])


def test_one_factor_moves_start_speed_slip_and_guess():
    latents = student(ability=2.0, easiness=[0.0, 0.6])
    belief = MODEL.begin_belief(latents)
    assert belief["acquired"][0, 1].item() == pytest.approx(sigmoid(logit(0.2) + 1.8 + 0.6))
    slip, guess = sigmoid(logit(0.1) - 1.4), sigmoid(logit(0.25) + 0.4)
    state = known(1, 0)
    p = MODEL.p_correct(latents, state)[0].tolist()
    assert p == pytest.approx([guess + (1 - guess) * (1 - slip) * sigmoid(1), guess])
    # exposed without knowledge: 0.7 per SD and half the easiness
    after = MODEL.update(latents, known(0, 0), torch.tensor([2]), torch.tensor([1]))
    assert after["acquired"][0, 1].item() == pytest.approx(sigmoid(logit(0.4) + 1.4 + 0.3))


def test_style_scales_acquisition_and_strength():
    latents = student(style_strength=0.5, responsiveness=[0.8, 0.2])
    for action, style in ((0, 1.3), (1, 0.7)):  # 1 + .5 (2 * .8 - 1), 1 + .5 (2 * .2 - 1)
        after = MODEL.update(latents, known(0, 0), torch.tensor([action]), torch.tensor([1]))
        assert after["acquired"][0, 0].item() == pytest.approx(0.4 * style)
        assert after["practice"][0, 0].item() == pytest.approx(style)
    sure = student(p_acquire=1.0, style_strength=1.0, responsiveness=[1.0, 0.0])
    after = MODEL.update(sure, known(0, 0), torch.tensor([0]), torch.tensor([0]))
    assert after["acquired"][0, 0].item() == 1  # a probability, though style is 2


def test_a_step_with_known_luck():
    latents = student(4)
    state = {name: v.expand(4, -1) for name, v in known(0, 1).items()}
    # a guess is right below .25; item 0 is acquired below .4
    luck = torch.tensor([[0.24, 0.39], [0.26, 0.39], [0.24, 0.41], [0.26, 0.41]])
    after, response = MODEL.step(latents, state, torch.zeros(4).long(), luck)
    assert response.tolist() == [1, 0, 1, 0]
    assert after["acquired"].tolist() == [[1, 1], [1, 1], [0, 1], [0, 1]]
    assert after["practice"][:, 0].tolist() == [1, 0.5, 1, 0.5]
    assert after["days"][0].tolist() == pytest.approx([30 / 86400, 0])


def test_time_passes_for_what_was_practised_only():
    latents = student()
    state = known(1, 1, practice=(1.0, 0.0))
    waited = MODEL.wait(latents, state, torch.tensor([2.0]), torch.empty(1, 0))
    assert waited["days"].tolist() == [[2, 0]]
    p = MODEL.p_correct(latents, waited)[0].tolist()
    assert p == pytest.approx([p_if_acquired(1, 2880), p_if_acquired(0, 0)])
    # the post-test comes a day later
    expected = [p_if_acquired(1, 1440), p_if_acquired(0, 0)]
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx(expected)
    assert MODEL.post_test(latents, state).item() == pytest.approx(sum(expected) / 2)


@settings(max_examples=15, deadline=None)
@given(
    history=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=5),
    ability=st.floats(-2, 2),
)
def test_the_belief_is_bayes_rule_over_joint_paths(history, ability):
    """Against a sum over every path of the joint hidden state of both items."""
    latents = student(ability=ability, style_strength=0.3, responsiveness=[0.7, 0.3])
    states = list(itertools.product((0, 1), repeat=2))
    start = MODEL.begin_belief(latents)
    p_init = start["acquired"][0].tolist()
    weight = {
        s: math.prod(p if a else 1 - p for p, a in zip(p_init, s, strict=True)) for s in states
    }
    view, belief = known(0, 0), start
    for action, response in history:
        item, taught = action // 2, torch.tensor([action])
        p_correct = {
            s: MODEL.predict(
                latents,
                view
                | known(*s, practice=view["practice"][0].tolist(), days=view["days"][0].tolist()),
                taught,
            )[0, 1].item()
            for s in states
        }
        weight = {
            s: w * (p_correct[s] if response else 1 - p_correct[s]) for s, w in weight.items()
        }
        exposed = MODEL.update(latents, known(0, 0), taught, torch.tensor([1]))
        learn = exposed["acquired"][0, item].item()  # from "surely not acquired"
        for s in states:
            if not s[item]:
                other = tuple(1 if k == item else a for k, a in enumerate(s))
                weight[other] += weight[s] * learn
                weight[s] *= 1 - learn
        belief = MODEL.update(latents, belief, taught, torch.tensor([response]))
        view = belief
        total = sum(weight.values())
        for k in range(2):
            marginal = sum(w for s, w in weight.items() if s[k]) / total
            assert belief["acquired"][0, k].item() == pytest.approx(marginal)
        both = weight[1, 1] / total
        assert both == pytest.approx(belief["acquired"][0].prod().item())  # stays a product


def test_the_first_exposure_jumps_and_the_curve_is_that_of_the_records():
    """Opportunities 1 to 5 of an item, minutes apart: .30 .64 .76 .83 .85 in stats_cloze."""
    population = default_population("cloze_course")
    model = population.student_model
    n = 4000
    latents = population.sample(0, torch.arange(n), dtype=torch.float64)
    luck = torch.Generator().manual_seed(0)
    state = model.begin_lesson(latents, torch.rand(n, model.n_start_uniforms, generator=luck))
    latents = latents | {"style_strength": torch.zeros(n, dtype=torch.float64)}
    item = torch.randint(model.n_skills, (n,), generator=luck)
    curve = []
    for _ in range(5):
        state, response = model.step(
            latents, state, item * len(model.modalities), torch.rand(n, 2, generator=luck)
        )
        curve.append(response.double().mean().item())
        state = model.wait(latents, state, torch.full((n,), 200 / 86400), torch.empty(n, 0))
    assert curve == pytest.approx([0.30, 0.64, 0.76, 0.83, 0.85], abs=0.05)
