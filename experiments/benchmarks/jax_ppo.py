"""Peer: RL² with PPO in JAX, everything in one ``jit``, in the manner of PureJaxRL.

The same networks and passes as ours; the recurrence is a ``lax.scan`` over ``flax.linen.GRUCell``.
Inputs are looked up in tables, which is faster than what PureJaxRL does, a product with one-hot
observations.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from family import Settings
from jax import Array

CLIP, VALUE, NORM = 0.2, 0.5, 0.5


class Students(Protocol):
    """Who is taught, in whole batches; hashable, for it is compiled in.

    A student is any tree of arrays with a leading axis of students.
    """

    n_actions: int
    n_responses: int

    def begin(self, key: Array, n: int) -> Any:
        """New students in their first lesson."""

    def next_lesson(self, key: Array, student: Any) -> Any:
        """The same ones in another lesson."""

    def teach(self, key: Array, student: Any, action: Array) -> tuple[Any, Array, Array]:
        """One action for each: who they are then, their responses, the rewards."""


class Network(nn.Module):
    """Embeddings, GRU, a policy and a value with one hidden layer each.

    The inputs are what came before: a token for the pair of action and response, and the clock.
    """

    width: int
    n_steps: int
    n_actions: int
    n_tokens: int

    def setup(self) -> None:
        """Layers."""
        normal = nn.initializers.normal(0.5)
        self.token = nn.Embed(self.n_tokens, self.width, embedding_init=normal)
        self.clock = nn.Embed(self.n_steps, self.width, embedding_init=normal)
        self.gru = nn.GRUCell(self.width)
        self.policy = self._head(self.n_actions, 0.01)
        self.value = self._head(1, 1.0)

    def _head(self, n_outputs: int, scale: float) -> nn.Sequential:
        first = nn.Dense(self.width, kernel_init=nn.initializers.orthogonal(2**0.5))
        last = nn.Dense(n_outputs, kernel_init=nn.initializers.orthogonal(scale))
        return nn.Sequential([first, nn.tanh, last])

    def __call__(self, carry: Array, token: Array, t: Array) -> tuple[Array, Array, Array]:
        """One step: memory, logits, value."""
        carry, hidden = self.memory(carry, token, t)
        return carry, *self.heads(hidden, t)

    def memory(self, carry: Array, token: Array, t: Array) -> tuple[Array, Array]:
        """The recurrence alone."""
        return self.gru(carry, self.token(token) + self.clock(t))

    def heads(self, hidden: Array, t: Array) -> tuple[Array, Array]:
        """Logits and value; ``t`` has the leading axes of ``hidden``."""
        clock = jnp.broadcast_to(self.clock(t), hidden.shape)
        x = jnp.concatenate([hidden, clock], -1)
        return self.policy(x), self.value(x).squeeze(-1)


def network_for(students: Students, s: Settings) -> Network:
    """The last token is of who was not yet taught."""
    n_tokens = students.n_actions * students.n_responses + 1
    return Network(s.hidden_size, s.n_trial_steps, students.n_actions, n_tokens)


class Batch(NamedTuple):
    """Whole trials, time-major."""

    token: Array
    action: Array
    logp: Array
    value: Array
    reward: Array


State = tuple[Any, Any]
"""Parameters, and Adam's moments."""
# The learning rate comes later: it may fall from update to update.
_ADAM = optax.chain(optax.clip_by_global_norm(NORM), optax.scale_by_adam(eps=1e-5))


def begin(students: Students, s: Settings, key: Array) -> State:
    """Before the first update."""
    empty = jnp.zeros((1, s.hidden_size)), jnp.zeros(1, jnp.int32), jnp.zeros((), jnp.int32)
    params = network_for(students, s).init(key, *empty)
    return params, _ADAM.init(params)


@partial(jax.jit, static_argnums=(0, 1))
def update(
    students: Students, s: Settings, state: State, key: Array, learning_rate: float
) -> tuple[State, Array]:
    """A batch of whole trials, then all passes over it; the mean return too."""
    network = network_for(students, s)
    k_roll, k_pass = jax.random.split(key)
    batch = _roll_out(students, network, state[0], k_roll, s)

    def gae(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple, Array]:
        advantage, later = carry
        reward, value = now
        advantage = reward + s.discount * (later + s.gae_lambda * advantage) - value
        return (advantage, value), advantage

    zero = jnp.zeros(s.n_students)
    _, raw = jax.lax.scan(gae, (zero, zero), (batch.reward, batch.value), reverse=True)
    target = raw + batch.value
    advantage = (raw - raw.mean()) / (raw.std() + 1e-8)

    def minibatch(state: State, index: Array) -> tuple[State, Array]:
        part = jax.tree.map(lambda x: x[:, index], (batch, advantage, target))
        loss, gradient = jax.value_and_grad(partial(_loss, network, s.entropy_weight))(
            state[0], *part
        )
        change, moments = _ADAM.update(gradient, state[1], state[0])
        change = jax.tree.map(lambda x: -learning_rate * x, change)
        return (optax.apply_updates(state[0], change), moments), loss

    def epoch(state: State, key: Array) -> tuple[State, Array]:
        order = jax.random.permutation(key, s.n_students).reshape(s.minibatches, -1)
        return jax.lax.scan(minibatch, state, order)

    state, _ = jax.lax.scan(epoch, state, jax.random.split(k_pass, s.epochs))
    return state, batch.reward.sum(0).mean()


def _roll_out(students: Students, network: Network, params: Any, key: Array, s: Settings) -> Batch:
    def step(carry: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[tuple[Any, ...], Batch]:
        student, memory, token = carry
        t, key = now
        k_lesson, k_action, k_step = jax.random.split(key, 3)
        student = jax.lax.cond(
            (t > 0) & (t % s.n_steps == 0),
            partial(students.next_lesson, k_lesson),
            lambda same: same,
            student,
        )
        memory, logits, value = network.apply(params, memory, token, t)
        action = jax.random.categorical(k_action, logits)
        logp = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
        student, response, reward = students.teach(k_step, student, action)
        seen = Batch(token, action, logp, value, reward)
        return (student, memory, students.n_responses * action + response), seen

    k_new, k_steps = jax.random.split(key)
    n, steps = s.n_students, s.n_trial_steps
    start = (
        students.begin(k_new, n),
        jnp.zeros((n, network.width)),
        jnp.full(n, network.n_tokens - 1),
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
