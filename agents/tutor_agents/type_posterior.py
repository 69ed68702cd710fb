"""The belief filter: which type of student is this, and what does such a student know by now?

A finite set of H student types with a prior is filtered exactly. For every type z the student model
keeps ``b_z``, the belief about the knowledge state of a student who *is* of type z
(:meth:`tutor_envs.student.StudentModel.update`); the weight of a type follows Bayes' rule on the
response y to action a::

    w_z <- w_z P(y | a, b_z, z) / sum_z' w_z' P(y | a, b_z', z')        b_z <- update(b_z, a, y)

The weights are kept as logarithms, so they never underflow. Lessons restart the beliefs (a new
topic) and keep the weights (the same student). A step without a response, such as an illegal
action, changes nothing. For a population with finitely many students this is the exact posterior;
for a continuous one the types are a fixed sample of training students, and the filter is exact for
that sample. Where the model's belief is a cloud of particles, so is the filter. Signals beside the
response are not read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tutor_envs.classroom import Observation
from tutor_envs.population import FiniteTypes, Population
from tutor_envs.student import CORRECT, Belief, Latents, StudentModel

_MAX_EXACT_TYPES = 512
"""A finite population with more types than this is represented by a sample."""
_CHUNK_ROWS = {"cpu": 2**13}
"""(student, type) rows worked on at once: few enough to stay in a CPU's cache."""
_CHUNK_ROWS_ELSEWHERE = 2**21


def types_of(population: Population, seed: int, n_sampled: int) -> FiniteTypes:
    """The types a tutor reckons with: all of a finite population (up to 512), else a sample.

    A sample is in float32: rounding is nothing beside what a sample leaves out, and speed counts.

    Args:
        population: which students may come.
        seed: of the sample.
        n_sampled: size of the sample of training students.
    """
    if population.is_finite:
        with contextlib.suppress(ValueError):  # more types than can be listed
            types = population.types_exact()
            if len(types.prior) <= _MAX_EXACT_TYPES:
                return types
    return population.types_sampled(seed, n_sampled, dtype=torch.float32)


def average_type(types: FiniteTypes) -> FiniteTypes:
    """One type only, whose latents are the means over the population."""
    latents = {
        name: torch.tensordot(types.prior, value, 1)[None] for name, value in types.latents.items()
    }
    return FiniteTypes(torch.ones_like(types.prior[:1]), latents, exact=False)


class TypePosterior:
    """Posterior over H student types for a batch of n students; see the module's text.

    Beliefs and gains are of the dtype of the types, weights always float64. ``begin_trial`` must
    come first.
    """

    def __init__(
        self, model: StudentModel, types: FiniteTypes, *, device: torch.device | str = "cpu"
    ) -> None:
        """Take the types and their prior; there are no students yet."""
        self.model = model
        self.device = torch.device(device)
        self._log_prior = types.prior.to(self.device, torch.float64).log()
        self._latents = {name: value.to(self.device) for name, value in types.latents.items()}
        self._start = model.begin_belief(self._latents)
        rows = _CHUNK_ROWS.get(self.device.type, _CHUNK_ROWS_ELSEWHERE)
        self._chunk_size = max(1, rows // self.n_types)

    @property
    def n_types(self) -> int:
        """H, the number of types."""
        return len(self._log_prior)

    # -- following the students --------------------------------------------------------------------
    def begin_trial(self, n_students: int) -> None:
        """Meet new students: the weights are the prior, and a lesson begins."""
        self._log_weights = self._log_prior.expand(n_students, -1).clone()
        size = min(self._chunk_size, max(1, n_students))
        self._tiled = self._tile(self._latents, size)
        self._tiled_start = self._tile(self._start, size)
        self.begin_lesson()

    def begin_lesson(self) -> None:
        """A new topic: beliefs about the knowledge state restart, the weights of the types stay."""
        # Models never write into a belief, so that chunks can share the tensors of the start.
        self._beliefs = [
            {name: value[: n * self.n_types] for name, value in self._tiled_start.items()}
            for n in self._chunk_sizes()
        ]

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Learn from what came of ``action``; where that ended the lesson, begin the next one."""
        self.update(action, observation.response)
        if observation.step == 0:
            self.begin_lesson()

    def update(self, action: Tensor, response: Tensor) -> None:
        """Bayes' rule for every student.

        Args:
            action: int64 ``(n,)``.
            response: int64 ``(n,)``; R or more means there was none, and nothing changes.
        """
        n_responses = self.model.n_responses
        action, response = action.to(self.device), response.to(self.device)
        log_likelihoods = []
        for i, (rows, latents, belief) in enumerate(self._chunks()):
            a = action[rows].repeat_interleave(self.n_types)
            y = response[rows].repeat_interleave(self.n_types)
            answered = y < n_responses
            y = y.clamp(max=n_responses - 1)
            p = self.model.predict(latents, belief, a).gather(-1, y.unsqueeze(-1)).squeeze(-1)
            # An answer that no type can give must not turn every weight into 0/0.
            log_p = p.double().clamp(min=torch.finfo(torch.float64).tiny).log()
            log_likelihoods.append(log_p.view(-1, self.n_types))
            after = self.model.update(latents, belief, a, y)
            self._beliefs[i] = {
                name: torch.where(answered.view(-1, *[1] * (value.dim() - 1)), value, belief[name])
                for name, value in after.items()
            }
        log_weights = torch.log_softmax(self._log_weights + torch.cat(log_likelihoods), -1)
        answered = (response < n_responses).unsqueeze(-1)
        self._log_weights = torch.where(answered, log_weights, self._log_weights)

    # -- what is believed --------------------------------------------------------------------------
    @property
    def weights(self) -> Tensor:
        """``(n, H)`` posterior probability of each type; rows sum to one."""
        return self._log_weights.softmax(-1)

    @property
    def belief(self) -> Belief:
        """Belief about the knowledge state given each type: name -> ``(n, H, ...)``."""
        whole = {name: torch.cat([b[name] for b in self._beliefs]) for name in self._start}
        return {
            name: value.view(-1, self.n_types, *value.shape[1:]) for name, value in whole.items()
        }

    def predict(self, action: Tensor) -> Tensor:
        """``(n, R)`` probability of each response to ``action``, int64 ``(n,)``."""
        action = action.to(self.device).repeat_interleave(self.n_types)
        each = [
            self.model.predict(latents, belief, action[self._flat(rows)])
            for rows, latents, belief in self._chunks()
        ]
        return self._average(each)

    def p_correct(self) -> Tensor:
        """``(n, A)`` probability of a right answer to each action, if it came now."""
        actions = torch.arange(self.model.n_actions, device=self.device)

        def p_correct(latents: Latents, belief: Belief) -> Tensor:
            rows = len(next(iter(latents.values())))
            each = [self.model.predict(latents, belief, a.expand(rows)) for a in actions]
            return torch.stack(each, -1)[:, CORRECT]

        return self.expected(p_correct)

    def expected(self, value: Callable[[Latents, Belief], Tensor]) -> Tensor:
        """``(n, C)`` posterior mean of what a function says of each type, ``(rows, C)``."""
        return self._average([value(latents, belief) for _, latents, belief in self._chunks()])

    def mastery(self) -> Tensor:
        """``(n, K)`` expected mastery of each skill."""
        return self.expected(self.model.belief_mastery)

    def post_test(self) -> Tensor:
        """``(n,)`` expected score of a post-test taken now."""
        each = self.expected(lambda z, b: self.model.belief_post_test(z, b).unsqueeze(-1))
        return each.squeeze(-1)

    def gains(self) -> Tensor:
        """``(n, A)`` expected change of the score by each action, averaged over the types.

        It is the change of the post-test, less what the action costs.
        """
        return self._less_costs(self.expected(self.model.belief_gains))

    def draw(self, uniform: Tensor) -> Tensor:
        """A type for each student from its posterior, by the inverse of the cumulative weights.

        Args:
            uniform: ``(n,)`` in [0, 1).

        Returns:
            int64 ``(n,)`` in [0, H).
        """
        edges = self.weights.cumsum(-1)[:, :-1]
        return (uniform.to(self.device).unsqueeze(-1) >= edges).sum(-1)

    def latents_of(self, kind: Tensor) -> dict[str, Tensor]:
        """Latents of these types: name -> ``(*kind.shape, ...)``."""
        return {name: value[kind] for name, value in self._latents.items()}

    def gains_of(self, kind: Tensor) -> Tensor:
        """``(n, A)`` expected gains of students assumed to be of these types, int64 ``(n,)``."""
        n = torch.arange(len(kind), device=self.device)
        belief = {name: value[n, kind] for name, value in self.belief.items()}
        return self._less_costs(self.model.belief_gains(self.latents_of(kind), belief))

    # -- inside ------------------------------------------------------------------------------------
    def _less_costs(self, gains: Tensor) -> Tensor:
        costs = self.model.action_costs
        return gains if costs is None else gains - gains.new_tensor(costs)

    def _tile(self, values: Latents, size: int) -> dict[str, Tensor]:
        """The types' values for ``size`` students: rows ``student * H + type``."""
        return {name: v.repeat(size, *[1] * (v.dim() - 1)) for name, v in values.items()}

    def _chunk_sizes(self) -> list[int]:
        n = len(self._log_weights)
        return [min(self._chunk_size, n - first) for first in range(0, n, self._chunk_size)]

    def _chunks(self) -> Iterator[tuple[slice, dict[str, Tensor], Belief]]:
        """Students of each chunk, and the latents and beliefs of its (student, type) rows."""
        first = 0
        for n, belief in zip(self._chunk_sizes(), self._beliefs, strict=True):
            latents = {name: value[: n * self.n_types] for name, value in self._tiled.items()}
            yield slice(first, first + n), latents, belief
            first += n

    def _flat(self, rows: slice) -> slice:
        return slice(rows.start * self.n_types, rows.stop * self.n_types)

    def _average(self, each: list[Tensor]) -> Tensor:
        """Posterior mean ``(n, C)`` of values ``(rows, C)`` given each type, chunk by chunk."""
        values = torch.cat(each).view(-1, self.n_types, each[0].shape[-1])
        return (self.weights.to(values).unsqueeze(-1) * values).sum(1)
