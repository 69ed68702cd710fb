"""Components that any student model can add: fatigue, lapses, dropout, activities, costs and more.

In a population file, ``components: {lapses: {}, dropout: {hazard: 0.03}}``; what each does, with
its equations and defaults, is in :mod:`tutor_envs.components.config`.
"""

from __future__ import annotations

from tutor_envs.components.composed import ComposedStudent
from tutor_envs.components.config import Components

__all__ = ["Components", "ComposedStudent"]
