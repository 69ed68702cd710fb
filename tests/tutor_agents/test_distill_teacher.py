"""Teachers of distillation: exact after every history, and blind to what a tutor may not see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tutor_agents.distill.teacher import (
    TIE,
    ActionValues,
    BayesTeacher,
    Teacher,
    make_teacher,
    planned_values,
)
from tutor_agents.planner import BayesTutor, ExactPlanner
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.student import Belief
from tutor_envs.task import Reward, TeachingTask


def family(student: str, model: dict[str, Any], types: list[tuple[float, dict[str, Any]]]) -> Any:
    kinds = {f"t{z}": {"weight": w, "latents": latents} for z, (w, latents) in enumerate(types)}
    data = {"name": student, "student": student, "model": model, "types": kinds}
    return Population.model_validate(data)


FAMILIES = {
    "bkt": family(
        "bkt",
        {"n_skills": 2, "modalities": ["a", "b"], "prerequisites": {1: [0]}, "weights": [0.3, 0.7]},
        [
            (2, {"p_learn": [[0.7, 0.2], [0.6, 0.3]], "p_slip": 0.1, "p_init": [0.2, 0.1]}),
            (1, {"p_learn": [[0.1, 0.5], [0.2, 0.9]], "p_guess": 0.3, "p_forget": 0.1}),
        ],
    ),
    "bkt unlocking": family(
        "bkt",
        {"n_skills": 2, "modalities": ["a"], "prerequisites": {1: [0]}, "unlock_after": 1},
        [(1, {"p_learn": [[0.7], [0.6]]}), (1, {"p_learn": [[0.2], [0.9]], "p_slip": 0.3})],
    ),
    "memory": family(
        "memory",
        {"n_items": 2, "modalities": ["r"], "max_strength": 2, "fail_to": 1, "delay": 3},
        [(1, {"half_life": [6, 2]}), (2, {"half_life": [1, 4], "growth": 3})],
    ),
    "questionnaire": family(
        "style_bandit",
        {"modalities": ["a", "b"], "n_units": 4, "questionnaire_accuracy": 0.8},
        [
            (1, {"responsiveness": [0.9, 0.1], "style_strength": 1, "p_event": 0.5}),
            (2, {"responsiveness": [0.2, 0.8], "style_strength": 1, "p_event": 0.4}),
        ],
    ),
}


class Enumeration:
    """Values of every history by plain recursion: no merging of beliefs, no matrices, no tail."""

    def __init__(self, population: Population, task: TeachingTask) -> None:
        self.model, self.task = population.student_model, task
        types = population.types_exact()
        self.latents = [
            {name: value[z : z + 1] for name, value in types.latents.items()}
            for z in range(len(types.prior))
        ]
        self.found: list[tuple[list[tuple[int, int]], dict[int, float]]] = []
        self._search([], types.prior.tolist(), self._begin())

    def _begin(self) -> list[Belief]:
        return [self.model.begin_belief(latents) for latents in self.latents]

    def _search(
        self, history: list[tuple[int, int]], weights: list[float], beliefs: list[Belief]
    ) -> float:
        """Best return to come, times the history's probability; notes each action's value."""
        paid, step = 0.0, len(history)
        if step and step % self.task.n_steps == 0:
            paid = sum(
                w * float(self.model.belief_post_test(latents, belief))
                for w, latents, belief in zip(weights, self.latents, beliefs, strict=True)
            )
            beliefs = self._begin()
        if step == self.task.n_trial_steps:
            return paid
        mask = self.model.legal_actions(beliefs[0])
        q: dict[int, float] = {}
        for action in range(self.model.n_actions):
            if mask is not None and not mask[0, action]:
                continue
            q[action] = 0.0
            for response in range(self.model.n_responses):
                a, r = torch.tensor([action]), torch.tensor([response])
                after = [
                    w * float(self.model.predict(latents, belief, a)[0, response])
                    for w, latents, belief in zip(weights, self.latents, beliefs, strict=True)
                ]
                if sum(after) > 0:
                    moved = [
                        self.model.update(latents, belief, a, r)
                        for latents, belief in zip(self.latents, beliefs, strict=True)
                    ]
                    q[action] += self._search([*history, (action, response)], after, moved)
        probability = sum(weights)
        self.found.append((history, {a: value / probability for a, value in q.items()}))
        return paid + max(q.values())


def told(history: list[tuple[int, int]], teacher: Teacher, task: TeachingTask) -> Observation:
    """Lead one student's teacher through a history; the observation after it."""
    teacher.begin_trial(torch.tensor([0]))
    observation = Observation(torch.tensor([-1]), torch.tensor([-1]), None, None, 0, 0)
    for t, (action, response) in enumerate(history, start=1):
        lesson, step = divmod(t, task.n_steps)
        a, r = torch.tensor([action]), torch.tensor([response])
        observation = Observation(a, r, None, None, step, lesson)
        teacher.observe(a, observation)
    return observation


@pytest.mark.parametrize("task", [TeachingTask(n_steps=3), TeachingTask(n_steps=2, n_lessons=2)])
@pytest.mark.parametrize("name", FAMILIES)
def test_losses_are_exact_after_every_history(name: str, task: TeachingTask) -> None:
    if name == "bkt" and task.n_lessons > 1:
        task = TeachingTask(n_steps=1, n_lessons=3)  # as exact, and quicker to enumerate
    teacher = BayesTeacher(ActionValues(ExactPlanner.of(FAMILIES[name], task)))
    enumeration = Enumeration(FAMILIES[name], task)
    n_actions = enumeration.model.n_actions
    assert len(enumeration.found) >= 9
    for history, q in enumeration.found:
        losses = teacher.losses(told(history, teacher, task))[0]
        expected = [max(q.values()) - q[a] if a in q else torch.inf for a in range(n_actions)]
        assert losses.tolist() == pytest.approx(expected, abs=1e-8), history


@pytest.mark.parametrize("name", FAMILIES)
def test_the_planned_action_is_among_the_best(name: str) -> None:
    task = TeachingTask(n_steps=4)
    planner = ExactPlanner.of(FAMILIES[name], task)
    teacher, tutor = BayesTeacher(ActionValues(planner)), BayesTutor.following(planner)
    room, students = Classroom(FAMILIES[name], task), student_indices(Split.TEST, 64)
    observation = room.begin_trial(students)
    teacher.begin_trial(students)
    tutor.begin_trial(Trial(students, 0, 0))
    for _ in range(4):
        action = tutor.act(observation)
        losses = teacher.losses(observation)
        assert (losses.gather(-1, action.unsqueeze(-1)) < TIE).all()
        observation = room.step(action).observation
        teacher.observe(action, observation)
        tutor.observe(action, observation)


def test_ties_are_all_among_the_best() -> None:
    """Two modalities that are mirror images under a symmetric prior: both are best at the start."""
    population = family(
        "style_bandit",
        {"modalities": ["a", "b"], "n_units": 4},
        [
            (1, {"responsiveness": [0.9, 0.1], "style_strength": 1, "p_event": 0.5}),
            (1, {"responsiveness": [0.1, 0.9], "style_strength": 1, "p_event": 0.5}),
        ],
    )
    task = TeachingTask(n_steps=3)
    teacher = BayesTeacher(ActionValues(ExactPlanner.of(population, task)))
    start = teacher.losses(told([], teacher, task))
    assert (start < TIE).tolist() == [[True, True]]
    # A right answer to the first modality speaks for it.
    later = teacher.losses(told([(0, 1)], teacher, task))
    assert (later < TIE).tolist() == [[True, False]]


def test_the_plan_is_made_once_for_all_seeds() -> None:
    task = TeachingTask(n_steps=3)
    one = planned_values(FAMILIES["memory"], task)
    same_again = Population.model_validate(FAMILIES["memory"].model_dump())
    assert planned_values(same_again, task) is one
    other_task = TeachingTask(n_steps=3, reward=Reward(score="mean_recall"))
    assert planned_values(FAMILIES["memory"], other_task) is not one
    assert one.planning_s > 0


def scripted_labels(name: Any, students: Tensor, population: Population) -> list[Tensor]:
    """Labels along trials in which every student always gets the same action and answer."""
    task = TeachingTask(n_steps=4)
    room = Classroom(population, task, seed=2)
    teacher = make_teacher(name, room, task)
    n = len(students)
    room.begin_trial(students)
    teacher.begin_trial(students)
    labels, responses = [], room.model.n_responses
    observation = Observation(
        torch.full((n,), room.model.n_actions), torch.full((n,), responses), None, None, 0, 0
    )
    for step in range(1, 4):
        labels.append(teacher.losses(observation))
        action = torch.zeros(n, dtype=torch.int64)
        room.step(action)
        observation = Observation(action, torch.ones(n, dtype=torch.int64), None, None, step, 0)
        teacher.observe(action, observation)
    return labels


@pytest.mark.parametrize("name", ["bayes", "myopic", "thompson"])
def test_only_an_oracle_labels_by_what_is_hidden(name: str) -> None:
    students = student_indices(Split.TRAIN, 200)
    labels = scripted_labels(name, students, FAMILIES["questionnaire"])
    for at_step in labels:
        assert ((at_step == 0).sum(-1) >= 1).all()
        if name != "thompson":  # which draws a type for each student
            assert torch.equal(at_step, at_step[:1].expand(at_step.shape))
    oracle = scripted_labels("oracle", students, FAMILIES["questionnaire"])
    assert len(oracle[0].unique(dim=0)) == 2  # one for each type


@pytest.mark.parametrize("name", ["oracle", "myopic", "thompson"])
def test_scripted_teachers_label_one_legal_action(name: Any) -> None:
    task = TeachingTask(n_steps=3)
    room = Classroom(FAMILIES["bkt unlocking"], task)
    teacher = make_teacher(name, room, task)
    students = student_indices(Split.TRAIN, 8)
    observation = room.begin_trial(students)
    teacher.begin_trial(students)
    losses = teacher.losses(observation)
    assert observation.legal is not None
    assert ((losses == 0) & observation.legal).sum(-1).tolist() == [1] * 8
    assert torch.isinf(losses[~observation.legal]).all()


def test_a_teacher_who_cannot_teach_is_refused_with_what_to_do() -> None:
    continuous = Population.model_validate(
        {
            "name": "continuous",
            "student": "bkt",
            "model": {"n_skills": 2},
            "latents": {"ability": {"normal": {"mean": 0, "sd": 1}}},
        }
    )
    task = TeachingTask(n_steps=3)
    with pytest.raises(ValueError, match=r"needs a finite population.*teacher: oracle"):
        make_teacher("bayes", Classroom(continuous, task), task)
    shown = TeachingTask(n_steps=3, n_lessons=2, show_score=True)
    with pytest.raises(ValueError, match="show_score"):
        make_teacher("bayes", Classroom(FAMILIES["memory"], shown), shown)
