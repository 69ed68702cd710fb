"""ZPDES: a bandit that follows the student's progress within a growing zone of items.

Clement, Roy, Oudeyer & Lopes 2015, "Multi-Armed Bandits for Intelligent Tutoring Systems", JEDM
7(2). No student model is needed: only right and wrong answers are read. An exercise is put together
from two parameters, as theirs are from several: an *item* (a skill at a level, see below) and a
*modality*. Each value v of a parameter keeps a weight ``w_v`` and the last d answers to exercises
with that value.

**Reward.** What has been gained lately: with the last ``m = min(d, answers)`` answers ``C``, the
newer half *less* the older half, not below zero,

    ``r = max(0, mean(last floor(m/2) of C) - mean(the ceil(m/2) before them))``

(d answers: ``2/d (sum of the last d/2 - sum of the d/2 before)``). A public re-implementation adds
the two halves: that rewards what is known already. With less than three answers the weight stays.

**Weights.** ``w_v <- beta w_v + (1 - beta) r`` for the values in use.

**Choice** of a value among the open ones Z: ``p_v = (1 - gamma) w_v / sum_Z w + gamma / |Z|``.

**Zone.** An item is *passed* once the rate of success over its last d/2 answers (two at least)
exceeds ``open_above``. It opens when all items are passed that it builds on: the level before it
of the same skill and activity (in the order of the actions: for ``irt`` the difficulty below), and
for a skill's first level the first levels of its prerequisites. With ``order: prerequisites`` these
are what the student model declares, and skills without any are open from the start; with
``order: index`` each skill builds on the one before. An item that opens starts with the smallest
weight in the zone. An item leaves the zone when the success over d answers exceeds ``close_above``,
but never the last one.

The constants are those of the authors' code (kidlearn): d = 6, beta = 0.2, first weights 0.05,
``open_above`` 0.5, ``close_above`` 0.8; except gamma = 0.2, for theirs adds a tenth of the sum of
the weights to each.

A new lesson is a new topic: items start anew. What is known of modalities stays for the trial,
except that the answers before are not compared with those after. Where nothing in the zone is
legal, any legal item is in it. Actions that ask for no answer, or are about no skill, are taken
only where nothing else is legal.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor

from tutor_agents.choice import drawn, legal_among, planned_or_next, tutor_uniforms
from tutor_agents.teaching_actions import Items, prerequisites_of
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.student import CORRECT, StudentModel

Order = Literal["prerequisites", "index"]
_FIRST_WEIGHT = 0.05


class Values:
    """The values of one parameter with their weights and last answers, for n students."""

    def __init__(self, n: int, n_values: int, window: int, device: torch.device) -> None:
        """No answers yet; all weights are equal."""
        self.weight = torch.full((n, n_values), _FIRST_WEIGHT, dtype=torch.float64, device=device)
        self._age = torch.arange(window - 1, -1, -1, device=device)
        self._window = window
        self.forget_answers()

    def forget_answers(self) -> None:
        """The weights stay."""
        shape = (*self.weight.shape, self._window)
        self._answers = self.weight.new_zeros(shape)  # the newest last
        self._n_answers = torch.zeros(shape[:2], dtype=torch.int64, device=self.weight.device)

    def add(self, value: Tensor, correct: Tensor, answered: Tensor, beta: float) -> None:
        """Another answer for a value of each student, and what it does to its weight.

        Args:
            value: int64 ``(n,)``.
            correct: bool ``(n,)``.
            answered: bool ``(n,)``; nothing changes where it is false.
            beta: share of the weight that is kept.
        """
        index = torch.arange(self.weight.shape[-1], device=value.device)
        used = (value.unsqueeze(-1) == index) & answered.unsqueeze(-1)
        newest = correct.to(self._answers)[:, None, None].expand(-1, len(index), 1)
        shifted = torch.cat([self._answers[..., 1:], newest], dim=-1)
        self._answers = torch.where(used.unsqueeze(-1), shifted, self._answers)
        self._n_answers = self._n_answers + used
        learns = used & (self._n_answers > 2)
        weight = beta * self.weight + (1 - beta) * self.progress().clamp(min=0)
        self.weight = torch.where(learns, weight, self.weight)

    def progress(self) -> Tensor:
        """``(n, V)``: success in the newer half of the window less that in the older half."""
        held = self._n_answers.clamp(max=self._window)
        newer = held.div(2, rounding_mode="floor")
        return self._rate(0, newer) - self._rate(newer, held)

    def success(self, n_last: int) -> Tensor:
        """``(n, V)``: rate of success of the last answers, as far as there are any."""
        return self._rate(0, self._n_answers.clamp(max=n_last))

    def answers(self) -> Tensor:
        """int64 ``(n, V)``: how many there were."""
        return self._n_answers

    def _rate(self, since: Tensor | int, until: Tensor) -> Tensor:
        """Mean of the answers of ages in [since, until); 0 of none."""
        since = torch.as_tensor(since, device=until.device).expand_as(until)
        within = (self._age >= since.unsqueeze(-1)) & (self._age < until.unsqueeze(-1))
        return (self._answers * within).sum(-1) / (until - since).clamp(min=1)


def chances(weight: Tensor, among: Tensor, gamma: float) -> Tensor:
    """Probability of each value, ``(n, V)``; equal ones where all weights are zero.

    Args:
        weight: ``(n, V)``, >= 0.
        among: bool ``(n, V)``, the values that may be drawn, at least one in each row.
        gamma: share of exploration.
    """
    weight = weight * among
    total = weight.sum(-1, keepdim=True)
    uniform = among / among.sum(-1, keepdim=True)
    share = torch.where(total > 0, weight / total.clamp(min=1e-300), uniform)
    return (1 - gamma) * share + gamma * uniform


class ZpdesTutor:
    """Zone of proximal development and empirical success; see the module's text."""

    name = "zpdes"

    def __init__(
        self,
        model: StudentModel,
        *,
        window: int = 6,
        beta: float = 0.2,
        gamma: float = 0.2,
        open_above: float = 0.5,
        close_above: float = 0.8,
        order: Order = "prerequisites",
        device: torch.device | str = "cpu",
    ) -> None:
        """Teach students of this model.

        Args:
            model: what can be taught, and what builds on what.
            window: d, answers that tell of progress, >= 2.
            beta: share of a weight that is kept, in [0, 1).
            gamma: share of exploration, in (0, 1].
            open_above: rate of success that opens what builds on an item.
            close_above: rate of success at which an item leaves the zone.
            order: whether skills build on each other as declared, or each on the one before.
            device: where to compute.
        """
        self._device = torch.device(device)
        self._window, self._beta, self._gamma = window, beta, gamma
        self._open_above, self._close_above = open_above, close_above
        self._items = Items(model, self.name, self._device)
        self._requires = _requirements(model, self._items, order).to(self._device)
        n_items, self._n_modalities = len(self._items.labels), len(model.modalities) + 1
        self._action = torch.zeros(n_items, self._n_modalities, dtype=torch.int64)
        self._exists = torch.zeros_like(self._action, dtype=torch.bool)
        for a, (item, m) in enumerate(
            zip(self._items.item.tolist(), self._items.modality.tolist(), strict=True)
        ):
            self._action[item, m], self._exists[item, m] = a, True
        self._action, self._exists = self._action.to(device), self._exists.to(device)
        self._asks = torch.zeros(n_items, dtype=torch.bool, device=device)
        self._asks[self._items.item] = self._items.asks

    def begin_trial(self, trial: Trial) -> None:
        """The first items, no answers yet."""
        self._trial = trial
        n = len(trial.students)
        self.modalities = Values(n, self._n_modalities, self._window, self._device)
        self._begin_lesson()

    def _begin_lesson(self) -> None:
        n = len(self._trial.students)
        self.items = Values(n, len(self._items.labels), self._window, self._device)
        self._passed = torch.zeros_like(self.items.weight, dtype=torch.bool)
        self._closed = torch.zeros_like(self._passed)
        self.modalities.forget_answers()

    @property
    def zone(self) -> Tensor:
        """Bool ``(n, G)``: the items in the zone of each student."""
        return self._open & ~self._closed

    @property
    def _open(self) -> Tensor:
        return ~(self._requires & ~self._passed.unsqueeze(1)).any(-1) & self._asks

    def act(self, observation: Observation) -> Tensor:
        """A drawn item of the zone in a drawn modality, int64 ``(n,)``."""
        u = tutor_uniforms(
            self._trial, n_lanes=2, lesson=observation.lesson, step=observation.step
        ).to(self._device)
        possible = self._exists.expand(len(u), -1, -1)
        if observation.legal is not None:
            possible = possible & observation.legal[:, self._action]
        # An item without a legal action stands in where there is no other; then the next legal
        # action is taken.
        among = legal_among(self._asks, possible.any(-1) | ~possible.any((-1, -2)).unsqueeze(-1))
        item = drawn(
            chances(self.items.weight, legal_among(self.zone, among), self._gamma), u[:, 0]
        )
        ways = possible[torch.arange(len(u), device=self._device), item]
        ways = legal_among(ways, self._exists[item])
        modality = drawn(chances(self.modalities.weight, ways, self._gamma), u[:, 1])
        return planned_or_next(self._action[item, modality], observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Weigh the answer, open and close items; a new lesson starts anew."""
        if observation.step == 0:
            self._weigh_modality(action, observation)
            self._begin_lesson()
            return
        correct, answered = self._weigh_modality(action, observation)
        self.items.add(self._items.item[action], correct, answered, self._beta)
        before, half = self.zone, max(1, self._window // 2)
        self._passed = self._passed | (
            (self.items.success(half) > self._open_above) & (self.items.answers() >= 2)
        )
        opened = self.zone & ~before
        least = self.items.weight.masked_fill(~before, torch.inf).amin(-1, keepdim=True)
        self.items.weight = torch.where(opened, least, self.items.weight)
        full = self.items.answers() >= self._window
        closes = self.zone & full & (self.items.success(self._window) > self._close_above)
        remain = (self.zone & ~closes).any(-1, keepdim=True)
        self._closed = self._closed | (closes & remain)

    def _weigh_modality(self, action: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        """Who answered rightly, and who answered at all; bool ``(n,)`` each."""
        correct = observation.response == CORRECT
        answered = (observation.response <= CORRECT) & self._items.asks[action]
        self.modalities.add(self._items.modality[action], correct, answered, self._beta)
        return correct, answered


def _requirements(model: StudentModel, items: Items, order: Order) -> Tensor:
    """Bool ``(G, G)``: row g marks the items that must be passed before item g opens."""
    levels: dict[tuple[str, str], list[int]] = {}
    for g, (topic, activity) in enumerate(items.labels):
        levels.setdefault((topic, activity.split("(")[0]), []).append(g)
    if order == "index":
        needed = {b: [a] for a, b in itertools.pairwise(items.topics)}
    else:
        needed = {
            model.skills[k]: [model.skills[q] for q in qs]
            for k, qs in prerequisites_of(model).items()
        }
    requires = torch.zeros(len(items.labels), len(items.labels), dtype=torch.bool)
    for (topic, activity), ladder in levels.items():
        for before, after in itertools.pairwise(ladder):
            requires[after, before] = True
        for name in needed.get(topic, []):
            requires[ladder[0], levels.get((name, activity), [])[:1]] = True
    return requires
