"""Learners that processes can share, trained for some updates: by this process, or by torchrun's.

``torchrun ... -m shared_training FOLDER [DEVICE]`` trains every case and writes what it led to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from small_students import bandit, locked_bkt
from tutor_agents.distill import DistillConfig, DistillLearner
from tutor_agents.engine import parallel
from tutor_agents.engine.trial_learner import TrialLearner
from tutor_agents.meta_gradient import MetaGradientConfig, MetaGradientLearner
from tutor_agents.rl2 import RL2Config, RL2Learner
from tutor_agents.varibad import VariBADConfig, VariBADLearner
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

N_UPDATES = 2
TASK = TeachingTask(n_lessons=2, n_steps=4)
SMALL: dict[str, Any] = {
    "n_trials": 24,
    "hidden_size": 8,
    "total_steps": 24 * TASK.n_trial_steps * N_UPDATES,
    "epochs": 2,
    "minibatches": 3,
}


def two_types() -> Population:
    return bandit([[0.8, 0.2], [0.2, 0.8]], n_units=4)


def leaving(hazard: float = 0.15) -> Population:
    """Many leave in the course of the trial; a few before its third step."""
    return locked_bkt(dropout={"hazard": hazard}, response_time={})


def rl2(population: Population, device: str, **config: Any) -> RL2Learner:
    return RL2Learner(RL2Config(**(SMALL | config)), population, TASK, device=device)


def warm_started(device: str) -> RL2Learner:
    """One update of distillation, one of PPO; the critic and the belief head learn in both."""
    warm = {"total_steps": 1, "teacher": "myopic", "epochs": 1, "minibatches": 2}
    return rl2(leaving(), device, warm_start=warm, total_steps=1)


def distill(device: str) -> DistillLearner:
    return DistillLearner(DistillConfig(**SMALL), two_types(), TASK, device=device)


def varibad(device: str) -> VariBADLearner:
    return VariBADLearner(VariBADConfig(**SMALL), leaving(), TASK, device=device)


def meta_gradient(device: str) -> MetaGradientLearner:
    return MetaGradientLearner(MetaGradientConfig(**SMALL), leaving(), TASK, device=device)


CASES: dict[str, Callable[[str], TrialLearner]] = {
    "rl2": lambda device: rl2(two_types(), device),
    "rl2, students leave": lambda device: rl2(leaving(), device),
    "rl2, shared critic": lambda device: rl2(locked_bkt(), device, critic="shared"),
    "rl2, transformer": lambda device: rl2(leaving(), device, memory="transformer"),
    "rl2, warm start": warm_started,
    "distill": distill,
    "varibad": varibad,
    "meta_gradient": meta_gradient,
}

Result = tuple[dict[str, Tensor], list[dict[str, float]]]


def trained(name: str, device: str = "cpu") -> Result:
    """Weights and moments of the optimisers after some updates, and what each update logged.

    The logs hold the norm of the last gradient; the first moments are means of the gradients.
    """
    learner = CASES[name](device)
    logs = [learner.update() for _ in range(N_UPDATES)]
    assert learner.updates_done == learner.n_updates
    kept = [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in logs]
    return {k: v.detach().cpu().clone() for k, v in learner.tensors().items()}, kept


def read(folder: Path, name: str) -> Result:
    """What a process wrote."""
    tensors = safetensors.torch.load_file(folder / f"{name}.safetensors")
    return tensors, json.loads((folder / f"{name}.json").read_text())


def main() -> None:
    torch.set_num_threads(1)
    folder, device = Path(sys.argv[1]), sys.argv[2]
    if device == "cuda":
        from tutor_sim.commands import resolve_device

        device = resolve_device(device)
        torch.backends.cudnn.allow_tf32 = False
    parallel.join()
    for name in CASES:
        tensors, logs = trained(name, device)
        own = folder if parallel.is_first() else folder / "other"
        own.mkdir(exist_ok=True)
        safetensors.torch.save_file(tensors, own / f"{name}.safetensors")
        (own / f"{name}.json").write_text(json.dumps(logs))
    parallel.leave()


if __name__ == "__main__":
    main()
