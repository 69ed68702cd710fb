"""JSON Schema of experiment and study files, for editors that complete and check YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tutor_agents.registry import TUTORS
from tutor_envs.student_registry import GYM, known_names, student_class
from tutor_envs.students import STUDENT_MODELS
from tutor_sim.config import KEY_NAME, Experiment
from tutor_sim.learners import LEARNERS
from tutor_sim.study.config import Study
from tutor_sim.tables import METRICS

_REFERENCE = "^.+:[A-Za-z_]"
_ONE_KEY = {"minProperties": 1, "maxProperties": 1, "additionalProperties": False}
_THIRD_PARTY_LEARNER = {
    "type": "object",
    "properties": {"algorithm": {"type": "string", "not": {"enum": list(LEARNERS)}}},
    "required": ["algorithm"],
}
_NAMED_TUTOR = {
    "type": "object",
    "properties": {
        "algorithm": {"anyOf": [{"enum": list(TUTORS)}, {"type": "string", "pattern": _REFERENCE}]}
    },
    "required": ["algorithm"],
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> dict[str, Any]:
    """The schema of a file: an experiment, several under ``experiments``, or a study."""
    definitions: dict[str, Any] = {}
    for model in (Experiment, Study):
        _define(model, definitions)
    del definitions["TutorSpec"]
    _write_out_population(definitions)
    reference = _population_reference()
    learner = _learner(definitions)
    tutor = _tutor(definitions)
    experiment = definitions["Experiment"]["properties"]
    experiment["population"] = reference
    experiment["learner"] |= {"anyOf": [*learner["anyOf"], {"type": "null"}]}
    study = definitions["Study"]["properties"]
    definitions["StudyPopulation"]["properties"]["population"] = reference
    one_population = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/StudyPopulation"}]}
    study["populations"] |= {
        "patternProperties": {KEY_NAME: one_population},
        "additionalProperties": False,
    }
    study["seeds"] |= {"anyOf": [_plain_array(study["seeds"]), {"type": "integer", "minimum": 1}]}
    study["metrics"]["items"] = {"enum": list(METRICS)}
    for properties in (experiment, study):
        properties["learners"] |= {
            "patternProperties": {KEY_NAME: learner},
            "additionalProperties": False,
        }
        properties["tutors"]["items"] = tutor
    several = {
        "type": "object",
        "properties": {"experiments": {"type": "array", "items": {"$ref": "#/$defs/Experiment"}}},
        "required": ["experiments"],
        "additionalProperties": False,
    }
    whole: dict[str, Any] = _finite(
        {
            "$schema": _DIALECT,
            "title": "tutor-sim experiment or study",
            "anyOf": [{"$ref": "#/$defs/Experiment"}, several, {"$ref": "#/$defs/Study"}],
            "$defs": definitions,
        }
    )
    return whole


def _write_out_population(definitions: dict[str, Any]) -> None:
    """Let ``student`` choose what ``model`` may be."""
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


def _population_reference() -> dict[str, Any]:
    return {
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


def _learner(definitions: dict[str, Any]) -> dict[str, Any]:
    learners = {name: kind.config for name, kind in LEARNERS.items()}
    one = _any_of(learners, definitions)
    one["anyOf"].append(_THIRD_PARTY_LEARNER)
    for kind in learners.values():
        definitions[kind.__name__].setdefault("required", []).append("algorithm")
    return one


def _tutor(definitions: dict[str, Any]) -> dict[str, Any]:
    options = {name: kind.parameters for name, kind in TUTORS.items()}
    return {
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
            {"type": "object", "patternProperties": {KEY_NAME: _NAMED_TUTOR}, **_ONE_KEY},
        ]
    }


def _plain_array(schema: dict[str, Any]) -> dict[str, Any]:
    """Take what says that it is an array out of a property, to stand beside something else."""
    return {key: schema.pop(key) for key in ("type", "items", "minItems")}


def _define(model: type[BaseModel], definitions: dict[str, Any]) -> None:
    """Put a model's schema, and those that it consists of, among the definitions."""
    schema = model.model_json_schema()
    definitions |= schema.pop("$defs", {})
    definitions[model.__name__] = schema


def _any_of(models: Mapping[str, type[BaseModel]], definitions: dict[str, Any]) -> dict[str, Any]:
    """One of these models; what they consist of goes to ``definitions``."""
    for model in models.values():
        _define(model, definitions)
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
