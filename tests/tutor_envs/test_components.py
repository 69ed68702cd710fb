"""What components do to students: their arithmetic by hand, their laws, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from tutor_envs.classroom import Classroom, Outcome
from tutor_envs.components import ComposedStudent
from tutor_envs.components.equations import log_seconds
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS, default_population
from tutor_envs.practice import SkillPractice
from tutor_envs.student import CORRECT, Latents, LatentSpec, State
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.task import TeachingTask

FIVE_SIGMA = 5.3
"""Two-sided false alarm below 1.2e-7."""
ONE_SKILL = {"n_skills": 1, "modalities": ["text"]}
KNOWS_ALL = {"p_init": 1.0, "p_slip": 0.0, "p_guess": 0.0, "p_learn": 0.0}
KNOWS_NOTHING = KNOWS_ALL | {"p_init": 0.0}
ALL_ACTIVITIES = {k: {} for k in ("practice", "quiz", "worked_example", "hint", "rest")}


def population(components: dict[str, Any], **changes: Any) -> Population:
    """Students of one skill, taught in one modality, unless said otherwise."""
    content = {"name": "class", "student": "bkt", "model": ONE_SKILL, "components": components}
    return Population.model_validate(content | changes)


def teach(of: Population, actions: list[int], n: int = 1, **task: Any) -> list[Outcome]:
    """Every student is taught the same actions, in trials of one lesson unless said otherwise."""
    whole = TeachingTask.model_validate({"n_steps": len(actions)} | task)
    room = Classroom(of, whole, dtype=torch.float64)
    room.begin_trial(torch.arange(n))
    return [room.step(torch.full((n,), a)) for a in actions]


def trace(outcomes: list[Outcome], name: str) -> list[float]:
    return [outcome.truth.state[name][0].item() for outcome in outcomes]


# -- arithmetic ------------------------------------------------------------------------------------
def test_fatigue_by_hand():
    components = {
        "fatigue": {"carry": 0.5, "effort": 1.0, "rest": 0.4},
        "dropout": {"hazard": 1e-9},
        "activities": {"practice": {"learn_novice": 1}, "worked_example": {}, "rest": {}},
    }
    students = population(components, latents=KNOWS_ALL | {"endurance": math.log(2)})
    practice, example, rest = range(3)
    seen = trace(teach(students, [practice, example, rest, rest, practice]), "fatigue")
    # half the effort for the enduring, .7 of it for an example; a rest takes .4 and stops at 0:
    # .5;  .25 + .35;  .3 - .4 -> 0;  0;  .5
    assert seen == pytest.approx([0.5, 0.6, 0.0, 0.0, 0.5])


def test_engagement_by_hand():
    components = {
        "engagement": {
            "on_answer": 0.1,
            "expected": 0.6,
            "when_hard": 0.2,
            "hard_below": 0.5,
            "per_fatigue": 0.02,
        },
        "fatigue": {"carry": 1.0, "effort": 1.0},
        "activities": {"practice": {"learn_novice": 1}, "worked_example": {}, "rest": {}},
        "guess": 0.0,
    }
    start = {"engagement_start": 0.5}
    wrong = population(components, latents=KNOWS_NOTHING | start)
    # wrong: -.06, too hard: -.2 * .5, tired by 1: -.02;  then an example (effort .7): -.02 * 1.7
    assert trace(teach(wrong, [0, 1]), "engagement") == pytest.approx([0.32, 0.286])
    sure = population(components, latents=KNOWS_ALL | {"engagement_start": 1.0})
    # right: +.04 - .02 > 0 is clipped at 1;  a rest: +.1 is clipped too
    assert trace(teach(sure, [0, 2]), "engagement") == pytest.approx([1.0, 1.0])


def test_the_hazard_by_hand():
    dropout = {"hazard": 0.02, "per_fatigue": 0.5, "per_disengagement": 1.0, "per_wrong": 0.4}
    students = population({"dropout": dropout | {"max_streak": 3}, "engagement": {}, "fatigue": {}})
    model = students.student_model
    assert isinstance(model, ComposedStudent)
    z = {k: torch.full((1, *s.shape), 0.3) for k, s in model.latent_specs.items()}
    state = model.begin_lesson(z, torch.full((1, 1), 0.5)) | {
        "fatigue": torch.tensor([1.5]),
        "engagement": torch.tensor([0.8]),
        "wrong_in_a_row": torch.tensor([5.0]),
    }
    # logit .02 + .3 + .5 * 1.5 + 1 * .2 + .4 * 3
    x = math.log(0.02 / 0.98) + 0.3 + 0.75 + 0.2 + 1.2
    belief = {k: v.unsqueeze(1) for k, v in model.begin_particle(z, torch.zeros(1, 1)).items()}
    belief |= {k: v.unsqueeze(1) for k, v in state.items() if k in belief}
    belief |= {"particle_weight": torch.ones(1, 1), "particle_clock": torch.zeros(1).long()}
    cloud = model.model_copy(update={"n_particles": 1})
    p = cloud.predict(z, belief, torch.tensor([0]))
    assert p[0, -1].item() == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-5)


def test_response_times_by_hand():
    # ndtri(Phi(1)) = 1:  2.5 + .2 + .3 + .55
    u = torch.tensor([0.8413447460685429], dtype=torch.float64)
    shift = torch.tensor([0.5], dtype=torch.float64)
    assert log_seconds(2.5, 0.55, shift, u).item() == pytest.approx(3.55, abs=1e-6)
    assert log_seconds(0.0, 1.0, 0 * shift, 0 * u).isfinite().all()


def test_response_times_of_a_class():
    n = 12_000
    components = {"response_time": {"log_mean": 2.0, "log_sd": 0.5, "wrong_minus_correct": 0.3}}
    for latents, mean in ((KNOWS_ALL, 2.0), (KNOWS_NOTHING, 2.3)):
        signal = teach(population(components, latents=latents), [0], n)[0].observation.signals
        assert signal is not None
        assert signal.shape == (n, 1)
        assert signal.mean().item() == pytest.approx(mean, abs=FIVE_SIGMA * 0.5 / n**0.5)
        assert signal.std().item() == pytest.approx(0.5, abs=FIVE_SIGMA * 0.5 / (2 * n) ** 0.5)


# -- laws ------------------------------------------------------------------------------------------
def share(values: Tensor) -> float:
    return values.double().mean().item()


def test_lapses_mix_knowledge_with_guessing():
    n = 12_000
    students = population({"lapses": {}, "guess": 0.2}, latents=KNOWS_ALL | {"lapse": 0.3})
    correct = share(teach(students, [0], n)[0].observation.response == CORRECT)
    assert correct == pytest.approx(0.7 + 0.3 * 0.2, abs=FIVE_SIGMA * 0.5 / n**0.5)


def test_who_does_not_attend_does_not_learn():
    n = 12_000
    latents = KNOWS_NOTHING | {"lapse": 0.3, "p_learn": 1.0}
    learned = teach(population({"lapses": {}}, latents=latents), [0], n)[0].truth.post_test
    assert share(learned) == pytest.approx(0.7, abs=FIVE_SIGMA * 0.5 / n**0.5)


def test_leaving_follows_its_hazard():
    n = 12_000
    dropout = {"hazard": 0.1, "per_wrong": 0.0}
    outcomes = teach(population({"dropout": dropout}, latents=KNOWS_ALL), [0] * 5, n)
    for t, outcome in enumerate(outcomes, start=1):
        present = share(outcome.observation.present)
        assert present == pytest.approx(0.9**t, abs=FIVE_SIGMA * 0.5 / n**0.5)


def test_default_dropout_is_that_of_real_learners():
    """Hazard .025 per item; 1.5 to 2.2 times more likely after a wrong answer."""
    n = 12_000
    latents = KNOWS_ALL | {"p_slip": 0.35}
    outcomes = teach(population({"dropout": {}}, latents=latents), [0] * 12, n)
    leaves, wrong_before = [], []
    for before, after in itertools.pairwise(outcomes[2:]):
        there = before.observation.present
        leaves.append(~after.observation.present[there])
        wrong_before.append(before.observation.response[there] == 0)
    left, wrong = torch.cat(leaves), torch.cat(wrong_before)
    assert 0.022 < share(left) < 0.029
    assert 1.5 < share(left[wrong]) / share(left[~wrong]) < 2.2


def test_examples_help_novices_and_practice_helps_experts():
    model = population(
        {"activities": ALL_ACTIVITIES}, student="irt", model={"n_skills": 1, "difficulties": [0]}
    ).student_model
    names = [a.activity.partition("(")[0] for a in model.actions]
    practice, example = (torch.tensor([names.index(k)] * 2) for k in ("practice", "worked_example"))
    z = {
        k: torch.full((2, *s.shape), s.default if math.isfinite(s.default) else 0.0)
        for k, s in model.latent_specs.items()
    }
    z["ability"] = torch.tensor([-2.0, 3.0])
    state = model.begin_lesson(z, torch.zeros(2, 0))
    reversal = model.expected_gain(z, state, example) - model.expected_gain(z, state, practice)
    assert reversal[0] > 0 > reversal[1]


def test_a_quiz_shows_and_does_not_teach_a_hint_helps_a_rest_passes_time():
    n, latents = 12_000, KNOWS_NOTHING | {"p_learn": 1.0}
    students = population({"activities": ALL_ACTIVITIES}, latents=latents)
    model = students.student_model
    assert [a.activity for a in model.actions] == list(ALL_ACTIVITIES)
    learned, shown = [], []
    for action in range(5):
        outcome = teach(students, [action], n)[0]
        learned.append(share(outcome.truth.post_test))
        shown.append(outcome.observation.response.bincount(minlength=3) / n)
    margin = FIVE_SIGMA * 0.5 / n**0.5
    # novices: practice .55, quiz 0, example 1, hint .8, rest 0; every other wrong answer is helped
    assert learned == pytest.approx([0.55, 0, 1, 0.8, 0], abs=margin)
    nothing = [[1, 0, 0], [1, 0, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0, 1]]
    torch.testing.assert_close(torch.stack(shown), torch.tensor(nothing), atol=margin, rtol=0)
    assert model.responses == ("wrong", "correct", "nothing")


class Fading(SkillPractice):
    """Recall ``2**-days`` since the last correct answer: the arithmetic of waiting by hand."""

    name: ClassVar[str] = "fading"
    n_skills: int = 1
    modalities: tuple[str, ...] = ("text",)

    @property
    def latent_specs(self) -> dict[str, LatentSpec]:
        return self._common_latents()

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        return {"days": torch.zeros_like(latents["responsiveness"])}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        return torch.exp2(-state["days"])

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        return {"days": torch.where(practised & correct, 0.0, state["days"])}

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        return {"days": state["days"] + days.unsqueeze(-1)}


def test_gaps_between_sessions_and_rests_let_the_student_forget():
    components = {
        "schedule": {"steps_per_session": 2, "gap_days": 3.0},
        "activities": {"practice": {"learn_novice": 1}, "rest": {"seconds": 43200}},
        "fatigue": {"effort": 1.0, "carry": 1.0, "rest": 0.0},
        "dropout": {"hazard": 1e-9},
    }
    students = population(components, model=Fading(step_s=8.64))
    seen = teach(students, [1, 1, 1])
    # half a day of rest each; after the second action three days pass, and fatigue is gone
    assert [o.truth.post_test.item() for o in seen] == pytest.approx([2**-0.5, 2**-4, 2**-4.5])
    assert trace(teach(students, [0, 0, 0]), "fatigue") == [1.0, 0.0, 1.0]


def test_expected_gains_are_the_means_of_drawn_gains():
    n = 12_000
    components = {
        "lapses": {},
        "engagement": {},
        "dropout": {"hazard": 0.1},
        "activities": ALL_ACTIVITIES,
    }
    students = population(components, student="pfa", model={"n_skills": 1, "modalities": ["text"]})
    model = students.student_model
    assert model.has_expected_gain
    for action in range(model.n_actions):
        room = Classroom(students, TeachingTask(n_steps=2), dtype=torch.float64)
        room.begin_trial(torch.zeros(n, dtype=torch.int64) + torch.arange(n))
        before = room.truth
        taught = torch.full((n,), action)
        expected = model.expected_gain(before.latents, before.state, taught)
        drawn = room.step(taught).truth.post_test - before.post_test
        noise = FIVE_SIGMA * (drawn - expected).std().item() / n**0.5
        assert (drawn - expected).mean().item() == pytest.approx(0, abs=noise + 1e-12)
        belief = model.begin_belief({k: v[:200] for k, v in before.latents.items()})
        believed = model.belief_gain(
            {k: v[:200] for k, v in before.latents.items()}, belief, taught[:200]
        )
        torch.testing.assert_close(believed, expected[:200])


# -- nothing changes that should not ---------------------------------------------------------------
NEUTRAL = {
    "fatigue": {},
    "engagement": {"when_hard": 0, "per_fatigue": 0, "expected": 0},
    "lapses": {},
    "dropout": {"hazard": 1e-12},
    "response_time": {},
    "schedule": {"steps_per_session": 1000, "budget_s": 1e9},
    "activities": {"practice": {"learn_novice": 1}, "quiz": {}, "hint": {}, "rest": {}},
    "costs": {"quiz": 0.1},
}


@pytest.mark.parametrize("name", sorted(set(STUDENT_MODELS) & set(POPULATIONS)))
def test_neutral_components_change_no_draw_of_any_model(name):
    plain = default_population(name)
    content = {field: getattr(plain, field) for field in Population.model_fields}
    composed = Population.model_validate(content | {"components": NEUTRAL}).with_latents(lapse=0.0)
    n, task = 8, TeachingTask(n_lessons=2, n_steps=6)
    rooms = Classroom(plain, task), Classroom(composed, task)
    for room in rooms:
        room.begin_trial(torch.arange(n))
    n_practices = len([a for a in plain.student_model.actions if a.skill])
    action = torch.arange(n)
    for _ in range(task.n_trial_steps):
        action = (action * 5 + 1) % n_practices
        ours, theirs = (room.step(action) for room in rooms)
        assert torch.equal(ours.observation.response, theirs.observation.response)
        torch.testing.assert_close(ours.truth.post_test, theirs.truth.post_test, rtol=0, atol=0)
        assert all(
            torch.equal(v, theirs.truth.state["base." + k]) for k, v in ours.truth.state.items()
        )


def test_latents_of_the_base_model_are_drawn_as_without_components():
    spread = {"latents": {"ability": {"normal": {}}, "p_slip": {"uniform": {"low": 0, "high": 1}}}}
    plain, composed = (
        Population.model_validate({"name": "class", "student": "bkt", "model": ONE_SKILL} | spread),
        population(NEUTRAL, **spread),
    )
    theirs = composed.sample(3, torch.arange(50))
    assert all(torch.equal(v, theirs[k]) for k, v in plain.sample(3, torch.arange(50)).items())
    assert set(theirs) >= {"endurance", "engagement_start", "lapse", "dropout_tendency", "pace"}


# -- configuration ---------------------------------------------------------------------------------
def test_prerequisites_are_those_that_a_model_with_its_own_would_lock():
    content = {"name": "class", "student": "bkt", "latents": {"p_guess": 0.5}}
    own = {"n_skills": 3, "prerequisites": {1: [0], 2: [0, 1]}, "unlock_after": 2}
    requires = {"skill_1": ["skill_0"], "skill_2": ["skill_0", "skill_1"]}
    free = own | {"unlock_after": None}
    rooms = [
        Classroom(Population.model_validate(content | changes), TeachingTask(n_steps=20))
        for changes in (
            {"model": own},
            {"model": free, "components": {"prerequisites": {"requires": requires}}},
        )
    ]
    observations = [room.begin_trial(torch.arange(64)) for room in rooms]
    for t in range(20):
        ours, theirs = (o.legal for o in observations)
        assert ours is not None
        assert torch.equal(ours, theirs)
        action = (torch.arange(64) * 7 + 5 * t) % 9
        if t % 2:
            action = action % 3
        observations = [room.step(action).observation for room in rooms]
    assert ours[:, 3:].any()
    assert not ours.all()


def test_the_actions_and_costs_of_items_of_several_difficulties():
    model = population(
        {"activities": ALL_ACTIVITIES, "costs": {"quiz": 0.5}},
        student="irt",
        model={"n_skills": 1, "difficulties": [-1, 1], "modalities": ["a", "b"]},
    ).student_model
    names = [str(a) for a in model.actions]
    assert len(set(names)) == model.n_actions == 3 * 4 + 2 + 1
    assert names[4:6] == ["quiz(b=-1) skill_0", "quiz(b=1) skill_0"]
    assert names[-1] == "rest"
    assert model.action_costs == tuple(0.5 if "quiz" in name else 0.0 for name in names)


@pytest.mark.parametrize(
    ("components", "says"),
    [
        ({"fatige": {}}, "fatige"),
        ({"dropout": {"hazrd": 0.1}}, "hazrd"),
        ({"dropout": {"hazard": 1.5}}, "less than 1"),
        ({"fatigue": {}}, "`fatigue` acts through"),
        ({"schedule": {}}, "`steps_per_session` or `budget_s`"),
        ({"activities": {"quiz": {}}}, "`practice`, `worked_example` or `hint`"),
        ({"costs": {"quis": 0.1}}, "components.costs` 'quis'; allowed: practice"),
        ({"costs": {"quiz": 0.1}}, "components.costs` 'quiz'; allowed: practice"),
        ({"prerequisites": {"requires": {"skil": ["skill_0"]}}}, "did you mean 'skill_0'"),
        (
            {"prerequisites": {"requires": {"a": ["b"], "b": ["a"]}}},
            "`requires` must not form a cycle",
        ),
    ],
)
def test_mistakes_are_named(components, says):
    with pytest.raises(ValueError, match="(?s)" + says.replace("(", r"\(")):
        population(components)


def test_latents_of_components_need_the_component():
    with pytest.raises(ValueError, match="unknown `latents` 'lapse'"):
        population({"response_time": {}}, latents={"lapse": 0.1})


def test_a_population_survives_being_written_and_read():
    students = population(NEUTRAL, latents={"pace": {"normal": {"mean": 0, "sd": 0.2}}})
    again = Population.model_validate(students.model_dump(mode="json"))
    assert again.student_model.actions == students.student_model.actions
    assert torch.equal(
        again.sample(0, torch.arange(9))["pace"], students.sample(0, torch.arange(9))["pace"]
    )
