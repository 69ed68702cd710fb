"""The built-in student models, one file each, known by name."""

from __future__ import annotations

from tutor_envs.student import StudentModel
from tutor_envs.students.bkt import BKT
from tutor_envs.students.irt import IRT
from tutor_envs.students.memory import Memory
from tutor_envs.students.style_bandit import StyleBandit

STUDENT_MODELS: dict[str, type[StudentModel]] = {
    model.name: model for model in (BKT, IRT, Memory, StyleBandit)
}
"""Name -> class of every built-in student model."""

__all__ = ["BKT", "IRT", "STUDENT_MODELS", "Memory", "StyleBandit"]
