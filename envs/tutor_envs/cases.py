"""Small families of students with exactly known values, as ordinary populations.

A cases file is JSON: ``{"format": 1, "cases": [{"name", "family", "parameters", "values"}, ...]}``.
The families are ``style_bandit``, ``style_bandit_with_questionnaire``, ``bkt_types`` and
``memory_types``; a case becomes a population with one named type for each row of its prior, and a
task whose score is the return that the file's values are stated in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.task import Reward, TeachingTask


class Case(BaseModel):
    """One family with exact parameters and, where known, exact values.

    Attributes:
        values: tutor -> expected undiscounted return (and what else the file says).
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: str
    family: str
    parameters: dict[str, Any]
    values: dict[str, Any] = Field(default_factory=dict)

    def population(self) -> Population:
        """The family as a population of named types.

        Raises:
            ValueError: an unknown family, or parameters that do not describe one.
        """
        if self.family not in _POPULATIONS:
            raise ValueError(unknown_name(f"cases.{self.name}.family", self.family, _POPULATIONS))
        try:
            model, types = _POPULATIONS[self.family](self.parameters)
            data = {
                "name": self.name,
                "student": _STUDENTS[self.family],
                "model": model,
                "types": {
                    f"type_{i}": {"weight": weight, "latents": latents}
                    for i, (weight, latents) in enumerate(
                        zip(self.parameters["prior"], types, strict=True)
                    )
                    if weight > 0
                },
            }
        except KeyError as error:
            raise ValueError(f"case `{self.name}` lacks the parameter {error}") from error
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"case `{self.name}` has parameters of the wrong shape: {error}"
            ) from error
        return Population.model_validate(data)

    def task(self) -> TeachingTask:
        """One lesson of T actions whose score is the return of the file's values."""
        scale = 1.0
        if self.family.startswith("style_bandit"):
            scale = float(self.parameters["T"])
        elif self.family == "bkt_types":
            scale = float(sum(self.parameters["weights"]))
        return TeachingTask(n_steps=self.parameters["T"], reward=Reward(scale=scale))


def _style_bandit(parameters: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    p = np.asarray(parameters["p"], dtype=np.float64)
    model = {"modalities": [f"modality_{m}" for m in range(p.shape[1])], "n_units": parameters["T"]}
    if "acc" in parameters:
        model |= {"questionnaire_accuracy": parameters["acc"], "n_labels": len(p)}
    types = []
    for label, row in enumerate(p):
        latents: dict[str, Any] = {
            "p_event": float(row.mean()),
            "style_strength": 1.0,
            "responsiveness": (
                row / row.sum() if row.sum() > 0 else np.full(len(row), 1 / len(row))
            ).tolist(),
            "p_slip": parameters["slip"],
            "p_guess": parameters["guess"],
        }
        types.append(latents | ({"style_label": label} if "acc" in parameters else {}))
    return model, types


def _bkt_types(parameters: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    learn = np.asarray(parameters["learn"], dtype=np.float64)
    n_types, n_skills, n_modalities = learn.shape
    weights = np.asarray(parameters["weights"], dtype=np.float64)
    prerequisites = parameters.get("prereq") or []
    model: dict[str, Any] = {
        "n_skills": n_skills,
        "modalities": [f"modality_{m}" for m in range(n_modalities)],
        "prerequisites": {k: needed for k, needed in enumerate(prerequisites) if needed},
        "prerequisite_factor": parameters.get("eps", 1.0),
        "weights": (weights / weights.sum()).tolist(),
    }
    closed = parameters.get("init_closed")
    types: list[dict[str, Any]] = []
    for i in range(n_types):
        types.append(
            {
                "p_learn": learn[i].tolist(),
                "p_slip": parameters["slip"][i],
                "p_guess": parameters["guess"][i],
            }
        )
        if not closed:
            types[i]["p_init"] = parameters["init"][i]
    if closed:
        masks = sorted({int(mask) for table in closed for mask in table})
        model["initial_states"] = [[k for k in range(n_skills) if mask >> k & 1] for mask in masks]
        for latents, table in zip(types, closed, strict=True):
            latents["p_initial_state"] = [table.get(str(mask), 0.0) for mask in masks]
    return model, types


def _memory_types(parameters: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    model = {
        "n_items": len(parameters["d0"]),
        "modalities": ["review"],
        "max_strength": parameters["N"],
        "fail_to": parameters.get("fail_to"),
        "delay": parameters["delay"],
        "initial_lag": parameters["d0"],
    }
    return model, [{"half_life": h, "growth": parameters["growth"]} for h in parameters["h"]]


_POPULATIONS = {
    "style_bandit": _style_bandit,
    "style_bandit_with_questionnaire": _style_bandit,
    "bkt_types": _bkt_types,
    "memory_types": _memory_types,
}
_STUDENTS = {
    "style_bandit": "style_bandit",
    "style_bandit_with_questionnaire": "style_bandit",
    "bkt_types": "bkt",
    "memory_types": "memory",
}


def load_cases(path: Path) -> list[Case]:
    """Every case of a cases file.

    Raises:
        ValueError: not a cases file of format 1 (the text names the file).
        OSError: the file cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if (
        not isinstance(data, dict)
        or data.get("format") != 1
        or not isinstance(data.get("cases"), list)
    ):
        raise ValueError(
            f"{path}: a cases file must be an object with `format`: 1 and a list `cases`"
        )
    return [Case.model_validate(case) for case in data["cases"]]
