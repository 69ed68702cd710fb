"""Student models with hidden jumps whose belief is a cloud of particles.

Where neither latents and history fix the state nor a small table of states can hold the belief, an
observer who knows the latents follows P weighted copies of the student (the bootstrap particle
filter: Gordon, Salmond & Smith 1993, IEE Proceedings F 140(2)). An answer ``y`` multiplies the
weight of particle i by ``P(y | particle i)``; then every particle learns by its own luck; where the
effective sample size falls below P/2, particles are drawn anew in proportion to their weights
(systematic resampling: Kitagawa 1996, JCGS 5(1)).

The luck of particles is addressed by counters, the same for every student, so that a belief
depends on its own history alone and not on the batch.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Belief, Latents, State, StudentModel

_WEIGHT = "particle_weight"
_CLOCK = "particle_clock"
_SEED = 0


def of_first_particle(state: State | Belief) -> State:
    """One particle's state from a belief; a state is returned as it is.

    For what all particles share: what follows from the observable history alone.
    """
    if _WEIGHT not in state:
        return state
    return {k: v[:, 0] for k, v in state.items() if k not in (_WEIGHT, _CLOCK)}


class ParticleStudent(StudentModel):
    """A student model that writes ``answer`` and ``learn``; simulation and belief follow."""

    n_particles: int = Field(16, ge=1, description="particles of the belief filter")

    # -- what a model writes ------------------------------------------------------------------
    @abstractmethod
    def answer(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Probability of each response in this state, ``(n, R)``."""

    @abstractmethod
    def learn(
        self, latents: Latents, state: State, action: Tensor, response: Tensor, uniforms: Tensor
    ) -> State:
        """The state after ``action`` was answered by ``response``.

        Args:
            latents: of n students.
            state: before the action.
            action: int64 ``(n,)``.
            response: int64 ``(n,)``.
            uniforms: ``(n, n_learn_uniforms)`` in [0, 1).
        """

    @property
    @abstractmethod
    def n_learn_uniforms(self) -> int:
        """Uniforms that ``learn`` consumes for each student."""

    # -- simulation ---------------------------------------------------------------------------
    @property
    def n_step_uniforms(self) -> int:
        """The answer, then what ``learn`` needs."""
        return 1 + self.n_learn_uniforms

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Answer from the current state, then learn."""
        # Response 1 is "correct" and takes the low uniforms, as in every other model.
        order = torch.tensor([1, 0, *range(2, self.n_responses)], device=action.device)
        p = self.answer(latents, state, action)[:, order]
        edges = p.cumsum(-1)[:, :-1]
        response = order[(uniforms[:, :1] >= edges).sum(-1)]
        return self.learn(latents, state, action, response, uniforms[:, 1:]), response

    @property
    def has_expected_gain(self) -> bool:
        """No: the expectation is over the particles' luck, an estimate."""
        return False

    # -- what a particle is; a model may follow beliefs in place of states --------------------
    def begin_particle(self, latents: Latents, uniforms: Tensor) -> State:
        """One particle's state at the start of a lesson."""
        return self.begin_lesson(latents, uniforms)

    def particle_mastery(self, latents: Latents, state: State) -> Tensor:
        """Mastery of each skill in one particle, ``(n, K)``."""
        return self.mastery(latents, state)

    def particle_post_test(self, latents: Latents, state: State) -> Tensor:
        """Expected score of a post-test taken now, in one particle, ``(n,)``."""
        return self.post_test(latents, state)

    def particle_wait(
        self, latents: Latents, state: State, days: Tensor, uniforms: Tensor
    ) -> State:
        """Time passes for one particle."""
        return self.wait(latents, state, days, uniforms)

    # -- belief -------------------------------------------------------------------------------
    @property
    def belief_is_exact(self) -> bool:
        """It is a sample."""
        return False

    def _each(self, latents: Latents) -> Latents:
        """The latents of each student, once for every particle: ``(n * P, ...)``."""
        return {k: v.repeat_interleave(self.n_particles, dim=0) for k, v in latents.items()}

    def _luck(self, clock: Tensor, n_lanes: int) -> Tensor:
        """``(n, P, n_lanes)`` uniforms of the particles at this update."""
        particles = torch.arange(self.n_particles, device=clock.device)
        return uniforms(
            _SEED, particles, purpose=Purpose.BELIEF, n_lanes=n_lanes, step=clock.unsqueeze(-1)
        )

    def _particles(self, belief: Belief) -> State:
        return {k: v.flatten(0, 1) for k, v in belief.items() if k not in (_WEIGHT, _CLOCK)}

    def _pack(self, state: State, weight: Tensor, clock: Tensor) -> Belief:
        cloud = {k: self._by_student(v) for k, v in state.items()}
        return {**cloud, _WEIGHT: weight, _CLOCK: clock}

    def _by_student(self, value: Tensor) -> Tensor:
        """``(n, P, ...)`` from ``(n * P, ...)``."""
        return value.reshape(-1, self.n_particles, *value.shape[1:])

    def _mean(self, belief: Belief, value: Tensor) -> Tensor:
        """Weighted mean ``(n, ...)`` over the particles of ``(n * P, ...)``."""
        each = self._by_student(value)
        weight: Tensor = belief[_WEIGHT]
        return (each * weight.view(*weight.shape, *[1] * (each.dim() - 2))).sum(1)

    def begin_belief(self, latents: Latents) -> Belief:
        """P equally weighted students at the start of a lesson, ``(n, P, ...)``."""
        some = latents["ability"]
        clock = torch.zeros(len(some), dtype=torch.int64, device=some.device)
        luck = self._luck(clock, self.n_start_uniforms).to(some.dtype).flatten(0, 1)
        state = self.begin_particle(self._each(latents), luck)
        weight = some.new_full((len(some), self.n_particles), 1 / self.n_particles)
        return self._pack(state, weight, clock)

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Weighted mean over the particles."""
        each = action.repeat_interleave(self.n_particles)
        return self._mean(belief, self.answer(self._each(latents), self._particles(belief), each))

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """Weigh by the answer, draw anew where few particles are left, then let them learn."""
        each = self._each(latents)
        action_each = action.repeat_interleave(self.n_particles)
        response_each = response.repeat_interleave(self.n_particles)
        state = self._particles(belief)
        p = self.answer(each, state, action_each)
        likelihood = p.gather(-1, response_each.unsqueeze(-1)).view_as(belief[_WEIGHT])
        weight = belief[_WEIGHT] * likelihood
        total = weight.sum(-1, keepdim=True)
        weight = torch.where(total > 0, weight / total, belief[_WEIGHT])
        clock = belief[_CLOCK] + 1
        luck = self._luck(clock, 1 + self.n_learn_uniforms).to(weight.dtype)
        state, weight = self._resample(state, weight, luck[:, 0, 0])
        state = self.learn(each, state, action_each, response_each, luck[..., 1:].flatten(0, 1))
        return self._pack(state, weight, clock)

    def _resample(self, state: State, weight: Tensor, u: Tensor) -> tuple[State, Tensor]:
        """Systematic resampling of the students whose effective sample size is below P/2."""
        n_particles = self.n_particles
        poor = 1 / weight.square().sum(-1) < n_particles / 2
        position = (torch.arange(n_particles, device=u.device) + u.unsqueeze(-1)) / n_particles
        edges = weight.cumsum(-1).contiguous()
        drawn = torch.searchsorted(edges, position.contiguous()).clamp(max=n_particles - 1)
        same = torch.arange(n_particles, device=u.device).expand_as(drawn)
        source = torch.where(poor.unsqueeze(-1), drawn, same)
        source = source + n_particles * torch.arange(len(u), device=u.device).unsqueeze(-1)
        even = torch.full_like(weight, 1 / n_particles)
        return (
            {k: v[source.flatten()] for k, v in state.items()},
            torch.where(poor.unsqueeze(-1), even, weight),
        )

    def belief_wait(self, latents: Latents, belief: Belief, days: Tensor) -> Belief:
        """Every particle waits, by its own luck."""
        clock = belief[_CLOCK] + 1
        luck = self._luck(clock, self.n_wait_uniforms).to(days.dtype).flatten(0, 1)
        days_each = days.repeat_interleave(self.n_particles)
        state = self.particle_wait(self._each(latents), self._particles(belief), days_each, luck)
        return self._pack(state, belief[_WEIGHT], clock)

    def belief_mastery(self, latents: Latents, belief: Belief) -> Tensor:
        """Weighted mean over the particles."""
        return self._mean(
            belief, self.particle_mastery(self._each(latents), self._particles(belief))
        )

    def belief_post_test(self, latents: Latents, belief: Belief) -> Tensor:
        """Weighted mean over the particles."""
        return self._mean(
            belief, self.particle_post_test(self._each(latents), self._particles(belief))
        )

    def belief_gain(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Weighted mean gain of the particles, over every answer and their own luck."""
        each, state = self._each(latents), self._particles(belief)
        action_each = action.repeat_interleave(self.n_particles)
        luck = self._luck(belief[_CLOCK] + 1, 1 + self.n_learn_uniforms)[..., 1:]
        luck = luck.to(belief[_WEIGHT].dtype).flatten(0, 1)
        p = self.answer(each, state, action_each)
        after = torch.zeros_like(p[:, 0])
        for response in range(self.n_responses):
            answered = torch.full_like(action_each, response)
            learned = self.learn(each, state, action_each, answered, luck)
            after = after + p[:, response] * self.particle_post_test(each, learned)
        return self._mean(belief, after - self.particle_post_test(each, state))

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Not known in closed form.

        Raises:
            NotImplementedError: always; see ``has_expected_gain``.
        """
        raise NotImplementedError(f"`{self.name}` has no exact expected gain")
