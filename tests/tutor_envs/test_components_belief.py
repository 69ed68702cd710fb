"""Beliefs about students with components, against exact filters that are written out here."""

from __future__ import annotations

import itertools
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutor_envs.components import Components, ComposedStudent
from tutor_envs.practice import SkillPractice
from tutor_envs.student import Latents, LatentSpec, State, StudentModel
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.students.bkt import BKT

SLIP, GUESS, LEARN, INIT = 0.1, 0.2, 0.3, 0.4
LAPSE, BLIND = 0.25, 0.35
TOLERANCE = 0.05
"""About three standard errors of a share of 1024 particles."""
ACTIVITIES = {
    "practice": {"learn_novice": 0.5, "learn_expert": 0.9},
    "quiz": {},
    "worked_example": {"learn_novice": 0.8},
    "hint": {"learn_novice": 0.6, "help": 0.5},
    "rest": {},
}
NAMES = ("practice", "quiz", "worked_example", "hint", "rest")


def composed(base: StudentModel, **components: object) -> ComposedStudent:
    return ComposedStudent.of(base, Components.model_validate(components))


def latents(of: StudentModel, n: int = 1, **values: float) -> dict[str, Tensor]:
    return {
        name: torch.full((n, *spec.shape), values.get(name, spec.default), dtype=torch.float64)
        for name, spec in of.latent_specs.items()
    }


def follow(student: ComposedStudent, z: Latents, history: list[tuple[int, int]]) -> list[float]:
    """Predicted P(correct by a practice) after each step of a history of (action, response)."""
    belief, seen = student.begin_belief(z), []
    for action, response in history:
        belief = student.update(z, belief, torch.tensor([action]), torch.tensor([response]))
        seen.append(student.predict(z, belief, torch.tensor([0]))[0, 1].item())
    return seen


# -- two hidden states -----------------------------------------------------------------------------
def exact_skill(history: list[tuple[int, int]]) -> list[float]:
    """P(correct) by Bayes' rule on known x attended; one skill, the activities in this order."""
    p, seen = INIT, []
    for activity, response in history:
        name = NAMES[activity]
        rate = {"practice": 0.5, "quiz": 0.0, "worked_example": 0.8, "hint": 0.6, "rest": 0.0}[name]
        new = [0.0, 0.0]
        for knows, attends in itertools.product((0, 1), (0, 1)):
            joint = (p if knows else 1 - p) * (1 - LAPSE if attends else LAPSE)
            p_correct = ((1 - SLIP) if knows else GUESS) if attends else BLIND
            if name == "hint" and attends:
                p_correct += 0.5 * (1 - p_correct)
            if name not in ("worked_example", "rest"):
                joint *= p_correct if response == 1 else 1 - p_correct
            # only novices can learn, so only `learn_novice` matters for two hidden states
            moves = LEARN * rate if attends and not knows else 0.0
            new[knows] += joint * (1 - moves)
            new[1] += joint * moves
        p = new[1] / sum(new)
        p_attending = p * (1 - SLIP) + (1 - p) * GUESS
        seen.append((1 - LAPSE) * p_attending + LAPSE * BLIND)
    return seen


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 1)).map(
            lambda s: (s[0], 2 if s[0] in (2, 4) else s[1])
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_a_hidden_skill_is_followed_through_lapses_and_activities(history):
    base = BKT(n_skills=1, modalities=("text",))
    student = composed(base, lapses={}, activities=ACTIVITIES, guess=BLIND, n_particles=1024)
    z = latents(
        student, p_slip=SLIP, p_guess=GUESS, p_learn=LEARN, p_init=INIT, lapse=LAPSE, p_forget=0.0
    )
    assert [a.activity for a in student.actions] == list(NAMES)
    assert follow(student, z, history) == pytest.approx(exact_skill(history), abs=TOLERANCE)


# -- a known state ---------------------------------------------------------------------------------
class Counter(SkillPractice):
    """P(correct) = .2 + .1 n, with n the practices with a correct answer (twice) or a wrong one."""

    name: ClassVar[str] = "counter"
    n_skills: int = 1
    modalities: tuple[str, ...] = ("text",)

    @property
    def latent_specs(self) -> dict[str, LatentSpec]:
        return self._common_latents()

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        return {"n": torch.zeros_like(latents["responsiveness"])}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        return 0.2 + 0.1 * state["n"]

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        return {"n": (state["n"] + practised * (1 + correct.to(style.dtype))).clamp(max=7)}


def test_a_counting_student_is_followed_by_enumerating_who_attended():
    student = composed(Counter(), lapses={}, guess=BLIND, n_particles=1024)
    z, answers = latents(student, lapse=LAPSE), [1, 1, 0, 1]
    weights = {0: 1.0}
    exact = []
    for y in answers:
        new: dict[int, float] = {}
        for n, weight in weights.items():
            p = 0.2 + 0.1 * n
            for attends, share in ((True, 1 - LAPSE), (False, LAPSE)):
                p_y = p if attends else BLIND
                m = min(n + 1 + y, 7) if attends else n
                new[m] = new.get(m, 0) + weight * share * (p_y if y else 1 - p_y)
        weights = {n: w / sum(new.values()) for n, w in new.items()}
        mean = sum(w * (0.2 + 0.1 * n) for n, w in weights.items())
        exact.append((1 - LAPSE) * mean + LAPSE * BLIND)
    seen = follow(student, z, [(0, y) for y in answers])
    assert seen == pytest.approx(exact, abs=TOLERANCE)


def test_an_example_counts_as_a_correct_answer_and_a_quiz_as_none():
    activities = {"practice": {"learn_novice": 1}, "quiz": {}, "worked_example": {}}
    activities["worked_example"] = {"learn_novice": 1, "learn_expert": 1}
    student = composed(Counter(), activities=activities)
    z = latents(student)
    # n: 0 -> 1 by a wrong practice, 3 by the example, 3 after the quiz, 5 by a correct practice
    assert student.belief_is_exact
    seen = follow(student, z, [(0, 0), (2, 2), (1, 1), (0, 1)])
    assert seen == pytest.approx([0.3, 0.5, 0.5, 0.7])


# -- nothing hidden --------------------------------------------------------------------------------
def test_the_belief_stays_exact_where_components_hide_nothing():
    base = BKT(n_skills=2, prerequisites={1: (0,)})
    student = composed(
        base,
        response_time={},
        costs={"practice": 0.01},
        dropout={"hazard": 0.1},
        schedule={"budget_s": 1e6},
        prerequisites={"requires": {"skill_1": ["skill_0"]}},
    )
    assert student.belief_is_exact
    z = latents(student, p_forget=0.05)
    ours, theirs = student.begin_belief(z), base.begin_belief(z)
    for action, response in [(0, 0), (3, 1), (2, 1), (5, 0)]:
        a, y = torch.tensor([action]), torch.tensor([response])
        ours, theirs = student.update(z, ours, a, y), base.update(z, theirs, a, y)
        torch.testing.assert_close(ours["base.p"][:, 0], theirs["p"], rtol=1e-12, atol=1e-12)
        p, hazard = student.predict(z, ours, a), student.predict(z, ours, a)[:, -1]
        torch.testing.assert_close(p[:, :2] / (1 - hazard), base.predict(z, theirs, a))


@pytest.mark.parametrize("hidden", ["lapses", "engagement", "activities"])
def test_what_is_hidden_is_said(hidden):
    part = {"practice": {}} if hidden == "activities" else {}
    assert not composed(BKT(), **{hidden: part}).belief_is_exact


# -- the law that ties belief and simulation -------------------------------------------------------
EVERYTHING = {
    "lapses": {},
    "fatigue": {},
    "engagement": {},
    "dropout": {"hazard": 0.1},
    "activities": ACTIVITIES,
    "response_time": {},
    "n_particles": 256,
}


def simulated(student: ComposedStudent, z: Latents, n: int, actions: list[int]) -> list[Tensor]:
    """Responses of n students to each of these actions."""
    g = torch.Generator().manual_seed(1)
    u = torch.rand(n, student.n_start_uniforms, generator=g, dtype=torch.float64)
    state, seen = student.begin_lesson(z, u), []
    for action in actions:
        u = torch.rand(n, student.n_step_uniforms, generator=g, dtype=torch.float64)
        state, response = student.step(z, state, torch.full((n,), action), u)
        seen.append(response)
    return seen


@pytest.mark.parametrize("name", ["bkt", "pfa", "irt"])
def test_predictions_are_the_frequencies_of_simulated_answers(name):
    n = 12_000
    student = composed(STUDENT_MODELS[name](), **EVERYTHING)
    lessons = [[a.activity.partition("(")[0] for a in student.actions].index(k) for k in NAMES]
    actions = [lessons[i] for i in (0, 2, 3, 1, 4, 0)]
    z = {
        k: v if bool(v.isfinite().all()) else torch.zeros_like(v)
        for k, v in latents(student, n).items()
    }
    one = {k: v[:1] for k, v in z.items()}
    seen = simulated(student, z, n, actions)
    for t in (1, 3, 5):  # having seen the most frequent answers so far
        belief = student.begin_belief(one)
        same = torch.ones(n, dtype=torch.bool)
        for action, response in zip(actions[:t], seen[:t], strict=True):
            answer = response[same].mode().values
            same &= response == answer
            belief = student.update(one, belief, torch.tensor([action]), answer[None])
        p = student.predict(one, belief, torch.tensor([actions[t]]))[0]
        count = int(same.sum())
        assert count > 300
        share = torch.bincount(seen[t][same], minlength=student.n_responses) / count
        torch.testing.assert_close(share.double(), p, rtol=0, atol=0.05 + 3 * 0.5 / count**0.5)
