"""What holds for all baseline tutors, and what they are worth where that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tutor_agents.oracle import OracleTutor
from tutor_agents.registry import TUTORS, make_tutor
from tutor_agents.round_robin import RoundRobinTutor
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.cases import Case
from tutor_envs.classroom import Classroom, Observation, Truth
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

EXACT = ("bayes", "oracle_plan")
"""They refuse the population of these tests."""
BASELINES = [name for name in TUTORS if name not in EXACT]
OBSERVERS = [name for name in BASELINES if not TUTORS[name].informed]
FEW: dict[str, dict[str, Any]] = {
    "best_fixed": {"n_students": 32, "n_starts": 2, "max_student_steps": 300_000},
    "lookahead": {"n_types": 32},
    "pomcp": {"n_types": 16, "n_particles": 4, "n_simulations": 4, "n_rollouts": 2, "horizon": 3},
}


def make(name: str, population: Population, task: TeachingTask) -> Tutor:
    return make_tutor(name, population, task, **FEW.get(name, {}))


@pytest.mark.parametrize("name", BASELINES)
def test_a_student_is_taught_alike_in_every_batch(
    teach: Callable[..., Any], population: Population, task: TeachingTask, name: str
) -> None:
    students = student_indices(Split.TEST, 100)
    tutor = make(name, population, task)
    many = teach(tutor, population, task, students)
    for student in (0, 37, 99):
        alone = teach(tutor, population, task, students[student : student + 1])
        assert torch.equal(alone.actions[:, 0], many.actions[:, student])
    again = teach(make(name, population, task), population, task, students.flip(0))
    assert torch.equal(again.actions.flip(1), many.actions)


@pytest.mark.parametrize("name", BASELINES)
def test_only_legal_actions_are_taken(
    teach: Callable[..., Any], population: Population, task: TeachingTask, name: str
) -> None:
    taught = teach(make(name, population, task), population, task, 200)
    for action, observation in zip(taught.actions, taught.observations[:-1], strict=True):
        assert bool(observation.legal.gather(1, action.unsqueeze(1)).all())


@pytest.mark.parametrize("name", OBSERVERS)
def test_observations_alone_decide(
    teach: Callable[..., Any], population: Population, task: TeachingTask, name: str
) -> None:
    """A replay of what was observed, with no classroom behind it, gives the same actions."""
    taught = teach(make(name, population, task), population, task, 50)
    tutor = make(name, population, task)
    tutor.begin_trial(Trial(student_indices(Split.TEST, 50), 1, 0))
    for t, action in enumerate(taught.actions):
        assert torch.equal(tutor.act(taught.observations[t]), action)
        tutor.observe(action, taught.observations[t + 1])


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in OBSERVERS if name != "best_fixed"])
def test_the_device_does_not_matter(
    teach: Callable[..., Any], population: Population, task: TeachingTask, name: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    taught = teach(make(name, population, task), population, task, 50)
    tutor = make_tutor(name, population, task, device="cuda")
    tutor.begin_trial(Trial(student_indices(Split.TEST, 50).cuda(), 1, 0))
    for t, action in enumerate(taught.actions):
        before, after = (
            Observation(*(x.cuda() if isinstance(x, Tensor) else x for x in observation))
            for observation in taught.observations[t : t + 2]
        )
        chosen = tutor.act(before)
        assert chosen.is_cuda
        assert torch.equal(chosen.cpu(), action)
        tutor.observe(chosen, after)


def test_only_the_oracle_sees_the_truth(population: Population, task: TeachingTask) -> None:
    class Lying(Classroom):
        @property
        def truth(self):
            real = super().truth
            state = {**real.state, "mastered": ~real.state["mastered"]}
            return Truth(self.model, real.latents, state, attends=None, known={})

    oracle = OracleTutor()
    with pytest.raises(RuntimeError, match="inform"):
        oracle.begin_trial(Trial(torch.arange(3), 0, 0))
    honest, lying = (kind(population, task, seed=1) for kind in (Classroom, Lying))
    students = student_indices(Split.TEST, 50)
    actions = []
    for classroom in (honest, lying):
        observation = classroom.begin_trial(students)
        oracle.inform(classroom)
        oracle.begin_trial(Trial(students, 1, 0))
        actions.append(oracle.act(observation))
    assert not torch.equal(*actions)


KNOWN = [
    (case, tutor, value)
    for case in ("style-bandit-a", "style-bandit-questionnaire-b")
    for tutor, value in (
        ("random", "random"),
        ("round_robin", "round_robin"),
        ("thompson", "thompson"),
        ("myopic", "myopic"),
        ("oracle", "full_info"),
    )
] + [
    (case, tutor, value)
    for case in ("bkt-types-a", "bkt-types-b", "memory-a", "memory-b", "prerequisites-b")
    for tutor, value in (
        ("random", "random"),
        ("round_robin", "round_robin"),
        ("myopic", "myopic"),
        ("oracle", "full_info"),
    )
    if not (tutor == "oracle" and case.startswith("memory"))
]


@pytest.mark.parametrize(("name", "tutor", "value"), KNOWN)
def test_known_values_are_met(
    teach: Callable[..., Any], cases: dict[str, Case], name: str, tutor: str, value: str
) -> None:
    """Thompson is compared where one step's gain is all there is: the file's plans for the type."""
    case, n = cases[name], 2000
    population, task = case.population(), case.task()
    returns = teach(make_tutor(tutor, population, task), population, task, n).returns
    se = (returns.var().item() / n + case.values.get(f"{value}_se", 0.0) ** 2) ** 0.5
    # Five standard errors: each comparison fails by chance with a probability of 6e-7.
    assert abs(returns.mean().item() - case.values[value]) <= 5 * se


class OneModality:
    """Passes a tutor's choice of skill on, but always teaches by the first modality."""

    def __init__(self, tutor: Tutor, n_modalities: int) -> None:
        self.tutor, self.n_modalities, self.name = tutor, n_modalities, "one modality"

    def begin_trial(self, trial: Trial) -> None:
        self.tutor.begin_trial(trial)

    def act(self, observation: Observation) -> Tensor:
        self.wanted = self.tutor.act(observation)
        return self.wanted - self.wanted.remainder(self.n_modalities)

    def observe(self, action: Tensor, observation: Observation) -> None:
        self.tutor.observe(self.wanted, observation)


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize(("style_strength", "gains"), [(0.0, False), (1.0, True)])
def test_null_control_modality_matters_only_where_styles_do(
    teach: Callable[..., Any],
    population: Population,
    task: TeachingTask,
    name: str,
    style_strength: float,
    gains: bool,
) -> None:
    """Without styles, every student learns exactly as much when the modality is overruled."""
    plain = population.with_latents(style_strength=style_strength)
    chosen = teach(make(name, plain, task), plain, task, 100).returns
    overruled = teach(OneModality(make(name, plain, task), 3), plain, task, 100).returns
    assert torch.equal(chosen, overruled) != gains


def test_random_round_robin_orders_are_permutations(teach: Callable[..., Any]) -> None:
    population = Population.model_validate({"name": "test", "student": "bkt"})
    n_actions = population.student_model.n_actions
    task = TeachingTask(n_lessons=2, n_steps=n_actions)
    by_index = make_tutor("round_robin", population, task)
    assert teach(by_index, population, task, 3).actions[:, 0].tolist() == [*range(n_actions)] * 2
    at_random = make_tutor("round_robin", population, task, order="random")
    actions = teach(at_random, population, task, 40).actions
    cycle = torch.arange(n_actions).unsqueeze(1).expand(-1, 40)
    assert torch.equal(actions[:n_actions].sort(0).values, cycle)
    assert torch.equal(actions[:n_actions], actions[n_actions:])
    assert len({tuple(order) for order in actions[:n_actions].T.tolist()}) > 30


def test_round_robin_goes_on_from_the_action_it_took() -> None:
    model = Population.model_validate({"name": "test", "student": "style_bandit"}).student_model
    tutor = RoundRobinTutor(model)  # a cycle of three
    tutor.begin_trial(Trial(torch.tensor([0]), 0, 0))
    legal = [[True, True, True], [True, False, True], [True, True, True], [True, True, True]]
    actions = []
    for t, mask in enumerate(legal):
        observation = Observation(
            torch.tensor([3]), torch.tensor([2]), torch.tensor([mask]), None, t, 0
        )
        actions.append(tutor.act(observation))
        tutor.observe(actions[-1], observation)
    assert [int(action) for action in actions] == [0, 2, 0, 1]  # 1 was not legal in its turn


def test_thompson_draws_a_type_anew_at_every_step() -> None:
    population = Population.model_validate(
        {
            "name": "test",
            "student": "style_bandit",
            "model": {"modalities": ["text", "video"]},
            "latents": {"style_strength": 1.0},
            "types": {
                "reader": {"weight": 1, "latents": {"responsiveness": [1, 0]}},
                "watcher": {"weight": 3, "latents": {"responsiveness": [0, 1]}},
            },
        }
    )
    n, n_steps = 500, 8
    tutor = make_tutor("thompson", population, TeachingTask(n_steps=n_steps))
    tutor.begin_trial(Trial(torch.arange(n), 0, 0))
    nothing = torch.full((n,), 2)
    actions = []
    for step in range(n_steps):
        actions.append(tutor.act(Observation(nothing, nothing, None, None, step, 0)))
        # No response: the posterior stays the prior, a quarter readers (action 0).
        tutor.observe(actions[-1], Observation(actions[-1], nothing, None, None, step + 1, 0))
    share = torch.stack(actions).double().mean()
    # 4,000 independent draws with P(video) = 0.75: five standard errors are 5 sqrt(0.1875 / 4000).
    assert abs(share - 0.75) < 5 * (0.1875 / (n * n_steps)) ** 0.5
    changes = (actions[0] != actions[1]).double().mean()
    assert abs(changes - 2 * 0.25 * 0.75) < 5 * (0.375 * 0.625 / n) ** 0.5
