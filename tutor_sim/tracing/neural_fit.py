"""Weights of the ``neural`` student, fitted to a log.

The likelihood of a student's answers is that of :mod:`tutor_envs.students.neural` with ability
``theta ~ N(0, 1)`` integrated out over Gauss-Hermite points, so the fit is marginal maximum
likelihood (empirical Bayes) with nothing approximated but the integral: a mean-field posterior
would shrink the spread between students. Easiness and the weight of ability start at a Rasch
model; the recurrent part starts near zero and learns what that leaves unexplained. A tenth of the
students stops the training early.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tutor_sim.logs.log import InteractionLog
from tutor_sim.tracing.dkt import PaddedRows, pad_rows, split_students
from tutor_sim.tracing.histories import Kc, with_kc
from tutor_sim.tracing.rasch import Rasch

MAX_ROWS = 200
"""Rows of a student that are used, from the first: a simulated lesson is no longer."""
_N_POINTS = 11
_N_EMBEDDING = 16
_BATCH = 64
_MAX_EPOCHS = 60
_PATIENCE = 5
_LEARNING_RATE = 5e-3
_SMALL = 0.1


class _Network(nn.Module):
    def __init__(self, n_kcs: int, hidden: int) -> None:
        super().__init__()
        self.n_kcs = n_kcs
        # The third answer is a study trial; the student model has none, and its row is not kept.
        self.embedding = nn.Embedding(3 * n_kcs, _N_EMBEDDING)
        self.gru = nn.GRU(_N_EMBEDDING, hidden)
        self.start = nn.Parameter(torch.zeros(hidden))
        self.start_per_ability = nn.Parameter(_SMALL * torch.randn(hidden))
        self.readout = nn.Parameter(_SMALL * torch.randn(n_kcs, hidden))
        self.easiness = nn.Parameter(torch.zeros(n_kcs))
        self.logit_per_ability = nn.Parameter(torch.ones(n_kcs))

    def log_likelihood(self, rows: PaddedRows) -> Tensor:
        """Of each student's graded answers, ability integrated out, ``(n,)``."""
        points, weights = np.polynomial.hermite_e.hermegauss(_N_POINTS)
        ability = torch.as_tensor(points, dtype=torch.float32)
        log_weight = torch.as_tensor(np.log(weights / weights.sum()), dtype=torch.float32)
        n_steps, n = rows.kc.shape
        start = self.start + ability[:, None] * self.start_per_ability
        h_0 = start.tanh()[:, None].expand(-1, n, -1).reshape(1, _N_POINTS * n, -1).contiguous()
        x = self.embedding(rows.answer * self.n_kcs + rows.kc)
        out, _ = self.gru(x.repeat(1, _N_POINTS, 1), h_0)
        h = torch.cat([h_0, out[:-1]]).view(n_steps, _N_POINTS, n, -1)
        logit = (h * self.readout[rows.kc].unsqueeze(1)).sum(-1)
        shift = ability[:, None] * self.logit_per_ability[rows.kc].unsqueeze(1)
        logit = logit + self.easiness[rows.kc].unsqueeze(1) + shift
        sign = (2 * rows.answer - 1).unsqueeze(1)
        log_p = nn.functional.logsigmoid(sign * logit) * rows.graded.unsqueeze(1)
        return torch.logsumexp(log_p.sum(0) + log_weight[:, None], dim=0)

    def weights(self) -> dict[str, Tensor]:
        """As :class:`tutor_envs.students.neural.Neural` reads them."""
        gru = dict(self.gru.named_parameters())
        gates = self.embedding.weight[: 2 * self.n_kcs] @ gru["weight_ih_l0"].T
        gates = gates + gru["bias_ih_l0"]
        named = {
            "start": self.start,
            "start_per_ability": self.start_per_ability,
            "input_gates": gates.view(2, self.n_kcs, -1),
            "recurrent": gru["weight_hh_l0"],
            "recurrent_bias": gru["bias_hh_l0"],
            "readout": self.readout,
            "easiness": self.easiness,
            "logit_per_ability": self.logit_per_ability,
        }
        return {name: value.detach().clone().contiguous() for name, value in named.items()}


def fit_neural(
    log: InteractionLog,
    *,
    kc: Kc = "skill",
    hidden: int = 32,
    seed: int = 0,
    on_progress: Callable[[int, float], None] | None = None,
) -> dict[str, Tensor]:
    """Fit the ``neural`` student by marginal maximum likelihood with Adam.

    Args:
        log: with graded rows; the first 200 rows of each student are used.
        kc: what is one knowledge component: the log's skills (a row's first one), or its items.
        hidden: H, units of the recurrent state, >= 1.
        seed: of the start, the split and the order of the batches.
        on_progress: called after every epoch with its number, from 1, and the log-loss of the
            students held out for early stopping (nats for each answer).

    Returns:
        Weights, float32, to be saved with ``safetensors.torch.save_file``; skills are in the order
        of ``log.skill_names`` (``item_names``). See :mod:`tutor_envs.students.neural`.

    Raises:
        ValueError: fewer than two students have graded rows, or ``hidden`` is below 1.
    """
    if hidden < 1:
        raise ValueError(f"`hidden` must be >= 1, got {hidden}")
    log = _first_rows(with_kc(log, kc))
    generator = np.random.default_rng(seed)
    training, validation = split_students(log, generator)
    if len(training) == 0:
        raise ValueError("`log` must have graded rows of at least two students to fit `neural`")
    network = _start(log, hidden, seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    held_out = pad_rows(log, validation)
    best, weights, patience = np.inf, network.weights(), _PATIENCE
    for epoch in range(1, _MAX_EPOCHS + 1):
        for batch in np.array_split(generator.permutation(training), -(-len(training) // _BATCH)):
            rows = pad_rows(log, batch)
            optimizer.zero_grad()
            loss_now = -network.log_likelihood(rows).sum() / rows.graded.sum()
            torch.autograd.backward(loss_now)
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        with torch.no_grad():
            loss = float(-network.log_likelihood(held_out).sum() / held_out.graded.sum())
        patience = _PATIENCE if loss < best else patience - 1
        if loss < best:
            best, weights = loss, copy.deepcopy(network.weights())
        if on_progress is not None:
            on_progress(epoch, loss)
        if not patience:
            break
    return weights


def _first_rows(log: InteractionLog) -> InteractionLog:
    """The first rows of every student who has a graded row."""
    log = log.of_students(np.unique(log.student[log.graded]))
    step = np.arange(len(log)) - np.searchsorted(log.student, log.student)
    return log.rows(np.flatnonzero(step < MAX_ROWS))


def _start(log: InteractionLog, hidden: int, seed: int) -> _Network:
    """A network that begins as a Rasch model with the components as items."""
    rasch = Rasch()
    rasch.fit(dataclasses.replace(log, item=log.skill, item_names=log.skill_names))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(len(log.skill_names), hidden)
    with torch.no_grad():
        easiness = torch.as_tensor(rasch.easiness + rasch.intercept)
        network.easiness.copy_(easiness)
        network.logit_per_ability.fill_(rasch.sd)
    return network
