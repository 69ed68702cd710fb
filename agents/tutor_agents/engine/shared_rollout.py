"""Rollouts that several processes make together: each teaches its share, all know the whole."""

from __future__ import annotations

import torch

from tutor_agents.engine import parallel
from tutor_agents.engine.rollout import Rollout


def whole(mine: Rollout) -> Rollout:
    """The rollouts of all processes' shares, put together."""
    return mine if parallel.size() == 1 else mine.each(parallel.gathered)


def my_trials(rollout: Rollout) -> Rollout:
    """This process's share of a whole rollout."""
    if parallel.size() == 1:
        return rollout
    n_trials = rollout.action.shape[1]
    return rollout.trials(parallel.share(torch.arange(n_trials, device=rollout.action.device)))
