"""What is taught and who is taught: student models, populations, Gymnasium environments.

Importing this registers the Gymnasium ids of :data:`ENVIRONMENTS`, one for each student model. It
imports no torch: names are loaded when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tutor_envs.registration import ENVIRONMENTS, register_environments

if TYPE_CHECKING:
    from tutor_envs.cases import Case, load_cases
    from tutor_envs.classroom import Classroom, Observation, Outcome, Truth
    from tutor_envs.gym_env import TutoringEnv
    from tutor_envs.observation import ObservationLayout, observation_layout, observation_vector
    from tutor_envs.population import FiniteTypes, Population, Split, student_indices
    from tutor_envs.population_files import default_population, load_population
    from tutor_envs.student import LatentSpec, StudentModel, TeachingAction
    from tutor_envs.students import STUDENT_MODELS
    from tutor_envs.students.bkt import BKT
    from tutor_envs.students.irt import IRT
    from tutor_envs.students.memory import Memory
    from tutor_envs.students.style_bandit import StyleBandit
    from tutor_envs.task import Reward, TeachingTask
    from tutor_envs.vector_env import TutoringVectorEnv

_LAZY = {
    "cases": ("Case", "load_cases"),
    "classroom": ("Classroom", "Observation", "Outcome", "Truth"),
    "gym_env": ("TutoringEnv",),
    "observation": ("ObservationLayout", "observation_layout", "observation_vector"),
    "population": ("FiniteTypes", "Population", "Split", "student_indices"),
    "population_files": ("default_population", "load_population"),
    "student": ("LatentSpec", "StudentModel", "TeachingAction"),
    "students": ("STUDENT_MODELS",),
    "students.bkt": ("BKT",),
    "students.irt": ("IRT",),
    "students.memory": ("Memory",),
    "students.style_bandit": ("StyleBandit",),
    "task": ("Reward", "TeachingTask"),
    "vector_env": ("TutoringVectorEnv",),
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "BKT",
    "ENVIRONMENTS",
    "IRT",
    "STUDENT_MODELS",
    "Case",
    "Classroom",
    "FiniteTypes",
    "LatentSpec",
    "Memory",
    "Observation",
    "ObservationLayout",
    "Outcome",
    "Population",
    "Reward",
    "Split",
    "StudentModel",
    "StyleBandit",
    "TeachingAction",
    "TeachingTask",
    "Truth",
    "TutoringEnv",
    "TutoringVectorEnv",
    "default_population",
    "load_cases",
    "load_population",
    "observation_layout",
    "observation_vector",
    "register_environments",
    "student_indices",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


register_environments()
