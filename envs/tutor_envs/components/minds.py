"""What a particle holds of the base model, and how that follows the student.

Components decide whether a student attended and whether an action taught; a particle guesses these,
and *given* them the base model's own belief is followed as exactly as the model allows
(Rao-Blackwellised particle filter: Doucet, de Freitas, Murphy & Russell 2000, UAI). Three kinds of
base models:

* the state is known from latents and history: that state is followed;
* the belief is a distribution over hidden states: that distribution is followed;
* the belief is itself a cloud of particles: then each of our particles is one of theirs.

Any other belief is followed by the base model's own update where the action taught, and left to
wait where it did not: then what an answer says is lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_envs.components.equations import share_that_learns
from tutor_envs.particles import ParticleStudent
from tutor_envs.student import CORRECT, Latents, State, StudentModel


class Choice(NamedTuple):
    """What was taught, in the base model's terms; each ``(n,)``.

    Attributes:
        action: of the base model, int64.
        skill: index of the taught skill, int64; K for none: the mean over the skills.
        answered: bool, the student is asked for an answer.
        taught: bool, it is about the base action at all (false for a rest).
        novice: probability that the action teaches somebody without mastery.
        expert: the same with full mastery.
        help: probability that a wrong answer is turned into a correct one.
        days: that pass where the action teaches nothing.
        seconds: that the action takes of the lesson's budget.
        effort: how tiring the action is, relative to others.
        uplift: what it adds to engagement.
    """

    action: Tensor
    skill: Tensor
    answered: Tensor
    taught: Tensor
    novice: Tensor
    expert: Tensor
    help: Tensor
    days: Tensor
    seconds: Tensor
    effort: Tensor
    uplift: Tensor


def where(condition: Tensor, yes: State, no: State) -> State:
    """``torch.where`` for every tensor of a state, with a condition ``(n,)``."""
    return {
        name: torch.where(condition.view(-1, *[1] * (value.dim() - 1)), value, no[name])
        for name, value in yes.items()
    }


def of_skill(mastery: Tensor, skill: Tensor) -> Tensor:
    """Mastery ``(n,)`` of one skill each, from ``(n, K)``; K stands for the mean."""
    whole = torch.cat([mastery, mastery.mean(-1, keepdim=True)], dim=-1)
    return whole.gather(-1, skill.unsqueeze(-1)).squeeze(-1)


def exposed(
    base: StudentModel, latents: Latents, state: State, action: Tensor, stepped: State, u: Tensor
) -> State:
    """A student's state after being shown the action with a correct answer.

    A model that draws its answers in a way of its own learns as if it had answered unseen.

    Args:
        base: the base model.
        latents: of n students.
        state: before.
        action: of the base model.
        stepped: the state that ``step`` gave with the same uniforms.
        u: the uniforms of ``step``.
    """
    correct = torch.full_like(action, CORRECT)
    if type(base).step is StudentModel.step:
        return base.update(latents, state, action, correct)
    if isinstance(base, ParticleStudent) and type(base).step is ParticleStudent.step:
        return base.learn(latents, state, action, correct, u[:, 1:])
    return stepped


def exposure_gain(
    base: StudentModel, latents: Latents, state: State, action: Tensor
) -> Tensor | None:
    """Expected gain ``(n,)`` by what :func:`exposed` does; None: that of an ordinary action."""
    if type(base).step is not StudentModel.step:
        return None
    after = base.update(latents, state, action, torch.full_like(action, CORRECT))
    return base.post_test(latents, after) - base.post_test(latents, state)


@dataclass(frozen=True)
class Mind(ABC):
    """What is held of one student in one particle."""

    base: StudentModel

    @property
    def n_uniforms(self) -> int:
        """Uniforms that ``taught`` consumes: whether it taught, then what the base model needs."""
        return 1

    @property
    def n_wait_uniforms(self) -> int:
        """Uniforms that ``wait`` consumes."""
        return 0

    def begin(self, latents: Latents, u: Tensor) -> State:
        """At the start of a lesson."""
        return self.base.begin_belief(latents)

    def answer(self, latents: Latents, held: State, action: Tensor) -> Tensor:
        """Probability of each response of a student who attends, ``(n, R)``."""
        return self.base.predict(latents, held, action)

    @abstractmethod
    def taught(
        self, latents: Latents, held: State, choice: Choice, given: Tensor, u: Tensor
    ) -> State:
        """After an attended action with the answer ``given`` (if it asks for one)."""

    def wait(self, latents: Latents, held: State, days: Tensor, u: Tensor) -> State:
        """After a time without teaching."""
        return self.base.belief_wait(latents, held, days)

    def mastery(self, latents: Latents, held: State) -> Tensor:
        """Expected mastery of each skill, ``(n, K)``."""
        return self.base.belief_mastery(latents, held)

    def post_test(self, latents: Latents, held: State) -> Tensor:
        """Expected score of a post-test now, ``(n,)``."""
        return self.base.belief_post_test(latents, held)

    def gain(self, latents: Latents, held: State, choice: Choice) -> Tensor:
        """Expected change of the post-test by an attended action, ``(n,)``."""
        raise NotImplementedError

    def wait_gain(self, latents: Latents, held: State, days: Tensor) -> Tensor:
        """Expected change of the post-test by a time without teaching, ``(n,)``."""
        waited = self.base.belief_wait(latents, held, days)
        return self.post_test(latents, waited) - self.post_test(latents, held)

    def _teaches(self, latents: Latents, held: State, choice: Choice, u: Tensor) -> Tensor:
        mastery = of_skill(self.mastery(latents, held), choice.skill)
        return u < share_that_learns(choice.novice, choice.expert, mastery)


class KnownState(Mind):
    """The state itself: it follows from latents and history."""

    def taught(
        self, latents: Latents, held: State, choice: Choice, given: Tensor, u: Tensor
    ) -> State:
        """Practice or nothing, by the luck of the particle."""
        answer = torch.where(choice.answered, given, CORRECT)
        learned = self.base.update(latents, held, choice.action, answer)
        waited = self.base.belief_wait(latents, held, choice.days)
        return where(self._teaches(latents, held, choice, u[:, 0]), learned, waited)

    def gain(self, latents: Latents, held: State, choice: Choice) -> Tensor:
        """Of practice with its probability, else of waiting."""
        gain = self.base.belief_gain(latents, held, choice.action)
        shown = exposure_gain(self.base, latents, held, choice.action)
        gain = gain if shown is None else torch.where(choice.answered, gain, shown)
        mastery = of_skill(self.mastery(latents, held), choice.skill)
        share = share_that_learns(choice.novice, choice.expert, mastery)
        return share * gain + (1 - share) * self.wait_gain(latents, held, choice.days)


class OtherBelief(KnownState):
    """A belief of any other form; no answer is taken to be the answer that is drawn for it."""

    @property
    def n_uniforms(self) -> int:
        """Whether it taught, and an answer."""
        return 2

    def taught(
        self, latents: Latents, held: State, choice: Choice, given: Tensor, u: Tensor
    ) -> State:
        """As of a known state, but that an unseen answer is no evidence."""
        p = self.base.predict(latents, held, choice.action)
        drawn = (u[:, 1:] >= p.cumsum(-1)[:, :-1]).sum(-1)
        seen = torch.where(choice.answered, given, drawn)
        everything = choice._replace(answered=torch.ones_like(choice.answered))
        return super().taught(latents, held, everything, seen, u)


class HiddenState(Mind):
    """The distribution over hidden states; answers are weighed with or without learning."""

    def taught(
        self, latents: Latents, held: State, choice: Choice, given: Tensor, u: Tensor
    ) -> State:
        """Bayes' rule on the answer, then learning in some states, by the particle's luck."""
        base, (name,) = self.base, held
        p = held[name]
        likelihood = self._in_each_state(
            lambda b: base.predict(latents, {name: b}, choice.action).gather(-1, given[:, None]), p
        )
        p = torch.where(choice.answered.unsqueeze(-1), self._normalised(p * likelihood), p)
        share = self._share(latents, name, p, choice)
        teaches = u[:, 0] < (p * share).sum(-1)
        learners = self._normalised(p * share)
        others = self._normalised(p * (1 - share))
        # The answer is used up: what is left of practice is the mean over the answers.
        p_answer = base.predict(latents, {name: learners}, choice.action)
        learned = torch.zeros_like(p)
        for response in range(base.n_responses):
            answer = torch.full_like(given, response)
            after = base.update(latents, {name: learners}, choice.action, answer)[name]
            learned = learned + p_answer[:, response, None] * after
        waited = base.belief_wait(latents, {name: others}, choice.days)
        return where(teaches, {name: learned}, waited)

    def gain(self, latents: Latents, held: State, choice: Choice) -> Tensor:
        """Of practice in the states in which it teaches, of waiting in the others."""
        ((name, p),) = held.items()
        share = self._share(latents, name, p, choice)
        learners = {name: self._normalised(p * share)}
        others = {name: self._normalised(p * (1 - share))}
        p_learn = (p * share).sum(-1)
        gain = self.base.belief_gain(latents, learners, choice.action)
        return p_learn * gain + (1 - p_learn) * self.wait_gain(latents, others, choice.days)

    def _share(self, latents: Latents, name: str, p: Tensor, choice: Choice) -> Tensor:
        """``(n, S)``: probability that the action teaches in each hidden state."""
        base, skill = self.base, choice.skill
        mastery = self._in_each_state(
            lambda b: of_skill(base.belief_mastery(latents, {name: b}), skill).unsqueeze(-1), p
        )
        return share_that_learns(choice.novice[:, None], choice.expert[:, None], mastery)

    @staticmethod
    def _normalised(p: Tensor) -> Tensor:
        return p / p.sum(-1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)

    @staticmethod
    def _in_each_state(f: Callable[[Tensor], Tensor], p: Tensor) -> Tensor:
        """The value ``(n, S)`` of an ``f`` affine in the distribution, in each hidden state."""
        with torch.enable_grad():
            at = p.detach().requires_grad_()
            value = f(at)
            (slope,) = torch.autograd.grad(value.sum(), at)
        return value.detach() + slope - (slope * p).sum(-1, keepdim=True)


class OneOfACloud(Mind):
    """One particle of a base model that follows particles."""

    @property
    def _cloud(self) -> ParticleStudent:
        assert isinstance(self.base, ParticleStudent)
        return self.base

    @property
    def n_uniforms(self) -> int:
        """Whether it taught, what was learned, and what happened while waiting."""
        return 1 + self._cloud.n_learn_uniforms + self.base.n_wait_uniforms

    @property
    def n_wait_uniforms(self) -> int:
        """Those of the base model."""
        return self.base.n_wait_uniforms

    def begin(self, latents: Latents, u: Tensor) -> State:
        """A particle of the base model."""
        return self._cloud.begin_particle(latents, u)

    def answer(self, latents: Latents, held: State, action: Tensor) -> Tensor:
        """As a student in this state answers."""
        return self._cloud.answer(latents, held, action)

    def taught(
        self, latents: Latents, held: State, choice: Choice, given: Tensor, u: Tensor
    ) -> State:
        """Practice or nothing, by the luck of the particle."""
        n_learn = self._cloud.n_learn_uniforms
        answer = torch.where(choice.answered, given, CORRECT)
        learned = self._cloud.learn(latents, held, choice.action, answer, u[:, 1 : 1 + n_learn])
        waited = self.wait(latents, held, choice.days, u[:, 1 + n_learn :])
        return where(self._teaches(latents, held, choice, u[:, 0]), learned, waited)

    def wait(self, latents: Latents, held: State, days: Tensor, u: Tensor) -> State:
        """A particle waits."""
        return self._cloud.particle_wait(latents, held, days, u)

    def mastery(self, latents: Latents, held: State) -> Tensor:
        """Of the particle."""
        return self._cloud.particle_mastery(latents, held)

    def post_test(self, latents: Latents, held: State) -> Tensor:
        """Of the particle."""
        return self._cloud.particle_post_test(latents, held)


def mind_of(base: StudentModel, *, thinned: bool) -> Mind:
    """How to follow this base model.

    Args:
        base: the base model.
        thinned: actions may leave learning or the answer out, so that these are weighed apart.
    """
    if isinstance(base, ParticleStudent):
        return OneOfACloud(base)
    if type(base).begin_belief is StudentModel.begin_belief or not thinned:
        return KnownState(base)
    return HiddenState(base) if base.belief_is_distribution else OtherBelief(base)
