"""The auxiliary loss of belief: the memory must tell type, latents and the next response."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tutor_agents.engine import parallel
from tutor_agents.engine.networks import BeliefHead
from tutor_agents.engine.rollout import Rollout


def belief_loss(
    head: BeliefHead, rollout: Rollout, hidden: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of type and next response, squared error of the standardised latents.

    What is logged under ``probe/`` is what the memory tells of new students at the trial's end:
    these students were not trained on before this update.

    Args:
        head: reads the memory.
        rollout: T steps with N students.
        hidden: ``(T, N, H)``, what the memory holds before each action.
    """
    type_logits, latents, response_logits = head(hidden)
    n_responses = response_logits.shape[-1]
    action = rollout.action[..., None, None].expand(*rollout.action.shape, 1, n_responses)
    chosen = response_logits.gather(-2, action).flatten(0, 2)
    answered = rollout.response < n_responses
    target = torch.where(answered, rollout.response, -100)  # cross_entropy's ignore_index
    log_loss = functional.cross_entropy(chosen, target.flatten(), reduction="sum")
    loss = log_loss / parallel.mean_count(answered.sum())
    logs = {"probe/response_log_loss": loss.detach()}
    if type_logits.shape[-1] > 1:
        types = rollout.types.expand(hidden.shape[:2])
        loss = loss + functional.cross_entropy(type_logits.flatten(0, 1), types.flatten())
        hits = type_logits[-1].argmax(-1) == rollout.types
        logs["probe/type_accuracy"] = hits.to(hidden.dtype).mean()
    elif latents.shape[-1] > 0:
        target_latents = rollout.latents.expand(latents.shape)
        loss = loss + 0.5 * functional.mse_loss(latents, target_latents)
        error = functional.mse_loss(latents[-1].detach(), rollout.latents)
        logs["probe/latents_r2"] = 1 - error / parallel.variance(rollout.latents).clamp(min=1e-12)
    return loss, logs | {"loss/belief": loss.detach()}
