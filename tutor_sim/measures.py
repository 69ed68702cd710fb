"""Learning measures: what students got out of a tutor's lessons, beside the score.

Post-tests are *expected* scores in [0, 1] from the simulator's truth, so no test's luck is in them;
they are independent of the score that the task pays for. Every measure is first averaged over the
lessons of a student, so that intervals are over students (:mod:`tutor_sim.statistics`). A student
who has left counts with 0 in lessons that did not take place.

Intervals of these means are t-intervals, with several seeds the closed form of the two-level
bootstrap (:func:`tutor_sim.statistics.seed_band`): there are many of them, and they cost nothing.
They end where the measure does (a share at 0 and 1).

Arrays end in the students: ``(..., n)``; K lessons of T teaching actions, S training seeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutor_sim.evaluation import DISCOUNT, Evaluation
from tutor_sim.statistics import Array, Estimate, seed_band, undefined

SHARES = {"half": 0.5, "all": 1.0}
"""Name -> share of the skills whose mastery is waited for."""
_NO_ROOM = 1e-6
"""A pre-test this close to 1 leaves nothing to gain."""


@dataclasses.dataclass(frozen=True)
class TimeToMastery:
    """Teaching actions in a lesson until so many skills were mastered for the first time.

    The lesson's end censors every student at T actions, and nobody before; who never gets there
    stays in all three numbers.

    Attributes:
        n_skills: how many skills.
        reached: share of the lessons in which they were mastered by the end.
        median: teaching actions until half of the lessons were there; infinite: fewer than half.
        restricted_mean: mean of min(time, T): time to mastery within the lesson.
    """

    n_skills: int
    reached: Estimate
    median: Estimate
    restricted_mean: Estimate


@dataclasses.dataclass(frozen=True)
class LearningMeasures:
    """What the students of one tutor learned; means over lessons and students.

    Attributes:
        pre_test: expected score before the lesson, in [0, 1].
        post_test: expected score at its end, in [0, 1].
        normalised_gain: of the averages (Hake's <g>).
        student_gain: average of the gains of single students.
        n_without_room: students whose every pre-test was 1; they have no gain of their own.
        mastered: skills mastered at the lesson's end.
        n_skills: how many there are.
        mastery_threshold: mastery from which a skill counts as mastered.
        time_to_mastery: ``half`` and ``all`` of the skills.
        mean_recall: expected post-test, averaged over the lesson's actions.
        retention: days without teaching -> expected post-test then.
        total_reward: sum of a trial's scores.
        discounted_reward: the same, discounted.
        discount: for each teaching action.
    """

    pre_test: Estimate
    post_test: Estimate
    normalised_gain: Estimate
    student_gain: Estimate
    n_without_room: int
    mastered: Estimate
    n_skills: int
    mastery_threshold: float
    time_to_mastery: Mapping[str, TimeToMastery]
    mean_recall: Estimate
    retention: Mapping[str, Estimate]
    total_reward: Estimate
    discounted_reward: Estimate
    discount: float

    @property
    def forgets(self) -> bool:
        """Some delay costs something."""
        return any(e.value < self.post_test.value - _NO_ROOM for e in self.retention.values())


def learning_measures(
    group: Sequence[Evaluation], *, discount: float = DISCOUNT
) -> LearningMeasures:
    """Of one tutor's evaluations, one for each training seed.

    Args:
        group: with the same students.
        discount: for each teaching action, in (0, 1].
    """
    first = group[0]
    task, n_skills = first.task, len(first.population.student_model.skills)
    post_test = np.stack([e.post_test for e in group]).astype(np.float64)  # (S, K, T + 1, n)
    pre, post = post_test[:, :, 0], post_test[:, :, -1]
    mastered = np.stack([e.mastered for e in group])
    retained = np.stack([e.retained for e in group]).astype(np.float64)  # (S, D, K, n)
    scores = np.stack([e.scores for e in group])  # (S, n, K)
    gains = student_gains(pre, post)
    has_room = ~np.isnan(gains).any(axis=0)
    return LearningMeasures(
        pre_test=mean_estimate(pre.mean(axis=1), most=1),
        post_test=mean_estimate(post.mean(axis=1), most=1),
        normalised_gain=normalised_gain(pre.mean(axis=(0, 1)), post.mean(axis=1)),
        student_gain=(
            mean_estimate(gains[:, has_room])
            if has_room.any()
            else undefined("every pre-test is 1")
        ),
        n_without_room=int((~has_room).sum()),
        mastered=mean_estimate(mastered[:, :, -1].mean(axis=1), most=n_skills),
        n_skills=n_skills,
        mastery_threshold=task.reward.mastery_threshold,
        time_to_mastery={
            name: time_to_mastery(mastered, math.ceil(share * n_skills))
            for name, share in SHARES.items()
        },
        mean_recall=mean_estimate(post_test[:, :, 1:].mean(axis=(1, 2)), most=1),
        retention={
            f"{days:g}": mean_estimate(retained[:, i].mean(axis=1), most=1)
            for i, days in enumerate(first.delays_days)
        },
        total_reward=mean_estimate(scores.sum(axis=-1)),
        discounted_reward=mean_estimate(discounted_reward(scores, task.n_steps, discount)),
        discount=discount,
    )


def mean_estimate(values: ArrayLike, *, most: float | None = None) -> Estimate:
    """Mean over students, and seeds if there are several, with its 95 % interval.

    Args:
        values: ``(n,)`` or ``(S, n)``.
        most: the values lie in [0, ``most``], and so does the interval.
    """
    mean, low, high = (float(part) for part in seed_band(np.atleast_2d(values)))
    if most is not None:
        low, high = (float(np.clip(end, 0, most)) for end in (low, high))
    return Estimate(mean, low, high, "one student: no interval" if math.isnan(low) else "")


# -- gains ----------------------------------------------------------------------------------------
def normalised_gain(pre: ArrayLike, post: ArrayLike) -> Estimate:
    """Hake's <g>, the gain of the averages: (<post> - <pre>) / (1 - <pre>).

    The share of what could be gained that was gained by the class as a whole (Hake 1998,
    "Interactive-engagement versus traditional methods", American Journal of Physics 66, 64-74).
    Students with a pre-test of 1 are part of both averages. The interval is that of a ratio of
    means, by each student's influence on it (Hampel et al. 1986, "Robust statistics", ch. 2).

    Args:
        pre: ``(n,)``, expected scores in [0, 1].
        post: ``(n,)`` or ``(S, n)``, of the same students.

    Returns:
        nan with a reason where the average pre-test is 1.
    """
    pre, post = np.asarray(pre, np.float64), np.atleast_2d(np.asarray(post, np.float64))
    room = 1 - pre.mean()
    if room <= _NO_ROOM:
        return undefined("no room to gain: every pre-test is 1")
    gain = (post.mean(axis=-1, keepdims=True) - pre.mean()) / room
    influence = (post - pre - gain * (1 - pre)) / room
    return mean_estimate(gain + influence)


def student_gains(pre: ArrayLike, post: ArrayLike) -> Array:
    """Gain of each student: the mean of (post - pre) / (1 - pre) over the student's lessons.

    Lessons with a pre-test of 1 have no gain and are left out. Where the pre-test is close to 1, a
    small loss is a large negative number: that is why the gain of the averages is the usual one.

    Args:
        pre: ``(..., K, n)``, expected scores in [0, 1].
        post: ``(..., K, n)``.

    Returns:
        ``(..., n)``; nan for a student without such a lesson.
    """
    pre, post = np.asarray(pre, np.float64), np.asarray(post, np.float64)
    has_room = 1 - pre > _NO_ROOM
    gains = np.where(has_room, (post - pre) / np.where(has_room, 1 - pre, 1), 0).sum(axis=-2)
    n_lessons = has_room.sum(axis=-2)
    result: Array = np.where(n_lessons > 0, gains / np.maximum(n_lessons, 1), math.nan)
    return result


# -- mastery --------------------------------------------------------------------------------------
def steps_to_mastery(mastered: NDArray[np.int16], n_needed: int) -> Array:
    """Teaching actions until so many skills are mastered at once, for the first time.

    Args:
        mastered: ``(..., T + 1, n)`` mastered skills, before the first action and after each.
        n_needed: how many skills.

    Returns:
        ``(..., n)``; infinite where it is not in the lesson.
    """
    there = mastered >= n_needed
    first: Array = np.where(there.any(axis=-2), there.argmax(axis=-2), math.inf)
    return first


def time_to_mastery(mastered: NDArray[np.int16], n_needed: int) -> TimeToMastery:
    """How long mastery takes, with those who do not get there.

    All are watched to the lesson's end, so the Kaplan-Meier curve is the plain share of lessons
    that are not there yet. The median is where it passes 1/2, with the interval of Brookmeyer &
    Crowley 1982 (Biometrics 38, 29-41): the times at which the share's 95 % interval holds 1/2. The
    restricted mean is the area under the curve up to T (Royston & Parmar 2013, BMC Medical Research
    Methodology 13:152).

    Args:
        mastered: ``(S, K, T + 1, n)`` mastered skills, before the first action and after each.
        n_needed: how many skills are waited for.
    """
    n_steps = mastered.shape[-2] - 1
    steps = steps_to_mastery(mastered, n_needed)
    reached_by = (steps[:, :, None] <= np.arange(n_steps + 1)[:, None]).mean(axis=1)
    return TimeToMastery(
        n_skills=n_needed,
        reached=mean_estimate(np.isfinite(steps).mean(axis=1), most=1),
        median=_median(*seed_band(reached_by)),
        restricted_mean=mean_estimate(np.minimum(steps, n_steps).mean(axis=1), most=n_steps),
    )


def _median(share: Array, low: Array, high: Array) -> Estimate:
    """Where a rising curve ``(T + 1,)`` and its band pass 1/2."""

    def first(curve: Array) -> float:
        there = curve >= 0.5
        return float(there.argmax()) if there.any() else math.inf

    reason = "" if np.isfinite(first(share)) else "fewer than half get there in a lesson"
    if np.isnan(low).any():
        return Estimate(first(share), math.nan, math.nan, reason or "one student: no interval")
    return Estimate(first(share), first(high), first(low), reason)


# -- reward ---------------------------------------------------------------------------------------
def discounted_reward(scores: ArrayLike, n_steps: int, discount: float) -> Array:
    """Sum over a trial's teaching actions t = 0, 1, ... of discount^t times the reward for it.

    The reward is the lesson's score, paid with the lesson's last action (Sutton & Barto 2018,
    "Reinforcement learning", equation 3.8): ``sum_k discount^((k + 1) T - 1) score_k``.

    Args:
        scores: ``(..., K)``.
        n_steps: T, teaching actions of a lesson.
        discount: in (0, 1]; 1 is the plain sum.

    Returns:
        ``(...)``.
    """
    scores = np.asarray(scores, np.float64)
    paid_at = n_steps * np.arange(1, scores.shape[-1] + 1) - 1
    result: Array = scores @ np.power(discount, paid_at)
    return result
