"""The study: what is written in its YAML file, as typed models.

A study is an experiment with several populations. Files are read by :mod:`tutor_sim.study.files`;
the models here hold the resolved study and nothing that points elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tutor_envs.errors import unknown_name
from tutor_envs.executors import Executor
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_envs.yaml_loading import dump_yaml
from tutor_sim.config import (
    FILE_NAME,
    AnyLearner,
    CheckpointConfig,
    EvaluationConfig,
    Experiment,
    KeyName,
    Seed,
    TutorSpec,
    read_tutor,
    write_tutor,
)
from tutor_sim.precision import MatmulPrecision
from tutor_sim.tables import METRICS


class StudyPopulation(BaseModel):
    """Whose students are taught, and for what."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    population: Population
    variant: str | None = Field(None, description="one of the population's variants, instead of it")
    task: TeachingTask | None = Field(None, description="instead of the study's task")
    reference_values: dict[str, float] = Field(
        default_factory=dict,
        description="exact values of tutors where they are known; filled in from a case",
    )

    @model_validator(mode="after")
    def _check(self) -> StudyPopulation:
        if self.variant is not None:
            self.population.variant(self.variant)
        return self

    @property
    def taught(self) -> Population:
        """The population, or its variant."""
        return self.population if self.variant is None else self.population.variant(self.variant)


def _read_seeds(value: Any) -> Any:
    """``3`` means ``[0, 1, 2]``."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"`seeds` must be a list of seeds, or how many, got {value}")
        return tuple(range(value))
    return value


def _read_tutor(value: Any, info: ValidationInfo) -> Any:
    return read_tutor(value, info.data.get("learners", {}), "learners" in info.data)


_Tutor = Annotated[TutorSpec, BeforeValidator(_read_tutor), PlainSerializer(write_tutor)]


class Study(BaseModel):
    """Populations x tutors x seeds: everyone teaches everyone's students, with every seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["study"] = Field(description="what the file is")
    name: str = Field(pattern=FILE_NAME, description="names the study's folder")
    description: str = ""
    populations: dict[KeyName, StudyPopulation] = Field(min_length=1)
    task: TeachingTask = Field(
        TeachingTask(), description="of every population that has none of its own"
    )
    matmul_precision: MatmulPrecision = Field(
        "highest", description="of products in training, as in an experiment"
    )
    executor: Executor = Field("eager", description="of steps in training, as in an experiment")
    learners: dict[KeyName, AnyLearner] = Field(
        default_factory=dict, description="name of a tutor -> the learner that trains it"
    )
    tutors: tuple[_Tutor, ...] = Field((), description="those that are not trained")
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_read_seeds)] = Field(
        min_length=1, description="of training and of what tutors prepare; a list, or how many"
    )
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    metrics: tuple[str, ...] = Field(
        ("score", "versus_baseline", "worst_decile"), description="columns of the printed tables"
    )
    short: dict[str, Any] = Field(
        default_factory=dict, description="dotted key -> value of the short form (study --short)"
    )

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for name in metrics:
            if name not in METRICS:
                raise ValueError(unknown_name("metrics", name, METRICS))
        return metrics

    @model_validator(mode="after")
    def _check(self) -> Study:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds` must be different seeds, got {list(self.seeds)}")
        if not self.tutors_taking_part:
            raise ValueError("`tutors` and `learners` are empty: nobody teaches")
        for name, own in self.populations.items():
            try:
                self.experiment(name)
            except ValidationError as error:
                text = str(error.errors()[0]["ctx"]["error"])
                if own.task is not None:
                    text = text.replace("`task.", f"`populations.{name}.task.")
                raise ValueError(f"{text} (population `{name}`)") from None
        names = self.tutors_taking_part
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`tutors` must have different names, got `{name}` twice")
        return self

    @property
    def tutors_taking_part(self) -> list[str]:
        """Names of the learned tutors, then of the others."""
        others = [tutor_label(spec) for spec in self.tutors if spec.name not in self.learners]
        return [*self.learners, *others]

    def experiment(self, population: str) -> Experiment:
        """What is compared with one population, as an experiment.

        Args:
            population: one of ``populations``.

        Raises:
            ValueError: a tutor cannot teach it, or the task cannot be done with its students.
        """
        own = self.populations[population]
        return Experiment(
            name=population,
            seed=self.seeds[0],
            population=own.taught,
            task=own.task or self.task,
            reference_values=own.reference_values,
            matmul_precision=self.matmul_precision,
            executor=self.executor,
            learners=self.learners,
            seeds=self.seeds if self.learners else (),
            tutors=self.tutors,
            evaluation=self.evaluation,
            checkpoint=self.checkpoint,
        )

    def to_yaml(self) -> str:
        """The resolved study; reads back equal."""
        return dump_yaml(self.model_dump(mode="json"))


def tutor_label(spec: TutorSpec) -> str:
    """What names a tutor's folder: of a third party's, the class."""
    return spec.name.rpartition(":")[2]
