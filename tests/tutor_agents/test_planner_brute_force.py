"""The exact planner against enumeration of histories, which knows no merging, matrices or tails."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tutor_agents.planner import ExactPlanner
from tutor_envs.population import Population
from tutor_envs.student import Belief
from tutor_envs.task import Reward, TeachingTask

Q = list[float]


def family(
    student: str, model: dict[str, Any], types: list[tuple[float, dict[str, Any]]]
) -> Population:
    kinds = {f"t{z}": {"weight": w, "latents": latents} for z, (w, latents) in enumerate(types)}
    return Population.model_validate(
        {"name": student, "student": student, "model": model, "types": kinds}
    )


FAMILIES = {
    "bkt": family(
        "bkt",
        {"n_skills": 2, "modalities": ["a", "b"], "prerequisites": {1: [0]}, "weights": [0.3, 0.7]},
        [
            (2, {"p_learn": [[0.7, 0.2], [0.6, 0.3]], "p_slip": 0.1, "p_init": [0.2, 0.1]}),
            (1, {"p_learn": [[0.1, 0.5], [0.2, 0.9]], "p_guess": 0.3, "p_forget": 0.1}),
        ],
    ),
    "bkt with sets": family(
        "bkt",
        {
            "n_skills": 2,
            "modalities": ["a"],
            "initial_states": [[], [0]],
            "prerequisites": {1: [0]},
            "prerequisite_factor": 0.0,
        },
        [
            (1, {"p_learn": [[0.7], [0.6]], "p_initial_state": [1.0, 0.0], "p_slip": 0.0}),
            (3, {"p_learn": [[0.3], [0.9]], "p_initial_state": [0.2, 0.8], "p_guess": 0.0}),
        ],
    ),
    "bkt unlocking": family(
        "bkt",
        {"n_skills": 2, "modalities": ["a"], "prerequisites": {1: [0]}, "unlock_after": 1},
        [(1, {"p_learn": [[0.7], [0.6]]}), (1, {"p_learn": [[0.2], [0.9]], "p_slip": 0.3})],
    ),
    "bkt unlocking, wrong answers impossible": family(
        "bkt",
        {
            "n_skills": 2,
            "modalities": ["a"],
            "prerequisites": {1: [0]},
            "prerequisite_factor": 1.0,
            "unlock_after": 1,
        },
        [
            (1, {"p_learn": [[0.7], [0.9]], "p_init": [1.0, 0.0], "p_slip": 0.0}),
            (1, {"p_learn": [[0.1], [0.9]], "p_init": [0.3, 0.1], "p_slip": 0.3}),
        ],
    ),
    "memory": family(
        "memory",
        {"n_items": 2, "modalities": ["r"], "max_strength": 2, "fail_to": 1, "delay": 3},
        [(1, {"half_life": [6, 2]}), (2, {"half_life": [1, 4], "growth": 3})],
    ),
    "memory just seen": family(
        "memory",
        {"n_items": 2, "modalities": ["r"], "delay": 3, "initial_lag": [0, 1]},
        [(1, {"half_life": [6, 2]}), (2, {"half_life": [1, 4]})],
    ),
    "questionnaire": family(
        "style_bandit",
        {"modalities": ["a", "b"], "n_units": 4, "questionnaire_accuracy": 0.8},
        [
            (1, {"responsiveness": [0.9, 0.1], "style_strength": 1, "p_event": 0.5}),
            (2, {"responsiveness": [0.2, 0.8], "style_strength": 1, "p_event": 0.4}),
        ],
    ),
    "irt": family(
        "irt",
        {"n_skills": 1, "modalities": ["a"], "difficulties": [-1.0, 1.0]},
        [(1, {"ability": -0.5}), (1, {"ability": 0.7, "growth": 0.5})],
    ),
}


class Histories:
    """Every history of a family, one after the other."""

    def __init__(self, population: Population, task: TeachingTask) -> None:
        self.model, self.task = population.student_model, task
        types = population.types_exact()
        self.latents = [
            {name: value[z : z + 1] for name, value in types.latents.items()}
            for z in range(len(types.prior))
        ]
        self.prior: Q = types.prior.tolist()

    def begin(self) -> list[Belief]:
        return [self.model.begin_belief(latents) for latents in self.latents]

    def score(self, z: int, belief: Belief) -> float:
        if self.task.reward.score == "post_test":
            return float(self.model.belief_post_test(self.latents[z], belief))
        return float(self.model.belief_mastery(self.latents[z], belief).mean())

    def legal(self, beliefs: list[Belief]) -> list[int]:
        mask: Tensor | None = self.model.legal_actions(beliefs[0])
        n_actions = self.model.n_actions
        return [a for a in range(n_actions) if mask is None or bool(mask[0, a])]

    def after(
        self, weights: Q, beliefs: list[Belief], action: int, response: int
    ) -> tuple[Q, list[Belief]]:
        """Weights (not normalised) and beliefs after a response."""
        a, r = torch.tensor([action]), torch.tensor([response])
        new_weights, new_beliefs = [], []
        for latents, w, belief in zip(self.latents, weights, beliefs, strict=True):
            new_weights.append(w * float(self.model.predict(latents, belief, a)[0, response]))
            new_beliefs.append(self.model.update(latents, belief, a, r))
        return new_weights, new_beliefs

    def value(
        self, combine: Callable[[Q, list[int]], float], weights: Q, beliefs: list[Belief], step: int
    ) -> float:
        """Expected return to come, times the history's probability."""
        n_steps = self.task.n_steps
        paid = 0.0
        if step and step % n_steps == 0:
            if self.task.reward.score != "mean_recall":
                paid = sum(w * self.score(z, beliefs[z]) for z, w in enumerate(weights))
            if self.task.reward.score == "mastery_gain":
                paid -= sum(
                    w * self.score(z, b)
                    for (z, w), b in zip(enumerate(weights), self.begin(), strict=True)
                )
            beliefs = beliefs if step == self.task.n_trial_steps else self.begin()
        if step == self.task.n_trial_steps:
            return paid
        legal = self.legal(beliefs)
        q = []
        for action in legal:
            total = 0.0
            for response in range(self.model.n_responses):
                new_weights, new_beliefs = self.after(weights, beliefs, action, response)
                if sum(new_weights) > 0:
                    total += self.value(combine, new_weights, new_beliefs, step + 1)
                    if self.task.reward.score == "mean_recall":
                        total += (
                            sum(
                                w * self.score(z, new_beliefs[z]) for z, w in enumerate(new_weights)
                            )
                            / n_steps
                        )
            q.append(total)
        return paid + combine(q, legal)

    def optimum(self) -> float:
        return self.value(lambda q, _: max(q), self.prior, self.begin(), 0)

    def random(self) -> float:
        return self.value(lambda q, _: sum(q) / len(q), self.prior, self.begin(), 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_optimum_and_random(name: str) -> None:
    histories = Histories(FAMILIES[name], TeachingTask(n_steps=3))
    planner = ExactPlanner.of(FAMILIES[name], histories.task)
    assert planner.bayes() == pytest.approx(histories.optimum(), abs=1e-9)
    assert planner.random() == pytest.approx(histories.random(), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "bkt"])
def test_optimum_over_two_lessons(name: str) -> None:
    histories = Histories(FAMILIES[name], TeachingTask(n_steps=2, n_lessons=2))
    planner = ExactPlanner.of(FAMILIES[name], histories.task)
    assert planner.bayes() == pytest.approx(histories.optimum(), abs=1e-9)
    assert planner.taught_by(planner.plan()) == pytest.approx(planner.bayes(), abs=1e-9)


@pytest.mark.parametrize("score", ["mean_recall", "mastery_gain"])
@pytest.mark.parametrize("name", ["bkt", "memory", "irt"])
def test_other_scores(name: str, score: str) -> None:
    task = TeachingTask(n_steps=3, reward=Reward.model_validate({"score": score}))
    histories = Histories(FAMILIES[name], task)
    assert ExactPlanner.of(FAMILIES[name], task).bayes() == pytest.approx(
        histories.optimum(), abs=1e-9
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_oracle_is_the_optimum_of_each_type(name: str) -> None:
    histories = Histories(FAMILIES[name], TeachingTask(n_steps=3))
    each = []
    for z in range(len(histories.prior)):
        alone = Histories(FAMILIES[name], histories.task)
        alone.prior = [float(z == i) for i in range(len(histories.prior))]
        alone.latents = [histories.latents[z]] * len(histories.prior)
        each.append(alone.optimum())
    planner = ExactPlanner.of(FAMILIES[name], histories.task)
    assert planner.oracle_per_type() == pytest.approx(each, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in FAMILIES if "unlocking" not in name])
def test_sequences(name: str) -> None:
    histories = Histories(FAMILIES[name], TeachingTask(n_steps=3))
    planner = ExactPlanner.of(FAMILIES[name], histories.task)
    n_actions = histories.model.n_actions
    values = {}
    for sequence in itertools.product(range(n_actions), repeat=3):
        values[sequence] = follow(histories, sequence)
    value, found = planner.best_sequence()
    assert value == pytest.approx(max(values.values()), abs=1e-9)
    assert values[tuple(found)] == pytest.approx(value, abs=1e-9)
    for sequence in list(values)[:: max(1, len(values) // 5)]:
        assert planner.sequence(sequence) == pytest.approx(values[sequence], abs=1e-9)


def follow(histories: Histories, sequence: tuple[int, ...]) -> float:
    """Value of a fixed sequence."""

    def value(weights: Q, beliefs: list[Belief], step: int) -> float:
        if step == len(sequence):
            return sum(w * histories.score(z, beliefs[z]) for z, w in enumerate(weights))
        branches = (
            histories.after(weights, beliefs, sequence[step], response)
            for response in range(histories.model.n_responses)
        )
        return sum(value(w, b, step + 1) for w, b in branches if sum(w) > 0)

    return value(histories.prior, histories.begin(), 0)


def test_sequences_need_actions_that_are_always_legal() -> None:
    planner = ExactPlanner.of(FAMILIES["bkt unlocking"], TeachingTask(n_steps=3))
    with pytest.raises(ValueError, match="always legal"):
        planner.best_sequence()


@pytest.mark.parametrize("name", ["bkt with sets", "memory", "bkt unlocking"])
def test_no_policy_is_better(name: str) -> None:
    # All 2 * 2**2 * 2**4 = 128 deterministic policies of two actions and three steps.
    histories = Histories(FAMILIES[name], TeachingTask(n_steps=3))
    best = -1.0
    for decisions in itertools.product((0, 1), repeat=7):

        def value(
            weights: Q, beliefs: list[Belief], step: int, node: int, table: Any = decisions
        ) -> float:
            if step == 3:
                return sum(w * histories.score(z, beliefs[z]) for z, w in enumerate(weights))
            legal = histories.legal(beliefs)
            action = table[node] if table[node] in legal else legal[0]
            total = 0.0
            for response in range(2):
                new_weights, new_beliefs = histories.after(weights, beliefs, action, response)
                if sum(new_weights) > 0:
                    total += value(new_weights, new_beliefs, step + 1, 2 * node + 1 + response)
            return total

        best = max(best, value(histories.prior, histories.begin(), 0, 0))
    planner = ExactPlanner.of(FAMILIES[name], histories.task)
    assert planner.bayes() == pytest.approx(best, abs=1e-9)


def informed(histories: Histories, z: int, state: Belief, left: int) -> float:
    """Value of a student of known type in a known state, ``(1, S)`` one-hot."""
    model, latents = histories.model, histories.latents[z]
    if left == 0:
        return histories.score(z, state)
    q = []
    for action in range(model.n_actions):
        a, expected = torch.tensor([action]), 0.0
        for response in range(model.n_responses):
            p = float(model.predict(latents, state, a)[0, response])
            after = model.update(latents, state, a, torch.tensor([response]))
            expected += p * over_states(histories, z, after, left - 1)
        q.append(expected)
    return max(q)


def over_states(histories: Histories, z: int, belief: Belief, left: int) -> float:
    """Mean of ``informed`` over the hidden states."""
    states = torch.eye(belief["p"].shape[1], dtype=torch.float64)
    return sum(
        p * informed(histories, z, {"p": states[s : s + 1]}, left)
        for s, p in enumerate(belief["p"][0].tolist())
        if p > 0
    )


@pytest.mark.parametrize("name", ["bkt", "bkt with sets"])
def test_full_information_by_enumerating_hidden_states(name: str) -> None:
    histories = Histories(FAMILIES[name], TeachingTask(n_steps=2))
    begun = enumerate(zip(histories.prior, histories.begin(), strict=True))
    expected = sum(prior * over_states(histories, z, belief, 2) for z, (prior, belief) in begun)
    planner = ExactPlanner.of(FAMILIES[name], histories.task)
    assert planner.full_information() == pytest.approx(expected, abs=1e-9)


def test_average_responses_by_hand() -> None:
    # One item: nothing to decide, so the plan for the average student earns what any tutor earns.
    population = family(
        "memory",
        {"n_items": 1, "modalities": ["r"], "delay": 2},
        [(1, {"half_life": [1]}), (1, {"half_life": [4]})],
    )
    planner = ExactPlanner.of(population, TeachingTask(n_steps=1))
    # Lag 1: recalled with 1/2 and 2**-.25; then half-life 2 or 8, else 1 or 4; 3 steps later.
    strong, weak = 0.5 * 2**-1.5 + 0.5 * 2**-3, 2**-0.25 * 2**-0.375 + (1 - 2**-0.25) * 2**-0.75
    assert planner.taught_by(planner.plan_for_average_responses()) == pytest.approx(
        (strong + weak) / 2
    )
