"""Tutors that adapt to a student by gradient steps between lessons: MAML and its kin."""

from __future__ import annotations

from tutor_agents.maml.config import (
    CAVIAConfig,
    EMAMLConfig,
    FinetuneConfig,
    FOMAMLConfig,
    GradientConfig,
    MAMLConfig,
    MetaSGDConfig,
    ProMPConfig,
    ReptileConfig,
)
from tutor_agents.maml.learner import MAMLLearner
from tutor_agents.maml.tutor import MAMLTutor

__all__ = [
    "CAVIAConfig",
    "EMAMLConfig",
    "FOMAMLConfig",
    "FinetuneConfig",
    "GradientConfig",
    "MAMLConfig",
    "MAMLLearner",
    "MAMLTutor",
    "MetaSGDConfig",
    "ProMPConfig",
    "ReptileConfig",
]
