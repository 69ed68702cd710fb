"""Rollouts that several processes make together: each teaches its share, all know the whole."""

from __future__ import annotations

import torch
from torch import Tensor

from tutor_agents.engine import parallel
from tutor_agents.engine.networks import Inputs
from tutor_agents.engine.rollout import Rollout


def whole(mine: Rollout) -> Rollout:
    """The rollouts of all processes' shares, put together."""
    if parallel.size() == 1:
        return mine

    def steps(value: Tensor | None) -> Tensor | None:
        return None if value is None else parallel.gathered(value, dim=1)

    def every(value: Tensor) -> Tensor:
        return parallel.gathered(value, dim=1)

    inputs = Inputs(every(mine.inputs.token), steps(mine.inputs.score), steps(mine.inputs.signals))
    return Rollout(
        inputs=inputs,
        legal=steps(mine.legal),
        present=steps(mine.present),
        action=every(mine.action),
        response=every(mine.response),
        logp=every(mine.logp),
        reward=every(mine.reward),
        features=every(mine.features),
        latents=parallel.gathered(mine.latents),
        types=parallel.gathered(mine.types),
    )


def my_trials(rollout: Rollout) -> Rollout:
    """This process's share of a whole rollout."""
    if parallel.size() == 1:
        return rollout
    n_trials = rollout.action.shape[1]
    return rollout.trials(parallel.share(torch.arange(n_trials, device=rollout.action.device)))
