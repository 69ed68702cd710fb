"""Training runs: update, validate, save, and go on after anything.

At every validation the greedy tutor teaches the same validation students; the checkpoint with the
best score is kept for the end. The tutor of that checkpoint is what a run yields: selected on
validation students, it is scored on test students that it never met.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console

from tutor_agents.engine import parallel
from tutor_envs.executors import executing
from tutor_envs.population import Split
from tutor_sim.checkpoint import (
    Best,
    Manifest,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Evaluation, Role, evaluate
from tutor_sim.figures import LearningPoint, action_heatmap, adaptation_curve
from tutor_sim.learners import LearnedTutor, Learner, check_shared, export_tutor, learner_kind
from tutor_sim.metrics import MetricsLog, read_metrics
from tutor_sim.precision import matmul_precision
from tutor_sim.progress import Pace, training_progress
from tutor_sim.runs import Run
from tutor_sim.stopping import Interrupted, StopRequest
from tutor_sim.tensorboard import Board

N_PICTURES = 5
"""Validations of a run whose pictures go to TensorBoard, evenly spread."""


class Trained(NamedTuple):
    """What a training run yields.

    Attributes:
        tutor: the one of the best checkpoint.
        updates_done: of that checkpoint.
        teaching_steps: teaching actions of the whole training.
        validation_score: its score with the validation students.
        learning_curve: every validation.
        elapsed_s: seconds of training, all sessions together.
        cpu_s: CPU-seconds of training, all threads and sessions together.
    """

    tutor: LearnedTutor
    updates_done: int
    teaching_steps: int
    validation_score: float
    learning_curve: tuple[LearningPoint, ...]
    elapsed_s: float
    cpu_s: float


def train(run: Run, *, device: str, console: Console) -> Trained:
    """Train what the run's experiment says, from its last checkpoint on if there is one.

    Args:
        run: the run folder; everything is written there.
        device: of PyTorch.
        console: where progress is shown.

    Raises:
        Interrupted: the user stopped it; a checkpoint was written.
        SaveError: something could not be written; the checkpoints before are intact.
        ValueError: the experiment trains nothing, or a checkpoint cannot be used.
    """
    session = _Session(run, device)
    learner = session.learner
    if session.saved >= learner.n_updates:
        return session.result()
    pace = Pace(learner.n_updates, learner.updates_done, learner.steps_per_update)
    session.begin()
    with (
        contextlib.closing(session),
        StopRequest() as stop,
        training_progress(console, run.experiment.name, pace) as progress,
    ):
        session.save_untrained()
        progress.show(learner.updates_done, session.last_score)
        while learner.updates_done < learner.n_updates:
            stops = session.update(asked=lambda: stop.asked)
            progress.show(learner.updates_done, session.last_score)
            if stops:
                raise Interrupted(
                    f"Stopped after update {learner.updates_done} of {learner.n_updates}; "
                    "a checkpoint was written."
                )
        return session.result()


def take_part(run: Run, *, device: str) -> None:
    """Train beside the first process, which is in :func:`train` and writes.

    Raises:
        Interrupted: the user stopped it.
        ValueError: the experiment trains nothing, or a checkpoint cannot be used.
    """
    started_s = time.process_time()
    learner, _ = _begin(run, device)
    with StopRequest() as stop:
        while learner.updates_done < learner.n_updates:
            _update(learner, run.experiment)
            parallel.total(time.process_time() - started_s)
            if parallel.total(stop.asked):
                raise Interrupted(f"Stopped after update {learner.updates_done}.")


def make_learner(experiment: Experiment, device: str) -> Learner:
    """The experiment's learner before its first update.

    Raises:
        ValueError: the experiment trains nothing, or several things, or what cannot be trained by
            so many processes.
    """
    if experiment.algorithm is None:
        raise ValueError(f"experiment `{experiment.name}` has no `learner`: nothing to train")
    make = learner_kind(experiment.algorithm).make
    taught = experiment.population, experiment.task
    with executing(experiment.executor):
        learner = make(experiment.learner, *taught, seed=experiment.seed, device=device)
    if parallel.size() > 1:
        check_shared(learner, experiment.algorithm)
    return learner


def restore(run: Run, learner: Learner, updates_done: int) -> Manifest:
    """Bring a learner to one of the run's checkpoints.

    Raises:
        ValueError: the checkpoint cannot be used.
        OSError: it cannot be read.
    """
    manifest, tensors = load_checkpoint(
        run.checkpoints,
        updates_done,
        algorithm=str(run.experiment.algorithm),
        fingerprint=run.experiment.fingerprint,
    )
    learner.restore(tensors, manifest.counters)
    return manifest


def load_best(run: Run, device: str) -> LearnedTutor:
    """The tutor of the run's best checkpoint so far, by validation.

    Raises:
        ValueError: there is no checkpoint yet, or it cannot be used.
        OSError: it cannot be read.
    """
    learner = make_learner(run.experiment, device)
    saved = list_checkpoints(run.checkpoints)
    if not saved:
        raise ValueError(f"{run.folder}: no checkpoint yet; `tutor-sim resume` starts the training")
    best = restore(run, learner, saved[-1]).best
    if best is not None and best.updates_done != saved[-1]:
        restore(run, learner, best.updates_done)
    return learner.tutor()


def _begin(run: Run, device: str) -> tuple[Learner, Manifest | None]:
    """The run's learner at its last checkpoint; None: there is none yet."""
    learner = make_learner(run.experiment, device)
    saved = parallel.from_first(lambda: list_checkpoints(run.checkpoints))
    return learner, restore(run, learner, saved[-1]) if saved else None


def _update(learner: Learner, experiment: Experiment) -> dict[str, float]:
    with matmul_precision(experiment.matmul_precision):
        return learner.update()


class _Session:
    """One stretch of training, from a checkpoint (or nothing) to a stop or the end."""

    def __init__(self, run: Run, device: str) -> None:
        self.started_s, self.cpu_started_s = time.monotonic(), time.process_time()
        self.run, self.device, self.experiment = run, device, run.experiment
        self.learner, manifest = _begin(run, device)
        self.best: Best | None = None
        self.last_score: float | None = None
        self.saved = -1
        self.elapsed_before_s = self.cpu_before_s = self.cpu_of_others_s = 0.0
        if manifest is not None:
            self.saved, self.best = self.learner.updates_done, manifest.best
            self.elapsed_before_s, self.cpu_before_s = manifest.elapsed_s, manifest.cpu_s
        self.spent_s = (self.elapsed_before_s, self.cpu_before_s)

    @property
    def elapsed_s(self) -> float:
        return self.elapsed_before_s + time.monotonic() - self.started_s

    @property
    def cpu_s(self) -> float:
        return self.cpu_before_s + self.cpu_of_others_s + time.process_time() - self.cpu_started_s

    @property
    def teaching_steps(self) -> int:
        return self.learner.updates_done * self.learner.steps_per_update

    # -- training ----------------------------------------------------------------------------------
    def begin(self) -> None:
        """Open the logs where the checkpoint left them."""
        from_step = self.teaching_steps + 1 if self.saved >= 0 else 0
        self.metrics = MetricsLog(self.run.metrics, keep_updates=self.saved)
        self.board = Board(self.run.tensorboard, from_step=from_step)

    def save_untrained(self) -> None:
        """Before the first update: validate and save the untrained tutor."""
        if self.saved < 0:
            self.board.text("config", self.experiment.to_yaml())
            self._log(self._validate())
            self._save()

    def update(self, asked: Callable[[], bool]) -> bool:
        """One update; validation and a checkpoint where they are due.

        Args:
            asked: whether the user wants to stop.

        Returns:
            Whether to stop, in whichever process the user asked for it; a checkpoint was written.
        """
        learner, experiment = self.learner, self.experiment
        values = _update(learner, experiment)
        mine_s = time.process_time() - self.cpu_started_s
        self.cpu_of_others_s = parallel.total(mine_s) - mine_s
        values["perf/elapsed_s"], values["perf/cpu_s"] = self.elapsed_s, self.cpu_s
        last = learner.updates_done == learner.n_updates
        if last or learner.updates_done % experiment.evaluation.every_updates == 0:
            values |= self._validate()
        self._log(values)
        is_best = self.best is not None and self.best.updates_done == learner.updates_done
        due = learner.updates_done % experiment.checkpoint.every_updates == 0
        stops = parallel.total(asked()) > 0
        if last or is_best or due or stops:
            self._save()
        return stops

    def _validate(self) -> dict[str, float]:
        settings = self.experiment.evaluation
        evaluation = evaluate(
            self.learner.tutor(),
            self.experiment.population,
            self.experiment.task,
            n_students=settings.validation_students,
            seed=settings.seed,
            split=Split.VALIDATION,
            role=Role.LEARNED,
            device=self.device,
            delays_days=(),
        )
        score = self.last_score = evaluation.score
        updates_done = self.learner.updates_done
        if self.best is None or score > self.best.score:
            self.best = Best(updates_done=updates_done, score=score)
        if self._picture_is_due():
            self._draw(evaluation)
        lessons = evaluation.scores.mean(axis=0).tolist()
        return {
            "eval/validation_score": score,
            "eval/best_validation_score": self.best.score,
            **{f"adaptation/lesson_{i}": value for i, value in enumerate(lessons, start=1)},
            **({"adaptation/gain": lessons[-1] - lessons[0]} if len(lessons) > 1 else {}),
        }

    def _picture_is_due(self) -> bool:
        """At the first validation in each part of the training, and at the end."""
        done, total = self.learner.updates_done, self.learner.n_updates
        before = done - self.experiment.evaluation.every_updates
        parts = N_PICTURES - 1
        return before < 0 or done == total or done * parts // total > before * parts // total

    def _draw(self, evaluation: Evaluation) -> None:
        step = self.teaching_steps
        self.board.picture("adaptation/validation_curve", adaptation_curve([evaluation]), step)
        self.board.picture("adaptation/validation_actions", action_heatmap(evaluation), step)

    def _log(self, values: dict[str, float]) -> None:
        self.metrics.append(self.learner.updates_done, self.teaching_steps, values)
        self.board.scalars(values, self.teaching_steps)

    def _save(self) -> None:
        """Save, the logs first: a checkpoint never knows more than they do."""
        self.board.flush()
        self.spent_s = elapsed_s, cpu_s = self.elapsed_s, self.cpu_s
        save_checkpoint(
            self.run.checkpoints,
            algorithm=str(self.experiment.algorithm),
            fingerprint=self.experiment.fingerprint,
            tensors=self.learner.tensors(),
            counters=self.learner.counters(),
            best=self.best,
            elapsed_s=elapsed_s,
            cpu_s=cpu_s,
        )
        self.saved = self.learner.updates_done
        keep = self.experiment.checkpoint.keep
        prune_checkpoints(self.run.checkpoints, keep=keep, best=self.best)

    def close(self) -> None:
        """Close the logs."""
        self.metrics.close()
        self.board.close()

    def result(self) -> Trained:
        """The best tutor, written to the run's folder for taking away."""
        assert self.best is not None
        restore(self.run, self.learner, self.best.updates_done)
        tutor = self.learner.tutor()
        export_tutor(tutor, self.run.tutor)
        rows = [row for row in read_metrics(self.run.metrics) if "eval/validation_score" in row]
        return Trained(
            tutor=tutor,
            updates_done=self.best.updates_done,
            teaching_steps=self.learner.n_updates * self.learner.steps_per_update,
            validation_score=self.best.score,
            learning_curve=tuple(
                LearningPoint(
                    row["teaching_steps"],
                    row["eval/validation_score"],
                    cpu_s=row.get("perf/cpu_s", 0.0),
                )
                for row in rows
            ),
            elapsed_s=self.spent_s[0],
            cpu_s=self.spent_s[1],
        )
