"""Deep knowledge tracing: an LSTM over a student's (component, answer) pairs.

Piech et al. 2015, NeurIPS: the hidden state after the rows so far predicts the answer on the next
component (the first skill of a row). A row without a graded answer enters with an answer code of
its own and has no loss. Training stops early on a tenth of the training students.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tutor_sim.logs.log import Floats, InteractionLog, Ints

_N_HIDDEN = 64
_BATCH = 16
_MAX_EPOCHS = 40
_PATIENCE = 4
_LEARNING_RATE = 2e-3
_PAIR_STD = 0.1
_CHUNK = 200
"""Rows between two updates of a batch: the state goes on, gradients do not."""

State = tuple[Tensor, Tensor]


class PaddedRows(NamedTuple):
    """Rows of some students, time-major and padded, ``(T, n)`` each.

    Attributes:
        row: row of the log, -1 in the padding.
        kc: knowledge component; 0 in the padding.
        answer: 0 wrong, 1 correct, 2 not graded or padding.
    """

    row: Tensor
    kc: Tensor
    answer: Tensor

    @property
    def graded(self) -> Tensor:
        """Rows with a graded answer, ``(T, n)``."""
        return self.answer < 2

    def part(self, rows: slice) -> PaddedRows:
        """Some steps of all students."""
        return PaddedRows(*(x[rows] for x in self))


def pad_rows(log: InteractionLog, students: Ints) -> PaddedRows:
    """The rows of these students (codes that occur in the log), one column each."""
    first = np.searchsorted(log.student, students)
    length = np.searchsorted(log.student, students, side="right") - first
    step = np.arange(length.max())[:, None]
    row = np.where(step < length, first + step, -1)
    kc = np.where(row >= 0, log.skill[row], 0)
    answer = np.where(row >= 0, np.nan_to_num(log.correct, nan=2)[row], 2)
    return PaddedRows(*(torch.from_numpy(x.astype(np.int64)) for x in (row, kc, answer)))


class _Network(nn.Module):
    def __init__(self, n_kcs: int) -> None:
        super().__init__()
        self.n_kcs = n_kcs
        self.answer_embedding = nn.Embedding(3, _N_HIDDEN)
        self.pair_embedding = nn.Embedding(3 * n_kcs, _N_HIDDEN)
        nn.init.normal_(self.pair_embedding.weight, std=_PAIR_STD)
        self.lstm = nn.LSTM(_N_HIDDEN, _N_HIDDEN)
        self.readout = nn.Embedding(n_kcs, _N_HIDDEN)
        self.bias = nn.Embedding(n_kcs, 1)
        nn.init.normal_(self.readout.weight, std=_N_HIDDEN**-0.5)
        nn.init.zeros_(self.bias.weight)

    def forward(self, rows: PaddedRows, state: State) -> tuple[Tensor, State]:
        """Logits ``(T, n)``, each from the rows before it, and the state after the last row."""
        pair = self.pair_embedding(rows.answer * self.n_kcs + rows.kc)
        out, after = self.lstm(self.answer_embedding(rows.answer) + pair, state)
        before = torch.cat([state[0], out[:-1]])
        logits = (before * self.readout(rows.kc)).sum(-1) + self.bias(rows.kc).squeeze(-1)
        return logits, after

    def start(self, n: int) -> State:
        return torch.zeros(1, n, _N_HIDDEN), torch.zeros(1, n, _N_HIDDEN)


def split_students(log: InteractionLog, generator: np.random.Generator) -> tuple[Ints, Ints]:
    """Nine tenths of the log's students for training, the others (at least one) for validation."""
    students = generator.permutation(np.unique(log.student))
    n_validation = max(1, len(students) // 10)
    return students[n_validation:], students[:n_validation]


class DKT:
    """Deep knowledge tracing; see the module's text."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, log: InteractionLog) -> None:
        """Adam on the log-loss; the weights of the epoch that is best on held-out students.

        Raises:
            ValueError: fewer than two students.
        """
        generator = np.random.default_rng(self.seed)
        training, validation = split_students(log, generator)
        if len(training) == 0:
            raise ValueError("`log` must have at least two students to train DKT, got one")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = _Network(len(log.skill_names))
        optimizer = torch.optim.Adam(self.network.parameters(), lr=_LEARNING_RATE)
        held_out = pad_rows(log, validation)
        best, best_weights, patience = np.inf, {}, _PATIENCE
        for _ in range(_MAX_EPOCHS):
            for batch in np.array_split(
                generator.permutation(training), -(-len(training) // _BATCH)
            ):
                self._train_on(pad_rows(log, batch), optimizer)
            loss = self._loss(held_out)
            patience = _PATIENCE if loss < best else patience - 1
            if loss < best:
                best, best_weights = loss, copy.deepcopy(self.network.state_dict())
            if not patience:
                break
        self.network.load_state_dict(best_weights)

    def _train_on(self, rows: PaddedRows, optimizer: torch.optim.Optimizer) -> None:
        state = self.network.start(rows.kc.shape[1])
        for first in range(0, len(rows.kc), _CHUNK):
            part = rows.part(slice(first, first + _CHUNK))
            if part.graded.any():
                optimizer.zero_grad()
                logits, state = self.network(part, state)
                torch.autograd.backward(_log_loss(logits, part))
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimizer.step()
                state = (state[0].detach(), state[1].detach())

    @torch.no_grad()
    def _loss(self, rows: PaddedRows) -> float:
        logits, _ = self.network(rows, self.network.start(rows.kc.shape[1]))
        return float(_log_loss(logits, rows))

    @torch.no_grad()
    def predict(self, log: InteractionLog) -> Floats:
        """P(correct) of every row; see :class:`tutor_sim.tracing.predictors.Predictor`."""
        result = np.empty(len(log))
        students = np.unique(log.student)
        for some in np.array_split(students, -(-len(students) // 256)):
            rows = pad_rows(log, some)
            logits, _ = self.network(rows, self.network.start(len(some)))
            present = rows.row >= 0
            result[rows.row[present]] = logits[present].sigmoid().numpy()
        return result


def _log_loss(logits: Tensor, rows: PaddedRows) -> Tensor:
    target = rows.answer[rows.graded].to(logits.dtype)
    return nn.functional.binary_cross_entropy_with_logits(logits[rows.graded], target)
