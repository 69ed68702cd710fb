"""Training of tutors that adapt by gradient steps: teach trials, adapt, step on what came of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutor_agents.engine.networks import initialise_head
from tutor_agents.engine.ppo import mean_where
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout
from tutor_agents.engine.saved_state import Optimizers
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_agents.engine.update import (
    explained_variance,
    make_adam,
    normalised,
    pass_over,
    policy_loss,
    set_learning_rate,
    training_task,
)
from tutor_agents.maml.config import GradientConfig
from tutor_agents.maml.lesson import lessons_of, seen_before
from tutor_agents.maml.networks import AdaptiveNetworks, perceptron
from tutor_agents.maml.objective import (
    divergence,
    lesson_weights,
    log_probabilities,
    outer_advantages,
    replay,
)
from tutor_agents.maml.session import Session
from tutor_agents.maml.teaching import teach_trials
from tutor_agents.maml.trust_region import trust_region_step
from tutor_agents.maml.tutor import MAMLTutor
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask


class MAMLLearner(TrialLearner):
    """Trains the common weights with which a tutor meets every student; see docs/maml.md."""

    def __init__(
        self,
        config: GradientConfig,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build networks and optimiser; everything random follows from ``seed``.

        Raises:
            ValueError: the task does not suit the algorithm.
        """
        config.check_task(task)
        super().__init__(config, population, task, seed=seed, device=device)
        self.config = config
        model = population.student_model
        self._classroom = Classroom(
            population, training_task(task, config, model), seed=seed, device=device
        )
        self._privileged = Privileged(self._classroom)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = AdaptiveNetworks(config.shape(model, task))
            self.networks.initialise()
            n_features = self._privileged.n_features if config.critic == "privileged" else 0
            n_in = self.networks.shape.n_seen + task.n_lessons + n_features
            self._critic = perceptron(n_in, 2 * config.hidden_size, 1)
            initialise_head(self._critic, gain=1.0)
        self._kl = _KLWeight(config.kl_weight)
        self._networks = nn.ModuleDict(
            {"tutor": self.networks, "critic": self._critic, "kl": self._kl}
        ).to(self.device)
        self._adam = make_adam(self._networks.parameters(), config.learning_rate)
        weights = lesson_weights(task.n_lessons, config.beta).repeat_interleave(task.n_steps)
        self._reward_weights = weights.unsqueeze(-1).to(self.device)

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> MAMLTutor:
        """The tutor with the current weights (a live view)."""
        return MAMLTutor(self.networks, self.config.algorithm, self.population.student_model)

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        return {"updates_done": self.updates_done}

    def _saved(self) -> tuple[nn.Module, Optimizers]:
        return self._networks, {"adam": self._adam}

    # -- one update ---------------------------------------------------------------------------
    def _learn_from(self, students: Tensor) -> dict[str, float]:
        remaining = self._remaining
        set_learning_rate(self._adam, self.config.learning_rate * remaining)
        rollout = self._roll_out(students)
        if self.config.rule == "reptile":
            logs = self._follow_adaptation(rollout)
        else:
            logs = self._learn(rollout, students, self.config.entropy_weight * remaining)
        by_lesson = rollout.reward.reshape(self.task.n_lessons, -1).sum(1) / len(students)
        return {
            "train/return": by_lesson.sum().item(),
            "train/return_first_lesson": by_lesson[0].item(),
            "train/return_last_lesson": by_lesson[-1].item(),
            "train/learning_rate": self.config.learning_rate * remaining,
            **{name: value.item() for name, value in logs.items()},
        }

    # -- inside -------------------------------------------------------------------------------
    @property
    def _adapts(self) -> bool:
        return self.config.rule != "pooled"

    def _roll_out(self, students: Tensor) -> Rollout:
        session = Session(self.networks, len(students), adapts=self._adapts)
        return teach_trials(self._classroom, session, students, self._privileged)

    def _replay_logits(self, rollout: Rollout) -> Tensor:
        return replay(
            self.networks, rollout, first_order=self.config.first_order, adapts=self._adapts
        ).logits

    def _values(self, rollout: Rollout) -> Tensor:
        """``(K T, N)``, of the weighted rewards to come."""
        shape, n_lessons = self.networks.shape, self.task.n_lessons
        lessons = lessons_of(rollout, shape.n_steps, shape.n_actions)
        x = torch.cat([seen_before(lesson, shape.n_responses) for lesson in lessons])
        which = torch.eye(n_lessons, device=self.device).repeat_interleave(shape.n_steps, dim=0)
        parts = [x, which.unsqueeze(1).expand(*x.shape[:2], -1)]
        if self.config.critic == "privileged":
            parts.append(rollout.features)
        values: Tensor = self._critic(torch.cat(parts, dim=-1)).squeeze(-1)
        return values

    def _learn(
        self, rollout: Rollout, students: Tensor, entropy_weight: float
    ) -> dict[str, Tensor]:
        config, there = self.config, rollout.present
        with torch.no_grad():
            values = self._values(rollout)
            advantages, targets = outer_advantages(
                rollout.reward * self._reward_weights,
                values,
                there,
                n_steps=self.task.n_steps,
                discount=config.discount,
                gae_lambda=config.gae_lambda,
                through=config.sampling_credit,
            )
            advantages = normalised(advantages, there)
            taught_by = log_probabilities(self._replay_logits(rollout), rollout)
        logs: dict[str, Tensor] = {}
        if config.outer == "trpo":
            logs = self._trust_region_step(rollout, advantages, taught_by, entropy_weight)

        def loss_of(index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            part = rollout.trials(index)
            loss, logs_here = self._value_loss(part, targets[:, index])
            if config.outer == "ppo":
                policy, of_policy = self._policy_loss(
                    part, advantages[:, index], taught_by[:, index], entropy_weight
                )
                loss, logs_here = loss + policy, logs_here | of_policy
            return loss, logs_here

        logs |= pass_over(students, loss_of, self._networks, self._adam, config, seed=self.seed)
        if config.outer == "ppo":
            self._kl.follow(logs["train/kl_adapted"], config.kl_target)
            logs["train/kl_weight"] = self._kl.weight
        return logs | {"train/explained_variance": explained_variance(targets, values, there)}

    def _policy_loss(
        self, rollout: Rollout, advantages: Tensor, taught_by: Tensor, entropy_weight: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """PPO's clipped loss of the adapted policies, with the KL penalty."""
        logits = self._replay_logits(rollout)
        loss, logs = policy_loss(
            rollout, logits, advantages, clip=self.config.clip, entropy_weight=entropy_weight
        )
        kl = divergence(taught_by, log_probabilities(logits, rollout), rollout.present)
        return loss + self._kl.weight * kl, logs | {"train/kl_adapted": kl.detach()}

    def _trust_region_step(
        self, rollout: Rollout, advantages: Tensor, taught_by: Tensor, entropy_weight: float
    ) -> dict[str, Tensor]:
        """One step of TRPO on all that the outer objective trains."""
        logs: dict[str, Tensor] = {}

        def evaluate() -> tuple[Tensor, Tensor]:
            logits = self._replay_logits(rollout)
            loss, now = policy_loss(
                rollout, logits, advantages, clip=torch.inf, entropy_weight=entropy_weight
            )
            logs.update(now | logs)  # of the first call: before the step
            kl = divergence(taught_by, log_probabilities(logits, rollout), rollout.present)
            return loss, kl

        step = trust_region_step(
            self.networks.outer_parameters(), evaluate, max_divergence=self.config.trust_region
        )
        share = step.divergence.new_tensor(step.share)
        return logs | {"train/kl_adapted": step.divergence, "train/step_share": share}

    def _value_loss(self, rollout: Rollout, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared errors of the critic and of the inner signal's baseline."""
        error = (self._values(rollout) - targets).square()
        value = 0.5 * mean_where(error, rollout.present)
        logs = {"loss/value": value.detach()}
        if self.config.inner_signal != "learned":
            baseline = self._baseline_loss(rollout)
            value, logs["loss/baseline"] = value + baseline, baseline.detach()
        return self.config.value_weight * value, logs

    def _baseline_loss(self, rollout: Rollout) -> Tensor:
        """Over the lessons after which a tutor adapts: of these the score is known."""
        shape = self.networks.shape
        lessons = lessons_of(rollout, shape.n_steps, shape.n_actions)[: shape.n_adapting]
        errors = torch.cat([self.networks.baseline_error(lesson) for lesson in lessons])
        there = torch.cat([lesson.present for lesson in lessons])
        return 0.5 * mean_where(errors, there)

    def _follow_adaptation(self, rollout: Rollout) -> dict[str, Tensor]:
        """Reptile: Adam, with what adaptation moved, reversed, in the place of the gradient."""
        self._adam.zero_grad(set_to_none=True)
        baseline = self._baseline_loss(rollout)
        baseline.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            adapted = replay(self.networks, rollout, first_order=True).weights
        for name, parameter in self.networks.policy.named_parameters():
            parameter.grad = parameter.detach() - adapted[name].mean(0)
        norm = nn.utils.clip_grad_norm_(self._networks.parameters(), self.config.max_grad_norm)
        self._adam.step()
        return {"loss/baseline": baseline.detach(), "train/grad_norm": norm}


class _KLWeight(nn.Module):
    """The weight of the KL penalty; follows a target (Schulman et al. 2017, 1707.06347, eq. 8)."""

    weight: Tensor

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight))

    def follow(self, divergence: Tensor, target: float) -> None:
        """Double where the policy moved more than 1.5 times the target; halve where much less."""
        if divergence > 1.5 * target:
            self.weight *= 2
        elif divergence < target / 1.5:
            self.weight /= 2
