"""The side of a hosted student that faces the tutors: a batched student model over Python objects.

The state holds what can be seen of a student (mastery, post-test score, signals), and where to find
it: number of the cohort, row in it, and the clock (events of the lesson so far). These three are
multiples of 2**-60, which float32 holds exactly: a critic that standardises all hidden numbers sees
zeros.

Nothing but simulation is possible: the distribution of the next response is unknown, so there is no
belief, no plan and no expected gain.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar, NoReturn

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.doors.pool import Pool
from tutor_envs.doors.room import MASTERY, POST_TEST, PRESENT, RESPONSE, Door, Looks, Start
from tutor_envs.doors.worker import DoorPlan
from tutor_envs.student import Belief, Latents, State, StudentModel

_HANDLE = 2.0**-60
_N_LUCK = 4
_LUCK_STEPS = 2.0**24


class HostedStudent(StudentModel):
    """Students who are Python objects, one for each row; see the module's text."""

    reference: ClassVar[str]
    """Under which the class was loaded, and a worker can load it."""
    workers: int | None = Field(
        None,
        ge=0,
        description="processes that hold the students; 0: none; default: as many as CPUs for "
        "batches of 256 students and more, else none",
    )
    timeout_s: float = Field(
        10.0, gt=0, description="seconds for one step of one student (workers)"
    )

    # -- what a door writes -------------------------------------------------------------------
    @abstractmethod
    def _door(self) -> Door:
        """The door in this process."""

    @abstractmethod
    def _plan(self) -> DoorPlan:
        """How a worker makes the door."""

    # -- simulation ---------------------------------------------------------------------------
    @property
    def is_functional(self) -> bool:
        """No: a student object lives on, it cannot be copied or set back."""
        return False

    @property
    def n_start_uniforms(self) -> int:
        """Seed of the student's own generator."""
        return _N_LUCK

    @property
    def n_step_uniforms(self) -> int:
        """None: a student draws from its own generator."""
        return 0

    @cached_property
    def _pool(self) -> Pool:
        return Pool(
            self.reference,
            self._plan(),
            self._door(),
            workers=self.workers,
            timeout_s=self.timeout_s,
        )

    def opens_lesson(self, lesson: int) -> None:
        """Say which lesson of the trial, from 0, the next ``begin_lesson`` opens."""
        self._pool.lesson = lesson

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """A new object for every student; see ``opens_lesson``.

        Raises:
            StudentError: a student failed.
        """
        values = {name: latents[name].tolist() for name in self.latent_specs}
        luck = (uniforms.double() * _LUCK_STEPS).long().tolist()
        starts = [
            Start({name: v[row] for name, v in values.items()}, tuple(numbers), self._pool.lesson)
            for row, numbers in enumerate(luck)
        ]
        cohort, looks = self._pool.begin(starts)
        row = torch.arange(len(starts), device=uniforms.device)
        handle = torch.stack([torch.full_like(row, cohort), row, torch.zeros_like(row)], -1)
        return self._state(handle, looks, latents["ability"])

    def step(
        self, latents: Latents, state: State, action: Tensor, uniforms: Tensor
    ) -> tuple[State, Tensor]:
        """Teach every student.

        Raises:
            StudentError: a student failed.
        """
        after, looks = self._live(latents, state, action.tolist())
        return after, torch.from_numpy(looks[:, RESPONSE]).long().to(action.device)

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Tell every student that time passes."""
        return self._live(latents, state, [float(d) for d in days.tolist()])[0]

    def _live(self, latents: Latents, state: State, events: list[Any]) -> tuple[State, Looks]:
        handle = (state["handle"].double() / _HANDLE).long()
        cohort, rows, clocks = handle.cpu().numpy().T
        if (cohort != cohort[0]).any():
            raise ValueError("a batch of hosted students must be of one lesson")
        looks = self._pool.live(int(cohort[0]), rows, clocks, events)
        later = torch.tensor([0, 0, 1], device=handle.device)
        return self._state(handle + later, looks, latents["ability"]), looks

    def _state(self, handle: Tensor, looks: Looks, like: Tensor) -> State:
        seen = torch.from_numpy(looks).to(like)
        after_mastery = MASTERY + len(self.skills)
        state = {
            "handle": (handle.double() * _HANDLE).float(),
            "post_test": seen[:, POST_TEST],
            "mastery": seen[:, MASTERY:after_mastery],
        }
        if self.signal_names:
            state["signals"] = seen[:, after_mastery:]
        if self.may_end:
            state["present"] = seen[:, PRESENT] > 0
        return state

    @property
    def may_end(self) -> bool:
        """A lesson may be over for a student before its last step."""
        return False

    def reachable(self, state: State | Belief) -> Tensor | None:
        """Those whose lesson is not over."""
        return state["present"] if self.may_end else None

    def signals(self, latents: Latents, state: State) -> Tensor | None:
        """As seen after the last action."""
        return state["signals"] if self.signal_names else None

    def mastery(self, latents: Latents, state: State) -> Tensor:
        """As the student says."""
        return state["mastery"]

    def post_test(self, latents: Latents, state: State) -> Tensor:
        """As the student says."""
        return state["post_test"]

    # -- no belief ----------------------------------------------------------------------------
    @property
    def has_expected_gain(self) -> bool:
        """No."""
        return False

    @property
    def belief_is_exact(self) -> bool:
        """No: there is none."""
        return False

    def _no_belief(self) -> NoReturn:
        raise ValueError(
            f"student model `{self.name}` is a Python object that can only be simulated: there is "
            "no belief, prediction or expected gain; tutors that need one cannot teach it"
        )

    def begin_belief(self, latents: Latents) -> Belief:
        """There is none.

        Raises:
            ValueError: always.
        """
        self._no_belief()

    def predict(self, latents: Latents, belief: Belief, action: Tensor) -> Tensor:
        """Unknown.

        Raises:
            ValueError: always.
        """
        self._no_belief()

    def update(self, latents: Latents, belief: Belief, action: Tensor, response: Tensor) -> Belief:
        """There is no belief.

        Raises:
            ValueError: always.
        """
        self._no_belief()

    def expected_gain(self, latents: Latents, state: State, action: Tensor) -> Tensor:
        """Unknown.

        Raises:
            ValueError: always.
        """
        self._no_belief()
