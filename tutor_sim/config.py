"""The experiment: what is written in its YAML file, as typed models.

Files are read by :mod:`tutor_sim.experiment_files`, which also resolves references to other files;
the models here hold the resolved experiment and nothing that points elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from tutor_agents.plug_ins import HINT, entry_points, is_plug_in, tutor_class
from tutor_agents.registry import TUTORS
from tutor_envs.classroom import Classroom
from tutor_envs.doors.loading import resolve_reference
from tutor_envs.errors import below, unknown_name
from tutor_envs.executors import Executor
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_envs.yaml_loading import dump_yaml
from tutor_sim.evaluation import DELAYS_DAYS, DISCOUNT
from tutor_sim.learners import LEARNERS, learner_kind
from tutor_sim.precision import MatmulPrecision


class TutorSpec(BaseModel):
    """A tutor to evaluate: what it is called, what it is, and its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    algorithm: str = Field("", description="its name in the registry; like `name` if left out")
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return {"algorithm": values["name"]} | values if "name" in values else values

    @property
    def own_name(self) -> str | None:
        """What the experiment calls it, if not like its algorithm."""
        return None if self.name == self.algorithm else self.name


class EvaluationConfig(BaseModel):
    """How tutors are scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_students: int = Field(2000, ge=2, description="test students, the same for every tutor")
    seed: int = Field(1, ge=0, lt=2**64, description="of the test and validation students")
    validation_students: int = Field(500, ge=2, description="students who select the checkpoint")
    every_updates: int = Field(20, ge=1, description="updates between two validations")
    delays_days: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        DELAYS_DAYS, description="days without teaching, after which lessons are tested again"
    )
    discount: float = Field(
        DISCOUNT, gt=0, le=1, description="for each teaching action, of the discounted reward"
    )


class CheckpointConfig(BaseModel):
    """When a run is saved, and how much of it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    every_updates: int = Field(20, ge=1, description="updates between two checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints kept, beside the best one")


def _read_tutor(value: Any, info: ValidationInfo) -> Any:
    learned = _learned(info.data.get("learner"), info.data.get("learners"))
    return read_tutor(value, learned, {"learner", "learners"} <= info.data.keys())


def read_tutor(value: Any, learned: Mapping[str, Any], all_learned: bool) -> Any:
    """A tutor, with options or without, under a name of its own or not.

    ``random``, ``{zpd: {target: 0.5}}``, or ``{easy: {algorithm: zpd, target: 0.9}}``.

    Args:
        value: as written under ``tutors``.
        learned: name of a learned tutor -> settings of its learner.
        all_learned: there are no other learners, such as one with a fault of its own.

    Raises:
        ValueError: it is no tutor, or its options are not allowed.
    """
    if isinstance(value, TutorSpec):
        return value
    name: str
    options: Any = {}
    if isinstance(value, str):
        name = value
    elif isinstance(value, dict) and len(value) == 1:
        ((name, options),) = value.items()
        options = {} if options is None else options
    else:
        raise ValueError(f"a tutor is a name, or one name with its options, got {value!r}")
    learned = {**LEARNERS, **learned}
    if name in learned:
        if options:
            raise ValueError(f"`{name}` is set up under `learner`, and takes no options here")
        return {"name": name}
    if name in TUTORS or is_plug_in(name):
        algorithm = name = resolve_reference(name)
    elif isinstance(options, dict) and "algorithm" in options:
        if not re.match(KEY_NAME, name):
            raise ValueError(f"a tutor's name has letters, digits, `_` and `-`, got {name!r}")
        algorithm = options["algorithm"]
        algorithm = resolve_reference(algorithm) if isinstance(algorithm, str) else algorithm
        options = {key: value for key, value in options.items() if key != "algorithm"}
    elif all_learned:
        known = {**learned, **TUTORS, **entry_points()}
        raise ValueError(f"{unknown_name('tutors', name, known)}; {HINT}")
    else:
        return {"name": name, "options": options}
    _check_tutor(name, algorithm, options)
    return {"name": name, "algorithm": algorithm, "options": options}


def _check_tutor(name: str, algorithm: Any, options: Any) -> None:
    if algorithm in TUTORS:
        try:
            TUTORS[algorithm].parameters.model_validate(options)
        except ValidationError as error:
            raise below(error, name) from None
    elif is_plug_in(algorithm):
        tutor_class(algorithm)
    else:  # a learner's name, too: it is trained under `learners`
        known = {**TUTORS, **entry_points()}
        raise ValueError(f"{unknown_name(f'tutors.{name}.algorithm', algorithm, known)}; {HINT}")


def write_tutor(spec: TutorSpec) -> Any:
    """What :func:`read_tutor` reads."""
    if spec.own_name is not None:
        return {spec.name: {"algorithm": spec.algorithm, **spec.options}}
    return {spec.name: spec.options} if spec.options else spec.name


def _read_learner(value: Any) -> Any:
    """The settings of a learner, by its ``algorithm``."""
    if value is None or isinstance(value, BaseModel):
        return value
    if not isinstance(value, dict) or "algorithm" not in value:
        raise ValueError(f"`learner` must be a mapping that names its `algorithm`, got {value!r}")
    algorithm = value["algorithm"]
    if isinstance(algorithm, str):
        value = value | {"algorithm": resolve_reference(algorithm)}
    return learner_kind(value["algorithm"]).config.model_validate(value)


def _learned(learner: Any, learners: Any) -> dict[str, Any]:
    """Name of a learned tutor -> settings of its learner."""
    named = dict(learners or {})
    if learner is not None:
        named[str(learner.algorithm).rpartition(":")[2]] = learner
    return named


FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What an experiment may be called; it names a folder."""
KEY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""What a learner under ``learners`` may be called (no dot: ``--set`` would take it apart)."""
KeyName = Annotated[str, Field(pattern=KEY_NAME)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]
AnyLearner = Annotated[Any, BeforeValidator(_read_learner)]
_Tutor = Annotated[TutorSpec, BeforeValidator(_read_tutor), PlainSerializer(write_tutor)]


class Experiment(BaseModel):
    """One experiment: students, task, what is trained, and who is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=FILE_NAME, description="names the run's folder")
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**64, description="of training")
    population: Population
    task: TeachingTask = TeachingTask()
    reference_values: dict[str, float] = Field(
        default_factory=dict,
        description="exact values of tutors where they are known; filled in from a case",
    )
    matmul_precision: MatmulPrecision = Field(
        "highest",
        description="of products in training; medium: factors rounded to bfloat16, where that is "
        "faster (Intel AMX, GPUs)",
    )
    executor: Executor = Field(
        "eager",
        description="of the students' steps in training; compile: fused by torch.compile; "
        "cuda_graph: and launched as one by a GPU",
    )
    learner: AnyLearner = Field(None, description="what is trained; nothing if left out")
    learners: dict[KeyName, AnyLearner] = Field(
        default_factory=dict,
        description="instead of `learner`: name of a tutor -> the learner that trains it",
    )
    seeds: tuple[Seed, ...] = Field(
        (), description="every learner is trained with each of these; `seed` alone if left out"
    )
    tutors: tuple[_Tutor, ...] = Field((), description="evaluated beside the learned tutors")
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    short: dict[str, Any] = Field(
        default_factory=dict, description="dotted key -> value of the short form (compare --short)"
    )

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        Classroom(self.population, self.task)  # refuses a lesson that the students cannot take
        self._check_learners()
        names = [tutor.name for tutor in self.tutors]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"`tutors` must name each tutor once, got `{name}` twice; for other settings "
                    f"give it a name of its own: `{{my_{name}: {{algorithm: {name}, ...}}}}`"
                )
            if name in LEARNERS and name not in self.learned:
                raise ValueError(f"`tutors` lists `{name}`, but `learner` does not train it")
        return self

    def _check_learners(self) -> None:
        if self.learner is not None and self.learners:
            raise ValueError("`learners` cannot stand beside `learner`: name all under `learners`")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds` must be different seeds, got {list(self.seeds)}")
        if self.seeds and not self.learned:
            raise ValueError("`seeds` are of training, and there is no `learner` to train")
        for name, learner in self.learners.items():
            if learner is None:
                raise ValueError(f"`learners.{name}` must be a mapping that names its `algorithm`")
            if name in TUTORS:
                raise ValueError(f"`learners` cannot be called like a tutor of ours, got {name!r}")

    @property
    def algorithm(self) -> str | None:
        """The learning algorithm of ``learner``; None: there is none, or there are several."""
        return None if self.learner is None else str(self.learner.algorithm)

    @property
    def learned(self) -> dict[str, Any]:
        """Name of each learned tutor -> settings of its learner."""
        return _learned(self.learner, self.learners)

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """Every learner is trained with each of them."""
        return self.seeds or (self.seed,)

    @property
    def has_parts(self) -> bool:
        """There are several trainings, each with a run folder of its own."""
        return bool(self.learners or self.seeds)

    def part(self, name: str, seed: int) -> Experiment:
        """One training of an experiment that has several, as an experiment of its own.

        Args:
            name: one of ``learned``.
            seed: one of ``training_seeds``.
        """
        others = tuple(tutor for tutor in self.tutors if tutor.name not in self.learned)
        changes: dict[str, Any] = {
            "name": f"{name}-{seed}",
            "seed": seed,
            "seeds": (),
            "learner": self.learned[name],
            "learners": {},
            "tutors": others,
            "short": {},
        }
        return self.model_copy(update=changes)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that training depends on; a checkpoint belongs to one fingerprint."""
        included = {"seed", "population", "task", "matmul_precision", "executor", "learner"}
        plain = self.model_dump(mode="json", include=included)
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        """The resolved experiment; reads back equal."""
        return dump_yaml(self.model_dump(mode="json"))
