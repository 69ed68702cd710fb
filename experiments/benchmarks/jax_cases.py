"""Peer: the small families of ../families.json in JAX, whole batches at a time.

Their numbers are read from a population of ours; the equations are written again (see
``tutor_envs/students``), with rewards as ours are trained on: the expected gain of each action.
A random number decides each event, whatever the batch.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.bench.job import Work
from tutor_sim.limit import selected_cases

Numbers = tuple[Any, ...]
"""Nested, of plain numbers: what is compiled in must be hashable."""


Student = tuple[Array, ...]
"""Type, then what changes; each with a leading axis of students."""


@dataclasses.dataclass(frozen=True)
class Case(ABC):
    """A family of types: the students of :class:`jax_ppo.Students`, and their score."""

    prior: Numbers

    n_responses = 2
    """Wrong, correct."""

    def begin(self, key: Array, n: int) -> Student:
        """New students in their first lesson."""
        k_type, k_lesson = jax.random.split(key)
        kind = jax.random.categorical(k_type, jnp.log(jnp.array(self.prior)), shape=(n,))
        return self.next_lesson(k_lesson, (kind,))

    @property
    def n_taught(self) -> int:
        """Actions that teach."""
        return self.n_actions

    @property
    @abstractmethod
    def n_actions(self) -> int:
        """All of them."""

    @abstractmethod
    def next_lesson(self, key: Array, student: Student) -> Student:
        """The same types in another lesson."""

    @abstractmethod
    def teach(self, key: Array, student: Student, action: Array) -> tuple[Student, Array, Array]:
        """One action for each: who they are then, their responses, the expected gains."""

    @abstractmethod
    def score(self, student: Student) -> Array:
        """Of a lesson that ends so."""


@dataclasses.dataclass(frozen=True)
class StyleBandit(Case):
    """Practice may cause a learning event, of which a quiz tells unreliably.

    Its last action may be a questionnaire, whose answer is the label of the student's type, or
    with ``1 - accuracy`` another one.
    """

    p_event: Numbers  # (types, actions), 0 for the questionnaire
    p_slip: Numbers  # (types,)
    p_guess: Numbers
    labels: Numbers
    n_labels: int  # 0: no questionnaire
    accuracy: float
    unit: float  # what an event is worth

    @property
    def n_actions(self) -> int:
        """Modalities, and the questionnaire."""
        return len(self.p_event[0])

    @property
    def n_taught(self) -> int:
        """Actions that teach."""
        return self.n_actions - (self.n_labels > 0)

    @property
    def n_responses(self) -> int:
        """Wrong, correct, labels."""
        return 2 + self.n_labels

    def next_lesson(self, key: Array, student: Student) -> Student:
        """Type, events so far."""
        return student[0], jnp.zeros(len(student[0]))

    def teach(self, key: Array, student: Student, action: Array) -> tuple[Student, Array, Array]:
        """See :class:`Case`."""
        kind, n_events = student
        u_event, u_answer = jax.random.uniform(key, (2, *action.shape))
        p_event = jnp.array(self.p_event)[kind, action]
        event = u_event < p_event
        p_correct = jnp.where(
            event, 1 - jnp.array(self.p_slip)[kind], jnp.array(self.p_guess)[kind]
        )
        response = (u_answer < p_correct).astype(jnp.int32)
        if self.n_labels:
            response = jnp.where(action == self.n_taught, 2 + self._label(kind, u_answer), response)
        return (kind, n_events + event), response, self.unit * p_event

    def _label(self, kind: Array, u: Array) -> Array:
        """The true one where ``u`` is small; the rest of it says which other."""
        other = (u - self.accuracy) / (1 - self.accuracy) * (self.n_labels - 1)
        ahead = jnp.where(u < self.accuracy, 0, 1 + jnp.floor(other).astype(jnp.int32))
        return (jnp.array(self.labels)[kind] + ahead) % self.n_labels

    def score(self, student: Student) -> Array:
        """Of a lesson that ends so."""
        return self.unit * student[1]


@dataclasses.dataclass(frozen=True)
class BKTTypes(Case):
    """Skills are mastered or not; what a practice teaches depends on modality and type."""

    p_learn: Numbers  # (types, skills * modalities)
    p_slip: Numbers  # (types,)
    p_guess: Numbers
    p_init: Numbers  # (types, skills), or (types, sets)
    sets: Numbers  # of skills (sets, skills), one of which is mastered; (): each for itself
    requires: Numbers  # (skills, skills), row k: what skill k builds on
    factor: float  # on learning, while a prerequisite is missing
    weights: Numbers  # of the skills in the score

    @property
    def n_actions(self) -> int:
        """Skills by modalities."""
        return len(self.p_learn[0])

    def next_lesson(self, key: Array, student: Student) -> Student:
        """Type, mastered skills."""
        p_init = jnp.array(self.p_init)[student[0]]
        if self.sets:
            drawn = jax.random.categorical(key, jnp.log(p_init))
            return student[0], jnp.array(self.sets, bool)[drawn]
        return student[0], jax.random.uniform(key, p_init.shape) < p_init

    def teach(self, key: Array, student: Student, action: Array) -> tuple[Student, Array, Array]:
        """See :class:`Case`."""
        kind, mastered = student
        u_answer, u_learn = jax.random.uniform(key, (2, *action.shape))
        n_skills = len(self.weights)
        skill = action // (self.n_actions // n_skills)
        knows = jnp.take_along_axis(mastered, skill[:, None], -1)[:, 0]
        p_correct = jnp.where(
            knows, 1 - jnp.array(self.p_slip)[kind], jnp.array(self.p_guess)[kind]
        )
        missing = (jnp.array(self.requires, bool)[skill] & ~mastered).any(-1)
        ready = jnp.where(missing, self.factor, 1.0)
        p_learn = jnp.array(self.p_learn)[kind, action] * ready * ~knows
        learned = (u_learn < p_learn)[:, None] & (jnp.arange(n_skills) == skill[:, None])
        gain = jnp.array(self.weights)[skill] * p_learn
        return (kind, mastered | learned), (u_answer < p_correct).astype(jnp.int32), gain

    def score(self, student: Student) -> Array:
        """Of a lesson that ends so."""
        return student[1] @ jnp.array(self.weights)


@dataclasses.dataclass(frozen=True)
class MemoryTypes(Case):
    """Items that are forgotten with a half-life, which grows by what is recalled."""

    half_life: Numbers  # (types, items), steps
    growth: Numbers  # (types,)
    max_strength: float
    fail_to: float  # a failure lowers the strength to this
    delay: float  # steps from the lesson to the test
    initial_lag: Numbers  # (items,)
    scale: float  # of the score

    @property
    def n_actions(self) -> int:
        """One review for each item."""
        return len(self.half_life[0])

    def next_lesson(self, key: Array, student: Student) -> Student:
        """Type, strength of each item, lag of each item."""
        shape = len(student[0]), self.n_actions
        lag = jnp.broadcast_to(jnp.array(self.initial_lag, jnp.float32), shape)
        return student[0], jnp.zeros(shape), lag

    def teach(self, key: Array, student: Student, action: Array) -> tuple[Student, Array, Array]:
        """See :class:`Case`."""
        kind, strength, lag = student
        item = jnp.arange(self.n_actions) == action[:, None]
        p = (self._recall(student) * item).sum(-1)
        recalled = jax.random.uniform(key, p.shape) < p
        lag = jnp.where(item, 1.0, lag + 1)
        grown = jnp.where(item, jnp.minimum(strength + 1, self.max_strength), strength)
        failed = jnp.where(item, jnp.minimum(strength, self.fail_to), strength)
        gain = p * self.score((kind, grown, lag)) + (1 - p) * self.score((kind, failed, lag))
        after = kind, jnp.where(recalled[:, None], grown, failed), lag
        return after, recalled.astype(jnp.int32), gain - self.score(student)

    def _recall(self, student: Student, delay: float = 0.0) -> Array:
        kind, strength, lag = student
        growth = jnp.array(self.growth)[kind][:, None] ** strength
        return jnp.exp2(-(lag + delay) / (jnp.array(self.half_life)[kind] * growth))

    def score(self, student: Student) -> Array:
        """Of a lesson that ends so."""
        return self.scale * self._recall(student, self.delay).mean(-1)


def case_of(population: Population, task: TeachingTask) -> Case:
    """The same students in JAX.

    Raises:
        ValueError: they are of another kind than those of ../families.json.
    """
    if population.student not in _CASES or population.components is not None:
        known = ", ".join(_CASES)
        raise ValueError(f"`student` must be one of {known} for JAX, got {population.student!r}")
    types = population.types_exact()
    latents = {name: value.numpy() for name, value in types.latents.items()}
    if (latents["ability"] != 0).any():
        raise ValueError("`latents.ability` must be 0 for JAX")
    prior = _plain(types.prior.numpy())
    case: Case = _CASES[population.student](population.student_model, latents, prior, task)
    return case


def _style_bandit(model: Any, latents: dict[str, Any], prior: Numbers, task: TeachingTask) -> Case:
    p_event = np.clip(latents["p_event"][:, None] * _styles(latents), 0, 1)
    n_labels, labels = 0, ()
    if model.questionnaire_accuracy is not None:
        p_event = np.pad(p_event, ((0, 0), (0, 1)))
        n_labels, labels = len(model.responses) - 2, _plain(latents["style_label"].astype(int))
        if min(labels) < 0:
            raise ValueError("`latents.style_label` must be given for JAX")
    return StyleBandit(
        prior=prior,
        p_event=_plain(p_event),
        p_slip=_plain(latents["p_slip"]),
        p_guess=_plain(latents["p_guess"]),
        labels=labels,
        n_labels=n_labels,
        accuracy=model.questionnaire_accuracy or 0.0,
        unit=task.reward.scale / model.n_units,
    )


def _bkt_types(model: Any, latents: dict[str, Any], prior: Numbers, task: TeachingTask) -> Case:
    if (latents["p_forget"] != 0).any() or model.items_per_skill or model.unlock_after:
        raise ValueError("`p_forget`, `items_per_skill` and `unlock_after` are not there for JAX")
    skills = range(model.n_skills)
    requires = [[q in model.prerequisites.get(k, ()) for q in skills] for k in skills]
    sets = [[k in mastered for k in skills] for mastered in model.initial_states or ()]
    p_learn = np.clip(latents["p_learn"] * _styles(latents)[:, None], 0, 1)
    weights = np.array(model.weights or [1 / model.n_skills] * model.n_skills)
    return BKTTypes(
        prior=prior,
        p_learn=_plain(p_learn.reshape(len(p_learn), -1)),
        p_slip=_plain(latents["p_slip"]),
        p_guess=_plain(latents["p_guess"]),
        p_init=_plain(latents["p_initial_state" if sets else "p_init"]),
        sets=_plain(np.array(sets)),
        requires=_plain(np.array(requires)),
        factor=model.prerequisite_factor,
        weights=_plain(task.reward.scale * weights),
    )


def _memory_types(model: Any, latents: dict[str, Any], prior: Numbers, task: TeachingTask) -> Case:
    if len(model.modalities) > 1:
        raise ValueError(f"`modalities` must be one for JAX, got {len(model.modalities)}")
    return MemoryTypes(
        prior=prior,
        half_life=_plain(latents["half_life"]),
        growth=_plain(latents["growth"]),
        max_strength=model.max_strength,
        fail_to=model.max_strength if model.fail_to is None else model.fail_to,
        delay=model.delay,
        initial_lag=_plain(np.broadcast_to(model.initial_lag, model.n_items)),
        scale=task.reward.scale,
    )


def _styles(latents: dict[str, Any]) -> Any:
    """What each modality does to a type's learning ``(types, modalities)``."""
    share = latents["responsiveness"]
    return 1 + latents["style_strength"][:, None] * (share.shape[-1] * share - 1)


def _plain(values: Any) -> Numbers:
    return tuple(map(_plain, values)) if np.ndim(values) else values.item()


_CASES = {"style_bandit": _style_bandit, "bkt": _bkt_types, "memory": _memory_types}


class Play:
    """Whole trials, under random actions in odd rounds and in turn (round robin) in even ones."""

    def __init__(self, cases: str, case: str, n_students: int) -> None:
        """``case`` is one of the file ``cases``."""
        (found,) = selected_cases(Path(cases), case)
        task = found.task()
        self._students = case_of(found.population(), task)
        self._n_students, self._n_steps = n_students, task.n_steps
        self._trial = jax.jit(self._score)

    def prepare(self, round_: int) -> None:
        """Choose the actions."""
        steps, n = self._n_steps, self._n_students
        random = np.random.default_rng(round_).integers(self._students.n_actions, size=(steps, n))
        in_turn = np.arange(steps)[:, None] % self._students.n_taught
        self._actions = jnp.asarray(random if round_ % 2 else np.broadcast_to(in_turn, (steps, n)))
        self._key = jax.random.key(round_)

    def work(self) -> Work:
        """One trial."""
        scores = np.asarray(self._trial(self._key, self._actions), np.float64)
        return Work(self._actions.size, scores.mean(), scores.std() / len(scores) ** 0.5)

    def _score(self, key: Array, actions: Array) -> Array:
        k_new, k_steps = jax.random.split(key)

        def step(student: Any, now: tuple[Array, Array]) -> tuple[Any, None]:
            return self._students.teach(now[0], student, now[1])[0], None

        start = self._students.begin(k_new, self._n_students)
        keys = jax.random.split(k_steps, self._n_steps)
        end, _ = jax.lax.scan(step, start, (keys, actions))
        return self._students.score(end)
