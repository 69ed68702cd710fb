"""The deeptutor protocol on our own EFC and HLR students, next to its recomputed numbers.

Reddy, Levine & Dragan 2017 ("Accelerating human learning with deep reinforcement learning"): 30
items, 200 reviews at a constant delay of 5, 10 students, 100 episodes each. The reward of a step is
the mean over items of recall (L) or of ``log(1e-9 + recall)`` (LL), right after the review; a cell
is its mean over steps and episodes, with the standard error over students.

    python experiments/published/deeptutor.py
    python experiments/published/deeptutor.py --students 500 --episodes 2

A step, as in the notebook: the answer is drawn from recall before the delay, then the delay passes,
then the review is entered, so that the reviewed item is remembered for sure when the reward is
taken. The first review is the reset's, of a random item, and is not rewarded. Where the protocol
leaves a choice: the last reviews before an episode lie ``exp(N(0, 1))`` in the past, drawn once per
student and item; SuperMnemo starts each episode with fresh cards (the notebook never clears them);
"lowest recall" knows the true recall and reviews the smallest, Threshold knows it and reviews
the one that will be nearest to z after another delay.

Leitner's arrival probability and Threshold's z are tuned as in the notebook: for each student and
reward, one episode with each of 0, .01, ..., .99, and the best of them is kept. Tuning has other
luck than the episodes that count.

The published table was recomputed from the notebook with last reviews moved from the future to the
past.
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
        "leitner": Published(0.2779, None, -7.8),
        "supermnemo": Published(0.3526, None, 16.8),
        "threshold": Published(0.3848, None, 28.0),
        "lowest_recall": Published(0.2858, None, -5.7),
    },
    ("EFC", "LL"): {
        "random": Published(-4.405, 0.217, None),
        "leitner": Published(-3.964, None, 10.5),
        "supermnemo": Published(-2.644, None, 40.5),
        "threshold": Published(-2.049, None, 54.0),
        "lowest_recall": Published(-2.050, None, 54.0),
    },
    ("HLR", "L"): {
        "random": Published(0.3604, 0.0059, None),
        "leitner": Published(0.2535, None, -29.6),
        "supermnemo": Published(0.3484, None, -3.5),
        "threshold": Published(0.6523, None, 81.3),
        "lowest_recall": Published(0.3518, None, -2.6),
    },
    ("HLR", "LL"): {
        "random": Published(-7.887, 0.116, None),
        "leitner": Published(-7.116, None, 9.8),
        "supermnemo": Published(-6.023, None, 23.7),
        "threshold": Published(-5.233, None, 33.6),
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


class Threshold(Random):
    """The item whose recall will be nearest to z after another delay; knows the true recall.

    The notebook's tutor keeps a copy of the student whose clock is one delay ahead: resetting the
    copy lets a delay pass, and so does each of its answers. Without it z hardly tells the items
    apart that were answered last, and the gain in HLR-L is 64 % instead of 78 %.
    """

    def __init__(self, z: Tensor) -> None:
        """``(n,)`` in [0, 1)."""
        self._z = z.unsqueeze(-1)

    def choose(self, recall: Tensor, luck: Tensor) -> Tensor:
        """Nearest, the first of equals."""
        return (recall - self._z).abs().argmin(-1)


class Leitner:
    """An endless network of queues: a right answer sends an item one queue on, a wrong one back.

    Queue 0 holds the items that were not shown yet, in order. While there are any, the next item is
    new with the arrival probability; else it is the first of queue q >= 1, drawn among those that
    hold something in proportion to 1 / sqrt(q) (Reddy, Labutov, Banerjee & Joachims 2016,
    "Unbounded human learning: optimal scheduling for spaced repetition", KDD). Nothing shown falls
    below queue 1.
    """

    def __init__(self, p_arrival: Tensor, n_items: int) -> None:
        """Nothing shown yet; ``p_arrival`` ``(n,)`` in [0, 1)."""
        self._p_arrival = p_arrival.unsqueeze(-1)
        self._queue = torch.zeros(len(p_arrival), n_items, dtype=torch.long)
        self._entered = torch.arange(n_items).expand(len(p_arrival), -1)
        self._clock = n_items

    def choose(self, recall: Tensor, luck: Tensor) -> Tensor:
        """The first item of the queue that is drawn."""
        n_queues = int(self._queue.max()) + 1
        holds = torch.zeros(len(luck), n_queues, dtype=recall.dtype)
        holds = holds.scatter(-1, self._queue, 1.0)
        later = holds[:, 1:] / torch.arange(1, n_queues).sqrt()
        p_new = self._p_arrival * holds[:, :1]
        p = torch.cat([p_new, (1 - p_new) * later / later.sum(-1, keepdim=True)], dim=-1)
        queue = (luck[:, :1] >= p.cumsum(-1)).sum(-1, keepdim=True)
        last = (holds * torch.arange(n_queues)).amax(-1, keepdim=True).long()  # sums may miss 1
        in_queue = self._queue == torch.minimum(queue, last)
        return self._entered.masked_fill(~in_queue, self._clock).argmin(-1)

    def see(self, item: Tensor, correct: Tensor, luck: Tensor) -> None:
        """To the end of the queue that follows, or of the one before."""
        at = item.unsqueeze(-1)
        step = 2 * correct.long().unsqueeze(-1) - 1
        queue = (self._queue.gather(-1, at) + step).clamp(min=1)
        self._queue = self._queue.scatter(-1, at, queue)
        self._entered = self._entered.scatter(-1, at, self._clock)
        self._clock += 1


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


TUTORS = ("random", "leitner", "supermnemo", "threshold", "lowest_recall")
TUNED = ("leitner", "threshold")
SETTINGS = torch.arange(100, dtype=torch.float64) / 100
"""Among which arrival probability and z are tuned."""


def make_tutor(name: str, setting: Tensor) -> ReviewTutor:
    """The tutor of this name, for as many rows as there are settings (which most do not need)."""
    if name == "supermnemo":
        return SuperMnemo(len(setting), N_ITEMS)
    if name == "leitner":
        return Leitner(setting, N_ITEMS)
    if name == "threshold":
        return Threshold(setting)
    return Random() if name == "random" else LowestRecall()


def play(env: str, tutor: str, *, n_students: int, n_episodes: int, seed: int) -> dict[str, Tensor]:
    """Both rewards of a tutor on one kind of student, all students and episodes at once.

    Students and their luck are the same for each tutor. A tutor that is tuned is tuned for each
    reward, with the episodes that follow those that count.

    Returns:
        ``L`` and ``LL``: each student's mean over steps and episodes, ``(n_students,)``.
    """
    episodes = torch.arange(n_episodes).repeat(n_students, 1)
    if tutor not in TUNED:
        rewards = teach(env, tutor, episodes, torch.zeros(episodes.shape), seed=seed)
        return {name: reward.mean(-1) for name, reward in rewards.items()}
    trials = torch.arange(n_episodes, n_episodes + len(SETTINGS)).repeat(n_students, 1)
    tried = teach(env, tutor, trials, SETTINGS.expand(n_students, -1), seed=seed)
    rewards = {}
    for name, reward in tried.items():
        best = SETTINGS[reward.argmax(-1)].unsqueeze(-1).expand(-1, n_episodes)
        rewards[name] = teach(env, tutor, episodes, best, seed=seed)[name].mean(-1)
    return rewards


def teach(
    env: str, tutor: str, episodes: Tensor, setting: Tensor, *, seed: int
) -> dict[str, Tensor]:
    """Both rewards of each episode, all at once.

    Args:
        env: kind of student.
        tutor: its name.
        episodes: int64 ``(n_students, n_episodes)``; they address the luck.
        setting: of the tutor in each of them, of the same shape.
        seed: of the students and their luck.

    Returns:
        ``L`` and ``LL``: mean over steps, ``(n_students, n_episodes)``.
    """
    model = MODELS[env]
    population = Population(
        name=env,
        student=model.name,
        model=model,
        latents={"initial_lag": {"lognormal": {"mean": 0, "sd": 1}}} | LATENTS[env],
    )
    student = torch.arange(len(episodes)).repeat_interleave(episodes.shape[1])
    latents: Latents = population.sample(seed, student, dtype=torch.float64)
    steps = torch.arange(N_STEPS).unsqueeze(-1)
    answers, luck = (
        uniforms(
            seed,
            student,
            purpose=purpose,
            n_lanes=_LUCK_LANES,
            trial=episodes.flatten(),
            step=steps,
        )
        for purpose in (Purpose.STUDENT_STEP, Purpose.TUTOR)
    )
    teacher, first = make_tutor(tutor, setting.flatten()), Random()
    delay = torch.full((len(student),), DELAY, dtype=torch.float64)
    style = torch.ones(len(student), 1, dtype=torch.float64)
    nothing = torch.empty(len(student), 0)
    state = model.begin_lesson(latents, nothing)
    recall = ahead = model.p_correct(latents, state)
    total = {"L": torch.zeros_like(delay), "LL": torch.zeros_like(delay)}
    for t in range(N_STEPS):
        item = (teacher if t else first).choose(ahead if tutor == "threshold" else recall, luck[t])
        correct = answers[t, :, 0] < recall.gather(-1, item.unsqueeze(-1)).squeeze(-1)
        teacher.see(item, correct, luck[t])
        state = model.wait(latents, state, delay, nothing)
        reviewed = model.practised(item)
        state = model.practise(latents, state, reviewed, correct.unsqueeze(-1), style)
        recall = model.p_correct(latents, state)
        if tutor == "threshold":
            ahead = model.p_correct(latents, model.wait(latents, state, delay, nothing))
        if t:
            total["L"] = total["L"] + recall.mean(-1)
            total["LL"] = total["LL"] + torch.log(1e-9 + recall).mean(-1)
    return {name: (value / (N_STEPS - 1)).view(episodes.shape) for name, value in total.items()}


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
