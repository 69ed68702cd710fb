"""Distributions of latents, as they are written in a population file.

Every distribution is sampled by its inverse cumulative distribution function, so one uniform gives
one number: a student keeps its rank when a variant shifts the distribution, and correlations are a
Gaussian copula over the ranks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from scipy import special

from tutor_envs.errors import below

Array = NDArray[np.float64]
Numbers = float | tuple[float, ...] | tuple[tuple[float, ...], ...]
"""A number, a list of numbers, or a list of lists: no latent has more axes."""


def as_array(value: Any) -> Array:
    """Numbers from YAML as a float64 array; ValueError if they are ragged."""
    return np.asarray(value, dtype=np.float64)


class Distribution(BaseModel, ABC):
    """A distribution of one latent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def quantile(self, u: Array) -> Array:
        """Values at ranks ``u`` in (0, 1), of the same shape ``(n, *shape)``."""

    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value."""

    def atoms(self) -> list[tuple[float, Any]] | None:
        """``(probability, value)`` of every possible value; None: not finite."""
        return None


class _Bounded(Distribution):
    low: float = -math.inf
    high: float = math.inf

    @model_validator(mode="after")
    def _check_bounds(self) -> _Bounded:
        if not self.low < self.high:
            raise ValueError(f"`low` must be < `high`, got {self.low} and {self.high}")
        return self

    @abstractmethod
    def _cdf(self, x: Array) -> Array: ...

    @abstractmethod
    def _quantile(self, u: Array) -> Array: ...

    def quantile(self, u: Array) -> Array:
        """Inverse CDF of the distribution truncated to [low, high]."""
        low, high = self._cdf(as_array(self.low)), self._cdf(as_array(self.high))
        return np.clip(self._quantile(low + u * (high - low)), self.low, self.high)


class Normal(_Bounded):
    """Normal distribution, truncated to [low, high]."""

    mean: Numbers = 0.0
    sd: Annotated[float, Field(gt=0)] = 1.0

    def _cdf(self, x: Array) -> Array:
        return np.asarray(special.ndtr((x - as_array(self.mean)) / self.sd))

    def _quantile(self, u: Array) -> Array:
        return np.asarray(as_array(self.mean) + self.sd * special.ndtri(u))

    def support(self) -> tuple[float, float]:
        """The truncation bounds."""
        return self.low, self.high


class LogNormal(_Bounded):
    """exp of a normal distribution with this mean and sd, truncated to [low, high]."""

    low: Annotated[float, Field(ge=0)] = 0.0
    mean: Numbers = 0.0
    sd: Annotated[float, Field(gt=0)] = 1.0

    def _cdf(self, x: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(special.ndtr((np.log(x) - as_array(self.mean)) / self.sd))

    def _quantile(self, u: Array) -> Array:
        return np.asarray(np.exp(as_array(self.mean) + self.sd * special.ndtri(u)))

    def support(self) -> tuple[float, float]:
        """The truncation bounds."""
        return self.low, self.high


class Uniform(Distribution):
    """Uniform on [low, high]."""

    low: float
    high: float

    @model_validator(mode="after")
    def _check(self) -> Uniform:
        if not self.low < self.high:
            raise ValueError(f"`low` must be < `high`, got {self.low} and {self.high}")
        return self

    def quantile(self, u: Array) -> Array:
        """``low + u (high - low)``."""
        return self.low + u * (self.high - self.low)

    def support(self) -> tuple[float, float]:
        """``(low, high)``."""
        return self.low, self.high


class Beta(Distribution):
    """Beta distribution by mean and concentration: ``a = mean c``, ``b = (1 - mean) c``."""

    mean: Annotated[float, Field(gt=0, lt=1)]
    concentration: Annotated[float, Field(gt=0)]

    def quantile(self, u: Array) -> Array:
        """Inverse regularised incomplete beta function."""
        a, b = self.mean * self.concentration, (1 - self.mean) * self.concentration
        return np.asarray(special.betaincinv(a, b, u))

    def support(self) -> tuple[float, float]:
        """``(0, 1)``."""
        return 0.0, 1.0


class Dirichlet(Distribution):
    """Dirichlet distribution over the last axis of the latent.

    Sampled as normalised gamma variates by the inverse CDF.
    """

    concentration: tuple[Annotated[float, Field(gt=0)], ...] | Annotated[float, Field(gt=0)]

    def quantile(self, u: Array) -> Array:
        """Normalised inverse-gamma-CDF of each component."""
        if u.ndim < 2:
            raise ValueError("`dirichlet` needs a latent with at least one axis")
        gamma = special.gammaincinv(as_array(self.concentration), u)
        gamma = np.maximum(gamma, np.finfo(np.float64).tiny)
        return np.asarray(gamma / gamma.sum(-1, keepdims=True))

    def support(self) -> tuple[float, float]:
        """``(0, 1)``."""
        return 0.0, 1.0


class Categorical(Distribution):
    """One of several values (numbers, or nested lists of the latent's shape)."""

    values: Annotated[tuple[Numbers, ...], Field(min_length=1)]
    probabilities: tuple[Annotated[float, Field(ge=0)], ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Categorical:
        p = self.probabilities
        if p is not None and len(p) != len(self.values):
            raise ValueError(f"`probabilities` must have {len(self.values)} numbers, got {len(p)}")
        if p is not None and not math.isclose(sum(p), 1, abs_tol=1e-6):
            raise ValueError(f"`probabilities` must sum to 1, got {sum(p):g}")
        return self

    def _probabilities(self) -> Array:
        if self.probabilities is None:
            return np.full(len(self.values), 1 / len(self.values))
        return as_array(self.probabilities)

    def quantile(self, u: Array) -> Array:
        """The value whose cumulative probability covers the first component of ``u``."""
        first = u.reshape(u.shape[0], -1)[:, 0]
        drawn = np.searchsorted(self._probabilities().cumsum()[:-1], first, side="right")
        values = as_array(self.values)
        values = values.reshape(len(values), *(1,) * (u.ndim - values.ndim), *values.shape[1:])
        return np.broadcast_to(values[drawn], u.shape).copy()

    def support(self) -> tuple[float, float]:
        """Smallest and largest value."""
        values = as_array(self.values)
        return float(values.min()), float(values.max())

    def atoms(self) -> list[tuple[float, Any]]:
        """Every value with its probability."""
        return list(zip(self._probabilities().tolist(), self.values, strict=True))


class Fixed(Distribution):
    """One value for every student (a number, or nested lists of the latent's shape)."""

    value: Numbers

    def quantile(self, u: Array) -> Array:
        """The value, whatever the rank."""
        return np.broadcast_to(as_array(self.value), u.shape).copy()

    def support(self) -> tuple[float, float]:
        """The smallest and largest component."""
        values = as_array(self.value)
        return float(values.min()), float(values.max())

    def atoms(self) -> list[tuple[float, Any]]:
        """The value, with probability one."""
        return [(1.0, self.value)]


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "normal": Normal,
    "lognormal": LogNormal,
    "uniform": Uniform,
    "beta": Beta,
    "dirichlet": Dirichlet,
    "categorical": Categorical,
    "fixed": Fixed,
}
"""Name in a population file -> distribution."""


def parse_distribution(value: Any) -> Distribution:
    """A distribution from its YAML form: ``{normal: {mean: 0, sd: 1}}``, or a number or list.

    Raises:
        ValueError: neither a number, a list, nor a mapping with one known key.
    """
    if isinstance(value, Distribution):
        return value
    if not isinstance(value, dict):
        return _fixed(value)
    if len(value) != 1 or next(iter(value)) not in DISTRIBUTIONS:
        raise ValueError(
            f"a distribution is a number, a list, or one of {', '.join(DISTRIBUTIONS)} "
            f"with its parameters, got {value}"
        )
    ((name, parameters),) = value.items()
    if name == "fixed" and not isinstance(parameters, dict):
        return _fixed(parameters)
    try:
        return DISTRIBUTIONS[name].model_validate(parameters)
    except ValidationError as error:
        raise below(error, name) from None


def _fixed(value: Any) -> Fixed:
    try:
        return Fixed(value=value)
    except ValidationError:
        raise ValueError(
            f"a fixed value is a number or nested lists of numbers, got {value!r}"
        ) from None


def dump_distribution(distribution: Distribution) -> Any:
    """The YAML form of a distribution; ``parse_distribution`` reads it back equal."""
    if isinstance(distribution, Fixed):
        return distribution.value
    name = next(name for name, kind in DISTRIBUTIONS.items() if kind is type(distribution))
    return {name: distribution.model_dump(exclude_defaults=True)}


class _YamlForm:
    """JSON Schema of a distribution's YAML form."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        forms: list[JsonSchemaValue] = [
            {
                "type": "object",
                "properties": {name: handler(kind.__pydantic_core_schema__)},
                "required": [name],
                "additionalProperties": False,
            }
            for name, kind in sorted(DISTRIBUTIONS.items(), key=lambda item: item[1] is Fixed)
        ]
        bare: list[JsonSchemaValue] = [{"type": "number"}, {"type": "array"}]
        fixed = forms[-1]["properties"]["fixed"]
        forms[-1]["properties"]["fixed"] = {"anyOf": [*bare, fixed]}
        return {"anyOf": [*bare, *forms]}


AnyDistribution = Annotated[
    Distribution,
    BeforeValidator(parse_distribution),
    PlainSerializer(dump_distribution),
    _YamlForm,
]
"""A field that reads a distribution from YAML and writes it back."""
