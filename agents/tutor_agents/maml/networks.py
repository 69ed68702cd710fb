"""What a tutor of this family is made of, and the step with which it adapts to a student.

Every student has weights of its own, ``{name: (N, ...)}``. They begin as the tutor's weights (or,
where only a context adapts, as zeros) and move by one gradient step after each adapting lesson.
All of it is batched by ``torch.func.vmap``: no student sees another.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from tutor_agents.engine.networks import initialise_head
from tutor_agents.engine.ppo import generalised_advantages, masked_logits
from tutor_agents.maml.dice import loaded_dice, score_surrogate
from tutor_agents.maml.lesson import Lesson, seen_after, seen_before
from tutor_envs.student import CORRECT

Weights = dict[str, Tensor]
"""What adapts, for each student: name -> ``(N, ...)``."""
InnerSignal = Literal["learned", "score", "answers"]
InnerSurrogate = Literal["score", "loaded_dice"]


class GradientShape(BaseModel):
    """What sizes a tutor and says how it adapts; written beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_actions: int = Field(ge=1)
    n_responses: int = Field(ge=1)
    n_steps: int = Field(ge=1, description="teaching actions in a lesson")
    n_signals: int = Field(ge=0)
    n_adapting: int = Field(ge=0, description="lessons after which the tutor adapts")
    explores: bool = Field(description="draws its actions in the lessons to which it adapts")
    hidden_size: int = Field(ge=1)
    context_size: int = Field(ge=0, description="0: all weights adapt")
    inner_signal: InnerSignal
    inner_surrogate: InnerSurrogate
    dice_lambda: float = Field(ge=0, le=1)
    inner_learning_rate: float = Field(gt=0)
    learned_step_sizes: bool
    discount: float = Field(gt=0, le=1)
    gae_lambda: float = Field(ge=0, le=1)

    @property
    def n_pairs(self) -> int:
        """Pairs of action and response, no response included."""
        return self.n_actions * (self.n_responses + 1)

    @property
    def n_seen(self) -> int:
        """Numbers in the summary that the policy sees."""
        return 2 * self.n_pairs + self.n_signals + self.n_steps


class ContextPolicy(nn.Module):
    """A perceptron with two hidden layers; it sees the context beside its input."""

    context: Tensor

    def __init__(self, n_in: int, width: int, n_out: int, context_size: int) -> None:
        super().__init__()
        self.layers = perceptron(n_in + context_size, width, n_out)
        self.register_buffer("context", torch.zeros(context_size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(T, A)`` from ``(T, F)``."""
        logits: Tensor = self.layers(torch.cat([x, self.context.expand(len(x), -1)], dim=-1))
        return logits


class AdaptiveNetworks(nn.Module):
    """Policy, inner signal and step sizes: all that is deployed."""

    def __init__(self, shape: GradientShape) -> None:
        """Build networks of this shape; see ``initialise`` for their weights."""
        super().__init__()
        self.shape = shape
        width, n_seen = shape.hidden_size, shape.n_seen
        self.policy = ContextPolicy(n_seen, width, shape.n_actions, shape.context_size)
        learned = shape.inner_signal == "learned"
        self.signal = perceptron(n_seen + shape.n_pairs * learned, width, 1)
        self.log_step_sizes = nn.ParameterDict()
        if shape.learned_step_sizes:
            start = torch.tensor(shape.inner_learning_rate).log()
            for name, value in self._adapted().items():
                self.log_step_sizes[_key(name)] = torch.full_like(value, start.item())

    def initialise(self) -> None:
        """Draw the initial weights from torch's generator (seed it first)."""
        initialise_head(self.policy.layers, gain=0.01)
        initialise_head(self.signal, gain=1.0)

    def begin(self, n_students: int) -> Weights:
        """The weights with which N new students are met."""
        return {k: v.expand(n_students, *v.shape) for k, v in self._adapted().items()}

    def outer_parameters(self) -> list[nn.Parameter]:
        """What the outer objective trains: not the baseline of an observable reward."""
        parameters = [*self.policy.parameters(), *self.log_step_sizes.parameters()]
        if self.shape.inner_signal == "learned":
            parameters += self.signal.parameters()
        return parameters

    def logits(self, weights: Weights, x: Tensor) -> Tensor:
        """Action logits ``(T, N, A)`` from the summaries ``(T, N, F)``."""
        out: Tensor = vmap(self._logits, in_dims=(0, 1), out_dims=1)(weights, x)
        return out

    def adapt(self, weights: Weights, lesson: Lesson, *, first_order: bool = False) -> Weights:
        """One gradient step for each student, on the student's own lesson.

        Args:
            weights: with which the lesson was taught; not changed.
            lesson: T steps with the N students.
            first_order: treat the step as if it did not depend on the weights (Finn et al. 2017);
                it still depends on the learned signal and the learned step sizes.
        """
        x = seen_before(lesson, self.shape.n_responses)
        advantages = self.inner_advantages(lesson, x)
        shared: Weights = dict(self.policy.named_parameters())
        start = weights
        if first_order:
            shared = {name: value.detach() for name, value in shared.items()}
            start = {name: value.detach() for name, value in weights.items()}

        def loss(own: Weights, *of_lesson: Tensor) -> Tensor:
            return self._inner_loss(shared | own, *of_lesson)

        of_lesson = (x, lesson.action, lesson.legal, lesson.present, advantages)
        slopes = vmap(grad(loss), in_dims=(0, *[1] * len(of_lesson)))(start, *of_lesson)
        return {k: v - self._step_size(k) * slopes[k] for k, v in weights.items()}

    def inner_advantages(self, lesson: Lesson, x: Tensor) -> Tensor:
        """What each action of a lesson seems to have been worth, from observables, ``(T, N)``."""
        if self.shape.inner_signal == "learned":
            learned: Tensor = self.signal(seen_after(lesson, self.shape.n_responses))
            return learned.squeeze(-1)
        values = self.signal(x).squeeze(-1).detach()
        return self._estimated(lesson, values)

    def baseline_error(self, lesson: Lesson) -> Tensor:
        """Squared error of the baseline of the inner signal, ``(T, N)``."""
        values: Tensor = self.signal(seen_before(lesson, self.shape.n_responses)).squeeze(-1)
        targets = values.detach() + self._estimated(lesson, values.detach())
        return (values - targets).square()

    def _estimated(self, lesson: Lesson, values: Tensor) -> Tensor:
        """Advantages of the observable reward over a baseline."""
        if self.shape.inner_signal == "answers":
            reward = (lesson.response == CORRECT).to(values.dtype)
        else:
            reward = torch.cat([torch.zeros_like(values[:-1]), lesson.score.unsqueeze(0)])
        after = torch.cat([values[1:], torch.zeros_like(values[:1])])
        goes_on = torch.cat([lesson.present[1:], torch.zeros_like(lesson.present[:1])])
        discount = self.shape.discount * goes_on
        return generalised_advantages(reward, discount, values, after, self.shape.gae_lambda)

    def _inner_loss(
        self,
        weights: Weights,
        x: Tensor,
        action: Tensor,
        legal: Tensor,
        present: Tensor,
        advantages: Tensor,
    ) -> Tensor:
        """Of one student, a scalar; time leads every argument but the weights."""
        logp = torch.log_softmax(masked_logits(self._logits(weights, x), legal), dim=-1)
        logp = logp.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        discount = self.shape.discount
        if self.shape.inner_surrogate == "score":
            objective = score_surrogate(logp, advantages, discount, present)
        else:
            objective = loaded_dice(logp, advantages, discount, self.shape.dice_lambda, present)
        return -objective / len(logp)

    def _logits(self, weights: Weights, x: Tensor) -> Tensor:
        out: Tensor = functional_call(self.policy, weights, (x,))
        return out

    def _adapted(self) -> Weights:
        if self.shape.context_size:
            return {"context": self.policy.context}
        return dict(self.policy.named_parameters())

    def _step_size(self, name: str) -> Tensor | float:
        if self.shape.learned_step_sizes:
            size: Tensor = self.log_step_sizes[_key(name)].exp()
            return size
        return self.shape.inner_learning_rate


def perceptron(n_in: int, width: int, n_out: int) -> nn.Sequential:
    """Two hidden layers of tanh."""
    return nn.Sequential(
        nn.Linear(n_in, width),
        nn.Tanh(),
        nn.Linear(width, width),
        nn.Tanh(),
        nn.Linear(width, n_out),
    )


def _key(name: str) -> str:
    """A parameter's name without dots, which torch does not allow in keys."""
    return name.replace(".", "-")
