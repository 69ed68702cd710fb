"""Whole trials, recorded: what a tutor could see, and in another object what is hidden from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tutor_agents.tutor import Oracle, Predicts, Remembers, Trial, Tutor
from tutor_agents.varibad.tutor import Profile, VariBADTutor
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.student import CORRECT, StudentModel
from tutor_envs.task import TeachingTask
from tutor_sim.evaluation import scored_task


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What a tutor could see of n students in T teaching actions, and nothing else.

    Attributes:
        model: lends the names of actions, skills and responses.
        task: lessons and steps.
        actions: int64 ``(T, n)``, what was taught.
        observations: T + 1: before the first action, and after each.
    """

    model: StudentModel
    task: TeachingTask
    actions: Tensor
    observations: tuple[Observation, ...]

    @property
    def n_students(self) -> int:
        """How many students."""
        return self.actions.shape[1]

    @property
    def responses(self) -> Tensor:
        """What they answered, int64 ``(T, n)``; R is no response."""
        return torch.stack([observation.response for observation in self.observations[1:]])

    def lessons(self, n_lessons: int) -> Seen:
        """The same, up to the end of so many lessons."""
        n_steps = n_lessons * self.task.n_steps
        return dataclasses.replace(
            self, actions=self.actions[:n_steps], observations=self.observations[: n_steps + 1]
        )

    def students(self, chosen: Tensor) -> Seen:
        """The same of some students, by their place, int64."""
        return dataclasses.replace(
            self,
            actions=self.actions[:, chosen],
            observations=tuple(_of_students(o, chosen) for o in self.observations),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Hidden:
    """What no tutor can see.

    Attributes:
        latents: name -> ``(n, ...)``; ``type`` among them.
        mastery_before: ``(T, n, K)`` of each skill before each action, on the lesson's topic.
        mastery_after: ``(T, n, K)`` right after it.
    """

    latents: dict[str, Tensor]
    mastery_before: Tensor
    mastery_after: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """One trial with every student.

    Attributes:
        tutor: its name.
        seen: what the tutor could see.
        hidden: what it could not.
        memory: ``(T, n, H)``, what it remembered when it chose each action: action t (from 0) is
            chosen after t answers. None: it cannot be read.
        p_correct: ``(T, n)``, how probable it thought a correct answer to what it chose. None: it
            does not tell.
        profile: who the students are, in the tutor's own words at the trial's end. None: it has
            no words for it.
    """

    tutor: str
    seen: Seen
    hidden: Hidden
    memory: Tensor | None
    p_correct: Tensor | None
    profile: Profile | None = None


def check_remembers(tutor: Tutor) -> Remembers:
    """The tutor, if its memory can be read.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(tutor, Remembers):
        raise ValueError(
            f"tutor `{tutor.name}` has no memory that can be read: probes need a method "
            "`memory()`, which tutors with a recurrent memory or a learned belief have"
        )
    return tutor


@torch.no_grad()
def record(
    tutor: Tutor,
    population: Population,
    task: TeachingTask,
    *,
    n_students: int,
    seed: int,
    first_student: int = 0,
    with_memory: bool = False,
    device: torch.device | str = "cpu",
) -> Trace:
    """Let a tutor teach test students, the same with the same luck as an evaluation's.

    Args:
        tutor: any.
        population: whose students.
        task: lessons and steps.
        n_students: how many.
        seed: of the students and their luck.
        first_student: place of the first one in the test split.
        with_memory: keep what the tutor remembers.
        device: where the students are simulated; what is recorded lies on the CPU.

    Raises:
        ValueError: the memory is wanted and cannot be read.
    """
    classroom = Classroom(population, scored_task(task), seed=seed, device=device)
    students = student_indices(Split.TEST, n_students, first_student).to(classroom.device)
    observation = classroom.begin_trial(students)
    if isinstance(tutor, Oracle):
        tutor.inform(classroom)
    tutor.begin_trial(Trial(students, seed, 0))
    remembers = check_remembers(tutor) if with_memory else None
    latents = {name: value.cpu() for name, value in classroom.truth.latents.items()}
    observations = [_on_cpu(observation)]
    actions, before, after, memory, p_correct = [], [], [], [], []
    for _ in range(task.n_trial_steps):
        before.append(classroom.truth.mastery.cpu())
        action = tutor.act(observation)
        if remembers is not None:
            memory.append(remembers.memory().float().cpu().clone())
        p = tutor.p_responses() if isinstance(tutor, Predicts) else None
        if p is not None:
            p_correct.append(p[torch.arange(n_students), action, CORRECT].cpu())
        outcome = classroom.step(action)
        observation = outcome.observation
        tutor.observe(action, observation)
        actions.append(action.cpu())
        observations.append(_on_cpu(observation))
        after.append(outcome.truth.mastery.cpu())
    return Trace(
        tutor=tutor.name,
        seen=Seen(population.student_model, task, torch.stack(actions), tuple(observations)),
        hidden=Hidden(latents, torch.stack(before), torch.stack(after)),
        memory=torch.stack(memory) if memory else None,
        p_correct=torch.stack(p_correct) if p_correct else None,
        profile=tutor.profile() if isinstance(tutor, VariBADTutor) else None,
    )


def _on_cpu(observation: Observation) -> Observation:
    return _mapped(observation, Tensor.cpu)


def _of_students(observation: Observation, chosen: Tensor) -> Observation:
    return _mapped(observation, lambda value: value[chosen])


def _mapped(observation: Observation, change: Callable[[Tensor], Tensor]) -> Observation:
    """The observation with every tensor changed."""
    values: dict[str, Any] = observation._asdict()
    tensors = {name: change(v) for name, v in values.items() if isinstance(v, Tensor)}
    return Observation(**values | tensors)
