"""JSON Schema of experiment files, for editors that complete and check YAML."""

from __future__ import annotations

import math
from typing import Any

from tutor_agents.registry import TUTORS
from tutor_envs.student_registry import GYM, known_names, student_class
from tutor_envs.students import STUDENT_MODELS
from tutor_sim.config import KEY_NAME, Experiment
from tutor_sim.learners import LEARNERS

_REFERENCE = "^.+:[A-Za-z_]"
_ONE_KEY = {"minProperties": 1, "maxProperties": 1, "additionalProperties": False}
_THIRD_PARTY_LEARNER = {
    "type": "object",
    "properties": {"algorithm": {"type": "string", "not": {"enum": list(LEARNERS)}}},
    "required": ["algorithm"],
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> dict[str, Any]:
    """The schema of an experiment file: one experiment, or several under ``experiments``."""
    schema = Experiment.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    definitions["Experiment"] = schema
    properties = schema["properties"]
    population = definitions["Population"]
    models = STUDENT_MODELS | {GYM: student_class(GYM)}
    population["properties"]["model"] = _any_of(models, definitions)
    population["properties"]["model"]["anyOf"].append({"type": "object"})  # of custom students
    population["properties"]["student"] |= {
        "anyOf": [{"enum": known_names()}, {"type": "string", "pattern": _REFERENCE}]
    }
    population["allOf"] = [
        {
            "if": {"properties": {"student": {"const": name}}},
            "then": {"properties": {"model": {"$ref": f"#/$defs/{kind.__name__}"}}},
        }
        for name, kind in models.items()
    ]
    properties["population"] = {
        "description": "the population, the path of a population file, or a case with known values",
        "anyOf": [
            {"$ref": "#/$defs/Population"},
            {"type": "string"},
            {
                "type": "object",
                "properties": {"case": {"type": "string"}, "file": {"type": "string"}},
                "required": ["case", "file"],
                "additionalProperties": False,
            },
        ],
    }
    learners = {name: kind.config for name, kind in LEARNERS.items()}
    one = _any_of(learners, definitions)
    one["anyOf"].append(_THIRD_PARTY_LEARNER)
    properties["learner"] |= {"anyOf": [*one["anyOf"], {"type": "null"}]}
    properties["learners"] |= {
        "patternProperties": {KEY_NAME: one},
        "additionalProperties": False,
    }
    for kind in learners.values():
        definitions[kind.__name__].setdefault("required", []).append("algorithm")
    options = {name: kind.parameters for name, kind in TUTORS.items()}
    del definitions["TutorSpec"]
    properties["tutors"]["items"] = {
        "anyOf": [
            {"type": "string"},  # a tutor, a learned one, or a reference
            {"type": "object", "patternProperties": {_REFERENCE: {"type": "object"}}, **_ONE_KEY},
            *(
                {
                    "type": "object",
                    "properties": {name: _any_of({name: kind}, definitions)},
                    "required": [name],
                    "additionalProperties": False,
                }
                for name, kind in options.items()
            ),
        ]
    }
    several = {
        "type": "object",
        "properties": {"experiments": {"type": "array", "items": {"$ref": "#/$defs/Experiment"}}},
        "required": ["experiments"],
        "additionalProperties": False,
    }
    whole: dict[str, Any] = _finite(
        {
            "$schema": _DIALECT,
            "title": "tutor-sim experiment",
            "anyOf": [{"$ref": "#/$defs/Experiment"}, several],
            "$defs": definitions,
        }
    )
    return whole


def _any_of(models: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """One of these models; what they consist of goes to ``definitions``."""
    for model in models.values():
        schema = model.model_json_schema()
        definitions |= schema.pop("$defs", {})
        definitions[model.__name__] = schema
    return {"anyOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in models.values()]}


def _finite(value: Any) -> Any:
    """Leave out defaults that JSON cannot hold (infinite bounds)."""
    if isinstance(value, dict):
        return {
            key: _finite(inner)
            for key, inner in value.items()
            if not (isinstance(inner, float) and not math.isfinite(inner))
        }
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
