"""The actions of a composed student: which activities, on which of the base model's actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tutor_envs.components.config import (
    Activities,
    Activity,
    Components,
    Hint,
    Practice,
    Rest,
    WorkedExample,
)
from tutor_envs.components.minds import Choice
from tutor_envs.student import SECONDS_PER_DAY, StudentModel, TeachingAction

_AS_IT_IS = Practice(learn_novice=1.0)


class _Row(NamedTuple):
    name: TeachingAction
    base_action: int
    activity: Activity | Rest


def stem(activity: str) -> str:
    """What an activity is called without the difficulty in brackets."""
    return activity.partition("(")[0]


def _as(name: TeachingAction, activity: str) -> TeachingAction:
    return name._replace(activity=activity + name.activity.removeprefix(stem(name.activity)))


def _rows(base: StudentModel, activities: Activities | None) -> list[_Row]:
    """Practice, quizzes, examples, hints, then the rest.

    What has no skill, such as a questionnaire, stays as it is. A difficulty in brackets, as in
    ``practice(b=1)``, is kept.
    """
    every = list(enumerate(base.actions))
    if activities is None:
        return [_Row(name, a, _AS_IT_IS) for a, name in every]
    on_skill = [(a, name) for a, name in every if name.skill]
    rows: list[_Row] = []
    if activities.practice:
        rows += [_Row(name, a, activities.practice) for a, name in on_skill]
    rows += [_Row(name, a, _AS_IT_IS) for a, name in every if not name.skill]
    if activities.quiz:
        quizzes: dict[TeachingAction, int] = {}
        for a, name in on_skill:
            quizzes.setdefault(_as(name, "quiz")._replace(modality=""), a)
        rows += [_Row(name, a, activities.quiz) for name, a in quizzes.items()]
    for kind, activity in (
        ("worked_example", activities.worked_example),
        ("hint", activities.hint),
    ):
        if activity:
            rows += [_Row(_as(name, kind), a, activity) for a, name in on_skill]
    if activities.rest:
        rows.append(_Row(TeachingAction("rest", "", ""), 0, activities.rest))
    return rows


def _meaning(base: StudentModel, row: _Row) -> dict[str, float]:
    """The fields of :class:`Choice` for one action."""
    activity, skill = row.activity, row.name.skill
    meaning: dict[str, float] = {
        "action": row.base_action,
        "skill": base.skills.index(skill) if skill in base.skills else len(base.skills),
        "answered": not isinstance(activity, WorkedExample | Rest),
        "taught": True,
        "novice": 0.0,
        "expert": 0.0,
        "help": activity.help if isinstance(activity, Hint) else 0.0,
        "days": base.step_days,
        "uplift": 0.0,
        "effort": 0.0,
    }
    if isinstance(activity, Rest):
        days = activity.seconds / SECONDS_PER_DAY
        return meaning | {
            "taught": False,
            "days": days,
            "seconds": activity.seconds,
            "uplift": activity.engagement,
        }
    return meaning | {
        "novice": activity.learn_novice,
        "expert": activity.learn_expert,
        "seconds": activity.seconds or base.step_s,
        "effort": activity.effort,
    }


class ActionTable:
    """What each of the A actions means; looked up by index."""

    def __init__(self, base: StudentModel, components: Components) -> None:
        """Lay out the actions of the base model with these components."""
        rows = _rows(base, components.activities)
        meanings = [_meaning(base, row) for row in rows]
        self.names = tuple(row.name for row in rows)
        self._columns = {
            field: torch.from_numpy(np.array([meaning[field] for meaning in meanings]))
            for field in Choice._fields
        }
        self.all_answered = bool(self._columns["answered"].all())
        """Every action asks for an answer."""
        always = [m["novice"] == m["expert"] == 1 for m in meanings if m["taught"]]
        self.thinned = not all(always) or not self.all_answered
        """Some actions do not teach what the base model teaches, or without its answer."""

    @property
    def base_actions(self) -> Tensor:
        """int64 ``(A,)``: the base model's action behind each."""
        return self._columns["action"]

    @property
    def skills(self) -> Tensor:
        """int64 ``(A,)``: index of the skill; K for none."""
        return self._columns["skill"]

    @property
    def rests(self) -> Tensor:
        """Bool ``(A,)``: about none of the base model's actions."""
        return ~self._columns["taught"]

    def choose(self, action: Tensor, like: Tensor) -> Choice:
        """The meanings of actions int64 ``(n,)``; numbers of the dtype of ``like``."""
        values = {}
        for field, column in self._columns.items():
            value = column.to(action.device)[action]
            values[field] = value.to(like.dtype) if value.is_floating_point() else value
        return Choice(**values)
