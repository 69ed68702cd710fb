"""Our vector environment as Stable-Baselines3's ``VecEnv``: whole native batches, no copies of it.

>>> import gymnasium, tutor_envs
>>> from stable_baselines3 import PPO
>>> students = NativeVecEnv(gymnasium.make_vec("tutor_sim/BKT-v0", num_envs=64))
>>> model = PPO("MlpPolicy", students, n_steps=45, batch_size=720, seed=0).learn(64 * 45)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Wrapper
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from tutor_envs.vector_env import TutoringVectorEnv

Infos = dict[str, Any]


class NativeVecEnv(VecEnv):
    """N students in lock-step, behind the interface that SB3 trains and evaluates with.

    ``step`` hands the actions of all students to the environment at once and SB3 its arrays. It
    follows SB3's conventions:

    * a ``done`` ends a trial; the observation that comes with it is the first one of the next N
      students, and ``infos[i]["terminal_observation"]`` the last one of the trial that ended;
    * a trial ends because its budget of actions is spent, which is its real horizon:
      ``infos[i]["TimeLimit.truncated"]`` is false, so that SB3 bootstraps nothing;
    * ``infos[i]["episode"]`` has the return ``r`` and the length ``l`` of the trial that ended, so
      that SB3 logs ``rollout/ep_rew_mean`` without a ``VecMonitor``.

    A step in which no trial ends has nothing to say: its infos are one empty dict, N times.

    All students share one seed, for they differ by their index, and one environment: ``get_attr``
    and ``env_method`` ask it once. Where a method returns one row for each student, as
    ``action_masks`` does (sb3-contrib's maskable algorithms ask for it), each gets its own.
    An illegal action takes its time and reaches no student.
    """

    def __init__(self, students: VectorEnv[Any, Any, Any]) -> None:
        """Put SB3's interface on a vector environment.

        Args:
            students: as ``gymnasium.make_vec`` makes it; any autoreset mode will do.

        Raises:
            ValueError: it is another environment, or wrapped.
        """
        if not isinstance(students, TutoringVectorEnv):
            raise ValueError(
                "`students` must be a TutoringVectorEnv without wrappers, such as "
                f'`gymnasium.make_vec("tutor_sim/BKT-v0", num_envs=256)`, got {students}.'
            )
        self.students = students
        super().__init__(
            students.num_envs, students.single_observation_space, students.single_action_space
        )
        self._actions: NDArray[np.int64]
        self._returns = np.zeros(self.num_envs)
        self._n_steps = 0
        self._next_seed: int | None = None
        self._next_options: Infos | None = None

    # -- trials -------------------------------------------------------------------------------
    def reset(self) -> NDArray[np.float32]:
        """Begin a trial with the next N students; the first observations ``(N, size)``."""
        observations, _ = self.students.reset(seed=self._next_seed, options=self._next_options)
        self._next_seed = self._next_options = None
        self._begin_count()
        return observations

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Keep the actions ``(N,)`` for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Teach them: observations ``(N, size)``, rewards ``(N,)``, dones ``(N,)``, infos."""
        observations, rewards, dones, _, infos = self.students.step(self._actions)
        self._returns += rewards
        self._n_steps += 1
        paid = rewards.astype(np.float32)
        if not dones.all():
            return observations, paid, dones, [{}] * self.num_envs
        same_step = self.students.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        last = np.stack(infos["final_obs"]) if same_step else observations
        summaries = self._summaries(last)
        self._begin_count()
        return observations if same_step else self._next_trial(), paid, dones, summaries

    def _next_trial(self) -> NDArray[np.float32]:
        """Seat the students after these."""
        return self.students.reset()[0]

    def _summaries(self, last_observations: NDArray[np.float32]) -> list[Infos]:
        """What is said of the trials that ended, one dict for each."""
        returns = self._returns.tolist()
        return [
            {
                "terminal_observation": last,
                "TimeLimit.truncated": False,
                "episode": {"r": total, "l": self._n_steps},
            }
            for last, total in zip(last_observations, returns, strict=True)
        ]

    def _begin_count(self) -> None:
        self._returns = np.zeros(self.num_envs)
        self._n_steps = 0

    # -- the rest of SB3's interface ------------------------------------------------------------
    def seed(self, seed: int | None = None) -> list[int | None]:
        """At the next ``reset``, start again with the first students and with this seed.

        Args:
            seed: for all students; None: a fresh one.
        """
        fresh = int(np.random.SeedSequence().generate_state(1)[0])
        self._next_seed = fresh if seed is None else seed
        return [self._next_seed] * self.num_envs

    def set_options(self, options: list[Infos] | Infos | None = None) -> None:
        """Options of the next ``reset``, for all students; see ``TutoringVectorEnv.reset``.

        Raises:
            ValueError: a list, that is options for each student.
        """
        if isinstance(options, list):
            raise ValueError(
                "`options` must be one dict, for the students are taught in lock-step, got a list."
            )
        self._next_options = options

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the environment, once for each student asked for.

        Raises:
            AttributeError: it has none of that name.
        """
        single = f"single_{attr_name}"
        name = single if attr_name in ("observation_space", "action_space") else attr_name
        return [getattr(self.students, name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment, which is that of all students.

        Raises:
            ValueError: only some students are chosen.
        """
        if len(set(self._chosen(indices))) < self.num_envs:
            raise ValueError(
                "`indices` must select all students, for they share one environment, "
                f"got {indices}."
            )
        setattr(self.students, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the environment once; what it returns, for each student asked for."""
        found = getattr(self.students, method_name)(*method_args, **method_kwargs)
        rows = isinstance(found, np.ndarray | tuple) and len(found) == self.num_envs
        return [found[i] if rows else found for i in self._chosen(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """It never is."""
        return [False] * len(self._chosen(indices))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One image for each student; None unless the render mode is ``rgb_array``."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        return list(self.students.render() or ())

    def close(self) -> None:
        """Close the environment."""
        self.students.close()

    def _chosen(self, indices: VecEnvIndices) -> list[int]:
        return list(self._get_indices(indices))
