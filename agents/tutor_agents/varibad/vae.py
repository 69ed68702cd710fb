"""The training of the belief: encoder and decoder by the lower bound, and the profile head."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tutor_agents.engine import parallel
from tutor_agents.engine.networks import Inputs
from tutor_agents.engine.ppo import mean_where
from tutor_agents.engine.rollout import Rollout
from tutor_agents.engine.update import (
    make_adam,
    set_learning_rate,
    take_step,
)
from tutor_agents.varibad.config import VariBADConfig
from tutor_agents.varibad.elbo import (
    answer_log_likelihood,
    elbo,
    kl_of_steps,
    reward_log_likelihood,
    standard_normal,
)
from tutor_agents.varibad.networks import Decoder, Encoder, ProfileHead, grade_book_of_trial
from tutor_envs.rng import Purpose, uniforms

_ORDER, _NOISE, _MOMENTS = 2, 3, 4
"""Which draws of ``Purpose.TRAINING``, in the word of the lesson; the engine uses 0 and 1."""


class RewardScale(NamedTuple):
    """Mean reward of every step, and the spread about it.

    Attributes:
        mean: ``(T, 1)``.
        sd: a number > 0.
    """

    mean: Tensor
    sd: Tensor

    @classmethod
    def of(cls, reward: Tensor) -> RewardScale:
        """The scale of rewards ``(T, N)``; rewards that never vary keep theirs."""
        mean = reward.mean(1, keepdim=True)
        sd = (reward - mean).square().mean().sqrt()
        return cls(mean, torch.where(sd > 1e-6, sd, 1.0))

    def standardised(self, reward: Tensor) -> Tensor:
        """Rewards ``(T, N)`` at unit scale."""
        return (reward - self.mean) / self.sd


class Chances(NamedTuple):
    """What is random in one pass over a batch of N trials.

    Attributes:
        moments: int64 ``(S,)``, the beliefs decoded from.
        noise: ``(S, N, L)``, standard normal.
    """

    moments: Tensor
    noise: Tensor


class BeliefTrainer:
    """Trains encoder, decoder and profile head on the trials of an update."""

    def __init__(
        self,
        config: VariBADConfig,
        encoder: Encoder,
        decoder: Decoder,
        profile: ProfileHead,
        scale: RewardScale,
    ) -> None:
        """``scale`` is that of the rewards."""
        self.config, self.scale = config, scale
        self.encoder, self.decoder, self.profile = encoder, decoder, profile
        self.networks = nn.ModuleDict({"encoder": encoder, "decoder": decoder, "profile": profile})
        self.adam = make_adam(self.networks.parameters(), config.vae_learning_rate)

    def train(
        self, rollout: Rollout, last: Inputs, seed: int, students: Tensor, remaining: float
    ) -> dict[str, Tensor]:
        """Some passes over the trials of an update; returns what to log.

        Args:
            rollout: T steps with N students.
            last: ``(N,)``, what was observed after the last action.
            seed: of the run.
            students: int64 ``(N,)``.
            remaining: share of the training that is left, which scales the learning rate.
        """
        set_learning_rate(self.adam, self.config.vae_learning_rate * remaining)
        whole = with_last(rollout, last)
        logs: dict[str, Tensor] = {}
        for index, chances in self._passes(seed, students, len(whole.inputs.token)):
            loss, logs = self.loss(whole.trials(index), chances)
            norm = take_step(loss, self.networks, self.adam, self.config.max_grad_norm)
            logs |= {"train/vae_grad_norm": norm}
        return logs

    def loss(self, whole: Rollout, chances: Chances) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the bound per step, plus the loss of the profile; and what to log.

        Args:
            whole: see :func:`with_last`.
            chances: what is drawn.
        """
        beliefs = self.encoder.sequence(whole.inputs)
        mean, logvar = beliefs.chunk(2, dim=-1)
        answers, rewards = self.log_likelihoods(whole, mean, logvar, chances)
        kl = kl_of_steps(mean, logvar)
        likelihood = answers + self.config.reward_weight * rewards
        bound = elbo(likelihood, kl, self.config.kl_weight)
        profile, logs = self._profile_loss(whole, beliefs.detach())
        n_steps = len(whole.action)
        logs |= {
            "loss/elbo": bound.detach(),
            "vae/kl": kl.detach().sum(0).mean(),
            "vae/answer_log_loss": -answers.detach().mean(),
            "vae/reward_error": -2 * rewards.detach().mean(),
        }
        return profile - bound / n_steps, logs

    def log_likelihoods(
        self, whole: Rollout, mean: Tensor, logvar: Tensor, chances: Chances
    ) -> tuple[Tensor, Tensor]:
        """Of all answers and rewards of the trial, past and future, ``(S, T, N)`` each.

        Args:
            whole: the trials.
            mean: ``(T + 1, N, L)`` of the beliefs.
            logvar: ``(T + 1, N, L)``.
            chances: the beliefs decoded from and the noise of their samples.
        """
        spread = (0.5 * logvar[chances.moments]).exp()
        samples = mean[chances.moments] + spread * chances.noise
        before = Inputs(whole.inputs.token[:-1], None, None)
        book = grade_book_of_trial(before, self.decoder.shape)
        logits, decoded = self.decoder(samples, whole.action, book)
        rewards = reward_log_likelihood(decoded, self.scale.standardised(whole.reward))
        if whole.present is not None:
            rewards = rewards * whole.present
        return answer_log_likelihood(logits, whole.response), rewards

    def _profile_loss(self, whole: Rollout, beliefs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        elapsed = torch.linspace(0, 1, len(beliefs), device=beliefs.device).view(-1, 1, 1)
        mean, logvar, type_logits = self.profile(beliefs, elapsed)
        loss, logs = beliefs.new_zeros(()), {}
        if mean.shape[-1]:
            target = whole.latents.expand(mean.shape)
            loss = loss + functional.gaussian_nll_loss(mean, target, logvar.exp())
            error = (mean[-1].detach() - whole.latents).square().mean()
            logs["probe/latents_r2"] = 1 - error / parallel.variance(whole.latents).clamp(min=1e-12)
        if type_logits.shape[-1] > 1:
            types = whole.types.expand(type_logits.shape[:-1])
            loss = loss + functional.cross_entropy(type_logits.flatten(0, 1), types.flatten())
            hits = type_logits[-1].argmax(-1) == whole.types
            logs["probe/type_accuracy"] = mean_where(hits.to(mean.dtype), None)
        return loss, logs | {"loss/profile": loss.detach()}

    def _passes(
        self, seed: int, students: Tensor, n_beliefs: int
    ) -> Iterator[tuple[Tensor, Chances]]:
        """Minibatches (shares of them) of whole trials, with their chances; each once in a pass."""
        size = self.encoder.belief_size
        n_kept = min(self.config.elbo_terms, n_beliefs)

        def draw(who: Tensor, what: int, n_lanes: int, epoch: int) -> Tensor:
            return uniforms(
                seed, who, purpose=Purpose.TRAINING, n_lanes=n_lanes, lesson=what, step=epoch
            )

        for epoch in range(self.config.vae_epochs):
            moments = draw(students[0], _MOMENTS, n_beliefs, epoch).argsort()[:n_kept]
            noise = standard_normal(draw(students, _NOISE, n_kept * size, epoch))
            noise = noise.view(-1, n_kept, size).transpose(0, 1)
            order = draw(students, _ORDER, 1, epoch).squeeze(-1).argsort()
            for index in map(parallel.share, order.chunk(self.config.minibatches)):
                yield index, Chances(moments, noise[:, index])


def with_last(rollout: Rollout, last: Inputs) -> Rollout:
    """The rollout with one more input, what was observed after the last action: T + 1 in all."""
    joined = [
        None if some is None or end is None else torch.cat([some, end[None]])
        for some, end in zip(rollout.inputs, last, strict=True)
    ]
    return dataclasses.replace(rollout, inputs=Inputs(*joined))  # type: ignore[arg-type]
