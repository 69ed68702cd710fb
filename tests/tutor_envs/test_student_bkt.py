"""Bayesian knowledge tracing: numbers worked by hand, and the belief against enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tutor_envs.students.bkt import BKT


def student(model: BKT, n: int = 1, **latents) -> dict[str, torch.Tensor]:
    """N copies of one student in float64; what is not given has the model's default."""
    values = {name: spec.default for name, spec in model.latent_specs.items()} | latents
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(n, *spec.shape).clone()
        for name, spec in model.latent_specs.items()
    }


def action(*indices: int) -> torch.Tensor:
    return torch.tensor(indices)


ONE = BKT(n_skills=1, modalities=("text",))
RATES = {"p_learn": 0.2, "p_slip": 0.1, "p_guess": 0.3, "p_init": 0.4}


# -- by hand ---------------------------------------------------------------------------------------
def test_prediction_and_update_by_hand():
    latents = student(ONE, **RATES)
    belief = ONE.begin_belief(latents)
    assert belief["p"][0].tolist() == pytest.approx([0.6, 0.4])
    # .4 known * (1 - .1) + .6 unknown * .3 = .54
    assert ONE.predict(latents, belief, action(0))[0].tolist() == pytest.approx([0.46, 0.54])
    right = ONE.update(latents, belief, action(0), action(1))
    wrong = ONE.update(latents, belief, action(0), action(0))
    # right: .36 / .54 = 2/3, then 2/3 + 1/3 * .2; wrong: .04 / .46, then the same step
    assert right["p"][0, 1].item() == pytest.approx(2 / 3 + 1 / 3 * 0.2)
    assert wrong["p"][0, 1].item() == pytest.approx(0.04 / 0.46 + 0.42 / 0.46 * 0.2)


@pytest.mark.parametrize(
    ("ability", "expected"),
    [
        (0.0, 0.2),
        # odds .2 / .8 = .25, times e ** .8 per SD of ability
        (1.0, 0.25 * math.exp(0.8) / (1 + 0.25 * math.exp(0.8))),
        (-2.0, 0.25 * math.exp(-1.6) / (1 + 0.25 * math.exp(-1.6))),
    ],
)
def test_ability_shifts_the_logit_of_learning(ability, expected):
    latents = student(ONE, **RATES, ability=ability)
    gain = ONE.expected_gain(latents, {"mastered": torch.tensor([[False]])}, action(0))
    assert gain.item() == pytest.approx(expected)


def test_ability_shifts_the_logit_of_the_start():
    latents = student(ONE, **RATES, ability=1.0)
    # odds .4 / .6 = 2/3, times e ** 1 per SD
    odds = 2 / 3 * math.e
    assert ONE.begin_belief(latents)["p"][0, 1].item() == pytest.approx(odds / (1 + odds))


def test_learning_scales_with_the_modality():
    model = BKT(n_skills=1, modalities=("text", "video"))
    state = {"mastered": torch.tensor([[False]] * 2)}
    rates = {"p_learn": 0.2, "responsiveness": [0.75, 0.25]}
    # 1 + strength * (2 * .75 - 1) = 1.5 or 1.25; 1 + strength * (2 * .25 - 1) = .5 or .75
    for strength, factors in ((1.0, (1.5, 0.5)), (0.5, (1.25, 0.75)), (0.0, (1.0, 1.0))):
        latents = student(model, 2, **rates, style_strength=strength)
        gain = model.expected_gain(latents, state, action(0, 1))
        assert gain.tolist() == pytest.approx([0.2 * factor for factor in factors])


def test_a_missing_prerequisite_slows_learning():
    model = BKT(n_skills=2, modalities=("text",), prerequisites={1: (0,)}, prerequisite_factor=0.1)
    latents = student(model, 2, p_learn=0.5)
    state = {"mastered": torch.tensor([[False, False], [True, False]])}
    # each skill is half of the post-test: .5 * .1 / 2 and .5 / 2
    assert model.expected_gain(latents, state, action(1, 1)).tolist() == pytest.approx(
        [0.025, 0.25]
    )


def test_a_step_with_known_luck():
    model = BKT(n_skills=3, modalities=("text",))
    latents = student(model, 1, p_learn=0.4, p_slip=0.1, p_guess=0.3, p_forget=0.2)
    state = {"mastered": torch.tensor([[False, True, True]])}
    # answer .29 < guess .3: right; learning .41 >= .4: not; forgetting: .1 < .2 skill 0 (practised,
    # not mastered), .19 < .2 skill 1 lost, .21 >= .2 skill 2 kept
    luck = torch.tensor([[0.29, 0.41, 0.1, 0.19, 0.21]])
    after, response = model.step(latents, state, action(0), luck)
    assert response.item() == 1
    assert after["mastered"].tolist() == [[False, False, True]]
    # learning .39 < .4; skill 1 is kept at .21
    luck = torch.tensor([[0.31, 0.39, 0.1, 0.21, 0.21]])
    after, response = model.step(latents, state, action(0), luck)
    assert response.item() == 0
    assert after["mastered"].tolist() == [[True, True, True]]


def test_the_practised_skill_is_not_forgotten():
    model = BKT(n_skills=2, modalities=("text",))
    latents = student(model, 1, p_forget=1.0)
    state = {"mastered": torch.tensor([[True, True]])}
    after, _ = model.step(latents, state, action(1), torch.zeros(1, 4))
    assert after["mastered"].tolist() == [[False, True]]


def test_weights_make_the_post_test():
    model = BKT(n_skills=2, modalities=("text",), weights=(0.8, 0.2))
    latents = student(model, 2)
    state = {"mastered": torch.tensor([[True, False], [False, True]])}
    assert model.post_test(latents, state).tolist() == pytest.approx([0.8, 0.2])


def test_initial_states_replace_independent_starts():
    model = BKT(n_skills=2, modalities=("text",), initial_states=((), (0,), (0, 1)))
    latents = student(model, 4, p_initial_state=[0.2, 0.5, 0.3])
    luck = torch.tensor([[0.0], [0.19], [0.21], [0.71]])  # edges at .2 and .7
    drawn = model.begin_lesson(latents, luck)["mastered"]
    assert drawn.tolist() == [[False, False], [False, False], [True, False], [True, True]]
    # joint states are numbered by bits: {} = 0, {0} = 1, {1} = 2, {0, 1} = 3
    assert model.begin_belief(latents)["p"][0].tolist() == pytest.approx([0.2, 0.5, 0, 0.3])


def test_skills_unlock_after_correct_answers_to_their_prerequisites():
    model = BKT(
        n_skills=3, modalities=("a", "b"), prerequisites={1: (0,), 2: (0, 1)}, unlock_after=2
    )
    latents = student(model, 1)
    state = model.begin_lesson(latents, torch.zeros(1, 3))

    def open_skills():
        return model.legal_actions(state)[0, ::2].tolist()

    assert model.legal_actions(state).tolist() == [[True, True, False, False, False, False]]
    for skill, response, expected in [
        (0, 1, [True, False, False]),
        (0, 0, [True, False, False]),  # a wrong answer does not count
        (0, 1, [True, True, False]),
        (1, 1, [True, True, False]),
        (1, 1, [True, True, True]),
    ]:
        state = {**state} | model._next_history(state, action(2 * skill), action(response))
        assert open_skills() == expected


# -- the belief against enumeration ----------------------------------------------------------------
def enumerate_posterior(rates, prerequisites, factor, history):
    """P(joint state | history), two skills, one modality: the forward recursion in plain loops."""
    learn, slip, guess, forget, init = rates
    states = list(itertools.product((0, 1), repeat=2))
    p = {s: math.prod(init[k] if s[k] else 1 - init[k] for k in (0, 1)) for s in states}
    for skill, response in history:
        after = dict.fromkeys(states, 0.0)
        for before, weight in p.items():
            p_correct = 1 - slip if before[skill] else guess
            weight *= p_correct if response else 1 - p_correct
            ready = all(before[q] for q in prerequisites.get(skill, ()))
            p_learn = learn[skill] * (1 if ready else factor)
            for then in states:
                move = 1.0
                for k in (0, 1):
                    if k == skill:
                        p_one = 1.0 if before[k] else p_learn
                    else:
                        p_one = 1 - forget if before[k] else 0.0
                    move *= p_one if then[k] else 1 - p_one
                after[then] += weight * move
        total = sum(after.values())
        p = {s: weight / total for s, weight in after.items()}
    return p


HISTORIES = [
    list(zip(skills, responses, strict=True))
    for skills in itertools.product((0, 1), repeat=3)
    for responses in itertools.product((0, 1), repeat=3)
]


@pytest.mark.parametrize("forget", [0.0, 0.15])
def test_the_belief_is_the_enumerated_posterior(forget):
    model = BKT(n_skills=2, modalities=("text",), prerequisites={1: (0,)}, prerequisite_factor=0.25)
    rates = ([0.4, 0.6], 0.1, 0.25, forget, [0.3, 0.2])
    latents = student(
        model,
        p_learn=[[0.4], [0.6]],
        p_slip=0.1,
        p_guess=0.25,
        p_forget=forget,
        p_init=[0.3, 0.2],
    )
    for history in HISTORIES:
        belief = model.begin_belief(latents)
        for skill, response in history:
            belief = model.update(latents, belief, action(skill), action(response))
        expected = enumerate_posterior(rates, {1: (0,)}, 0.25, history)
        found = belief["p"][0].tolist()
        assert found == pytest.approx([expected[s] for s in ((0, 0), (1, 0), (0, 1), (1, 1))])


def test_the_belief_is_what_simulated_students_know():
    model = BKT(n_skills=2, modalities=("text",), prerequisites={1: (0,)})
    n = 60_000
    latents = student(
        model, n, p_learn=0.3, p_slip=0.15, p_guess=0.25, p_forget=0.1, p_init=[0.4, 0.2]
    )
    luck = torch.Generator().manual_seed(0)
    state = model.begin_lesson(latents, torch.rand(n, 2, generator=luck))
    belief = model.begin_belief(latents)
    code = torch.zeros(n, dtype=torch.long)
    for skill in (0, 1, 0, 1):
        taught = torch.full((n,), skill)
        state, response = model.step(latents, state, taught, torch.rand(n, 4, generator=luck))
        belief = model.update(latents, belief, taught, response)
        code = 2 * code + response
    believed, known = model.belief_mastery(latents, belief), model.mastery(latents, state)
    for history in range(16):
        rows = code == history
        p = believed[rows][0]
        z = (known[rows].mean(0) - p) / (p * (1 - p) / rows.sum()).sqrt()
        assert z.abs().max() < 5.9  # 32 comparisons, false alarm below 1e-6 in all


# -- what is refused -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_skills": 2, "prerequisites": {2: (0,)}}, r"skill indices must be in \[0, 1\], got 2"),
        ({"n_skills": 2, "initial_states": ((5,),)}, r"skill indices must be in \[0, 1\], got 5"),
        ({"prerequisites": {0: (1,), 1: (0,)}}, "`prerequisites` must not form a cycle"),
        ({"prerequisites": {0: (0,)}}, "`prerequisites` must not form a cycle"),
        ({"n_skills": 2, "weights": (1.0,)}, "`weights` must have 2 numbers, got 1"),
        ({"n_skills": 2, "weights": (0.9, 0.9)}, "`weights` must be >= 0 and sum to 1"),
        ({"initial_states": ()}, "`initial_states` must list at least one"),
        ({"modalities": ()}, "modalities"),
        ({"prerequisite_factor": 1.5}, "less than or equal to 1"),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        BKT(**config)


def test_a_joint_belief_of_many_dependent_skills_is_refused_but_simulation_is_not():
    model = BKT(n_skills=13, prerequisites={1: (0,)})
    latents = student(model)
    model.begin_lesson(latents, torch.zeros(1, 13))
    with pytest.raises(ValueError, match="an exact belief needs `n_skills` <= 12"):
        model.begin_belief(latents)


# -- items, pauses, many skills --------------------------------------------------------------------
def test_items_differ_in_slip_and_guess_by_hand():
    model = BKT(n_skills=2, items_per_skill=2, modalities=("text", "video"))
    assert model.n_actions == 8
    assert str(model.actions[6]) == "practice(item 1) skill_1 by text"
    shift = [[0.0, 0.0], [0.0, 1.0]]
    latents = student(model, **RATES, slip_shift=shift, guess_shift=shift)
    belief = model.begin_belief(latents)
    # item 1 of skill 1: odds of slipping 1/9 times e, of guessing 3/7 times e
    slip, guess = (math.e / 9) / (1 + math.e / 9), (math.e * 3 / 7) / (1 + math.e * 3 / 7)
    p = [model.predict(latents, belief, action(a))[0, 1].item() for a in (4, 5, 6, 7)]
    assert p == pytest.approx([0.54, 0.54] + [0.4 * (1 - slip) + 0.6 * guess] * 2)
    # a sure non-slip is simulated from the same numbers
    knows = {"mastered": torch.tensor([[True, True]])}
    u = torch.tensor([[1 - slip + 1e-6, 0.99, 0.99, 0.99]], dtype=torch.float64)
    assert [model.step(latents, knows, action(a), u)[1].item() for a in (4, 6)] == [1, 0]


def test_the_gain_of_every_item_of_a_skill_is_the_same():
    model = BKT(n_skills=2, items_per_skill=3, modalities=("text", "video"))
    latents = student(model, **RATES | {"p_learn": [[0.1, 0.2], [0.3, 0.4]]})
    gains = model.belief_gains(latents, model.begin_belief(latents))[0].view(2, 3, 2)
    assert torch.equal(gains[:, 0], gains[:, 2])
    # half the post-test, .6 not yet mastered
    assert gains[1, 1].tolist() == pytest.approx([0.5 * 0.6 * 0.3, 0.5 * 0.6 * 0.4])


@pytest.mark.parametrize("n_skills", [2, 13])
def test_a_pause_forgets_as_that_many_idle_steps(n_skills):
    model = BKT(n_skills=n_skills, modalities=("text",), step_s=3600)
    latents = student(model, **RATES | {"p_forget": 0.1})
    three_hours = torch.tensor([0.125], dtype=torch.float64)
    after = model.belief_wait(latents, model.begin_belief(latents), three_hours)
    kept = 0.4 * 0.9**3
    assert model.belief_mastery(latents, after)[0].tolist() == pytest.approx([kept] * n_skills)
    mastered = {"mastered": torch.ones(1, n_skills, dtype=torch.bool)}
    luck = torch.full((1, n_skills), 0.272)
    luck[0, 0] = 0.27  # 1 - .9^3 = .271
    now = model.wait(latents, mastered, three_hours, luck)["mastered"][0].tolist()
    assert now == [False] + [True] * (n_skills - 1)


def test_many_independent_skills_are_followed_one_by_one_and_it_is_the_same_belief():
    few, many = BKT(n_skills=3, modalities=("text",)), BKT(n_skills=13, modalities=("text",))
    rates = RATES | {"p_forget": 0.05, "ability": 0.3}
    latents, more = student(few, **rates), student(many, **rates)
    joint, factored = few.begin_belief(latents), many.begin_belief(more)
    for skill, answer in ((0, 1), (1, 0), (0, 0), (2, 1), (0, 1)):
        torch.testing.assert_close(
            few.predict(latents, joint, action(skill)),
            many.predict(more, factored, action(skill)),
        )
        joint = few.update(latents, joint, action(skill), action(answer))
        factored = many.update(more, factored, action(skill), action(answer))
        torch.testing.assert_close(
            few.belief_mastery(latents, joint), many.belief_mastery(more, factored)[:, :3]
        )
    no_forgetting = {**more, "p_forget": torch.zeros_like(more["p_forget"])}
    torch.testing.assert_close(
        many.belief_gains(no_forgetting, factored)[:, :3] * 13,
        few.belief_gains({**latents, "p_forget": no_forgetting["p_forget"]}, joint) * 3,
    )
    assert few.belief_is_distribution
    assert not many.belief_is_distribution
