"""What a tutor does: its most frequent sequences, and what it does when and for whom."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutor_envs.student import StudentModel
from tutor_sim.insight.belief import traits_of
from tutor_sim.insight.trace import Hidden, Seen

PARTS = ("activity", "skill", "modality")
OPENING_STEPS = 4
N_SHOWN = 8
"""Most frequent sequences that are listed."""
_TERCILES = ("low ability", "middle ability", "high ability")


class ActionSequence(NamedTuple):
    """A sequence of teaching actions.

    Attributes:
        actions: their indices, in order.
        n_times: how often it occurred.
        share: of all sequences of this length at these places.
    """

    actions: tuple[int, ...]
    n_times: int
    share: float


class Grouping(NamedTuple):
    """Students in groups by something hidden.

    Attributes:
        name: what they are grouped by.
        groups: names of the groups.
        of_student: int ``(n,)``, index of each student's group.
    """

    name: str
    groups: tuple[str, ...]
    of_student: NDArray[np.int64]


def openings(seen: Seen, lesson: int) -> list[ActionSequence]:
    """How the lesson (from 0) is begun with whom: its first four actions, most frequent first."""
    first = lesson * seen.task.n_steps
    length = min(OPENING_STEPS, seen.task.n_steps)
    return _most_frequent(seen.actions.numpy()[first : first + length].T)


def ngrams(seen: Seen, length: int) -> list[ActionSequence]:
    """Sequences of so many actions anywhere inside a lesson, most frequent first."""
    lessons = seen.actions.numpy().reshape(seen.task.n_lessons, seen.task.n_steps, -1)
    if length > seen.task.n_steps:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(lessons, length, axis=1)
    return _most_frequent(windows.reshape(-1, length))


def _most_frequent(rows: NDArray[Any]) -> list[ActionSequence]:
    """Of sequences ``(m, length)``; ties in the order of the actions."""
    found, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        ActionSequence(tuple(map(int, found[i])), int(counts[i]), float(counts[i] / len(rows)))
        for i in order
    ]


def action_names(model: StudentModel) -> list[str]:
    """Short names of the actions, without the parts that all of them share."""
    varying = varying_parts(model)
    return [
        " ".join(getattr(action, part) for part in varying if getattr(action, part)) or str(action)
        for action in model.actions
    ]


def varying_parts(model: StudentModel) -> list[str]:
    """Which of activity, skill and modality a tutor can choose."""
    return [part for part in PARTS if len({getattr(a, part) for a in model.actions}) > 1]


def groupings(hidden: Hidden, model: StudentModel, type_names: Sequence[str]) -> list[Grouping]:
    """Everybody; and by ability, best modality and named type, where students differ in them.

    Ability is cut into terciles; up to three different values have a group each.
    """
    n = len(hidden.latents["type"])
    found = [Grouping("everybody", ("everybody",), np.zeros(n, dtype=np.int64))]
    traits = traits_of(hidden.latents)
    if "ability" in traits:
        found.append(_by_ability(traits["ability"][:, 0].numpy()))
    if "best modality" in traits:
        names = tuple(f"best by {name}" for name in model.modalities)
        best = traits["best modality"].argmax(-1).numpy()
        found.append(Grouping("best modality", names, best))
    if len(type_names) > 1:
        found.append(Grouping("type", tuple(type_names), hidden.latents["type"].numpy()))
    return [_occupied(grouping) for grouping in found]


def _by_ability(ability: NDArray[np.float64]) -> Grouping:
    values, of_student = np.unique(ability, return_inverse=True)
    if len(values) <= len(_TERCILES):
        return Grouping("ability", tuple(f"ability {value:g}" for value in values), of_student)
    edges = np.quantile(ability, [1 / 3, 2 / 3])
    return Grouping("ability", _TERCILES, np.searchsorted(edges, ability))


def _occupied(grouping: Grouping) -> Grouping:
    used, of_student = np.unique(grouping.of_student, return_inverse=True)
    return Grouping(grouping.name, tuple(grouping.groups[i] for i in used), of_student)


def shares(seen: Seen, part: str, grouping: Grouping) -> tuple[list[str], NDArray[np.float64]]:
    """What share of each group is taught by each value of a part, step by step.

    Args:
        seen: of n students.
        part: ``activity``, ``skill`` or ``modality``.
        grouping: of the students, into G groups.

    Returns:
        The C values, and ``(G, T, C)`` shares that sum to one over C.
    """
    of_action = [getattr(action, part) for action in seen.model.actions]
    values = list(dict.fromkeys(of_action))
    code = np.array([values.index(value) for value in of_action])[seen.actions.numpy()]
    chosen = np.eye(len(values))[code]
    each = [
        chosen[:, grouping.of_student == group].mean(1) for group in range(len(grouping.groups))
    ]
    return [value or "none" for value in values], np.stack(each)


def shares_csv(seen: Seen, found: Sequence[Grouping]) -> str:
    """One line for each grouping, group, step, part and value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["grouping", "group", "n_students", "lesson", "step", "part", "value", "share"])
    for grouping in found:
        sizes = np.bincount(grouping.of_student)
        for part in varying_parts(seen.model):
            values, share = shares(seen, part, grouping)
            for (g, t, c), value in np.ndenumerate(share):
                lesson, step = divmod(t, seen.task.n_steps)
                place = [grouping.name, grouping.groups[g], sizes[g], lesson + 1, step + 1]
                writer.writerow([*place, part, values[c], f"{value:.4f}"])
    return buffer.getvalue()


def sequences_csv(seen: Seen) -> str:
    """The most frequent openings of each lesson, and pairs and triples inside lessons."""
    names = action_names(seen.model)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["what", "rank", "count", "share", "actions"])
    lists = {f"opening of lesson {k + 1}": openings(seen, k) for k in range(seen.task.n_lessons)}
    lists |= {"any 2 actions": ngrams(seen, 2), "any 3 actions": ngrams(seen, 3)}
    for what, found in lists.items():
        for rank, one in enumerate(found[:N_SHOWN], start=1):
            told = " > ".join(names[a] for a in one.actions)
            writer.writerow([what, rank, one.n_times, f"{one.share:.4f}", told])
    return buffer.getvalue()
