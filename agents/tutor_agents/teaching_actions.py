"""What the teaching actions of a student model are about, as the model declares it.

A *topic* is what an action names as its skill (of most models: one of its skills). An *item* is a
teaching action less its modality: the same question can be put in several modalities. Rests and
questionnaires are about no topic; rests and worked examples ask for no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from tutor_agents.tutor import CannotTeach
from tutor_agents.ways import WaysInTurn
from tutor_envs.components import ComposedStudent
from tutor_envs.student import CORRECT, StudentModel

_ASKS_NOTHING = ("rest", "worked_example")


def prerequisites_of(model: StudentModel) -> dict[int, tuple[int, ...]]:
    """Skill index -> indices of the skills it builds on, as far as the model declares any.

    Declared are the fields ``prerequisites`` (skill index -> indices: ``bkt``, ``ou``, ``tms``) and
    ``edges`` ((prerequisite, successor) pairs: ``kss``) of a student model, and the component
    ``prerequisites`` (names).
    """
    if isinstance(model, ComposedStudent):
        needed = {k: set(qs) for k, qs in prerequisites_of(model.base).items()}
        declared = model.components.prerequisites
        for skill, names in (declared.requires if declared else {}).items():
            indices = {model.skills.index(name) for name in names}
            needed.setdefault(model.skills.index(skill), set()).update(indices)
        return {k: tuple(sorted(qs)) for k, qs in needed.items()}
    needed = {k: set(qs) for k, qs in getattr(model, "prerequisites", {}).items()}
    for before, after in getattr(model, "edges", ()):
        needed.setdefault(after, set()).add(before)
    return {k: tuple(sorted(qs)) for k, qs in needed.items()}


def topological_order(n_skills: int, prerequisites: Mapping[int, Sequence[int]]) -> list[int]:
    """Every skill after its prerequisites; among those that are free, the lowest index first.

    Raises:
        ValueError: the prerequisites form a cycle.
    """
    order: list[int] = []
    while len(order) < n_skills:
        free = (
            skill
            for skill in range(n_skills)
            if skill not in order and set(prerequisites.get(skill, ())) <= set(order)
        )
        following = next(free, None)
        if following is None:
            raise ValueError(f"`prerequisites` must not form a cycle, got {dict(prerequisites)}")
        order.append(following)
    return order


class Curriculum(WaysInTurn):
    """The skills in topological order, and the actions that teach each in turn; K skills.

    Attributes:
        place: int64 ``(K,)``, place of each skill in the order.
        requires: bool ``(K, K)``; row k marks the prerequisites of skill k.
    """

    def __init__(self, model: StudentModel, tutor: str, device: torch.device) -> None:
        """Lay out the actions of this model.

        Raises:
            CannotTeach: no action of the model teaches one of its skills; says so for ``tutor``.
        """
        n_skills = len(model.skills)
        skill = [
            model.skills.index(action.skill) if action.skill in model.skills else -1
            for action in model.actions
        ]
        if max(skill) < 0:
            raise CannotTeach(f"`{tutor}` needs actions that teach a skill of `{model.name}`")
        super().__init__(skill, n_skills, device=device)
        prerequisites = prerequisites_of(model)
        order = topological_order(n_skills, prerequisites)
        self.place = torch.tensor([order.index(k) for k in range(n_skills)], device=device)
        self.requires = torch.zeros(n_skills, n_skills, dtype=torch.bool, device=device)
        for k, needed in prerequisites.items():
            self.requires[k, list(needed)] = True


class Items:
    """Topic, item and modality of each of A actions.

    Attributes:
        topics: names of the topics, in the order of the actions.
        topic: int64 ``(A,)``, index of the topic; an action without one has the last index.
        labels: (topic, activity) of each of the G items.
        item: int64 ``(A,)``, index of the item.
        modality: int64 ``(A,)`` in [0, M]; M for none.
        asks: bool ``(A,)``: the action is about a topic and asks for an answer; all true where that
            is true of none.
    """

    def __init__(self, model: StudentModel, tutor: str, device: torch.device) -> None:
        """Lay out the actions of this model.

        Raises:
            CannotTeach: the model's students give no right or wrong answers; says so for ``tutor``.
        """
        if model.n_responses <= CORRECT:
            raise CannotTeach(
                f"tutor `{tutor}` goes by right and wrong answers, and the responses of student "
                f"model `{model.name}` are {list(model.responses)}"
            )
        actions, modalities = model.actions, model.modalities
        self.topics = tuple(dict.fromkeys(a.skill for a in actions if a.skill))
        labels = [(a.skill, a.activity) for a in actions]
        self.labels = tuple(dict.fromkeys(labels))
        n_topics, n_modalities = len(self.topics), len(modalities)
        topic = [self.topics.index(a.skill) if a.skill else n_topics for a in actions]
        modality = [
            modalities.index(a.modality) if a.modality in modalities else n_modalities
            for a in actions
        ]
        asks = [bool(a.skill) and a.activity.split("(")[0] not in _ASKS_NOTHING for a in actions]
        self.topic = torch.tensor(topic, device=device)
        self.item = torch.tensor([self.labels.index(label) for label in labels], device=device)
        self.modality = torch.tensor(modality, device=device)
        self.asks = torch.tensor(asks if any(asks) else [True] * len(asks), device=device)
