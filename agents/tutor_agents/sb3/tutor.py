"""A policy trained by Stable-Baselines3 as a tutor, deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from tutor_agents.engine.ppo import masked_logits
from tutor_agents.exported import describe
from tutor_agents.sb3.algorithms import Algorithm, policy_class, policy_sizes
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Observation
from tutor_envs.observation import (
    ObservationLayout,
    observation_layout,
    observation_space,
    observation_vector,
)
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask

KIND = "sb3"
"""Of the exported tutor."""


class PolicyShape(BaseModel):
    """What rebuilds a policy; written beside its weights when it is taken away."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    algorithm: Algorithm
    hidden_size: int = Field(ge=1)
    n_lessons: int = Field(ge=1)
    n_steps: int = Field(ge=1, description="teaching actions in a lesson")
    show_score: bool = Field(description="the score of a finished lesson is an input")
    layout: dict[str, tuple[int, int]] = Field(
        description="where each signal lies in the input vector: its first entry and its end"
    )

    @classmethod
    def of(
        cls, algorithm: Algorithm, hidden_size: int, model: StudentModel, task: TeachingTask
    ) -> PolicyShape:
        """The shape for a student model's observations and a task's clock."""
        layout = observation_layout(model, task)._asdict()
        return cls(
            algorithm=algorithm,
            hidden_size=hidden_size,
            n_lessons=task.n_lessons,
            n_steps=task.n_steps,
            show_score=task.show_score,
            layout={name: (where.start, where.stop) for name, where in layout.items()},
        )

    def observation_layout(self) -> ObservationLayout:
        """The same as slices.

        Raises:
            ValueError: a signal is missing, or is none of ours.
        """
        if set(self.layout) != set(ObservationLayout._fields):
            raise ValueError(f"`layout` must have {', '.join(ObservationLayout._fields)}")
        return ObservationLayout(**{name: slice(*ends) for name, ends in self.layout.items()})

    def task(self) -> TeachingTask:
        """As much of the task as an observation needs."""
        return TeachingTask(
            n_lessons=self.n_lessons, n_steps=self.n_steps, show_score=self.show_score
        )

    def make_policy(self) -> BasePolicy:
        """SB3's policy of this shape, before its first gradient step.

        Raises:
            ValueError: it is recurrent, and sb3-contrib is not installed.
        """
        layout = self.observation_layout()
        make: Any = policy_class(self.algorithm)
        policy: BasePolicy = make(
            observation_space(layout),
            spaces.Discrete(layout.action.stop - layout.action.start),
            lambda _: 0.0,
            **policy_sizes(self.algorithm, self.hidden_size),
        )
        return policy


class SB3Tutor:
    """Teaches greedily by a policy of SB3, on whole batches.

    It sees the vector that the Gymnasium environments give (:mod:`tutor_envs.observation`), and
    never takes an action that the observation calls illegal. Only recurrent PPO remembers more than
    the last action and its response: its LSTM is carried through the trial.
    """

    def __init__(
        self, name: str, policy: BasePolicy, shape: PolicyShape, model: StudentModel | None = None
    ) -> None:
        """A live view of ``policy``; ``model`` only lends the names of actions and responses."""
        self.name = name
        self.policy = policy
        self.shape = shape
        self._layout, self._task = shape.observation_layout(), shape.task()
        self._model = model

    def begin_trial(self, trial: Trial) -> None:
        """Forget everything."""
        if self.shape.algorithm == "sb3_recurrent_ppo":
            size = (1, len(trial.students), self.shape.hidden_size)
            empty = torch.zeros(size, device=self.policy.device)
            self._memory = (empty, empty.clone())

    @torch.no_grad()
    def act(self, observation: Observation) -> Tensor:
        """The best legal action."""
        seen = observation_vector(observation, self._layout, self._task)
        return masked_logits(self._preferences(seen), observation.legal).argmax(-1)

    def _preferences(self, seen: Tensor) -> Tensor:
        """Logits, or expected returns, ``(n, A)``."""
        policy: Any = self.policy
        if isinstance(policy, DQNPolicy):
            q_values: Tensor = policy.q_net(seen)
            return q_values
        if self.shape.algorithm == "sb3_recurrent_ppo":
            nobody_starts = seen.new_zeros(len(seen))
            choice, self._memory = policy.get_distribution(seen, self._memory, nobody_starts)
        else:
            assert isinstance(policy, ActorCriticPolicy)
            choice = policy.get_distribution(seen)
        logits: Tensor = choice.distribution.logits
        return logits

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing: the outcome comes with the next observation."""

    def memory(self) -> Tensor:
        """Output and cell of recurrent PPO's LSTM, ``(n, 2 H)``; after ``act``, of all answers.

        Raises:
            ValueError: another algorithm, which remembers nothing.
        """
        if self.shape.algorithm != "sb3_recurrent_ppo":
            raise ValueError(f"tutor `{self.name}` carries no memory through a trial")
        return torch.cat([part[0] for part in self._memory], dim=-1)

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tutor to take away; see :func:`tutor_agents.exported.describe`."""
        description = describe(KIND, self.name, self._model)
        description["shape"] = self.shape.model_dump(mode="json")
        weights = {k: v.detach().cpu().contiguous() for k, v in self.policy.state_dict().items()}
        return weights, description


def rebuild(
    description: Mapping[str, Any], weights: dict[str, Tensor], device: torch.device | str
) -> SB3Tutor:
    """The tutor that ``SB3Tutor.export`` wrote.

    Raises:
        ValueError: the description is wrong, or sb3-contrib is missing.
        RuntimeError: the weights do not fit it.
    """
    shape = PolicyShape.model_validate(description.get("shape"))
    with torch.random.fork_rng(devices=[]):
        policy = shape.make_policy()
    policy.load_state_dict(weights)
    return SB3Tutor(str(description.get("tutor")), policy.to(device), shape)
