"""Standard shifts: a population whose students differ in one named way, whatever their model.

===================  ==============================================================================
``weaker``           ability one standard deviation lower
``slower``           every practice teaches half as much
``more_slips``       0.1 more probability of a wrong answer in spite of knowing
``more_forgetting``  what is remembered fades 3.75 times as fast
``no_styles``        the modality makes no difference
``stronger_styles``  the effect of the modality is half-way to the strongest there is
``turned_styles``    everyone's responsiveness moved on by one modality
===================  ==============================================================================

Every student keeps the rank among the others: student ``i`` of the shifted population is student
``i`` of the one it came from, changed. Which latents stand for learning and for forgetting is told
by a table for each model; where a model has none, the shift is refused.

Sources: log half-life differs between people by 1.2 to 1.4, which is 3.5 to 4 times per standard
deviation (spaced-repetition models fitted to 9,999 users; the population ``fast_forgetters`` has
the same 3.75). How far the other shifts go is our choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import SerializeAsAny

from tutor_envs.distributions import Array, Distribution, Fixed, as_array
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.student import LatentSpec

SHIFTS: dict[str, str] = {
    "weaker": "ability one standard deviation lower",
    "slower": "every practice teaches half as much",
    "more_slips": "0.1 more probability of a slip",
    "more_forgetting": "what is remembered fades 3.75 times as fast",
    "no_styles": "the modality makes no difference",
    "stronger_styles": "the effect of the modality half-way to the strongest",
    "turned_styles": "everyone's responsiveness moved on by one modality",
}
"""Name -> what is changed."""

_N_SAMPLED = 4096
"""Training students from which the spread of ability is taken."""
_N_COMPARED = 64
"""Training students that tell whether anything is changed at all."""


class Shifted(Distribution):
    """``factor * value + offset`` of another distribution, cut off: ranks are kept.

    Attributes:
        of: the distribution before.
        factor: on its values, > 0.
        offset: added then.
        low: smallest value afterwards.
        high: largest value afterwards.
    """

    of: SerializeAsAny[Distribution]
    factor: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    def quantile(self, u: Array) -> Array:
        """The mapped values of the distribution before."""
        return self._map(self.of.quantile(u))

    def support(self) -> tuple[float, float]:
        """The mapped ends."""
        low, high = (float(self._map(end)) for end in self.of.support())
        return low, high

    def atoms(self) -> list[tuple[float, Any]] | None:
        """The mapped values, each with its probability."""
        atoms = self.of.atoms()
        return None if atoms is None else [(p, self._map(value).tolist()) for p, value in atoms]

    def _map(self, value: Any) -> Array:
        return np.clip(self.factor * as_array(value) + self.offset, self.low, self.high)


class Turned(Distribution):
    """Another distribution's vectors, moved on by one place: the last number becomes the first."""

    of: SerializeAsAny[Distribution]

    def quantile(self, u: Array) -> Array:
        """The turned values of the distribution before."""
        return np.roll(self.of.quantile(u), 1, axis=-1)

    def support(self) -> tuple[float, float]:
        """As before."""
        return self.of.support()

    def atoms(self) -> list[tuple[float, Any]] | None:
        """The turned values, each with its probability."""
        atoms = self.of.atoms()
        if atoms is None:
            return None
        return [(p, np.roll(np.atleast_1d(value), 1, axis=-1).tolist()) for p, value in atoms]


# -- which latents, and how ------------------------------------------------------------------------
Change = Callable[[Distribution, LatentSpec], Distribution]
"""How one latent is changed."""


def _affine(factor: float = 1.0, offset: float = 0.0) -> Change:
    def change(before: Distribution, spec: LatentSpec) -> Distribution:
        return Shifted(of=before, factor=factor, offset=offset, low=spec.low, high=spec.high)

    return change


def _none(before: Distribution, spec: LatentSpec) -> Distribution:
    return Fixed(value=0.0)


def _turned(before: Distribution, spec: LatentSpec) -> Distribution:
    return Turned(of=before)


_FADE = 3.75
_HALF = _affine(0.5)
_FASTER = _affine(_FADE)
_SHORTER = _affine(1 / _FADE)
_STEEPER = _affine(2.0)
"""For exponents and slopes over the logarithm of time, which no factor on time describes."""

_LEARNING: dict[str, dict[str, Change]] = {
    "afm": {"log_speed": _affine(1, -math.log(2))},
    "bkt": {"p_learn": _HALF},
    "das3h": {"correct_weight": _HALF},
    "dash": {"correct_weight": _HALF},
    "dash_actr": {"correct_weight": _HALF},
    "dash_mcm": {"correct_weight": _HALF},
    "data_shaped": {"p_acquire": _HALF, "growth": _HALF},
    "elo": {"k_correct": _HALF},
    "fsrs": {"w8": _affine(1, -math.log(2))},  # stability grows by exp(w8)
    "hlr": {"right_weight": _HALF},
    "irt": {"growth": _HALF},
    "kss": {"rate": _HALF},
    "memory": {"growth": _affine(0.5, 0.5)},  # a factor on the half-life: 1 is no growth
    "mirt": {"growth": _HALF},
    "ou": {"growth": _HALF},
    "pfa": {"log_speed": _affine(1, -math.log(2))},
    "ppe": {"learning": _HALF},
    "style_bandit": {"p_event": _HALF},
    "tms": {"p_learn": _HALF},
    "zpd": {"growth": _HALF},
}
"""Student model -> the latents by which a practice teaches, halved."""

_FORGETTING: dict[str, dict[str, Change]] = {
    "actr": {"decay": _STEEPER},
    "bkt": {"p_forget": _FASTER},
    "das3h": {"rate": _FASTER},
    "dash_actr": {"decay": _STEEPER},
    "data_shaped": {"forgetting": _STEEPER},
    "efc": {"decay_rate": _FASTER},
    "fsrs": dict.fromkeys(("w0", "w1", "w2", "w3"), _SHORTER),  # stability after a first review
    "hlr": {"bias": _affine(1, -math.log2(_FADE))},  # the half-life is 2**(bias + ...)
    "irt": {"drift_per_day": _FASTER},
    "memory": {"half_life": _SHORTER},
    "ou": {"reversion": _FASTER},
    "ppe": {"base_decay": _STEEPER},
    "zpd": {"forget_per_day": _FASTER},
}
"""Student model -> the latents by which it forgets."""


def shifted(population: Population, name: str) -> Population:
    """The population with its students changed by a standard shift, called ``<its name>:<shift>``.

    Args:
        population: whose students are changed.
        name: one of ``SHIFTS``.

    Raises:
        ValueError: no such shift, or one that makes no sense for these students; the text says why.
    """
    if name not in SHIFTS:
        raise ValueError(unknown_name("shift", name, SHIFTS))
    wanted = _changes(population, name)
    changes = {latent: change for latent, change in wanted.items() if latent in population.specs}
    if not changes:
        raise ValueError(f"student model `{population.student}` has no latent for it")
    defaults = {name: Fixed(value=population.specs[name].default) for name in changes}
    types = {
        key: kind.model_copy(update={"latents": _changed(kind.latents, changes, population)})
        for key, kind in population.types.items()
    }
    fields = {field: getattr(population, field) for field in Population.model_fields}
    after = Population.model_validate(
        fields
        | {
            "name": f"{population.name}:{name}",
            "description": SHIFTS[name],
            "latents": _changed(defaults | population.latents, changes, population),
            "types": types,
            "variants": {},
        }
    )
    if _same_students(population, after):
        latents = ", ".join(f"`{latent}`" for latent in changes)
        raise ValueError(f"it changes no student of `{population.name}` (see {latents})")
    return after


def _changes(population: Population, name: str) -> Mapping[str, Change]:
    """Latent -> how it is changed; the model need not have it."""
    if name == "slower":
        return _LEARNING.get(population.student, {})
    if name == "more_forgetting":
        return _FORGETTING.get(population.student, {})
    others: dict[str, dict[str, Change]] = {
        "weaker": {"ability": _affine(1, -_spread_of_ability(population))},
        "more_slips": {"p_slip": _affine(1, 0.1)},
        "no_styles": {"style_strength": _none},
        "stronger_styles": {"style_strength": _affine(0.5, 0.5)},
        "turned_styles": {"responsiveness": _turned},
    }
    return others[name]


def _changed(
    latents: Mapping[str, Distribution], changes: Mapping[str, Change], population: Population
) -> dict[str, Distribution]:
    return {
        name: changes[name](before, population.specs[name]) if name in changes else before
        for name, before in latents.items()
    }


def _spread_of_ability(population: Population) -> float:
    """Standard deviation of ability; 1, its unit, where all have the same."""
    students = student_indices(Split.TRAIN, _N_SAMPLED)
    ability = population.sample(0, students, dtype=torch.float64)["ability"]
    return float(ability.std()) if ability.max() > ability.min() else 1.0


def _same_students(one: Population, other: Population) -> bool:
    students = student_indices(Split.TRAIN, _N_COMPARED)
    before, after = (p.sample(0, students, dtype=torch.float64) for p in (one, other))
    return all(torch.equal(before[name], after[name]) for name in before)
