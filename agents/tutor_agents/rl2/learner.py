"""The training of RL²: roll out whole trials with new students, update by PPO, repeat."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tutor_agents.rl2.config import RL2Config
from tutor_agents.rl2.networks import Actor, ActorShape, BeliefHead, Critic
from tutor_agents.rl2.ppo import (
    clipped_surrogate_loss,
    entropy,
    generalised_advantages,
    masked_logits,
    mean_where,
)
from tutor_agents.rl2.privileged import Privileged
from tutor_agents.rl2.tutor import RL2Tutor
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask


@dataclass(frozen=True)
class Rollout:
    """A batch of whole trials, time-major: T steps, N trials."""

    token: Tensor  # (T, N) int64
    score: Tensor | None  # (T, N)
    signals: Tensor | None  # (T, N, S)
    legal: Tensor | None  # (T, N, A)
    present: Tensor | None  # (T, N) bool: not left before the action; None: nobody leaves
    action: Tensor  # (T, N) int64
    response: Tensor  # (T, N) int64, to the action
    logp: Tensor  # (T, N)
    reward: Tensor  # (T, N)
    features: Tensor  # (T, N, F) privileged
    latents: Tensor  # (N, L) privileged
    types: Tensor  # (N,) privileged

    def trials(self, index: Tensor) -> Rollout:
        """The trials with these indices."""
        return Rollout(
            token=self.token[:, index],
            score=None if self.score is None else self.score[:, index],
            signals=None if self.signals is None else self.signals[:, index],
            legal=None if self.legal is None else self.legal[:, index],
            present=None if self.present is None else self.present[:, index],
            action=self.action[:, index],
            response=self.response[:, index],
            logp=self.logp[:, index],
            reward=self.reward[:, index],
            features=self.features[:, index],
            latents=self.latents[index],
            types=self.types[index],
        )


class RL2Learner:
    """Trains an RL² tutor; see the package's text for the algorithm."""

    def __init__(
        self,
        config: RL2Config,
        population: Population,
        task: TeachingTask,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build networks and optimiser; everything random follows from ``seed``."""
        self.config = config
        self.population = population
        self.task = task
        self.seed = seed
        self.device = torch.device(device)
        self.steps_per_update = config.n_trials * task.n_trial_steps
        self.n_updates = max(1, -(-config.total_steps // self.steps_per_update))
        self.updates_done = 0
        self._classroom = Classroom(
            population,
            _training_task(task, config, population.student_model),
            seed=seed,
            device=device,
        )
        self._privileged = Privileged(self._classroom)
        model, width = population.student_model, config.hidden_size
        n_features = self._privileged.n_features if config.critic == "privileged" else 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = Actor(ActorShape.of(model, task, width))
            critic = Critic(n_features, task.n_trial_steps, width)
            belief = BeliefHead(width, self._privileged.n_types, self._privileged.n_latents, model)
            self.actor.initialise()
            critic.initialise()
        self._networks = nn.ModuleDict({"actor": self.actor, "critic": critic, "belief": belief})
        self._networks.to(self.device)
        self._critic, self._belief = critic, belief
        self._adam = torch.optim.Adam(
            self._networks.parameters(), lr=config.learning_rate, eps=1e-5
        )
        self._clock = torch.arange(task.n_trial_steps, device=self.device)

    # -- for the laboratory -------------------------------------------------------------------
    def tutor(self) -> RL2Tutor:
        """The greedy tutor with the current weights (a live view)."""
        return RL2Tutor(self.actor, self.population.student_model)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser state, by name."""
        tensors = {f"networks.{k}": v.detach() for k, v in self._networks.state_dict().items()}
        for name, parameter in self._networks.named_parameters():
            for key, value in self._adam.state[parameter].items():
                tensors[f"adam.{name}.{key}"] = torch.as_tensor(value)
        return tensors

    def counters(self) -> dict[str, int]:
        """Progress, with its unit in the name."""
        per_update = self.config.epochs * self.config.minibatches
        return {
            "updates_done": self.updates_done,
            "optimizer_steps": self.updates_done * per_update,
        }

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken.

        Raises:
            ValueError: they belong to another network.
        """
        expected = {f"networks.{k}": v.shape for k, v in self._networks.state_dict().items()}
        found = {k: v.shape for k, v in tensors.items() if k.startswith("networks.")}
        if expected != found:
            different = sorted(k for k in expected | found if expected.get(k) != found.get(k))
            raise ValueError(f"the checkpoint belongs to another network: {different[0]} differs")
        self._networks.load_state_dict({k.removeprefix("networks."): tensors[k] for k in found})
        for name, parameter in self._networks.named_parameters():
            prefix = f"adam.{name}."
            state = {
                k.removeprefix(prefix): v.clone()
                for k, v in tensors.items()
                if k.startswith(prefix)
            }
            if state:
                state = {k: v if k == "step" else v.to(self.device) for k, v in state.items()}
                self._adam.state[parameter] = state
        self.updates_done = counters["updates_done"]

    def update(self) -> dict[str, float]:
        """Teach one batch of new students and learn from it; returns what to log."""
        started_s = time.perf_counter()
        remaining = 1 - self.updates_done / self.n_updates
        for group in self._adam.param_groups:
            group["lr"] = self.config.learning_rate * remaining
        start = self.updates_done * self.config.n_trials
        students = student_indices(Split.TRAIN, self.config.n_trials, start).to(self.device)
        rollout = self._roll_out(students)
        logs = self._learn(rollout, students, self.config.entropy_weight * remaining)
        self.updates_done += 1
        duration_s = time.perf_counter() - started_s
        return {
            "train/return": rollout.reward.sum(0).mean().item(),
            "train/learning_rate": self.config.learning_rate * remaining,
            "train/entropy_weight": self.config.entropy_weight * remaining,
            **{name: value.item() for name, value in logs.items()},
            "perf/steps_per_s": self.steps_per_update / duration_s,
        }

    # -- rollout ------------------------------------------------------------------------------
    @torch.no_grad()
    def _roll_out(self, students: Tensor) -> Rollout:
        observation = self._classroom.begin_trial(students)
        truth = self._classroom.truth
        latents, types = self._privileged.latents(truth), truth.latents["type"]
        memory = torch.zeros(1, len(students), self.config.hidden_size, device=self.device)
        steps: dict[str, list[Tensor]] = defaultdict(list)
        for t in range(self.task.n_trial_steps):
            token = self.actor.encode(observation)
            clock = self._clock[t : t + 1]
            score = None if observation.score is None else observation.score.unsqueeze(0)
            signals = None if observation.signals is None else observation.signals.unsqueeze(0)
            hidden, memory = self.actor.remember(token.unsqueeze(0), clock, score, memory, signals)
            logits = masked_logits(self.actor.logits(hidden, clock)[0], observation.legal)
            log_probabilities = torch.log_softmax(logits, dim=-1)
            action = self._sample(log_probabilities, students, observation)
            steps["token"].append(token)
            for name in ("score", "signals", "legal", "present"):
                if getattr(observation, name) is not None:
                    steps[name].append(getattr(observation, name))
            steps["features"].append(self._features())
            steps["action"].append(action)
            steps["logp"].append(log_probabilities.gather(-1, action.unsqueeze(-1)).squeeze(-1))
            outcome = self._classroom.step(action)
            steps["response"].append(outcome.observation.response)
            steps["reward"].append(outcome.reward)
            observation = outcome.observation
        columns: dict[str, Any] = dict.fromkeys(("score", "signals", "legal", "present"))
        columns |= {name: torch.stack(values) for name, values in steps.items()}
        return Rollout(**columns, latents=latents, types=types)

    def _sample(self, log_p: Tensor, students: Tensor, observation: Observation) -> Tensor:
        """One action for each student, by the inverse CDF of a counter-based uniform."""
        u = uniforms(
            self.seed,
            students,
            purpose=Purpose.TUTOR,
            n_lanes=1,
            lesson=observation.lesson,
            step=observation.step,
        )
        p = log_p.exp()
        action = (u >= p.cumsum(-1)).sum(-1)
        last_possible = p.shape[-1] - 1 - p.flip(-1).gt(0).to(torch.int8).argmax(-1)
        return torch.minimum(action, last_possible)

    def _features(self) -> Tensor:
        if self.config.critic == "privileged":
            return self._privileged.features(self._classroom.truth)
        return torch.empty(self.config.n_trials, 0, device=self.device)

    # -- update -------------------------------------------------------------------------------
    def _memory(self, rollout: Rollout) -> Tensor:
        """The memory after every step, recomputed from the start of the trial, ``(T, N, H)``."""
        start = torch.zeros(1, rollout.token.shape[1], self.config.hidden_size, device=self.device)
        hidden, _ = self.actor.remember(
            rollout.token, self._clock, rollout.score, start, rollout.signals
        )
        return hidden

    def _values(self, rollout: Rollout, hidden: Tensor) -> Tensor:
        seen = hidden.detach() if self.config.critic == "privileged" else hidden
        values: Tensor = self._critic(seen, self._clock, rollout.features)
        return values

    def _learn(
        self, rollout: Rollout, students: Tensor, entropy_weight: float
    ) -> dict[str, Tensor]:
        config = self.config
        with torch.no_grad():
            v_tm1 = self._values(rollout, self._memory(rollout))
            v_t = torch.cat([v_tm1[1:], torch.zeros_like(v_tm1[:1])])
            discount_t = torch.full((len(v_tm1), 1), config.discount, device=self.device)
            discount_t[-1] = 0.0
            there = rollout.present
            if there is not None:  # who leaves has reached the end: nothing follows
                discount_t = discount_t * torch.cat([there[1:], there[:1]])
            advantages = generalised_advantages(
                rollout.reward, discount_t, v_tm1, v_t, config.gae_lambda
            )
            targets = advantages + v_tm1
            counted = advantages if there is None else advantages[there]
            advantages = (advantages - counted.mean()) / (counted.std() + 1e-8)
        logs: dict[str, Tensor] = {}
        for epoch in range(config.epochs):
            u = uniforms(
                self.seed, students, purpose=Purpose.TRAINING, n_lanes=1, lesson=1, step=epoch
            )
            for index in u.squeeze(-1).argsort().chunk(config.minibatches):
                loss, logs_here = self._loss(
                    rollout.trials(index), advantages[:, index], targets[:, index], entropy_weight
                )
                self._adam.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(self._networks.parameters(), config.max_grad_norm)
                self._adam.step()
                first = logs.get("train/first_ratio_error", logs_here["train/first_ratio_error"])
                logs = logs_here | {"train/grad_norm": norm, "train/first_ratio_error": first}
        if there is not None:
            targets, v_tm1 = targets[there], v_tm1[there]
        spread = (targets - v_tm1).var() / targets.var().clamp(min=1e-12)
        return logs | {"train/explained_variance": 1 - spread}

    def _loss(
        self, rollout: Rollout, advantages: Tensor, targets: Tensor, entropy_weight: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        hidden = self._memory(rollout)
        logits = masked_logits(self.actor.logits(hidden, self._clock), rollout.legal)
        log_probabilities = torch.log_softmax(logits, dim=-1)
        logp = log_probabilities.gather(-1, rollout.action.unsqueeze(-1)).squeeze(-1)
        there = rollout.present
        policy = clipped_surrogate_loss(logp, rollout.logp, advantages, config.clip, there)
        value = 0.5 * mean_where((self._values(rollout, hidden) - targets).square(), there)
        exploration = mean_where(entropy(log_probabilities), there)
        loss = policy + config.value_weight * value - entropy_weight * exploration
        logs = {
            "loss/policy": policy,
            "loss/value": value,
            "train/entropy": exploration,
            "train/kl": mean_where(rollout.logp - logp, there),
            "train/first_ratio_error": (torch.exp(logp - rollout.logp) - 1).abs().max(),
        }
        if config.belief_weight > 0:
            belief, belief_logs = self._belief_loss(rollout, hidden)
            loss = loss + config.belief_weight * belief
            logs |= belief_logs
        return loss, {name: tensor.detach() for name, tensor in logs.items()}

    def _belief_loss(self, rollout: Rollout, hidden: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of type and next response, squared error of the standardised latents.

        What is logged under ``probe/`` is what the memory tells of new students at the trial's end:
        these students were not trained on before this update.
        """
        type_logits, latents, response_logits = self._belief(hidden)
        n_responses = response_logits.shape[-1]
        action = rollout.action[..., None, None].expand(*rollout.action.shape, 1, n_responses)
        chosen = response_logits.gather(-2, action).flatten(0, 2)
        answered = rollout.response < n_responses
        target = torch.where(answered, rollout.response, -100)  # cross_entropy's ignore_index
        loss = functional.cross_entropy(chosen, target.flatten())
        logs = {"probe/response_log_loss": loss}
        if self._privileged.n_types > 1:
            types = rollout.types.expand(hidden.shape[:2])
            loss = loss + functional.cross_entropy(type_logits.flatten(0, 1), types.flatten())
            hits = type_logits[-1].argmax(-1) == rollout.types
            logs["probe/type_accuracy"] = hits.to(hidden.dtype).mean()
        elif self._privileged.n_latents > 0:
            target_latents = rollout.latents.expand(latents.shape)
            loss = loss + 0.5 * functional.mse_loss(latents, target_latents)
            error = functional.mse_loss(latents[-1], rollout.latents)
            logs["probe/latents_r2"] = 1 - error / rollout.latents.var().clamp(min=1e-12)
        return loss, logs | {"loss/belief": loss}


def _training_task(task: TeachingTask, config: RL2Config, model: StudentModel) -> TeachingTask:
    """The same score, paid in the way that is easiest to learn from."""
    when = "step" if config.step_rewards else task.reward.when
    expected = (
        config.expected_rewards
        and model.has_expected_gain
        and when == "step"
        and task.reward.score == "post_test"
    )
    reward = task.reward.model_copy(update={"when": when, "expected": expected})
    return task.model_copy(update={"reward": reward})
