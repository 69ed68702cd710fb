"""The learning algorithms that a run can train, by name, and what they have in common."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
from pydantic import BaseModel
from torch import Tensor

from tutor_agents.engine import parallel
from tutor_agents.exported import POLICY_FILE, WEIGHTS_FILE
from tutor_agents.plug_ins import HINT, entry_points, is_learner, is_plug_in, load_plug_in
from tutor_agents.tutor import Tutor
from tutor_envs.doors.loading import describe
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.files import atomic_write, saving


class LearnedTutor(Tutor, Protocol):
    """A tutor that can be taken away."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, and a JSON object with what a program needs to use them."""
        ...


class Learner(Protocol):
    """Something that is trained in updates and can be stopped and continued between any two.

    Everything random in a learner is addressed by seed and counters (see :mod:`tutor_envs.rng`),
    so its tensors and counters are all there is to save.

    Attributes:
        n_updates: updates planned in all.
        updates_done: updates done so far.
        steps_per_update: teaching actions in one update.
    """

    n_updates: int
    updates_done: int
    steps_per_update: int

    def update(self) -> dict[str, float]:
        """Teach one batch of students and learn from it; TensorBoard tag -> number."""
        ...

    def tutor(self) -> LearnedTutor:
        """The greedy tutor with the current weights."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Weights and optimiser state."""
        ...

    def counters(self) -> Mapping[str, int]:
        """Progress; the unit of each counter is its name."""
        ...

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Continue where ``tensors()`` and ``counters()`` were taken."""
        ...


class MakeLearner(Protocol):
    """Builds a learner from its configuration and what it shall teach."""

    def __call__(
        self,
        config: BaseModel,
        population: Population,
        task: TeachingTask,
        *,
        seed: int,
        device: str,
    ) -> Learner:
        """A learner before its first update."""
        ...


_LEARNER_METHODS = ("update", "tutor", "tensors", "counters", "restore")


@dataclasses.dataclass(frozen=True)
class LearnerKind:
    """One learning algorithm; nothing of it is imported before it is used.

    Attributes:
        description: one line for lists.
        load: imports the model of its settings (``learner:`` in an experiment) and its learner.
    """

    description: str
    load: Callable[[], tuple[type[BaseModel], MakeLearner]]

    @property
    def config(self) -> type[BaseModel]:
        """The model of its settings."""
        return self.load()[0]

    @property
    def make(self) -> MakeLearner:
        """Builds a learner."""
        return self.load()[1]


def _of(
    module: str, config: str, learner: str
) -> Callable[[], tuple[type[BaseModel], MakeLearner]]:
    def load() -> tuple[type[BaseModel], MakeLearner]:
        found = importlib.import_module(module)
        return getattr(found, config), getattr(found, learner)

    return load


def _of_each(
    module: str, learner: str, configs: Mapping[str, tuple[str, str]]
) -> dict[str, LearnerKind]:
    """Algorithms that share a learner: name -> (model of the settings, description)."""
    return {
        name: LearnerKind(f"learned: {description}", _of(module, config, learner))
        for name, (config, description) in configs.items()
    }


LEARNERS: dict[str, LearnerKind] = {
    "rl2": LearnerKind(
        "learned: a memory that adapts to each student, trained by PPO (RL²)",
        _of("tutor_agents.rl2", "RL2Config", "RL2Learner"),
    ),
    "varibad": LearnerKind(
        "learned: acts on its belief about the student, from a variational model (VariBAD)",
        _of("tutor_agents.varibad", "VariBADConfig", "VariBADLearner"),
    ),
    "distill": LearnerKind(
        "learned: a memory that imitates a teacher who knows the population",
        _of("tutor_agents.distill", "DistillConfig", "DistillLearner"),
    ),
    "meta_gradient": LearnerKind(
        "learned: RL² that tunes its own discount, trace and entropy weight while it learns",
        _of("tutor_agents.meta_gradient", "MetaGradientConfig", "MetaGradientLearner"),
    ),
    **_of_each(
        "tutor_agents.maml",
        "MAMLLearner",
        {
            "maml": ("MAMLConfig", "gradient steps between lessons, trained through them (MAML)"),
            "fomaml": ("FOMAMLConfig", "MAML without second derivatives"),
            "emaml": ("EMAMLConfig", "MAML that credits what was asked to find out (E-MAML)"),
            "promp": ("ProMPConfig", "MAML with low-variance curvature and PPO outside (ProMP)"),
            "meta_sgd": ("MetaSGDConfig", "MAML with a learned step size for every weight"),
            "cavia": ("CAVIAConfig", "gradient steps on a few context parameters only (CAVIA)"),
            "reptile": ("ReptileConfig", "moves towards the weights adapted to each student"),
            "finetune": ("FinetuneConfig", "trained for all, then gradient steps for each student"),
        },
    ),
    **_of_each(
        "tutor_agents.sb3",
        "SB3Learner",
        {
            "sb3_ppo": ("SB3PPOConfig", "Stable-Baselines3's PPO, without memory"),
            "sb3_a2c": ("SB3A2CConfig", "Stable-Baselines3's A2C, without memory"),
            "sb3_dqn": ("SB3DQNConfig", "Stable-Baselines3's DQN, without memory"),
            "sb3_recurrent_ppo": ("SB3RecurrentPPOConfig", "sb3-contrib's PPO with an LSTM"),
        },
    ),
}
"""Name of an algorithm (and of the tutor that it trains) -> what it is."""

_SHARED = ("rl2", "varibad", "distill", "meta_gradient")
"""Those whose learners have ``minibatch_sizes``: several processes can train them together."""


def learner_kind(name: Any) -> LearnerKind:
    """The learning algorithm with this name, or a third party's by reference.

    A third party's learner is a class with the interface of :class:`Learner`, built as
    ``Class(config, population, task, seed=..., device=...)``, whose attribute ``Config`` is the
    pydantic model of its settings with a field ``algorithm``.

    Raises:
        ValueError: there is none, or it is not a learner.
    """
    if isinstance(name, str) and name in LEARNERS:
        return LEARNERS[name]
    if not is_plug_in(name):
        known = unknown_name("learner.algorithm", name, [*LEARNERS, *entry_points()])
        raise ValueError(f"{known}; {HINT.replace('tutor', 'learner')}")
    kind = load_plug_in(name)
    if not is_learner(kind):
        raise ValueError(f"`learner.algorithm` {name!r} must have a `Config`, a pydantic model")
    config: Any = kind.Config  # type: ignore[attr-defined]
    is_model = isinstance(config, type) and issubclass(config, BaseModel)
    if not is_model or "algorithm" not in config.model_fields:
        raise ValueError(
            f"`learner.algorithm` {name!r}: its `Config` must be a pydantic model with a field "
            "`algorithm: str`"
        )
    missing = [method for method in _LEARNER_METHODS if not callable(getattr(kind, method, None))]
    if missing:
        raise ValueError(
            f"`learner.algorithm` {name!r} is not a learner: it must define {', '.join(missing)}"
        )
    return LearnerKind(f"learned: {kind.__name__}", lambda: (config, _guarded(name, kind)))


def begin_learner(
    settings: Mapping[str, Any],
    population: Population,
    task: TeachingTask,
    *,
    seed: int,
    device: str = "cpu",
) -> Learner:
    """A learner before its first update.

    Args:
        settings: the ``learner:`` of an experiment, as it is written there.
        population: whom it learns to teach.
        task: what its tutor will be scored by.
        seed: everything random follows from it.
        device: of its networks.
    """
    config, make = learner_kind(settings["algorithm"]).load()
    return make(config.model_validate(settings), population, task, seed=seed, device=device)


def _guarded(reference: str, kind: Any) -> MakeLearner:
    """A third party's learner is built with an error that names it, and has what is counted on."""

    def make(
        config: BaseModel, population: Population, task: TeachingTask, *, seed: int, device: str
    ) -> Learner:
        try:
            learner: Learner = kind(config, population, task, seed=seed, device=device)
        except Exception as error:
            raise ValueError(
                f"`learner.algorithm` {reference!r}: its constructor raised {describe(error)}"
            ) from error
        for attribute in ("n_updates", "updates_done", "steps_per_update"):
            if not isinstance(getattr(learner, attribute, None), int):
                raise ValueError(
                    f"`learner.algorithm` {reference!r} must have the whole number `{attribute}`"
                )
        return learner

    return make


def check_shared(learner: Learner, algorithm: str) -> None:
    """Refuse what the processes that torchrun started cannot train together.

    Raises:
        ValueError: the learner trains in one process only, or its minibatches have no equal shares.
    """
    sizes = getattr(learner, "minibatch_sizes", ())
    if not sizes:
        raise ValueError(
            f"`learner.algorithm` {algorithm!r} trains in one process, and torchrun started "
            f"{parallel.size()}; those that train in several are {', '.join(_SHARED)}"
        )
    for n_students in sizes:
        parallel.check_shares(n_students)


def export_tutor(tutor: LearnedTutor, folder: Path) -> None:
    """Write a trained tutor as ``policy.safetensors`` and ``policy.json``.

    Raises:
        SaveError: it could not be written.
    """
    weights, description = tutor.export()
    with saving(folder):
        folder.mkdir(exist_ok=True)
    atomic_write(folder / WEIGHTS_FILE, safetensors.torch.save(weights))
    atomic_write(folder / POLICY_FILE, (json.dumps(description, indent=1) + "\n").encode())
