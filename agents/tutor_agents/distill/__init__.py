"""Distillation: a memory policy learns a teacher's actions by heart, from mixed behaviour."""

from __future__ import annotations

from tutor_agents.distill.config import Behaviour, DistillConfig, WarmStart
from tutor_agents.distill.learner import DistillLearner

__all__ = ["Behaviour", "DistillConfig", "DistillLearner", "WarmStart"]
