"""A logistic model with crossed random vectors of students and of units (items or skills).

``logit p_r = x_r . beta + z_r . u_j(r) + w_r . v_i(r)`` for row r of student j on unit i, with
``u_j ~ N(0, Sigma_u)`` and ``v_i ~ N(0, Sigma_v)``, both covariances full and estimated.

Estimation is empirical Bayes with a Gaussian variational posterior, one full covariance matrix for
each student and each unit (Ormerod & Wand 2012, J. Comput. Graph. Stat. 21(1)); the expectation of
the logistic function is taken by Gauss-Hermite quadrature, not by a bound. Posteriors that leave
out the covariances *within* a student would bias the spread of learning slopes towards zero.

Standard errors of ``Sigma_u`` come from the outer products of the students' scores (Fisher's
identity: a student's score is the posterior mean of the score of its prior).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_MIN_VARIANCE = 1e-6
_PRIOR_VARIANCE = 0.25
"""Weight of one pseudo-student (unit) with this variance: keeps covariances off singularity."""


@dataclasses.dataclass(frozen=True)
class MixedData:
    """Graded rows as arrays.

    Attributes:
        correct: ``(n,)``, 0 or 1.
        x: ``(n, p)``; the columns of ``z`` stand first.
        student: ``(n,)`` codes in ``[0, n_students)``.
        z: ``(n, q)``; q = 0: students do not differ.
        unit: ``(n,)`` codes in ``[0, n_units)``.
        w: ``(n, m)``: the first columns of ``x``; m = 0: units do not differ.
        n_students: J.
        n_units: I.
    """

    correct: Floats
    x: Floats
    student: Ints
    z: Floats
    unit: Ints
    w: Floats
    n_students: int
    n_units: int

    def rows(self, keep: NDArray[np.bool_]) -> MixedData:
        """Some of the rows (codes stay)."""
        columns = ("correct", "x", "student", "z", "unit", "w")
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in columns})


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Gaussian posterior of the random vectors of J students or I units.

    Attributes:
        mean: ``(J, q)``.
        cov: ``(J, q, q)``.
    """

    mean: Floats
    cov: Floats

    def along(self, group: Ints, z: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of ``z_r . u_group(r)``, ``(n,)`` each."""
        mean = (z * self.mean[group]).sum(1)
        return mean, (_squares(z) * self.cov.reshape(len(self.cov), -1)[group]).sum(1)

    def second_moment(self) -> Floats:
        """Mean over the group of ``E[u u']``, ``(q, q)``, with the weight of the prior."""
        n, q = self.mean.shape
        total = self.mean.T @ self.mean + self.cov.sum(0)
        return np.asarray((total + _PRIOR_VARIANCE * np.eye(q)) / (n + 1))


@dataclasses.dataclass(frozen=True)
class MixedFit:
    """Estimates.

    Attributes:
        beta: ``(p,)`` fixed effects.
        beta_cov: ``(p, p)`` their covariance.
        student_cov: ``(q, q)`` covariance of the students' vectors.
        unit_cov: ``(m, m)`` covariance of the units' vectors.
        students: posterior of the students' vectors.
        units: posterior of the units' vectors.
        n_iterations: taken.
        converged: the estimates had stopped moving.
    """

    beta: Floats
    beta_cov: Floats
    student_cov: Floats
    unit_cov: Floats
    students: Posterior
    units: Posterior
    n_iterations: int
    converged: bool

    def student_se(self) -> tuple[Floats, Floats]:
        """Standard errors of the SDs ``(q,)`` and of the correlations ``(q, q)`` of students."""
        return spread_se(self.students, self.student_cov)

    def unit_se(self) -> tuple[Floats, Floats]:
        """Standard errors of the SDs ``(m,)`` and of the correlations ``(m, m)`` of units."""
        return spread_se(self.units, self.unit_cov)


def sds_and_correlations(cov: Floats) -> tuple[Floats, Floats]:
    """Standard deviations ``(q,)`` and correlation matrix ``(q, q)`` of a covariance."""
    sd = np.sqrt(np.diag(cov))
    return sd, cov / np.outer(sd, sd)


def logistic_moments(mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """``E[sigmoid(e)]`` and ``E[sigmoid'(e)]`` for ``e ~ N(mean, variance)``, ``(n,)`` each."""
    p = np.zeros_like(mean)
    slope = np.zeros_like(mean)
    sd = np.sqrt(variance)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        value = special.expit(mean + node * sd)
        p += weight * value
        slope += weight * value * (1 - value)
    return p, slope


def fit_mixed(
    data: MixedData,
    *,
    start: MixedFit | None = None,
    max_iterations: int = 400,
    tolerance: float = 2e-4,
    progress: Callable[[int], None] | None = None,
) -> MixedFit:
    """Maximise the variational lower bound of the marginal likelihood.

    Args:
        data: graded rows.
        start: estimates to start from (of the same students and units).
        max_iterations: of coordinate ascent.
        tolerance: largest change of a fixed effect or of a (log) SD at which it stops.
        progress: called with the number of iterations done.

    Raises:
        ValueError: there is no row.
    """
    if len(data.correct) == 0:
        raise ValueError("a fit needs at least one graded answer, got none")
    state = _State.begin(data, start)
    before = state.summary()
    iteration, converged = 0, False
    while iteration < max_iterations and not converged:
        state.step()
        iteration += 1
        after = state.summary()
        converged = bool(np.abs(after - before).max() < tolerance)
        before = after
        if progress is not None:
            progress(iteration)
    beta_cov = state.beta_covariance()
    return MixedFit(
        state.beta,
        beta_cov,
        state.student_cov,
        state.unit_cov,
        state.students,
        state.units,
        iteration,
        converged,
    )


class _State:
    """The moving parts of coordinate ascent."""

    def __init__(self, data: MixedData) -> None:
        self.data = data
        n = len(data.correct)
        ones, rows = np.ones(n), np.arange(n)
        self.by_student = sparse.csr_array((ones, (data.student, rows)), shape=(data.n_students, n))
        self.by_unit = sparse.csr_array((ones, (data.unit, rows)), shape=(data.n_units, n))
        self.beta = np.zeros(data.x.shape[1])

    @classmethod
    def begin(cls, data: MixedData, start: MixedFit | None) -> _State:
        state = cls(data)
        q, m = data.z.shape[1], data.w.shape[1]
        if start is None:
            state.student_cov, state.unit_cov = 0.5 * np.eye(q), 0.5 * np.eye(m)
        else:
            state.beta = start.beta.copy()
            state.student_cov, state.unit_cov = start.student_cov, start.unit_cov
        state.students = _prior(data.n_students, state.student_cov)
        state.units = _prior(data.n_units, state.unit_cov)
        return state

    student_cov: Floats
    unit_cov: Floats
    students: Posterior
    units: Posterior

    def summary(self) -> Floats:
        """What has to stop moving."""
        return np.concatenate(
            [self.beta, *(0.5 * np.log(np.diag(c)) for c in (self.student_cov, self.unit_cov))]
        )

    def step(self) -> None:
        """One round: fixed effects, students, units, covariances."""
        data = self.data
        residual, slope = self._moments()
        gram = (data.x * slope[:, None]).T @ data.x + 1e-6 * np.eye(data.x.shape[1])
        self.beta = self.beta + np.linalg.solve(gram, data.x.T @ residual)
        residual, slope = self._moments()
        self.students = _update(
            self.students, self.student_cov, self.by_student, data.z, residual, slope
        )
        self.students = self._centre(self.students)
        self.student_cov = self.students.second_moment()
        residual, slope = self._moments()
        self.units = _update(self.units, self.unit_cov, self.by_unit, data.w, residual, slope)
        self.units = self._centre(self.units)
        self.unit_cov = self.units.second_moment()

    def beta_covariance(self) -> Floats:
        """Of the fixed effects: the students' and the units' sampling, and the answers' own."""
        data = self.data
        _, slope = self._moments()
        information = (data.x * slope[:, None]).T @ data.x
        cov = np.linalg.pinv(information)
        for group, spread in (
            (data.n_students, self.student_cov),
            (data.n_units, self.unit_cov),
        ):
            q = len(spread)
            cov[:q, :q] += spread / max(group, 1)
        return np.asarray(cov)

    def _centre(self, posterior: Posterior) -> Posterior:
        """Move the mean of the random vectors into the fixed effects."""
        shift = posterior.mean.mean(0)
        self.beta = self.beta.copy()
        self.beta[: len(shift)] += shift
        return Posterior(posterior.mean - shift, posterior.cov)

    def _moments(self) -> tuple[Floats, Floats]:
        data = self.data
        student_mean, student_var = self.students.along(data.student, data.z)
        unit_mean, unit_var = self.units.along(data.unit, data.w)
        p, slope = logistic_moments(
            data.x @ self.beta + student_mean + unit_mean, student_var + unit_var
        )
        return data.correct - p, slope


def _prior(n: int, cov: Floats) -> Posterior:
    return Posterior(np.zeros((n, len(cov))), np.broadcast_to(cov, (n, *cov.shape)).copy())


def _squares(z: Floats) -> Floats:
    """``z z'`` of every row, ``(n, q * q)``."""
    n, q = z.shape
    return (z[:, :, None] * z[:, None, :]).reshape(n, q * q)


def _update(
    now: Posterior,
    prior_cov: Floats,
    by_group: sparse.csr_array,
    z: Floats,
    residual: Floats,
    slope: Floats,
) -> Posterior:
    """A Newton step of every group's mean, and the matching covariance."""
    q = z.shape[1]
    precision = np.linalg.inv(prior_cov)
    squares = _squares(z) * slope[:, None]
    information = precision + (by_group @ squares).reshape(len(now.mean), q, q)
    gradient = by_group @ (z * residual[:, None]) - now.mean @ precision
    cov = np.linalg.inv(information)
    step = np.einsum("jpq,jq->jp", cov, gradient)
    return Posterior(now.mean + np.clip(step, -2.0, 2.0), cov)


def spread_se(posterior: Posterior, cov: Floats) -> tuple[Floats, Floats]:
    """Standard errors of SDs ``(q,)`` and correlations ``(q, q)``, by the delta method.

    The information about the covariance's free entries is the sum over the group of the outer
    products of ``D' vec(P (E[u u'] - Sigma) P) / 2`` with ``P = Sigma^-1``.
    """
    n, q = posterior.mean.shape
    rows, columns = np.tril_indices(q)
    precision = np.linalg.inv(cov)
    moment = posterior.mean[:, :, None] * posterior.mean[:, None, :] + posterior.cov
    score = 0.5 * precision @ (moment - cov) @ precision
    doubled = np.where(rows == columns, 1.0, 2.0)
    free = score[:, rows, columns] * doubled
    free_cov = np.linalg.pinv(free.T @ free) if n > len(rows) else np.full((len(rows),) * 2, np.inf)
    place = {(int(a), int(b)): k for k, (a, b) in enumerate(zip(rows, columns, strict=True))}
    sd, r = sds_and_correlations(cov)
    sd_se, r_se = np.zeros(q), np.zeros((q, q))
    for a in range(q):
        sd_se[a] = np.sqrt(free_cov[place[a, a], place[a, a]]) / (2 * sd[a])
        for b in range(a):
            gradient = np.zeros(len(rows))
            gradient[place[a, b]] = 1 / (sd[a] * sd[b])
            gradient[place[a, a]] = -r[a, b] / (2 * cov[a, a])
            gradient[place[b, b]] = -r[a, b] / (2 * cov[b, b])
            with np.errstate(invalid="ignore"):
                variance = gradient @ free_cov @ gradient
            r_se[a, b] = r_se[b, a] = np.sqrt(variance)
    return sd_se, r_se
