"""Evaluation: a tutor teaches unseen students through whole trials, and everything is recorded.

Every tutor meets the same students with the same luck (draws are addressed by seed and student, see
:mod:`tutor_envs.rng`), so two evaluations with one seed are paired student by student. The score is
always the drawn one, paid at the end of a lesson, whatever reward the tutor was trained on.
"""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutor_agents.tutor import Oracle, Trial, Tutor
from tutor_envs.classroom import Classroom, Observation, Truth
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.task import TeachingTask

BATCH_STUDENTS = 4096
"""Students taught at once unless told otherwise."""
DELAYS_DAYS = (1.0, 7.0, 30.0)
"""Days without teaching after which students are tested again, unless told otherwise."""
DISCOUNT = 0.99
"""Of the discounted reward, for each teaching action, unless told otherwise."""


class Role(enum.StrEnum):
    """What a tutor is in a comparison."""

    LEARNED = "learned"
    BASELINE = "baseline"
    OPTIMUM = "optimum"
    ORACLE = "oracle"


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What one tutor achieved; n students, K lessons, T steps, A actions, R responses, D delays.

    Attributes:
        tutor: name of the tutor.
        role: what it is in a comparison; an oracle reads what is hidden and is no competitor.
        population: whose students were taught.
        task: as scored: the drawn score at the end of each lesson.
        seed: of the students and their luck.
        students: int64 ``(n,)`` indices.
        types: int64 ``(n,)`` index of each student's type in ``population.type_names``.
        scores: float64 ``(n, K)``, in the unit of the task's score times its scale.
        post_test: float32 ``(K, T + 1, n)``, expected post-test score in [0, 1] before the first
            action (index 0) and after each action; hidden from the tutor.
        mastery: float32 ``(K, T + 1, n)``, mean over skills, in [0, 1]; hidden from the tutor.
        mastered: int16 ``(K, T + 1, n)``, skills of which the mastery is at least
            ``task.reward.mastery_threshold``; hidden from the tutor.
        retained: float32 ``(D, K, n)``, expected post-test score after each of ``delays_days``
            without teaching, counted from the end of the lesson; hidden from the tutor.
        fit: float32 ``(K, T, n)``, responsiveness of the student to the modality used, in [0, 1]
            (1/M for a student without preference, 0 for an action without modality).
        actions: int16 ``(K, T, n)`` in ``[0, A)``.
        responses: int16 ``(K, T, n)`` in ``[0, R]``; R is no response.
        delays_days: the D delays; none where students cannot be tested without being changed (those
            of another program).
        us_per_action: median microseconds that the tutor took for one action of one student,
            in batches. The one field that differs from run to run.
        training_seed: which of several trainings the tutor came out of, or the seed it was prepared
            with in a study; None: it was not trained, or once.
    """

    tutor: str
    role: Role
    population: Population
    task: TeachingTask
    seed: int
    students: NDArray[np.int64]
    types: NDArray[np.int64]
    scores: NDArray[np.float64]
    post_test: NDArray[np.float32]
    mastery: NDArray[np.float32]
    mastered: NDArray[np.int16]
    retained: NDArray[np.float32]
    fit: NDArray[np.float32]
    actions: NDArray[np.int16]
    responses: NDArray[np.int16]
    delays_days: tuple[float, ...]
    us_per_action: float
    training_seed: int | None = None

    @property
    def privileged(self) -> bool:
        """The tutor read what is hidden."""
        return self.role is Role.ORACLE

    @property
    def student_scores(self) -> NDArray[np.float64]:
        """Mean score of each student over the lessons, ``(n,)``."""
        scores: NDArray[np.float64] = self.scores.mean(axis=1)
        return scores

    @property
    def score(self) -> float:
        """Mean score over students and lessons."""
        return float(self.scores.mean())

    @property
    def progress(self) -> NDArray[np.float64]:
        """How far each student is before and after every step, ``(K, T + 1, n)``.

        For the score ``post_test`` it is the score if the lesson ended there; for the other scores,
        which are not a state of the student, it is the mean mastery in [0, 1].
        """
        if self.task.reward.score == "post_test":
            return self.task.reward.scale * self.post_test.astype(np.float64)
        return self.mastery.astype(np.float64)

    @property
    def action_counts(self) -> NDArray[np.int64]:
        """How many students got each action at each step, ``(K, T, A)``."""
        return _counts(self.actions, self.population.student_model.n_actions)

    @property
    def response_counts(self) -> NDArray[np.int64]:
        """How many students gave each response at each step, ``(K, T, R + 1)``; R is none."""
        return _counts(self.responses, self.population.student_model.n_responses + 1)


def by_tutor(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """Tutor -> its evaluations, one for each training seed."""
    found: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        found.setdefault(evaluation.tutor, []).append(evaluation)
    return found


def pooled(evaluations: Sequence[Evaluation]) -> Evaluation:
    """One tutor's evaluations as one: the students once for each training seed."""
    first = evaluations[0]
    if len(evaluations) == 1:
        return first
    arrays = [
        field.name
        for field in dataclasses.fields(Evaluation)
        if isinstance(getattr(first, field.name), np.ndarray)
    ]
    parts: dict[str, Any] = {
        name: np.concatenate(
            [getattr(e, name) for e in evaluations], axis=0 if name == "scores" else -1
        )
        for name in arrays
    }
    return dataclasses.replace(first, training_seed=None, **parts)


def _counts(values: NDArray[np.int16], n_values: int) -> NDArray[np.int64]:
    return np.stack([(values == value).sum(axis=-1) for value in range(n_values)], axis=-1)


class _Batch(NamedTuple):
    """What was recorded of one batch of students; shapes as in :class:`Evaluation`."""

    types: Tensor
    scores: Tensor
    post_test: Tensor
    mastery: Tensor
    mastered: Tensor
    retained: Tensor
    fit: Tensor
    actions: Tensor
    responses: Tensor
    seconds_per_action: list[float]


def evaluate(
    tutor: Tutor,
    population: Population,
    task: TeachingTask,
    *,
    n_students: int,
    seed: int,
    split: Split = Split.TEST,
    trial: int = 0,
    role: Role = Role.BASELINE,
    device: torch.device | str = "cpu",
    batch_students: int = BATCH_STUDENTS,
    delays_days: Sequence[float] = DELAYS_DAYS,
) -> Evaluation:
    """Let a tutor teach whole trials and record what came of it.

    The numbers depend on the seed and the students alone, not on ``batch_students``, as long as the
    tutor's own arithmetic does not (a neural network's sums may be rounded otherwise in another
    batch size, which can tip an action between equals).

    Args:
        tutor: any tutor; one that satisfies ``Oracle`` is shown the truth and gets the role oracle.
        population: whose students are taught.
        task: lessons, steps and score; ``reward.when`` and ``reward.expected`` are overruled.
        n_students: how many, from the first of the split on.
        seed: of the students and their luck.
        split: which students.
        trial: which trial with these students; another trial is other luck.
        role: of a tutor that is no oracle.
        device: where the students are simulated; the tutor must cope with tensors there.
        batch_students: how many are taught at once.
        delays_days: days without teaching after which every lesson's students are tested again.

    Raises:
        ValueError: a number of students below 1, or a tutor whose action is not a legal one.
    """
    for name, value in (("n_students", n_students), ("batch_students", batch_students)):
        if value < 1:
            raise ValueError(f"`{name}` must be >= 1, got {value}.")
    task = scored_task(task)
    classroom = Classroom(population, task, seed=seed, device=device)
    modality = _modality_of_actions(classroom)
    delays = tuple(delays_days) if classroom.model.is_functional else ()
    students = student_indices(split, n_students)
    with torch.no_grad():
        batches = [
            _teach(tutor, classroom, batch.to(classroom.device), trial, modality, delays)
            for batch in torch.split(students, batch_students)
        ]

    def joined(field: str, dtype: type) -> NDArray[Any]:
        parts = [getattr(batch, field) for batch in batches]
        return torch.cat(parts, dim=-1).cpu().numpy().astype(dtype)

    return Evaluation(
        tutor=tutor.name,
        role=Role.ORACLE if isinstance(tutor, Oracle) else role,
        population=population,
        task=task,
        seed=seed,
        students=students.numpy(),
        types=joined("types", np.int64),
        scores=np.ascontiguousarray(joined("scores", np.float64).T),
        post_test=joined("post_test", np.float32),
        mastery=joined("mastery", np.float32),
        mastered=joined("mastered", np.int16),
        retained=joined("retained", np.float32),
        fit=joined("fit", np.float32),
        actions=joined("actions", np.int16),
        responses=joined("responses", np.int16),
        delays_days=delays,
        us_per_action=1e6 * float(np.median([s for b in batches for s in b.seconds_per_action])),
    )


def scored_task(task: TeachingTask) -> TeachingTask:
    """The task as tutors are scored by it: the drawn score, at the end of a lesson."""
    reward = task.reward.model_copy(update={"when": "end", "expected": False})
    return task.model_copy(update={"reward": reward})


def _modality_of_actions(classroom: Classroom) -> Tensor:
    """Index of the modality of each action, ``(A,)``; M for an action without one."""
    names = classroom.model.modalities
    index = [
        names.index(action.modality) if action.modality in names else len(names)
        for action in classroom.model.actions
    ]
    return torch.tensor(index, device=classroom.device)


def _teach(
    tutor: Tutor,
    classroom: Classroom,
    students: Tensor,
    trial: int,
    modality: Tensor,
    delays_days: Sequence[float],
) -> _Batch:
    """One whole trial with a batch of students."""
    task = classroom.task
    observation = classroom.begin_trial(students, trial)
    truth = classroom.truth
    responsiveness = truth.latents["responsiveness"]
    responsiveness = torch.cat([responsiveness, torch.zeros_like(responsiveness[:, :1])], dim=-1)
    if isinstance(tutor, Oracle):
        tutor.inform(classroom)
    tutor.begin_trial(Trial(students, classroom.seed, trial))
    scores, fit, actions, responses = [], [], [], []
    points: list[tuple[Tensor, Tensor, Tensor]] = []
    retained: list[Tensor] = []
    seconds = []
    score = torch.zeros_like(truth.post_test)
    for step in range(task.n_trial_steps):
        if step % task.n_steps == 0:
            score = torch.zeros_like(score)
            points.append(_point(classroom.truth, task))
        started_s = _now_s(classroom.device)
        action = tutor.act(observation)
        acted_s = _now_s(classroom.device)
        _check_action(tutor, classroom, observation, action)
        outcome = classroom.step(action)
        observation = outcome.observation
        stepped_s = _now_s(classroom.device)
        tutor.observe(action, observation)
        seconds.append(_now_s(classroom.device) - stepped_s + acted_s - started_s)
        points.append(_point(outcome.truth, task))
        actions.append(action)
        responses.append(observation.response)
        fit.append(responsiveness.gather(-1, modality[action].unsqueeze(-1)).squeeze(-1))
        # Paid at the lesson's end; to who leaves before, on leaving.
        score = score + outcome.reward
        if outcome.lesson_ended:
            lesson = step // task.n_steps
            luck = _wait_luck(classroom, students, trial, lesson)
            retained += [outcome.truth.post_test_after(days, luck) for days in delays_days]
            scores.append(score)
    post_test, mastery, mastered = (torch.stack(column) for column in zip(*points, strict=True))
    by_step = (task.n_lessons, task.n_steps, len(students))
    by_point = (task.n_lessons, task.n_steps + 1, len(students))
    return _Batch(
        types=truth.latents["type"],
        scores=torch.stack(scores),
        post_test=post_test.reshape(by_point),
        mastery=mastery.reshape(by_point),
        mastered=mastered.reshape(by_point),
        retained=_by_delay(retained, task.n_lessons, score),
        fit=torch.stack(fit).reshape(by_step),
        actions=torch.stack(actions).reshape(by_step),
        responses=torch.stack(responses).reshape(by_step),
        seconds_per_action=[s / len(students) for s in seconds],
    )


def _point(truth: Truth, task: TeachingTask) -> tuple[Tensor, Tensor, Tensor]:
    """Post-test, mean mastery and number of mastered skills now, ``(n,)`` each."""
    mastered = (truth.mastery >= task.reward.mastery_threshold).sum(-1)
    return truth.post_test, truth.mean_mastery, mastered


def _wait_luck(classroom: Classroom, students: Tensor, trial: int, lesson: int) -> Tensor:
    """What ``wait`` draws from after a lesson, the same for every delay."""
    return uniforms(
        classroom.seed,
        students,
        purpose=Purpose.WAIT,
        n_lanes=classroom.model.n_wait_uniforms,
        trial=trial,
        lesson=lesson,
    )


def _by_delay(retained: Sequence[Tensor], n_lessons: int, like: Tensor) -> Tensor:
    """From lesson after lesson, each with its delays, to ``(D, K, n)``."""
    if not retained:
        return like.new_zeros(0, n_lessons, len(like))
    by_lesson = torch.stack(list(retained)).reshape(n_lessons, -1, len(like))
    return by_lesson.transpose(0, 1)


def _now_s(device: torch.device) -> float:
    """A clock in seconds, read when the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _check_action(
    tutor: Tutor, classroom: Classroom, observation: Observation, action: Tensor
) -> None:
    """A tutor that breaks the protocol is told so, before its numbers mean nothing."""
    n_actions = classroom.model.n_actions
    shape, wanted = tuple(action.shape), tuple(observation.action.shape)
    if shape != wanted or action.dtype != torch.int64:
        raise ValueError(
            f"tutor `{tutor.name}` must act with int64 of shape {wanted}, "
            f"got {action.dtype} of shape {shape}."
        )
    low, high = int(action.min()), int(action.max())
    if low < 0 or high >= n_actions:
        raise ValueError(
            f"tutor `{tutor.name}` must act in [0, {n_actions}), got {low if low < 0 else high}."
        )
    if observation.legal is not None:
        illegal = ~observation.legal.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        if bool(illegal.any()):
            name = classroom.model.actions[int(action[illegal][0])]
            raise ValueError(
                f"tutor `{tutor.name}` chose an illegal action, `{name}`, in lesson "
                f"{observation.lesson} at step {observation.step}; see `Observation.legal`."
            )
