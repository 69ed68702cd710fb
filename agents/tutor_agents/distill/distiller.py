"""The update of distillation: teach a batch by mixed behaviour, learn the teacher's actions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tutor_agents.distill.behaviour import STUDENT, MixedBehaviour, who_teaches
from tutor_agents.distill.config import Distillation
from tutor_agents.distill.teacher import TIE, BayesTeacher, Teacher, check_teacher, make_teacher
from tutor_agents.engine import parallel
from tutor_agents.engine.networks import Policy
from tutor_agents.engine.ppo import masked_logits, mean_where
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout, roll_out
from tutor_agents.engine.shared_rollout import whole
from tutor_agents.engine.update import (
    make_adam,
    minibatches,
    set_learning_rate,
    take_step,
)
from tutor_envs.classroom import Classroom
from tutor_envs.task import TeachingTask

MoreLoss = Callable[[Tensor, Rollout, Tensor], tuple[Tensor, dict[str, Tensor]]]
"""Loss so far, trials, what the memory holds -> loss, what to log.

``present`` of the trials says which steps the student policy itself taught.
"""


def best_set_cross_entropy(
    log_probabilities: Tensor, losses: Tensor, there: Tensor | None = None
) -> Tensor:
    """``-E[log sum_{a best} pi(a)]``: cross-entropy to the set of the best actions.

    With one best action it is the cross-entropy to that action (DPT: Lee et al. 2023, arXiv
    2306.14892, eq. 1). Where several are equally good the policy may prefer any of them: the
    gradient by the logits is ``pi(a) - pi(a | best)``, zero when all probability is on the set.

    Args:
        log_probabilities: ``(T, N, A)`` of the policy.
        losses: ``(T, N, A)`` what each action loses; below ``TIE`` it is one of the best.
        there: bool ``(T, N)``, steps that count; None: all.
    """
    best = log_probabilities.masked_fill(losses >= TIE, -1e9)
    return -mean_where(best.logsumexp(-1), there)


class Distiller:
    """Brings an actor to do as a teacher does; shared by distillation and the warm start."""

    def __init__(
        self,
        config: Distillation,
        actor: Policy,
        networks: nn.Module,
        classroom: Classroom,
        task: TeachingTask,
        privileged: Privileged,
        *,
        more_loss: MoreLoss | None = None,
        with_features: bool = False,
    ) -> None:
        """Prepare; the teacher is made when it is first needed.

        Args:
            config: of distillation.
            actor: the student policy.
            networks: all that is trained, the actor among it.
            classroom: where the students are taught.
            task: what the teacher teaches for.
            privileged: reads what is hidden, for the critic.
            more_loss: what else is to be learned from the same trials.
            with_features: it needs the privileged features.

        Raises:
            ValueError: the teacher cannot teach these students.
        """
        check_teacher(config.teacher, classroom.population, task)
        self.config = config
        self._actor, self._networks = actor, networks
        self._more_loss, self._with_features = more_loss, with_features
        self._classroom, self._task, self._privileged = classroom, task, privileged
        self.adam = make_adam(networks.parameters(), config.learning_rate)
        self._teacher: Teacher | None = None

    @property
    def optimizer_steps_per_update(self) -> int:
        """Steps of Adam in an update."""
        return self.config.epochs * self.config.minibatches

    def update(self, students: Tensor, remaining: float) -> dict[str, float]:
        """Teach these students and learn from it.

        Args:
            students: int64 ``(N,)`` training students.
            remaining: share of the distillation that lies ahead, in (0, 1].

        Returns:
            What to log.
        """
        learning_rate = self.config.learning_rate * remaining
        set_learning_rate(self.adam, learning_rate)
        who = who_teaches(self._classroom.seed, students, self.config.behaviour)
        rollout, losses = self._roll_out(students, who)
        logs = self._learn(rollout, losses, students, who == STUDENT)
        logs |= self._of_student(rollout, losses, who == STUDENT)
        numbers = {name: value.item() for name, value in logs.items()}
        numbers["train/learning_rate"] = learning_rate
        if isinstance(self._teacher, BayesTeacher):
            numbers["perf/planning_s"] = self._teacher.planning_s
        return numbers

    # -- inside -------------------------------------------------------------------------------
    def _roll_out(self, students: Tensor, who: Tensor) -> tuple[Rollout, Tensor]:
        if self._teacher is None:
            self._teacher = make_teacher(self.config.teacher, self._classroom, self._task)
        mine = parallel.share(students)
        behaviour = MixedBehaviour(self._actor, self._teacher, parallel.share(who), mine)
        rollout = roll_out(
            self._classroom,
            behaviour,
            mine,
            self._privileged,
            with_features=self._with_features,
        )
        return whole(rollout), parallel.gathered(behaviour.losses, dim=1)

    def _learn(
        self, rollout: Rollout, losses: Tensor, students: Tensor, by_student: Tensor
    ) -> dict[str, Tensor]:
        logs: dict[str, Tensor] = {}
        for index in minibatches(self._classroom.seed, students, self.config):
            part = rollout.trials(index)
            hidden, logits = self._actor.sequence(part.inputs)
            log_probabilities = torch.log_softmax(masked_logits(logits, part.legal), dim=-1)
            loss = best_set_cross_entropy(log_probabilities, losses[:, index], part.present)
            logs = {"loss/distillation": loss.detach()}
            if self._more_loss is not None:
                own = by_student[index].expand(part.action.shape)
                own = own if part.present is None else own & part.present
                part = dataclasses.replace(part, present=own)
                loss, more = self._more_loss(loss, part, hidden)
                logs |= more
            norm = take_step(loss, self._networks, self.adam, self.config.max_grad_norm)
            logs["train/grad_norm"] = norm
        return logs

    def _of_student(
        self, rollout: Rollout, losses: Tensor, by_student: Tensor
    ) -> dict[str, Tensor]:
        """How the student policy fared in its own trials, before it learned from them.

        By the performance difference lemma (Kakade & Langford 2002, ICML) what the actions of a
        policy lose by the optimal values sums to what the policy's return loses, on average.
        """
        own = by_student.expand(rollout.action.shape)
        own = own if rollout.present is None else own & rollout.present
        lost = losses.gather(-1, rollout.action.unsqueeze(-1)).squeeze(-1)
        n_trials = by_student.sum().clamp(min=1)
        return {
            "train/return": (rollout.reward * own).sum() / n_trials,
            "train/agreement": mean_where((lost < TIE).to(lost.dtype), own),
            "train/lost_score": (lost * own).sum() / n_trials,
        }
