"""Populations: distributions over latents, the *task distribution* of meta-learning.

A population names a student model and says how its latents are distributed. Students are addressed
by index; three ranges of indices keep training, validation and test students apart for ever.
"""

from __future__ import annotations

import enum
import itertools
import math
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy import special
from torch import Tensor

from tutor_envs.components import Components, ComposedStudent
from tutor_envs.distributions import AnyDistribution, Array, Distribution, Fixed, as_array
from tutor_envs.errors import below, unknown_name
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import Latents, LatentSpec, StudentModel
from tutor_envs.student_registry import configured, resolve_student, student_class

_MAX_TYPES = 4096
_RANK_EPSILON = 2.0**-25
"""Half a step of the uniforms: ranks are kept off 0 and 1, where quantiles are infinite."""


class Split(enum.StrEnum):
    """Disjoint sets of students."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


_SPLIT_RANGES = {
    Split.TRAIN: (0, 2**31),
    Split.VALIDATION: (2**31, 2**31 + 2**30),
    Split.TEST: (2**31 + 2**30, 2**32),
}


def student_indices(split: Split, n_students: int, start: int = 0) -> Tensor:
    """Indices of ``n_students`` students of a split, from its ``start``-th on; int64 ``(n,)``.

    Raises:
        ValueError: the split holds fewer students.
    """
    low, high = _SPLIT_RANGES[split]
    if start < 0 or low + start + n_students > high:
        raise ValueError(
            f"the {split} split holds {high - low} students, "
            f"got a request for students {start} to {start + n_students - 1}"
        )
    return torch.arange(low + start, low + start + n_students)


class StudentType(BaseModel):
    """A named type of students in a mixture; its latents override the population's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: float = Field(gt=0, description="share of the population, relative to the other types")
    latents: dict[str, AnyDistribution] = Field(default_factory=dict)


class Correlation(BaseModel):
    """A rank correlation between two scalar latents (correlation of the Gaussian copula)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    between: tuple[str, str]
    r: float = Field(gt=-1, lt=1)


class Variant(BaseModel):
    """A shifted population: what differs from the one it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    description: str = ""
    latents: dict[str, AnyDistribution] = Field(default_factory=dict)
    type_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class FiniteTypes(NamedTuple):
    """A finite family of students: its types and their prior.

    Attributes:
        prior: ``(H,)`` probabilities.
        latents: name -> ``(H, *shape)``.
        exact: the population has these types and no others (else they are a sample of it).
    """

    prior: Tensor
    latents: dict[str, Tensor]
    exact: bool


class Population(BaseModel):
    """A distribution over students of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    student: str = Field(description="name of the student model")
    model: Any = Field(default_factory=dict, description="configuration of the student model")
    components: Components | None = Field(None, description="what is added to the student model")
    latents: dict[str, AnyDistribution] = Field(default_factory=dict)
    types: dict[str, StudentType] = Field(default_factory=dict)
    correlations: tuple[Correlation, ...] = ()
    variants: dict[str, Variant] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _build_model(cls, data: Any) -> Any:
        if isinstance(data, dict) and not isinstance(data.get("model", {}), StudentModel):
            data = resolve_student(data)
            kind = student_class(data.get("student"))
            try:
                model = configured(kind, data.get("model") or {})
            except ValidationError as error:
                raise below(error, "model") from None
            defaults: dict[str, Any] = getattr(kind, "default_distributions", dict)()
            data = {**data, "model": model, "latents": defaults | (data.get("latents") or {})}
        return data

    @model_validator(mode="after")
    def _check(self) -> Population:
        for place, latents in self._latent_tables():
            for latent, distribution in latents.items():
                if latent not in self.specs:
                    raise ValueError(unknown_name(f"{place}", latent, self.specs))
                self._check_distribution(f"{place}.{latent}", self.specs[latent], distribution)
        for latent, spec in self.specs.items():
            if not spec.low <= spec.default <= spec.high and any(
                latent not in self.latents | kind.latents for kind in self.types.values() or (self,)
            ):
                raise ValueError(f"`latents.{latent}` must be given for this student model")
        for name, variant in self.variants.items():
            for type_name in variant.type_weights:
                if type_name not in self.types:
                    raise ValueError(
                        unknown_name(f"variants.{name}.type_weights", type_name, self.types)
                    )
        self._check_correlations()
        return self

    def _check_correlations(self) -> None:
        for correlation in self.correlations:
            if len(set(correlation.between)) < 2:
                raise ValueError(
                    f"`correlations.between` needs two latents, got {correlation.between}"
                )
            for latent in correlation.between:
                if latent not in self.specs:
                    raise ValueError(unknown_name("correlations.between", latent, self.specs))
                if self.specs[latent].shape:
                    raise ValueError(f"`correlations` need scalar latents, got `{latent}`")
        if self.correlations and np.linalg.eigvalsh(self._copula()[1]).min() <= 0:
            raise ValueError("`correlations` contradict each other: not a positive definite matrix")

    def _latent_tables(self) -> list[tuple[str, dict[str, Distribution]]]:
        tables = [("latents", self.latents)]
        tables += [(f"types.{name}.latents", kind.latents) for name, kind in self.types.items()]
        return tables + [
            (f"variants.{name}.latents", v.latents) for name, v in self.variants.items()
        ]

    @staticmethod
    def _check_distribution(place: str, spec: LatentSpec, distribution: Distribution) -> None:
        low, high = distribution.support()
        if not (spec.low <= low and high <= spec.high):
            raise ValueError(
                f"`{place}` must stay in [{spec.low:g}, {spec.high:g}], got a distribution on "
                f"[{low:g}, {high:g}]; truncate it with `low` and `high` or choose another"
            )
        ranks = [np.full((n, *spec.shape), rank) for n, rank in ((2, 0.3), (3, 0.6))]
        try:
            values = [distribution.quantile(u) for u in ranks]
            atoms = [
                np.broadcast_to(as_array(v), spec.shape) for _, v in distribution.atoms() or ()
            ]
        except (ValueError, IndexError):
            values, atoms = [np.empty(0)] * len(ranks), []
        if any(value.shape != u.shape for value, u in zip(values, ranks, strict=True)):
            raise ValueError(f"`{place}` must fit the shape {list(spec.shape)} of the latent")
        if spec.simplex and not all(
            np.allclose(value.sum(-1), 1, atol=1e-6) for value in (*values, *atoms)
        ):
            raise ValueError(f"`{place}` must sum to 1 over its last axis")

    # -- what it is made of -------------------------------------------------------------------
    @cached_property
    def student_model(self) -> StudentModel:
        """The student model, configured, with its components."""
        assert isinstance(self.model, StudentModel)
        if self.components is None:
            return self.model
        return ComposedStudent.of(self.model, self.components)

    @cached_property
    def specs(self) -> dict[str, LatentSpec]:
        """Name -> specification of every latent."""
        return self.student_model.latent_specs

    def variant(self, name: str) -> Population:
        """The population shifted as its variant ``name`` says.

        Raises:
            ValueError: there is no such variant.
        """
        if name not in self.variants:
            raise ValueError(unknown_name("variant", name, self.variants))
        shift = self.variants[name]
        types = {
            key: kind.model_copy(
                update={
                    "weight": shift.type_weights.get(key, kind.weight),
                    "latents": kind.latents | shift.latents,
                }
            )
            for key, kind in self.types.items()
        }
        changes = {
            "name": f"{self.name}:{name}",
            "types": types,
            "latents": self.latents | shift.latents,
            "variants": {},
        }
        fields = {field: getattr(self, field) for field in Population.model_fields}
        return Population.model_validate(fields | changes)

    def with_latents(self, **latents: Any) -> Population:
        """The population with some latents' distributions replaced, in every type."""
        return self.model_copy(
            update={"variants": {"changed": Variant.model_validate({"latents": latents})}}
        ).variant("changed")

    @property
    def type_names(self) -> tuple[str, ...]:
        """Names of the types in order; a population without types is one type."""
        return tuple(self.types) or (self.name,)

    @cached_property
    def _type_weights(self) -> Array:
        weights = np.array([kind.weight for kind in self.types.values()] or [1.0])
        return np.asarray(weights / weights.sum())

    @cached_property
    def _type_latents(self) -> list[dict[str, Distribution]]:
        """For every type, the distribution of every latent."""
        defaults: dict[str, Distribution] = {
            name: Fixed(value=spec.default) for name, spec in self.specs.items()
        }
        kinds = [kind.latents for kind in self.types.values()] or [{}]
        return [defaults | self.latents | latents for latents in kinds]

    # -- sampling -----------------------------------------------------------------------------
    def sample(
        self, seed: int, students: Tensor, *, dtype: torch.dtype = torch.float32
    ) -> dict[str, Tensor]:
        """Latents of the students with these indices.

        Args:
            seed: the experiment's seed.
            students: int64 ``(n,)``, any device; see :func:`student_indices`.
            dtype: of the result.

        Returns:
            name -> ``(n, *shape)`` on the students' device; ``type`` is the int64 ``(n,)`` index
            into ``type_names``. A student's latents depend on ``(seed, index)`` alone.
        """
        n_lanes = 1 + sum(spec.size for spec in self.specs.values())
        u = uniforms(seed, students.cpu(), purpose=Purpose.LATENTS, n_lanes=n_lanes)
        rank = u.numpy().astype(np.float64) + _RANK_EPSILON
        types = np.searchsorted(self._type_weights.cumsum()[:-1], rank[:, 0], side="right")
        ranks = self._correlate(self._split_lanes(rank))
        latents = {}
        for name, spec in self.specs.items():
            value = np.empty((len(rank), *spec.shape))
            for index, distributions in enumerate(self._type_latents):
                mine = types == index
                if mine.any():
                    value[mine] = distributions[name].quantile(ranks[name][mine])
            latents[name] = torch.from_numpy(value).to(device=students.device, dtype=dtype)
        latents["type"] = torch.from_numpy(types).to(students.device)
        return latents

    def _split_lanes(self, rank: Array) -> dict[str, Array]:
        ranks, lane = {}, 1
        for name, spec in self.specs.items():
            ranks[name] = rank[:, lane : lane + spec.size].reshape(len(rank), *spec.shape)
            lane += spec.size
        return ranks

    def _copula(self) -> tuple[list[str], Array]:
        names = sorted({latent for c in self.correlations for latent in c.between})
        matrix = np.eye(len(names))
        for correlation in self.correlations:
            i, j = (names.index(latent) for latent in correlation.between)
            matrix[i, j] = matrix[j, i] = correlation.r
        return names, matrix

    def _correlate(self, ranks: dict[str, Array]) -> dict[str, Array]:
        if not self.correlations:
            return ranks
        names, matrix = self._copula()
        z = special.ndtri(np.stack([ranks[name] for name in names], axis=-1))
        correlated = special.ndtr(z @ np.linalg.cholesky(matrix).T)
        bounded = np.clip(correlated, _RANK_EPSILON, 1 - _RANK_EPSILON)
        return ranks | {name: bounded[:, i] for i, name in enumerate(names)}

    # -- finite families ----------------------------------------------------------------------
    @property
    def is_finite(self) -> bool:
        """Every latent of every type takes finitely many values."""
        return all(d.atoms() is not None for table in self._type_latents for d in table.values())

    def types_exact(self, dtype: torch.dtype = torch.float64) -> FiniteTypes:
        """Every possible student and its probability.

        Raises:
            ValueError: a latent is continuous, or there are more than 4,096 combinations.
        """
        if not self.is_finite:
            raise ValueError(
                f"population `{self.name}` has continuous latents: not a finite family"
            )
        rows: list[tuple[float, dict[str, Any]]] = []
        for weight, table in zip(self._type_weights, self._type_latents, strict=True):
            atoms = [table[name].atoms() or [] for name in self.specs]
            if len(rows) + math.prod(map(len, atoms)) > _MAX_TYPES:
                raise ValueError(f"population `{self.name}` has more than {_MAX_TYPES} types")
            for combination in itertools.product(*atoms):
                p = weight * math.prod(probability for probability, _ in combination)
                values = (value for _, value in combination)
                rows.append((p, dict(zip(self.specs, values, strict=True))))
        latents = {
            name: torch.stack(
                [torch.as_tensor(row[name], dtype=dtype).expand(spec.shape) for _, row in rows]
            )
            for name, spec in self.specs.items()
        }
        prior = torch.tensor([p for p, _ in rows], dtype=dtype)
        return FiniteTypes(prior / prior.sum(), latents, exact=True)

    def types_sampled(
        self, seed: int, n_types: int, dtype: torch.dtype = torch.float64
    ) -> FiniteTypes:
        """``n_types`` students of the training split as an equally weighted sample of types."""
        students = student_indices(Split.TRAIN, n_types)
        latents = self.sample(seed, students, dtype=dtype)
        latents.pop("type")
        return FiniteTypes(torch.full((n_types,), 1 / n_types, dtype=dtype), latents, exact=False)


__all__ = [
    "Correlation",
    "FiniteTypes",
    "Latents",
    "Population",
    "Split",
    "StudentType",
    "Variant",
    "student_indices",
]
