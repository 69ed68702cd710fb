"""VariBAD: a tutor that acts on its belief about the student, learnt by a variational model."""

from __future__ import annotations

from tutor_agents.varibad.config import VariBADConfig
from tutor_agents.varibad.learner import VariBADLearner
from tutor_agents.varibad.tutor import Profile, VariBADTutor

__all__ = ["Profile", "VariBADConfig", "VariBADLearner", "VariBADTutor"]
