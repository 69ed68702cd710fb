"""The tutor protocol: anything that chooses teaching actions.

A plug-in needs no import from here: the protocol is structural. One evaluator serves learned,
heuristic, planning and oracle tutors alike.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from tutor_envs.classroom import Classroom, Observation


class Trial(NamedTuple):
    """What a tutor is told when a trial begins.

    Attributes:
        students: int64 ``(n,)`` indices; they address the tutor's own random draws
            (``Purpose.TUTOR``) and say nothing about the students.
        seed: the experiment's seed.
        trial: which trial with these students.
    """

    students: Tensor
    seed: int
    trial: int


class CannotTeach(ValueError):
    """A tutor of this kind cannot teach these students, or not for this task; the text says why."""


@runtime_checkable
class Tutor(Protocol):
    """Chooses teaching actions from observable signals alone."""

    @property
    def name(self) -> str:
        """How tables call this tutor."""
        ...

    def begin_trial(self, trial: Trial) -> None:
        """Forget the students before and meet these."""
        ...

    def act(self, observation: Observation) -> Tensor:
        """The next teaching action for every student, int64 ``(n,)``; must be legal."""
        ...

    def observe(self, action: Tensor, observation: Observation) -> None:
        """What came of ``action``: called after every step, the last of the trial too."""
        ...


@runtime_checkable
class Oracle(Tutor, Protocol):
    """A tutor that reads the hidden truth: an upper reference, never a fair competitor."""

    def inform(self, classroom: Classroom) -> None:
        """Given the classroom (its ``truth``) before each trial begins."""
        ...


@runtime_checkable
class Remembers(Tutor, Protocol):
    """A tutor whose memory can be read, to ask what it knows of its students."""

    def memory(self) -> Tensor:
        """What it holds of each student, float ``(n, H)``: after ``act``, of all answers so far.

        Raises:
            ValueError: it holds nothing after all.
        """
        ...


@runtime_checkable
class Predicts(Tutor, Protocol):
    """A tutor that tells how it expects its students to answer."""

    def p_responses(self) -> Tensor | None:
        """``(n, A, R)``: after ``act``, the probability of each response to every action.

        None: it was not trained to tell.
        """
        ...
