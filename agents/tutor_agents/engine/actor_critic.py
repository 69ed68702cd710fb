"""What RL² and its relatives train: an actor with memory, its critic, its belief head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutor_agents.engine import parallel
from tutor_agents.engine.belief import belief_loss
from tutor_agents.engine.config import MemoryPPOConfig
from tutor_agents.engine.frozen import frozen
from tutor_agents.engine.networks import ActorShape, BeliefHead, Critic, Network
from tutor_agents.engine.ppo import mean_where
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout, roll_out
from tutor_agents.engine.shared_rollout import my_trials, whole
from tutor_agents.engine.skill_actor import make_actor
from tutor_agents.engine.update import (
    advantages_and_targets,
    explained_variance,
    normalised,
    pass_over,
    policy_loss,
)
from tutor_envs.classroom import Classroom
from tutor_envs.task import TeachingTask


class ActorCritic(nn.Module):
    """The networks, and one update of PPO on them."""

    def __init__(
        self,
        config: MemoryPPOConfig,
        classroom: Classroom,
        privileged: Privileged,
        task: TeachingTask,
        network: Network = "joint",
    ) -> None:
        """Build the networks and draw their weights from the classroom's seed.

        Args:
            config: of the networks and of PPO.
            classroom: where the students are taught, and paid as training likes it.
            privileged: standardises what is hidden.
            task: as the tutor sees it.
            network: of the actor.

        Raises:
            ValueError: the network does not fit the students' actions.
        """
        super().__init__()
        self.config = config
        self._classroom, self._privileged = classroom, privileged
        self.with_features = config.critic == "privileged"
        model, width = classroom.model, config.hidden_size
        n_features = privileged.n_features if self.with_features else 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(classroom.seed)
            self.actor = make_actor(ActorShape.of(model, task, width, config.memory, network))
            self.critic = Critic(n_features, task.n_trial_steps, width)
            self.belief = BeliefHead(width, privileged.n_types, privileged.n_latents, model)
            self.actor.initialise()
            self.critic.initialise()
        self.to(classroom.device)

    @property
    def trained_belief(self) -> BeliefHead | None:
        """The belief head; None where it is not trained."""
        return self.belief if self.config.belief_weight > 0 else None

    def roll_out(self, students: Tensor) -> Rollout:
        """Whole trials with these students."""
        mine = roll_out(
            self._classroom,
            frozen(self.actor),
            parallel.share(students),
            self._privileged,
            with_features=self.with_features,
        )
        return whole(mine)

    def learn(
        self,
        rollout: Rollout,
        students: Tensor,
        optimizer: torch.optim.Optimizer,
        *,
        discount: float,
        gae_lambda: float,
        entropy_weight: float,
    ) -> dict[str, Tensor]:
        """All passes of PPO over a batch of trials; returns what to log."""
        with torch.no_grad():
            mine = my_trials(rollout)
            values = self.critic(self.actor.sequence(mine.inputs)[0], mine.features)
            values = parallel.gathered(values, dim=1)
            advantages, targets = advantages_and_targets(rollout, values, discount, gae_lambda)
            advantages = normalised(advantages, rollout.present)

        def loss_of(index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            part = rollout.trials(index)
            hidden, logits = self.actor.sequence(part.inputs)
            loss, logs = policy_loss(
                part,
                logits,
                advantages[:, index],
                clip=self.config.clip,
                entropy_weight=entropy_weight,
            )
            loss, more = self.with_side_losses(loss, part, hidden, targets[:, index])
            return loss, logs | more

        seed = self._classroom.seed
        logs = pass_over(students, loss_of, self, optimizer, self.config, seed=seed)
        variance = explained_variance(targets, values, rollout.present)
        return logs | {"train/explained_variance": variance}

    def with_side_losses(
        self, loss: Tensor, rollout: Rollout, hidden: Tensor, targets: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the critic's and the belief head's; returns them to log, too."""
        error = (self.critic(hidden, rollout.features) - targets).square()
        value = 0.5 * mean_where(error, rollout.present)
        loss = loss + self.config.value_weight * value
        logs = {"loss/value": value.detach()}
        if self.config.belief_weight > 0:
            belief, belief_logs = belief_loss(self.belief, rollout, hidden)
            loss = loss + self.config.belief_weight * belief
            logs |= belief_logs
        return loss, logs
