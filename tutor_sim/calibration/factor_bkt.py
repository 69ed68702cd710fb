"""Bayesian knowledge tracing with one ability factor, by marginal maximum likelihood.

Skill k has a start, a learning, a slip and a guess probability; on the logit scale each is
``base[k] + loading * theta_j`` with ``theta_j ~ N(0, 1)`` the ability of student j (individualised
BKT, Yudelson, Koedinger & Gordon 2013, AIED, with one factor in place of separate effects: fitted
effects correlate at .5 to .6). The ability is integrated out by adaptive quadrature: for every node
the forward recursion of all (student, skill) sequences runs in one batch, and a student's
likelihood is the mean over nodes of the product over its sequences.

``base`` of each parameter is normal over skills with estimated mean and SD (empirical Bayes), so
that a rarely practised skill is drawn to the others. Loadings on start and learning are >= 0,
which fixes the sign of ability. Standard errors: outer products of the students' scores plus the
prior's precision, each skill and the loadings by themselves.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tutor_sim.calibration.minimise import minimise
from tutor_sim.calibration.mixed import Floats, Ints

PARAMETERS = ("init", "learn", "slip", "guess")
"""Columns of ``base`` and of ``loading``."""
_N_NODES = 11
_NARROWER = 0.35
_MOVES = 3
"""Moves of the nodes before each round."""
_GRID = (-4.0, 4.0, 41)
"""Nodes of a prediction, where nothing is known of the student yet."""
_HYPER_MEAN = (-1.0, -1.0, -2.2, -1.5)
_HYPER_SD = 1.5
_SD_RANGE = (0.1, 2.0)
_START_SD = 1.0
_ENOUGH = 1e-2
"""A gain of the log-posterior that is worth no further iteration."""
_ROUNDS = 3
"""Fits, between which the SDs over skills are estimated again."""


@dataclasses.dataclass(frozen=True)
class BKTData:
    """Rows sorted by student, then by order.

    Attributes:
        student: ``(n,)`` codes in ``[0, n_students)``.
        skill: ``(n,)`` codes in ``[0, n_skills)``.
        correct: ``(n,)`` 0 or 1; NaN: practised without a graded answer.
        n_students: J.
        n_skills: K.
    """

    student: Ints
    skill: Ints
    correct: Floats
    n_students: int
    n_skills: int

    def rows(self, keep: NDArray[np.bool_]) -> BKTData:
        """Some of the rows (codes stay)."""
        columns = ("student", "skill", "correct")
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in columns})


@dataclasses.dataclass(frozen=True)
class FactorBKT:
    """Estimates, on the logit scale.

    Attributes:
        base: ``(K, 4)``, columns as in ``PARAMETERS``, for a student of average ability.
        base_se: ``(K, 4)``.
        loading: ``(4,)`` change per SD of ability.
        loading_se: ``(4,)``.
        mean: ``(4,)`` over skills.
        mean_se: ``(4,)``.
        skill_sd: ``(4,)`` over skills.
        converged: the last fit had stopped moving.
    """

    base: Floats
    base_se: Floats
    loading: Floats
    loading_se: Floats
    mean: Floats
    mean_se: Floats
    skill_sd: Floats
    converged: bool


class _Uncertainty(NamedTuple):
    """Standard errors on the logit scale.

    Attributes:
        base: ``(K, 4)``.
        loading: ``(4,)``.
        mean: ``(4,)``.
    """

    base: Floats
    loading: Floats
    mean: Floats


class _Sequences:
    """The (student, skill) sequences, longest first, and their rows by position."""

    def __init__(self, data: BKTData) -> None:
        key = data.student * data.n_skills + data.skill
        order = np.argsort(key, kind="stable")
        _, first, length = np.unique(key[order], return_index=True, return_counts=True)
        longest = np.argsort(-length, kind="stable")
        start, length = first[longest], length[longest]
        self.student = torch.from_numpy(data.student[order[start]])
        self.skill = torch.from_numpy(data.skill[order[start]])
        reach = [int(np.searchsorted(-length, -t, side="left")) for t in range(length[0])]
        self.rows = [torch.from_numpy(order[start[:n] + t]) for t, n in enumerate(reach)]
        graded = ~np.isnan(data.correct)
        self.graded = torch.from_numpy(graded)
        self.correct = torch.from_numpy(np.where(graded, data.correct, 0) == 1)
        self.n_rows = len(data.student)
        self.n_students = data.n_students
        self.row_student = torch.from_numpy(data.student)

    def p_correct(self, logits: Tensor) -> Tensor:
        """P(correct) of every row at every node from its own sequence's past, ``(n, Q)``.

        Args:
            logits: ``(S, 4, Q)`` of every sequence.
        """
        init, learn, slip, guess = torch.sigmoid(logits).unbind(1)
        known = init
        parts = []
        for rows in self.rows:
            n = len(rows)
            known, s, g = known[:n], slip[:n], guess[:n]
            right = known * (1 - s)
            p = right + (1 - known) * g
            parts.append(p)
            y, graded = self.correct[rows, None], self.graded[rows, None]
            posterior = torch.where(y, right / p, known * s / (1 - p))
            posterior = torch.where(graded, posterior, known)
            known = posterior + (1 - posterior) * learn[:n]
        return torch.cat(parts)[torch.argsort(torch.cat(self.rows))]

    def log_likelihood(self, p: Tensor) -> Tensor:
        """Of every row at every node, ``(n, Q)``; 0 for a row without an answer."""
        of_answer = torch.where(self.correct[:, None], p, 1 - p)
        return torch.where(self.graded[:, None], of_answer, 1).log()

    def of_students(self, row_log_likelihood: Tensor) -> Tensor:
        """Sum over each student's rows, ``(J, Q)``."""
        zeros = row_log_likelihood.new_zeros(self.n_students, row_log_likelihood.shape[1])
        return zeros.index_add(0, self.row_student, row_log_likelihood)


class _Nodes:
    """Points of ability for each student, where its answers put it, and their log-weights.

    Adaptive Gauss-Hermite quadrature (Liu & Pierce 1994, Biometrika 81(3)): after hundreds of
    answers a student's ability is known better than fixed points are apart.
    """

    def __init__(self, n_students: int) -> None:
        points, weights = np.polynomial.hermite_e.hermegauss(_N_NODES)
        self._points = torch.from_numpy(points)
        self._log_weights = torch.from_numpy(np.log(weights / weights.sum()))
        self._scale = torch.ones(n_students, 1, dtype=torch.float64)
        self._place(torch.zeros_like(self._scale))

    def _place(self, centre: Tensor) -> None:
        """Set ``ability`` and ``log_weight``, ``(J, Q)`` each."""
        self.ability = centre + self._scale * self._points
        ratio = 0.5 * (self._points**2 - self.ability**2)
        self.log_weight = self._log_weights + ratio + self._scale.log()

    def move(self, log_likelihood: Tensor) -> None:
        """To the posterior's mean and SD, given the log-likelihood at the present nodes."""
        posterior = torch.softmax(log_likelihood + self.log_weight, -1)
        centre = (posterior * self.ability).sum(-1, keepdim=True)
        sd = (posterior * (self.ability - centre) ** 2).sum(-1, keepdim=True).sqrt()
        # A posterior between two nodes looks narrower than it is: narrow them step by step.
        self._scale = sd.maximum(_NARROWER * self._scale).clamp(max=1.0)
        self._place(centre)


def fit_factor_bkt(
    data: BKTData,
    *,
    start: FactorBKT | None = None,
    max_iterations: int = 100,
    progress: Callable[[int], None] | None = None,
) -> FactorBKT:
    """Maximise the marginal likelihood with its prior over skills.

    Args:
        data: the rows.
        start: estimates to start from; then the SDs over skills are taken over, not estimated.
        max_iterations: of L-BFGS, for each of the rounds.
        progress: called with the number of gradients taken so far.

    Raises:
        ValueError: there is no graded row.
    """
    if not (~np.isnan(data.correct)).any():
        raise ValueError("a fit needs at least one graded answer, got none")
    sequences = _Sequences(data)
    model = _Model(sequences, data.n_skills, start)
    rounds = _ROUNDS if start is None else 1
    gradients = itertools.count(1)
    tick = None if progress is None else lambda _: progress(next(gradients))
    converged = False
    for round_ in range(rounds):
        if round_ or start is not None:
            model.move_nodes()
        converged = model.optimise(max_iterations, tick)
        if round_ < rounds - 1:
            model.update_skill_sd()
    return model.result(converged)


class _Model:
    def __init__(self, sequences: _Sequences, n_skills: int, start: FactorBKT | None) -> None:
        self.sequences = sequences
        self.nodes = _Nodes(sequences.n_students)
        hyper = torch.tensor(_HYPER_MEAN, dtype=torch.float64)
        if start is None:
            self.skill_sd = torch.full((4,), _START_SD, dtype=torch.float64)
            offset, mean = torch.zeros(n_skills, 4, dtype=torch.float64), hyper.clone()
            raw = torch.tensor([0.5, 0.0, -0.3, 0.3], dtype=torch.float64)
        else:
            self.skill_sd = torch.from_numpy(start.skill_sd)
            mean = torch.from_numpy(start.mean)
            offset = (torch.from_numpy(start.base) - mean) / self.skill_sd
            raw = torch.from_numpy(start.loading).clone()
            raw[:2] = torch.expm1(raw[:2].clamp(min=1e-3)).log()
        self.offset = offset.requires_grad_()  # in SDs over skills
        self.mean = mean.clone().requires_grad_()
        self.raw_loading = raw.requires_grad_()
        self.hyper = hyper

    def loading(self) -> Tensor:
        """``(4,)``, the first two >= 0."""
        return torch.cat([functional.softplus(self.raw_loading[:2]), self.raw_loading[2:]])

    def base(self) -> Tensor:
        """``(K, 4)`` logits."""
        return self.mean + self.offset * self.skill_sd

    def marginal(self, base: Tensor, loading: Tensor) -> Tensor:
        """Log-likelihood of each student, ``(J,)``; base and loading ``(S, 4)``."""
        return torch.logsumexp(self._by_node(base, loading) + self.nodes.log_weight, -1)

    def _by_node(self, base: Tensor, loading: Tensor) -> Tensor:
        ability = self.nodes.ability[self.sequences.student].unsqueeze(1)
        p = self.sequences.p_correct(base.unsqueeze(-1) + loading.unsqueeze(-1) * ability)
        return self.sequences.of_students(self.sequences.log_likelihood(p))

    @torch.no_grad()
    def move_nodes(self) -> None:
        """Put the nodes where the students are, as the estimates stand."""
        base = self.base()[self.sequences.skill]
        for _ in range(_MOVES):
            self.nodes.move(self._by_node(base, self.loading().expand_as(base)))

    def optimise(self, max_iterations: int, progress: Callable[[int], None] | None = None) -> bool:
        """L-BFGS from where it stands; whether it stopped by itself."""
        n_rows = self.sequences.n_rows

        def loss() -> Tensor:
            base = self.base()[self.sequences.skill]
            likelihood = self.marginal(base, self.loading().expand_as(base)).sum()
            hyper = ((self.mean - self.hyper) / _HYPER_SD).square().sum()
            return (0.5 * (self.offset.square().sum() + hyper) - likelihood) / n_rows

        return minimise(
            loss,
            [self.offset, self.mean, self.raw_loading],
            max_iterations=max_iterations,
            tolerance=_ENOUGH / n_rows,
            progress=progress,
        )

    def uncertainty(self) -> _Uncertainty:
        """From the students' scores, skill by skill: there may be more rates than students."""
        sequences, n_skills = self.sequences, len(self.offset)
        base = self.base().detach()[sequences.skill].requires_grad_()
        loading = self.loading().detach().expand(sequences.n_students, 4).clone().requires_grad_()
        total = self.marginal(base, loading[sequences.student]).sum()
        of_base, of_loading = torch.autograd.grad(total, [base, loading])
        precision = torch.diag(self.skill_sd**-2)
        squares = of_base.unsqueeze(-1) * of_base.unsqueeze(-2)
        information = squares.new_zeros(n_skills, 4, 4).index_add(0, sequences.skill, squares)
        cov = torch.linalg.inv(information + precision)
        # Each skill's rates integrated out; and the mean ability of a sample of J is not 0.
        of_mean = (precision - precision @ cov @ precision).sum(0)
        of_mean = of_mean + torch.eye(4, dtype=torch.float64) * _HYPER_SD**-2
        mean = torch.linalg.inv(of_mean).diagonal()
        mean = mean + self.loading().detach() ** 2 / sequences.n_students
        of_loading = of_loading.T @ of_loading + 1e-6 * torch.eye(4, dtype=torch.float64)
        return _Uncertainty(
            cov.diagonal(dim1=1, dim2=2).sqrt().numpy(),
            torch.linalg.inv(of_loading).diagonal().sqrt().numpy(),
            mean.sqrt().numpy(),
        )

    def update_skill_sd(self) -> None:
        """SDs over skills from the estimates and their uncertainty (an EM step)."""
        n_skills = len(self.offset)
        variance = torch.from_numpy(self.uncertainty().base) ** 2
        with torch.no_grad():
            deviation = self.offset * self.skill_sd
            # One pseudo-skill at the starting SD keeps the SD of few skills off zero.
            moment = (deviation.square() + variance).sum(0) + _START_SD**2
            sd = (moment / (n_skills + 1)).sqrt().clamp(*_SD_RANGE)
            self.offset.copy_(deviation / sd)
            self.skill_sd = sd

    def result(self, converged: bool) -> FactorBKT:
        """The estimates."""
        se = self.uncertainty()
        return FactorBKT(
            base=self.base().detach().numpy(),
            base_se=se.base,
            loading=self.loading().detach().numpy(),
            loading_se=se.loading,
            mean=self.mean.detach().numpy(),
            mean_se=se.mean,
            skill_sd=self.skill_sd.numpy(),
            converged=converged,
        )


def predict_factor_bkt(fit: FactorBKT, data: BKTData) -> Floats:
    """P(correct) of every row from all of the same student's earlier rows, ``(n,)``.

    The earlier answers, on whatever skill, weigh the ability's nodes.
    """
    sequences = _Sequences(data)
    nodes = torch.linspace(*_GRID, dtype=torch.float64)
    base = torch.from_numpy(fit.base)[sequences.skill]
    logits = base.unsqueeze(-1) + torch.from_numpy(fit.loading)[None, :, None] * nodes
    p = sequences.p_correct(logits)
    log_likelihood = sequences.log_likelihood(p)
    before = log_likelihood.cumsum(0) - log_likelihood
    first = torch.from_numpy(np.searchsorted(data.student, data.student))
    weight = torch.softmax(before - before[first] - 0.5 * nodes**2, -1)
    return np.asarray((weight * p).sum(-1).numpy())
