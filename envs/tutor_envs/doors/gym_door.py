"""Door 3: a Gymnasium environment whose ``reset(seed=...)`` draws a hidden student; no torch.

See :mod:`tutor_envs.doors.gym_student` for what is taken from the environment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from tutor_envs.doors.loading import load_attribute
from tutor_envs.doors.python_door import as_response, as_shares
from tutor_envs.doors.room import Refusal, Start

ENV_SEED = "env_seed"
_RESPONSE_KEYS = ("response", "correct")


class GymRules(NamedTuple):
    """What the adaptor found out about the environment.

    Attributes:
        n_skills: K.
        n_responses: R.
        observed: what the observation is: ``response`` (an index) or ``signals``.
        return_range: returns that mean mastery 0 and 1, or None.
    """

    n_skills: int
    n_responses: int
    observed: str
    return_range: tuple[float, float] | None


class _Episode:
    """An environment in the middle of a lesson."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env
        self.total = 0.0
        self.ended = False
        self.observation: Any = None
        self.info: Mapping[str, Any] = {}


class GymDoor:
    """Plays episodes, one a lesson."""

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]], rules: GymRules) -> None:
        self._make = make
        self._rules = rules

    @classmethod
    def load(
        cls, reference: str, env_id: str | None, kwargs: dict[str, Any], rules: GymRules
    ) -> GymDoor:
        """In a worker: find the environment.

        Raises:
            ValueError: it cannot be loaded.
        """
        return cls(env_maker(reference, env_id, kwargs), rules)

    def open(self, start: Start, used: Any) -> Any:
        """Reset with the student's seed; an environment of an earlier student is used again."""
        episode = _Episode(self._make() if used is None else used.env)
        seed = int(start.latents[ENV_SEED])
        options = {"lesson": start.lesson}
        episode.observation, episode.info = episode.env.reset(seed=seed, options=options)
        return episode

    def teach(self, student: Any, action: int) -> int:
        """A step, unless the episode is over.

        Raises:
            Refusal: the environment broke the rules.
        """
        if student.ended:
            return 0
        observation, reward, terminated, truncated, info = student.env.step(action)
        reward = float(reward)
        if not math.isfinite(reward):
            raise Refusal(f"step({action}) paid {reward}; a reward must be a finite number")
        student.observation, student.info = observation, info
        student.total += reward
        student.ended = bool(terminated or truncated)
        return self._response(observation, info, action)

    def _response(self, observation: Any, info: Mapping[str, Any], action: int) -> int:
        n_responses = self._rules.n_responses
        for key in _RESPONSE_KEYS:
            if key in info:
                return as_response(info[key], n_responses, f'step({action}): info["{key}"] is')
        if self._rules.observed == "response":
            return as_response(observation, n_responses, f"step({action}) observed")
        return 0

    def wait(self, student: Any, days: float) -> None:
        """An environment knows no time between steps."""

    def look(self, student: Any, response: int) -> list[float]:
        """Response, present, return so far, mastery, observation.

        Raises:
            Refusal: mastery or observation are not numbers as they should be.
        """
        signals: list[float] = []
        if self._rules.observed == "signals":
            signals = np.asarray(student.observation, dtype=np.float64).ravel().tolist()
            if not all(math.isfinite(signal) for signal in signals):
                raise Refusal(f"observed {student.observation!r}; every number must be finite")
        mastery = self._mastery(student)
        return [response, not student.ended, student.total, *mastery, *signals]

    def _mastery(self, student: _Episode) -> list[float]:
        if "mastery" in student.info:
            return as_shares(student.info["mastery"], self._rules.n_skills, 'info["mastery"]')
        total = student.total
        if self._rules.return_range is None:
            share = 0.5 + 0.5 * total / (1 + abs(total))
        else:
            low, high = self._rules.return_range
            share = min(1.0, max(0.0, (total - low) / (high - low)))
        return [share] * self._rules.n_skills


def env_maker(
    reference: str, env_id: str | None, kwargs: Mapping[str, Any]
) -> Callable[[], gymnasium.Env[Any, Any]]:
    """What makes one environment, by its id or by its class.

    Raises:
        ValueError: the class cannot be loaded.
    """
    if env_id is not None:
        return lambda: gymnasium.make(env_id, **kwargs)
    kind = load_attribute(reference)

    def make() -> gymnasium.Env[Any, Any]:
        env: gymnasium.Env[Any, Any] = kind(**kwargs)
        return env

    return make


def size_of(space: spaces.Space[Any], what: str) -> int:
    """Number of values of a Discrete space that starts at 0.

    Raises:
        ValueError: it is another space.
    """
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise ValueError(f"`{what}` must be Discrete(n) from 0, got {space}")
    return int(space.n)
