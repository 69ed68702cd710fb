"""The deeptutor protocol on our own EFC and HLR students, next to its recomputed numbers.

Reddy, Levine & Dragan 2017 ("Accelerating human learning with deep reinforcement learning"): 30
items, 200 reviews at a constant delay of 5, 10 students, 100 episodes each. The reward of a step is
the mean over items of recall (L) or of ``log(1e-9 + recall)`` (LL), right after the review; a cell
is its mean over steps and episodes, with the standard error over students.

    python experiments/deeptutor.py
    python experiments/deeptutor.py --students 1000 --episodes 4

A step, as in the notebook: the answer is drawn from recall before the delay, then the delay
passes, then the review is entered, so that the reviewed item is remembered for sure when the reward
is taken. The first review is the reset's, of a random item, and is not rewarded. Where the protocol
leaves a choice: the last reviews before an episode lie ``exp(N(0, 1))`` in the past, drawn once per
student and item; SuperMnemo starts each episode with fresh cards (the notebook never clears them);
"lowest recall" knows the true recall and reviews the smallest.

The published table was recomputed from the notebook with last reviews moved from the future to the
past. Leitner and Threshold are tuned on the task, and left out.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple, Protocol

import torch
import typer
from torch import Tensor

from tutor_envs.population import Population
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents
from tutor_envs.students.efc import EFC
from tutor_envs.students.hlr import HLR

N_ITEMS = 30
N_STEPS = 200
DELAY = 5.0
_LUCK_LANES = 2

MODELS: dict[str, EFC | HLR] = {
    "EFC": EFC(n_skills=N_ITEMS, modalities=("review",)),
    "HLR": HLR(
        n_skills=N_ITEMS,
        modalities=("review",),
        count_power=1,
        min_half_life=0,
        max_half_life=math.inf,
    ),
}
LATENTS: dict[str, dict[str, Any]] = {
    "EFC": {"decay_rate": {"lognormal": {"mean": math.log(0.077), "sd": 1}}},
    # exp(-t / exp(2 right + wrong + d)) in base 2, with d ~ N(0, 1) for each item
    "HLR": {
        "right_weight": 2 / math.log(2),
        "wrong_weight": 1 / math.log(2),
        "bias": {"normal": {"mean": math.log2(math.log(2)), "sd": 1 / math.log(2)}},
    },
}


class Published(NamedTuple):
    """A cell of the recomputed table.

    Attributes:
        mean: mean reward.
        se: its standard error over ten students; None: not given.
        gain: percent better than Random, per student, averaged; None: this is Random.
    """

    mean: float
    se: float | None
    gain: float | None


PUBLISHED = {
    ("EFC", "L"): {
        "random": Published(0.3016, 0.0104, None),
        "supermnemo": Published(0.3526, None, 16.8),
        "lowest_recall": Published(0.2858, None, -5.7),
    },
    ("EFC", "LL"): {
        "random": Published(-4.405, 0.217, None),
        "supermnemo": Published(-2.644, None, 40.5),
        "lowest_recall": Published(-2.050, None, 54.0),
    },
    ("HLR", "L"): {
        "random": Published(0.3604, 0.0059, None),
        "supermnemo": Published(0.3484, None, -3.5),
        "lowest_recall": Published(0.3518, None, -2.6),
    },
    ("HLR", "LL"): {
        "random": Published(-7.887, 0.116, None),
        "supermnemo": Published(-6.023, None, 23.7),
        "lowest_recall": Published(-5.851, None, 25.9),
    },
}
_PUBLISHED_STUDENTS = 10


class ReviewTutor(Protocol):
    """What chooses the next item, for a batch of rows."""

    def choose(self, recall: Tensor, luck: Tensor) -> Tensor:
        """Item ``(n,)`` from true recall ``(n, K)`` and uniforms ``(n, 2)``."""

    def see(self, item: Tensor, correct: Tensor, luck: Tensor) -> None:
        """The answer ``(n,)`` to a review, with the uniforms that ``choose`` had."""


class Random:
    """Any item."""

    def choose(self, recall: Tensor, luck: Tensor) -> Tensor:
        """Uniform over the items."""
        return (luck[:, 0] * recall.shape[1]).long()

    def see(self, item: Tensor, correct: Tensor, luck: Tensor) -> None:
        """Nothing to remember."""


class LowestRecall(Random):
    """The item most likely forgotten; knows the true recall."""

    def choose(self, recall: Tensor, luck: Tensor) -> Tensor:
        """Smallest recall, the first of equals."""
        return recall.argmin(-1)


class SuperMnemo:
    """Mnemosyne's SM-2 as the notebook runs it: rounds over all items, long intervals first.

    Its clock counts in seconds and an episode lasts a thousand of them, so no card ever becomes due
    and every review is early: a round takes the cards in the order of their scheduled intervals.
    An interval is 0 days after an error, 1 after the first success, 6 after the second in a row and
    1 after more (ease times a few seconds is rounded up to a day), and with even odds a day more.
    A round does not begin with the item that ended the last one, unless that is item 0.
    """

    def __init__(self, n: int, n_items: int) -> None:
        """Fresh cards for n students."""
        self._interval = torch.zeros(n, n_items)
        self._streak = torch.zeros(n, n_items)
        self._round = torch.zeros(n, n_items, dtype=torch.long)
        self._position = torch.full((n,), n_items)
        self._last = torch.full((n,), -1)

    def choose(self, recall: Tensor, luck: Tensor) -> Tensor:
        """The next card of the round; a new round when none is left."""
        ended = self._position == self._round.shape[1]
        order = self._interval.argsort(dim=-1, descending=True, stable=True)
        repeats = (order[:, 0] == self._last) & (self._last > 0)
        self._round = torch.where(ended.unsqueeze(-1), order, self._round)
        self._position = torch.where(ended, repeats.long(), self._position)
        self._last = self._round.gather(-1, self._position.unsqueeze(-1)).squeeze(-1)
        self._position = self._position + 1
        return self._last

    def see(self, item: Tensor, correct: Tensor, luck: Tensor) -> None:
        """Grade the card."""
        at = item.unsqueeze(-1)
        streak = (self._streak.gather(-1, at).squeeze(-1) + 1) * correct
        interval = torch.where(streak == 2, 6.0, 1.0) + (luck[:, 1] < 0.5)
        self._streak = self._streak.scatter(-1, at, streak.unsqueeze(-1))
        self._interval = self._interval.scatter(-1, at, (interval * correct).unsqueeze(-1))


TUTORS = ("random", "supermnemo", "lowest_recall")


def make_tutor(name: str, n: int) -> ReviewTutor:
    """The tutor of this name, for n rows."""
    if name == "supermnemo":
        return SuperMnemo(n, N_ITEMS)
    return Random() if name == "random" else LowestRecall()


def play(env: str, tutor: str, *, n_students: int, n_episodes: int, seed: int) -> dict[str, Tensor]:
    """Both rewards of a tutor on one kind of student, all students and episodes at once.

    Students and their luck are the same for each tutor.

    Returns:
        ``L`` and ``LL``: each student's mean over steps and episodes, ``(n_students,)``.
    """
    model = MODELS[env]
    population = Population(
        name=env,
        student=model.name,
        model=model,
        latents={"initial_lag": {"lognormal": {"mean": 0, "sd": 1}}} | LATENTS[env],
    )
    student = torch.arange(n_students).repeat_interleave(n_episodes)
    episode = torch.arange(n_episodes).repeat(n_students)
    latents: Latents = population.sample(seed, student, dtype=torch.float64)
    steps = torch.arange(N_STEPS).unsqueeze(-1)
    answers, luck = (
        uniforms(seed, student, purpose=purpose, n_lanes=_LUCK_LANES, trial=episode, step=steps)
        for purpose in (Purpose.STUDENT_STEP, Purpose.TUTOR)
    )
    teacher, first = make_tutor(tutor, len(student)), Random()
    delay = torch.full((len(student),), DELAY, dtype=torch.float64)
    style = torch.ones(len(student), 1, dtype=torch.float64)
    state = model.begin_lesson(latents, torch.empty(len(student), 0))
    recall = model.p_correct(latents, state)
    total = {"L": torch.zeros_like(delay), "LL": torch.zeros_like(delay)}
    for t in range(N_STEPS):
        item = (teacher if t else first).choose(recall, luck[t])
        correct = answers[t, :, 0] < recall.gather(-1, item.unsqueeze(-1)).squeeze(-1)
        teacher.see(item, correct, luck[t])
        state = model.wait(latents, state, delay, torch.empty(len(student), 0))
        reviewed = model.practised(item)
        state = model.practise(latents, state, reviewed, correct.unsqueeze(-1), style)
        recall = model.p_correct(latents, state)
        if t:
            total["L"] = total["L"] + recall.mean(-1)
            total["LL"] = total["LL"] + torch.log(1e-9 + recall).mean(-1)
    return {
        name: (value / (N_STEPS - 1)).view(n_students, n_episodes).mean(-1)
        for name, value in total.items()
    }


class Row(NamedTuple):
    """Our cell next to the published one.

    Attributes:
        mean: mean over students.
        se: its standard error.
        difference: ours less theirs, in joint standard errors.
        gain: percent better than Random, per student, averaged.
        gain_se: its standard error.
        gain_difference: ours less theirs, in joint standard errors.
    """

    mean: float
    se: float
    difference: float
    gain: float
    gain_se: float
    gain_difference: float


def compare(reward: Tensor, random: Tensor, published: Published) -> Row:
    """One cell, from the rewards ``(n_students,)`` of a tutor and of Random on the same students.

    Where a standard error was not published, ours is rescaled to their ten students.
    """
    mean, se, their_se = _mean_and_errors(reward)
    joint = math.hypot(se, published.se or their_se)
    gain, gain_se, their_gain_se = _mean_and_errors(100 * (reward - random) / random.abs())
    if published.gain is None:
        return Row(mean, se, (mean - published.mean) / joint, 0.0, 0.0, 0.0)
    gain_difference = (gain - published.gain) / math.hypot(gain_se, their_gain_se)
    return Row(mean, se, (mean - published.mean) / joint, gain, gain_se, gain_difference)


def _mean_and_errors(values: Tensor) -> tuple[float, float, float]:
    """Mean, its standard error, and that of a mean over ten such students."""
    sd = values.std().item()
    return values.mean().item(), sd / len(values) ** 0.5, sd / _PUBLISHED_STUDENTS**0.5


def main(
    students: Annotated[int, typer.Option(min=2, help="students of each kind")] = 10,
    episodes: Annotated[int, typer.Option(min=1, help="episodes of each student")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="students and their luck")] = 0,
) -> None:
    """Print every cell next to the published one, with differences in joint standard errors."""
    torch.set_num_threads(1)
    typer.echo(
        f"{'cell':<7}{'tutor':<14}{'ours':>9} +- {'SE':<7}{'published':>9}{'diff/SE':>9}"
        f"{'gain %':>9} +- {'SE':<5}{'published':>9}{'diff/SE':>9}"
    )
    for env in MODELS:
        rewards = {
            tutor: play(env, tutor, n_students=students, n_episodes=episodes, seed=seed)
            for tutor in TUTORS
        }
        for name in ("L", "LL"):
            for tutor in TUTORS:
                published = PUBLISHED[env, name][tutor]
                row = compare(rewards[tutor][name], rewards["random"][name], published)
                line = (
                    f"{env + '-' + name:<7}{tutor:<14}{row.mean:>9.4f} +- {row.se:<7.4f}"
                    f"{published.mean:>9.4f}{row.difference:>9.2f}"
                )
                if published.gain is not None:
                    line += (
                        f"{row.gain:>9.1f} +- {row.gain_se:<5.1f}"
                        f"{published.gain:>9.1f}{row.gain_difference:>9.2f}"
                    )
                typer.echo(line)


if __name__ == "__main__":
    typer.run(main)
