"""Peer: RL² with PPO in JAX (see ``jax_ppo.py``) as a learner, on the small families.

An experiment can have it, as ``algorithm: path/to/jax_learner.py:JaxLearner``. It learns from its
own students (``jax_cases.py``), all in one ``jit``; its tutor then teaches ours, like any other.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax_ppo
import numpy as np
import torch
from family import Settings
from jax import Array
from jax.tree_util import keystr, tree_flatten_with_path, tree_unflatten
from jax_cases import case_of
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


class JaxConfig(BaseModel):
    """Named as ours are; the defaults are those of PureJaxRL's recurrent PPO.

    But there 4 environments go on for 128 steps, here 64 trials are taught whole; and the networks
    are as wide as ours, not 128.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    algorithm: str
    total_steps: int = Field(500_000, ge=1)
    n_trials: int = Field(64, ge=2)
    hidden_size: int = Field(64, ge=1)
    learning_rate: float = Field(2.5e-4, gt=0, description="annealed linearly to zero")
    discount: float = Field(0.99, gt=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    epochs: int = Field(4, ge=1)
    minibatches: int = Field(4, ge=1)
    entropy_weight: float = Field(0.01, ge=0)


class JaxLearner:
    """RL² with PPO in JAX, everything in one jit."""

    Config = JaxConfig

    def __init__(
        self,
        config: JaxConfig,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        device: str,
    ) -> None:
        self._students = case_of(population, task)
        self._learning_rate = config.learning_rate
        self._settings = Settings(
            n_students=config.n_trials,
            n_lessons=task.n_lessons,
            n_steps=task.n_steps,
            **config.model_dump(exclude={"algorithm", "total_steps", "n_trials"}),
        )
        self.steps_per_update = config.n_trials * task.n_trial_steps
        self.n_updates = max(1, -(-config.total_steps // self.steps_per_update))
        self.updates_done = 0
        self._key = jax.random.key(seed)
        self._state = jax_ppo.begin(self._students, self._settings, self._key)

    def update(self) -> dict[str, float]:
        """One batch of new students."""
        self.updates_done += 1
        remaining = 1 - (self.updates_done - 1) / self.n_updates
        self._state, mean_return = jax_ppo.update(
            self._students,
            self._settings,
            self._state,
            jax.random.fold_in(self._key, self.updates_done),
            self._learning_rate * remaining,
        )
        return {"train/return": float(mean_return)}

    def tutor(self) -> JaxTutor:
        """With the current weights."""
        network = jax_ppo.network_for(self._students, self._settings)
        return JaxTutor(network, self._state[0], self._students.n_responses, self._settings.n_steps)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the moments of Adam."""
        return _tensors(self._state)

    def counters(self) -> dict[str, int]:
        """Updates done."""
        return {"updates_done": self.updates_done}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue."""
        leaves, tree = tree_flatten_with_path(self._state)
        self._state = tree_unflatten(tree, [jnp.asarray(tensors[keystr(p)]) for p, _ in leaves])
        self.updates_done = counters["updates_done"]


class JaxTutor:
    """Teaches greedily."""

    name = "JAX"

    def __init__(
        self, network: jax_ppo.Network, params: Any, n_responses: int, n_steps: int
    ) -> None:
        """``n_steps``: of a lesson."""
        self._network, self._params = network, params
        self._n_responses, self._n_steps = n_responses, n_steps

    def begin_trial(self, trial: Trial) -> None:
        """Forget everything."""
        self._memory = jnp.zeros((len(trial.students), self._network.width))

    def act(self, observation: Observation) -> Tensor:
        """The likeliest action."""
        t = observation.lesson * self._n_steps + observation.step
        pair = observation.action * self._n_responses + observation.response
        nothing_yet = observation.action == self._network.n_actions
        token = torch.where(nothing_yet, self._network.n_tokens - 1, pair)
        self._memory, logits = _act(
            self._network, self._params, self._memory, jnp.asarray(token.numpy()), t
        )
        return torch.from_numpy(np.asarray(logits.argmax(-1), np.int64))

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing: the outcome comes with the next observation."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Its weights."""
        return _tensors(self._params), {"kind": "jax", "tutor": self.name}


@partial(jax.jit, static_argnums=0)
def _act(
    network: jax_ppo.Network, params: Any, memory: Array, token: Array, t: int
) -> tuple[Array, Array]:
    memory, logits, _ = network.apply(params, memory, token, t)
    return memory, logits


def _tensors(tree: Any) -> dict[str, Tensor]:
    """Of the leaves, by their paths."""
    leaves, _ = tree_flatten_with_path(tree)
    return {keystr(path): torch.from_numpy(np.array(leaf)) for path, leaf in leaves}
