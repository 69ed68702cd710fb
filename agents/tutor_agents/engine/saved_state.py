"""What a learner saves: weights and optimiser moments, by name, as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Optimizers = Mapping[str, torch.optim.Optimizer]
"""Name -> optimiser of (some of) the networks' parameters."""


def state_tensors(networks: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """``networks.<name>``, and ``<optimizer>.<name>.<moment>`` for every parameter stepped."""
    tensors = {f"networks.{k}": v.detach() for k, v in networks.state_dict().items()}
    for label, optimizer in optimizers.items():
        for name, parameter in networks.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{label}.{name}.{key}"] = torch.as_tensor(value)
    return tensors


def restore_state(
    networks: nn.Module, optimizers: Optimizers, tensors: Mapping[str, Tensor]
) -> None:
    """Continue where ``state_tensors`` was taken.

    Raises:
        ValueError: the tensors belong to another network.
    """
    expected = {f"networks.{k}": v.shape for k, v in networks.state_dict().items()}
    found = {k: v.shape for k, v in tensors.items() if k.startswith("networks.")}
    if expected != found:
        different = sorted(k for k in expected | found if expected.get(k) != found.get(k))
        raise ValueError(f"the checkpoint belongs to another network: {different[0]} differs")
    networks.load_state_dict({k.removeprefix("networks."): tensors[k] for k in found})
    for label, optimizer in optimizers.items():
        is_fused = bool(optimizer.defaults.get("fused"))  # then it counts steps on the device
        for name, parameter in networks.named_parameters():
            prefix = f"{label}.{name}."
            state = {
                key.removeprefix(prefix): value.clone()
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
            if state:
                optimizer.state[parameter] = {
                    key: value.to(parameter.device) if key != "step" or is_fused else value
                    for key, value in state.items()
                }
