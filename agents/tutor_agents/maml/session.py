"""One trial with a batch of students, step by step: the same code in training and deployment."""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.engine.ppo import masked_logits
from tutor_agents.maml.lesson import Lesson, pairs, summary
from tutor_agents.maml.networks import AdaptiveNetworks
from tutor_envs.classroom import Observation


class Session:
    """Holds each student's weights and the lesson so far; sees observations only."""

    def __init__(self, networks: AdaptiveNetworks, n_students: int, *, adapts: bool = True) -> None:
        """Meet N new students; ``adapts=False`` keeps the weights as they are."""
        self.weights = networks.begin(n_students)
        self._networks = networks
        self._adapts = adapts
        self._n_lessons_taught = 0
        self._steps: list[tuple[Tensor, ...]] = []

    @torch.no_grad()
    def logits(self, observation: Observation) -> Tensor:
        """Masked action logits ``(N, A)``."""
        shape, n = self._networks.shape, len(observation.action)
        device = observation.action.device
        if observation.step == 0 or not self._steps:  # a trial may begin within a lesson
            self._steps = []
            self._counts = torch.zeros(n, shape.n_pairs, device=device)
            self._last = torch.zeros_like(self._counts)
            self._signals = torch.zeros(n, shape.n_signals, device=device)
        self._before = observation
        clock = torch.eye(shape.n_steps, device=device)[observation.step]
        x = summary(self._counts, self._last, self._signals, clock)
        logits = self._networks.logits(self.weights, x.unsqueeze(0))[0]
        return masked_logits(logits, observation.legal)

    @torch.no_grad()
    def observe(self, action: Tensor, observation: Observation) -> None:
        """Take in what came of ``action``; adapt where it ended an adapting lesson."""
        shape, response = self._networks.shape, observation.response
        legal, present = self._before.legal, self._before.present
        if legal is None:
            legal = action.new_ones((len(action), shape.n_actions), dtype=torch.bool)
        if present is None:
            present = torch.ones_like(action, dtype=torch.bool)
        self._last = pairs(action, response, shape.n_actions, shape.n_responses)
        self._counts = self._counts + self._last
        if observation.signals is not None:
            self._signals = observation.signals
        self._steps.append((action, response, legal, present, self._signals))
        if observation.step == 0:
            self._end_lesson(observation.score)

    def _end_lesson(self, score: Tensor | None) -> None:
        shape = self._networks.shape
        is_whole = len(self._steps) == shape.n_steps
        if self._adapts and is_whole and self._n_lessons_taught < shape.n_adapting:
            score = torch.zeros_like(self._counts[:, 0]) if score is None else score
            columns = (torch.stack(column) for column in zip(*self._steps, strict=True))
            lesson = Lesson._make((*columns, score))
            self.weights = self._networks.adapt(self.weights, lesson)
        self._n_lessons_taught += 1
