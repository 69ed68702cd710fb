"""The training of VariBAD: roll out trials, update the policy by PPO, then the belief, repeat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutor_agents.engine import parallel
from tutor_agents.engine.networks import ActorShape, Critic, Inputs
from tutor_agents.engine.ppo import mean_where
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout, roll_out
from tutor_agents.engine.saved_state import Optimizers
from tutor_agents.engine.shared_rollout import my_trials, whole
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_agents.engine.update import (
    advantages_and_targets,
    explained_variance,
    make_adam,
    normalised,
    pass_over,
    policy_loss,
    set_learning_rate,
    training_task,
)
from tutor_agents.varibad.config import VariBADConfig
from tutor_agents.varibad.given import (
    BeliefSource,
    GivenBeliefPolicy,
    LatentsSource,
    PosteriorSource,
)
from tutor_agents.varibad.networks import BeliefActor, BeliefPolicy, Decoder, ProfileHead
from tutor_agents.varibad.tutor import LatentsTutor, PosteriorTutor, VariBADTutor
from tutor_agents.varibad.vae import BeliefTrainer, RewardScale
from tutor_envs.classroom import Classroom, Observation, Outcome
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import TeachingTask

_N_REFERENCE_STUDENTS = 512


class _Watched(Classroom):
    """A classroom that keeps its last observation, which a rollout has no use for."""

    last: Observation

    def step(self, action: Tensor) -> Outcome:
        """As every classroom."""
        outcome = super().step(action)
        self.last = outcome.observation
        return outcome


class VariBADLearner(TrialLearner):
    """Trains a VariBAD tutor; see the package's text for the algorithm."""

    def __init__(
        self,
        config: VariBADConfig,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build networks and optimisers; everything random follows from ``seed``.

        Raises:
            ValueError: a belief shall be given that does not exist for these students.
        """
        super().__init__(config, population, task, seed=seed, device=device)
        self.config = config
        self.minibatch_sizes = (config.n_trials // config.minibatches,)
        model = population.student_model
        if config.belief != "learned" and not model.is_functional:
            raise ValueError(
                f"`learner.belief` must be 'learned' for student model `{model.name}`, whose "
                f"beliefs cannot be computed, got {config.belief!r}"
            )
        self._classroom = _Watched(
            population, training_task(task, config, model), seed=seed, device=device
        )
        self._privileged = Privileged(self._classroom)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._build()
        ppo_networks = {"actor": self._policy.actor, "critic": self._critic}
        self._ppo_networks = nn.ModuleDict(ppo_networks)
        self._networks = nn.ModuleDict(ppo_networks)
        self._adam = make_adam(self._ppo_networks.parameters(), config.learning_rate)
        self._optimizers = {"adam": self._adam}
        if self._belief is not None:
            self._networks["belief"] = self._belief.networks
            self._optimizers["adam_vae"] = self._belief.adam

    def _build(self) -> None:
        config, task, privileged = self.config, self.task, self._privileged
        model, width = self.population.student_model, config.hidden_size
        shape = ActorShape.of(model, task, width, config.memory)
        n_features = privileged.n_features if config.critic == "privileged" else 0
        self._critic = Critic(n_features, task.n_trial_steps, width)
        self._critic.initialise()
        self._critic.to(self.device)
        self._policy: BeliefPolicy | GivenBeliefPolicy
        self._belief: BeliefTrainer | None = None
        if config.belief != "learned":
            source = self._source()
            actor = BeliefActor(shape, source.n_belief)
            actor.initialise()
            self._policy = GivenBeliefPolicy(shape, actor.to(self.device), source)
            return
        self._policy = BeliefPolicy(shape, config.belief_size)
        self._policy.initialise()
        self._policy.to(self.device)
        decoder = Decoder(shape, config.belief_size)
        decoder.initialise()
        zeros = torch.zeros(privileged.n_latents, device=self.device)
        mean = privileged.unstandardise(zeros)
        sd = privileged.unstandardise(zeros + 1) - mean
        profile = ProfileHead(config.belief_size, privileged.n_types, mean, sd)
        rewards = self._roll_out(student_indices(Split.TRAIN, _N_REFERENCE_STUDENTS)).reward
        self._belief = BeliefTrainer(
            config,
            self._policy.encoder,
            decoder.to(self.device),
            profile.to(self.device),
            RewardScale.of(rewards),
        )

    def _source(self) -> BeliefSource:
        """What tells the policy of an ablation; training and every tutor have their own."""
        if self.config.belief == "latents":
            return LatentsSource(self._privileged, self._classroom)
        return PosteriorSource(self.population, self.seed, self.device)

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> VariBADTutor | PosteriorTutor:
        """The greedy tutor with the current weights (a live view)."""
        model, policy = self.population.student_model, self._policy
        if isinstance(policy, BeliefPolicy):
            assert self._belief is not None
            return VariBADTutor(policy, self._belief.profile, self._latent_names(), model)
        kind = LatentsTutor if self.config.belief == "latents" else PosteriorTutor
        own = GivenBeliefPolicy(policy.shape, policy.actor, self._source())
        return kind(own, f"varibad[{self.config.belief}]", model)

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        config = self.config
        steps = self.updates_done * config.minibatches
        counters = {"updates_done": self.updates_done, "optimizer_steps": steps * config.epochs}
        if self._belief is not None:
            counters["vae_optimizer_steps"] = steps * config.vae_epochs
        return counters

    def _saved(self) -> tuple[nn.Module, Optimizers]:
        return self._networks, self._optimizers

    # -- one update ---------------------------------------------------------------------------
    def _learn_from(self, students: Tensor) -> dict[str, float]:
        remaining = self._remaining
        set_learning_rate(self._adam, self.config.learning_rate * remaining)
        rollout = whole(self._roll_out(parallel.share(students)))
        # The policy first: the belief that it acted on is the one that it learns with.
        logs = self._learn(rollout, students, self.config.entropy_weight * remaining)
        if self._belief is not None:
            logs |= self._belief.train(rollout, self._last(), self.seed, students, remaining)
        return {
            "train/return": rollout.reward.sum(0).mean().item(),
            "train/learning_rate": self.config.learning_rate * remaining,
            "train/entropy_weight": self.config.entropy_weight * remaining,
            **{name: value.item() for name, value in logs.items()},
        }

    # -- inside -------------------------------------------------------------------------------
    def _roll_out(self, students: Tensor) -> Rollout:
        return roll_out(
            self._classroom,
            self._policy,
            students.to(self.device),
            self._privileged,
            with_features=self.config.critic == "privileged",
        )

    def _last(self) -> Inputs:
        """``(N,)``, what was observed after the last action."""
        last = self._policy.encode(self._classroom.last)
        return Inputs(*(None if x is None else parallel.gathered(x) for x in last))  # type: ignore[arg-type]

    def _learn(
        self, rollout: Rollout, students: Tensor, entropy_weight: float
    ) -> dict[str, Tensor]:
        config, there = self.config, rollout.present
        with torch.no_grad():
            mine = my_trials(rollout)
            belief = self._policy.beliefs(mine.inputs)
            hidden, _ = self._act(mine.inputs, belief)
            values = parallel.gathered(self._critic(hidden, mine.features), dim=1)
            belief = parallel.gathered(belief, dim=1)  # stays: the encoder is not trained here
            advantages, targets = advantages_and_targets(
                rollout, values, config.discount, config.gae_lambda
            )
            advantages = normalised(advantages, there)

        def loss_of(index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            part = rollout.trials(index)
            hidden, logits = self._act(part.inputs, belief[:, index])
            loss, logs = policy_loss(
                part, logits, advantages[:, index], clip=config.clip, entropy_weight=entropy_weight
            )
            error = (self._critic(hidden, part.features) - targets[:, index]).square()
            value = 0.5 * mean_where(error, part.present)
            return loss + config.value_weight * value, logs | {"loss/value": value.detach()}

        logs = pass_over(students, loss_of, self._ppo_networks, self._adam, config, seed=self.seed)
        return logs | {"train/explained_variance": explained_variance(targets, values, there)}

    def _act(self, inputs: Inputs, belief: Tensor) -> tuple[Tensor, Tensor]:
        return self._policy.actor.sequence(self._policy.observed(inputs), belief)

    def _latent_names(self) -> list[str]:
        """Of the latents that vary, in the order of ``Privileged.latents``."""
        students = student_indices(Split.TRAIN, _N_REFERENCE_STUDENTS).to(self.device)
        latents = self.population.sample(self.seed, students, dtype=self._classroom.dtype)
        names: list[str] = []
        for name in sorted(latents.keys() - {"type"}):
            parts = latents[name].reshape(len(students), -1)
            for part, varies in enumerate((parts.float().std(0) > 1e-6).tolist()):
                if varies:
                    names.append(f"{name}[{part}]" if parts.shape[1] > 1 else name)
        return names
