"""The Gymnasium face of one student: ``gymnasium.make("tutor_sim/BKT-v0")``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tutor_envs.classroom import Truth
from tutor_envs.population import Population
from tutor_envs.session import RENDER_MODES, Session, resolve_population, resolve_task
from tutor_envs.task import TeachingTask


class TutoringEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One student, taught through trials; an episode is a trial.

    The observation is a float32 vector of what a tutor can see (:mod:`tutor_envs.observation`), the
    action the index of a teaching action. The trial ends after a fixed budget of actions, which
    is its real horizon, or when the student leaves: ``terminated`` then, never ``truncated``. Inner
    lessons end within the episode. Where actions can be illegal, ``info["action_mask"]`` (int8, 1:
    allowed) says which are not now; they may be taken, but reach no student. Where students may
    leave, ``info["present"]`` says whether this one has not.

    ``reset`` seats the next student of the split; ``reset(seed=s)`` starts again with the first.
    ``reset(options={"students": [i], "trial": t})`` seats student i for its trial t. Student i of
    seed s is the same, with the same luck, in :class:`tutor_envs.vector_env.TutoringVectorEnv`.

    >>> import gymnasium, tutor_envs
    >>> env = gymnasium.make("tutor_sim/BKT-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, int(env.action_space.n)
    ((20,), 12)
    >>> observation, reward, terminated, truncated, info = env.step(0)
    >>> terminated, truncated
    (False, False)
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        *,
        student: str | None = None,
        population: Population | Mapping[str, Any] | str | Path | None = None,
        variant: str | None = None,
        task: TeachingTask | Mapping[str, Any] | None = None,
        split: str = "train",
        seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Describe the students and the task.

        Args:
            student: name of the student model that the population must have; None: any.
            population: a population, its content as a mapping, the path of a YAML file, or None for
                the one that ships with the student model.
            variant: named (shifted) variant of the population.
            task: a task, or its content as a mapping; None: three lessons of 15 actions.
            split: ``train``, ``validation`` or ``test``; they share no student.
            seed: of the students and their luck until ``reset(seed=...)``; None: a fresh one.
            render_mode: ``ansi``, ``rgb_array`` or None.

        Raises:
            ValueError: an argument is invalid (the text names it).
            OSError: the population file cannot be read.
        """
        self.render_mode = render_mode
        self._session = Session(
            resolve_population(student, population, variant),
            resolve_task(task),
            split,
            n_seats=1,
            render_mode=render_mode,
        )
        if seed is not None:
            self._session.seed(seed)
        self.layout = self._session.layout
        self.observation_space = self._session.observation_space
        self.action_space = self._session.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin a trial with the next student.

        Args:
            seed: start again with the first student of the split, and this seed.
            options: ``students`` ``[index]`` and ``trial``; see the class.

        Returns:
            The observation, float32 ``(size,)``, and the info.

        Raises:
            ValueError: unknown option, or a student that cannot be seated.
        """
        super().reset(seed=seed)
        if seed is not None or not self._session.seeded:
            self._session.seed(int(self.np_random.integers(2**63)) if seed is None else seed)
        observations = self._session.reset(options)
        return observations[0], self._info()

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Teach one action.

        Args:
            action: in ``[0, A)``.

        Returns:
            Observation, reward, terminated (the trial ended, or the student left), truncated
            (never), info.

        Raises:
            gymnasium.error.ResetNeeded: no trial is running.
            ValueError: there is no such action.
        """
        step = self._session.step([action])
        reward = float(step.rewards[0])
        return step.observations[0], reward, step.trial_ended, False, self._info()

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {}
        if self._session.masked:
            info["action_mask"] = self.action_masks().astype(np.int8)
        if self._session.present is not None:
            info["present"] = bool(self._session.present[0])
        return info

    def action_masks(self) -> NDArray[np.bool_]:
        """Actions that are allowed now, bool ``(A,)``, as sb3-contrib's maskable algorithms ask."""
        masks: NDArray[np.bool_] = self._session.action_masks()[0]
        return masks

    @property
    def truth(self) -> Truth:
        """Privileged: the hidden truth now (a batch of one), for evaluation and oracles only.

        Raises:
            gymnasium.error.ResetNeeded: no student is seated yet.
        """
        return self._session.truth

    def render(self) -> str | NDArray[np.uint8] | None:
        """The lesson so far: text (``ansi``), an image (``rgb_array``), or None.

        Raises:
            gymnasium.error.ResetNeeded: no student is seated yet.
        """
        frames = self._session.render()
        return None if frames is None else frames[0]
