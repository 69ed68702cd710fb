"""The Gymnasium face of a class: ``gymnasium.make_vec("tutor_sim/BKT-v0", num_envs=1024)``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from tutor_envs.classroom import Truth
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.session import RENDER_MODES, Session, resolve_population, resolve_task
from tutor_envs.task import TeachingTask

Batch = tuple[
    NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]
"""Observations, rewards, terminations, truncations, infos."""


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    values = [known.value for known in AutoresetMode]
    if not isinstance(mode, AutoresetMode) and mode not in values:
        raise ValueError(unknown_name("autoreset_mode", mode, values))
    return AutoresetMode(mode)


class TutoringVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """N students in lock-step, computed as one batch; see :class:`tutor_envs.gym_env.TutoringEnv`.

    Sub-environment i sees students i, i + N, i + 2N, ... of the split. All N share one seed (they
    differ by their index) and the clock, so all trials end in the same step. What happens then
    is declared in ``metadata["autoreset_mode"]``:

    * ``NEXT_STEP`` (default): the next call of ``step`` ignores its actions, pays nothing and
      returns the first observations of the next students;
    * ``SAME_STEP``: the call that ends the trials returns the first observations of the next
      students; the trials' last ones are in ``infos["final_obs"]``, with ``infos["final_info"]``;
    * ``DISABLED``: ``reset`` must be called. A ``reset_mask`` must select every student.

    Where students may leave, one who has left idles until the trials end: its actions are not read,
    its rewards are 0, and ``infos["present"]`` (bool) is false for it. ``terminations`` stay
    one decision for all: the trials end together, at the horizon or when everybody has left.

    >>> import gymnasium, tutor_envs
    >>> envs = gymnasium.make_vec("tutor_sim/BKT-v0", num_envs=3)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations.shape
    (3, 20)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES),
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        student: str | None = None,
        population: Population | Mapping[str, Any] | str | Path | None = None,
        variant: str | None = None,
        task: TeachingTask | Mapping[str, Any] | None = None,
        split: str = "train",
        seed: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        """Describe the students and the task.

        Args:
            num_envs: N, students taught at once.
            student: name of the student model that the population must have; None: any.
            population: a population, its content as a mapping, the path of a YAML file, or None for
                the one that ships with the student model.
            variant: named (shifted) variant of the population.
            task: a task, or its content as a mapping; None: three lessons of 15 actions.
            split: ``train``, ``validation`` or ``test``; they share no student.
            seed: of the students and their luck until ``reset(seed=...)``; None: a fresh one.
            render_mode: ``ansi``, ``rgb_array`` or None.
            autoreset_mode: what follows the end of the trials; the mode or its value.

        Raises:
            ValueError: an argument is invalid (the text names it).
            OSError: the population file cannot be read.
        """
        self._session = Session(
            resolve_population(student, population, variant),
            resolve_task(task),
            split,
            n_seats=num_envs,
            render_mode=render_mode,
        )
        if seed is not None:
            self._session.seed(seed)
        self._mode = _autoreset_mode(autoreset_mode)
        self._ended = False
        self.metadata = {**self.metadata, "autoreset_mode": self._mode}
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.layout = self._session.layout
        self.single_observation_space = self._session.observation_space
        self.single_action_space = self._session.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin a trial with the next N students.

        Args:
            seed: start again with the first students of the split, and this seed.
            options: ``students`` (N indices), ``trial``, ``reset_mask`` (all True).

        Returns:
            Observations, float32 ``(N, size)``, and infos.

        Raises:
            ValueError: unknown option, students that cannot be seated, or a partial reset.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        self._check_reset_mask(options.pop("reset_mask", None))
        if seed is not None or not self._session.seeded:
            self._session.seed(int(self.np_random.integers(2**63)) if seed is None else seed)
        observations = self._session.reset(options)
        self._ended = False
        return observations, self._infos()

    def _check_reset_mask(self, mask: NDArray[np.bool_] | None) -> None:
        if mask is not None and (np.shape(mask) != (self.num_envs,) or not np.all(mask)):
            raise ValueError(
                "`options.reset_mask` must select all students, for they are taught in lock-step, "
                f"got {mask}."
            )

    def step(self, actions: NDArray[np.int64]) -> Batch:
        """Teach one action to every student.

        Args:
            actions: ``(N,)`` in ``[0, A)``; not read in the step that resets (``NEXT_STEP``).

        Returns:
            Observations ``(N, size)``, rewards, terminations, truncations (never), infos.

        Raises:
            gymnasium.error.ResetNeeded: no trials are running.
            ValueError: there are no such actions.
        """
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        if self._ended and self._mode is AutoresetMode.NEXT_STEP:
            observations, infos = self.reset()
            return observations, np.zeros(self.num_envs), truncations.copy(), truncations, infos
        observations, rewards, ended = self._session.step(actions)
        infos = self._infos()
        if ended and self._mode is AutoresetMode.SAME_STEP:
            last_observations, last_infos = observations, infos
            observations, infos = self.reset()
            infos |= self._all_envs("final_obs", self._as_objects(last_observations))
            infos |= self._all_envs("final_info", last_infos)
        else:
            self._ended = ended
        return observations, rewards, np.full(self.num_envs, ended), truncations, infos

    def _infos(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        if self._session.masked:
            infos |= self._all_envs("action_mask", self.action_masks().astype(np.int8))
        if self._session.present is not None:
            infos |= self._all_envs("present", self._session.present)
        return infos

    def _all_envs(self, key: str, value: Any) -> dict[str, Any]:
        """An entry of the infos that every sub-environment has, in Gymnasium's convention."""
        return {key: value, f"_{key}": np.ones(self.num_envs, dtype=np.bool_)}

    def _as_objects(self, observations: NDArray[np.float32]) -> NDArray[np.object_]:
        objects = np.empty(self.num_envs, dtype=object)
        for i, observation in enumerate(observations):
            objects[i] = observation
        return objects

    def action_masks(self) -> NDArray[np.bool_]:
        """Actions that are allowed now, bool ``(N, A)``."""
        return self._session.action_masks()

    @property
    def truth(self) -> Truth:
        """Privileged: the hidden truth now, for evaluation and oracles only.

        Raises:
            gymnasium.error.ResetNeeded: no student is seated yet.
        """
        return self._session.truth

    def render(self) -> tuple[Any, ...] | None:
        """The lesson so far for every student: text (``ansi``) or images (``rgb_array``), or None.

        Raises:
            gymnasium.error.ResetNeeded: no student is seated yet.
        """
        return self._session.render()
