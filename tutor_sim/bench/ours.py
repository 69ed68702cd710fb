"""Our own subjects: a classroom under random actions, and a learner's updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutor_agents.engine.actor_critic import ActorCritic
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.update import minibatches, new_students
from tutor_agents.rl2 import RL2Config
from tutor_envs.classroom import Classroom
from tutor_envs.executors import Executor, executing
from tutor_envs.population import Split, student_indices
from tutor_envs.population_files import load_population
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.bench.job import Work
from tutor_sim.learners import begin_learner
from tutor_sim.precision import MatmulPrecision, matmul_precision


def task_of(n_lessons: int, n_steps: int) -> TeachingTask:
    """The benchmarks' task: mastery that is gained, paid as it arises."""
    reward = Reward(score="mastery_gain", when="step")
    return TeachingTask(n_lessons=n_lessons, n_steps=n_steps, reward=reward)


class Simulate:
    """Whole trials of new students under random actions."""

    def __init__(
        self,
        population: str,
        n_students: int,
        n_lessons: int,
        n_steps: int,
        executor: Executor = "eager",
    ) -> None:
        """Set up the classroom; ``population`` is a file."""
        students = load_population(Path(population))
        longest = students.student_model.max_lesson_steps
        task = task_of(n_lessons, n_steps if longest is None else min(longest, n_steps))
        with executing(executor):
            self._classroom = Classroom(students, task)
        self._n_students = n_students

    def prepare(self, round_: int) -> None:
        """Draw students and actions."""
        n, task = self._n_students, self._classroom.task
        self._students = student_indices(Split.TRAIN, n, round_ * n)
        steps = torch.arange(task.n_trial_steps).unsqueeze(-1)
        u = uniforms(0, self._students, purpose=Purpose.TUTOR, n_lanes=1, step=steps)
        self._actions = (u.squeeze(-1) * self._classroom.model.n_actions).long()

    @torch.no_grad()
    def work(self) -> Work:
        """One trial."""
        self._classroom.begin_trial(self._students)
        total = torch.zeros(self._n_students)
        for action in self._actions:
            total += self._classroom.step(action).reward
        return _work(self._actions.numel(), total / self._classroom.task.n_lessons)


class Train:
    """Updates of a learner."""

    def __init__(
        self,
        population: str,
        n_lessons: int,
        n_steps: int,
        learner: dict[str, Any],
        precision: MatmulPrecision = "highest",
        executor: Executor = "eager",
    ) -> None:
        """Build the learner; ``learner`` is its section of an experiment, ``population`` a file."""
        students, task = load_population(Path(population)), task_of(n_lessons, n_steps)
        with executing(executor):
            self._learner = begin_learner(learner, students, task, seed=0)
        self._n_lessons, self._precision = n_lessons, precision

    def prepare(self, round_: int) -> None:
        """Nothing: students belong to the work."""

    def work(self) -> Work:
        """One update."""
        with matmul_precision(self._precision):
            logs = self._learner.update()
        score = logs["train/return"] / self._n_lessons
        return Work(self._learner.steps_per_update, score, None)


class Passes:
    """What an update's networks do, forward and back: the rest of an update is overhead."""

    def __init__(
        self,
        population: str,
        n_lessons: int,
        n_steps: int,
        learner: dict[str, Any],
        precision: MatmulPrecision,
        executor: Executor,
    ) -> None:
        """Build the networks of RL², and let them teach once; arguments as of :class:`Train`."""
        students, task = load_population(Path(population)), task_of(n_lessons, n_steps)
        self._config = config = RL2Config.model_validate(learner)
        with executing(executor):
            classroom = Classroom(students, task)
        self._networks = ActorCritic(config, classroom, Privileged(classroom), task)
        self._students = new_students(0, config.n_trials, classroom.device)
        self._rollout = self._networks.roll_out(self._students)
        self._precision = precision

    def prepare(self, round_: int) -> None:
        """Nothing."""

    def work(self) -> Work:
        """Acting, values, and all minibatches; what comes out is not used."""
        inputs = self._rollout.inputs
        with matmul_precision(self._precision):
            with torch.no_grad():
                hidden, _ = self._networks.actor.sequence(inputs)
                hidden, _ = self._networks.actor.sequence(inputs)
                self._networks.critic(hidden, self._rollout.features)
            for index in minibatches(0, self._students, self._config):
                part = self._rollout.trials(index)
                hidden, logits = self._networks.actor.sequence(part.inputs)
                out = [logits, self._networks.critic(hidden, part.features)]
                torch.autograd.backward(out, [torch.ones_like(each) for each in out])
        return Work(inputs.token.numel())


def _work(steps: int, scores: Tensor) -> Work:
    """Scores are of a lesson's mean, one for each student."""
    return Work(steps, scores.mean().item(), (scores.std() / len(scores) ** 0.5).item())
