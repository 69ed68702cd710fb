"""A class as its teacher may see it: from what students showed, and what is believed of them.

Nothing here can tell the truth: the functions take :class:`tutor_sim.insight.trace.Seen`, which
holds actions and observations alone, and a belief tracker, which knows the population and is shown
the same observations.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_envs.student import CORRECT, WRONG, StudentModel
from tutor_sim.insight.belief import Tracker
from tutor_sim.insight.trace import Seen

MASTERED = 0.95
"""Believed mastery from which a skill counts as learned (Corbett & Anderson 1995, UMUAI 4)."""
WRONG_IN_A_ROW = 3
"""So many wrong answers in a row on a skill, up to the last one: stuck. Our choice."""
MANY_ATTEMPTS, STILL_LOW = 5, 0.5
"""So many attempts at a skill in the lesson, and believed mastery still below: stuck. Our choice;
the wheel-spinning of Beck & Gong (2013, AIED) is ten attempts without mastery, over days."""
MOST_PRACTICES = 20
"""More practices than this are not foretold."""

STUCK, LEARNED, ON_THE_WAY, NOT_TAUGHT = "stuck", "learned", "on the way", "not taught"
LEFT = "left"


class SkillReport(NamedTuple):
    """One skill of one student in the lesson.

    Attributes:
        skill: its name.
        attempts: answers to it, right or wrong.
        correct: right ones.
        wrong_in_a_row: wrong answers since the last right one.
        mastery: believed now.
        status: ``stuck``, ``learned``, ``on the way`` or ``not taught``.
        practices: foretold until believed mastery is 0.95; None: more than 20, or never.
    """

    skill: str
    attempts: int
    correct: int
    wrong_in_a_row: int
    mastery: float
    status: str
    practices: int | None


class StudentReport(NamedTuple):
    """One student.

    Attributes:
        number: in the class, from 1.
        left: is no longer here.
        skills: in the order of the model.
        next_skill: whose practice is expected to help most; None: all are learned.
        modality: in which; empty where there is no choice.
        likely_modality: by which the student is believed to learn best, and how probable that is;
            None where the population does not differ in it.
    """

    number: int
    left: bool
    skills: tuple[SkillReport, ...]
    next_skill: SkillReport | None
    modality: str
    likely_modality: tuple[str, float] | None

    @property
    def stuck(self) -> tuple[SkillReport, ...]:
        """Skills on which the student is stuck."""
        return tuple(one for one in self.skills if one.status == STUCK)

    @property
    def mean_mastery(self) -> float:
        """Believed, over the skills."""
        return sum(one.mastery for one in self.skills) / len(self.skills)


class ClassReport(NamedTuple):
    """A class at the end of a lesson.

    Attributes:
        belief: whose beliefs these are, in words.
        lesson: from 1.
        n_lessons: of the trial.
        answers: of each student in the lesson at most.
        students: of the class.
    """

    belief: str
    lesson: int
    n_lessons: int
    answers: int
    students: tuple[StudentReport, ...]


def report_class(seen: Seen, tracker: Tracker) -> ClassReport:
    """What a teacher can know of a class when the last lesson of ``seen`` is over.

    Args:
        seen: whole lessons.
        tracker: of the population that the students may come from.
    """
    model, n_steps = seen.model, seen.task.n_steps
    believed = tracker.follow(seen)
    mastery = believed.mastery_after[-1]
    attempts, correct, streak = answers_by_skill(
        seen.actions[-n_steps:], seen.responses[-n_steps:], model
    )
    action, practices = _foretold(tracker, mastery)
    gain = tracker.posterior.gains()
    unlearned = mastery < MASTERED
    best_gain = gain.gather(1, action).masked_fill(~unlearned, -math.inf)
    next_skill = best_gain.argmax(1)
    likely = _likely_modality(tracker)
    present = seen.observations[-1].present
    students = []
    for i in range(seen.n_students):
        skills = tuple(
            _skill(
                name,
                int(attempts[i, k]),
                int(correct[i, k]),
                int(streak[i, k]),
                float(mastery[i, k]),
                float(practices[i, k]),
            )
            for k, name in enumerate(model.skills)
        )
        k = int(next_skill[i])
        needs = bool(unlearned[i].any())
        modality = model.actions[int(action[i, k])].modality
        students.append(
            StudentReport(
                number=i + 1,
                left=present is not None and not bool(present[i]),
                skills=skills,
                next_skill=skills[k] if needs else None,
                modality=modality if needs and len(model.modalities) > 1 else "",
                likely_modality=_named(likely, i, model),
            )
        )
    lesson = len(seen.actions) // n_steps
    return ClassReport(tracker.name, lesson, seen.task.n_lessons, n_steps, tuple(students))


def answers_by_skill(
    actions: Tensor, responses: Tensor, model: StudentModel
) -> tuple[Tensor, Tensor, Tensor]:
    """Attempts, right answers, and wrong answers since the last right one; ``(n, K)`` each.

    Args:
        actions: int64 ``(T, n)``.
        responses: int64 ``(T, n)``; those that are neither right nor wrong do not count.
        model: lends the skills of actions.
    """
    skills = list(model.skills)
    of_action = torch.tensor(
        [skills.index(a.skill) if a.skill in skills else len(skills) for a in model.actions]
    )
    shape = (actions.shape[1], len(skills) + 1)
    attempts, correct, streak = (torch.zeros(shape, dtype=torch.int64) for _ in range(3))
    for action, response in zip(actions, responses, strict=True):
        at = torch.nn.functional.one_hot(of_action[action], shape[1]).bool()
        right = at & (response == CORRECT).unsqueeze(-1)
        wrong = at & (response == WRONG).unsqueeze(-1)
        attempts += right | wrong
        correct += right
        streak = torch.where(right, 0, streak + wrong.long())
    return attempts[:, :-1], correct[:, :-1], streak[:, :-1]


def practices_needed(before: Tensor, after: Tensor) -> Tensor:
    """Practices until mastery is 0.95, if each takes the same share off what is missing.

    With ``m`` before and ``m'`` expected after one practice, the missing part shrinks by
    ``q = (1 - m') / (1 - m)`` each time, so ``k = ceil(log((1 - 0.95) / (1 - m)) / log q)``. Exact
    for BKT with known rates and no forgetting; elsewhere a first guess.

    Args:
        before: ``(n, K)``, m.
        after: ``(n, K)``, m'.

    Returns:
        float ``(n, K)``; 0 where it is learned, infinite where practice does not help.
    """
    missing = (1 - before).clamp(min=1e-9)
    q = ((1 - after) / missing).clamp(min=1e-9)
    needed = torch.ceil(torch.log((1 - MASTERED) / missing) / torch.log(q) - 1e-9)
    needed = torch.where(q < 1 - 1e-9, needed, math.inf)
    return torch.where(before >= MASTERED, 0.0, needed)


def _foretold(tracker: Tracker, mastery: Tensor) -> tuple[Tensor, Tensor]:
    """The best action for each skill, and practices needed by it; ``(n, K)`` each."""
    model = tracker.posterior.model
    gains = tracker.posterior.gains()
    best, needed = [], []
    for k, skill in enumerate(model.skills):
        own = torch.tensor([action.skill == skill for action in model.actions])
        action = gains.masked_fill(~own, -math.inf).argmax(1)
        after = tracker.mastery_after_practice(action)
        best.append(action)
        needed.append(practices_needed(mastery[:, k], after[:, k]))
    return torch.stack(best, 1), torch.stack(needed, 1)


def _skill(
    name: str, attempts: int, correct: int, streak: int, mastery: float, practices: float
) -> SkillReport:
    if mastery >= MASTERED:
        status = LEARNED
    elif streak >= WRONG_IN_A_ROW or (attempts >= MANY_ATTEMPTS and mastery < STILL_LOW):
        status = STUCK
    else:
        status = ON_THE_WAY if attempts else NOT_TAUGHT
    few = None if practices > MOST_PRACTICES else int(practices)
    return SkillReport(name, attempts, correct, streak, mastery, status, few)


def _likely_modality(tracker: Tracker) -> Tensor | None:
    best = tracker.traits.get("best modality")
    weights = tracker.posterior.weights
    return None if best is None else weights @ best.to(weights)


def _named(likely: Tensor | None, i: int, model: StudentModel) -> tuple[str, float] | None:
    if likely is None:
        return None
    best = int(likely[i].argmax())
    return model.modalities[best], float(likely[i, best])
