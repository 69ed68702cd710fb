"""Best fixed sequence: the best tutor that ignores the student's answers, found by search.

The lessons of a trial are alike for such a tutor (same latents, a new topic, nothing observed is
used), so the best sequence for one lesson, taught in every lesson, is also best for the trial.

A sequence is scored by teaching it to ``n_students`` training students in the ordinary classroom.
All sequences meet the same students with the same luck (common random numbers), and a post-test is
scored by its expected changes (where the student model knows them), so small differences show.

* With at most 4,096 possible sequences all are tried: the result is the best for these students.
* Otherwise coordinate ascent from several starts (round-robin, skill by skill, random ones): for
  each position in turn the best action given the others, until nothing improves; then the best
  start is improved by moving one action to another place, or exchanging two. The result is a local
  optimum in all these moves, not more; and the search stops early, with the best so far, when it
  has spent its budget of simulated steps.

The sequence may be slightly overfitted to the training students, never to those it is tested on.
The exact open-loop optimum of a small finite family is the planner's job.

Where the next action of a sequence is not legal for a student, the next legal index is taken
instead, in the search as in teaching.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from tutor_agents.choice import planned_or_next
from tutor_agents.tutor import Trial
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import StudentModel
from tutor_envs.task import Reward, TeachingTask

_MAX_EXHAUSTIVE = 4096
_BATCH_ROWS = 2**16
"""(sequence, student) pairs simulated at once."""


class FixedSequence(NamedTuple):
    """A lesson's actions and what they are worth.

    Attributes:
        actions: indices of the T teaching actions of a lesson.
        score: mean score of a lesson on the students of the search.
    """

    actions: tuple[int, ...]
    score: float


class BestFixedTutor:
    """Teaches one sequence of actions in every lesson, whatever the student answers."""

    name = "best_fixed"

    def __init__(self, sequence: FixedSequence, *, device: torch.device | str = "cpu") -> None:
        """Teach this sequence; see :func:`search_sequence`."""
        self.sequence = sequence
        self._actions = torch.tensor(sequence.actions, device=device)

    def begin_trial(self, trial: Trial) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> Tensor:
        """The sequence's action at this step (or the next legal one), int64 ``(n,)``."""
        planned = self._actions[observation.step].expand(len(observation.action))
        return planned_or_next(planned, observation.legal)

    def observe(self, action: Tensor, observation: Observation) -> None:
        """Nothing is learned."""


def search_sequence(
    population: Population,
    task: TeachingTask,
    *,
    seed: int = 0,
    n_students: int = 512,
    n_starts: int = 4,
    max_student_steps: int = 10_000_000,
    device: torch.device | str = "cpu",
) -> FixedSequence:
    """Search the best fixed sequence of a lesson; see the module's text.

    Args:
        population: whose training students are taught.
        task: length and score of a lesson.
        seed: of students, their luck, and random starts.
        n_students: training students that score a sequence.
        n_starts: starts of the coordinate ascent.
        max_student_steps: budget; a step of one student taught one sequence counts as one.
        device: where to simulate.
    """
    model = population.student_model
    trainer = _Trainer(population, task, seed, n_students, device, max_student_steps)
    if model.n_actions**task.n_steps <= _MAX_EXHAUSTIVE:
        product = itertools.product(range(model.n_actions), repeat=task.n_steps)
        sequences = torch.tensor(list(product))
        scores = trainer.scores(sequences)
    else:
        sequences = _starts(model, task.n_steps, n_starts, seed)
        sequences, scores = _coordinate_ascent(trainer, sequences, trainer.scores(sequences))
        first = int(scores.argmax())
        sequences, scores = _polish(
            trainer, sequences[first : first + 1], scores[first : first + 1]
        )
    best = int(scores.argmax())
    return FixedSequence(tuple(sequences[best].tolist()), float(scores[best]))


class _Trainer:
    """Scores sequences by simulation, within a budget."""

    def __init__(
        self,
        population: Population,
        task: TeachingTask,
        seed: int,
        n_students: int,
        device: torch.device | str,
        budget: int,
    ) -> None:
        score = task.reward.score
        expected = score == "post_test" and population.student_model.has_expected_gain
        reward = Reward(score=score, when="step", expected=expected)
        reward = reward.model_copy(update={"mastery_threshold": task.reward.mastery_threshold})
        lesson = TeachingTask(n_lessons=1, n_steps=task.n_steps, reward=reward)
        self._classroom = Classroom(population, lesson, seed=seed, device=device)
        self._students = student_indices(Split.TRAIN, n_students)
        self._budget = budget
        self.n_actions = population.student_model.n_actions

    @property
    def spent(self) -> bool:
        """The budget is used up."""
        return self._budget <= 0

    def scores(self, sequences: Tensor) -> Tensor:
        """Mean score of a lesson with each of these sequences, ``(S, T)`` -> float64 ``(S,)``."""
        self._budget -= sequences.numel() * len(self._students)
        at_once = max(1, _BATCH_ROWS // len(self._students))
        return torch.cat([self._teach(part) for part in torch.split(sequences, at_once)])

    def _teach(self, sequences: Tensor) -> Tensor:
        n_students = len(self._students)
        observation = self._classroom.begin_trial(self._students, n_copies=len(sequences))
        actions = sequences.to(self._classroom.device).repeat_interleave(n_students, dim=0)
        score = torch.zeros(len(actions), dtype=torch.float64, device=actions.device)
        for planned in actions.unbind(-1):
            outcome = self._classroom.step(planned_or_next(planned, observation.legal))
            observation = outcome.observation
            score += outcome.reward
        return score.view(-1, n_students).mean(-1).cpu()


def _starts(model: StudentModel, n_steps: int, n_starts: int, seed: int) -> Tensor:
    """``(n_starts, T)``: round-robin, in equal blocks by index, then uniformly random ones."""
    n_actions = model.n_actions
    step = torch.arange(n_steps)
    u = uniforms(seed, torch.arange(n_starts), purpose=Purpose.TUTOR, n_lanes=n_steps)
    starts = (u.double() * n_actions).long()
    starts[0] = step % n_actions
    starts[1:2] = step * n_actions // n_steps
    return starts


def _coordinate_ascent(
    trainer: _Trainer, sequences: Tensor, scores: Tensor
) -> tuple[Tensor, Tensor]:
    """Improve every sequence, one position at a time, until none improves."""
    n_starts, n_steps = sequences.shape
    sequences, scores = sequences.clone(), scores.clone()
    unchanged = 0
    for step in itertools.cycle(range(n_steps)):
        if unchanged == n_steps or trainer.spent:
            break
        variants = sequences.repeat_interleave(trainer.n_actions, dim=0)
        variants[:, step] = torch.arange(trainer.n_actions).repeat(n_starts)
        tried = trainer.scores(variants).view(n_starts, trainer.n_actions)
        best, action = tried.max(-1)
        better = best > scores
        sequences[better, step] = action[better]
        scores = torch.where(better, best, scores)
        unchanged = 0 if bool(better.any()) else unchanged + 1
    return sequences, scores


def _polish(trainer: _Trainer, sequence: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Improve one sequence ``(1, T)`` by moves, exchanges and coordinate ascent in turn."""
    while not trainer.spent:
        neighbours = _neighbours(sequence[0])
        scores = trainer.scores(neighbours)
        best = int(scores.argmax())
        if not scores[best] > score[0]:
            break
        sequence, score = neighbours[best : best + 1], scores[best : best + 1]
        sequence, score = _coordinate_ascent(trainer, sequence, score)
    return sequence, score


def _neighbours(sequence: Tensor) -> Tensor:
    """Every sequence with one action moved elsewhere, or two exchanged; at least the sequence."""
    actions = sequence.tolist()
    found = {tuple(actions)}
    for i, j in itertools.permutations(range(len(actions)), 2):
        moved = actions[:i] + actions[i + 1 :]
        moved.insert(j, actions[i])
        exchanged = list(actions)
        exchanged[i], exchanged[j] = actions[j], actions[i]
        found |= {tuple(moved), tuple(exchanged)}
    return torch.tensor(sorted(found))
