"""Simulated students in the place of real ones: the same items at the same times.

Row by row of a log, a simulated student of a population meets what the real one met, after the
same pause; only the answer is the student model's. What differs between the two logs is then the
students and nothing else: neither the course, nor who dropped out when, nor the schedule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tutor_envs.particles import ParticleStudent
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import CORRECT, SECONDS_PER_DAY, Latents, State, StudentModel
from tutor_sim.logs.log import Floats, InteractionLog, Ints

_EXAMPLES = 5
_HALVINGS = 20
"""Of the interval in which a probability is sought: an error below 1e-6."""
_BLOCK = 64
"""Positions whose uniforms are drawn at once."""


class Replay(NamedTuple):
    """A log of simulated students in the place of real ones.

    Attributes:
        log: the real log with other answers; study trials stay without one.
        p_correct: probability of a correct answer to each row, given the student's true latents
            and state just before it, ``(n,)``; NaN in study trials.
    """

    log: InteractionLog
    p_correct: Floats


def replay_log(log: InteractionLog, population: Population, *, seed: int = 0) -> Replay:
    """Let students of a population live through a log.

    Items are found among the model's skills by their names; if not all of them are there, skills
    are, by theirs. Where the model teaches a skill in several ways, which the log says nothing
    about, one is drawn for each row. The log's clock rules: a student waits until a row's time has
    come, unless the model's own steps already took longer; an unknown time is no pause.

    Args:
        log: of real students.
        population: whose students take their place.
        seed: of the students and their luck.

    Raises:
        ValueError: an item is unknown to the model, or a history is too long for it.
    """
    lengths = np.bincount(log.student, minlength=log.n_students)
    _check_length(population, int(lengths.max(initial=0)))
    action = _actions(log, population, seed)
    response = torch.zeros(len(log), dtype=torch.int64)
    p_correct = torch.zeros(len(log), dtype=torch.float64)
    days = torch.from_numpy(log.time_s / SECONDS_PER_DAY)
    # Long histories first: those who have not finished yet are always the first students.
    order = np.argsort(-lengths, kind="stable")
    start = torch.from_numpy((np.cumsum(lengths) - lengths)[order])
    with torch.no_grad():
        room = _Room(population, seed, torch.from_numpy(order))
        for position in range(int(lengths.max(initial=0))):
            n = int((lengths > position).sum())
            rows = start[:n] + position
            room.keep(n)
            room.wait_until(days[rows])
            response[rows], p = room.teach(action[rows])
            p_correct[rows] = p.double()
    graded = log.graded
    correct = np.where(graded, (response == CORRECT).numpy(), np.nan)
    known = np.where(graded, p_correct.numpy(), np.nan)
    return Replay(dataclasses.replace(log, correct=correct), known)


class _Room:
    """Students of a population, each at its own time; the last ones may leave."""

    def __init__(self, population: Population, seed: int, students: Tensor) -> None:
        self.model, self.seed = population.student_model, seed
        self.students = student_indices(Split.TEST, len(students))[students]
        self.latents: Latents = population.sample(seed, self.students)
        start = uniforms(
            seed,
            self.students,
            purpose=Purpose.LESSON_START,
            n_lanes=self.model.n_start_uniforms,
        )
        self.state: State = self.model.begin_lesson(self.latents, start)
        self.clock = torch.zeros(len(students), dtype=torch.float64)
        self.position = 0

    def keep(self, n: int) -> None:
        """The first n students stay; a new position begins."""
        if n < len(self.students):
            self.students, self.clock = self.students[:n], self.clock[:n]
            self.latents = {name: value[:n] for name, value in self.latents.items()}
            self.state = {name: value[:n] for name, value in self.state.items()}
        at = self.position % _BLOCK
        if at == 0:
            steps = torch.arange(self.position, self.position + _BLOCK).unsqueeze(-1)
            n_lanes = self.model.n_step_uniforms + self.model.n_wait_uniforms
            self._block = uniforms(
                self.seed, self.students, purpose=Purpose.STUDENT_STEP, n_lanes=n_lanes, step=steps
            )
        n_step = self.model.n_step_uniforms
        self._step_luck = self._block[at, :n, :n_step]
        self._wait_luck = self._block[at, :n, n_step:]
        self.position += 1

    def wait_until(self, days: Tensor) -> None:
        """Let the time pass until these days, ``(n,)``; NaN: no time."""
        pause = (days - self.clock).nan_to_num().clamp(min=0)
        if bool((pause > 0).any()):
            dtype = self.latents["ability"].dtype
            self.state = self.model.wait(self.latents, self.state, pause.to(dtype), self._wait_luck)
        self.clock = self.clock + pause

    def teach(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Responses, int64 ``(n,)``, and P(correct) before them; the students learn."""
        model, latents, state = self.model, self.latents, self.state
        if type(model).step is StudentModel.step:
            # The same as `step`, without a second look at P(correct).
            p = model.predict(latents, state, action)[:, CORRECT]
            response = (self._step_luck[:, 0] < p).long()
            self.state = model.update(latents, state, action, response)
        else:
            p = self._p_correct(action)
            self.state, response = model.step(latents, state, action, self._step_luck)
        self.clock = self.clock + model.step_days
        return response, p

    def _p_correct(self, action: Tensor) -> Tensor:
        """P(correct) given latents and state, ``(n,)``."""
        model = self.model
        if isinstance(model, ParticleStudent):
            return model.answer(self.latents, self.state, action)[:, CORRECT]
        if type(model).begin_belief is StudentModel.begin_belief:
            return model.predict(self.latents, self.state, action)[:, CORRECT]
        return self._sought(action)

    def _sought(self, action: Tensor) -> Tensor:
        """By halving: an answer is correct where its uniform is below P(correct)."""
        luck = self._step_luck.clone()
        low = torch.zeros(len(action), dtype=luck.dtype)
        for halving in range(1, _HALVINGS + 1):
            middle = low + 0.5**halving
            luck[:, 0] = middle
            _, response = self.model.step(self.latents, self.state, action, luck)
            low = torch.where(response == CORRECT, middle, low)
        return low


def _check_length(population: Population, longest: int) -> None:
    limit = population.student_model.max_lesson_steps
    if limit is not None and longest > limit:
        raise ValueError(
            f"population `{population.name}`: its student model `{population.student}` can be "
            f"taught for at most {limit} steps as configured, the longest history has {longest}"
        )


def _actions(log: InteractionLog, population: Population, seed: int) -> Tensor:
    """The action of each row, int64; of several ways to teach a skill, any."""
    model = population.student_model
    ways: dict[str, list[int]] = {}
    for index, action in enumerate(model.actions):
        ways.setdefault(action.skill or str(action), []).append(index)
    names, code = _matched(log, population, ways.keys())
    width = max(map(len, ways.values()))
    table = torch.zeros(len(names), width, dtype=torch.int64)
    n_ways = torch.ones(len(names))
    for row in np.unique(code).tolist():
        mine = ways[names[row]]
        table[row, : len(mine)] = torch.tensor(mine)
        n_ways[row] = len(mine)
    rows = torch.arange(len(code))
    u = uniforms(seed, rows, purpose=Purpose.TUTOR, n_lanes=1).squeeze(-1)
    which = torch.from_numpy(code)
    return table[which, (u * n_ways[which]).long()]


def _matched(
    log: InteractionLog, population: Population, known: Collection[str]
) -> tuple[tuple[str, ...], Ints]:
    """The names that the model knows, and each row's code: items, or else skills."""
    missing: dict[str, list[str]] = {}
    for what, names, code in (
        ("items", log.item_names, log.item),
        ("skills", log.skill_names, log.skill),
    ):
        used = [names[i] for i in np.unique(code)]
        missing[what] = [name for name in used if name not in known]
        if not missing[what]:
            return names, code
    unknown = "; ".join(
        f"{len(names)} {what} such as {', '.join(map(repr, names[:_EXAMPLES]))}"
        for what, names in missing.items()
    )
    some = ", ".join(map(repr, population.student_model.skills[:_EXAMPLES]))
    raise ValueError(
        f"the log and population `{population.name}` do not fit: the student model teaches "
        f"{some}, ..., and does not know {unknown}; set `skill_names` of the model"
    )
