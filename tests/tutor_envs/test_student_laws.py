"""Laws that every student model keeps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.population import Population
from tutor_envs.population_files import default_population
from tutor_envs.student import CORRECT, StudentModel
from tutor_envs.students import STUDENT_MODELS

COMMON = {
    "ability": {"normal": {}},
    "responsiveness": {"dirichlet": {"concentration": 1}},
    "style_strength": {"uniform": {"low": 0, "high": 1}},
}
RATES = {name: {"uniform": {"low": 0, "high": 1}} for name in ("p_slip", "p_guess")}
BKT_LATENTS = COMMON | RATES | {"p_learn": {"uniform": {"low": 0, "high": 1}}, "p_forget": 0.1}
WRITTEN = {
    "bkt": {
        "student": "bkt",
        "model": {"n_skills": 3, "modalities": ["a", "b"], "prerequisites": {1: [0], 2: [0, 1]}},
        "latents": BKT_LATENTS,
    },
    "bkt_unlocked_from_listed_states": {
        "student": "bkt",
        "model": {
            "n_skills": 2,
            "modalities": ["a"],
            "prerequisites": {1: [0]},
            "unlock_after": 1,
            "initial_states": [[], [0], [0, 1]],
            "weights": [0.3, 0.7],
        },
        "latents": BKT_LATENTS | {"p_initial_state": {"dirichlet": {"concentration": 1}}},
    },
    "irt": {
        "student": "irt",
        "model": {"n_skills": 2, "modalities": ["a", "b"]},
        "latents": COMMON
        | {
            "skill_offset": {"normal": {"low": -5, "high": 5}},
            "growth": {"uniform": {"low": 0, "high": 3}},
            "zpd_width": {"uniform": {"low": 0.1, "high": 3}},
        },
    },
    "memory": {
        "student": "memory",
        "model": {"n_items": 3, "modalities": ["a", "b"], "fail_to": 1},
        "latents": COMMON
        | {
            "half_life": {"uniform": {"low": 0.1, "high": 50}},
            "growth": {"uniform": {"low": 1, "high": 5}},
        },
    },
    "style_bandit": {
        "student": "style_bandit",
        "model": {"modalities": ["a", "b", "c"]},
        "latents": COMMON | RATES | {"p_event": {"uniform": {"low": 0, "high": 1}}},
    },
    "style_bandit_with_questionnaire": {
        "student": "style_bandit",
        "model": {"modalities": ["a", "b", "c"], "questionnaire_accuracy": 0.6},
        "latents": COMMON | RATES | {"p_event": {"uniform": {"low": 0, "high": 1}}},
    },
}
POPULATIONS = {name: Population.model_validate({"name": name} | w) for name, w in WRITTEN.items()}
_HELD = {population.student for population in POPULATIONS.values()}
POPULATIONS |= {name: default_population(name) for name in STUDENT_MODELS if name not in _HELD}
every_population = pytest.mark.parametrize("population", POPULATIONS.values(), ids=POPULATIONS)
some = settings(max_examples=6, deadline=None)
seeds = st.integers(0, 2**32 - 1)
N = 24


def draw(population: Population, seed: int, n: int = N):
    latents = population.sample(seed, torch.arange(n), dtype=torch.float64)
    latents.pop("type")
    return population.student_model, latents, torch.Generator().manual_seed(seed)


def lesson(model: StudentModel, latents, luck: torch.Generator, n_steps: int):
    """Random teaching: yields (state, belief, action, response, state afterwards)."""
    n = len(latents["ability"])
    state = model.begin_lesson(latents, torch.rand(n, model.n_start_uniforms, generator=luck))
    belief = model.begin_belief(latents)
    for _ in range(n_steps):
        action = torch.randint(model.n_actions, (n,), generator=luck)
        uniforms = torch.rand(n, model.n_step_uniforms, generator=luck)
        after, response = model.step(latents, state, action, uniforms)
        yield state, belief, action, response, after
        belief = model.update(latents, belief, action, response)
        state = after


@every_population
@some
@given(seed=seeds)
def test_probabilities_are_probabilities(population, seed):
    model, latents, luck = draw(population, seed)
    for state, belief, action, response, after in lesson(model, latents, luck, 8):
        p = model.predict(latents, belief, action)
        assert p.shape == (N, model.n_responses)
        torch.testing.assert_close(p.sum(-1), torch.ones(N, dtype=torch.float64))
        shares = [
            p,
            model.mastery(latents, state),
            model.post_test(latents, after),
            model.belief_mastery(latents, belief),
            model.belief_post_test(latents, belief),
        ]
        for share in shares:
            assert share.min() >= -1e-12
            assert share.max() <= 1 + 1e-12
        assert response.dtype == torch.int64
        assert response.min() >= 0
        assert response.max() < model.n_responses


@every_population
@some
@given(seed=seeds)
def test_beliefs_follow_the_latents_dtype_and_state_stays_put(population, seed):
    model, latents, luck = draw(population, seed)
    for state, belief, action, response, _ in lesson(model, latents, luck, 3):
        copies = [{name: v.clone() for name, v in view.items()} for view in (state, belief)]
        model.step(latents, state, action, torch.rand(N, model.n_step_uniforms, generator=luck))
        updated = model.update(latents, belief, action, response)
        floats = [value.dtype for value in updated.values() if value.is_floating_point()]
        assert set(floats) <= {torch.float64}
        for view, copy in zip((state, belief), copies, strict=True):
            assert all(torch.equal(view[name], copy[name]) for name in view)


@every_population
@some
@given(seed=seeds)
def test_gain_is_the_mean_over_responses_of_the_updated_belief(population, seed):
    model, latents, luck = draw(population, seed)
    if not model.belief_is_exact:
        pytest.skip("a sample of the belief has a sampled gain")
    for _, belief, action, _, _ in lesson(model, latents, luck, 6):
        gain = model.belief_gain(latents, belief, action)
        torch.testing.assert_close(gain, StudentModel.belief_gain(model, latents, belief, action))


@every_population
def test_answers_and_gains_come_as_often_as_predicted(population):
    model, latents, luck = draw(population, 5, 1)
    n = 20_000 if model.max_lesson_steps is None else 4_000  # histories are large
    *_, (state, _, action, _, _) = lesson(model, latents, luck, 5)

    def repeat(view):
        return {name: v.expand(n, *v.shape[1:]) for name, v in view.items()}

    many, states = repeat(latents), repeat(state)
    for taught in range(0, model.n_actions, -(-model.n_actions // 5)):
        action = torch.full((n,), taught)
        after, response = model.step(
            many, states, action, torch.rand(n, model.n_step_uniforms, generator=luck)
        )
        if model.has_expected_gain:
            gain = model.post_test(many, after) - model.post_test(many, states)
            expected = model.expected_gain(latents, state, action[:1])
            error = (gain.mean() - expected).abs()
            assert error <= 6 * gain.std() / n**0.5 + 1e-12
        p = model.answer(latents, state, action[:1])[0]
        share = torch.bincount(response, minlength=model.n_responses) / n
        assert ((share - p).abs() <= 6 * (p * (1 - p) / n).sqrt() + 1e-12).all()


@every_population
def test_beliefs_are_calibrated_on_average(population):
    n = 4_000
    model, latents, luck = draw(population, 6, n)
    *_, (state, belief, *_) = lesson(model, latents, luck, 8)
    error = model.post_test(latents, state) - model.belief_post_test(latents, belief)
    assert error.mean().abs() <= 6 * error.std() / n**0.5 + 1e-12


@every_population
@some
@given(seed=seeds)
def test_without_style_strength_all_modalities_are_the_same(population, seed):
    model, latents, luck = draw(population, seed)
    latents = latents | {"style_strength": torch.zeros(N, dtype=torch.float64)}
    if "p_learn" in latents:  # rates of their own for each modality are not a style
        latents["p_learn"] = latents["p_learn"][..., :1].expand_as(latents["p_learn"])
    n_modalities = len(model.modalities)
    for _, belief, action, response, _ in lesson(model, latents, luck, 4):
        practice = torch.tensor([bool(a.modality) for a in model.actions])[action]
        other = torch.where(
            practice, action - action % n_modalities + (action + 1) % n_modalities, action
        )
        torch.testing.assert_close(
            model.predict(latents, belief, action), model.predict(latents, belief, other)
        )
        one = model.update(latents, belief, action, response)
        two = model.update(latents, belief, other, response)
        for name in one:
            torch.testing.assert_close(one[name], two[name])


@every_population
@some
@given(seed=seeds, more=st.floats(0, 3))
def test_more_ability_is_never_worse_at_the_start(population, seed, more):
    model, latents, luck = draw(population, seed)
    better = latents | {"ability": latents["ability"] + more}
    luck_at_start = torch.rand(N, model.n_start_uniforms, generator=luck)
    here, there = (model.begin_lesson(who, luck_at_start) for who in (latents, better))
    assert (model.post_test(better, there) >= model.post_test(latents, here) - 1e-12).all()


@pytest.mark.parametrize("name", ["bkt", "memory", "style_bandit"])
@some
@given(seed=seeds, more=st.floats(0, 3))
def test_more_responsiveness_to_the_modality_is_never_worse(name, seed, more):
    model, latents, luck = draw(POPULATIONS[name], seed)
    modality = 0
    weights = latents["responsiveness"].clone()
    weights[:, modality] += more
    better = latents | {"responsiveness": weights / weights.sum(-1, keepdim=True)}
    state = model.begin_lesson(latents, torch.rand(N, model.n_start_uniforms, generator=luck))
    after = [
        model.step(
            who,
            state,
            torch.zeros(N).long() + modality,
            torch.full((N, model.n_step_uniforms), 0.3),
        )[0]
        for who in (latents, better)
    ]
    # the same luck, post-tested with the same latents
    one, two = (model.post_test(latents, view) for view in after)
    assert (two >= one - 1e-12).all()


@every_population
@some
@given(seed=seeds)
def test_a_student_is_computed_alike_in_every_batch(population, seed):
    model, latents, luck = draw(population, seed, 9)
    for _, belief, action, response, _ in lesson(model, latents, luck, 3):
        together = model.update(latents, belief, action, response)
        for row in (0, 8):
            alone = model.update(
                {name: v[row : row + 1] for name, v in latents.items()},
                {name: v[row : row + 1] for name, v in belief.items()},
                action[row : row + 1],
                response[row : row + 1],
            )
            for name, value in together.items():
                torch.testing.assert_close(value[row : row + 1], alone[name])


@every_population
def test_an_impossible_response_leaves_finite_numbers(population):
    model, latents, _ = draw(population, 0, 4)
    sure = {
        name: torch.zeros_like(latents[name]) for name in ("p_slip", "p_guess") if name in latents
    }
    latents = latents | sure
    belief = model.begin_belief(latents)
    action = torch.zeros(4).long()
    for _ in range(3):
        belief = model.update(latents, belief, action, torch.full((4,), CORRECT))
        belief = model.update(latents, belief, action, torch.zeros(4).long())
        assert all(bool(value.isfinite().all()) for value in belief.values())
