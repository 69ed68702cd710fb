"""Door 3: any Gymnasium environment whose ``reset(seed=...)`` draws a new hidden student.

===================  ============================================================================
of the environment   becomes
===================  ============================================================================
action               a teaching action: ``Discrete``; named by ``env.unwrapped.action_names`` if it
                     has them, else ``action_0`` ..
observation          ``Discrete``: the response. ``Box``: signals, flattened (the classroom clips
                     them to [-10, 10]), and the one response ``seen``. ``info["response"]`` (an
                     index into ``env.unwrapped.response_names``) or ``info["correct"]``, where a
                     step gives one, is the response instead
reward               the post-test score is the return so far, so that the task's reward
                     ``{score: post_test, when: step}`` pays the environment's own rewards
``info["mastery"]``  mastery, in [0, 1]; without it the return so far, scaled by ``return_range``
                     and cut to [0, 1], or else ``1/2 + r / (2 (1 + |r|))`` for a return of r: a
                     curve for reports, not a claim about knowledge
end of the episode   the student takes part no more until the next lesson begins
===================  ============================================================================

Every lesson of a trial is a reset with the same seed, the latent ``env_seed``, so it is the same
hidden student, and with ``options={"lesson": k}``. By default every student of a population has
a seed of its own.
"""

from __future__ import annotations

import functools
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from pydantic import Field, model_validator

from tutor_envs.doors.gym_door import ENV_SEED, GymDoor, GymRules, env_maker, size_of
from tutor_envs.doors.hosted import HostedStudent
from tutor_envs.doors.loading import describe
from tutor_envs.doors.room import Door
from tutor_envs.doors.worker import DoorPlan
from tutor_envs.student import LatentSpec, TeachingAction

_N_SEEDS = 2**24
"""Seeds that float32 tells apart."""


class _Found(NamedTuple):
    actions: tuple[TeachingAction, ...]
    responses: tuple[str, ...]
    skills: tuple[str, ...]
    signals: tuple[str, ...]


class GymStudent(HostedStudent):
    """An environment as a student model; see the module's text."""

    name: ClassVar[str] = "gym"
    reference: ClassVar[str] = "gym"
    kind: ClassVar[type | None] = None
    modalities: tuple[str, ...] = Field(("any",), min_length=1)
    id: str | None = Field(None, description="id of the environment (for `student: gym`)")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="arguments of the environment")
    return_range: tuple[float, float] | None = Field(
        None, description="returns that stand for mastery 0 and 1"
    )

    @model_validator(mode="after")
    def _check(self) -> GymStudent:
        if (self.id is None) == (self.kind is None):
            raise ValueError("`id` must be the id of an environment, for `student: gym` only")
        if self.return_range is not None and not self.return_range[0] < self.return_range[1]:
            raise ValueError(f"`return_range` must be [low, high], got {list(self.return_range)}")
        _ = self._found  # the spaces must do
        return self

    # -- what the environment is --------------------------------------------------------------
    @cached_property
    def _found(self) -> _Found:
        what = self.id or self.reference
        try:
            env = env_maker(self.reference, self.id, self.kwargs)()
        except Exception as error:
            raise ValueError(
                f"`{what}`: making the environment raised {describe(error)}"
            ) from error
        try:
            return _look_at(env)
        except ValueError as error:
            raise ValueError(f"`{what}`: {error}") from None
        finally:
            env.close()

    @property
    def actions(self) -> tuple[TeachingAction, ...]:
        """Of the environment."""
        return self._found.actions

    @property
    def responses(self) -> tuple[str, ...]:
        """Of the environment."""
        return self._found.responses

    @property
    def skills(self) -> tuple[str, ...]:
        """``env.unwrapped.skills`` where there are any, else one."""
        return self._found.skills

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Entries of a Box observation."""
        return self._found.signals

    @property
    def may_end(self) -> bool:
        """An episode ends when it ends."""
        return True

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """The seed, and the common latents (of which an environment knows nothing)."""
        seed = LatentSpec((), 0, _N_SEEDS - 1, 0, "seed of the environment: the hidden student")
        return self._common_latents() | {ENV_SEED: seed}

    @classmethod
    def default_distributions(cls) -> dict[str, Any]:
        """What a population says of the latents unless it says something else."""
        return {ENV_SEED: {"uniform": {"low": 0, "high": _N_SEEDS - 1}}}

    # -- the door -----------------------------------------------------------------------------
    @property
    def _rules(self) -> GymRules:
        observed = "signals" if self.signal_names else "response"
        return GymRules(len(self.skills), self.n_responses, observed, self.return_range)

    def _door(self) -> Door:
        make = env_maker(self.reference, self.id, self.kwargs)
        if self.kind is not None:
            make = functools.partial(self.kind, **self.kwargs)
        return GymDoor(make, self._rules)

    def _plan(self) -> DoorPlan:
        arguments = (self.reference, self.id, self.kwargs, self._rules)
        return DoorPlan(f"{GymDoor.__module__}:{GymDoor.__name__}", arguments)


@functools.cache
def gym_student(kind: type, reference: str) -> type[GymStudent]:
    """The student model whose students are environments of this class."""
    fields: dict[str, Any] = {
        "__module__": __name__,
        "__doc__": kind.__doc__,
        "name": reference,
        "reference": reference,
        "kind": kind,
    }
    return type(f"Gym{kind.__name__}", (GymStudent,), fields)


def _look_at(env: gymnasium.Env[Any, Any]) -> _Found:
    """Names of all that the adaptor offers.

    Raises:
        ValueError: a space that cannot be adapted, or a wrong number of names.
    """
    bare = env.unwrapped
    n_actions = size_of(env.action_space, "action_space")
    names = _names(bare, "action_names", [f"action_{i}" for i in range(n_actions)])
    space = env.observation_space
    signals: tuple[str, ...] = ()
    if isinstance(space, spaces.Box):
        signals = tuple(f"observation_{i}" for i in range(int(np.prod(space.shape, dtype=int))))
        responses: tuple[str, ...] = ("seen",)
    else:
        n_responses = size_of(space, "observation_space")
        responses = tuple(f"observation_{i}" for i in range(n_responses))
    if hasattr(bare, "response_names"):
        responses = tuple(str(name) for name in bare.response_names)
    elif not signals:
        responses = _names(bare, "response_names", list(responses))
    elif _tells_correct(env):
        responses = ("wrong", "correct")
    actions = tuple(TeachingAction(name, "", "") for name in names)
    skills = tuple(str(name) for name in getattr(bare, "skills", ("return",)))
    return _Found(actions, responses, skills, signals)


def _names(bare: Any, attribute: str, default: list[str]) -> tuple[str, ...]:
    names = tuple(str(name) for name in getattr(bare, attribute, default))
    if len(names) != len(default):
        raise ValueError(f"`{attribute}` must be {len(default)} names, got {len(names)}")
    return names


def _tells_correct(env: gymnasium.Env[Any, Any]) -> bool:
    """A first step gives ``info["correct"]``."""
    env.reset(seed=0, options={"lesson": 0})
    return "correct" in env.step(0)[-1]
