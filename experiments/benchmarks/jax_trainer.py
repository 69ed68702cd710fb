"""Peer: RL² with PPO in JAX, everything in one ``jit``, in the manner of PureJaxRL.

The same networks, students and passes as ours; the recurrence is a ``lax.scan`` over
``flax.linen.GRUCell``. Inputs are looked up in tables (``lookup``), which is faster than what
PureJaxRL does, a product with one-hot observations.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from family import K, M, Settings
from jax import Array
from jax_students import new_lesson, new_student, teach

from tutor_sim.bench.job import Work

CLIP, VALUE, NORM = 0.2, 0.5, 0.5
_TOKENS = 2 * K * M + 1


class Network(nn.Module):
    """Embeddings, GRU, a policy with one hidden layer and a value with two."""

    width: int
    n_steps: int

    def setup(self) -> None:
        """Layers."""
        normal = nn.initializers.normal(0.5)
        self.token = nn.Embed(_TOKENS, self.width, embedding_init=normal)
        self.clock = nn.Embed(self.n_steps, self.width, embedding_init=normal)
        self.gru = nn.GRUCell(self.width)
        dense = partial(nn.Dense, kernel_init=nn.initializers.orthogonal(2**0.5))
        self.policy = nn.Sequential(
            [
                dense(self.width),
                nn.tanh,
                nn.Dense(K * M, kernel_init=nn.initializers.orthogonal(0.01)),
            ]
        )
        self.value = nn.Sequential(
            [
                dense(self.width),
                nn.tanh,
                nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0)),
            ]
        )

    def __call__(self, carry: Array, token: Array, t: Array) -> tuple[Array, Array, Array]:
        """One step: memory, logits, value."""
        carry, hidden = self.gru(carry, self.token(token) + self.clock(t))
        return carry, *self.heads(hidden, t)

    def heads(self, hidden: Array, t: Array) -> tuple[Array, Array]:
        """Logits and value; ``t`` has the leading axes of ``hidden``."""
        clock = jnp.broadcast_to(self.clock(t), hidden.shape)
        x = jnp.concatenate([hidden, clock], -1)
        return self.policy(x), self.value(x).squeeze(-1)

    def memory(self, carry: Array, token: Array, t: Array) -> tuple[Array, Array]:
        """The recurrence alone."""
        return self.gru(carry, self.token(token) + self.clock(t))


class Batch(NamedTuple):
    """Whole trials, time-major."""

    token: Array
    action: Array
    logp: Array
    value: Array
    reward: Array


class Train:
    """Updates: a batch of whole trials, then all passes over it, in one compiled function."""

    def __init__(self, **settings: Any) -> None:
        self._settings = s = Settings(**settings)
        network = Network(s.hidden_size, s.n_trial_steps)
        self._key = jax.random.key(0)
        empty = jnp.zeros((1, s.hidden_size)), jnp.zeros(1, jnp.int32), jnp.zeros((), jnp.int32)
        params = network.init(self._key, *empty)
        adam = optax.chain(optax.clip_by_global_norm(NORM), optax.adam(s.learning_rate, eps=1e-5))
        self._state = params, adam.init(params)
        self._update = jax.jit(partial(_update, network, adam, s))

    def prepare(self, round_: int) -> None:
        """Nothing."""

    def work(self) -> Work:
        """One update."""
        self._key, key = jax.random.split(self._key)
        self._state, score = self._update(self._state, key)
        s = self._settings
        return Work(s.n_students * s.n_trial_steps, float(score) / s.n_lessons, None)


def _update(
    network: Network,
    adam: optax.GradientTransformation,
    s: Settings,
    state: tuple[Any, Any],
    key: Array,
) -> tuple[tuple[Any, Any], Array]:
    k_roll, k_pass = jax.random.split(key)
    batch = _roll_out(network, state[0], k_roll, s)

    def gae(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple, Array]:
        advantage, later = carry
        reward, value = now
        advantage = reward + s.discount * (later + s.gae_lambda * advantage) - value
        return (advantage, value), advantage

    zero = jnp.zeros(s.n_students)
    _, raw = jax.lax.scan(gae, (zero, zero), (batch.reward, batch.value), reverse=True)
    target = raw + batch.value
    advantage = (raw - raw.mean()) / (raw.std() + 1e-8)

    def minibatch(state: tuple[Any, Any], index: Array) -> tuple[tuple[Any, Any], Array]:
        part = jax.tree.map(lambda x: x[:, index], (batch, advantage, target))
        loss, gradient = jax.value_and_grad(partial(_loss, network, s.entropy_weight))(
            state[0], *part
        )
        change, moments = adam.update(gradient, state[1], state[0])
        return (optax.apply_updates(state[0], change), moments), loss

    def epoch(state: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Array]:
        order = jax.random.permutation(key, s.n_students).reshape(s.minibatches, -1)
        return jax.lax.scan(minibatch, state, order)

    state, _ = jax.lax.scan(epoch, state, jax.random.split(k_pass, s.epochs))
    return state, batch.reward.sum(0).mean()


def _roll_out(network: Network, params: Any, key: Array, s: Settings) -> Batch:
    def step(carry: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[tuple[Any, ...], Batch]:
        student, memory, token = carry
        t, key = now
        k_lesson, k_action, k_step = jax.random.split(key, 3)
        student = jax.lax.cond(
            (t > 0) & (t % s.n_steps == 0),
            lambda same: new_lesson(k_lesson, same.logit),
            lambda same: same,
            student,
        )
        memory, logits, value = network.apply(params, memory, token, t)
        action = jax.random.categorical(k_action, logits)
        logp = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
        student, correct, reward = teach(k_step, student, action)
        seen = Batch(token, action, logp, value, reward)
        return (student, memory, 2 * action + correct), seen

    k_new, k_steps = jax.random.split(key)
    n, steps = s.n_students, s.n_trial_steps
    start = (
        new_student(k_new, (n,)),
        jnp.zeros((n, network.width)),
        jnp.full(n, _TOKENS - 1),
    )
    _, batch = jax.lax.scan(step, start, (jnp.arange(steps), jax.random.split(k_steps, steps)))
    return batch


def _loss(
    network: Network,
    entropy_weight: float,
    params: Any,
    batch: Batch,
    advantage: Array,
    target: Array,
) -> Array:
    t = jnp.arange(len(batch.token))

    def step(memory: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        return network.apply(params, memory, *now, method=Network.memory)

    empty = jnp.zeros((batch.token.shape[1], network.width))
    _, hidden = jax.lax.scan(step, empty, (batch.token, t))
    logits, value = network.apply(params, hidden, t[:, None], method=Network.heads)
    every = jax.nn.log_softmax(logits)
    logp = jnp.take_along_axis(every, batch.action[..., None], -1)[..., 0]
    ratio = jnp.exp(logp - batch.logp)
    surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
    entropy = -(jnp.exp(every) * every).sum(-1).mean()
    error = 0.5 * jnp.square(value - target).mean()
    return -surrogate.mean() - entropy_weight * entropy + VALUE * error
