"""Any student model with components: what happens around learning and answering.

One action, in this order (symbols and equations at the configuration,
:mod:`tutor_envs.components.config`):

1. with the dropout hazard the student leaves for good; the response is ``left``;
2. with probability ``attention = E (1 - lapse)`` the student attends, answers as the base model
   says (helped by a hint) and learns as the base model says with the activity's probability; else
   the answer is a guess, nothing is learned and time passes;
3. fatigue, engagement, the run of wrong answers, the counts behind prerequisites and the lesson's
   time move on; after the last action of a session the gap passes.

A simulated student carries the base model's state. The belief of an observer who knows the latents
is a cloud of particles that guess what stays hidden, each with the base model's own belief
(:mod:`tutor_envs.components.minds`); where nothing stays hidden one particle is exact.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import ClassVar, NamedTuple

import torch
from pydantic import SerializeAsAny
from torch import Tensor

from tutor_envs.components import equations
from tutor_envs.components.actions import ActionTable, stem
from tutor_envs.components.condition import Condition
from tutor_envs.components.config import Components
from tutor_envs.components.minds import (
    Choice,
    Mind,
    OneOfACloud,
    exposed,
    exposure_gain,
    mind_of,
    of_skill,
    where,
)
from tutor_envs.particles import ParticleStudent, of_first_particle
from tutor_envs.student import (
    CORRECT,
    WRONG,
    Belief,
    Latents,
    LatentSpec,
    State,
    StudentModel,
    TeachingAction,
)

NOTHING = "nothing"
LEFT = "left"
_BASE = "base."


class _Luck(NamedTuple):
    """Uniforms ``(n,)`` of one action of a simulated student."""

    attend: Tensor
    teach: Tensor
    answer: Tensor
    leave: Tensor
    time: Tensor


class ComposedStudent(ParticleStudent):
    """A base model with components; see the module's text."""

    name: ClassVar[str] = "composed"
    base: SerializeAsAny[StudentModel]
    components: Components

    @classmethod
    def of(cls, base: StudentModel, components: Components) -> ComposedStudent:
        """Add components to a student model.

        Raises:
            ValueError: they do not fit it.
        """
        hidden = components.hide or isinstance(base, ParticleStudent)
        student = cls(
            base=base,
            components=components,
            modalities=base.modalities,
            step_s=base.step_s,
            n_particles=components.n_particles if hidden else 1,
        )
        activities = tuple(dict.fromkeys(stem(action.activity) for action in student.actions))
        components.check_names(base, activities)
        twice = set(student._condition.latent_specs) & set(base.latent_specs)
        if twice:
            raise ValueError(f"`{base.name}` has latents of its own called {sorted(twice)}")
        return student

    # -- declarations -------------------------------------------------------------------------
    @cached_property
    def _table(self) -> ActionTable:
        return ActionTable(self.base, self.components)

    @cached_property
    def _mind(self) -> Mind:
        return mind_of(self.base, thinned=self._table.thinned)

    @property
    def skills(self) -> tuple[str, ...]:
        """Those of the base model."""
        return self.base.skills

    @property
    def actions(self) -> tuple[TeachingAction, ...]:
        """The activities on the base model's actions."""
        return self._table.names

    @cached_property
    def responses(self) -> tuple[str, ...]:
        """Those of the base model; ``nothing`` where no answer is asked for; ``left``."""
        return (
            *self.base.responses,
            *[NOTHING] * (not self._table.all_answered),
            *[LEFT] * (self.components.dropout is not None),
        )

    @property
    def max_lesson_steps(self) -> int | None:
        """That of the base model."""
        return self.base.max_lesson_steps

    @cached_property
    def _condition(self) -> Condition:
        return Condition(self.components, len(self.base.skills))

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """The base model's first, so that they are drawn as without components."""
        return self.base.latent_specs | self._condition.latent_specs

    @property
    def n_start_uniforms(self) -> int:
        """Those of the base model."""
        return self.base.n_start_uniforms

    @property
    def n_step_uniforms(self) -> int:
        """The base model's, first; then those of :class:`_Luck`; a wait, and a gap."""
        return self.base.n_step_uniforms + len(_Luck._fields) + 2 * self.base.n_wait_uniforms

    @property
    def n_wait_uniforms(self) -> int:
        """Those of the base model."""
        return self.base.n_wait_uniforms

    @property
    def n_learn_uniforms(self) -> int:
        """Of a particle: attending, own answer; a wait, a gap; then what it holds needs."""
        return 2 + 2 * self._mind.n_wait_uniforms + self._mind.n_uniforms

    @property
    def signal_names(self) -> tuple[str, ...]:
        """``log_seconds`` of the last answer, with response times."""
        return ("log_seconds",) if self.components.response_time else ()

    @cached_property
    def action_costs(self) -> tuple[float, ...] | None:
        """By activity; None without costs."""
        costs = self.components.costs
        return tuple(costs.get(stem(a.activity), 0.0) for a in self.actions) if costs else None

    @property
    def belief_is_exact(self) -> bool:
        """Nothing is hidden by the components, nor approximated by the base model."""
        return not self.components.hide and self.base.belief_is_exact

    @property
    def is_functional(self) -> bool:
        """As the base model."""
        return self.base.is_functional

    def lesson_days(self, n_actions: int) -> float:
        """As the base model, and the gaps between sessions; rests are taken to be actions."""
        days, schedule = self.base.lesson_days(n_actions), self.components.schedule
        if schedule is None or schedule.steps_per_session is None:
            return days
        return days + n_actions // schedule.steps_per_session * schedule.gap_days

    # -- simulation ---------------------------------------------------------------------------
    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """The base model's state, and the condition of somebody who has just come."""
        return _join(self.base.begin_lesson(latents, uniforms), self._condition.begin(latents))

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """One action; see the module's text."""
        base, n_base, n_wait = self.base, self.base.n_step_uniforms, self.base.n_wait_uniforms
        u_base, u_own, u_wait, u_gap = _cut(uniforms, n_base, len(_Luck._fields), n_wait, n_wait)
        luck = _Luck(*u_own.unbind(-1))
        held, condition = _split(state)
        choice = self._table.choose(action, latents["ability"])
        mastery = base.mastery(latents, held)
        stepped, answer = base.step(latents, held, choice.action, u_base)
        if not self._table.all_answered:
            shown = exposed(base, latents, held, choice.action, stepped, u_base)
            stepped = where(choice.answered, stepped, shown)
        waited = base.wait(latents, held, choice.days, u_wait)
        attends = luck.attend < self._condition.attention(latents, condition)
        learns = attends & (luck.teach < _share(choice, mastery))
        held_after = where(learns, stepped, waited)
        helped = (answer == WRONG) & (luck.answer < choice.help)
        guess = (luck.answer < self.components.guess).long()
        answer = torch.where(attends, torch.where(helped, CORRECT, answer), guess)
        response = torch.where(choice.answered, answer, base.n_responses)
        after = self._condition.after(latents, condition, choice, response, mastery)
        if self._condition.has_gaps:
            gap = base.wait(latents, held_after, self._condition.gap_days(choice.days), u_gap)
            held_after = where(self._condition.session_ends(after), gap, held_after)
        if self.components.response_time:
            after["log_seconds"] = self._condition.log_seconds(latents, choice, response, luck.time)
        return self._unless_left(latents, state, _join(held_after, after), response, luck.leave)

    def _unless_left(
        self, latents: Latents, before: State, after: State, response: Tensor, u: Tensor
    ) -> tuple[State, Tensor]:
        if self.components.dropout is None:
            return after, response
        leaves = before["left"] | (u < self._condition.hazard(latents, before))
        response = torch.where(leaves, self.n_responses - 1, response)
        return where(leaves, self._condition.gone(before), after), response

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Time passes for what the student knows."""
        held, condition = _split(state)
        return _join(self.base.wait(latents, held, days, uniforms), condition)

    # -- what can be seen ---------------------------------------------------------------------
    def signals(self, latents: Latents, state: State) -> Tensor | None:
        """Log seconds of the last answer; 0 if there was none."""
        return state["log_seconds"].unsqueeze(-1) if self.components.response_time else None

    def present(self, state: State | Belief) -> Tensor | None:
        """Who has not left."""
        return ~of_first_particle(state)["left"] if self.components.dropout else None

    def reachable(self, state: State | Belief) -> Tensor | None:
        """Who is present and has time left."""
        present, schedule = self.present(state), self.components.schedule
        if schedule is None or schedule.budget_s is None:
            return present
        in_time: Tensor = of_first_particle(state)["used_s"] < schedule.budget_s
        return in_time if present is None else in_time & present

    @cached_property
    def _requires(self) -> Tensor:
        """``(K, K)`` bool: row k marks what skill k requires."""
        requires = torch.zeros(len(self.skills), len(self.skills), dtype=torch.bool)
        if self.components.prerequisites:
            for skill, needed in self.components.prerequisites.requires.items():
                columns = [self.skills.index(name) for name in needed]
                requires[self.skills.index(skill), columns] = True
        return requires

    def legal_actions(self, state: State | Belief) -> Tensor | None:
        """What the base model allows on skills whose prerequisites are met; a rest always."""
        held, condition = _split(of_first_particle(state))
        legal = self.base.legal_actions(held)
        if legal is not None:
            device = legal.device
            legal = legal[:, self._table.base_actions.to(device)] | self._table.rests.to(device)
        prerequisites = self.components.prerequisites
        if prerequisites is None:
            return legal
        done = condition["n_correct"] >= prerequisites.n_correct
        closed = (self._requires.to(done.device) & ~done.unsqueeze(1)).any(-1)
        # Column K stands for actions on no skill: never closed.
        opened = torch.cat([~closed, torch.ones_like(closed[:, :1])], dim=-1)
        opened = opened[:, self._table.skills.to(done.device)]
        return opened if legal is None else legal & opened

    # -- truth --------------------------------------------------------------------------------
    def mastery(self, latents: Latents, state: State) -> Tensor:
        """As the base model says."""
        return self.base.mastery(latents, _split(state)[0])

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """As the base model says."""
        return self.base.post_test(latents, _split(state)[0])

    @property
    def has_expected_gain(self) -> bool:
        """Where the base model has one, and neither waits nor gaps between sessions need luck."""
        base = self.base
        return base.has_expected_gain and not base.n_wait_uniforms and not self._condition.has_gaps

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """The base model's, if the student stays, attends and is taught; else that of waiting.

        Raises:
            NotImplementedError: it has no closed form; see ``has_expected_gain``.
        """
        if not self.has_expected_gain:
            raise NotImplementedError(f"`{self.base.name}` with these components has none")
        base, (held, condition) = self.base, _split(state)
        choice = self._table.choose(action, latents["ability"])
        now = base.post_test(latents, held)
        learned = base.expected_gain(latents, held, choice.action)
        if not self._table.all_answered:
            shown = exposure_gain(base, latents, held, choice.action)
            learned = learned if shown is None else torch.where(choice.answered, learned, shown)
        none = choice.days.new_empty(len(action), 0)
        waited = base.post_test(latents, base.wait(latents, held, choice.days, none)) - now
        share = _share(choice, base.mastery(latents, held))
        p_learn = self._condition.attention(latents, condition) * share
        stays = 1 - self._condition.hazard(latents, condition)
        return stays * (p_learn * learned + (1 - p_learn) * waited)

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Over all that may happen where the base model can say it, else over particles' luck."""
        mind = self._mind
        if isinstance(mind, OneOfACloud) or self._condition.has_gaps:
            return super().belief_gain(latents, belief, action)
        each = self._each(latents)
        held, condition = _split(self._particles(belief))
        choice = self._table.choose(action.repeat_interleave(self.n_particles), each["ability"])
        waited = mind.wait_gain(each, held, choice.days)
        attention = self._condition.attention(each, condition) * choice.taught
        gain = attention * mind.gain(each, held, choice) + (1 - attention) * waited
        return self._mean(belief, (1 - self._condition.hazard(each, condition)) * gain)

    # -- particles ----------------------------------------------------------------------------
    def begin_particle(self, latents: Latents, uniforms: Tensor) -> State:
        """What is held of the base model, and the condition."""
        return _join(self._mind.begin(latents, uniforms), self._condition.begin(latents))

    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """A mixture over attending or not, if the student does not leave; of a particle."""
        held, condition = _split(state)
        choice = self._table.choose(action, latents["ability"])
        p = self._mind.answer(latents, held, choice.action)
        attention = self._condition.attention(latents, condition).unsqueeze(-1)
        guess = equations.inattentive(p, self.components.guess)
        p = attention * equations.helped(p, choice.help) + (1 - attention) * guess
        if not self._table.all_answered:
            asked = choice.answered.unsqueeze(-1).to(p.dtype)
            p = torch.cat([p * asked, 1 - asked], dim=-1)
        if self.components.dropout:
            left = self._condition.hazard(latents, condition).unsqueeze(-1)
            p = torch.cat([p * (1 - left), left], dim=-1)
        return p

    def learn(
        self, latents: Latents, state: State, action: Tensor, response: Tensor, uniforms: Tensor
    ) -> State:
        """Guess from the response what stayed hidden, then follow what it means; of a particle."""
        mind, n_wait = self._mind, self._mind.n_wait_uniforms
        u, u_wait, u_gap, u_mind = _cut(uniforms, 2, n_wait, n_wait, mind.n_uniforms)
        held, condition = _split(state)
        choice = self._table.choose(action, latents["ability"])
        attends, given = self._guess_hidden(latents, held, condition, choice, response, u)
        mastery = mind.mastery(latents, held)
        taught = mind.taught(latents, held, choice, given, u_mind)
        waited = mind.wait(latents, held, choice.days, u_wait)
        held_after = where(attends & choice.taught, taught, waited)
        after = self._condition.after(latents, condition, choice, response, mastery)
        if self._condition.has_gaps:
            gap = mind.wait(latents, held_after, self._condition.gap_days(choice.days), u_gap)
            held_after = where(self._condition.session_ends(after), gap, held_after)
        joined = _join(held_after, after)
        if self.components.dropout is None:
            return joined
        return where(response == self.n_responses - 1, self._condition.gone(state), joined)

    def _guess_hidden(
        self,
        latents: Latents,
        held: State,
        condition: State,
        choice: Choice,
        response: Tensor,
        u: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Draw, given the response, whether the student attended and the answer without help."""
        p = self._mind.answer(latents, held, choice.action)
        tiny = torch.finfo(p.dtype).tiny
        seen = response.clamp(max=self.base.n_responses - 1)
        attention = self._condition.attention(latents, condition)
        helped = equations.helped(p, choice.help)
        if_attending = attention * _pick(helped, seen)
        guess = equations.inattentive(p, self.components.guess)
        if_not = (1 - attention) * _pick(guess, seen)
        p_attends = if_attending / (if_attending + if_not).clamp(min=tiny)
        attends = u[:, 0] < torch.where(choice.answered, p_attends, attention)
        own = p[:, CORRECT] / helped[:, CORRECT].clamp(min=tiny)
        given = torch.where((seen == CORRECT) & (u[:, 1] >= own), WRONG, seen)
        return attends, torch.where(choice.help > 0, given, seen)

    def particle_wait(
        self, latents: Latents, state: State, days: Tensor, uniforms: Tensor
    ) -> State:
        """Time passes for what is held."""
        held, condition = _split(state)
        return _join(self._mind.wait(latents, held, days, uniforms), condition)

    def particle_mastery(self, latents: Latents, state: State) -> Tensor:
        """Of what is held."""
        return self._mind.mastery(latents, _split(state)[0])

    def particle_post_test(self, latents: Latents, state: State) -> Tensor:
        """Of what is held."""
        return self._mind.post_test(latents, _split(state)[0])


def _split(state: State) -> tuple[State, State]:
    """The base model's part of a state, and the condition."""
    held = {k.removeprefix(_BASE): v for k, v in state.items() if k.startswith(_BASE)}
    return held, {k: v for k, v in state.items() if not k.startswith(_BASE)}


def _join(held: State, condition: State) -> State:
    return {**{_BASE + name: value for name, value in held.items()}, **condition}


def _cut(uniforms: Tensor, *sizes: int) -> list[Tensor]:
    """Pieces of these sizes of the last axis."""
    stops = list(accumulate(sizes))
    return [uniforms[..., stop - size : stop] for size, stop in zip(sizes, stops, strict=True)]


def _share(choice: Choice, mastery: Tensor) -> Tensor:
    skill = of_skill(mastery, choice.skill)
    return equations.share_that_learns(choice.novice, choice.expert, skill)


def _pick(p: Tensor, index: Tensor) -> Tensor:
    return p.gather(-1, index.unsqueeze(-1)).squeeze(-1)
