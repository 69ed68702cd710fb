"""The knowledge-structure student: against EduSim's rule written out plainly, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_envs.population_files import default_population
from tutor_envs.students.kss import KSS

MODEL = KSS(modalities=("text", "video"))
EDGES = [(0, 1), (0, 2), (1, 3), (2, 4), (2, 8), (3, 4), (4, 8), (5, 4), (5, 9), (6, 7), (7, 8)]
EDGES += [(8, 9)]
START = [-1.0, -2.0, -3.0, -1.0, -2.0, -3.0, -1.0, -2.0, -3.0, -1.0]
DIFFICULTY = [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0]


def student(**latents) -> dict[str, torch.Tensor]:
    specs = MODEL.latent_specs
    given_ = {"start": START, "difficulty": DIFFICULTY} | latents
    values = {name: spec.default for name, spec in specs.items()} | given_
    return {
        name: torch.as_tensor(values[name], dtype=torch.float64).expand(1, *spec.shape).clone()
        for name, spec in specs.items()
    }


def start(latents):
    return MODEL.begin_lesson(latents, torch.empty(1, 0))


def teach(latents, state, skill: int, response: int = 1, modality: int = 0):
    return MODEL.update(
        latents, state, torch.tensor([2 * skill + modality]), torch.tensor([response])
    )


class Learner:
    """EduSim's learner, one student, with recursion over the graph."""

    def __init__(self, levels: list[float]) -> None:
        self.level, self.last = list(levels), None

    def near(self) -> set[int]:
        if self.last is None:
            return set(range(10))
        before = {p for p, s in EDGES if s == self.last}
        found = {self.last} | {s for p, s in EDGES if p == self.last} | before
        found |= {p for p, s in EDGES if s in before}
        return found | {s for p, s in EDGES if p in before}

    def learn(self, skill: int) -> None:
        if skill not in self.near():
            return
        self.last = skill
        missing = sum(5 - self.level[p] for p, s in EDGES if s == skill)
        self._promote(skill, 0.5 * (5 - self.level[skill]) * math.exp(-missing))

    def _promote(self, skill: int, increment: float) -> None:
        self.level[skill] = min(5, self.level[skill] + increment)
        for p, s in EDGES:
            if p == skill:
                self._promote(s, increment * 0.5)


@settings(max_examples=15, deadline=None)
@given(lesson=st.lists(st.integers(0, 9), max_size=30))
def test_levels_follow_edusim_s_rule(lesson):
    latents = student()
    state, plain = start(latents), Learner([a - 0.1 * i for i, a in enumerate(START)])
    for skill in lesson:
        state = teach(latents, state, skill)
        plain.learn(skill)
        assert state["level"][0].tolist() == pytest.approx(plain.level, abs=1e-9)


def test_the_graph_is_edusim_s():
    assert sorted(MODEL.edges) == sorted(EDGES)
    assert MODEL.n_skills == 10


def test_one_lesson_by_hand():
    latents = student()
    state = start(latents)
    assert state["level"][0].tolist() == pytest.approx([a - 0.1 * i for i, a in enumerate(START)])
    # skill 6 has no prerequisites: .5 (5 - (-1.6)) = 3.3; half to 7, a quarter to 8, an eighth to 9
    after = teach(latents, state, 6)
    moved = (after["level"] - state["level"])[0].tolist()
    assert moved == pytest.approx([0, 0, 0, 0, 0, 0, 3.3, 1.65, 0.825, 0.4125])
    # skill 0 is not near skill 6: nothing happens; skill 7 is, but is hindered by what 6 lacks
    assert torch.equal(teach(latents, after, 0)["level"], after["level"])
    again = teach(latents, after, 7)
    gain = 0.5 * (5 - after["level"][0, 7].item()) * math.exp(-(5 - after["level"][0, 6].item()))
    assert (again["level"] - after["level"])[0, 7].item() == pytest.approx(gain)


def test_answers_rate_gate_style_and_ability_by_hand():
    latents = student(
        ability=2.0,
        discrimination=0.5,
        p_guess=0.2,
        rate=0.25,
        gate=0.5,
        style_strength=0.5,
        responsiveness=[0.8, 0.2],
    )
    state = start(latents)
    level = [a + 0.5 * 2 - 0.1 * i for i, a in enumerate(START)]
    assert state["level"][0].tolist() == pytest.approx(level)
    known = [
        1 / (1 + math.exp(-1.7 * 0.5 * (a - b))) for a, b in zip(level, DIFFICULTY, strict=True)
    ]
    assert MODEL.mastery(latents, state)[0].tolist() == pytest.approx(known)
    p = MODEL.predict(latents, state, torch.tensor([6]))[0].tolist()
    assert p == pytest.approx([0.8 - 0.8 * known[3], 0.2 + 0.8 * known[3]])
    for modality, style in ((0, 1.3), (1, 0.7)):
        rate = 0.25 * math.exp(0.3 * 2) * style
        moved = teach(latents, state, 1, modality=modality)["level"][0, 1].item() - level[1]
        assert moved == pytest.approx(rate * (5 - level[1]) * math.exp(-0.5 * (5 - level[0])))


def test_the_score_is_the_share_of_what_could_be_gained():
    latents = student()
    state = start(latents)
    assert MODEL.post_test(latents, state).item() == 0

    def total(levels) -> float:
        pairs = zip(levels, DIFFICULTY, strict=True)
        return sum(1 / (1 + math.exp(-1.7 * 5 * (a - b))) for a, b in pairs)

    begun = total(state["level"][0].tolist())
    for skill in (0, 0, 0, 0, 1, 1, 1):
        state = teach(latents, state, skill)
    gained = total(state["level"][0].tolist()) - begun
    expected = gained / (total([5.0] * 10) - begun)
    assert MODEL.post_test(latents, state).item() == pytest.approx(expected)
    full = state | {"level": torch.full_like(state["level"], 5.0)}
    assert MODEL.post_test(latents, full).item() == pytest.approx(1)


def test_where_there_is_nothing_to_learn_the_score_is_zero():
    latents = student(start=[5.0] * 10, difficulty=[-5.0] * 10)
    state = start(latents)
    assert MODEL.post_test(latents, state).item() == 0
    assert MODEL.post_test(latents, teach(latents, state, 0)).item() == 0


def test_difficulties_are_a_function_of_the_seed():
    population = default_population("kss").variant("edusim")
    one, same, other = (population.sample(seed, torch.arange(3)) for seed in (1, 1, 2))
    assert torch.equal(one["difficulty"], same["difficulty"])
    assert not torch.equal(one["difficulty"], other["difficulty"])
    starts = population.sample(0, torch.arange(2000))["start"].round()
    shares = [(starts == level).float().mean().item() for level in (-3, -2, -1)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([[0, 10]], r"`edges` must join skills in \[0, 9\], got \[0, 10\]"),
        ([[0, 1], [1, 0]], "`edges` must not form a cycle"),
    ],
)
def test_mistakes_are_named(edges, message):
    with pytest.raises(ValueError, match=message):
        KSS.model_validate({"edges": edges})
