"""The experiment: what is written in its YAML file, as typed models.

Files are read by :mod:`tutor_sim.experiment_files`, which also resolves references to other files;
the models here hold the resolved experiment and nothing that points elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from tutor_agents.registry import TUTORS, check_can_teach
from tutor_envs.classroom import Classroom
from tutor_envs.errors import below, unknown_name
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_envs.yaml_loading import dump_yaml
from tutor_sim.learners import LEARNERS, learner_kind


class TutorSpec(BaseModel):
    """A tutor to evaluate: its name in the registry and its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class EvaluationConfig(BaseModel):
    """How tutors are scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_students: int = Field(2000, ge=2, description="test students, the same for every tutor")
    seed: int = Field(1, ge=0, lt=2**64, description="of the test and validation students")
    validation_students: int = Field(500, ge=2, description="students who select the checkpoint")
    every_updates: int = Field(20, ge=1, description="updates between two validations")


class CheckpointConfig(BaseModel):
    """When a run is saved, and how much of it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    every_updates: int = Field(20, ge=1, description="updates between two checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints kept, beside the best one")


def _read_tutor(value: Any) -> Any:
    """``random``, or ``{mastery_threshold: {threshold: 0.9}}``."""
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
    if name in LEARNERS:
        if options:
            raise ValueError(f"`{name}` is set up under `learner`, and takes no options here")
    elif name in TUTORS:
        try:
            TUTORS[name].parameters.model_validate(options)
        except ValidationError as error:
            raise below(error, name) from None
    else:
        raise ValueError(unknown_name("tutors", name, [*LEARNERS, *TUTORS]))
    return {"name": name, "options": options}


def _write_tutor(spec: TutorSpec) -> Any:
    return {spec.name: spec.options} if spec.options else spec.name


def _read_learner(value: Any) -> Any:
    """The settings of a learner, by its ``algorithm``."""
    if value is None or isinstance(value, BaseModel):
        return value
    if not isinstance(value, dict) or "algorithm" not in value:
        raise ValueError(f"`learner` must be a mapping that names its `algorithm`, got {value!r}")
    return learner_kind(value["algorithm"]).config.model_validate(value)


_Tutor = Annotated[TutorSpec, BeforeValidator(_read_tutor), PlainSerializer(_write_tutor)]
_Learner = Annotated[Any, BeforeValidator(_read_learner)]


class Experiment(BaseModel):
    """One experiment: students, task, what is trained, and who is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the run's folder")
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**64, description="of training")
    population: Population
    task: TeachingTask = TeachingTask()
    reference_values: dict[str, float] = Field(
        default_factory=dict,
        description="exact values of tutors where they are known; filled in from a case",
    )
    learner: _Learner = Field(None, description="what is trained; nothing if left out")
    tutors: tuple[_Tutor, ...] = Field((), description="evaluated beside the learner's tutor")
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    short: dict[str, Any] = Field(
        default_factory=dict, description="dotted key -> value of the short form (compare --short)"
    )

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        Classroom(self.population, self.task)  # refuses a lesson that the students cannot take
        names = [tutor.name for tutor in self.tutors]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`tutors` must name each tutor once, got `{name}` twice")
            if name in LEARNERS and name != self.algorithm:
                raise ValueError(f"`tutors` lists `{name}`, but `learner` does not train it")
            if name in TUTORS:
                check_can_teach(name, self.population)
        return self

    @property
    def algorithm(self) -> str | None:
        """Name of the learning algorithm and of its tutor; None: nothing is trained."""
        return None if self.learner is None else str(self.learner.algorithm)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that training depends on; a checkpoint belongs to one fingerprint."""
        plain = self.model_dump(mode="json", include={"seed", "population", "task", "learner"})
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        """The resolved experiment; reads back equal."""
        return dump_yaml(self.model_dump(mode="json"))
